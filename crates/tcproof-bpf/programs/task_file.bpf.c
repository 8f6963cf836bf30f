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
	u32 pid; /* of the process, in the reader's pid namespace */
	u32 fd;
	u32 netns;
	u16 protocol;
	u8 state;
	u8 unused;
};

/* A process has one number in each pid namespace that it can be seen from; the outermost one's is at hand. */
static ALWAYS_INLINE u32 pid_of(struct task_struct *task)
{
	u32 level = bpf_get_current_task_btf()->thread_pid->level, number = task->tgid;

	/* Else clang makes one load of this one and the other, which the verifier refuses: they are of different memory. */
	asm volatile("" : "+r"(number));
	if (level) {
		/* Read as a number: the verifier of 6.1 adds no unknown to a pointer. */
		u64 pid = 0;
		bpf_probe_read_kernel(&pid, sizeof(pid), &task->signal->pids[PIDTYPE_TGID]);
		u64 at = pid + OFFSET(pid, numbers) + level * SIZE(upid) + OFFSET(upid, nr);
		bpf_probe_read_kernel(&number, sizeof(number), (const void *)at);
	}
	return number;
}

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
		.pid = pid_of(task),
		.fd = ctx->fd,
		.netns = sk->__sk_common.skc_net.net->ns.inum,
		.protocol = protocol,
		.state = sk->__sk_common.skc_state,
	};
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}
