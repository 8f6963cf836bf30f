//! Route netlink: the devices of the calling thread's namespace, their counters, and the queues they send from.
//!
//! net/core/rtnetlink.c `rtnl_fill_ifinfo`, net/sched/sch_api.c `tc_fill_qdisc`, include/uapi/linux/if_link.h.

mod link;
mod qdisc;

use std::collections::BTreeMap;

use rustix::io::Errno;
use tcproof_core::snapshot::{Link, Qdisc};
use tcproof_core::{Absent, Reading};

use crate::netlink::{Netlink, Refused, Request};

const RTM_GETLINK: u16 = 18;
const RTM_GETQDISC: u16 = 38;
/// Size of `struct ifinfomsg`, of which zeros mean "all".
const IFINFOMSG: usize = 16;
/// Size of `struct tcmsg`.
const TCMSG: usize = 20;
/// A table that changes while it is dumped is asked for again so many times.
const TRIES: usize = 3;

pub use link::decode as decode_link;
pub use qdisc::decode as decode_qdisc;

/// Every device by its name.
pub(crate) fn links() -> Result<BTreeMap<String, Link>, Absent> {
    let mut netlink = Netlink::route().map_err(|refused| refused.absent("devices through route netlink"))?;
    let mut links = again(|| {
        let mut links = BTreeMap::new();
        netlink.ask(&Request::dump(RTM_GETLINK, &[0; IFINFOMSG]), |payload| links.extend(decode_link(payload)))?;
        Ok(links)
    })
    .map_err(|refused| refused.absent("devices through route netlink"))?;

    let qdiscs = again(|| {
        let mut qdiscs: BTreeMap<u32, Qdisc> = BTreeMap::new();
        netlink.ask(&Request::dump(RTM_GETQDISC, &[0; TCMSG]), |payload| {
            if let Some(found) = decode_qdisc(payload) {
                found.put(&mut qdiscs);
            }
        })?;
        Ok(qdiscs)
    });
    match qdiscs.map_err(without_sched) {
        Ok(mut qdiscs) => {
            for link in links.values_mut() {
                let qdisc = qdiscs.remove(&link.index).filter(|qdisc| !qdisc.kind.is_empty());
                link.qdisc = match qdisc {
                    Some(qdisc) => Reading::Present(qdisc),
                    None => Reading::Absent(Absent::NotNeeded),
                };
            }
        }
        Err(why) => links.values_mut().for_each(|link| link.qdisc = Reading::Absent(why.clone())),
    }
    Ok(links)
}

fn again<T>(mut dump: impl FnMut() -> Result<T, Refused>) -> Result<T, Refused> {
    let mut last = dump();
    for _ in 1..TRIES {
        if last.as_ref().err() != Some(&Refused::Errno(Errno::INTR)) {
            break;
        }
        last = dump();
    }
    last
}

/// A kernel without CONFIG_NET_SCHED does not know the request.
fn without_sched(refused: Refused) -> Absent {
    match refused {
        Refused::Errno(Errno::OPNOTSUPP) => Absent::not_in_kernel("queueing disciplines (CONFIG_NET_SCHED)"),
        refused => refused.absent("queueing disciplines through route netlink"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_of_proc_net_dev_is_here_with_the_same_counters() {
        let links = links().unwrap();
        let root = crate::Root::new("/");
        let dev = crate::procfs::dev::parse(&root.read_lossy("proc/thread-self/net/dev").unwrap(), "dev").unwrap();
        assert!(dev.keys().all(|name| links.contains_key(name)), "{dev:?} {links:?}");
        let lo = &links["lo"];
        assert!(lo.index == 1 && lo.mtu > 0 && !lo.is_card() && lo.kind.is_none());
        assert!(lo.stats.value().unwrap().rx_packets <= dev["lo"].rx_packets);
    }
}
