/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the programs here need of the kernel and of libbpf's headers, and no more: no vmlinux.h, no system header, so that
 * the blobs depend on this folder and on the compiler alone. Only the names and types of members count: the kernel that
 * loads a program puts in the offsets of its own (CO-RE, 5.17 and later).
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define KFUNC __attribute__((section(".ksyms"))) __attribute__((weak))
/* The members of a map's definition, which libbpf reads from the types. */
#define UINT(name, value) int(*name)[value]
#define TYPE(name, of) typeof(of) *name

enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2 };
enum { BPF_F_MMAPABLE = 1 << 10 };
enum { BPF_NOEXIST = 1 };
enum { TCP_SYN_SENT = 2, TCP_SYN_RECV = 3, TCP_TIME_WAIT = 6, TCP_CLOSE = 7, TCP_LISTEN = 10, TCP_NEW_SYN_RECV = 12 };
enum { AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10 };
enum { SOCK_STREAM = 1 };
enum { IPPROTO_TCP = 6, IPPROTO_MPTCP = 262 };

/* Helpers, by number (include/uapi/linux/bpf.h). */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*const bpf_get_current_comm)(void *to, u32 bytes) = (void *)16;
static u64 (*const bpf_get_current_task)(void) = (void *)35;
static long (*const bpf_probe_read_kernel)(void *to, u32 bytes, const void *from) = (void *)113;
struct seq_file;
struct task_struct;
static long (*const bpf_seq_write)(struct seq_file *seq, const void *from, u32 bytes) = (void *)127;
static struct task_struct *(*const bpf_get_current_task_btf)(void) = (void *)158;
static long (*const bpf_loop)(u32 times, void *callback, void *context, u64 flags) = (void *)181;

/* Relocations: where a member is, whether it is, and which type is meant. */
#define OFFSET(type, member) ((u64)__builtin_preserve_field_info(((struct type *)0)->member, 0))
/*
 * Whether a member is in this kernel. What depends on it must not move before the question: where a member is that is not
 * there becomes an instruction that no verifier lets pass.
 */
#define EXISTS(type, member)                                                                                           \
	(__builtin_preserve_field_info(((struct type *)0)->member, 2) && ({                                            \
		 asm volatile("" ::: "memory");                                                                        \
		 1;                                                                                                    \
	 }))
#define SIZE(type) __builtin_preserve_type_info(*(struct type *)0, 1)
#define TYPE_ID(type) __builtin_btf_type_id(*(struct type *)0, 1)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next;
};
struct timespec64 {
	s64 tv_sec;
};

struct proc_ns_operations;
struct ns_common {
	const struct proc_ns_operations *ops;
	u32 inum;
};
struct hlist_nulls_node {
	struct hlist_nulls_node *next;
};
struct inet_ehash_bucket;
struct inet_hashinfo {
	struct inet_ehash_bucket *ehash;
	u32 ehash_mask;
};
struct inet_timewait_death_row {
	struct inet_hashinfo *hashinfo;
};
struct netns_ipv4 {
	struct inet_timewait_death_row tcp_death_row;
};
struct net {
	struct list_head list;
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};
struct nsproxy {
	struct net *net_ns;
};
struct pid_namespace;
struct upid {
	int nr;
	struct pid_namespace *ns;
};
struct pid {
	u32 level;
	struct upid numbers[0]; /* one for each level, from the outermost on */
};
enum { PIDTYPE_TGID = 1 };
struct signal_struct {
	struct pid *pids[4];
};
struct file {
	const void *f_op;
	void *private_data;
};
struct fdtable {
	u32 max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct task_struct {
	int pid;
	int tgid;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	u64 start_boottime;
	struct files_struct *files;
	struct signal_struct *signal;
	struct nsproxy *nsproxy;
};

typedef struct {
	struct net *net;
} possible_net_t;
struct in6_addr {};
typedef struct {
	s64 counter;
} atomic64_t;
struct sock_common {
	u64 skc_addrpair; /* destination, then source */
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u32 skc_portpair; /* destination in network order, then the local port in the host's */
	u16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	volatile u8 skc_state;
	int skc_bound_dev_if;
	struct proto *skc_prot;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
	struct hlist_nulls_node skc_nulls_node;
};

struct inet_timewait_sock {
	volatile u8 tw_substate;
};

struct kernfs_node {
	u64 id;
};
struct cgroup {
	struct kernfs_node *kn;
};
struct sock_cgroup_data {
	struct cgroup *cgroup;
};
struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	u16 sk_protocol;
	u32 sk_ack_backlog;
	u32 sk_max_ack_backlog;
	struct socket *sk_socket;
	unsigned long sk_ino; /* since 6.17 */
	struct sock_cgroup_data sk_cgrp_data;
};
struct inet_sock {
	u16 inet_sport;
};
struct socket {
	struct sock *sk;
};
struct proto {
	long *sysctl_mem;
};
struct net_device {
	possible_net_t nd_net;
};
struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	u16 protocol;
	u16 network_header;
	u8 *head;
};
/* As perf sees it: by it the arguments are known. */
struct trace_event_raw_kfree_skb {
	void *rx_sk; /* since 6.11 */
};
struct inode {
	unsigned long i_ino;
};
struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

/* The arguments of a raw tracepoint, which BPF_PROG_TEST_RUN hands over. */
struct bpf_raw_tracepoint_args {
	u64 args[0];
};
