//! Dumps that somebody made to hurt, as `tcproof check --from` meets them. By itself: the memory of all its children counts.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::{CWD, FileType, Mode, mknodat};

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const BLOCK: usize = 512;
/// A tenth of what the hostile ones claim to be, and more.
const MOST_KIB: i64 = 64 * 1024;
const NSTAT: &str = "#kernel\nTcpExtListenOverflows 12 0.0\nTcpExtListenDrops 0 0.0\n";

fn check(arguments: &[&Path]) -> Output {
    let mut command = Command::new(TCPROOF);
    command.arg("check").env("LC_ALL", "C.UTF-8");
    for path in arguments {
        command.arg("--from").arg(path);
    }
    command.output().expect("tcproof runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, b"\n", &output.stderr].concat()).into_owned()
}

/// A header of a tar: the name, the kind, the size in the archive, and of a file with holes its true size.
fn header(name: &str, kind: u8, size: u64, real: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    let octal = |n: u64| format!("{n:011o}\0").into_bytes();
    block[124..136].copy_from_slice(&octal(size));
    block[136..148].copy_from_slice(&octal(1_796_096_115));
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar  \0");
    if kind == b'S' {
        block[483..495].copy_from_slice(&octal(real.min(0o77_777_777_777)));
    }
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn padded(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

#[test]
fn what_claims_to_be_enormous_costs_little() {
    let folder = tempfile::tempdir().expect("a folder");
    let huge = 8_589_934_591;
    // A member with holes, whose true size is the most that its header can say, in front of a good one.
    let sparse = folder.path().join("sparse.tar");
    let mut file = File::create(&sparse).expect("a file");
    file.write_all(&header("proc/net/netstat", b'S', 0, huge)).expect("written");
    file.write_all(&header("nstat", b'0', NSTAT.len() as u64, 0)).expect("written");
    file.write_all(&padded(NSTAT)).expect("written");
    file.write_all(&[0; 2 * BLOCK]).expect("written");
    let output = check(&[&sparse]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("a file with holes, which no command writes"), "{}", said(&output));

    // A log and a listing of 128 MiB. That an archive may not have more than so much is `a_bomb_ends_at_its_bound`.
    for (name, notes) in [("var/log/messages", ""), ("proc/net/netstat", "not read: expected at most 65536 KiB")] {
        let long = folder.path().join("long.tar");
        let size = 128 << 20;
        let mut file = File::create(&long).expect("a file");
        file.write_all(&header(name, b'0', size, 0)).expect("written");
        // Holes of the archive itself take no room here.
        file.seek(SeekFrom::Current(size as i64)).expect("sought");
        file.write_all(&header("nstat", b'0', NSTAT.len() as u64, 0)).expect("written");
        file.write_all(&padded(NSTAT)).expect("written");
        file.write_all(&[0; 2 * BLOCK]).expect("written");
        let output = check(&[&long]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(said(&output).contains(notes) && said(&output).contains("ListenOverflows 12"), "{}", said(&output));
    }

    // Folders: a file that is all hole, a link out, a pipe that nobody writes to.
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("proc/net")).expect("a folder");
    File::create(tree.join("proc/net/netstat")).and_then(|file| file.set_len(10 << 30)).expect("a hole");
    symlink("/proc/net/snmp", tree.join("proc/net/snmp")).expect("a link");
    mknodat(CWD, tree.join("proc/net/sockstat"), FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
    fs::write(tree.join("nstat"), NSTAT).expect("written");
    fs::create_dir_all(tree.join("proc/sys/net/core")).expect("a folder");
    fs::write(tree.join("proc/sys/net/core/somaxconn"), "128\n").expect("written");
    let output = check(&[&tree]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for expected in ["proc/net/netstat: not read: expected at most 65536 KiB", "found one that leads out of it"] {
        assert!(said(&output).contains(expected), "{expected}: {}", said(&output));
    }

    let most = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the children's").max_rss();
    assert!(most < MOST_KIB, "{most} KiB");
}

#[test]
fn what_is_wrong_is_said_and_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let out = [&header("../../etc/x\x1b[31m", b'0', 0, 0)[..], &[0; 2 * BLOCK]].concat();
    fs::write(path("out.tar"), out).expect("written");
    fs::write(path("empty"), "").expect("written");
    fs::write(path("prose"), "nothing of a host\n").expect("written");
    fs::create_dir(path("folder")).expect("a folder");
    fs::write(path("folder/prose"), "nothing of a host\n").expect("written");
    fs::write(path("settings"), "net.core.somaxconn = 128\nnet.ipv4.tcp_fin_timeout = 5\n").expect("written");
    fs::write(path("cut.tar.xz"), b"\xfd7zXZ\0\0\x04").expect("written");
    let lines = ["out.tar", "empty", "prose", "folder", "settings", "cut.tar.xz", "missing"].map(|name| {
        let output = check(&[&path(name)]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", said(&output));
        assert!(output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).replace(&folder.path().display().to_string(), "DIR")
    });
    insta::assert_snapshot!(lines.concat(), @r"
    tcproof: DIR/out.tar: member ../../etc/x\x1b[31m: expected a name inside the archive, found one that leads out of it
    tcproof: DIR/empty: expected a recording (tcproof record), a sosreport (tar.xz, tar.gz or a folder), or the output of ss -peaonmi, nstat -az, netstat -s or sysctl -a, or files of /proc/net
    tcproof: DIR/prose: expected a recording (tcproof record), a sosreport (tar.xz, tar.gz or a folder), or the output of ss -peaonmi, nstat -az, netstat -s or sysctl -a, or files of /proc/net
    tcproof: DIR/folder: expected a sosreport, or the output of ss -peaonmi, nstat -az, netstat -s or sysctl -a, or files of /proc/net, found none of them
    tcproof: DIR/settings: expected counters or sockets, such as ss -peaonmi and nstat -az print, found settings only: tcproof lint FILE says what is wrong with those
    tcproof: DIR/cut.tar.xz: expected a whole archive: damaged or cut off: failed to fill whole buffer
    tcproof: DIR/missing: No such file or directory (os error 2)
    ");
}
