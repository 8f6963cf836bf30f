/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Who opens connections to where, and whose connect(2) finds no local port: EADDRNOTAVAIL, which no counter has.
 *
 * tcp_v4_connect() and tcp_v6_connect() set SYN_SENT, then look for a port (inet_hash_connect()), and set CLOSE again when
 * there is none. All others that leave SYN_SENT have a source port: skc_num may be given back by then (inet_put_port()),
 * inet_sport stays.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct key {
	struct ends ends;
	u32 pid; /* in the reader's pid namespace; 0 where it has no number there */
};

struct value {
	u64 tried;
	u64 refused;
	char comm[16];
};

TABLE(FEWER_ROWS);

static ALWAYS_INLINE u64 pid_word(u64 from)
{
	u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (const void *)from);
	return word;
}

/* A process has one number in each pid namespace that it can be seen from. */
static ALWAYS_INLINE u32 pid_of(struct task_struct *task, const struct state *state)
{
	/* As numbers: the verifier of 6.1 adds no unknown to a pointer. */
	u64 pid = pid_word((u64)&task->signal->pids[PIDTYPE_TGID]), level = state->level;
	u64 upid = pid + OFFSET(pid, numbers) + level * SIZE(upid);
	u32 deepest = 0, number = 0;

	bpf_probe_read_kernel(&deepest, sizeof(deepest), (const void *)(pid + OFFSET(pid, level)));
	if (level > deepest || pid_word(upid + OFFSET(upid, ns)) != state->pid_ns)
		return 0;
	bpf_probe_read_kernel(&number, sizeof(number), (const void *)(upid + OFFSET(upid, nr)));
	return number;
}

/* Run once by the reader. */
SEC("raw_tp")
int reader(void *ctx)
{
	struct state *state = state_of_probe();
	struct task_struct *task = bpf_get_current_task_btf();

	if (!state)
		return 0;
	u64 pid = pid_word((u64)&task->signal->pids[PIDTYPE_TGID]);
	u32 level = 0;
	bpf_probe_read_kernel(&level, sizeof(level), (const void *)(pid + OFFSET(pid, level)));
	state->level = level;
	state->pid_ns = pid_word(pid + OFFSET(pid, numbers) + level * SIZE(upid) + OFFSET(upid, ns));
	state->tgid = tgid();
	return 0;
}

static ALWAYS_INLINE int has_no_port(struct sock *sk)
{
	u16 port = 0;

	bpf_probe_read_kernel(&port, sizeof(port), &((struct inet_sock *)sk)->inet_sport);
	return !port;
}

SEC("tp_btf/inet_sock_set_state")
int changes(u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	int from = ctx[1], to = ctx[2];

	/* First what most of a connection's ten changes are: nothing of this. */
	if (to != TCP_LISTEN && to != TCP_SYN_SENT && from != TCP_SYN_SENT)
		return 0;
	if (to == TCP_LISTEN) {
		count_own();
		return 0;
	}
	struct state *state = state_of_probe();
	if (!state)
		return 0;
	int tried = to == TCP_SYN_SENT, refused = from == TCP_SYN_SENT && to == TCP_CLOSE && has_no_port(sk);
	if ((!tried && !refused) || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	struct key key = {};
	put_ends(&key.ends, sk);
	/* One row for all connections of a process to a destination. */
	key.ends.local_port = 0;
	struct task_struct *task = bpf_get_current_task_btf();
	key.pid = pid_of(task, state);
	struct value nothing = {};
	bpf_get_current_comm(nothing.comm, sizeof(nothing.comm));
	struct value *value = row(&rows, &key, &nothing);
	if (!value)
		return 0;
	if (tried)
		COUNT(value, tried);
	else
		COUNT(value, refused);
	return 0;
}
