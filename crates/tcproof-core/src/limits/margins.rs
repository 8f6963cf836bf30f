//! What two windows of one host, or two readings of one window, differ by without a reason: the thresholds of
//! [`crate::verify`] and [`crate::interval`], here because all are.

/// Loads whose ratio is at most this are comparable: traffic of a few seconds varies by less than that from one window to
/// the next, while an overload that merely ended, or a client that was switched off, is mostly a larger step.
pub(crate) const COMPARABLE: f64 = 2.0;
/// Rates that differ by less than this share of the larger one are the same: what two runs of one load differ by.
pub(crate) const MARGIN: f64 = 0.2;
/// Shares of a capacity that differ by less than this are the same: one burst more or less.
pub(crate) const SHARE_MARGIN: f64 = 0.1;
/// Of `n` events that come by chance, another window has `n` ± √n. A difference has to be more than so many of that: five
/// events and then none are just enough.
pub(crate) const SIGMAS: f64 = 2.1;
/// How often a client tries within a window of some seconds when its handshake is dropped (SYNs at 0, 1 and 3 s): each
/// counts as a drop, but it is one client.
pub(crate) const TRIES: f64 = 3.0;
/// So many events a working probe can't have missed, though it is attached a moment later than the counters are read.
pub(crate) const MISSED: u64 = 50;
/// What a change needs before it is felt by those that come next, in seconds.
pub(crate) const SETTLE: u32 = 1;
/// How long a closed connection stays in TIME_WAIT (`TCP_TIMEWAIT_LEN` of `include/net/tcp.h`; no sysctl changes it), in
/// seconds: what holds such connections is as full as it will be only after that.
pub(crate) const TIME_WAIT: u32 = 60;
/// Knobs that make room for connections in TIME_WAIT. Right after, any of them has cured everything.
pub(crate) const ROOM_FOR_TIME_WAIT: &[&str] =
    &["net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_max_tw_buckets"];
