//! What a scenario changes of the whole kernel.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Value;
use crate::kit::machine;

/// Knobs of the whole kernel, for a machine that was made for the lab.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Global {
    /// Sysctls of no namespace.
    pub sysctl: BTreeMap<GlobalKey, Value>,
    /// CPUs, as the bits of a number, that work on what the server's link receives (RPS).
    pub rps: Option<u32>,
}

impl Global {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.sysctl.is_empty() && self.rps.is_none()
    }
}

/// A sysctl that all network namespaces share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct GlobalKey(pub String);

impl TryFrom<String> for GlobalKey {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        if machine::is_global(&key) {
            Ok(Self(key))
        } else {
            Err(format!("{key:?} is no sysctl of the whole kernel that a scenario may change"))
        }
    }
}
