//! The backend that reads `/proc/net/tcp` and `/proc/net/tcp6`: where netlink is refused, and in a directory.

use std::collections::BTreeSet;

use tcproof_core::Absent;
use tcproof_core::census::{Backend, Method, Place, Seen, Tally};
use tcproof_core::states::State;

use super::{enter, on_a_thread};
use crate::Root;
use crate::netns::Target;
use crate::procfs::tcp::Lines;

/// With a way into each place, in their order; none in a directory.
pub(super) struct Text<'a> {
    root: &'a Root,
    targets: Vec<Option<&'a Target>>,
}

impl<'a> Text<'a> {
    pub(super) fn new(root: &'a Root, targets: Vec<Option<&'a Target>>) -> Self {
        Self { root, targets }
    }
}

impl Backend for Text<'_> {
    fn method(&self) -> Method {
        Method::Proc
    }

    fn count(&mut self, places: &[Place], tally: &mut Tally) -> Result<(), Absent> {
        let (root, targets) = (self.root, &self.targets);
        on_a_thread(|| {
            for (at, (place, target)) in places.iter().zip(targets).enumerate() {
                match enter(*target).and_then(|()| walk(root, place, tally)) {
                    Ok(()) => {}
                    Err(why @ (Absent::NotInKernel { .. } | Absent::Permission { .. })) if at == 0 => return Err(why),
                    Err(why) => tally.absent(place.netns, why),
                }
            }
            Ok(())
        })
    }
}

/// Counts in a root of which this is the only namespace.
pub(crate) fn walk(root: &Root, place: &Place, tally: &mut Tally) -> Result<(), Absent> {
    // Where netlink tells of no listeners, the text does: nothing to serve by means either that there is none.
    let mut place = place.clone();
    let by_text = place.listening.is_empty();
    if by_text {
        let mut ports = BTreeSet::new();
        files(root, &mut |seen| {
            if seen.state == State::Listen.number() {
                ports.insert(seen.local.port);
            }
        })?;
        place.listening = ports.into_iter().collect();
    }
    let mut here = Tally::new(tally.bounds());
    let mut listening = 0;
    let mut counts = here.place(&place).fold();
    let no_six = files(root, &mut |seen| match State::of_number(seen.state) {
        Some(State::Listen) => listening += u32::from(by_text),
        Some(State::Close) => {}
        _ => counts.add(seen),
    })?;
    drop(counts);
    here.place(&place).states(State::Listen, false, listening);
    here.unseen("control groups of sockets", Absent::not_in_kernel("control groups in /proc/net/tcp"));
    if let Some(why) = no_six {
        here.unseen("IPv6 sockets", why);
    }
    tally.merge(here);
    Ok(())
}

/// Both files; why the second one is missing, unless there is no IPv6.
fn files(root: &Root, each: &mut impl FnMut(&Seen)) -> Result<Option<Absent>, Absent> {
    file(root, "tcp", each)?;
    match file(root, "tcp6", each) {
        Ok(()) | Err(Absent::NotInKernel { .. }) => Ok(None),
        Err(why @ Absent::Failed { .. }) if !root.is_live() => Ok(Some(why)),
        Err(why) => Err(why),
    }
}

fn file(root: &Root, name: &str, each: &mut impl FnMut(&Seen)) -> Result<(), Absent> {
    let path = root.net_path(name);
    let place = format!("/{path}");
    let mut lines = Lines::new(&place);
    root.read_pieces(&path, |piece| lines.feed(piece, each))?;
    lines.finish()
}
