/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the probes have in common. Each is attached to tracepoints for the length of one window, and adds up in a table what
 * passes by; nothing is sent to anybody meanwhile. The tables are allocated beforehand: a tracepoint may be in the middle
 * of an allocation.
 */
#pragma once
#include "kernel.h"

/* Making a table of 8192 rows takes 2 ms: no larger than needed. */
enum { ROWS = 8192, FEWER_ROWS = 2048, NAMESPACE_ROWS = 256 };

/* Of the only entry of `state`. */
struct state {
	u64 lost; /* events that the table had no room for */
	u64 self; /* what the reader itself caused, to see that the probe is attached */
	/* Who reads, by which processes are numbered: its pid namespace, and how deep that is. */
	u64 level;
	u64 pid_ns;
	u32 tgid; /* of the reader, in the outermost namespace */
	u32 unused;
};

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(max_entries, 1);
	UINT(map_flags, BPF_F_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct state);
} state SEC(".maps");

static ALWAYS_INLINE struct state *state_of_probe(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

static ALWAYS_INLINE u32 tgid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

/* Counts what the reader itself caused. */
static ALWAYS_INLINE void count_own(void)
{
	struct state *state = state_of_probe();

	if (state && tgid() == state->tgid)
		__sync_fetch_and_add(&state->self, 1);
}

/* Of a probe that can be tested: run once by the reader, which is known from then on. */
#define READER                                                                                                         \
	SEC("raw_tp")                                                                                                  \
	int reader(void *ctx)                                                                                          \
	{                                                                                                              \
		struct state *state = state_of_probe();                                                                \
                                                                                                                       \
		if (state)                                                                                             \
			state->tgid = tgid();                                                                          \
		return 0;                                                                                              \
	}

/* A probe's table, of its own `struct key` and `struct value`. */
#define TABLE(most)                                                                                                    \
	struct {                                                                                                       \
		UINT(type, BPF_MAP_TYPE_HASH);                                                                         \
		UINT(max_entries, most);                                                                               \
		TYPE(key, struct key);                                                                                 \
		TYPE(value, struct value);                                                                             \
	} rows SEC(".maps")

/* The row of a key, made where there is none; null, and counted, where there is no room. */
static ALWAYS_INLINE void *row(void *rows, const void *key, const void *nothing)
{
	void *found = bpf_map_lookup_elem(rows, key);

	if (found)
		return found;
	/* Another CPU may be faster: then theirs is found. */
	bpf_map_update_elem(rows, key, nothing, BPF_NOEXIST);
	found = bpf_map_lookup_elem(rows, key);
	if (!found) {
		struct state *state = state_of_probe();
		if (state)
			__sync_fetch_and_add(&state->lost, 1);
	}
	return found;
}

#define COUNT(row, member) __sync_fetch_and_add(&(row)->member, 1)

/*
 * Whether an argument of a tracepoint is a socket of TCP's families. Kernels before 6.13 take every argument for one that is
 * not null, leave out a program's own question, and read at address 0; a copy is safe whatever the address.
 */
static ALWAYS_INLINE int is_inet(struct sock *sk)
{
	u16 family = 0;

	if (!sk)
		return 0;
	bpf_probe_read_kernel(&family, sizeof(family), &sk->__sk_common.skc_family);
	return family == AF_INET || family == AF_INET6;
}

struct ends {
	u32 netns;
	u16 local_port;
	u16 remote_port;
	u8 local[16];
	u8 remote[16]; /* IPv4 as ::ffff:a.b.c.d */
};

static ALWAYS_INLINE void put_address(u8 *to, u16 family, u32 v4, const struct in6_addr *v6)
{
	if (family == AF_INET6) {
		bpf_probe_read_kernel(to, 16, v6);
		return;
	}
	__builtin_memset(to, 0, 16);
	to[10] = to[11] = 0xff;
	__builtin_memcpy(to + 12, &v4, 4);
}

static ALWAYS_INLINE u16 swapped(u16 port)
{
	return __builtin_bswap16(port);
}

static ALWAYS_INLINE void put_ends(struct ends *ends, struct sock *sk)
{
	u16 family = sk->__sk_common.skc_family;

	ends->netns = sk->__sk_common.skc_net.net->ns.inum;
	ends->local_port = sk->__sk_common.skc_num;
	ends->remote_port = swapped(sk->__sk_common.skc_dport);
	put_address(ends->local, family, sk->__sk_common.skc_rcv_saddr, &sk->__sk_common.skc_v6_rcv_saddr);
	put_address(ends->remote, family, sk->__sk_common.skc_daddr, &sk->__sk_common.skc_v6_daddr);
}
