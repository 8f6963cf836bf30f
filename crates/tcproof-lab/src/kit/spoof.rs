//! Bare SYNs with spoofed sources, inside a namespace of the lab.
//!
//! The target must have a route back to the sources that ends in silence (an address that answers would send RST and
//! clear the half-open connection): the sender's own namespace does, as long as it neither owns nor forwards them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto};

use super::{Error, Result, netns};

const IP_HEADER: usize = 20;
/// With one option: the maximum segment size, which every real SYN carries.
const TCP_HEADER: usize = 24;
const IPPROTO_TCP: u8 = 6;
const SYN: u8 = 0x02;
/// Between two bursts; sleeping less costs more CPU than the flood itself.
const TICK: Duration = Duration::from_millis(1);

/// A bounded flood of SYNs to one address from random sources of one prefix.
#[derive(Debug, Clone)]
pub struct SynFlood {
    /// Where the SYNs go.
    pub target: SocketAddrV4,
    /// The network of the spoofed sources (198.18.0.0/15 is reserved for benchmarks).
    pub sources: Ipv4Addr,
    /// The length of its prefix.
    pub prefix: u8,
    /// SYNs per second.
    pub rate: u32,
    /// At most so many.
    pub count: u64,
    /// At most so long.
    pub within: Duration,
    /// The same seed gives the same sources in the same order.
    pub seed: u64,
}

impl SynFlood {
    /// Sends until the count or the time is reached, or `stop` says so; returns how many were sent. What the sender
    /// cannot send in time is left out at the end, not made up for by a burst beyond the rate's schedule.
    ///
    /// # Errors
    /// EPERM without `CAP_NET_RAW`; ENETUNREACH without a route to the target; outside the lab.
    pub fn run(&self, stop: impl Fn() -> bool) -> Result<u64> {
        let operation = format!("send SYNs to {}", self.target);
        netns::require_lab(&operation)?;
        let raw = |errno| Error::kernel(operation.clone(), errno);
        // A socket of protocol RAW expects the IP header in the packet; the kernel fills in length and IP checksum.
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::RAW)).map_err(raw)?;
        let mut random = SplitMix(self.seed);
        let start = Instant::now();
        let mut sent = 0;
        while sent < self.count && !stop() {
            let elapsed = start.elapsed();
            if elapsed >= self.within {
                break;
            }
            let due = (elapsed.as_secs_f64() * f64::from(self.rate)) as u64 + 1;
            while sent < due.min(self.count) {
                let packet = self.packet(&mut random);
                match rustix::net::sendto(&socket, &packet, SendFlags::empty(), &self.target) {
                    Ok(_) => sent += 1,
                    Err(Errno::INTR) => {}
                    // The sender's own queue is full: try again at the next tick.
                    Err(Errno::NOBUFS | Errno::AGAIN) => break,
                    Err(errno) => return Err(raw(errno)),
                }
            }
            thread::sleep(TICK);
        }
        Ok(sent)
    }

    fn packet(&self, random: &mut SplitMix) -> [u8; IP_HEADER + TCP_HEADER] {
        let bits = random.next();
        let host = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        let [high, low] = [(bits >> 32) as u32, bits as u32];
        let source = Ipv4Addr::from(u32::from(self.sources) & !host | high & host);
        // A client's port, never a well-known one.
        let port = 1024 + (low >> 16) as u16 % (u16::MAX - 1024);
        let sequence = random.next() as u32;

        let mut packet = [0; IP_HEADER + TCP_HEADER];
        let (ip, tcp) = packet.split_at_mut(IP_HEADER);
        ip[0] = 0x45;
        ip[8] = 64;
        ip[9] = IPPROTO_TCP;
        ip[12..16].copy_from_slice(&source.octets());
        ip[16..20].copy_from_slice(&self.target.ip().octets());
        tcp[0..2].copy_from_slice(&port.to_be_bytes());
        tcp[2..4].copy_from_slice(&self.target.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        tcp[12] = (TCP_HEADER as u8 / 4) << 4;
        tcp[13] = SYN;
        tcp[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        // Option kind 2, length 4: 1460 bytes.
        tcp[20..24].copy_from_slice(&[2, 4, 0x05, 0xb4]);
        let checksum = checksum(source, *self.target.ip(), tcp);
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        packet
    }
}

/// RFC 9293, 3.1: over the pseudo header and the segment.
fn checksum(source: Ipv4Addr, destination: Ipv4Addr, segment: &[u8]) -> u16 {
    let length = (segment.len() as u16).to_be_bytes();
    let pseudo = [source.octets(), destination.octets(), [0, IPPROTO_TCP, length[0], length[1]]].concat();
    internet_checksum(&[&pseudo, segment])
}

/// RFC 1071; every part but the last has an even length.
pub(crate) fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// SplitMix64: enough to scatter addresses and losses, and the same on every run.
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood() -> SynFlood {
        SynFlood {
            target: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 80),
            sources: Ipv4Addr::new(198, 18, 0, 0),
            prefix: 15,
            rate: 1000,
            count: 10,
            within: Duration::from_secs(1),
            seed: 1,
        }
    }

    #[test]
    fn sources_stay_in_their_prefix_and_the_checksum_verifies() {
        let (flood, mut random) = (flood(), SplitMix(1));
        for _ in 0..1000 {
            let packet = flood.packet(&mut random);
            let source = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
            assert!(source.octets()[0] == 198 && matches!(source.octets()[1], 18 | 19), "{source}");
            assert!(u16::from_be_bytes([packet[20], packet[21]]) >= 1024);
            // A segment with its checksum in place sums to all ones, whose complement is zero.
            assert_eq!(checksum(source, *flood.target.ip(), &packet[IP_HEADER..]), 0);
        }
    }

    #[test]
    fn nothing_is_sent_outside_the_lab() {
        assert!(matches!(flood().run(|| false), Err(Error::Refused(_))));
    }
}
