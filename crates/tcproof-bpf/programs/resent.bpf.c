/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which connections send again, and which are reset, by whom: the counters know how many in a namespace.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct key {
	struct ends ends;
};

struct value {
	u64 data;
	u64 syn;
	u64 reset; /* that this end sent */
	u64 aborted; /* by the other end's reset */
};

TABLE(ROWS);

static ALWAYS_INLINE struct value *row_of(struct sock *sk)
{
	struct key key = {};
	struct value nothing = {};

	put_ends(&key.ends, sk);
	return row(&rows, &key, &nothing);
}

SEC("tp_btf/tcp_retransmit_skb")
int resends(u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	u8 state = sk->__sk_common.skc_state;
	struct value *value = row_of(sk);

	if (!value)
		return 0;
	if (state == TCP_SYN_SENT || state == TCP_SYN_RECV)
		COUNT(value, syn);
	else
		COUNT(value, data);
	return 0;
}

SEC("tp_btf/tcp_send_reset")
int resets(u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];

	/* Null for what no socket is there for (6.11 or later); it may be a TIME_WAIT, which has no more than its ends. */
	if (!is_inet(sk))
		return 0;
	struct value *value = row_of(sk);
	if (value)
		COUNT(value, reset);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int aborts(u64 *ctx)
{
	struct value *value = row_of((void *)ctx[0]);

	if (value)
		COUNT(value, aborted);
	return 0;
}
