//! `RTM_NEWQDISC`: `struct tcmsg` and its attributes.

use std::collections::BTreeMap;

use tcproof_core::snapshot::Qdisc;

use super::TCMSG;
use crate::netlink::{Attributes, text_of, u32_of, u64_at};

const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;
/// All 64 bits of the packets (since 5.5).
const TCA_STATS_PKT64: u16 = 8;
const TC_H_ROOT: u32 = 0xffff_ffff;
/// `ingress` and `clsact`: filters for what comes in, no queue.
const TC_H_INGRESS: u32 = 0xffff_fff1;
/// So many kinds are told below one root: a device has few, but this is the kernel's input.
const KINDS: usize = 16;

/// A queueing discipline of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    device: u32,
    parent: u32,
    qdisc: Qdisc,
}

impl Found {
    /// Puts it where it belongs: a root counts for what is below it, of which only the kinds are kept.
    pub(super) fn put(self, qdiscs: &mut BTreeMap<u32, Qdisc>) {
        let known = qdiscs.entry(self.device).or_default();
        match self.parent {
            TC_H_ROOT => {
                let below = std::mem::take(&mut known.below);
                *known = Qdisc { below, ..self.qdisc };
            }
            TC_H_INGRESS => {}
            _ if known.below.len() < KINDS => {
                known.below.insert(self.qdisc.kind);
            }
            _ => {}
        }
    }
}

/// One queueing discipline; none where the message is too short for one, or has no kind.
pub fn decode(payload: &[u8]) -> Option<Found> {
    // family and padding, index, handle, parent, info
    let header: &[u8; TCMSG] = payload.first_chunk()?;
    let (device, parent) = (u32_of(&header[4..])?, u32_of(&header[12..])?);
    let mut qdisc = Qdisc::default();
    for (kind, value) in Attributes(&payload[TCMSG..]) {
        match kind {
            TCA_KIND => qdisc.kind = text_of(value),
            TCA_STATS2 => statistics(value, &mut qdisc),
            _ => {}
        }
    }
    (!qdisc.kind.is_empty()).then_some(Found { device, parent, qdisc })
}

fn statistics(nest: &[u8], qdisc: &mut Qdisc) {
    let mut packets64 = None;
    for (kind, value) in Attributes(nest) {
        // struct gnet_stats_queue: qlen, backlog, drops, requeues, overlimits.
        let word = |index: usize| value.get(index * 4..).and_then(u32_of).unwrap_or(0);
        match kind {
            // bytes (64 bits), packets (32 bits)
            TCA_STATS_BASIC => qdisc.packets = value.get(8..).and_then(u32_of).map_or(0, u64::from),
            TCA_STATS_PKT64 => packets64 = u64_at(value, 0),
            TCA_STATS_QUEUE => {
                (qdisc.qlen, qdisc.backlog, qdisc.drops) = (word(0), word(1), word(2));
                (qdisc.requeues, qdisc.overlimits) = (word(3), word(4));
            }
            _ => {}
        }
    }
    qdisc.packets = packets64.unwrap_or(qdisc.packets);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::tests::attribute;
    use proptest::prelude::*;

    fn message(parent: u32, kind: &str, drops: u32) -> Vec<u8> {
        let queue = [3, 4500, drops, 1, 9].map(u32::to_ne_bytes).concat();
        let basic = [&7_000_u64.to_ne_bytes()[..], &70_u32.to_ne_bytes(), &[0; 4]].concat();
        let stats = [attribute(TCA_STATS_BASIC, &basic), attribute(TCA_STATS_QUEUE, &queue)].concat();
        let mut payload = [0, 5, 0, parent, 2].map(u32::to_ne_bytes).concat();
        payload.extend([attribute(TCA_KIND, kind.as_bytes()), attribute(TCA_STATS2, &stats)].concat());
        payload
    }

    fn all(messages: &[Vec<u8>]) -> BTreeMap<u32, Qdisc> {
        let mut qdiscs = BTreeMap::new();
        messages.iter().filter_map(|message| decode(message)).for_each(|found| found.put(&mut qdiscs));
        qdiscs
    }

    #[test]
    fn the_root_counts_and_what_is_below_is_named() {
        let child = message(1, "fq_codel\0", 77);
        let root = message(TC_H_ROOT, "mq\0", 80);
        let ingress = message(TC_H_INGRESS, "clsact\0", 5);
        let seen = all(&[child.clone(), ingress.clone(), root.clone(), message(2, "fq\0", 3)]);
        insta::assert_snapshot!(format!("{seen:?}"), @r#"{5: Qdisc { kind: "mq", below: {"fq", "fq_codel"}, packets: 70, qlen: 3, backlog: 4500, drops: 80, requeues: 1, overlimits: 9 }}"#);
        // Nothing waits at an ingress; without a root there is no kind.
        assert_eq!(all(&[ingress])[&5], Qdisc::default());
    }

    #[test]
    fn packets_beyond_32_bits_are_counted_since_5_5() {
        let wide = [attribute(TCA_STATS_BASIC, &[0xff; 16]), attribute(TCA_STATS_PKT64, &(1_u64 << 33).to_ne_bytes())];
        let mut payload = [0, 5, 0, TC_H_ROOT, 0].map(u32::to_ne_bytes).concat();
        payload.extend([attribute(TCA_KIND, b"fq\0"), attribute(TCA_STATS2, &wide.concat())].concat());
        assert_eq!(decode(&payload).unwrap().qdisc.packets, 1 << 33);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
            let mut nested = vec![0; TCMSG];
            nested.extend(attribute(TCA_KIND, b"x"));
            nested.extend(attribute(TCA_STATS2, &bytes));
            prop_assert!(decode(&nested).is_some());
        }
    }
}
