//! Of a network namespace: /proc/net/snmp, sockstat, MPTcpExt, connection tracking.

use super::Counter;

pub(super) static COUNTERS: &[Counter] = &[];
