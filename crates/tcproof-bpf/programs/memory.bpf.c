/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * How often the kernel refused memory to a TCP socket (__sk_mem_raise_allocated() in net/core/sock.c), and whether all
 * sockets together had more than the last number of tcp_mem then: else it was a control group's limit, or memory pressure
 * and more than the socket's fair share.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct key {
	u32 netns;
};

struct value {
	u64 beyond;
	u64 within;
	u64 most; /* pages that were allocated */
};

TABLE(NAMESPACE_ROWS);

SEC("tp_btf/sock_exceed_buf_limit")
int refuses(u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct proto *proto = (void *)ctx[1];
	s64 allocated = ctx[2];

	if (sk->sk_protocol != IPPROTO_TCP && sk->sk_protocol != IPPROTO_MPTCP)
		return 0;
	struct key key = { .netns = sk->__sk_common.skc_net.net->ns.inum };
	struct value nothing = {};
	struct value *value = row(&rows, &key, &nothing);
	if (!value)
		return 0;
	s64 hard = 0;
	bpf_probe_read_kernel(&hard, sizeof(hard), &proto->sysctl_mem[2]);
	if (allocated > hard)
		COUNT(value, beyond);
	else
		COUNT(value, within);
	if (allocated > 0 && (u64)allocated > value->most)
		value->most = allocated;
	return 0;
}
