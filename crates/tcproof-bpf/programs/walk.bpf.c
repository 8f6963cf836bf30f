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
#include "read.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum {
	THREADS = 8,
	/* A call runs with preemption off (net/bpf/test_run.c): 256 KiB are 10 900 IPv4 sockets, less than a millisecond. */
	WORDS = 32 * 1024 - 20 - 2 * 16 - 512,
	MOST_WORDS = 7, /* of a socket */
	NAMESPACE_WORDS = 3,
	/* Chains walked at once: the memory answers to several reads at a time, and one chain is a single one after another. */
	LANES = 16,
	/* Sockets that are met before the first of them is read. */
	NODES = 512,
	STEPS = 16 * NODES,
	TRIES = 4,
	NAMESPACES = 1 << 20,
};

/*
 * What is wanted of each socket besides. Each costs a cache miss or two for every one that is not TIME_WAIT. The inode takes
 * the place of the device that a socket is bound to.
 */
enum { WITH_CGROUP = 1, WITH_INODE = 2 };
/* In a record. */
enum { HAS_CGROUP = 1 << 24 };

/* A walk's place in a chain that has none. It is an end, as the markers are. */
#define IDLE ~0ull

struct buffer {
	u64 used;    /* words */
	u64 bucket;  /* the first one of this group of chains; at last, where the next call goes on */
	u64 astray;  /* groups given up: they would not hold still, or one chain is too long for a buffer */
	u64 retried; /* groups walked again */
	u64 size;    /* buckets of a group: halved where a group does not fit into a buffer */
	u64 path;    /* 2: bpf_rdonly_cast, 1: bpf_probe_read_kernel */
	u64 taken;   /* buffers after the first one, of namespaces */
	/* Of this group: */
	u64 start;  /* where its words begin */
	u64 next;   /* bucket that no lane has taken yet */
	u64 end;    /* and the one after the last */
	u64 open;   /* lanes that walk; 0: it is to be begun */
	u64 stray;  /* chains that ended elsewhere than they should */
	u64 full;   /* there was no room for a socket */
	u64 tries;
	u64 met;    /* nodes */
	/* Of the last socket, and their numbers: nearly always those of the next one too. */
	u64 net;
	u64 inum;
	u64 cgroup;
	u64 cgroup_id;
	u64 touched;
	u64 at[LANES];
	u64 of[LANES]; /* bucket */
	u64 nodes[NODES];
	u64 words[WORDS];
};

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(max_entries, THREADS);
	UINT(map_flags, BPF_F_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct buffer);
} buffers SEC(".maps");

#define NODE OFFSET(sock_common, skc_nulls_node)

struct walk {
	struct buffer *buffer;
	u64 table;
	u64 end;
	u64 only; /* struct net *, or 0 for all */
	u64 with;
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
	if (used > WORDS - MOST_WORDS) {
		b->full = 1;
		return 0;
	}
	return &b->words[used];
}

static ALWAYS_INLINE u64 cgroup_of(struct buffer *b, u64 sk, const int fast)
{
	u64 cgroup;

	if (!EXISTS(sock, sk_cgrp_data.cgroup))
		return 0;
	cgroup = word(sk + OFFSET(sock, sk_cgrp_data.cgroup), fast);
	if (!cgroup)
		return 0;
	if (cgroup != b->cgroup) {
		b->cgroup_id = word(word(cgroup + OFFSET(cgroup, kn), fast) + OFFSET(kernfs_node, id), fast);
		b->cgroup = cgroup;
	}
	return b->cgroup_id;
}

/* As sock_i_ino() has it; the numbers of sockets have 32 bits (get_next_ino). */
static ALWAYS_INLINE u32 inode_of(u64 sk, const int fast)
{
	if (EXISTS(sock, sk_ino))
		return word(sk + OFFSET(sock, sk_ino), fast);
	u64 socket = word(sk + OFFSET(sock, sk_socket), fast);
	return socket ? word(socket + OFFSET(socket_alloc, vfs_inode.i_ino), fast) : 0;
}

/*
 * Writes down, after the two words of what all have, what only some have: a socket that is not whole
 * (inet_timewait_sock, request_sock) has neither inode nor control group, and TIME_WAIT one more state.
 */
static ALWAYS_INLINE void rest(struct walk *w, u64 *to, u64 sk, u64 ports, u8 state, u16 family, u32 device, u64 v4,
			       const u64 *v6, const int fast)
{
	struct buffer *b = w->buffer;
	u64 about = state | (u64)family << 16;
	int words = 3, is_whole = state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV;

	to[0] = b->inum | ports << 32;
	if (state == TCP_TIME_WAIT)
		about |= (word(sk + OFFSET(inet_timewait_sock, tw_substate), fast) & 0xff) << 8;
	to[2] = v4;
	if (family == AF_INET6 && EXISTS(sock_common, skc_v6_daddr)) {
		if (fast) {
			u64 daddr = sk + OFFSET(sock_common, skc_v6_daddr);
			u64 saddr = sk + OFFSET(sock_common, skc_v6_rcv_saddr);
			to[2] = FAST_WORD(daddr);
			to[3] = FAST_WORD(daddr + 8);
			to[4] = FAST_WORD(saddr);
			to[5] = FAST_WORD(saddr + 8);
		} else {
			to[2] = v6[0];
			to[3] = v6[1];
			to[4] = v6[2];
			to[5] = v6[3];
		}
		words = 6;
	}
	if (is_whole)
		about |= (u64)(w->with & WITH_INODE ? inode_of(sk, fast) : device) << 32;
	if (is_whole && w->with & WITH_CGROUP) {
		about |= HAS_CGROUP;
		if (words == 3)
			to[3] = cgroup_of(b, sk, fast);
		else
			to[6] = cgroup_of(b, sk, fast);
		words++;
	}
	to[1] = about;
	b->used += words;
}

/* Writes one socket down. */
static ALWAYS_INLINE void socket_fast(struct walk *w, u64 node)
{
	struct buffer *b = w->buffer;
	u64 sk = node - NODE;
	struct sock_common *common = CAST(sock_common, sk);
	u64 net = FAST_WORD(sk + OFFSET(sock_common, skc_net));
	u64 *to;

	if (w->only && net != w->only)
		return;
	if (net != b->net) {
		b->inum = CAST(net, net)->ns.inum;
		b->net = net;
	}
	to = room(w);
	if (to)
		rest(w, to, sk, common->skc_portpair, common->skc_state, common->skc_family,
		     common->skc_bound_dev_if, common->skc_addrpair, 0, 1);
}

/* As much of a socket as is read at once where only bpf_probe_read_kernel can read it. */
enum { HEAD = 88 };
#define IN_HEAD(member, bytes) (OFFSET(sock_common, member) <= HEAD - (bytes))
#define FROM_HEAD(type, member) (*(type *)(head + OFFSET(sock_common, member)))

static ALWAYS_INLINE void socket_slow(struct walk *w, u64 node)
{
	struct buffer *b = w->buffer;
	char head[HEAD] __attribute__((aligned(8)));
	u64 v6[4] = {}, sk = node - NODE;
	u64 *to;

	/* A layout of sockets that this does not know, or one that can't be read: nothing is right then. */
	if (!IN_HEAD(skc_net, 8) || bpf_probe_read_kernel(head, sizeof(head), (const void *)sk)) {
		b->stray++;
		return;
	}
	u64 net = FROM_HEAD(u64, skc_net);

	if (w->only && net != w->only)
		return;
	if (net != b->net) {
		b->inum = (u32)slow_word(net + OFFSET(net, ns.inum));
		b->net = net;
	}
	if (EXISTS(sock_common, skc_v6_daddr)) {
		if (!IN_HEAD(skc_v6_daddr, 16) || !IN_HEAD(skc_v6_rcv_saddr, 16)) {
			b->stray++;
			return;
		}
		u64 d = OFFSET(sock_common, skc_v6_daddr), s = OFFSET(sock_common, skc_v6_rcv_saddr);
		/* Else clang puts them into the loads, and a load of half of a member is not relocated. */
		asm volatile("" : "+r"(d), "+r"(s));
		u64 *daddr = (u64 *)(head + d), *saddr = (u64 *)(head + s);
		v6[0] = daddr[0];
		v6[1] = daddr[1];
		v6[2] = saddr[0];
		v6[3] = saddr[1];
	}
	to = room(w);
	if (to)
		rest(w, to, sk, FROM_HEAD(u32, skc_portpair), FROM_HEAD(u8, skc_state), FROM_HEAD(u16, skc_family),
		     FROM_HEAD(u32, skc_bound_dev_if), FROM_HEAD(u64, skc_addrpair), v6, 0);
}

/* What a chain ends in. */
#define MARKER(bucket) ((u64)(bucket) << 1 | 1)

/*
 * Asks for what will be read of a socket, and waits for none of it. Beyond the end of one that is not whole is what
 * belongs to another: it is not looked at.
 */
static ALWAYS_INLINE void touch(struct walk *w, u64 sk, const int fast)
{
	struct buffer *b = w->buffer;

	b->touched = word(sk, fast);
	if (w->with & WITH_INODE)
		b->touched = word(sk + (EXISTS(sock, sk_ino) ? OFFSET(sock, sk_ino) : OFFSET(sock, sk_socket)), fast);
	if (w->with & WITH_CGROUP && EXISTS(sock, sk_cgrp_data.cgroup))
		b->touched = word(sk + OFFSET(sock, sk_cgrp_data.cgroup), fast);
}

/*
 * First the chains alone, in lanes side by side, so that many reads are under way at once; the sockets then are in the cache
 * or can be read independently of each other. What is remembered is in the map and not on the stack: else the verifier
 * follows every way through every lane, and gives up.
 */
static ALWAYS_INLINE int meet(u64 i, struct walk *w, const int fast)
{
	struct buffer *b = w->buffer;
	u32 lane = i % LANES;
	u64 node = b->at[lane];

	if (!is_end(node)) {
		u64 met = b->met;

		if (met >= NODES)
			return 1;
		b->nodes[met] = node;
		touch(w, node - NODE, fast);
		b->met = met + 1;
		b->at[lane] = word(node, fast);
		return 0;
	}
	if (node == IDLE)
		return 0;
	if (node != MARKER(b->of[lane]))
		b->stray++;
	u64 next = b->next;
	if (next < b->end) {
		b->next = next + 1;
		b->of[lane] = next;
		b->at[lane] = word(w->table + next * 8, fast);
		return 0;
	}
	b->at[lane] = IDLE;
	b->open--;
	return !b->open;
}

static int meet_fast(u64 i, struct walk *w)
{
	return meet(i, w, 1);
}

static int meet_slow(u64 i, struct walk *w)
{
	return meet(i, w, 0);
}

static int read_fast(u64 i, struct walk *w)
{
	if (i >= w->buffer->met)
		return 1;
	socket_fast(w, w->buffer->nodes[i % NODES]);
	return 0;
}

static int read_slow(u64 i, struct walk *w)
{
	if (i >= w->buffer->met)
		return 1;
	socket_slow(w, w->buffer->nodes[i % NODES]);
	return 0;
}

static ALWAYS_INLINE void begin(struct walk *w)
{
	struct buffer *b = w->buffer;
	u64 end = b->bucket + b->size;

	b->start = b->used;
	b->next = b->bucket;
	b->end = end < w->end ? end : w->end;
	b->open = LANES;
	b->stray = b->full = 0;
	/* As if each had come to the end of a chain: it takes the next one. */
	for (int lane = 0; lane < LANES; lane++) {
		b->at[lane] = MARKER(0);
		b->of[lane] = 0;
	}
}

/* All of the group was met, or there was no room for it. Returns whether this call can do no more. */
static ALWAYS_INLINE int finish(struct buffer *b)
{
	b->open = 0;
	if (b->full && (b->start || b->size > 1)) {
		/* Into the next buffer, all of it; or less at a time. */
		int is_first = !b->start;
		b->used = b->start;
		if (is_first)
			b->size /= 2;
		return !is_first;
	}
	if (b->stray && b->tries < TRIES) {
		b->used = b->start;
		b->tries++;
		b->retried++;
		return 0;
	}
	b->astray += b->stray || b->full;
	b->tries = 0;
	b->bucket = b->end;
	return 0;
}

/* A round: as many sockets of a group as NODES has room for. */
static ALWAYS_INLINE int round(struct walk *w, const int fast)
{
	struct buffer *b = w->buffer;

	if (!b->open) {
		if (b->bucket >= w->end)
			return 1;
		begin(w);
	}
	b->met = 0;
	bpf_loop(STEPS, fast ? (void *)meet_fast : (void *)meet_slow, w, 0);
	bpf_loop(NODES + 1, fast ? (void *)read_fast : (void *)read_slow, w, 0);
	return b->open && !b->full ? 0 : finish(b);
}

static int round_fast(u64 i, struct walk *w)
{
	return round(w, 1);
}

static int round_slow(u64 i, struct walk *w)
{
	return round(w, 0);
}

/*
 * Arguments: the buffer's number, the table's address, the first bucket, the one after the last, the address of the
 * namespace whose sockets alone are wanted or 0, how many rounds one call may take, what is wanted of each socket besides,
 * and how many buckets are a group.
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
		.with = ctx->args[6],
	};
	b->used = b->astray = b->retried = b->tries = b->open = 0;
	b->size = ctx->args[7];
	/* What is gone since the last call may have its address reused. */
	b->net = b->inum = b->cgroup = b->cgroup_id = 0;
	b->bucket = ctx->args[2];
	if (bpf_rdonly_cast) {
		b->path = 2;
		bpf_loop(ctx->args[5], round_fast, &w, 0);
	} else {
		b->path = 1;
		bpf_loop(ctx->args[5], round_slow, &w, 0);
	}
	/* Not all of its group was met: another call does. */
	if (b->open)
		b->used = b->start;
	return 1;
}

struct list {
	struct buffer *buffer;
	struct buffer *counter; /* the first: what counts on the stack, the verifier follows one by one */
	u64 at;   /* struct list_head * */
	u64 end;  /* where the ring began */
	u64 ops;  /* what every network namespace points to, and the ring's head does not */
	u64 only; /* the number of the one wanted, or 0 */
};

static int namespace(u64 i, struct list *l)
{
	struct buffer *b = l->buffer;
	u64 net = l->at - OFFSET(net, list);
	u64 inum = (u32)slow_word(net + OFFSET(net, ns.inum));

	if (slow_word(net + OFFSET(net, ns.ops)) == l->ops && (!l->only || l->only == inum)) {
		u64 used = b->used;
		asm volatile("" : "+r"(used));
		if (used > WORDS - NAMESPACE_WORDS) {
			/* The next buffer, if there is one. */
			u32 slot = ++l->counter->taken;
			b = bpf_map_lookup_elem(&buffers, &slot);
			if (!b)
				return 1;
			l->buffer = b;
			b->used = used = 0;
		}
		u64 info = slow_word(net + OFFSET(net, ipv4.tcp_death_row.hashinfo));
		u64 mask = (u32)slow_word(info + OFFSET(inet_hashinfo, ehash_mask));
		u64 *to = &b->words[used];
		to[0] = inum | mask << 32;
		to[1] = net;
		to[2] = slow_word(info + OFFSET(inet_hashinfo, ehash));
		b->used += NAMESPACE_WORDS;
	}
	l->at = slow_word(l->at);
	return l->at == l->end || !l->at;
}

/*
 * Lists the network namespaces of this kernel and their tables, from the calling thread's on: all have the same but
 * those made under a net.ipv4.tcp_child_ehash_entries (6.1). Fills one buffer after another, from the first.
 * Argument: the number of the only namespace wanted, or 0. Returns how many buffers it took, or 0: there are more
 * namespaces than fit, or the ring did not close.
 */
SEC("raw_tp/sched_switch")
int namespaces(struct bpf_raw_tracepoint_args *ctx)
{
	u32 slot = 0;
	struct buffer *b = bpf_map_lookup_elem(&buffers, &slot);

	if (!b)
		return 0;
	u64 proxy = slow_word(bpf_get_current_task() + OFFSET(task_struct, nsproxy));
	u64 net = slow_word(proxy + OFFSET(nsproxy, net_ns));
	struct list l = {
		.buffer = b,
		.counter = b,
		.at = net + OFFSET(net, list),
		.end = net + OFFSET(net, list),
		.ops = slow_word(net + OFFSET(net, ns.ops)),
		.only = ctx->args[0],
	};
	b->used = b->taken = 0;
	bpf_loop(NAMESPACES, namespace, &l, 0);
	return l.at == l.end ? b->taken + 1 : 0;
}
