/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Lists which process holds which TCP socket under which descriptor: `tasks` names the processes, as its file is read, and
 * `files` reads the descriptors of one of them, run by BPF_PROG_TEST_RUN. What has no descriptor is not here: TIME_WAIT,
 * SYN_RECV, what waits for accept(2), what its process has closed.
 *
 * iter/task_file tells the same, a program and a reference for each descriptor, and waits for the memory at each: 0.65 us.
 * Here a few hundred are read side by side, without a reference. That is safe under rcu_read_lock(), which BPF_PROG_TEST_RUN
 * holds: tables of descriptors are freed after it (kfree_rcu, fs/file.c), files and sockets stay what they are
 * (SLAB_TYPESAFE_BY_RCU, or freed after it too), and a read of a bad address gives 0. That it was right is asked afterwards:
 * a descriptor that leads elsewhere by then is left out, and so is all of a process that has another table.
 */
#include "kernel.h"
#include "read.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum {
	SIDE = 512,  /* descriptors that are read side by side */
	ROUNDS = 4,  /* of one call, during which preemption is off (net/bpf/test_run.c): 0.3 ms */
	SOCKET_WORDS = 2,
	WORDS = 8 * 1024 - 16 - 3 * SIDE,
};

struct task_record {
	u64 task; /* struct task_struct * */
	u64 born; /* its start: another task at the same address has another */
	u64 files;
	u64 pid;  /* of the process, in the reader's pid namespace */
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

/* Each process once, and besides every thread that has a table of descriptors of its own (CLONE_FILES was not set). */
SEC("iter/task")
int tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task || !task->files)
		return 0;
	if (task->pid != task->tgid && task->files == task->group_leader->files)
		return 0;
	struct task_record r = {
		.task = (u64)task,
		.born = task->start_boottime,
		.files = (u64)task->files,
		.pid = pid_of(task),
	};
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}

struct buffer {
	u64 used;     /* words */
	u64 next;     /* the descriptor with which the next call goes on, or 0: there are no more */
	u64 is_right; /* the process had this table before and after */
	/* Of this round: */
	u64 array; /* where its descriptors are */
	u64 first; /* the first of them */
	u64 open;  /* how many are sockets */
	/* Of the last socket: nearly always those of the next one too. */
	u64 net;
	u64 inum;
	u64 prot; /* struct proto *, which for SOCK_STREAM stands for one protocol */
	u64 protocol;
	u64 unused[6];
	u64 files[SIDE];
	u64 sockets[SIDE]; /* struct socket *, then struct sock * */
	u64 of[SIDE];      /* which of the files */
	u64 words[WORDS];
};

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(max_entries, 1);
	UINT(map_flags, BPF_F_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct buffer);
} buffer SEC(".maps");

struct look {
	struct buffer *buffer;
	u64 table;  /* struct fdtable * */
	u64 end;    /* the descriptor after the last */
	u64 f_op;   /* of every socket's file */
};

/* In three passes, so that the reads of one do not wait for each other: which files are sockets … */
static ALWAYS_INLINE int file(u64 i, struct look *l, const int fast)
{
	struct buffer *b = l->buffer;
	u64 file = b->files[i % SIDE], open = b->open;

	if (!file || word(file + OFFSET(file, f_op), fast) != l->f_op || open >= SIDE)
		return 0;
	b->sockets[open] = word(file + OFFSET(file, private_data), fast);
	b->of[open] = i;
	b->open = open + 1;
	return 0;
}

/* … where their other half is … */
static ALWAYS_INLINE int socket(u64 i, struct look *l, const int fast)
{
	struct buffer *b = l->buffer;

	if (i >= b->open)
		return 1;
	b->sockets[i % SIDE] = word(b->sockets[i % SIDE] + OFFSET(socket, sk), fast);
	return 0;
}

/* … and what it is. */
static ALWAYS_INLINE int sock(u64 i, struct look *l, const int fast)
{
	struct buffer *b = l->buffer;

	if (i >= b->open)
		return 1;
	u64 sk = b->sockets[i % SIDE], nth = b->of[i % SIDE];
	u16 family = word(sk + OFFSET(sock_common, skc_family), fast);

	if (!sk || (family != AF_INET && family != AF_INET6))
		return 0;
	u64 prot = word(sk + OFFSET(sock_common, skc_prot), fast);
	if (prot != b->prot) {
		if ((u16)word(sk + OFFSET(sock, sk_type), fast) != SOCK_STREAM)
			return 0;
		b->protocol = (u16)word(sk + OFFSET(sock, sk_protocol), fast);
		b->prot = prot;
	}
	if (b->protocol != IPPROTO_TCP && b->protocol != IPPROTO_MPTCP)
		return 0;
	u64 net = word(sk + OFFSET(sock_common, skc_net), fast);
	if (net != b->net) {
		b->inum = (u32)word(net + OFFSET(net, ns.inum), fast);
		b->net = net;
	}
	u64 state = (u8)word(sk + OFFSET(sock_common, skc_state), fast);
	/* Closed meanwhile, and perhaps another's by now. */
	if (word(b->array + nth * 8, fast) != b->files[nth % SIDE])
		return 0;
	u64 used = b->used;
	/* Else clang proves the bound on another register than it adds. */
	asm volatile("" : "+r"(used));
	if (used > WORDS - SOCKET_WORDS)
		return 1;
	b->words[used] = b->first + nth;
	b->words[used + 1] = b->inum | b->protocol << 32 | state << 48;
	b->used = used + SOCKET_WORDS;
	return 0;
}

#define BOTH(name)                                                                                                     \
	static int name##_fast(u64 i, struct look *l)                                                                  \
	{                                                                                                              \
		return name(i, l, 1);                                                                                  \
	}                                                                                                              \
	static int name##_slow(u64 i, struct look *l)                                                                  \
	{                                                                                                              \
		return name(i, l, 0);                                                                                  \
	}

BOTH(file)
BOTH(socket)
BOTH(sock)

static ALWAYS_INLINE int round(u64 i, struct look *l, const int fast)
{
	struct buffer *b = l->buffer;
	u64 left = l->end > b->next ? l->end - b->next : 0;
	u64 n = left < SIDE ? left : SIDE;

	if (!n)
		return 1;
	b->first = b->next;
	b->array = word(l->table + OFFSET(fdtable, fd), fast) + b->first * 8;
	if (bpf_probe_read_kernel(b->files, n * 8, (const void *)b->array))
		return 1;
	b->open = 0;
	bpf_loop(n, fast ? (void *)file_fast : (void *)file_slow, l, 0);
	bpf_loop(SIDE + 1, fast ? (void *)socket_fast : (void *)socket_slow, l, 0);
	bpf_loop(SIDE + 1, fast ? (void *)sock_fast : (void *)sock_slow, l, 0);
	b->next += n;
	return 0;
}

BOTH(round)

static ALWAYS_INLINE u64 table_of(u64 files)
{
	return slow_word(files + OFFSET(files_struct, fdt));
}

/*
 * Arguments: the task's address and its start, the descriptor to begin with, and the number of a descriptor of the calling
 * thread that is a socket: by it the files of sockets are known. Returns 1 when there is something in the buffer.
 */
SEC("raw_tp/sched_switch")
int files(struct bpf_raw_tracepoint_args *ctx)
{
	u32 slot = 0;
	struct buffer *b = bpf_map_lookup_elem(&buffer, &slot);

	if (!b)
		return 0;
	u64 task = ctx->args[0], born = ctx->args[1];
	u64 own = slow_word(table_of(slow_word(bpf_get_current_task() + OFFSET(task_struct, files))) + OFFSET(fdtable, fd));
	u64 of = slow_word(task + OFFSET(task_struct, files));
	struct look l = {
		.buffer = b,
		.table = table_of(of),
		.f_op = slow_word(slow_word(own + ctx->args[3] * 8) + OFFSET(file, f_op)),
	};

	b->used = b->is_right = 0;
	b->next = ctx->args[2];
	b->net = b->inum = b->prot = b->protocol = 0;
	if (!of || !l.table || !l.f_op)
		return 0;
	l.end = (u32)slow_word(l.table + OFFSET(fdtable, max_fds));
	if (bpf_rdonly_cast)
		bpf_loop(ROUNDS, round_fast, &l, 0);
	else
		bpf_loop(ROUNDS, round_slow, &l, 0);
	if (b->next >= l.end)
		b->next = 0;
	/* A process that ends lets go of its table first (exit_files), and of what is in it afterwards. */
	b->is_right = slow_word(task + OFFSET(task_struct, files)) == of &&
		      slow_word(task + OFFSET(task_struct, start_boottime)) == born;
	return b->is_right;
}
