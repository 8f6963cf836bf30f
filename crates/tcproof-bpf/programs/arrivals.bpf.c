/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * How long each listener's accept queue was whenever a connection arrived in it: tcp_child_process() wakes the listener
 * after it has put the connection there (tracepoint since 6.2 or 6.3).
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct key {
	u64 cookie; /* as sock_diag gives it; who asked for it made the socket have one */
	u32 netns;
	u32 port;
};

struct value {
	u64 arrived;
	u64 queued; /* sum of the queue's lengths, the arrived one included */
	u64 full;   /* found it full: the next one is refused */
	u32 longest;
	u32 unused;
};

TABLE(FEWER_ROWS);

READER

SEC("tp_btf/sk_data_ready")
int wakes(u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	u16 family = sk->__sk_common.skc_family;

	if (family == AF_UNIX) {
		count_own();
		return 0;
	}
	if (sk->__sk_common.skc_state != TCP_LISTEN || (family != AF_INET && family != AF_INET6))
		return 0;
	struct key key = {
		.cookie = sk->__sk_common.skc_cookie.counter,
		.netns = sk->__sk_common.skc_net.net->ns.inum,
		.port = sk->__sk_common.skc_num,
	};
	struct value nothing = {};
	struct value *value = row(&rows, &key, &nothing);
	if (!value)
		return 0;
	u32 queue = sk->sk_ack_backlog;
	COUNT(value, arrived);
	__sync_fetch_and_add(&value->queued, queue);
	/* sk_acceptq_is_full(): the queue takes one more than it was asked for. */
	if (queue > sk->sk_max_ack_backlog)
		COUNT(value, full);
	/* Two CPUs may meet here, and the longer queue be lost: the next arrival is as long. */
	if (queue > value->longest)
		value->longest = queue;
	return 0;
}
