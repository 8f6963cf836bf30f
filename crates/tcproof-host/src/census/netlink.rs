//! The backend that asks sock_diag: one walk of each namespace for both families, read in place.

use tcproof_core::Absent;
use tcproof_core::census::{Backend, Method, Place, Seen, Tally};
use tcproof_core::snapshot::NetnsId;

use crate::diag::{Diag, Request, Socket, States};

/// With a socket in each namespace.
pub(super) struct Netlink<'a> {
    diags: Vec<(NetnsId, &'a mut Result<Diag, Absent>)>,
}

impl<'a> Netlink<'a> {
    pub(super) fn new(diags: Vec<(NetnsId, &'a mut Result<Diag, Absent>)>) -> Self {
        Self { diags }
    }
}

impl Backend for Netlink<'_> {
    fn method(&self) -> Method {
        Method::Netlink
    }

    fn count(&mut self, places: &[Place], tally: &mut Tally) -> Result<(), Absent> {
        for (at, place) in places.iter().enumerate() {
            let diag = self.diags.iter_mut().find(|(netns, _)| *netns == place.netns).map(|(_, diag)| &mut **diag);
            let counted = match diag {
                Some(Ok(diag)) => walk(diag, place, tally),
                Some(Err(why)) => Err(why.clone()),
                None => Err(Absent::Gone { what: format!("network namespace {}", place.netns) }),
            };
            match counted {
                Ok(()) => {}
                // The kernel has it for every namespace or for none, and refuses it to a process, not to a namespace.
                Err(why @ (Absent::NotInKernel { .. } | Absent::Permission { .. })) if at == 0 => return Err(why),
                Err(why) => tally.absent(place.netns, why),
            }
        }
        Ok(())
    }
}

/// A walk that fails leaves nothing in the tally.
fn walk(diag: &mut Diag, place: &Place, tally: &mut Tally) -> Result<(), Absent> {
    let mut here = Tally::new(tally.bounds());
    let mut counts = here.place(place).fold();
    diag.dump(&Request::tcp(States::ALL_BUT_LISTEN), |socket| counts.add(&seen(socket)))?;
    drop(counts);
    tally.merge(here);
    Ok(())
}

fn seen(socket: &Socket<'_>) -> Seen {
    Seen {
        state: socket.state(),
        small: socket.is_time_wait() || socket.is_small_fin_wait2() || socket.is_request(),
        local: socket.local(),
        remote: socket.remote(),
        inode: socket.inode(),
        cgroup: socket.cgroup_id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcproof_core::census::{Bounds, PortRange, PortSet};

    #[test]
    fn without_tcp_diag_there_is_no_count_and_one_lost_namespace_is_not_all() {
        let place = |n| Place { netns: NetnsId(n), listening: PortSet::default(), ephemeral: PortRange::DEFAULT };
        let places = [place(1), place(2)];
        let refused = || Err(Absent::not_in_kernel("sock_diag"));
        let (mut one, mut other) = (refused(), refused());
        let mut tally = Tally::new(Bounds::default());
        let mut netlink = Netlink::new(vec![(NetnsId(1), &mut one), (NetnsId(2), &mut other)]);
        assert_eq!(netlink.count(&places, &mut tally), refused().map(|_: Diag| ()));
        assert!(tally.namespaces().is_empty());

        let (mut one, mut other) = (Diag::open(), refused());
        let mut netlink = Netlink::new(vec![(NetnsId(1), &mut one), (NetnsId(2), &mut other)]);
        assert_eq!(netlink.count(&places, &mut tally), Ok(()));
        assert!(tally.namespaces()[&NetnsId(1)].value().is_some());
        assert!(tally.namespaces()[&NetnsId(2)].absent().is_some());
    }
}
