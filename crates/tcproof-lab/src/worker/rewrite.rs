//! What a bad middlebox does to the packets that it passes on.

const IPPROTO_TCP: u8 = 6;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const CHECKSUM: usize = 16;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_TIMESTAMP: u8 = 8;
const TIMESTAMP_LENGTH: usize = 10;

/// Sets the clock that a TCP segment carries back by so many milliseconds, and keeps its checksum right. Leaves alone
/// whatever carries none.
pub(super) fn timestamps_back(packet: &mut [u8], ms: u32) {
    let Some(segment) = segment(packet) else { return };
    let Some(place) = timestamp(segment) else { return };
    let Some((old, checksum)) = word(segment, place).zip(half(segment, CHECKSUM)) else { return };
    let new = old.wrapping_sub(ms);
    // RFC 1624: the complement of the sum of what went and what came. An odd place would need a swap; Linux has none.
    let halves = |word: u32| [word >> 16, word & 0xffff];
    let gone: u32 = halves(old).into_iter().map(|half| !half & 0xffff).sum();
    let mut sum = u32::from(!checksum) + gone + halves(new).into_iter().sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    segment[place..place + 4].copy_from_slice(&new.to_be_bytes());
    segment[CHECKSUM..CHECKSUM + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// The TCP segment of a packet without extension headers.
fn segment(packet: &mut [u8]) -> Option<&mut [u8]> {
    let (protocol, header) = match packet.first()? >> 4 {
        4 => (*packet.get(9)?, usize::from(packet[0] & 0xf) * 4),
        6 => (*packet.get(6)?, IPV6_HEADER),
        _ => return None,
    };
    if protocol == IPPROTO_TCP { packet.get_mut(header..) } else { None }
}

/// Where the sender's time stands, at an even place.
fn timestamp(segment: &[u8]) -> Option<usize> {
    let end = usize::from(segment.get(12)? >> 4) * 4;
    let mut place = TCP_HEADER;
    while place < end {
        match (*segment.get(place)?, segment.get(place + 1)) {
            (OPTION_END, _) => return None,
            (OPTION_NOP, _) => place += 1,
            (OPTION_TIMESTAMP, Some(length)) if usize::from(*length) == TIMESTAMP_LENGTH => {
                return place.is_multiple_of(2).then_some(place + 2);
            }
            (_, Some(length)) => place += usize::from(*length).max(2),
            (_, None) => return None,
        }
    }
    None
}

fn word(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(place..place + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn half(bytes: &[u8], place: usize) -> Option<u16> {
    bytes.get(place..place + 2)?.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::spoof::internet_checksum;

    /// A segment with NOP, NOP and a timestamp, as Linux sends it, in an IPv4 packet; its checksum is right.
    fn packet(time: u32) -> Vec<u8> {
        let mut packet = vec![0; 20 + 32 + 7];
        (packet[0], packet[9]) = (0x45, IPPROTO_TCP);
        let segment = &mut packet[20..];
        segment[12] = 0x80;
        segment[20..24].copy_from_slice(&[OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMP, 10]);
        segment[24..28].copy_from_slice(&time.to_be_bytes());
        segment[32..].copy_from_slice(b"payload");
        let checksum = internet_checksum(&[segment]);
        segment[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    #[test]
    fn the_clock_goes_back_and_the_checksum_stays_right() {
        for time in [0, 1, 59_999, 60_000, 0x0001_0000, u32::MAX] {
            let mut packet = packet(time);
            timestamps_back(&mut packet, 60_000);
            assert_eq!(word(&packet, 44), Some(time.wrapping_sub(60_000)));
            assert_eq!(internet_checksum(&[&packet[20..]]), 0, "{time}");
        }
    }

    #[test]
    fn what_carries_no_timestamp_stays_as_it_is() {
        let whole = packet(100_000);
        let mut udp = whole.clone();
        udp[9] = 17;
        let mut without = whole.clone();
        without[20 + 12] = 0x50;
        for mut packet in [udp, without, vec![], vec![0x45], vec![0x45; 30], vec![0x60; 41], vec![0xff; 90]] {
            let before = packet.clone();
            timestamps_back(&mut packet, 60_000);
            assert_eq!(packet, before);
        }
        // Cut anywhere it does no harm.
        for length in 0..whole.len() {
            timestamps_back(&mut whole[..length].to_vec(), 60_000);
        }
    }
}
