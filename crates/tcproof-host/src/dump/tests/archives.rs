//! Archives that somebody made to hurt, and what damage does.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::super::archive::{Bounds, Format, read};
use super::super::{judge, read_archive, snapshot};

const NSTAT: &str = "#kernel\nTcpExtListenOverflows 12 0.0\nTcpExtListenDrops 0 0.0\n";
const NETSTAT: &str = "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 0 12\n";

/// A member whose name is written as it is: the library itself would refuse some.
fn member(tar: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mtime(1_796_096_115);
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn tar(members: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, content) in members {
        member(&mut tar, name, EntryType::Regular, "", content.as_bytes());
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn read_all(bytes: &[u8]) -> Result<(Option<u64>, Vec<String>), String> {
    let format = Format::of(bytes).ok_or("no archive")?;
    let mut tree =
        read("x.tar", format, bytes, Bounds { bytes: 1 << 20, members: 50 }).map_err(|error| error.to_string())?;
    let dump = snapshot::dump("x.tar".into(), &mut tree).map_err(|error| error.to_string())?;
    let judged = judge(vec![dump]).map_err(|error| error.to_string())?;
    let overflows = judged.interval.after.namespaces.values().next().unwrap().counter("TcpExt.ListenOverflows");
    Ok((overflows.value().copied(), judged.taken[0].notes.clone()))
}

fn why(bytes: &[u8]) -> String {
    read_all(bytes).unwrap_err()
}

#[test]
fn a_folder_at_the_top_or_none_and_compressed_or_not() {
    for name in
        ["nstat", "./nstat", "some/where/nstat.txt", "proc/net/netstat", "./a/proc/net/netstat", "dump-1/netstat"]
    {
        let text = if name.ends_with("netstat") { NETSTAT } else { NSTAT };
        let tar = tar(&[("readme", "hello\n"), (name, text)]);
        assert_eq!(read_all(&tar), Ok((Some(12), vec![])), "{name}");
        assert_eq!(read_all(&gzip(&tar)), Ok((Some(12), vec![])), "{name}");
    }
}

#[test]
fn names_that_lead_out_are_refused() {
    let hostile = |name: &str| why(&tar(&[(name, NSTAT)]));
    insta::assert_snapshot!([
        hostile("../nstat"),
        hostile("a/../../nstat"),
        hostile("/etc/nstat"),
    ].join("\n"), @r"
    x.tar: member ../nstat: expected a name inside the archive, found one that leads out of it
    x.tar: member a/../../nstat: expected a name inside the archive, found one that leads out of it
    x.tar: member /etc/nstat: expected a name inside the archive, found an absolute one
    ");
}

#[test]
fn links_are_followed_inside_and_nowhere_else() {
    let linked = |links: &[(&str, EntryType, &str)]| {
        let mut tar = Builder::new(Vec::new());
        member(&mut tar, "top/proc/7/net/netstat", EntryType::Regular, "", NETSTAT.as_bytes());
        member(&mut tar, "top/proc/net/snmp", EntryType::Regular, "", b"Tcp: InSegs\nTcp: 1\n");
        for (name, kind, to) in links {
            member(&mut tar, name, *kind, to, b"");
        }
        read_all(&tar.into_inner().unwrap()).unwrap()
    };
    let (soft, hard) = (EntryType::Symlink, EntryType::Link);
    let good: [&[_]; 3] = [
        &[("top/proc/self", soft, "7"), ("top/proc/net", soft, "self/net")],
        &[("top/proc/net/netstat", hard, "top/proc/7/net/netstat")],
        &[("top/proc/net/netstat", soft, "../../proc/./7/net/netstat")],
    ];
    for links in good {
        assert_eq!(linked(links), (Some(12), vec![]), "{links:?}");
    }
    let bad: [&[_]; 4] = [
        &[("top/proc/net/netstat", soft, "../../../../../etc/passwd")],
        &[("top/proc/net/netstat", soft, "/proc/net/netstat")],
        &[("top/proc/net/netstat", soft, "tcp"), ("top/proc/net/tcp", soft, "netstat")],
        &[("top/proc/net/netstat", hard, "top/proc/8/net/netstat")],
    ];
    let notes: Vec<_> = bad.into_iter().map(|links| format!("{:?}", linked(links))).collect();
    insta::assert_snapshot!(notes.join("\n"), @r#"
    (None, ["proc/net/netstat: not read: expected a link inside the dump, found one that leads out of it"])
    (None, ["proc/net/netstat: not read: expected a link inside the dump, found one that leads out of it"])
    (None, ["proc/net/netstat: not read: expected a link to a file, found more than 40 links in a row", "proc/net/tcp: not read: expected a link to a file, found more than 40 links in a row"])
    (None, [])
    "#);
}

#[test]
fn what_is_no_file_is_not_read_and_twice_is_said() {
    let mut tar = Builder::new(Vec::new());
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block, EntryType::Directory] {
        member(&mut tar, "proc/net/netstat", kind, "", b"");
    }
    member(&mut tar, "proc/net/netstat", EntryType::Regular, "", b"TcpExt: ListenOverflows\nTcpExt: 1\n");
    member(&mut tar, "proc/net/netstat", EntryType::Regular, "", NETSTAT.as_bytes());
    let (overflows, notes) = read_all(&tar.into_inner().unwrap()).unwrap();
    assert_eq!((overflows, &*notes[0]), (Some(12), "proc/net/netstat: there more than once: the last one is read"));
}

#[test]
fn a_sparse_member_is_not_read_however_long() {
    let mut tar = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_path("proc/net/netstat").unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(512);
    header.as_gnu_mut().unwrap().set_real_size(10 << 30);
    header.set_cksum();
    tar.append(&header, &[b'x'; 512][..]).unwrap();
    member(&mut tar, "nstat", EntryType::Regular, "", NSTAT.as_bytes());
    let (overflows, notes) = read_all(&tar.into_inner().unwrap()).unwrap();
    assert_eq!(overflows, Some(12));
    assert_eq!(notes, ["proc/net/netstat: not read: a file with holes, which no command writes"]);
}

#[test]
fn a_bomb_ends_at_its_bound() {
    let zeros = "\0".repeat(4 << 20);
    let named = "x".repeat(40_000);
    let many = vec![("a", ""); 60];
    let mut long = Builder::new(Vec::new());
    member(&mut long, "././@LongLink", EntryType::GNULongName, "", named.as_bytes());
    member(&mut long, "nstat", EntryType::Regular, "", NSTAT.as_bytes());
    let mut headers = Builder::new(Vec::new());
    for _ in 0..20 {
        member(&mut headers, "pax", EntryType::XHeader, "", b"12 path=abc\n");
    }
    insta::assert_snapshot!([
        why(&gzip(&tar(&[("log", &zeros)]))),
        why(&tar(&many)),
        why(&long.into_inner().unwrap()),
        why(&headers.into_inner().unwrap()),
    ].join("\n"), @r"
    x.tar: expected an archive of at most 1 MiB once unpacked, found more
    x.tar: expected at most 50 members
    x.tar: expected a name of at most 4096 bytes
    x.tar: expected a name of at most 4096 bytes
    ");
}

#[test]
fn a_file_that_is_too_long_is_left_out_and_said() {
    let long = format!("1{}", " ".repeat(70_000));
    let tar = tar(&[("proc/sys/net/core/somaxconn", &long), ("nstat", NSTAT)]);
    let (_, notes) = read_all(&tar).unwrap();
    assert_eq!(notes, ["proc/sys/net/core/somaxconn: not read: expected at most 64 KiB, found 68 KiB"]);
}

#[test]
fn what_is_no_dump_is_said() {
    let mut cut = gzip(&tar(&[("nstat", NSTAT)]));
    cut.truncate(cut.len() - 9);
    let mut damaged = gzip(&tar(&[("nstat", NSTAT)]));
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd];
    zstd.resize(600, 0);
    insta::assert_snapshot!([
        why(b"hello"),
        why(&tar(&[("readme", "hello\n")])),
        why(&zstd),
        why(&cut),
        why(&damaged),
        why(&tar(&[("a/nstat", NSTAT), ("b/nstat", NSTAT)])),
    ].join("\n"), @r"
    no archive
    x.tar: expected a sosreport, or the output of ss -peaonmi, nstat -az, netstat -s or sysctl -a, or files of /proc/net, found none of them
    x.tar: expected tar, tar.gz or tar.xz, found zstd: unpack it with zstd -d first
    x.tar: expected a whole archive: damaged or cut off at or after member nstat: incomplete deflate stream
    x.tar: expected a whole archive: damaged or cut off at or after member nstat: corrupt gzip stream does not have a matching checksum
    b/nstat: expected the files of one dump, found nstat twice: put those of each into a folder of its own, and name both
    ");
}

/// A header of xz that asks for a dictionary of 1.5 GiB.
#[test]
fn a_dictionary_beyond_the_bound_is_refused_before_it_is_made() {
    let mut xz = include_bytes!("../../../fixtures/dumps/sos-4.0-1.tar.xz").to_vec();
    // Stream header: 12 bytes. Block header: its size, flags, the filter's id and length, then the dictionary's size.
    let block = 12;
    let size = (usize::from(xz[block]) + 1) * 4;
    let at = (block..block + size).find(|at| xz[*at] == 0x21).unwrap() + 2;
    xz[at] = 37;
    let mut crc = 0xffff_ffff_u32;
    for byte in &xz[block..block + size - 4] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    xz[block + size - 4..block + size].copy_from_slice(&(!crc).to_le_bytes());
    let why = read_archive(&xz).unwrap_err().to_string();
    assert!(why.contains("needed memory too big"), "{why}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_is_an_error_or_harmless(at in 0_usize..5_000, bit in 0_u8..8, cut in 0_usize..6_000) {
        let whole = include_bytes!("../../../fixtures/dumps/sos-4.0-1.tar.xz");
        let mut bytes = whole.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
        // Each byte is under a checksum.
        prop_assert!(read_archive(&bytes).is_err() || at >= bytes.len());
        prop_assert!(read_archive(&whole[..cut.min(whole.len() - 1)]).is_err());
        let plain = tar(&[("nstat", NSTAT), ("proc/net/netstat", NETSTAT)]);
        let mut bytes = plain.clone();
        let len = bytes.len();
        bytes[at % len] ^= 1 << bit;
        let _ = read_archive(&bytes);
        let _ = read_archive(&plain[..cut.min(len)]);
    }
}
