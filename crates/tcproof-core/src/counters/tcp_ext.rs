//! The TcpExt group of /proc/net/netstat.

use super::Counter;

pub(super) static COUNTERS: &[Counter] = &[];
