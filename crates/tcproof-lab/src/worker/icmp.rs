//! What a router says to the sender of a packet that is too large for the next link.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::kit::spoof::internet_checksum;

/// The router that the link would be.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 255, 254);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0xffff, 0xfffe);

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const ICMP_HEADER: usize = 8;
/// An ICMPv6 error fits into the least MTU (RFC 4443, 2.4 c).
const LEAST_IPV6_MTU: usize = 1280;
const DONT_FRAGMENT: u8 = 0x40;
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;
const HOPS: u8 = 64;

/// "Fragmentation needed" (RFC 1191) or "packet too big" (RFC 4443). `None` for what no router answers: it would
/// fragment an IPv4 packet that allows it.
pub(super) fn too_big(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    match packet.first()? >> 4 {
        4 if *packet.get(6)? & DONT_FRAGMENT != 0 => {
            let header = usize::from(packet[0] & 0xf) * 4;
            // The kernel looks for the ports in the first eight bytes.
            let quoted = packet.get(..header + 8)?;
            let source = packet.get(12..16)?;
            let [high, low] = mtu.to_be_bytes();
            let icmp = with_checksum([&[3, 4, 0, 0, 0, 0, high, low], quoted].concat(), &[]);
            let [length_high, length_low] = ((IPV4_HEADER + icmp.len()) as u16).to_be_bytes();
            let head = [0x45, 0, length_high, length_low, 0, 0, DONT_FRAGMENT, 0, HOPS, IPPROTO_ICMP, 0, 0];
            let mut ip = [&head[..], &ROUTER.octets(), source].concat();
            let checksum = internet_checksum(&[&ip]);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            ip.extend(icmp);
            Some(ip)
        }
        6 => {
            let quoted = &packet[..packet.len().min(LEAST_IPV6_MTU - IPV6_HEADER - ICMP_HEADER)];
            let source = packet.get(8..24)?;
            let [high, low] = mtu.to_be_bytes();
            let [length_high, length_low] = ((ICMP_HEADER + quoted.len()) as u16).to_be_bytes();
            let pseudo = [0, 0, length_high, length_low, 0, 0, 0, IPPROTO_ICMPV6];
            let pseudo = [&ROUTER6.octets(), source, &pseudo].concat();
            let icmp = with_checksum([&[2, 0, 0, 0, 0, 0, high, low], quoted].concat(), &pseudo);
            let head = [0x60, 0, 0, 0, length_high, length_low, IPPROTO_ICMPV6, HOPS];
            Some([&head[..], &ROUTER6.octets(), source, &icmp].concat())
        }
        _ => None,
    }
}

fn with_checksum(mut icmp: Vec<u8>, pseudo: &[u8]) -> Vec<u8> {
    let checksum = internet_checksum(&[pseudo, &icmp]);
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    icmp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_senders_are_told_where_they_forbid_fragments() {
        let mut packet = vec![0x45; 1500];
        packet[6] = DONT_FRAGMENT;
        packet[12..16].copy_from_slice(&[10, 77, 0, 1]);
        let answer = too_big(&packet, 1280).expect("it is IPv4");
        assert_eq!((&answer[12..16], &answer[16..20]), (&ROUTER.octets()[..], &[10, 77, 0, 1][..]));
        assert_eq!((answer.len(), &answer[20..22], &answer[26..28]), (56, &[3, 4][..], &1280_u16.to_be_bytes()[..]));
        assert_eq!((internet_checksum(&[&answer[..20]]), internet_checksum(&[&answer[20..]])), (0, 0));
        packet[6] = 0;
        assert_eq!(too_big(&packet, 1280), None);
    }

    #[test]
    fn ipv6_senders_are_always_told() {
        let mut packet = vec![0x60; 1500];
        packet[8..24].copy_from_slice(&[7; 16]);
        let answer = too_big(&packet, 1280).expect("it is IPv6");
        assert_eq!((answer.len(), answer[40], &answer[24..40]), (1280, 2, &[7; 16][..]));
        let pseudo = [&answer[8..40], &[0, 0, 0x04, 0xd8, 0, 0, 0, IPPROTO_ICMPV6]].concat();
        assert_eq!(internet_checksum(&[&pseudo, &answer[40..]]), 0);
    }

    #[test]
    fn nonsense_gets_no_answer() {
        for packet in [&[][..], &[0x45], &[0x45; 21], &[0x60; 20], &[0x15; 1500]] {
            assert_eq!(too_big(packet, 1280), None, "{packet:?}");
        }
    }
}
