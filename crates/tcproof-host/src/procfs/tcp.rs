//! `/proc/net/tcp` and `/proc/net/tcp6`: a socket on each line, read while the file is, since a million of them make
//! 150 MB of text.
//!
//! `sl: local remote st tx:rx tr:when retrnsmt uid timeout inode …`. The first column grows with the number, so nothing
//! stands at a fixed place. Addresses are 32-bit words in the byte order of the machine that wrote them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tcproof_core::Absent;
use tcproof_core::census::Seen;
use tcproof_core::snapshot::Endpoint;

use super::At;

/// No line comes near this: 150 characters, 180 of IPv6.
const LONGEST_LINE: usize = 1_024;
/// Columns of a half-open request, or of what is left of a connection; a full socket has five more.
const SMALL_COLUMNS: usize = 12;
const TCP_SYN_RECV: u8 = 3;
/// `tr` of a socket in TIME_WAIT, or kept in FIN_WAIT2.
const TIMER_TIMEWAIT: &[u8] = b"03";

/// Takes a file apart that comes in pieces.
#[derive(Debug)]
pub struct Lines<'a> {
    place: &'a str,
    number: usize,
    begun: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// `place` is the file's path.
    pub fn new(place: &'a str) -> Self {
        Self { place, number: 0, begun: Vec::new() }
    }

    /// One more piece of the file, cut anywhere.
    ///
    /// # Errors
    /// A line that is no socket.
    pub fn feed(&mut self, mut piece: &[u8], each: &mut impl FnMut(&Seen)) -> Result<(), Absent> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            if self.begun.is_empty() {
                self.line(&piece[..end], each)?;
            } else {
                self.begin(&piece[..end])?;
                let line = std::mem::take(&mut self.begun);
                self.line(&line, each)?;
                self.begun = line;
                self.begun.clear();
            }
            piece = &piece[end + 1..];
        }
        self.begin(piece)
    }

    /// The end of the file.
    ///
    /// # Errors
    /// It has no header, or its last line does not end: it was cut off.
    pub fn finish(self) -> Result<(), Absent> {
        let at = At { place: self.place, line: self.number + 1 };
        match (self.begun.is_empty(), self.number) {
            (false, _) => Err(at.missing("a newline at its end: it is cut off")),
            (true, 0) => Err(at.missing("a header with local_address")),
            (true, _) => Ok(()),
        }
    }

    fn begin(&mut self, part: &[u8]) -> Result<(), Absent> {
        if self.begun.len() + part.len() > LONGEST_LINE {
            return Err(At { place: self.place, line: self.number + 1 }.missing("a line of at most 1024 characters"));
        }
        self.begun.extend(part);
        Ok(())
    }

    fn line(&mut self, line: &[u8], each: &mut impl FnMut(&Seen)) -> Result<(), Absent> {
        self.number += 1;
        let at = At { place: self.place, line: self.number };
        let wrong = |expected| at.wrong(expected, &String::from_utf8_lossy(&line[..line.len().min(LONGEST_LINE)]));
        if self.number > 1 {
            each(&socket(line).ok_or_else(|| wrong("a socket"))?);
        } else if !line.windows(13).any(|word| word == b"local_address") {
            return Err(wrong("a header with local_address"));
        }
        Ok(())
    }
}

fn socket(line: &[u8]) -> Option<Seen> {
    let mut columns = line.split(|byte| *byte == b' ').filter(|column| !column.is_empty());
    columns.next().filter(|number| number.ends_with(b":"))?;
    let (local, remote) = (endpoint(columns.next()?)?, endpoint(columns.next()?)?);
    let state = u8::try_from(hex(columns.next()?)?).ok()?;
    let _queues = columns.next()?;
    let timer = columns.next()?.split(|byte| *byte == b':').next()?;
    // retransmissions, user, timeout
    let inode = columns.by_ref().nth(3)?;
    let inode = inode.iter().try_fold(0_u64, |n, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })?;
    let is_request = || state == TCP_SYN_RECV && columns.count() + 10 <= SMALL_COLUMNS;
    Some(Seen { state, small: timer == TIMER_TIMEWAIT || is_request(), local, remote, inode, cgroup: None })
}

fn endpoint(text: &[u8]) -> Option<Endpoint> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (address, port) = (&text[..colon], u16::try_from(hex(&text[colon + 1..])?).ok()?);
    let word = |at: usize| Some(hex(address.get(at..at + 8)?)?.to_ne_bytes());
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at * 8)?);
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(Endpoint::new(address, port))
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.iter().try_fold(0, |n, digit| Some(n << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    const TEXT: &str = "\
\x20  0: 00000000:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 635 1 0000000069e 100 0 0 10 0
   1: 0100007F:1F90 0200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 636 1 0000000069e 20 4 30 10 -1
   2: 0100007F:1F90 0200007F:C351 06 00000000:00000000 03:00001688 00000000     0        0 0 3 0000000069e
   3: 0100007F:1F90 0200007F:C352 05 00000000:00000000 03:00001688 00000000     0        0 0 3 0000000069e
   4: 0100007F:1F90 0200007F:C353 03 00000000:00000000 01:00000063 00000000     0        0 0 1 0000000069e
12345: 0100007F:1F90 0200007F:C354 03 00000000:00000000 01:00000063 00000000     0        0 0 1 0000000069e 20 4 30 10 -1
";
    const SIX: &str = "\
\x20  0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 637 1 0000000069e 20 4 30 10 -1
   1: B80D0120000000000000000001000000:01BB B80D0120000000000000000002000000:C350 08 00000000:00000000 00:00000000 00000000     0        0 638 1 0000000069e 20 4 30 10 -1
";

    fn read(text: &[u8], piece: usize) -> Result<Vec<Seen>, Absent> {
        let (mut lines, mut seen) = (Lines::new("/proc/net/tcp"), Vec::new());
        for piece in text.chunks(piece.max(1)) {
            lines.feed(piece, &mut |socket| seen.push(*socket))?;
        }
        lines.finish()?;
        Ok(seen)
    }

    fn told(text: &str) -> String {
        match read(text.as_bytes(), 7) {
            Err(why) => why.to_string(),
            Ok(seen) => {
                let line =
                    |s: &Seen| format!("{} {} {} small={} inode={}", s.state, s.local, s.remote, s.small, s.inode);
                seen.iter().map(line).collect::<Vec<_>>().join("\n")
            }
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn sockets_of_both_families_in_every_shape() {
        insta::assert_snapshot!(told(&format!("{HEADER}{TEXT}{SIX}")), @"
        10 0.0.0.0:8080 0.0.0.0:0 small=false inode=635
        1 127.0.0.1:8080 127.0.0.2:50000 small=false inode=636
        6 127.0.0.1:8080 127.0.0.2:50001 small=true inode=0
        5 127.0.0.1:8080 127.0.0.2:50002 small=true inode=0
        3 127.0.0.1:8080 127.0.0.2:50003 small=true inode=0
        3 127.0.0.1:8080 127.0.0.2:50004 small=false inode=0
        1 127.0.0.1:8080 127.0.0.2:50000 small=false inode=637
        8 [2001:db8::1]:443 [2001:db8::2]:50000 small=false inode=638
        ");
    }

    #[test]
    fn the_running_kernels_own_file_is_understood() {
        for file in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
            match std::fs::read(file) {
                Ok(text) => assert!(read(&text, 4096).is_ok()),
                Err(error) => eprintln!("SKIP: {file}: {error}"),
            }
        }
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        let first = TEXT.lines().next().unwrap();
        let cases = [
            "".to_string(),
            "nonsense\n".into(),
            HEADER.trim_end().into(),
            format!("{HEADER}\x1b[2J\u{202e}\n"),
            format!("{HEADER}{first}"),
            format!("{HEADER}{first}\n{}\n", &first[..40]),
            format!("{HEADER}{}\n", first.replace("1F90", "11F90")),
            format!("{HEADER}{}\n", first.replace("635", "99999999999999999999")),
            format!("{HEADER}{}\n", first.replace(" 0A ", " 10A ")),
            format!("{HEADER}{}", "9".repeat(2_000)),
        ];
        insta::assert_snapshot!(cases.iter().map(|text| told(text)).collect::<Vec<_>>().join("\n"), @r#"
        /proc/net/tcp:1: expected a header with local_address
        /proc/net/tcp:1: expected a header with local_address, found "nonsense"
        /proc/net/tcp:1: expected a newline at its end: it is cut off
        /proc/net/tcp:2: expected a socket, found "\u{1b}[2J\u{202e}"
        /proc/net/tcp:2: expected a newline at its end: it is cut off
        /proc/net/tcp:3: expected a socket, found "   0: 00000000:1F90 00000000:0000 0A 000"
        /proc/net/tcp:2: expected a socket, found "   0: 00000000:11F90 00000000:0000 0A 00"
        /proc/net/tcp:2: expected a socket, found "   0: 00000000:1F90 00000000:0000 0A 000"
        /proc/net/tcp:2: expected a socket, found "   0: 00000000:1F90 00000000:0000 10A 00"
        /proc/net/tcp:2: expected a line of at most 1024 characters
        "#);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic_and_pieces_make_no_difference(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            (at, bit) in (any::<prop::sample::Index>(), 0..8_u8),
            piece in 1..64_usize,
        ) {
            let mut text = format!("{HEADER}{TEXT}{SIX}").into_bytes();
            let at = at.index(text.len());
            text[at] ^= 1 << bit;
            for text in [[HEADER.as_bytes(), &bytes].concat(), text] {
                let (whole, parts) = (read(&text, text.len()), read(&text, piece));
                prop_assert_eq!(format!("{whole:?}"), format!("{parts:?}"));
            }
        }
    }
}
