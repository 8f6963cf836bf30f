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

/*
 * A listener has no other end: the segment that it answers has. All ports of a client are one row, which has none, for each of
 * its connections would be another.
 */
static ALWAYS_INLINE struct value *row_of_client(struct sock *listener, struct sk_buff *skb)
{
	struct key key = {};
	struct value nothing = {};
	u8 *head = 0, first = 0;
	u16 network = 0;
	u32 addresses[2] = {};

	/* What nobody asked for has no segment. Kernels before 6.13 leave out that question too, so it is copied. */
	if (!skb)
		return 0;
	bpf_probe_read_kernel(&head, sizeof(head), &skb->head);
	bpf_probe_read_kernel(&network, sizeof(network), &skb->network_header);
	bpf_probe_read_kernel(&first, 1, head + network);
	key.ends.netns = listener->__sk_common.skc_net.net->ns.inum;
	key.ends.local_port = listener->__sk_common.skc_num;
	if (first >> 4 == 4) {
		bpf_probe_read_kernel(addresses, sizeof(addresses), head + network + 12);
		put_address(key.ends.remote, AF_INET, addresses[0], 0);
		put_address(key.ends.local, AF_INET, addresses[1], 0);
	} else {
		bpf_probe_read_kernel(key.ends.remote, 16, head + network + 8);
		bpf_probe_read_kernel(key.ends.local, 16, head + network + 24);
	}
	return row(&rows, &key, &nothing);
}

SEC("tp_btf/tcp_send_reset")
int resets(u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct value *value;

	/* Null for what no socket is there for (6.11 or later); it may be a TIME_WAIT, which has no more than its ends. */
	if (!is_inet(sk))
		return 0;
	if (sk->__sk_common.skc_state == TCP_LISTEN)
		value = row_of_client(sk, (void *)ctx[1]);
	else
		value = row_of(sk);
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
