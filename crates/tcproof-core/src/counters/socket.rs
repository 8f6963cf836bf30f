//! Of one socket, as sock_diag and TCP_INFO tell it.

use super::Counter;

pub(super) static COUNTERS: &[Counter] = &[];
