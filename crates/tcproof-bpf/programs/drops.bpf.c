/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which packets of TCP this kernel drops, by reason and by the port of this host. The numbers of the reasons are another
 * kernel's other numbers: those that the loader finds in this one's types are used.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* In the order of REASONS in src/trace.rs; 0 is any other. */
#define REASONS(X)                                                                                                     \
	X(SKB_DROP_REASON_SOCKET_BACKLOG, 1)                                                                           \
	X(SKB_DROP_REASON_PROTO_MEM, 2)                                                                                \
	X(SKB_DROP_REASON_TCP_OFO_QUEUE_PRUNE, 3)                                                                      \
	X(SKB_DROP_REASON_TCP_OFO_DROP, 4)                                                                             \
	X(SKB_DROP_REASON_TCP_LISTEN_OVERFLOW, 5)                                                                      \
	X(SKB_DROP_REASON_CPU_BACKLOG, 6)                                                                              \
	X(SKB_DROP_REASON_NEIGH_CREATEFAIL, 7)                                                                         \
	X(SKB_DROP_REASON_NEIGH_QUEUEFULL, 8)                                                                          \
	X(SKB_DROP_REASON_NEIGH_FAILED, 9)                                                                             \
	X(SKB_DROP_REASON_QDISC_DROP, 10)                                                                              \
	X(SKB_DROP_REASON_NETFILTER_DROP, 11)                                                                          \
	X(SKB_DROP_REASON_IP_RPFILTER, 12)                                                                             \
	X(SKB_DROP_REASON_PKT_TOO_BIG, 13)                                                                             \
	X(SKB_DROP_REASON_FULL_RING, 14)                                                                               \
	X(SKB_DROP_REASON_NOMEM, 15)                                                                                   \
	X(SKB_DROP_REASON_NO_SOCKET, 16)                                                                               \
	X(SKB_DROP_REASON_TCP_RFC7323_PAWS, 17)                                                                        \
	X(SKB_DROP_REASON_TCP_ZEROWINDOW, 18)                                                                          \
	X(SKB_DROP_REASON_SOCKET_FILTER, 19)                                                                           \
	X(SKB_DROP_REASON_XDP, 20)                                                                                     \
	X(SKB_DROP_REASON_TC_INGRESS, 21)                                                                              \
	X(SKB_DROP_REASON_TC_EGRESS, 22)                                                                               \
	X(SKB_DROP_REASON_PFMEMALLOC, 23)                                                                              \
	X(SKB_DROP_REASON_SECURITY_HOOK, 24)

/* Only the names count. */
enum skb_drop_reason {
#define NAME(name, number) name = number,
	REASONS(NAME)
#undef NAME
};

struct key {
	u32 netns; /* 0 where the packet leads to none */
	u16 port;
	u16 reason;
};

struct {
	UINT(type, BPF_MAP_TYPE_HASH);
	UINT(max_entries, FEWER_ROWS);
	TYPE(key, struct key);
	TYPE(value, u64);
} rows SEC(".maps");

#define ENUM_EXISTS(value) __builtin_preserve_enum_value(*(typeof(enum skb_drop_reason) *)value, 0)
#define ENUM_VALUE(value) __builtin_preserve_enum_value(*(typeof(enum skb_drop_reason) *)value, 1)

static ALWAYS_INLINE u16 known(u32 reason)
{
#define MATCH(name, number)                                                                                            \
	if (ENUM_EXISTS(name) && reason == ENUM_VALUE(name))                                                           \
		return number;
	REASONS(MATCH)
#undef MATCH
	return 0;
}

/* The ports of a TCP segment, as one word; 0 where it is something else. */
static ALWAYS_INLINE u32 ports_of(struct sk_buff *skb)
{
	u64 head = (u64)skb->head, network = head + skb->network_header;
	u8 first = 0, protocol = 0;
	u32 ports = 0, length = 40;

	bpf_probe_read_kernel(&first, 1, (const void *)network);
	if (first >> 4 == 4) {
		length = (first & 15) * 4;
		bpf_probe_read_kernel(&protocol, 1, (const void *)(network + 9));
	} else if (first >> 4 == 6) {
		bpf_probe_read_kernel(&protocol, 1, (const void *)(network + 6));
	}
	if (protocol == IPPROTO_TCP)
		bpf_probe_read_kernel(&ports, sizeof(ports), (const void *)(network + length));
	return ports;
}

SEC("raw_tp")
int reader(void *ctx)
{
	struct state *state = state_of_probe();

	if (state)
		state->tgid = tgid();
	return 0;
}

SEC("tp_btf/kfree_skb")
int drops(u64 *ctx)
{
	struct sk_buff *skb = (void *)ctx[0];
	u32 reason = ctx[2];

	/* A packet of AF_UNIX has no protocol, and the reader made one. */
	if (!skb->protocol) {
		struct state *state = state_of_probe();
		if (state && tgid() == state->tgid)
			COUNT(state, self);
		return 0;
	}
	u32 ports = ports_of(skb);
	if (!ports)
		return 0;
	struct key key = { .reason = known(reason) };
	struct sock *sk = skb->sk;
	struct net_device *dev = skb->dev;
	if (sk) {
		/* On its way out, or in its socket: of this host is the source, or what the socket has. */
		key.netns = sk->__sk_common.skc_net.net->ns.inum;
		key.port = swapped(ports);
	} else {
		if (dev)
			key.netns = dev->nd_net.net->ns.inum;
		key.port = swapped(ports >> 16);
	}
	u64 nothing = 0, *count = row(&rows, &key, &nothing);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
