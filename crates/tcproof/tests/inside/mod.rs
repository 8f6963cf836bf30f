//! Where tests that use the loopback run.

use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::{require_root, rtnl};

/// In a namespace of its own as root, so that nothing else is on its loopback; else where we are.
pub(crate) fn inside(test: impl FnOnce() + Send + 'static) {
    if require_root().is_err() {
        return test();
    }
    let test = || {
        rtnl::up("lo").unwrap();
        test();
    };
    Netns::new().unwrap().run_in(test).unwrap();
}
