//! `tcproof lint` as a program: what hostile files, flags, corrections and other formats make of it.
//!
//! Tests that need root, or `patch`, say `SKIP` without it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// What runs longer hangs, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// KiB of address space: whatever a file holds, no more is needed.
const MEMORY_KIB: u64 = 768 * 1024;
const NOBODY: u32 = 65534;
const FORMATS: [&str; 4] = ["text", "json", "sarif", "diff"];
/// The machine that named files are for: what this one is like must not change what is said of them.
const MACHINE: [&str; 4] = ["--kernel", "6.12", "--memory", "16G"];
/// A line with which something is wrong, and nothing else.
const BAD: &str = "net.core.somaxconn = 100\n";

/// How it ended.
struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

/// `tcproof lint`, with little memory, and nothing of the surroundings that would change what it prints. Whatever happens
/// it neither panics nor hangs, and nothing that it prints is an order to the terminal.
fn lint(folder: &Path, arguments: &[&str]) -> Done {
    run(command(Path::new(TCPROOF), folder, arguments))
}

fn command(program: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -v {MEMORY_KIB} && exec \"$@\""), "sh"]);
    command.arg(program).arg("lint").args(arguments).current_dir(folder).env("LC_ALL", "C.UTF-8");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> Done {
    let began = Instant::now();
    let output = command.output().expect("it runs");
    assert!(began.elapsed() < PATIENCE, "{command:?} took {:?}", began.elapsed());
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    let done = Done {
        code: output.status.code().expect("no signal ends it"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    };
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    for (name, said) in [("stdout", &done.stdout), ("stderr", &done.stderr)] {
        let order =
            |line: &str| line.chars().any(|c| (c.is_control() && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c));
        let bad = said.split('\n').find(|line| order(line.strip_suffix('\r').unwrap_or(line)));
        assert_eq!(bad, None, "{command:?}: an order to the terminal on {name}");
    }
    done
}

/// The program as nobody, in a folder that nobody can get at; `None` where that can't be.
fn as_nobody(test: &str, folder: &Path, arguments: &[&str]) -> Option<Done> {
    if !rustix::process::geteuid().is_root() {
        // Not by `eprintln!`, which the harness keeps to itself.
        let _ = writeln!(std::io::stderr(), "SKIP {test}: needs root to become nobody");
        return None;
    }
    let program = tempfile::tempdir().expect("a directory");
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let copy = program.path().join("tcproof");
    // By another process: what this one has open for writing a child of another thread may still hold, and the copy would
    // be busy.
    let copied = Command::new("cp").arg(TCPROOF).arg(&copy).status().expect("cp");
    assert!(copied.success(), "no copy of the program");
    let mut command = command(&copy, folder, arguments);
    command.uid(NOBODY).gid(NOBODY);
    Some(run(command))
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    folder
}

fn put(folder: &Path, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("its folder");
    fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// A host's root with a kernel and both loaders.
fn root() -> TempDir {
    let root = folder();
    put(root.path(), "proc/sys/kernel/osrelease", "6.12.0\n");
    put(root.path(), "proc/meminfo", "MemTotal:       16777216 kB\n");
    put(root.path(), "usr/lib/systemd/systemd-sysctl", "");
    put(root.path(), "usr/sbin/sysctl", "");
    root
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", done.stdout, done.stderr))
}

fn list<'a>(json: &'a Value, name: &str) -> &'a [Value] {
    json[name].as_array().map(Vec::as_slice).unwrap_or_else(|| panic!("no list {name} in {json}"))
}

// ---- hostile files -----------------------------------------------------------------------------------------------------

/// Everything that may lie in a folder of drop-ins and is no good file; what is said of each, by its name; nothing where
/// there is nothing to say.
fn hostile(folder: &Path) -> Vec<(&'static str, &'static str)> {
    put(folder, "10-binary.conf", b"\x7fELF\x02\x01\n\n\0\0\x01net.core.somaxconn = 1\n");
    fs::File::create(folder.join("11-huge.conf")).expect("a file").set_len(1 << 30).expect("a sparse file");
    let mut line = b"net.core.rmem_max = 8388608\nnet.core.somaxconn = ".to_vec();
    line.resize(2 << 20, b'1');
    put(folder, "12-long.conf", line);
    symlink("14-loop.conf", folder.join("13-loop.conf")).expect("a link");
    symlink("13-loop.conf", folder.join("14-loop.conf")).expect("a link");
    symlink("nowhere", folder.join("15-nowhere.conf")).expect("a link");
    put(folder, "16-latin.conf", b"# plain\nnet.core.wmem_max = 8388608\nkernel.hostname = M\xfcnchen\n");
    put(folder, "17-latin-comment.conf", b"# M\xfcnchen\n");
    put(folder, "18-crlf.conf", "# all good\r\nnet.core.netdev_max_backlog = 8192\r\n");
    fs::create_dir(folder.join("19-directory.conf")).expect("a directory");
    rustix::fs::mknodat(CWD, folder.join("20-fifo.conf"), FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
    put(folder, "21-empty.conf", "");
    put(folder, "22-many.conf", format!("net.core.rmem_max = 8388608\n{}", "#\n".repeat(100_000)));
    put(
        folder,
        "23-escape.conf",
        "\x1b]0;pwned\x07\x1b[2J\u{9b}31m = \u{202e}1\nnet.ipv4.tcp_\x1b[31m = 1\nnet.core.somaxconn = 100\x1b[2J\n",
    );
    put(folder, "24-\x1b[31m\nforged.conf", "# \x1b[2J nothing\n");
    put(folder, "25-\"q' $(x).conf", "net.core.rmem_max = 8388608\n");
    vec![
        ("10-binary.conf", ":3: expected text, found a NUL byte"),
        ("11-huge.conf", ": expected at most 16 MiB"),
        ("12-long.conf", ":2: expected a line of less than 1 MiB"),
        ("13-loop.conf", ": "),
        ("14-loop.conf", ": "),
        ("15-nowhere.conf", ": "),
        ("16-latin.conf", ":3: expected UTF-8"),
        ("19-directory.conf", ": expected a regular file"),
        ("20-fifo.conf", ": expected a regular file"),
        ("22-many.conf", ":100001: expected at most 100 000 lines"),
    ]
}

/// Hostile files, and behind them all one with which something is wrong: found none the less.
fn lints_the_others(folder: &Path, paths: &str, arguments: &[&str], expected: &[(&str, &str)]) {
    for format in FORMATS {
        let done = lint(folder, &[arguments, &["--format", format]].concat());
        assert_eq!(done.code, 10, "{format}: {}{}", done.stdout, done.stderr);
        assert!(done.stdout.contains("99-bad.conf"), "{format}: {}", done.stdout);
    }
    let json = json(&lint(folder, &[arguments, &["--json"]].concat()));
    let unread: Vec<_> = list(&json, "unread").iter().map(|it| it["because"].as_str().expect("why")).collect();
    for (name, why) in expected {
        let wanted = format!("{paths}/{name}{why}");
        assert!(unread.iter().any(|said| said.contains(&wanted)), "no {wanted:?} in {unread:#?}");
    }
    assert_eq!(unread.len(), expected.len(), "{unread:#?}");
    let said = lint(folder, arguments).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(said.matches("not read").count(), expected.len(), "{said}");
}

#[test]
fn hostile_drop_ins_are_named_and_the_others_linted() {
    let root = root();
    let drop_ins = root.path().join("etc/sysctl.d");
    fs::create_dir_all(&drop_ins).expect("a folder");
    let expected = hostile(&drop_ins);
    put(&drop_ins, "99-bad.conf", BAD);
    let path = root.path().to_str().expect("UTF-8");
    lints_the_others(root.path(), "/etc/sysctl.d", &["--root", path], &expected);
}

#[test]
fn hostile_files_that_were_named_are_too() {
    let folder = folder();
    let drop_ins = folder.path().join("d");
    fs::create_dir_all(&drop_ins).expect("a folder");
    let mut expected = hostile(&drop_ins);
    put(&drop_ins, "99-bad.conf", BAD);
    // A directory is walked through, whatever its name.
    expected.retain(|(name, _)| *name != "19-directory.conf");
    lints_the_others(folder.path(), "d", &[&["d"], &MACHINE[..]].concat(), &expected);
    // One by one, as the shell would expand `d/*`.
    let paths: Vec<_> = names(&drop_ins).into_iter().map(|name| format!("d/{name}")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).chain(MACHINE).collect();
    lints_the_others(folder.path(), "d", &paths, &expected);
}

#[test]
fn devices_and_what_is_not_there() {
    let folder = folder();
    symlink("/dev/zero", folder.path().join("zero.conf")).expect("a link");
    put(folder.path(), "99-bad.conf", BAD);
    for (path, why) in [
        ("/dev/zero", "/dev/zero: expected a regular file"),
        ("zero.conf", "zero.conf: expected a regular file"),
        ("/dev/null", "/dev/null: expected a regular file"),
        ("none.conf", "none.conf: no such file"),
        ("99-bad.conf/x", "99-bad.conf/x: "),
    ] {
        let done = lint(folder.path(), &[&[path], &MACHINE[..]].concat());
        assert_eq!(done.code, 1, "{path}: {}", done.stdout);
        assert!(done.stdout.contains(why), "{path}: {}", done.stdout);
        let done = lint(folder.path(), &[&[path, "99-bad.conf"], &MACHINE[..]].concat());
        assert_eq!(done.code, 10, "what is found counts more than what is not: {}", done.stdout);
    }
}

#[test]
fn a_name_that_is_not_utf_8() {
    let folder = folder();
    put(folder.path(), Path::new(std::ffi::OsStr::from_bytes(b"d/9\xff9\x1b.conf")), BAD);
    for format in FORMATS {
        let done = lint(folder.path(), &[&["d", "--format", format], &MACHINE[..]].concat());
        assert_eq!(done.code, 10, "{format}: {}{}", done.stdout, done.stderr);
    }
}

#[test]
fn links_that_lead_in_circles() {
    let folder = folder();
    put(folder.path(), "a/b/99-bad.conf", BAD);
    symlink("..", folder.path().join("a/b/up")).expect("a link");
    symlink(".", folder.path().join("a/self")).expect("a link");
    symlink("99-bad.conf", folder.path().join("a/b/98-same.conf")).expect("a link");
    let json = json(&lint(folder.path(), &[&["a", "--json"], &MACHINE[..]].concat()));
    assert_eq!((list(&json, "files").len(), list(&json, "findings").len()), (1, 1), "{json}");
}

#[test]
fn files_that_come_and_go() {
    let root = root();
    let drop_ins = root.path().join("etc/sysctl.d");
    put(&drop_ins, "99-bad.conf", BAD);
    let path = root.path().to_str().expect("UTF-8");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                for name in ["50-now.conf", "51-then.conf"] {
                    let file = put(&drop_ins, name, "net.core.rmem_max = 8388608\n");
                    let _ = fs::remove_file(file);
                }
            }
        });
        let codes: Vec<_> = (0..20).map(|_| lint(root.path(), &["--root", path]).code).collect();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(codes, [10; 20]);
    });
}

#[test]
fn yaml_that_would_burst() {
    let folder = folder();
    let mut laughs = "apiVersion: v1\nkind: Pod\nmetadata:\n  a0: &a0 [l, l, l, l, l, l, l, l, l, l]\n".to_string();
    for level in 1..30 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(laughs, "  a{level}: &a{level} [{before}]");
    }
    let sysctls = "spec:\n  securityContext:\n    sysctls: *a29\n";
    put(folder.path(), "laughs.yaml", laughs + sysctls);
    put(folder.path(), "deep.yaml", format!("apiVersion: v1\nkind: Pod\nspec: {}", "[".repeat(1_000_000)));
    let blocks: String = (0..3000).map(|depth| format!("{}- a:\n", " ".repeat(depth))).collect();
    put(folder.path(), "blocks.yaml", format!("apiVersion: v1\nkind: Pod\nspec:\n{blocks}"));
    put(folder.path(), "self.yaml", "apiVersion: v1\nkind: Pod\nspec: &s\n  securityContext: *s\n");
    put(folder.path(), "torn.yaml", "apiVersion: v1\nkind: Pod\nspec: {a: [\"b\n");
    put(folder.path(), "tabs.yaml", "apiVersion: v1\nkind: Pod\n\tspec: 1\n");
    put(folder.path(), "99-bad.conf", BAD);
    for format in FORMATS {
        let done = lint(folder.path(), &[&[".", "--format", format], &MACHINE[..]].concat());
        assert_eq!(done.code, 10, "{format}: {}{}", done.stdout, done.stderr);
    }
    let json = json(&lint(folder.path(), &[&[".", "--json"], &MACHINE[..]].concat()));
    for name in ["deep.yaml", "torn.yaml", "tabs.yaml"] {
        let said = list(&json, "unread").iter().filter_map(|it| it["because"].as_str());
        let place = said.filter_map(|why| why.split_once(&format!("{name}:"))).next();
        let is_line = place.is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
        assert!(is_line, "no line of {name}: {json}");
    }
}

#[test]
fn scripts_that_are_torn() {
    let folder = folder();
    let scripts =
        ["\"", "'", "$(", "`", "\\", "<<EOF\n", "${", "((", "sysctl -w \"", "docker run --sysctl ", "# tcproof: allow"];
    for (number, torn) in scripts.iter().enumerate() {
        let text = format!("#!/bin/sh\nsysctl -w net.core.somaxconn = 1\n{}", torn.repeat(5000));
        put(folder.path(), format!("{number}.sh"), &text);
        put(folder.path(), format!("Dockerfile.{number}"), text.replace("sysctl", "RUN sysctl"));
    }
    for format in FORMATS {
        let done = lint(folder.path(), &[&[".", "--format", format], &MACHINE[..]].concat());
        assert_eq!(done.code, 10, "{format}: {}{}", done.stdout, done.stderr);
    }
    let json = json(&lint(folder.path(), &[&[".", "--json"], &MACHINE[..]].concat()));
    for number in 0..scripts.len() {
        let name = format!("{number}.sh");
        let found =
            list(&json, "findings").iter().any(|it| it["file"].as_str().is_some_and(|file| file.ends_with(&name)));
        assert!(found, "nothing of {name}: {json}");
    }
}

/// Found by the fuzzer: words that hold blanks or ends of lines are no words of one line without their quotes.
#[test]
fn what_is_suggested_for_quoted_words() {
    let folder = folder();
    put(
        folder.path(),
        "x.sh",
        "#!/bin/sh\nsysctl -w net.ipv4.tcp_rmem = \"4096 131072 6291456\"\nsysctl -w a.b =\"1\n2\"\n",
    );
    let json = json(&lint(folder.path(), &[&["x.sh", "--json"], &MACHINE[..]].concat()));
    let found = list(&json, "findings").iter().filter(|it| it["rule"] == "never-worked");
    let found: Vec<_> = found.map(|it| (&it["line"], it["suggestion"].as_str())).collect();
    let suggestion = "sysctl -w \"net.ipv4.tcp_rmem=4096 131072 6291456\"";
    assert_eq!(found, [(&Value::from(2), Some(suggestion)), (&Value::from(3), None)], "{json}");
}

#[test]
fn paths_that_a_terminal_would_obey() {
    let folder = folder();
    let path = "\x1b[31m\nforged\u{9b}31m.conf";
    let file = put(folder.path(), path, "net.ipv4.tcp_tw_recycle = 1\n");
    let done = lint(folder.path(), &[&[path, "--fix"], &MACHINE[..]].concat());
    assert_eq!((done.code, done.stderr.lines().count()), (0, 1), "{}{}", done.stdout, done.stderr);
    fs::hard_link(&file, folder.path().join("other")).expect("a link");
    fs::write(&file, "net.ipv4.tcp_tw_recycle = 1\n").expect("a file");
    let done = lint(folder.path(), &[&[path, "--fix"], &MACHINE[..]].concat());
    assert_eq!((done.code, done.stderr.lines().count()), (1, 1), "{}{}", done.stdout, done.stderr);
    let root = lint(folder.path(), &["--root", path]);
    assert_eq!((root.code, root.stderr.lines().count()), (1, 1), "{}", root.stderr);
    assert_eq!(lint(folder.path(), &[&["\x1b[2J\n"], &MACHINE[..]].concat()).code, 1);
}

#[test]
fn what_nobody_may_read() {
    let root = root();
    let secret = put(root.path(), "etc/sysctl.d/50-secret.conf", BAD);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its mode");
    let hidden = put(root.path(), "run/sysctl.d/60-hidden.conf", BAD);
    fs::set_permissions(hidden.parent().expect("a folder"), fs::Permissions::from_mode(0o700)).expect("its mode");
    let path = root.path().to_str().expect("UTF-8");
    let test = "what_nobody_may_read";
    let Some(done) = as_nobody(test, root.path(), &["--root", path]) else { return };
    assert_eq!(done.code, 0, "{}", done.stdout);
    for name in ["/etc/sysctl.d/50-secret.conf", "/run/sysctl.d"] {
        assert!(done.stdout.contains(name), "{name}: {}", done.stdout);
    }
    let done = as_nobody(test, root.path(), &["--root", path, "--strict"]).expect("root");
    assert_eq!(done.code, 3, "{}", done.stdout);
    // What is found counts more.
    put(root.path(), "etc/sysctl.d/99-bad.conf", BAD);
    let done = as_nobody(test, root.path(), &["--root", path, "--strict"]).expect("root");
    assert_eq!(done.code, 10, "{}", done.stdout);
}

#[test]
fn as_an_ordinary_user_on_this_machine() {
    let Some(done) = as_nobody("as_an_ordinary_user_on_this_machine", Path::new("/"), &["--json"]) else { return };
    assert!(matches!(done.code, 0 | 10), "{}: {}{}", done.code, done.stdout, done.stderr);
    assert_eq!(done.stderr, "");
    let findings = json(&done);
    assert!(!list(&findings, "findings").iter().any(|it| it["rule"] == "unknown-key"), "{findings}");
}

// ---- corrections ---------------------------------------------------------------------------------------------------------

/// Of its lines the second is gone since 4.12, the fourth undone by the last; all else is wrong, too, but for a person.
const MIXED: &str = "\
# ours
net.ipv4.tcp_tw_recycle = 1
net.ipv4.tcp_fin_timeout = 15
net.ipv4.tcp_rmem = 4096 131072 6291456
-net.ipv4.tcp_fack = 1
net.core.somaxconn = 100
net.ipv4.tcp_rmem = 4096 131072 33554432
";

fn mixed_fixed() -> String {
    MIXED
        .replace("net.ipv4.tcp_tw_recycle", "# net.ipv4.tcp_tw_recycle")
        .replace("net.ipv4.tcp_rmem = 4096 131072 6291456", "# net.ipv4.tcp_rmem = 4096 131072 6291456")
}

fn fix(folder: &Path, path: &str) -> Done {
    lint(folder, &[&[path, "--fix"], &MACHINE[..]].concat())
}

#[test]
fn only_what_is_safe_is_written_and_only_once() {
    let folder = folder();
    let file = put(folder.path(), "90-x.conf", MIXED);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("its mode");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(NOBODY), Some(NOBODY)).expect("its owner");
    }
    let before = fs::metadata(&file).expect("a file");
    let done = fix(folder.path(), "90-x.conf");
    assert_eq!(done.code, 10, "what is not safe is still wrong: {}", done.stdout);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains("90-x.conf.bak"), "{}", done.stderr);
    assert_eq!(text(&file), mixed_fixed());
    assert_eq!(text(&folder.path().join("90-x.conf.bak")), MIXED);
    let after = fs::metadata(&file).expect("a file");
    let what = |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.gid());
    assert_eq!(what(&after), what(&before));
    let again = fix(folder.path(), "90-x.conf");
    assert_eq!((again.code, &*again.stderr), (10, ""));
    assert_eq!(names(folder.path()), ["90-x.conf", "90-x.conf.bak"]);
    assert_eq!(fs::metadata(&file).expect("a file").ino(), after.ino());
}

#[test]
fn of_a_root_its_own_files_are_corrected() {
    let root = root();
    let file = put(root.path(), "etc/sysctl.d/90-x.conf", MIXED);
    let vendors = put(root.path(), "usr/lib/sysctl.d/10-vendor.conf", MIXED);
    symlink("../usr/lib/sysctl.d/10-vendor.conf", root.path().join("etc/sysctl.d/20-link.conf")).expect("a link");
    let done = lint(root.path(), &["--root", root.path().to_str().expect("UTF-8"), "--fix"]);
    assert_eq!(done.code, 10, "{}{}", done.stdout, done.stderr);
    assert_eq!(text(&file), mixed_fixed());
    assert_eq!(text(&vendors), MIXED);
    assert!(done.stderr.contains("/usr/lib/sysctl.d/10-vendor.conf: belongs to a package"), "{}", done.stderr);
    assert_eq!(names(&root.path().join("usr/lib/sysctl.d")), ["10-vendor.conf"]);
}

#[test]
fn links_are_followed_and_ends_of_lines_kept() {
    let folder = folder();
    let mixed = MIXED.replace('\n', "\r\n");
    let file = put(folder.path(), "real.conf", mixed.trim_end());
    fs::create_dir(folder.path().join("d")).expect("a folder");
    let link = folder.path().join("d/90-x.conf");
    symlink("../real.conf", &link).expect("a link");
    assert_eq!(fix(folder.path(), "d").code, 10);
    assert_eq!(text(&file), mixed_fixed().replace('\n', "\r\n").trim_end());
    assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    assert_eq!(names(folder.path()), ["d", "real.conf", "real.conf.bak"]);
    assert_eq!(names(&folder.path().join("d")), ["90-x.conf"]);
}

#[test]
fn what_can_not_be_replaced_is_refused_and_said() {
    // Other names would keep the old text.
    let folder = folder();
    let file = put(folder.path(), "90-x.conf", MIXED);
    fs::hard_link(&file, folder.path().join("other")).expect("a link");
    let refused = |why: &str| {
        let done = fix(folder.path(), "90-x.conf");
        assert_eq!(done.code, 1, "{}", done.stdout);
        assert!(done.stderr.contains(why) && done.stderr.contains("90-x.conf"), "{}", done.stderr);
    };
    refused("hard links");
    fs::remove_file(folder.path().join("other")).expect("it is gone");
    // In a comment such bytes do no harm, but they would be lost.
    let latin = [MIXED.as_bytes(), b"# M\xfcnchen\n"].concat();
    fs::write(&file, &latin).expect("a file");
    refused("UTF-8");
    assert_eq!(fs::read(&file).expect("a file"), latin);
    // Elsewhere the file was not wholly understood.
    let latin = [MIXED.as_bytes(), b"kernel.hostname = M\xfcnchen\n"].concat();
    fs::write(&file, &latin).expect("a file");
    let done = fix(folder.path(), "90-x.conf");
    assert_eq!((done.code, &*done.stderr), (10, ""), "{}", done.stdout);
    assert_eq!(fs::read(&file).expect("a file"), latin);
    assert_eq!(names(folder.path()), ["90-x.conf"]);
    // Others are corrected all the same.
    fs::write(&file, [MIXED.as_bytes(), b"# M\xfcnchen\n"].concat()).expect("a file");
    let other = put(folder.path(), "91-y.conf", "net.ipv4.tcp_tw_recycle = 1\n");
    assert_eq!(fix(folder.path(), ".").code, 1);
    assert_eq!(text(&other), "# net.ipv4.tcp_tw_recycle = 1\n");
}

#[test]
fn nobody_can_not_write_where_nobody_may_not() {
    let folder = folder();
    let file = put(folder.path(), "90-x.conf", MIXED);
    let arguments = [&["90-x.conf", "--fix"], &MACHINE[..]].concat();
    let Some(done) = as_nobody("nobody_can_not_write_where_nobody_may_not", folder.path(), &arguments) else { return };
    assert_eq!(done.code, 1, "{}", done.stdout);
    assert!(done.stderr.contains("90-x.conf: writing beside it: Permission denied"), "{}", done.stderr);
    assert_eq!(text(&file), MIXED);
    assert_eq!(names(folder.path()), ["90-x.conf"]);
}

#[test]
fn what_a_package_brings_is_left_as_it_is() {
    let folder = folder();
    put(folder.path(), "usr/lib/sysctl.d/50-x.conf", MIXED);
    let path = folder.path().join("usr/lib/sysctl.d");
    let done = fix(folder.path(), path.to_str().expect("UTF-8"));
    assert_eq!(done.code, 10, "{}", done.stdout);
    assert!(done.stderr.contains("belongs to a package"), "{}", done.stderr);
    assert_eq!(names(&path), ["50-x.conf"]);
}

// ---- other formats -------------------------------------------------------------------------------------------------------

#[test]
fn patch_applies_the_diff() {
    for (name, end) in
        [("90-x.conf", "\n"), ("90 x.conf", "\n"), ("90-\x1b[31m\n\"x.conf", "\n"), ("90-crlf.conf", "\r\n")]
    {
        for is_ended in [true, false] {
            let folder = folder();
            let mixed = MIXED.replace('\n', end);
            let mixed = if is_ended { &mixed } else { mixed.trim_end() };
            let file = put(folder.path(), Path::new("d").join(name), mixed);
            let done = lint(folder.path(), &[&["d", "--format", "diff"], &MACHINE[..]].concat());
            assert_eq!((done.code, &*done.stderr), (10, ""));
            let mut patch = Command::new("patch");
            patch.args(["-p0", "--batch", "--binary"]).current_dir(folder.path());
            let spawned = patch.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let Ok(mut child) = spawned else {
                let _ = writeln!(std::io::stderr(), "SKIP patch_applies_the_diff: there is no patch(1)");
                return;
            };
            child.stdin.take().expect("piped").write_all(done.stdout.as_bytes()).expect("the diff");
            let output = child.wait_with_output().expect("patch ends");
            assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), done.stdout);
            let patched = text(&file);
            assert_eq!(patched.ends_with('\n'), is_ended, "{patched:?}");
            let gone = patched.lines().filter(|line| line.starts_with("# net.ipv4.tcp_")).count();
            assert!(gone >= 3 && !patched.contains("somaxconn = 100"), "{patched}");
            // What it corrected is not said again.
            let found = |text: &Done| list(&json(text), "findings").len();
            put(folder.path(), Path::new("before").join(name), mixed);
            let [before, after] =
                ["before", "d"].map(|path| found(&lint(folder.path(), &[&[path, "--json"], &MACHINE[..]].concat())));
            assert!(after < before, "{after} of {before}");
        }
    }
}

#[test]
fn no_diff_of_what_a_terminal_would_obey() {
    let folder = folder();
    put(folder.path(), "90-x.conf", format!("# \x1b[2J\n{MIXED}"));
    let done = lint(folder.path(), &[&["90-x.conf", "--format", "diff"], &MACHINE[..]].concat());
    assert_eq!(done.stdout, "# 90-x.conf: no diff of what is not all plain text\n");
    // The lines that it is not about do no harm.
    put(folder.path(), "90-x.conf", format!("# \x1b[2J\n{}{MIXED}", "#\n".repeat(9)));
    let done = lint(folder.path(), &[&["90-x.conf", "--format", "diff"], &MACHINE[..]].concat());
    assert!(done.stdout.starts_with("--- 90-x.conf\n+++ 90-x.conf\n@@ "), "{}", done.stdout);
}

#[test]
fn the_diff_of_a_host_has_no_file_that_is_none() {
    let root = root();
    put(root.path(), "proc/cmdline", "quiet sysctl.net.core.somaxconn=100\n");
    let path = root.path().to_str().expect("UTF-8");
    let done = lint(root.path(), &["--root", path, "--format", "diff"]);
    assert_eq!((done.code, &*done.stdout), (10, ""));
    assert!(lint(root.path(), &["--root", path]).stdout.contains("kernel command line"));
}

/// The properties that SARIF 2.1.0 requires of what is in this log, and what code hosts want.
fn check_sarif(log: &Value) -> usize {
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().is_some_and(|uri| uri.ends_with("sarif-2.1.0.json")));
    let runs = list(log, "runs");
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!(run["tool"]["driver"]["name"], "tcproof");
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let mut ids = Vec::new();
    for rule in list(&run["tool"]["driver"], "rules") {
        let id = rule["id"].as_str().expect("an id");
        for text in [&rule["shortDescription"]["text"], &rule["help"]["text"], &rule["help"]["markdown"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{rule}");
        }
        check_level(&rule["defaultConfiguration"]["level"]);
        ids.push(id);
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "a rule, and its page, stands there once");
    for invocation in list(run, "invocations") {
        assert!(invocation["executionSuccessful"].is_boolean());
        for told in list(invocation, "toolExecutionNotifications") {
            check_level(&told["level"]);
            assert!(told["message"]["text"].as_str().is_some_and(|text| !text.is_empty()), "{told}");
            check_places(told);
        }
    }
    for result in list(run, "results") {
        assert!(ids.contains(&result["ruleId"].as_str().expect("a rule")), "{result}");
        check_level(&result["level"]);
        assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()), "{result}");
        assert_eq!(list(result, "locations").len(), 1);
        check_places(result);
        check_region(&result["locations"][0]["physicalLocation"]["region"]);
        if result["fixes"].is_null() {
            continue;
        }
        for fix in list(result, "fixes") {
            assert!(fix["description"]["text"].is_string());
            for change in list(fix, "artifactChanges") {
                check_uri(&change["artifactLocation"]["uri"]);
                for replacement in list(change, "replacements") {
                    check_region(&replacement["deletedRegion"]);
                    assert!(replacement["insertedContent"]["text"].is_string());
                }
            }
        }
    }
    list(run, "results").len()
}

fn check_level(level: &Value) {
    assert!(matches!(level.as_str(), Some("none" | "note" | "warning" | "error")), "{level}");
}

fn check_places(of: &Value) {
    for place in list(of, "locations") {
        check_uri(&place["physicalLocation"]["artifactLocation"]["uri"]);
    }
}

fn check_region(region: &Value) {
    let number = |name: &str| region[name].as_u64().unwrap_or_else(|| panic!("{name} in {region}"));
    let [line, start, end] = ["startLine", "startColumn", "endColumn"].map(number);
    assert!(line >= 1 && start >= 1 && end >= start, "{region}");
}

/// RFC 3986: only what needs no quotes, and no scheme that is a file's first letters.
fn check_uri(uri: &Value) {
    let uri = uri.as_str().expect("a URI");
    let rest = uri.strip_prefix("file://").unwrap_or(uri);
    assert!(rest.starts_with('/') || rest.len() == uri.len(), "{uri}");
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        let is_hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        let is_good = byte.is_ascii_alphanumeric()
            || b"-._~/".contains(&byte)
            || (byte == b'%' && is_hex(bytes.next()) && is_hex(bytes.next()));
        assert!(is_good, "{uri}");
    }
}

#[test]
fn sarif_is_sarif() {
    let log = |folder: &Path, arguments: &[&str]| {
        let done = lint(folder, &[arguments, &["--format", "sarif"]].concat());
        check_sarif(&json(&done))
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    assert!(log(&fixtures, &[&["rules", "corpus"], &MACHINE[..]].concat()) > 100);
    assert!(log(&fixtures, &["--root", "corpus/ubuntu-24.04"]) > 0);
    let folder = folder();
    hostile(folder.path());
    put(folder.path(), "ä:% \\.conf", BAD);
    assert!(log(folder.path(), &[&["."], &MACHINE[..]].concat()) > 0);
    assert_eq!(log(folder.path(), &[&["21-empty.conf"], &MACHINE[..]].concat()), 0);
    assert_eq!(log(folder.path(), &[&["none"], &MACHINE[..]].concat()), 0);
}

// ---- flags and exit codes ------------------------------------------------------------------------------------------------

#[test]
fn exit_codes() {
    let folder = folder();
    put(folder.path(), "bad.conf", BAD);
    put(folder.path(), "good.conf", "net.core.somaxconn = 8192\n");
    // What the kernel does by itself: a note.
    put(folder.path(), "note.conf", "net.core.somaxconn = 4096\n");
    let code = |arguments: &[&str]| lint(folder.path(), &[arguments, &MACHINE[..]].concat()).code;
    for (path, expected) in [("bad.conf", 10), ("good.conf", 0), ("note.conf", 0), ("none.conf", 1)] {
        for flags in [&[][..], &["-q"], &["-v"], &["--strict"], &["--json"], &["--format", "sarif"]] {
            assert_eq!(code(&[&[path], flags].concat()), expected, "{path} {flags:?}");
        }
    }
    for wrong in [
        &["-q", "-v"][..],
        &["--kernel", "new"],
        &["--memory", "much"],
        &["--format", "xml"],
        &["--no-such-flag"],
        &[""],
    ] {
        let done = lint(folder.path(), wrong);
        assert_eq!((done.code, &*done.stdout), (2, ""), "{wrong:?}");
        assert!(!done.stderr.is_empty());
    }
}

#[test]
fn quiet_is_one_line_and_notes_are_shown_on_request() {
    let folder = folder();
    put(folder.path(), "bad.conf", format!("{BAD}net.ipv4.tcp_syncookies = 1\n"));
    let said = |flags: &[&str]| lint(folder.path(), &[&["bad.conf"], flags, &MACHINE[..]].concat()).stdout;
    assert_eq!(said(&["-q"]), "1 warning, 1 note: 2 settings in 1 file, for Linux 6.12; notes with -v\n");
    assert!(!said(&[]).contains("default-already") && said(&["-v"]).contains("default-already"));
    put(folder.path(), "bad.conf", "net.ipv4.tcp_syncookies = 1\n");
    assert!(said(&[]).contains("default-already"), "shown where there is nothing worse");
}

#[test]
fn kernel_and_memory_decide() {
    let folder = folder();
    put(
        folder.path(),
        "x.conf",
        "net.ipv4.tcp_tw_recycle = 0\nnet.core.somaxconn = 1024\nnet.ipv4.tcp_max_orphans = 32768\n",
    );
    let rules = |machine: &[&str]| -> Vec<String> {
        let json = json(&lint(folder.path(), &[&["x.conf", "--json"], machine].concat()));
        let found = list(&json, "findings").iter().filter(|it| it["severity"] != "note");
        found.map(|it| format!("{} {}", it["rule"].as_str().unwrap_or(""), it["line"])).collect()
    };
    assert!(rules(&["--kernel", "6.12"]).contains(&"not-in-this-kernel 1".to_string()));
    assert!(rules(&["--kernel", "6.12"]).contains(&"lowers-default 2".to_string()));
    assert!(!rules(&["--kernel", "4.9"]).iter().any(|it| it.starts_with("not-in-this-kernel")));
    assert!(!rules(&["--kernel", "4.19"]).contains(&"lowers-default 2".to_string()), "128 was its default");
    let of_memory =
        |size: &str| rules(&["--kernel", "6.12", "--memory", size]).contains(&"lowers-default 3".to_string());
    assert!(of_memory("64G") && !of_memory("1G"), "the default of tcp_max_orphans comes from memory");
}

#[test]
fn a_root_without_proc() {
    let folder = folder();
    put(folder.path(), "etc/sysctl.d/90-x.conf", BAD);
    let root = folder.path().to_str().expect("UTF-8");
    let done = lint(folder.path(), &["--root", root, "--json"]);
    assert!(matches!(done.code, 0 | 10), "{}{}", done.stdout, done.stderr);
    let done = lint(folder.path(), &["--root", root, "--kernel", "6.12"]);
    assert_eq!(done.code, 10, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("/etc/sysctl.d/90-x.conf"), "{}", done.stdout);
    // Nothing there is nothing wrong; a root that is none is.
    let empty = tempfile::tempdir().expect("a directory");
    let path = empty.path().to_str().expect("UTF-8");
    assert_eq!(lint(folder.path(), &["--root", path, "--kernel", "6.12"]).code, 0);
    for none in ["none", "etc/sysctl.d/90-x.conf"] {
        let done = lint(folder.path(), &["--root", none, "--kernel", "6.12"]);
        assert_eq!((done.code, &*done.stdout), (1, ""), "{none}: {}", done.stderr);
        assert!(done.stderr.contains(none), "{}", done.stderr);
    }
}

#[test]
fn its_formats_are_no_other_verbs() {
    for verb in ["check", "doctor", "explain", "path"] {
        for format in ["sarif", "diff"] {
            let output = Command::new(TCPROOF).args([verb, "--format", format]).output().expect("it runs");
            assert_eq!(output.status.code(), Some(2), "{verb} --format {format}");
            assert!(output.stdout.is_empty() && !output.stderr.is_empty());
        }
    }
    // JSON is everybody's.
    let output = Command::new(TCPROOF).args(["explain", "--format", "json"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn colours_only_where_they_are_wanted() {
    let folder = folder();
    put(folder.path(), "bad.conf", BAD);
    let mut command =
        command(Path::new(TCPROOF), folder.path(), &["bad.conf", "--kernel", "6.12", "--color", "always"]);
    let output = command.output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\x1b["));
}
