//! `RTM_NEWLINK`: `struct ifinfomsg` and its attributes.

use tcproof_core::snapshot::{Link, LinkStats};
use tcproof_core::{Absent, Reading};

use super::IFINFOMSG;
use crate::netlink::{Attributes, text_of, u32_of, u64_at};

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;
const IFLA_INFO_KIND: u16 = 1;
/// `IFF_UP | IFF_RUNNING`.
const RUNNING: u32 = 0x1 | 0x40;

/// A device's name and what is known of it; none where the message is too short for one, or has no name.
pub fn decode(payload: &[u8]) -> Option<(String, Link)> {
    // family, padding, type (16 bits), index, flags, change mask
    let header: &[u8; IFINFOMSG] = payload.first_chunk()?;
    let mut link = Link {
        index: u32_of(&header[4..])?,
        running: u32_of(&header[8..])? & RUNNING == RUNNING,
        stats: Reading::Absent(Absent::not_in_kernel("IFLA_STATS64")),
        ..Link::default()
    };
    let (mut name, mut bus, mut parent) = (None, None, None);
    for (kind, value) in Attributes(&payload[IFINFOMSG..]) {
        let number = u32_of(value);
        match kind {
            IFLA_IFNAME => name = Some(text_of(value)),
            IFLA_MTU => link.mtu = number.unwrap_or(0),
            IFLA_MASTER => link.master = number,
            IFLA_NUM_RX_QUEUES => link.queues.0 = number.unwrap_or(1),
            IFLA_NUM_TX_QUEUES => link.queues.1 = number.unwrap_or(1),
            IFLA_PARENT_DEV_NAME => parent = Some(text_of(value)),
            IFLA_PARENT_DEV_BUS_NAME => bus = Some(text_of(value)),
            IFLA_LINKINFO => {
                link.kind = Attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND).map(|(_, kind)| text_of(kind));
            }
            IFLA_STATS64 => link.stats = stats(value).into(),
            _ => {}
        }
    }
    link.parent = bus.zip(parent);
    Some((name.filter(|name| !name.is_empty())?, link))
}

/// `struct rtnl_link_stats64`, which only ever grew at its end. `rx_nohandler` came with 4.6.
fn stats(value: &[u8]) -> Result<LinkStats, Absent> {
    let at = |index: usize| {
        u64_at(value, index).ok_or_else(|| Absent::Unparsable {
            place: format!("IFLA_STATS64:byte {}", value.len()),
            expected: "23 counters of 64 bits".into(),
        })
    };
    Ok(LinkStats {
        rx_packets: at(0)?,
        tx_packets: at(1)?,
        rx_bytes: at(2)?,
        tx_bytes: at(3)?,
        rx_errors: at(4)?,
        tx_errors: at(5)?,
        rx_dropped: at(6)?,
        tx_dropped: at(7)?,
        rx_over_errors: at(11)?,
        rx_fifo_errors: at(14)?,
        rx_missed_errors: at(15)?,
        tx_fifo_errors: at(18)?,
        rx_nohandler: at(23).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::tests::attribute;
    use proptest::prelude::*;

    fn counters(n: u64) -> Vec<u8> {
        (0..n).flat_map(|n| (n + 100).to_ne_bytes()).collect()
    }

    fn message(attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = vec![0; IFINFOMSG];
        payload[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        payload[8..12].copy_from_slice(&0x1043_u32.to_ne_bytes());
        payload.extend(attributes.concat());
        payload
    }

    #[test]
    fn a_card_and_a_veth() {
        let card = message(&[
            attribute(IFLA_IFNAME, b"eth0\0"),
            attribute(IFLA_MTU, &1500_u32.to_ne_bytes()),
            attribute(IFLA_NUM_RX_QUEUES, &8_u32.to_ne_bytes()),
            attribute(999, &[1; 77]),
            attribute(IFLA_STATS64, &counters(25)),
            attribute(IFLA_PARENT_DEV_NAME, b"virtio2\0"),
            attribute(IFLA_PARENT_DEV_BUS_NAME, b"virtio\0"),
        ]);
        let (name, link) = decode(&card).unwrap();
        assert_eq!((&*name, link.index, link.mtu, link.queues, link.running), ("eth0", 7, 1500, (8, 1), true));
        assert_eq!((link.is_card(), link.hypervisor()), (true, Some("virtio")));
        insta::assert_snapshot!(format!("{:?}", link.stats.value().unwrap()), @"LinkStats { rx_packets: 100, tx_packets: 101, rx_bytes: 102, tx_bytes: 103, rx_errors: 104, tx_errors: 105, rx_dropped: 106, tx_dropped: 107, rx_over_errors: 111, rx_fifo_errors: 114, rx_missed_errors: 115, tx_fifo_errors: 118, rx_nohandler: 123 }");
        let info = attribute(IFLA_INFO_KIND, b"veth\0");
        let veth = message(&[
            attribute(IFLA_IFNAME, b"veth0\0"),
            attribute(IFLA_LINKINFO | 0x8000, &info),
            attribute(IFLA_MASTER, &3_u32.to_ne_bytes()),
        ]);
        let (_, link) = decode(&veth).unwrap();
        assert_eq!((link.kind.as_deref(), link.master, link.is_card()), (Some("veth"), Some(3), false));
        assert!(matches!(link.stats, Reading::Absent(Absent::NotInKernel { .. })));
    }

    #[test]
    fn an_older_kernels_counters_are_enough_and_too_few_are_none() {
        let of =
            |n| decode(&message(&[attribute(IFLA_IFNAME, b"x"), attribute(IFLA_STATS64, &counters(n))])).unwrap().1;
        assert_eq!(of(23).stats.value().unwrap().rx_nohandler, 0);
        insta::assert_snapshot!(of(10).stats.absent().unwrap(), @"IFLA_STATS64:byte 80: expected 23 counters of 64 bits");
    }

    #[test]
    fn a_message_without_a_name_or_cut_off_is_no_device() {
        assert_eq!(decode(&message(&[])), None);
        assert_eq!(decode(&message(&[attribute(IFLA_IFNAME, b"\0")])), None);
        assert_eq!(decode(&[0; IFINFOMSG - 1]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes);
            let _ = decode(&message(&[attribute(IFLA_IFNAME, b"x"), attribute(IFLA_STATS64, &bytes), bytes.clone()]));
            let _ = decode(&message(&[attribute(IFLA_LINKINFO, &bytes), bytes]));
        }
    }
}
