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

struct value {
	u64 packets;
};

TABLE(FEWER_ROWS);

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

READER

SEC("tp_btf/kfree_skb")
int drops(u64 *ctx)
{
	struct sk_buff *skb = (void *)ctx[0];
	u32 reason = ctx[2];

	/* A packet of AF_UNIX has no protocol, and the reader made one. */
	if (!skb->protocol) {
		count_own();
		return 0;
	}
	u32 ports = ports_of(skb);
	if (!ports)
		return 0;
	struct key key = { .reason = known(reason) };
	struct sock *sk = skb->sk, *receiver = 0;
	struct net_device *dev = skb->dev;
	u16 source = swapped(ports), destination = swapped(ports >> 16);
	/* tcp_v4_rcv() takes the device away before its socket refuses it: since 6.11 that is told. */
	if (EXISTS(trace_event_raw_kfree_skb, rx_sk))
		receiver = (void *)ctx[3];
	if (sk) {
		/* On its way out; or on its way in, with the socket that an early look had found for it (tcp_v4_early_demux()). */
		key.netns = sk->__sk_common.skc_net.net->ns.inum;
		key.port = sk->__sk_common.skc_num == destination ? destination : source;
	} else if (is_inet(receiver)) {
		key.netns = receiver->__sk_common.skc_net.net->ns.inum;
		key.port = destination;
	} else {
		if (dev)
			key.netns = dev->nd_net.net->ns.inum;
		key.port = destination;
	}
	struct value nothing = {}, *value = row(&rows, &key, &nothing);
	if (value)
		COUNT(value, packets);
	return 0;
}
