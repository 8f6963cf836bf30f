//! Generic netlink "ethtool" (since 5.6): what a device is set to. Reads only, needs no privilege.
//!
//! Documentation/networking/ethtool-netlink.rst, include/uapi/linux/ethtool_netlink.h.

use std::collections::BTreeSet;

use rustix::io::Errno;
use tcproof_core::Absent;
use tcproof_core::snapshot::{Channels, Coalesce, LinkSettings, Offloads, Rings, Rss};

use crate::netlink::{Attributes, Netlink, Refused, Request, text_of, u32_of};

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Size of `struct genlmsghdr`: command, version, two bytes for later.
const GENLMSGHDR: usize = 4;
/// `NLA_F_NESTED`, which ethtool insists on.
const NESTED: u16 = 0x8000;
/// The nest that names the device; the same number in every request.
const ETHTOOL_A_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_MSG_LINKMODES_GET: u8 = 4;
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_MSG_RINGS_GET: u8 = 15;
const ETHTOOL_MSG_CHANNELS_GET: u8 = 17;
const ETHTOOL_MSG_COALESCE_GET: u8 = 19;
/// Since 6.3; an older kernel answers EOPNOTSUPP, as a driver without RSS does.
const ETHTOOL_MSG_RSS_GET: u8 = 38;

/// The ethtool family, asked for by its name.
#[derive(Debug)]
pub(crate) struct Ethtool {
    netlink: Netlink,
    family: u16,
}

impl Ethtool {
    /// In the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, Absent> {
        let absent = |refused| match refused {
            Refused::Errno(Errno::NOENT) => Absent::not_in_kernel("ethtool netlink (since 5.6)"),
            refused => refused.absent("device settings through ethtool netlink"),
        };
        let mut netlink = Netlink::generic().map_err(absent)?;
        let request =
            Request::one(GENL_ID_CTRL, &[CTRL_CMD_GETFAMILY, 1, 0, 0]).attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
        let mut family = None;
        netlink
            .ask(&request, |payload| {
                let id = payload.get(GENLMSGHDR..).and_then(|message| find(message, CTRL_ATTR_FAMILY_ID));
                family = family.or(id.and_then(|id| id.first_chunk()).map(|id| u16::from_ne_bytes(*id)));
            })
            .map_err(absent)?;
        let family = family.ok_or_else(|| Absent::not_in_kernel("ethtool netlink (since 5.6)"))?;
        Ok(Self { netlink, family })
    }

    /// What one device says of itself. What its driver does not say is absent, quietly.
    pub(crate) fn settings(&mut self, device: u32) -> LinkSettings {
        let absent = LinkSettings::absent(&Absent::NotNeeded);
        LinkSettings {
            speed: self.ask(device, ETHTOOL_MSG_LINKMODES_GET, "its speed", speed).into(),
            rings: self.ask(device, ETHTOOL_MSG_RINGS_GET, "ring sizes", rings).into(),
            channels: self.ask(device, ETHTOOL_MSG_CHANNELS_GET, "its queues", channels).into(),
            coalesce: self.ask(device, ETHTOOL_MSG_COALESCE_GET, "interrupt coalescing", coalesce).into(),
            offloads: self.ask(device, ETHTOOL_MSG_FEATURES_GET, "offloads", offloads).into(),
            rss: self.ask(device, ETHTOOL_MSG_RSS_GET, "receive-side scaling", rss).into(),
            ..absent
        }
    }

    fn ask<T>(&mut self, device: u32, command: u8, what: &str, read: fn(&[u8]) -> Option<T>) -> Result<T, Absent> {
        let silent = || Absent::Failed { what: what.into(), error: "the driver does not say".into() };
        // The header is one nested attribute: the device's index.
        let mut header = [8_u16.to_ne_bytes(), ETHTOOL_A_HEADER_DEV_INDEX.to_ne_bytes()].concat();
        header.extend(device.to_ne_bytes());
        let request = Request::one(self.family, &[command, 1, 0, 0]).attribute(ETHTOOL_A_HEADER | NESTED, &header);
        let mut answer = None;
        match self.netlink.ask(&request, |payload| answer = payload.get(GENLMSGHDR..).and_then(read)) {
            Ok(()) => answer.ok_or_else(silent),
            Err(Refused::Errno(Errno::OPNOTSUPP)) => Err(silent()),
            Err(refused) => Err(refused.absent(what)),
        }
    }
}

/// The first attribute of that type, in a message behind its header or in a nest.
fn find(message: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes(message).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// The number that an attribute is.
fn number(message: &[u8], wanted: u16) -> Option<u32> {
    find(message, wanted).and_then(u32_of)
}

/// Megabits a second; none where the link is down, or the device has no speed (`SPEED_UNKNOWN`).
fn speed(message: &[u8]) -> Option<u32> {
    const SPEED: u16 = 5;
    number(message, SPEED).filter(|speed| *speed != 0 && *speed != u32::MAX)
}

fn rings(message: &[u8]) -> Option<Rings> {
    const RX_MAX: u16 = 2;
    const TX_MAX: u16 = 5;
    const RX: u16 = 6;
    const TX: u16 = 9;
    let of = |kind| number(message, kind);
    let rx = of(RX)?;
    Some(Rings { rx, rx_max: of(RX_MAX).unwrap_or(rx), tx: of(TX).unwrap_or(0), tx_max: of(TX_MAX).unwrap_or(0) })
}

fn channels(message: &[u8]) -> Option<Channels> {
    const RX_MAX: u16 = 2;
    const COMBINED_MAX: u16 = 5;
    const RX: u16 = 6;
    const COMBINED: u16 = 9;
    let of = |kind| number(message, kind).unwrap_or(0);
    let channels = Channels { rx: of(RX), rx_max: of(RX_MAX), combined: of(COMBINED), combined_max: of(COMBINED_MAX) };
    (channels.receiving() > 0).then_some(channels)
}

fn coalesce(message: &[u8]) -> Option<Coalesce> {
    const RX_USECS: u16 = 2;
    const RX_MAX_FRAMES: u16 = 3;
    const USE_ADAPTIVE_RX: u16 = 11;
    let coalesce = Coalesce {
        adaptive_rx: find(message, USE_ADAPTIVE_RX).and_then(|flag| flag.first()).map(|flag| *flag != 0),
        rx_usecs: number(message, RX_USECS),
        rx_frames: number(message, RX_MAX_FRAMES),
    };
    (coalesce != Coalesce::default()).then_some(coalesce)
}

/// The names of the features that are on, from the verbose bitset: their numbers differ from kernel to kernel.
fn offloads(message: &[u8]) -> Option<Offloads> {
    const ACTIVE: u16 = 4;
    const BITS: u16 = 3;
    const BIT: u16 = 1;
    const NAME: u16 = 2;
    let active = find(message, ACTIVE)?;
    let mut offloads = Offloads::default();
    for (_, bit) in Attributes(find(active, BITS).unwrap_or(&[])).filter(|(kind, _)| *kind == BIT) {
        match find(bit, NAME).map(text_of).as_deref() {
            Some("rx-gro") => offloads.gro = true,
            Some("tx-generic-segmentation") => offloads.gso = true,
            Some("tx-tcp-segmentation") => offloads.tso = true,
            Some("rx-lro") => offloads.lro = true,
            _ => {}
        }
    }
    Some(offloads)
}

fn rss(message: &[u8]) -> Option<Rss> {
    const INDIR: u16 = 4;
    let table = find(message, INDIR)?;
    let queues: BTreeSet<_> = table.chunks_exact(4).filter_map(u32_of).collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (!queues.is_empty()).then(|| Rss { entries: count(table.len() / 4), queues: count(queues.len()) })
}

/// Reads bytes as every answer there is: for the fuzz target.
pub fn decode_anything(bytes: &[u8]) -> usize {
    let seen = [
        speed(bytes).is_some(),
        rings(bytes).is_some(),
        channels(bytes).is_some(),
        coalesce(bytes).is_some(),
        offloads(bytes).is_some(),
        rss(bytes).is_some(),
    ];
    seen.iter().filter(|seen| **seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::tests::attribute;
    use proptest::prelude::*;

    fn numbers(numbers: &[(u16, u32)]) -> Vec<u8> {
        numbers.iter().flat_map(|(kind, n)| attribute(*kind, &n.to_ne_bytes())).collect()
    }

    #[test]
    fn rings_channels_and_speed() {
        let rx_only = rings(&numbers(&[(1, 0), (6, 512), (2, 4096), (99, 1)])).unwrap();
        assert_eq!((rx_only.rx, rx_only.rx_max, rx_only.tx), (512, 4096, 0));
        assert_eq!(rings(&numbers(&[(2, 4096)])), None);
        let both = channels(&numbers(&[(5, 8), (9, 2)])).unwrap();
        assert_eq!((both.receiving(), both.combined_max), (2, 8));
        assert_eq!(channels(&numbers(&[(5, 8)])), None);
        assert_eq!((speed(&numbers(&[(5, 10_000)])), speed(&numbers(&[(5, u32::MAX)]))), (Some(10_000), None));
    }

    #[test]
    fn coalescing_and_the_indirection_table() {
        let adaptive = [numbers(&[(2, 8)]), attribute(11, &[1])].concat();
        assert_eq!(
            coalesce(&adaptive).unwrap(),
            Coalesce { adaptive_rx: Some(true), rx_usecs: Some(8), rx_frames: None }
        );
        assert_eq!(coalesce(&[]), None);
        let table: Vec<u8> = [0_u32, 1, 0, 1, 3].iter().flat_map(|n| n.to_ne_bytes()).collect();
        assert_eq!(rss(&attribute(4, &table)), Some(Rss { entries: 5, queues: 3 }));
        assert_eq!(rss(&attribute(4, &[])), None);
    }

    #[test]
    fn features_are_found_by_name() {
        let bit = |name: &[u8]| attribute(1, &[numbers(&[(1, 14)]), attribute(2, name), attribute(3, &[])].concat());
        let bits = [bit(b"rx-gro\0"), bit(b"rx-gro-list\0"), bit(b"tx-tcp-segmentation\0"), bit(b"\xff\0")].concat();
        let active = attribute(4, &[numbers(&[(2, 64)]), attribute(3, &bits)].concat());
        assert_eq!(offloads(&active), Some(Offloads { gro: true, tso: true, ..Offloads::default() }));
        assert_eq!(offloads(&attribute(4, &[])), Some(Offloads::default()));
        assert_eq!(offloads(&[]), None);
    }

    #[test]
    fn the_kernel_tells_the_offloads_of_lo_and_none_of_its_rings() {
        let mut ethtool = match Ethtool::open() {
            Ok(ethtool) => ethtool,
            Err(why) => return eprintln!("SKIP: {why}"),
        };
        let lo = ethtool.settings(1);
        assert!(lo.offloads.value().is_some_and(|offloads| offloads.gso), "{lo:?}");
        insta::assert_snapshot!(lo.rings.absent().unwrap(), @"ring sizes: the driver does not say");
        // The socket goes on answering after a refusal, and for a device that is gone.
        let gone = ethtool.settings(u32::MAX);
        assert!(gone.rings.absent().is_some() && gone.offloads.absent().is_some(), "{gone:?}");
        assert!(ethtool.settings(1).offloads.value().is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_anything(&bytes);
            let _ = decode_anything(&attribute(4, &attribute(3, &attribute(1, &bytes))));
            let _ = decode_anything(&attribute(4, &bytes));
        }
    }
}
