/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Walks the hash table of established TCP sockets (all states but LISTEN and CLOSE) without its locks and writes down
 * whom it meets. Run by BPF_PROG_TEST_RUN, never attached: it costs nothing but while it is asked.
 *
 * Safe without locks: BPF_PROG_TEST_RUN holds rcu_read_lock(), under which sockets stay sockets (SLAB_TYPESAFE_BY_RCU)
 * though one may move to another chain. Each chain ends in the number of its bucket (include/linux/list_nulls.h), by
 * which a walk knows that it was led astray. Reads of a bad address give 0.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum {
	THREADS = 8,
	/* A call runs with preemption off (net/bpf/test_run.c): 256 KiB are 10 900 IPv4 sockets, less than a millisecond. */
	WORDS = 32 * 1024 - 8,
	V4_WORDS = 3,
	V6_WORDS = 6,
	NAMESPACE_WORDS = 4,
	/* Chains walked at once: the memory answers to several reads at a time, and one chain is a single one after another. */
	LANES = 4,
	/* No chain is this long. A walk that goes astray in a ring ends here. */
	LONGEST_CHAIN = 1 << 16,
	TRIES = 4,
	NAMESPACES = 1 << 20,
};

struct buffer {
	u64 used;    /* words */
	u64 bucket;  /* the next one */
	u64 astray;  /* groups of chains given up: they would not hold still, or were too long for a buffer */
	u64 retried; /* groups of chains walked again */
	u64 tries;   /* of this group */
	u64 net;     /* of the last socket, and its number: nearly always that of the next one too */
	u64 inum;
	u64 path; /* 2: bpf_rdonly_cast, 1: bpf_probe_read_kernel */
	u64 words[WORDS];
};

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(max_entries, THREADS);
	UINT(map_flags, BPF_F_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct buffer);
} buffers SEC(".maps");

/* Since 6.2; the loader makes the tests of its address below constant. */
extern void *bpf_rdonly_cast(const void *from, u32 type) KFUNC;

#define CAST(type, from) ((struct type *)bpf_rdonly_cast((const void *)(from), TYPE_ID(type)))
/*
 * The verifier lets nobody compute with a pointer that it has loaded, such as look at the last bit of an end marker. A
 * number is a number whatever was stored as one: so words are read through a type of the kernel that begins with one.
 */
#define WORD(from) ((u64)CAST(timespec64, from)->tv_sec)
#define NODE OFFSET(sock_common, skc_nulls_node)

struct walk {
	struct buffer *buffer;
	u64 table;
	u64 end;
	u64 only; /* struct net *, or 0 for all */
	u64 full;
	u64 at[LANES];
};

static ALWAYS_INLINE int is_end(u64 node)
{
	return (node & 1) || !node;
}

/* Room for one socket of either family, or nothing. */
static ALWAYS_INLINE u64 *room(struct walk *w)
{
	struct buffer *b = w->buffer;
	u64 used = b->used;

	/* Else clang proves the bound on another register than it adds. */
	asm volatile("" : "+r"(used));
	if (used > WORDS - V6_WORDS) {
		w->full = 1;
		return 0;
	}
	return &b->words[used];
}

/* Writes one socket down and returns what its chain goes on with. */
static ALWAYS_INLINE u64 socket_fast(struct walk *w, u64 node)
{
	struct buffer *b = w->buffer;
	struct sock_common *sk = CAST(sock_common, node - NODE);
	u64 net = WORD(node - NODE + OFFSET(sock_common, skc_net));
	u64 next = WORD(node);
	u64 *to;

	if (w->only && net != w->only)
		return next;
	if (net != b->net) {
		b->inum = CAST(net, net)->ns.inum;
		b->net = net;
	}
	to = room(w);
	if (!to)
		return next;
	u16 family = sk->skc_family;
	to[0] = b->inum | (u64)sk->skc_portpair << 32;
	to[1] = sk->skc_state | (u64)family << 16;
	if (family == AF_INET6 && EXISTS(sock_common, skc_v6_daddr)) {
		u64 daddr = node - NODE + OFFSET(sock_common, skc_v6_daddr);
		u64 saddr = node - NODE + OFFSET(sock_common, skc_v6_rcv_saddr);
		to[2] = WORD(daddr);
		to[3] = WORD(daddr + 8);
		to[4] = WORD(saddr);
		to[5] = WORD(saddr + 8);
		b->used += V6_WORDS;
	} else {
		to[2] = sk->skc_addrpair;
		b->used += V4_WORDS;
	}
	return next;
}

/* As much of a socket as is read at once where only bpf_probe_read_kernel can read it. */
enum { HEAD = 112 };
#define IN_HEAD(member, bytes) (OFFSET(sock_common, member) <= HEAD - (bytes))
#define FROM_HEAD(type, member) (*(type *)(head + OFFSET(sock_common, member)))

static ALWAYS_INLINE u64 read_word(u64 from)
{
	u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (const void *)from);
	return word;
}

static ALWAYS_INLINE u64 socket_slow(struct walk *w, u64 node)
{
	struct buffer *b = w->buffer;
	char head[HEAD] __attribute__((aligned(8)));
	u64 *to;

	if (!IN_HEAD(skc_nulls_node, 8) || !IN_HEAD(skc_net, 8))
		return 0;
	if (bpf_probe_read_kernel(head, sizeof(head), (const void *)(node - NODE)))
		return 0;
	u64 next = FROM_HEAD(u64, skc_nulls_node);
	u64 net = FROM_HEAD(u64, skc_net);

	if (w->only && net != w->only)
		return next;
	if (net != b->net) {
		u32 inum = 0;
		bpf_probe_read_kernel(&inum, sizeof(inum), (const void *)(net + OFFSET(net, ns.inum)));
		b->inum = inum;
		b->net = net;
	}
	to = room(w);
	if (!to)
		return next;
	u16 family = FROM_HEAD(u16, skc_family);
	to[0] = b->inum | (u64)FROM_HEAD(u32, skc_portpair) << 32;
	to[1] = FROM_HEAD(u8, skc_state) | (u64)family << 16;
	if (family == AF_INET6 && EXISTS(sock_common, skc_v6_daddr)) {
		if (!IN_HEAD(skc_v6_daddr, 16) || !IN_HEAD(skc_v6_rcv_saddr, 16))
			return 0;
		u64 *daddr = &FROM_HEAD(u64, skc_v6_daddr), *saddr = &FROM_HEAD(u64, skc_v6_rcv_saddr);
		to[2] = daddr[0];
		to[3] = daddr[1];
		to[4] = saddr[0];
		to[5] = saddr[1];
		b->used += V6_WORDS;
	} else {
		to[2] = FROM_HEAD(u64, skc_addrpair);
		b->used += V4_WORDS;
	}
	return next;
}

#define STEP(lane, socket)                                                                                             \
	if (!is_end(w->at[lane])) {                                                                                    \
		live = 1;                                                                                              \
		w->at[lane] = socket(w, w->at[lane]);                                                                  \
	}

static int step_fast(u64 i, struct walk *w)
{
	int live = 0;

	STEP(0, socket_fast) STEP(1, socket_fast) STEP(2, socket_fast) STEP(3, socket_fast);
	return !live;
}

static int step_slow(u64 i, struct walk *w)
{
	int live = 0;

	STEP(0, socket_slow) STEP(1, socket_slow) STEP(2, socket_slow) STEP(3, socket_slow);
	return !live;
}

/* What a chain ends in; buckets past the last one are made empty. */
#define MARKER(bucket) ((u64)(bucket) << 1 | 1)
#define HEAD_OF(lane, read) w->at[lane] = first + lane < w->end ? read(w->table + (first + lane) * 8) : MARKER(first + lane);
#define ASTRAY(lane) (w->at[lane] != MARKER(first + lane))

/* A group of chains, side by side. Those that go astray are walked again from the start. */
#define GROUP(read, step)                                                                                              \
	struct buffer *b = w->buffer;                                                                                  \
	u64 first = b->bucket, start = b->used;                                                                        \
                                                                                                                       \
	if (first >= w->end)                                                                                           \
		return 1;                                                                                              \
	w->full = 0;                                                                                                   \
	HEAD_OF(0, read) HEAD_OF(1, read) HEAD_OF(2, read) HEAD_OF(3, read);                                           \
	if (!is_end(w->at[0]) || !is_end(w->at[1]) || !is_end(w->at[2]) || !is_end(w->at[3]))                           \
		bpf_loop(LONGEST_CHAIN, step, w, 0);                                                                   \
	return after(w, first, start)

static ALWAYS_INLINE int after(struct walk *w, u64 first, u64 start)
{
	struct buffer *b = w->buffer;
	int astray = ASTRAY(0) || ASTRAY(1) || ASTRAY(2) || ASTRAY(3);

	if (w->full && start) {
		/* Into the next buffer, all of it. */
		b->used = start;
		return 1;
	}
	if (astray && b->tries < TRIES) {
		b->used = start;
		b->tries++;
		b->retried++;
		return 0;
	}
	b->astray += astray || w->full;
	b->tries = 0;
	b->bucket = first + LANES;
	return 0;
}

static int group_fast(u64 i, struct walk *w)
{
	GROUP(WORD, step_fast);
}

static int group_slow(u64 i, struct walk *w)
{
	GROUP(read_word, step_slow);
}

/*
 * Arguments: the buffer's number, the table's address, the first bucket, the one after the last, the address of the
 * namespace whose sockets alone are wanted or 0, and how many groups of buckets one call may take.
 */
SEC("raw_tp/sched_switch")
int walk(struct bpf_raw_tracepoint_args *ctx)
{
	u32 slot = ctx->args[0];
	struct buffer *b = bpf_map_lookup_elem(&buffers, &slot);

	if (!b)
		return 0;
	struct walk w = {
		.buffer = b, .table = ctx->args[1], .end = ctx->args[3], .only = ctx->args[4],
	};
	b->used = b->astray = b->retried = b->tries = b->net = b->inum = 0;
	b->bucket = ctx->args[2];
	if (bpf_rdonly_cast) {
		b->path = 2;
		bpf_loop(ctx->args[5], group_fast, &w, 0);
	} else {
		b->path = 1;
		bpf_loop(ctx->args[5], group_slow, &w, 0);
	}
	return 1;
}

struct list {
	struct buffer *buffer;
	u64 at;    /* struct list_head * */
	u64 end;   /* where the ring began */
	u64 ops;   /* what every network namespace points to, and the ring's head does not */
	u64 only;  /* the number of the one wanted, or 0 */
	u64 table; /* of the last one */
};

static int namespace(u64 i, struct list *l)
{
	struct buffer *b = l->buffer;
	u64 net = l->at - OFFSET(net, list);
	u64 used = b->used;
	u32 inum = 0, mask = 0;

	if (read_word(net + OFFSET(net, ns.ops)) == l->ops) {
		bpf_probe_read_kernel(&inum, sizeof(inum), (const void *)(net + OFFSET(net, ns.inum)));
		u64 info = read_word(net + OFFSET(net, ipv4.tcp_death_row.hashinfo));
		u64 table = read_word(info + OFFSET(inet_hashinfo, ehash));
		bpf_probe_read_kernel(&mask, sizeof(mask), (const void *)(info + OFFSET(inet_hashinfo, ehash_mask)));
		if (l->only ? l->only == inum : table != l->table) {
			asm volatile("" : "+r"(used));
			if (used > WORDS - NAMESPACE_WORDS) {
				b->astray++;
				return 1;
			}
			u64 *to = &b->words[used];
			to[0] = inum;
			to[1] = net;
			to[2] = table;
			to[3] = mask;
			b->used += NAMESPACE_WORDS;
		}
		l->table = table;
	}
	l->at = read_word(l->at);
	return l->at == l->end || !l->at;
}

/*
 * Lists the tables that network namespaces of this kernel have, seen from the calling thread's namespace: all share one
 * but those made under a net.ipv4.tcp_child_ehash_entries (6.1). One is listed each time the table changes on the way.
 * Arguments: the buffer's number; the number of the only namespace wanted, or 0.
 */
SEC("raw_tp/sched_switch")
int tables(struct bpf_raw_tracepoint_args *ctx)
{
	u32 slot = ctx->args[0];
	struct buffer *b = bpf_map_lookup_elem(&buffers, &slot);

	if (!b)
		return 0;
	u64 proxy = read_word(bpf_get_current_task() + OFFSET(task_struct, nsproxy));
	u64 net = read_word(proxy + OFFSET(nsproxy, net_ns));
	struct list l = {
		.buffer = b,
		.at = net + OFFSET(net, list),
		.end = net + OFFSET(net, list),
		.ops = read_word(net + OFFSET(net, ns.ops)),
		.only = ctx->args[1],
	};
	b->used = b->astray = 0;
	bpf_loop(NAMESPACES, namespace, &l, 0);
	/* A ring that did not close. */
	b->astray += l.at != l.end;
	return 1;
}
