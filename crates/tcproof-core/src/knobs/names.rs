//! The names of sysctls: those of the table, and the others that kernels have, so that a name from outside our subject
//! is not called unknown, and a misspelt one finds its knob.

use alloc::vec::Vec;
use core::cmp::min;

use super::{all, by_key};

/// Whether a kernel from 4.19 on, or the table, has that key: written with dots, and with `/` for a dot within an
/// interface's name.
pub fn is_known(key: &str) -> bool {
    by_key(key).is_some() || OTHER_NAMES.iter().any(|name| covers(name, key))
}

/// The known key that somebody who wrote `key` most likely meant: the same name in another group (`net.ipv4.somaxconn`
/// for `net.core.somaxconn`), else the one that is a few letters away. `None` where there is none, or `key` is known.
pub fn nearest(key: &str) -> Option<&'static str> {
    if key.len() > LONGEST || is_known(key) {
        return None;
    }
    let (group, name) = parts(key);
    let known = || all().map(|knob| knob.key).chain(OTHER_NAMES.iter().copied()).filter(|name| !is_tree(name));
    // A short name, `enabled` or `flush`, means something else in each group.
    let moved = known().filter(|known| name.len() >= 8 && parts(known).1 == name);
    moved.min_by_key(|known| distance(parts(known).0, group)).or_else(|| within(slips(name), key, known()))
}

/// The candidate that is a few letters away from `word`, without regard to case: the first of the closest ones.
pub fn nearest_of<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    within(slips(word), word, candidates)
}

fn within<'a>(bound: usize, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The difference in length is the least that the distance can be: a word of any length costs next to nothing.
    let near = candidates.into_iter().filter(|candidate| candidate.len().abs_diff(word.len()) <= bound);
    let near = near.map(|candidate| (distance(candidate, word), candidate));
    near.filter(|(distance, _)| *distance <= bound).min_by_key(|(distance, _)| *distance).map(|(_, found)| found)
}

/// No key is longer.
const LONGEST: usize = 128;

/// How many slips of the pen a word of that length may hold and still be meant.
fn slips(word: &str) -> usize {
    match word.len() {
        0..=2 => 0,
        3..=7 => 1,
        8..=13 => 2,
        _ => 3,
    }
}

/// A key's group and its last component.
fn parts(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// Whether a name stands for all that is below it.
fn is_tree(name: &str) -> bool {
    name.ends_with(".*")
}

fn covers(name: &str, key: &str) -> bool {
    let Some((before, after)) = name.split_once('*') else { return name == key };
    let rest = key.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    rest.is_some_and(|rest| !rest.is_empty() && (is_tree(name) || !rest.contains('.')))
}

/// Optimal string alignment: how many letters to add, leave out, change, or swap with their neighbour, none twice.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    // Rows of the table of distances between beginnings of both: of `a` with two letters less, one less, and this one.
    let (mut before_last, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    let mut previous = None;
    for (i, x) in a.bytes().map(|byte| byte.to_ascii_lowercase()).enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, &y) in b.iter().enumerate() {
            let mut least = min(min(last[j + 1], row[j]) + 1, last[j] + usize::from(x != y));
            if j > 0 && previous == Some(y) && b[j - 1] == x {
                least = min(least, before_last[j - 1] + 1);
            }
            row.push(least);
        }
        (before_last, last) = (last, row);
        previous = Some(x);
    }
    last.last().copied().unwrap_or_default()
}

/// Names that kernels from 4.19 on have besides those of the table, sorted. `*` stands for the name of an interface, and
/// at the end for all that is below: what modules bring that have nothing to do with TCP.
pub static OTHER_NAMES: &[&str] = &[
    "abi.*",
    "appldata.*",
    "bus.*",
    "crypto.*",
    "debug.*",
    "dev.*",
    "fs.aio-max-nr",
    "fs.aio-nr",
    "fs.binfmt_misc.*",
    "fs.coda.*",
    "fs.dentry-negative",
    "fs.dentry-state",
    "fs.dir-notify-enable",
    "fs.dquot-max",
    "fs.dquot-nr",
    "fs.epoll.max_user_watches",
    "fs.fanotify.max_queued_events",
    "fs.fanotify.max_user_groups",
    "fs.fanotify.max_user_marks",
    "fs.fanotify.watchdog_timeout",
    "fs.fscache.*",
    "fs.fuse.default_request_timeout",
    "fs.fuse.max_pages_limit",
    "fs.fuse.max_request_timeout",
    "fs.inode-max",
    "fs.inode-nr",
    "fs.inode-state",
    "fs.inotify.max_queued_events",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "fs.lease-break-time",
    "fs.leases-enable",
    "fs.mount-max",
    "fs.mqueue.msg_default",
    "fs.mqueue.msg_max",
    "fs.mqueue.msgsize_default",
    "fs.mqueue.msgsize_max",
    "fs.mqueue.queues_max",
    "fs.nfs.*",
    "fs.ocfs2.*",
    "fs.overflowgid",
    "fs.overflowuid",
    "fs.pipe-max-size",
    "fs.pipe-user-pages-hard",
    "fs.pipe-user-pages-soft",
    "fs.protected_fifos",
    "fs.protected_hardlinks",
    "fs.protected_regular",
    "fs.protected_symlinks",
    "fs.quota.*",
    "fs.suid_dumpable",
    "fs.super-max",
    "fs.super-nr",
    "fs.verity.*",
    "fs.xfs.*",
    "kernel.acct",
    "kernel.acpi_video_flags",
    "kernel.apparmor_display_secid_mode",
    "kernel.apparmor_restrict_unprivileged_io_uring",
    "kernel.apparmor_restrict_unprivileged_unconfined",
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.apparmor_restrict_unprivileged_userns_complain",
    "kernel.apparmor_restrict_unprivileged_userns_force",
    "kernel.arch",
    "kernel.auto_msgmni",
    "kernel.bootloader_type",
    "kernel.bootloader_version",
    "kernel.bpf_stats_enabled",
    "kernel.cad_pid",
    "kernel.cap_last_cap",
    "kernel.compat-log",
    "kernel.core_file_note_size_limit",
    "kernel.core_modes",
    "kernel.core_pattern",
    "kernel.core_pipe_limit",
    "kernel.core_sort_vma",
    "kernel.core_uses_pid",
    "kernel.ctrl-alt-del",
    "kernel.dmesg_restrict",
    "kernel.domainname",
    "kernel.firmware_config.*",
    "kernel.ftrace_dump_on_oops",
    "kernel.ftrace_enabled",
    "kernel.hardlockup_all_cpu_backtrace",
    "kernel.hardlockup_panic",
    "kernel.hardlockup_sys_info",
    "kernel.hostname",
    "kernel.hotplug",
    "kernel.hung_task_all_cpu_backtrace",
    "kernel.hung_task_check_count",
    "kernel.hung_task_check_interval_secs",
    "kernel.hung_task_detect_count",
    "kernel.hung_task_panic",
    "kernel.hung_task_sys_info",
    "kernel.hung_task_timeout_secs",
    "kernel.hung_task_warnings",
    "kernel.hyperv_record_panic_msg",
    "kernel.ignore-unaligned-usertrap",
    "kernel.io_delay_type",
    "kernel.io_uring_disabled",
    "kernel.io_uring_group",
    "kernel.kernel_sys_info",
    "kernel.kexec_file_load_disabled",
    "kernel.kexec_load_disabled",
    "kernel.kexec_load_limit_panic",
    "kernel.kexec_load_limit_reboot",
    "kernel.keys.*",
    "kernel.kptr_restrict",
    "kernel.kstack_depth_to_print",
    "kernel.latencytop",
    "kernel.loadpin.*",
    "kernel.lock_stat",
    "kernel.max_lock_depth",
    "kernel.max_rcu_stall_to_panic",
    "kernel.modprobe",
    "kernel.modules_disabled",
    "kernel.msg_next_id",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.ngroups_max",
    "kernel.nmi_watchdog",
    "kernel.nmi_wd_lpm_factor",
    "kernel.ns_last_pid",
    "kernel.numa_balancing",
    "kernel.numa_balancing_promote_rate_limit_MBps",
    "kernel.numa_balancing_scan_delay_ms",
    "kernel.numa_balancing_scan_period_max_ms",
    "kernel.numa_balancing_scan_period_min_ms",
    "kernel.numa_balancing_scan_size_mb",
    "kernel.oops_all_cpu_backtrace",
    "kernel.oops_limit",
    "kernel.osrelease",
    "kernel.ostype",
    "kernel.overflowgid",
    "kernel.overflowuid",
    "kernel.panic",
    "kernel.panic_on_io_nmi",
    "kernel.panic_on_oops",
    "kernel.panic_on_rcu_stall",
    "kernel.panic_on_stackoverflow",
    "kernel.panic_on_unrecovered_nmi",
    "kernel.panic_on_warn",
    "kernel.panic_print",
    "kernel.panic_sys_info",
    "kernel.perf_cpu_time_max_percent",
    "kernel.perf_event_max_contexts_per_stack",
    "kernel.perf_event_max_sample_rate",
    "kernel.perf_event_max_stack",
    "kernel.perf_event_mlock_kb",
    "kernel.perf_event_paranoid",
    "kernel.perf_user_access",
    "kernel.pid_max",
    "kernel.poweroff_cmd",
    "kernel.powersave-nap",
    "kernel.print-fatal-signals",
    "kernel.printk",
    "kernel.printk_delay",
    "kernel.printk_devkmsg",
    "kernel.printk_ratelimit",
    "kernel.printk_ratelimit_burst",
    "kernel.prove_locking",
    "kernel.pty.*",
    "kernel.random.*",
    "kernel.randomize_va_space",
    "kernel.real-root-dev",
    "kernel.reboot-cmd",
    "kernel.sched_autogroup_enabled",
    "kernel.sched_cfs_bandwidth_slice_us",
    "kernel.sched_child_runs_first",
    "kernel.sched_cstate_aware",
    "kernel.sched_deadline_period_max_us",
    "kernel.sched_deadline_period_min_us",
    "kernel.sched_domain.*",
    "kernel.sched_energy_aware",
    "kernel.sched_itmt_enabled",
    "kernel.sched_latency_ns",
    "kernel.sched_migration_cost_ns",
    "kernel.sched_min_granularity_ns",
    "kernel.sched_nr_migrate",
    "kernel.sched_rr_timeslice_ms",
    "kernel.sched_rt_period_us",
    "kernel.sched_rt_runtime_us",
    "kernel.sched_schedstats",
    "kernel.sched_time_avg_ms",
    "kernel.sched_tunable_scaling",
    "kernel.sched_util_clamp_max",
    "kernel.sched_util_clamp_min",
    "kernel.sched_util_clamp_min_rt_default",
    "kernel.sched_wakeup_granularity_ns",
    "kernel.seccomp.*",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.sg-big-buff",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.soft_watchdog",
    "kernel.softlockup_all_cpu_backtrace",
    "kernel.softlockup_panic",
    "kernel.softlockup_sys_info",
    "kernel.spin_retry",
    "kernel.split_lock_mitigate",
    "kernel.stack_erasing",
    "kernel.stack_tracer_enabled",
    "kernel.stop-a",
    "kernel.sysctl_writes_strict",
    "kernel.sysrq",
    "kernel.tainted",
    "kernel.task_delayacct",
    "kernel.threads-max",
    "kernel.timer_migration",
    "kernel.traceoff_on_warning",
    "kernel.tracepoint_printk",
    "kernel.unaligned-dump-stack",
    "kernel.unaligned-trap",
    "kernel.unknown_nmi_panic",
    "kernel.unprivileged_bpf_disabled",
    "kernel.unprivileged_userns_apparmor_policy",
    "kernel.unprivileged_userns_clone",
    "kernel.user_events_max",
    "kernel.usermodehelper.*",
    "kernel.userprocess_debug",
    "kernel.version",
    "kernel.warn_limit",
    "kernel.watchdog",
    "kernel.watchdog_cpumask",
    "kernel.watchdog_thresh",
    "kernel.yama.*",
    "lnet.*",
    "net.appletalk.*",
    "net.ax25.*",
    "net.batman_adv.*",
    "net.bridge.bridge-nf-call-arptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-filter-pppoe-tagged",
    "net.bridge.bridge-nf-filter-vlan-tagged",
    "net.bridge.bridge-nf-pass-vlan-input-dev",
    "net.can.*",
    "net.core.bpf_jit_enable",
    "net.core.bpf_jit_harden",
    "net.core.bpf_jit_kallsyms",
    "net.core.bpf_jit_limit",
    "net.core.dev_weight_rx_bias",
    "net.core.dev_weight_tx_bias",
    "net.core.devconf_inherit_init_net",
    "net.core.fb_tunnels_only_for_init_net",
    "net.core.flow_limit_table_len",
    "net.core.high_order_alloc_disable",
    "net.core.max_skb_frags",
    "net.core.message_burst",
    "net.core.message_cost",
    "net.core.netdev_rss_key",
    "net.core.netdev_tstamp_prequeue",
    "net.core.netdev_unregister_timeout_secs",
    "net.core.tstamp_allow_data",
    "net.core.txq_reselection_ms",
    "net.core.txrehash",
    "net.core.warnings",
    "net.core.xfrm_acq_expires",
    "net.core.xfrm_aevent_etime",
    "net.core.xfrm_aevent_rseqth",
    "net.core.xfrm_larval_drop",
    "net.dccp.*",
    "net.decnet.*",
    "net.ieee802154.*",
    "net.ipv4.cipso_cache_bucket_size",
    "net.ipv4.cipso_cache_enable",
    "net.ipv4.cipso_rbm_optfmt",
    "net.ipv4.cipso_rbm_strictvalid",
    "net.ipv4.conf.*.accept_local",
    "net.ipv4.conf.*.accept_redirects",
    "net.ipv4.conf.*.accept_source_route",
    "net.ipv4.conf.*.arp_accept",
    "net.ipv4.conf.*.arp_announce",
    "net.ipv4.conf.*.arp_evict_nocarrier",
    "net.ipv4.conf.*.arp_filter",
    "net.ipv4.conf.*.arp_ignore",
    "net.ipv4.conf.*.arp_notify",
    "net.ipv4.conf.*.bc_forwarding",
    "net.ipv4.conf.*.bootp_relay",
    "net.ipv4.conf.*.disable_policy",
    "net.ipv4.conf.*.disable_xfrm",
    "net.ipv4.conf.*.drop_gratuitous_arp",
    "net.ipv4.conf.*.drop_unicast_in_l2_multicast",
    "net.ipv4.conf.*.force_igmp_version",
    "net.ipv4.conf.*.forwarding",
    "net.ipv4.conf.*.igmpv2_unsolicited_report_interval",
    "net.ipv4.conf.*.igmpv3_unsolicited_report_interval",
    "net.ipv4.conf.*.ignore_routes_with_linkdown",
    "net.ipv4.conf.*.log_martians",
    "net.ipv4.conf.*.mc_forwarding",
    "net.ipv4.conf.*.medium_id",
    "net.ipv4.conf.*.promote_secondaries",
    "net.ipv4.conf.*.proxy_arp",
    "net.ipv4.conf.*.proxy_arp_pvlan",
    "net.ipv4.conf.*.route_localnet",
    "net.ipv4.conf.*.rp_filter",
    "net.ipv4.conf.*.secure_redirects",
    "net.ipv4.conf.*.send_redirects",
    "net.ipv4.conf.*.shared_media",
    "net.ipv4.conf.*.src_valid_mark",
    "net.ipv4.conf.*.tag",
    "net.ipv4.fib_multipath_hash_fields",
    "net.ipv4.fib_multipath_hash_policy",
    "net.ipv4.fib_multipath_hash_seed",
    "net.ipv4.fib_multipath_use_neigh",
    "net.ipv4.fib_notify_on_flag_change",
    "net.ipv4.fib_sync_mem",
    "net.ipv4.fwmark_reflect",
    "net.ipv4.icmp_echo_enable_probe",
    "net.ipv4.icmp_echo_ignore_all",
    "net.ipv4.icmp_echo_ignore_broadcasts",
    "net.ipv4.icmp_errors_extension_mask",
    "net.ipv4.icmp_errors_use_inbound_ifaddr",
    "net.ipv4.icmp_ignore_bogus_error_responses",
    "net.ipv4.icmp_msgs_burst",
    "net.ipv4.icmp_msgs_per_sec",
    "net.ipv4.icmp_ratelimit",
    "net.ipv4.icmp_ratemask",
    "net.ipv4.igmp_link_local_mcast_reports",
    "net.ipv4.igmp_max_memberships",
    "net.ipv4.igmp_max_msf",
    "net.ipv4.igmp_qrv",
    "net.ipv4.inet_peer_maxttl",
    "net.ipv4.inet_peer_minttl",
    "net.ipv4.inet_peer_threshold",
    "net.ipv4.ip_default_ttl",
    "net.ipv4.ip_dynaddr",
    "net.ipv4.ip_early_demux",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_forward_update_priority",
    "net.ipv4.ip_forward_use_pmtu",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv4.ipfrag_high_thresh",
    "net.ipv4.ipfrag_low_thresh",
    "net.ipv4.ipfrag_max_dist",
    "net.ipv4.ipfrag_secret_interval",
    "net.ipv4.ipfrag_time",
    "net.ipv4.neigh.*.anycast_delay",
    "net.ipv4.neigh.*.app_solicit",
    "net.ipv4.neigh.*.base_reachable_time",
    "net.ipv4.neigh.*.base_reachable_time_ms",
    "net.ipv4.neigh.*.delay_first_probe_time",
    "net.ipv4.neigh.*.gc_stale_time",
    "net.ipv4.neigh.*.interval_probe_time_ms",
    "net.ipv4.neigh.*.locktime",
    "net.ipv4.neigh.*.mcast_resolicit",
    "net.ipv4.neigh.*.mcast_solicit",
    "net.ipv4.neigh.*.proxy_delay",
    "net.ipv4.neigh.*.proxy_qlen",
    "net.ipv4.neigh.*.retrans_time",
    "net.ipv4.neigh.*.retrans_time_ms",
    "net.ipv4.neigh.*.ucast_solicit",
    "net.ipv4.neigh.*.unres_qlen",
    "net.ipv4.neigh.*.unres_qlen_bytes",
    "net.ipv4.nexthop_compat_mode",
    "net.ipv4.ping_group_range",
    "net.ipv4.raw_l3mdev_accept",
    "net.ipv4.route.error_burst",
    "net.ipv4.route.error_cost",
    "net.ipv4.route.flush",
    "net.ipv4.route.min_adv_mss",
    "net.ipv4.route.min_pmtu",
    "net.ipv4.route.mtu_expires",
    "net.ipv4.route.redirect_load",
    "net.ipv4.route.redirect_number",
    "net.ipv4.route.redirect_silence",
    "net.ipv4.tcp_available_ulp",
    "net.ipv4.tcp_comp_sack_rtt_percent",
    "net.ipv4.tcp_ecn_option",
    "net.ipv4.tcp_ecn_option_beacon",
    "net.ipv4.tcp_fwmark_accept",
    "net.ipv4.tcp_l3mdev_accept",
    "net.ipv4.tcp_pingpong_thresh",
    "net.ipv4.tcp_plb_cong_thresh",
    "net.ipv4.tcp_plb_enabled",
    "net.ipv4.tcp_plb_idle_rehash_rounds",
    "net.ipv4.tcp_plb_rehash_rounds",
    "net.ipv4.tcp_plb_suspend_rto_sec",
    "net.ipv4.tcp_reflect_tos",
    "net.ipv4.tcp_rx_skb_cache",
    "net.ipv4.tcp_tx_skb_cache",
    "net.ipv4.udp_child_hash_entries",
    "net.ipv4.udp_early_demux",
    "net.ipv4.udp_hash_entries",
    "net.ipv4.udp_l3mdev_accept",
    "net.ipv4.udp_mem",
    "net.ipv4.udp_rmem_min",
    "net.ipv4.udp_wmem_min",
    "net.ipv4.vs.*",
    "net.ipv4.xfrm4_gc_thresh",
    "net.ipv6.anycast_src_echo_reply",
    "net.ipv6.auto_flowlabels",
    "net.ipv6.bindv6only",
    "net.ipv6.calipso_cache_bucket_size",
    "net.ipv6.calipso_cache_enable",
    "net.ipv6.conf.*.accept_dad",
    "net.ipv6.conf.*.accept_ra",
    "net.ipv6.conf.*.accept_ra_defrtr",
    "net.ipv6.conf.*.accept_ra_from_local",
    "net.ipv6.conf.*.accept_ra_min_hop_limit",
    "net.ipv6.conf.*.accept_ra_min_lft",
    "net.ipv6.conf.*.accept_ra_mtu",
    "net.ipv6.conf.*.accept_ra_pinfo",
    "net.ipv6.conf.*.accept_ra_rt_info_max_plen",
    "net.ipv6.conf.*.accept_ra_rt_info_min_plen",
    "net.ipv6.conf.*.accept_ra_rt_table",
    "net.ipv6.conf.*.accept_ra_rtr_pref",
    "net.ipv6.conf.*.accept_redirects",
    "net.ipv6.conf.*.accept_source_route",
    "net.ipv6.conf.*.accept_untracked_na",
    "net.ipv6.conf.*.addr_gen_mode",
    "net.ipv6.conf.*.autoconf",
    "net.ipv6.conf.*.dad_transmits",
    "net.ipv6.conf.*.disable_ipv6",
    "net.ipv6.conf.*.disable_policy",
    "net.ipv6.conf.*.drop_unicast_in_l2_multicast",
    "net.ipv6.conf.*.drop_unsolicited_na",
    "net.ipv6.conf.*.enhanced_dad",
    "net.ipv6.conf.*.force_forwarding",
    "net.ipv6.conf.*.force_mld_version",
    "net.ipv6.conf.*.force_tllao",
    "net.ipv6.conf.*.forwarding",
    "net.ipv6.conf.*.hop_limit",
    "net.ipv6.conf.*.ignore_routes_with_linkdown",
    "net.ipv6.conf.*.ioam6_enabled",
    "net.ipv6.conf.*.ioam6_id",
    "net.ipv6.conf.*.ioam6_id_wide",
    "net.ipv6.conf.*.keep_addr_on_down",
    "net.ipv6.conf.*.max_addresses",
    "net.ipv6.conf.*.max_desync_factor",
    "net.ipv6.conf.*.mc_forwarding",
    "net.ipv6.conf.*.mldv1_unsolicited_report_interval",
    "net.ipv6.conf.*.mldv2_unsolicited_report_interval",
    "net.ipv6.conf.*.mtu",
    "net.ipv6.conf.*.ndisc_evict_nocarrier",
    "net.ipv6.conf.*.ndisc_notify",
    "net.ipv6.conf.*.ndisc_tclass",
    "net.ipv6.conf.*.optimistic_dad",
    "net.ipv6.conf.*.proxy_ndp",
    "net.ipv6.conf.*.ra_defrtr_metric",
    "net.ipv6.conf.*.ra_honor_pio_life",
    "net.ipv6.conf.*.ra_honor_pio_pflag",
    "net.ipv6.conf.*.regen_max_retry",
    "net.ipv6.conf.*.regen_min_advance",
    "net.ipv6.conf.*.router_probe_interval",
    "net.ipv6.conf.*.router_solicitation_delay",
    "net.ipv6.conf.*.router_solicitation_interval",
    "net.ipv6.conf.*.router_solicitation_max_interval",
    "net.ipv6.conf.*.router_solicitations",
    "net.ipv6.conf.*.rpl_seg_enabled",
    "net.ipv6.conf.*.seg6_enabled",
    "net.ipv6.conf.*.seg6_require_hmac",
    "net.ipv6.conf.*.stable_secret",
    "net.ipv6.conf.*.suppress_frag_ndisc",
    "net.ipv6.conf.*.temp_prefered_lft",
    "net.ipv6.conf.*.temp_valid_lft",
    "net.ipv6.conf.*.use_oif_addrs_only",
    "net.ipv6.conf.*.use_optimistic",
    "net.ipv6.conf.*.use_tempaddr",
    "net.ipv6.fib_multipath_hash_fields",
    "net.ipv6.fib_multipath_hash_policy",
    "net.ipv6.fib_notify_on_flag_change",
    "net.ipv6.flowlabel_consistency",
    "net.ipv6.flowlabel_reflect",
    "net.ipv6.flowlabel_state_ranges",
    "net.ipv6.fwmark_reflect",
    "net.ipv6.icmp.echo_ignore_all",
    "net.ipv6.icmp.echo_ignore_anycast",
    "net.ipv6.icmp.echo_ignore_multicast",
    "net.ipv6.icmp.error_anycast_as_unicast",
    "net.ipv6.icmp.errors_extension_mask",
    "net.ipv6.icmp.ratelimit",
    "net.ipv6.icmp.ratemask",
    "net.ipv6.idgen_delay",
    "net.ipv6.idgen_retries",
    "net.ipv6.ioam6_id",
    "net.ipv6.ioam6_id_wide",
    "net.ipv6.ip6frag_high_thresh",
    "net.ipv6.ip6frag_low_thresh",
    "net.ipv6.ip6frag_secret_interval",
    "net.ipv6.ip6frag_time",
    "net.ipv6.ip_nonlocal_bind",
    "net.ipv6.max_dst_opts_length",
    "net.ipv6.max_dst_opts_number",
    "net.ipv6.max_hbh_length",
    "net.ipv6.max_hbh_opts_number",
    "net.ipv6.mld_max_msf",
    "net.ipv6.mld_qrv",
    "net.ipv6.neigh.*.anycast_delay",
    "net.ipv6.neigh.*.app_solicit",
    "net.ipv6.neigh.*.base_reachable_time",
    "net.ipv6.neigh.*.base_reachable_time_ms",
    "net.ipv6.neigh.*.delay_first_probe_time",
    "net.ipv6.neigh.*.gc_stale_time",
    "net.ipv6.neigh.*.interval_probe_time_ms",
    "net.ipv6.neigh.*.locktime",
    "net.ipv6.neigh.*.mcast_resolicit",
    "net.ipv6.neigh.*.mcast_solicit",
    "net.ipv6.neigh.*.proxy_delay",
    "net.ipv6.neigh.*.proxy_qlen",
    "net.ipv6.neigh.*.retrans_time",
    "net.ipv6.neigh.*.retrans_time_ms",
    "net.ipv6.neigh.*.ucast_solicit",
    "net.ipv6.neigh.*.unres_qlen",
    "net.ipv6.neigh.*.unres_qlen_bytes",
    "net.ipv6.route.flush",
    "net.ipv6.route.gc_elasticity",
    "net.ipv6.route.gc_interval",
    "net.ipv6.route.gc_min_interval",
    "net.ipv6.route.gc_min_interval_ms",
    "net.ipv6.route.gc_thresh",
    "net.ipv6.route.gc_timeout",
    "net.ipv6.route.max_size",
    "net.ipv6.route.min_adv_mss",
    "net.ipv6.route.mtu_expires",
    "net.ipv6.route.skip_notify_on_dev_down",
    "net.ipv6.seg6_flowlabel",
    "net.ipv6.xfrm6_gc_thresh",
    "net.ipx.*",
    "net.irda.*",
    "net.iucv.*",
    "net.iw_cm.*",
    "net.l2tp.*",
    "net.llc.*",
    "net.mctp.*",
    "net.mpls.*",
    "net.mptcp.add_addr_v6_port_drop_ts",
    "net.netfilter.nf_conntrack_checksum",
    "net.netfilter.nf_conntrack_dccp_loose",
    "net.netfilter.nf_conntrack_dccp_timeout_closereq",
    "net.netfilter.nf_conntrack_dccp_timeout_closing",
    "net.netfilter.nf_conntrack_dccp_timeout_open",
    "net.netfilter.nf_conntrack_dccp_timeout_partopen",
    "net.netfilter.nf_conntrack_dccp_timeout_request",
    "net.netfilter.nf_conntrack_dccp_timeout_respond",
    "net.netfilter.nf_conntrack_dccp_timeout_timewait",
    "net.netfilter.nf_conntrack_events",
    "net.netfilter.nf_conntrack_expect_max",
    "net.netfilter.nf_conntrack_frag6_high_thresh",
    "net.netfilter.nf_conntrack_frag6_low_thresh",
    "net.netfilter.nf_conntrack_frag6_timeout",
    "net.netfilter.nf_conntrack_generic_timeout",
    "net.netfilter.nf_conntrack_gre_timeout",
    "net.netfilter.nf_conntrack_gre_timeout_stream",
    "net.netfilter.nf_conntrack_helper",
    "net.netfilter.nf_conntrack_icmp_timeout",
    "net.netfilter.nf_conntrack_icmpv6_timeout",
    "net.netfilter.nf_conntrack_log_invalid",
    "net.netfilter.nf_conntrack_sctp_timeout_closed",
    "net.netfilter.nf_conntrack_sctp_timeout_cookie_echoed",
    "net.netfilter.nf_conntrack_sctp_timeout_cookie_wait",
    "net.netfilter.nf_conntrack_sctp_timeout_established",
    "net.netfilter.nf_conntrack_sctp_timeout_heartbeat_acked",
    "net.netfilter.nf_conntrack_sctp_timeout_heartbeat_sent",
    "net.netfilter.nf_conntrack_sctp_timeout_shutdown_ack_sent",
    "net.netfilter.nf_conntrack_sctp_timeout_shutdown_recd",
    "net.netfilter.nf_conntrack_sctp_timeout_shutdown_sent",
    "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst",
    "net.netfilter.nf_conntrack_tcp_max_retrans",
    "net.netfilter.nf_conntrack_timestamp",
    "net.netfilter.nf_conntrack_udp_timeout",
    "net.netfilter.nf_conntrack_udp_timeout_stream",
    "net.netfilter.nf_flowtable_tcp_pickup",
    "net.netfilter.nf_flowtable_tcp_timeout",
    "net.netfilter.nf_flowtable_udp_pickup",
    "net.netfilter.nf_flowtable_udp_timeout",
    "net.netfilter.nf_log.*",
    "net.netfilter.nf_log_all_netns",
    "net.netrom.*",
    "net.phonet.*",
    "net.rdma_ucm.*",
    "net.rds.*",
    "net.rose.*",
    "net.rxrpc.*",
    "net.sctp.*",
    "net.smc.*",
    "net.tipc.*",
    "net.token-ring.*",
    "net.unix.max_dgram_qlen",
    "net.vrf.*",
    "net.x25.*",
    "s390dbf.*",
    "sunrpc.*",
    "user.*",
    "vm.admin_reserve_kbytes",
    "vm.block_dump",
    "vm.compact_memory",
    "vm.compact_unevictable_allowed",
    "vm.compaction_proactiveness",
    "vm.defrag_mode",
    "vm.dirty_background_bytes",
    "vm.dirty_background_ratio",
    "vm.dirty_bytes",
    "vm.dirty_expire_centisecs",
    "vm.dirty_ratio",
    "vm.dirty_writeback_centisecs",
    "vm.dirtytime_expire_seconds",
    "vm.drop_caches",
    "vm.enable_soft_offline",
    "vm.extfrag_threshold",
    "vm.extra_free_kbytes",
    "vm.highmem_is_dirtyable",
    "vm.hugetlb_optimize_vmemmap",
    "vm.hugetlb_shm_group",
    "vm.laptop_mode",
    "vm.legacy_va_layout",
    "vm.lowmem_reserve_ratio",
    "vm.max_map_count",
    "vm.mem_profiling",
    "vm.memfd_noexec",
    "vm.memory_failure_early_kill",
    "vm.memory_failure_recovery",
    "vm.min_free_kbytes",
    "vm.min_slab_ratio",
    "vm.min_unmapped_ratio",
    "vm.mmap_min_addr",
    "vm.mmap_rnd_bits",
    "vm.mmap_rnd_compat_bits",
    "vm.movable_gigantic_pages",
    "vm.nr_hugepages",
    "vm.nr_hugepages_mempolicy",
    "vm.nr_overcommit_hugepages",
    "vm.nr_trim_pages",
    "vm.numa_stat",
    "vm.numa_zonelist_order",
    "vm.oom_dump_tasks",
    "vm.oom_kill_allocating_task",
    "vm.overcommit_kbytes",
    "vm.overcommit_memory",
    "vm.overcommit_ratio",
    "vm.page-cluster",
    "vm.page_lock_unfairness",
    "vm.panic_on_oom",
    "vm.percpu_pagelist_fraction",
    "vm.percpu_pagelist_high_fraction",
    "vm.stat_interval",
    "vm.stat_refresh",
    "vm.swappiness",
    "vm.unprivileged_userfaultfd",
    "vm.user_reserve_kbytes",
    "vm.vdso64_enabled",
    "vm.vdso_enabled",
    "vm.vfs_cache_pressure",
    "vm.vfs_cache_pressure_denom",
    "vm.watermark_boost_factor",
    "vm.watermark_scale_factor",
    "vm.zone_reclaim_mode",
    "xen.*",
];

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_other_names_are_sorted() {
        let unsorted: Vec<_> = OTHER_NAMES.windows(2).filter(|pair| pair[0] >= pair[1]).collect();
        assert!(unsorted.is_empty(), "{unsorted:?}");
        assert!(all().all(|knob| knob.key.len() <= LONGEST));
    }

    #[test]
    fn an_interface_is_one_component_and_a_tree_all_below_it() {
        for key in [
            "net.core.somaxconn",
            "net.ipv4.conf.all.rp_filter",
            "net.ipv4.conf.eth0/100.rp_filter",
            "net.ipv6.conf.default.disable_ipv6",
            "net.ipv4.neigh.eth0.gc_stale_time",
            "net.bridge.bridge-nf-call-iptables",
            "net.ipv4.vs.conn_reuse_mode",
            "dev.tty.ldisc_autoload",
            "kernel.yama.ptrace_scope",
            "vm.swappiness",
        ] {
            assert!(is_known(key), "{key}");
        }
        for key in [
            "",
            "net",
            "net.ipv4",
            "net.core.somaxcon",
            "net.ipv4.conf.rp_filter",
            "net.ipv4.conf..rp_filter",
            "net.ipv4.conf.eth0.100.rp_filter",
            "net.ipv4.vs.",
            "net.ipv4.neigh.eth0.gc_thresh3",
        ] {
            assert!(!is_known(key), "{key}");
        }
    }

    #[test]
    fn the_nearest_key() {
        let found: Vec<_> = [
            "net.ipv4.somaxconn",
            "somaxconn",
            "net.core.somaxcon",
            "net.core.tcp_max_syn_backlog",
            "net.ipv4.tcp_max_syn_backlogs",
            "net.ipv4.rp_filter",
            "net.ipv4.conf.eth0.100.rp_filter",
            "net.bridge.bridge-nf-call-iptable",
            "vm.swapiness",
            "vm.swappines",
            "net.core.enabled",
            "net.core.flush",
            "net.ipv4.tcp_foo",
            "net.ipv4.vs.foo",
            "my.own.key",
            "net.core.somaxconn",
            "",
        ]
        .map(|key| format!("{key} → {}", nearest(key).unwrap_or("nothing")))
        .into();
        insta::assert_snapshot!(found.join("\n"), @r"
        net.ipv4.somaxconn → net.core.somaxconn
        somaxconn → net.core.somaxconn
        net.core.somaxcon → net.core.somaxconn
        net.core.tcp_max_syn_backlog → net.ipv4.tcp_max_syn_backlog
        net.ipv4.tcp_max_syn_backlogs → net.ipv4.tcp_max_syn_backlog
        net.ipv4.rp_filter → net.ipv4.conf.*.rp_filter
        net.ipv4.conf.eth0.100.rp_filter → net.ipv4.conf.*.rp_filter
        net.bridge.bridge-nf-call-iptable → net.bridge.bridge-nf-call-iptables
        vm.swapiness → vm.swappiness
        vm.swappines → vm.swappiness
        net.core.enabled → nothing
        net.core.flush → nothing
        net.ipv4.tcp_foo → nothing
        net.ipv4.vs.foo → nothing
        my.own.key → nothing
        net.core.somaxconn → nothing
         → nothing
        ");
    }

    #[test]
    fn the_nearest_word() {
        let limits = ["syn-queue", "accept-queue", "loss", "mptcp"];
        assert_eq!(nearest_of("acept-queu", limits), Some("accept-queue"));
        assert_eq!(nearest_of("MTPCP", limits), Some("mptcp"));
        assert_eq!(nearest_of("los", limits), Some("loss"));
        for word in ["", "x", "boss-queue", "lo", &"loss".repeat(1 << 16)] {
            assert_eq!(nearest_of(word, limits), None, "{word:.20}");
        }
        assert_eq!(nearest_of("ab1", ["ab2", "ab3"]), Some("ab2"), "the first of equals");
        assert_eq!(distance("ca", "abc"), 3, "no letter twice");
        assert_eq!([distance("", "abc"), distance("abc", ""), distance("abc", "acb")], [3, 3, 1]);
    }

    /// A key with one slip: a letter left out, added, changed, or swapped with the next.
    fn slip(key: &str, slip: usize, at: usize, letter: char) -> String {
        let mut letters: Vec<char> = key.chars().collect();
        let at = at % (letters.len() - 1);
        match slip {
            0 => drop(letters.remove(at)),
            1 => letters.insert(at, letter),
            2 => letters[at] = letter,
            _ => letters.swap(at, at + 1),
        }
        letters.into_iter().collect()
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(key in ".{0,200}", word in "\\PC{0,40}") {
            let _ = (is_known(&key), nearest(&key), nearest_of(&key, [&*word, "", "net"]));
            prop_assert_eq!(distance(&key, &word), distance(&word, &key));
        }

        #[test]
        fn one_slip_finds_the_knob_or_one_as_near(
            knob in any::<prop::sample::Index>(), kind in 0..4_usize, at in any::<usize>(), letter in "[a-z_]",
        ) {
            let knobs: Vec<_> = all().collect();
            let key = slip(knob.get(&knobs).key, kind, at, letter.chars().next().unwrap_or('x'));
            if !is_known(&key) {
                let found = nearest(&key).unwrap_or_default();
                prop_assert!(distance(found, &key) <= 1, "{key}: {found}");
            }
        }
    }
}
