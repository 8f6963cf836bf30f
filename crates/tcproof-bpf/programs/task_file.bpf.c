/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Lists which process holds which TCP socket under which descriptor, for all processes in one read. Each thread group
 * comes once unless a thread has a descriptor table of its own (kernel/bpf/task_iter.c). What has no descriptor is not
 * here: TIME_WAIT, SYN_RECV, what waits for accept(2), what its process has closed.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct record {
	u64 inode;
	u64 cgroup; /* of the socket, 0 where the kernel keeps none */
	u32 tgid;
	u32 fd;
	u32 netns;
	u32 ports;
	u16 family;
	u16 protocol;
	u32 state;
	u64 addresses[4];
};

SEC("iter/task_file")
int files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (!task || !file)
		return 0;
	struct socket *socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	struct sock *sk = socket->sk;
	if (!sk)
		return 0;
	u16 family = sk->__sk_common.skc_family;
	if (family != AF_INET && family != AF_INET6)
		return 0;
	u16 protocol = sk->sk_protocol;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
		return 0;
	struct record r = {
		.inode = file->f_inode->i_ino,
		.tgid = task->tgid,
		.fd = ctx->fd,
		.netns = sk->__sk_common.skc_net.net->ns.inum,
		.ports = sk->__sk_common.skc_portpair,
		.family = family,
		.protocol = protocol,
		.state = sk->__sk_common.skc_state,
	};
	if (EXISTS(sock, sk_cgrp_data))
		r.cgroup = sk->sk_cgrp_data.cgroup->kn->id;
	if (family == AF_INET6 && EXISTS(sock_common, skc_v6_daddr)) {
		bpf_probe_read_kernel(&r.addresses[0], 16, &sk->__sk_common.skc_v6_daddr);
		bpf_probe_read_kernel(&r.addresses[2], 16, &sk->__sk_common.skc_v6_rcv_saddr);
	} else {
		r.addresses[0] = sk->__sk_common.skc_addrpair;
	}
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}
