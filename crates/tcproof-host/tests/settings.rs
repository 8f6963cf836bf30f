//! Trees of files with settings: what boot reads of them, and what files that were made to hurt do to the reader.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use tcproof_core::lint::{File, Format, Load, Loader, Tree};
use tcproof_core::{Absent, Reading};
use tcproof_host::{Root, settings};
use tempfile::TempDir;

/// A directory that looks like a host.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        host.put("proc/sys/kernel/osrelease", "6.1.0-44-amd64\n");
        host.put("usr/lib/systemd/systemd-sysctl", "");
        host.put("usr/sbin/sysctl", "");
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(path), text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        symlink(target, self.path(path)).unwrap();
    }

    fn boot(&self) -> Tree {
        settings::boot(&Root::new(self.0.path()))
    }

    fn named(&self, paths: &[&str]) -> Tree {
        let paths: Vec<PathBuf> = paths.iter().map(|path| self.0.path().join(path)).collect();
        settings::named(&paths, &Root::new(self.0.path()))
    }
}

fn order(tree: &Tree, load: &Load) -> String {
    let paths: Vec<&str> = load.files.iter().map(|index| &*tree.files[*index].path).collect();
    format!("{:?} {}", load.loader, paths.join(" "))
}

/// Who reads what, what nobody reads, and what can't be read.
fn shown(tree: &Tree) -> String {
    let loads = tree.loads.iter().map(|load| order(tree, load));
    let masked = tree.masked.iter().map(|masked| format!("masked {} by {}", masked.path, masked.by));
    let unread = tree.files.iter().filter_map(|file| Some(format!("unread {}", file.unread.as_ref()?)));
    loads.chain(masked).chain(unread).collect::<Vec<_>>().join("\n")
}

fn file<'a>(tree: &'a Tree, name: &str) -> &'a File {
    tree.files.iter().find(|file| file.path.ends_with(name)).unwrap()
}

#[test]
fn drop_ins_go_by_name_and_the_first_directory_of_a_name_wins() {
    let host = Host::new();
    for path in [
        "etc/sysctl.d/50-b.conf",
        "etc/sysctl.d/README",
        "run/sysctl.d/10-a.conf",
        "run/sysctl.d/50-b.conf",
        "usr/local/lib/sysctl.d/99-z.conf",
        "usr/lib/sysctl.d/50-b.conf",
        "usr/lib/sysctl.d/60-masked.conf",
        "usr/lib/sysctl.d/.hidden.conf",
        "etc/sysctl.conf",
    ] {
        host.put(path, "vm.swappiness = 1\n");
    }
    host.link("etc/sysctl.d/60-masked.conf", "/dev/null");
    host.link("lib", "usr/lib");
    insta::assert_snapshot!(shown(&host.boot()), @r"
    Systemd /run/sysctl.d/10-a.conf /etc/sysctl.d/50-b.conf /usr/local/lib/sysctl.d/99-z.conf
    Procps /usr/lib/sysctl.d/.hidden.conf /run/sysctl.d/10-a.conf /etc/sysctl.d/50-b.conf /usr/local/lib/sysctl.d/99-z.conf /etc/sysctl.conf
    masked /run/sysctl.d/50-b.conf by /etc/sysctl.d/50-b.conf
    masked /usr/lib/sysctl.d/50-b.conf by /etc/sysctl.d/50-b.conf
    masked /usr/lib/sysctl.d/60-masked.conf by /etc/sysctl.d/60-masked.conf
    ");
}

#[test]
fn a_file_with_two_names_is_one_file_where_it_is_read_last() {
    let host = Host::new();
    host.put("etc/sysctl.conf", "vm.swappiness = 1\n");
    host.link("etc/sysctl.d/99-sysctl.conf", "../sysctl.conf");
    host.put("etc/sysctl.d/99-z.conf", "vm.swappiness = 2\n");
    host.put("usr/lib/sysctl.d/70-x.conf", "vm.swappiness = 3\n");
    // A link to the very file that it goes before.
    host.link("etc/sysctl.d/70-x.conf", "/usr/lib/sysctl.d/70-x.conf");
    insta::assert_snapshot!(shown(&host.boot()), @r"
    Systemd /usr/lib/sysctl.d/70-x.conf /etc/sysctl.conf /etc/sysctl.d/99-z.conf
    Procps /usr/lib/sysctl.d/70-x.conf /etc/sysctl.d/99-z.conf /etc/sysctl.conf
    ");
}

#[test]
fn only_loaders_that_are_there_load() {
    let host = Host::new();
    host.put("etc/sysctl.conf", "vm.swappiness = 1\n");
    let loaders = |host: &Host| -> Vec<Loader> { host.boot().loads.iter().map(|load| load.loader).collect() };
    fs::remove_file(host.path("usr/lib/systemd/systemd-sysctl")).unwrap();
    assert_eq!(loaders(&host), [Loader::Procps]);
    fs::remove_file(host.path("usr/sbin/sysctl")).unwrap();
    assert_eq!(loaders(&host), [Loader::Systemd], "somebody has to");
    host.put("bin/busybox", "");
    host.link("sbin/sysctl", "/bin/busybox");
    assert_eq!(loaders(&host), [Loader::Systemd], "busybox knows no --system");
}

#[test]
fn the_kernels_command_line_goes_before_all_files() {
    let host = Host::new();
    host.put("proc/cmdline", "quiet sysctl.vm.swappiness=7\n");
    host.put("etc/sysctl.d/a.conf", "vm.swappiness = 1\n");
    let tree = host.boot();
    insta::assert_snapshot!(shown(&tree), @r"
    Systemd kernel command line /etc/sysctl.d/a.conf
    Procps kernel command line /etc/sysctl.d/a.conf
    ");
    assert_eq!(tree.files[0].settings[0].key, "vm.swappiness");
    host.put("proc/sys/kernel/osrelease", "5.4.0\n");
    assert_eq!(host.boot().files.len(), 1, "unknown before 5.8");
}

#[test]
fn what_holds_now_is_read_where_it_is_recorded() {
    let host = Host::new();
    host.put("proc/sys/net/core/somaxconn", "4096\n");
    host.put("proc/sys/net/ipv4/conf/eth0.1/rp_filter", "2\n");
    host.put("etc/shadow", "secret\n");
    let text = "net/ipv4/conf/eth0.1/rp_filter = 1\nnet/../../../etc/shadow = 1\n";
    host.put("etc/sysctl.d/a.conf", text);
    host.put("etc/modules-load.d/a.conf", "# what we need\nnf-conntrack\n\n");
    host.put("usr/lib/modules-load.d/a.conf", "masked\n");
    host.put("proc/cmdline", "modules_load=br_netfilter,sctp -- modules_load=no\n");
    host.put("usr/lib/modules/6.1.0-44-amd64/modules.builtin", "kernel/net/ipv4/tcp_cubic.ko\n");
    host.put("etc/tuned/active_profile", "throughput-performance\n");
    fs::create_dir_all(host.path("var/lib/kubelet")).unwrap();
    let now = host.boot().now.unwrap();
    assert_eq!(now.values["net.core.somaxconn"], Reading::Present("4096".into()));
    assert_eq!(now.values["net.ipv4.conf.eth0/1.rp_filter"], Reading::Present("2".into()));
    assert!(!now.values.keys().any(|key| key.contains("shadow")), "a key that leads out of /proc/sys is not followed");
    assert_eq!(now.boot_modules, ["br_netfilter", "nf_conntrack", "sctp", "tcp_cubic"]);
    let writers: Vec<_> = now.writers.iter().map(|writer| writer.what.as_str()).collect();
    insta::assert_snapshot!(writers.join("\n"), @r#"
    tuned sets the knobs of its profile "throughput-performance" (/etc/tuned/active_profile)
    kube-proxy sets connection tracking (/var/lib/kubelet)
    kubelet and its network plugin switch forwarding on (/var/lib/kubelet)
    "#);
    fs::remove_dir_all(host.path("proc")).unwrap();
    assert!(host.boot().now.is_none());
}

#[test]
fn this_machine() {
    let tree = settings::boot(&Root::new("/"));
    let now = tree.now.as_ref().unwrap();
    assert!(now.values["net.core.somaxconn"].value().is_some());
    assert!(tree.files.iter().all(|file| file.unread.is_none()), "{}", shown(&tree));
}

/// Files that were made to hurt, in a directory of their own. Among them one that is as it should be.
fn hostile(host: &Host, directory: &str) {
    let put = |name: &str, text: &[u8]| host.put(&format!("{directory}/{name}"), text);
    put("a-good.conf", b"vm.swappiness = 1\n");
    put("binary.conf", b"\x7fELF\x02\x01\x01\0\0\0");
    put("comment.conf", b"# gr\xfc\xdfe\nvm.swappiness = 2\n");
    put("crlf.conf", b"vm.swappiness = 3\r\n# x\r\n");
    put("latin.conf", b"vm.swappiness = 4\nnet.ipv4.conf.b\xfcro.rp_filter = 1\nvm.panic_on_oom = 1\n");
    put("long.conf", &[b"vm.swappiness = 5\n# ".as_slice(), &vec![b'x'; 2 << 20], b"\nvm.panic_on_oom = 1\n"].concat());
    put("z-good.conf", b"vm.swappiness = 6\n");
    // Sparse: a line of a GiB that takes no room.
    fs::File::create(host.path(&format!("{directory}/huge.conf"))).unwrap().set_len(1 << 30).unwrap();
    fs::create_dir_all(host.path(&format!("{directory}/folder.conf"))).unwrap();
    host.link(&format!("{directory}/loop.conf"), "loop.conf");
    host.link(&format!("{directory}/nowhere.conf"), "nothing");
    let fifo = host.path(&format!("{directory}/fifo.conf"));
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
}

#[test]
fn hostile_drop_ins_are_named_and_the_others_read() {
    let host = Host::new();
    hostile(&host, "etc/sysctl.d");
    let start = Instant::now();
    let tree = host.boot();
    assert!(start.elapsed().as_secs() < 10);
    insta::assert_snapshot!(shown(&tree).replace("/etc/sysctl.d/", ""), @r"
    Systemd a-good.conf binary.conf comment.conf crlf.conf fifo.conf folder.conf huge.conf latin.conf long.conf loop.conf nowhere.conf z-good.conf
    Procps a-good.conf binary.conf comment.conf crlf.conf fifo.conf folder.conf huge.conf latin.conf long.conf loop.conf nowhere.conf z-good.conf
    unread binary.conf:1: expected text, found a NUL byte
    unread fifo.conf: expected a regular file
    unread folder.conf: expected a regular file
    unread huge.conf: expected at most 16 MiB
    unread latin.conf:2: expected UTF-8
    unread long.conf:2: expected a line of less than 1 MiB: systemd-sysctl reads no further
    unread loop.conf: a link that leads nowhere
    unread nowhere.conf: a link that leads nowhere
    ");
    let settings = |name: &str| file(&tree, name).settings.len();
    assert_eq!(["a-good", "comment", "crlf", "z-good"].map(|name| settings(&format!("{name}.conf"))), [1; 4]);
    assert_eq!((settings("latin.conf"), settings("long.conf")), (3, 1), "as the loaders read them");
}

#[test]
fn hostile_directories_are_named_and_the_others_read() {
    let host = Host::new();
    hostile(&host, "here");
    host.put("here/folder.conf/below.conf", "vm.swappiness = 7\n");
    host.link("here/folder.conf/up", "..");
    let mut deep = "here".to_string();
    for _ in 0..60 {
        deep += "/d";
    }
    host.put(&format!("{deep}/too-deep.conf"), "vm.swappiness = 8\n");
    let tree = host.named(&["here", "none.conf", "here/a-good.conf", "/dev/null", "/dev/zero"]);
    let all = shown(&tree).replace(&host.0.path().display().to_string(), "");
    insta::assert_snapshot!(all.replace("/d".repeat(33).as_str(), "/d…"), @r"
    Named /here/a-good.conf /here/folder.conf/below.conf /here/binary.conf /here/comment.conf /here/crlf.conf /here/d… /here/fifo.conf /here/huge.conf /here/latin.conf /here/long.conf /here/loop.conf /none.conf /here/nowhere.conf /dev/null /here/z-good.conf /dev/zero
    unread /here/binary.conf:1: expected text, found a NUL byte
    unread /here/d…: expected at most 32 directories deep
    unread /here/fifo.conf: expected a regular file
    unread /here/huge.conf: expected at most 16 MiB
    unread /here/latin.conf:2: expected UTF-8
    unread /here/long.conf:2: expected a line of less than 1 MiB: systemd-sysctl reads no further
    unread /here/loop.conf: Too many levels of symbolic links (os error 40)
    unread /here/nowhere.conf: no such file
    unread /none.conf: no such file
    unread /dev/null: expected a regular file
    unread /dev/zero: expected a regular file
    ");
}

#[test]
fn what_may_not_be_read_is_named() {
    let host = Host::new();
    host.put("etc/sysctl.d/a.conf", "vm.swappiness = 1\n");
    fs::set_permissions(host.path("etc/sysctl.d/a.conf"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(host.path("etc/sysctl.d/a.conf")).is_ok() {
        skip("SKIP what_may_not_be_read_is_named: this user may read everything");
        return;
    }
    host.put("etc/sysctl.d/b.conf", "vm.swappiness = 1\n");
    let tree = host.boot();
    assert!(matches!(file(&tree, "a.conf").unread, Some(Absent::Permission { .. })), "{}", shown(&tree));
    assert_eq!(file(&tree, "b.conf").settings.len(), 1);
}

#[test]
fn formats_go_by_name_and_content() {
    let host = Host::new();
    host.put("here/sysctl.conf", "# empty\n");
    host.put("here/nginx.conf", "worker_processes = 4;\n");
    host.put("here/mine.conf", "net.core.somaxconn = 1\n");
    host.put("here/notes.txt", "sysctl -w a=b\n");
    host.put("here/tuned.conf", "");
    host.put("here/profile.conf", "[main]\nsummary=x\n[sysctl]\nvm.swappiness=1\n");
    host.put("here/nginx.service", "[Service]\nLimitNOFILE=1024\n");
    host.put("here/nginx.service.d/limits.conf", "[Service]\nLimitNOFILE=1024\n");
    host.put("here/pod.yaml", "apiVersion: v1\nkind: Pod\n");
    host.put("here/compose.yml", "services:\n  web: {}\n");
    host.put("here/tasks.yml", "- name: x\n  ansible.posix.sysctl:\n    name: vm.swappiness\n");
    host.put("here/other.yml", "a: b\n");
    host.put("here/setup.sh", "sysctl -w a=b\n");
    host.put("here/setup", "#!/usr/bin/env bash\nsysctl -w a=b\n");
    host.put("here/program", "#!/usr/bin/python3\n");
    host.put("here/Dockerfile", "FROM x\n");
    host.put("here/.git/config.conf", "net.core.somaxconn = 1\n");
    let tree = host.named(&["here"]);
    let formats: Vec<String> = tree
        .files
        .iter()
        .map(|file| format!("{:?} {}", file.format, file.path.rsplit_once("here/").unwrap().1))
        .collect();
    insta::assert_snapshot!(formats.join("\n"), @r"
    Script Dockerfile
    Compose compose.yml
    Sysctl mine.conf
    Unit nginx.service
    Unit nginx.service.d/limits.conf
    Kubernetes pod.yaml
    Tuned profile.conf
    Script setup
    Script setup.sh
    Sysctl sysctl.conf
    Ansible tasks.yml
    Tuned tuned.conf
    ");
    let named: Vec<usize> = tree.loads.iter().map(|load| load.files.len()).collect();
    assert_eq!(tree.loads[0].loader, Loader::Named);
    assert!(tree.loads[1..].iter().all(|load| load.loader == Loader::Alone && load.files.len() == 1), "{named:?}");
    let tree = host.named(&["here/nginx.conf", "here/other.yml", "here/notes.txt"]);
    let formats: Vec<Format> = tree.files.iter().map(|file| file.format).collect();
    assert_eq!(formats, [Format::Sysctl, Format::Kubernetes, Format::Script], "what is named is read");
}

#[test]
fn a_file_about_something_else_is_not_read_as_sysctls() {
    let host = Host::new();
    let puppet = "class a {\n  sysctl::parameters { 'a':\n    values => {\n      'net.core.somaxconn' => 4096,\n    },\n  }\n}\n";
    host.put("a.pp", puppet);
    host.put("nginx.conf", "worker_processes 4;\nevents {}\nhttp {\n  server_names_hash = 1;\n}\n# net.a = 1\n");
    host.put("limits", "net.core.somaxconn 4096\nnet.ipv4.tcp_sack\n");
    host.put("empty", "# nothing yet\n");
    host.put("90-web.conf.j2", "net.core.somaxconn = {{ somaxconn }}\nnet.ipv4.tcp_sack = 1\n");
    let tree = host.named(&["a.pp", "nginx.conf", "limits", "empty", "90-web.conf.j2"]);
    let about: Vec<(bool, usize, usize)> =
        tree.files.iter().map(|file| (file.unread.is_none(), file.settings.len(), file.strays.len())).collect();
    // In the order in which they are named; that they are read by name is their load's affair.
    assert_eq!(about, [(false, 0, 0), (false, 0, 0), (true, 0, 2), (true, 0, 0), (true, 1, 0)], "{}", shown(&tree));
}

/// Past the harness, which keeps to itself what a test that passes prints: a skip is to be seen.
fn skip(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
}
