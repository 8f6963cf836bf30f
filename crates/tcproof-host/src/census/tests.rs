use super::*;
use std::fs;
use std::net::{TcpListener, TcpStream};
use tcproof_core::census::End;

fn ask() -> Ask {
    Ask { scope: Scope::Pid(std::process::id()), method: None, port: None, top: 10, table: 1_000, processes: false }
}

#[test]
fn our_own_sockets_are_counted_by_either_backend() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let held: Vec<_> = (0..7).map(|_| (TcpStream::connect(at).unwrap(), listener.accept().unwrap().0)).collect();
    for method in [None, Some(Method::Netlink), Some(Method::Proc)] {
        let asked = Ask { method, port: Some(at.port()), processes: true, ..ask() };
        let census = census(&Root::new("/"), &asked, &NoExtra).unwrap();
        assert_eq!(census.method, method.unwrap_or(Method::Netlink), "{:?}", census.refused);
        let [listener] = &census.listeners.rows[..] else { panic!("{:?}", census.listeners) };
        assert!(listener.owners.contains(&std::process::id()));
        let rows = census
            .destinations
            .rows
            .iter()
            .map(|row| (row.service, row.tuple.destination.port, row.states.of(State::Established), row.ports));
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        assert_eq!(rows, [(End::Local, at.port(), 7, None), (End::Remote, at.port(), 7, Some(7))]);
        let own = census.processes.rows.iter().find(|row| row.pid == std::process::id()).unwrap();
        assert!(own.states.unwrap().of(State::Established) >= 14 && own.states.unwrap().of(State::Listen) >= 1);
        assert_eq!(census.holders, Some(Method::Proc));
    }
    drop(held);
}

#[test]
fn a_row_has_the_inode_of_a_connection_that_is_there_and_says_why_it_has_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let client = TcpStream::connect(at).unwrap();
    let server = listener.accept().unwrap().0;
    let waiting = TcpStream::connect(at).unwrap();
    let service = tcproof_core::snapshot::Endpoint::from(at);
    let row = DestinationRow {
        netns: NetnsId(1),
        service: End::Local,
        tuple: tcproof_core::snapshot::Tuple { source: at.ip(), destination: service },
        states: Counts::default(),
        others: 0,
        ports: None,
        owners: Vec::new(),
    };
    let connection = |client: &TcpStream| {
        let client = client.local_addr().unwrap().into();
        Some(Member::Connection { client, device: 0 })
    };
    let of = |members: Members| inode(&mut Diag::open(), &row, &members);
    let held = rustix::fs::fstat(&server).unwrap().st_ino;
    assert_eq!(of([connection(&waiting), connection(&client), None]), Ok(held));
    // It waits to be accepted; and one that has gone is not its listener.
    assert_eq!(of([connection(&waiting), None, None]), Ok(0));
    let gone = Member::Connection { client: tcproof_core::snapshot::Endpoint::new(at.ip(), 9), device: 0 };
    assert_eq!(of([Some(gone), None, None]), Ok(0));
    // An inode needs no sock_diag, a connection does.
    let why = Absent::not_in_kernel("sock_diag");
    assert_eq!(inode(&mut Err(why.clone()), &row, &[Some(Member::Inode(7)), None, None]), Ok(7));
    assert_eq!(inode(&mut Err(why.clone()), &row, &[connection(&client), None, None]), Err(why));
}

#[test]
fn a_backend_that_is_not_there_is_said_and_nothing_is_counted_as_zero() {
    let census = census(&Root::new("/"), &Ask { method: Some(Method::Bpf), ..ask() }, &NoExtra).unwrap();
    assert_eq!(census.refused.len(), 1);
    assert!(census.namespaces.values().all(|ns| ns.counted.absent().is_some()));
}

#[test]
fn a_directory_is_read_as_text_with_its_listeners() {
    let root = tempfile::tempdir().unwrap();
    let net = root.path().join("proc/net");
    fs::create_dir_all(&net).unwrap();
    let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    let line = |n: u32, remote: &str, state: &str, tail: &str| {
        format!("{n:4}: 0100007F:1F90 {remote} {state} 00000000:00000000 00:00000000 00000000 0 0 {tail}\n")
    };
    let full = "9 1 0 100 0 0 10 0";
    let text = [
        line(0, "00000000:0000", "0A", full),
        line(1, "0200007F:C350", "01", full),
        line(2, "0200007F:C351", "06", "0 3 0").replace(" 00:00000000 ", " 03:00000000 "),
    ];
    fs::write(net.join("tcp"), [header, &text.concat()].concat()).unwrap();
    let asked = Ask { scope: Scope::All, ..ask() };
    let count = || census(&Root::new(root.path()), &asked, &NoExtra).unwrap();
    let first = count();
    let counted = first.namespaces[&NetnsId(0)].counted.value().unwrap();
    let states: Vec<_> = counted.states.iter().collect();
    assert_eq!(states, [(State::Listen, 1), (State::Established, 1), (State::TimeWait, 1)]);
    assert_eq!((first.method, &*first.because), (Method::Proc, "a directory has only text"));
    let [row] = &first.destinations.rows[..] else { panic!("{:?}", first.destinations) };
    assert_eq!((row.service, row.tuple.to_string()), (End::Local, "127.0.0.2→127.0.0.1:8080".into()));
    let unseen: Vec<_> = first.unseen.iter().map(|unseen| &*unseen.what).collect();
    assert!(unseen.contains(&"IPv6 sockets"), "{unseen:?}");
    assert!(first.namespaces[&NetnsId(0)].listeners_absent.is_some());

    // Cut off: what there is of it is no count.
    fs::write(net.join("tcp6"), [header, &text[1]].concat().trim_end()).unwrap();
    let cut = count();
    assert!(matches!(cut.namespaces[&NetnsId(0)].counted, Reading::Absent(Absent::Unparsable { .. })));
    assert!(cut.destinations.rows.is_empty() && cut.truncated.is_empty());
    // None of it is there.
    fs::remove_file(net.join("tcp")).unwrap();
    assert!(count().namespaces[&NetnsId(0)].counted.absent().is_some());
}
