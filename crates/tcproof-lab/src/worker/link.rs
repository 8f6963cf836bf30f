//! An emulated link: a TUN device in each namespace, and a thread for each direction between them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::server::ignore_interrupt;
use super::{Command, Control, Event, icmp, rewrite, say};
use crate::kit::netns;
use crate::kit::tun::Tun;
use crate::path::{Fate, Path};
use crate::scenario::{Link, Side};
use crate::topology::{CLIENT_LINK, SERVER_LINK};

/// Packets that are taken in before those that are due are handed over again.
const BATCH: usize = 64;
/// How often the link looks whether it has to change, and counts.
const TICK: Duration = Duration::from_millis(20);

/// Is the link until told to stop. The calling thread is in the client's namespace.
pub(super) fn link(spec: &Link, server: &std::path::Path) -> io::Result<()> {
    let tun = |name| {
        Tun::new(name).map_err(|error| match error {
            crate::kit::Error::Unsupported(what) => io::Error::new(io::ErrorKind::Unsupported, what),
            other => io::Error::other(other),
        })
    };
    let client = Arc::new(tun(CLIENT_LINK)?);
    // A thread of its own, because entering a namespace is for good.
    let server = std::thread::scope(|scope| {
        let made = scope.spawn(|| netns::enter(server).and_then(|()| tun(SERVER_LINK)));
        made.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    })?;
    let server = Arc::new(server);
    let origin = Instant::now();
    let directions = [(Side::Server, &client, &server), (Side::Client, &server, &client)].map(|(to, from, into)| {
        let direction = Arc::new(Mutex::new(Direction { path: Path::new(spec, to), counts: Counts::default() }));
        let (shared, from, into) = (Arc::clone(&direction), Arc::clone(from), Arc::clone(into));
        std::thread::spawn(move || {
            if let Err(errno) = forward(&from, &into, &shared, origin) {
                // Nobody can go on without the link, and nobody is told twice.
                let _ = say(&Event::Failed(format!("link: {errno}")));
                std::process::exit(1);
            }
        });
        (to, direction)
    });
    control(spec, &directions)
}

/// One direction, as its thread and the main thread share it.
struct Direction {
    path: Path,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    passed: u64,
    dropped: BTreeMap<&'static str, u64>,
}

fn locked(direction: &Mutex<Direction>) -> MutexGuard<'_, Direction> {
    direction.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears commands, changes the link when it is time, and counts.
fn control(spec: &Link, directions: &[(Side, Arc<Mutex<Direction>>)]) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let mut control = Control::new(poll.registry())?;
    let change = |link: &Link| directions.iter().for_each(|(_, direction)| locked(direction).path.change(link));
    let mut later: Vec<_> = spec.later.iter().collect();
    later.sort_by_key(|later| Reverse(later.after));
    let mut began = None;
    say(&Event::Ready)?;
    loop {
        poll.poll(&mut events, Some(TICK)).or_else(ignore_interrupt)?;
        let now = Instant::now();
        for (side, direction) in directions {
            let counts = std::mem::take(&mut locked(direction).counts);
            control.count(|tally| {
                tally.numbers.passed += counts.passed;
                for (cause, n) in &counts.dropped {
                    *tally.numbers.dropped.entry(format!("{cause} to {}", side.name())).or_default() += n;
                }
            });
        }
        if !events.is_empty() {
            let Some(commands) = control.commands(now, 0)? else { return Ok(()) };
            for command in commands {
                match command {
                    Command::Begin => began = Some(now),
                    Command::Change(link) => change(&link),
                    Command::Mark | Command::Relisten => {}
                }
            }
        }
        while let (Some(began), Some(next)) = (began, later.last())
            && now - began >= next.after.0
        {
            change(&next.link);
            later.pop();
        }
        control.tick(now, 0)?;
    }
}

/// A packet on its way: ordered by when it arrives, then by when it came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    arrives: Duration,
    number: u64,
    packet: Box<[u8]>,
}

fn forward(from: &Tun, into: &Tun, direction: &Mutex<Direction>, origin: Instant) -> rustix::io::Result<()> {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let mut waiting = BinaryHeap::<Reverse<Waiting>>::new();
    let mut bytes_waiting = 0;
    let mut number = 0;
    loop {
        let mut empty = false;
        let mut shared = locked(direction);
        for _ in 0..BATCH {
            let packet = match from.read(&mut buffer) {
                Ok(length) => &mut buffer[..length],
                Err(Errno::AGAIN) => {
                    empty = true;
                    break;
                }
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            if let Some(ms) = shared.path.timestamps_back() {
                rewrite::timestamps_back(packet, ms);
            }
            let now = origin.elapsed();
            match shared.path.offer(now, packet.len(), bytes_waiting) {
                Fate::Arrives(at) if at <= now && waiting.is_empty() => {
                    shared.counts.passed += 1;
                    hand_over(into, packet, &mut shared.counts)?;
                }
                Fate::Arrives(arrives) => {
                    shared.counts.passed += 1;
                    bytes_waiting += packet.len() as u64;
                    number += 1;
                    waiting.push(Reverse(Waiting { arrives, number, packet: Box::from(&*packet) }));
                }
                Fate::Dropped(cause) => *shared.counts.dropped.entry(cause.name()).or_default() += 1,
                Fate::Refused(mtu) => {
                    *shared.counts.dropped.entry("mtu").or_default() += 1;
                    if let Some(answer) = icmp::too_big(packet, mtu) {
                        hand_over(from, &answer, &mut shared.counts)?;
                    }
                }
            }
        }
        let now = origin.elapsed();
        while waiting.peek().is_some_and(|Reverse(next)| next.arrives <= now) {
            let Some(Reverse(next)) = waiting.pop() else { break };
            bytes_waiting -= next.packet.len() as u64;
            hand_over(into, &next.packet, &mut shared.counts)?;
        }
        drop(shared);
        if empty {
            let due = waiting.peek().map(|Reverse(next)| next.arrives.saturating_sub(origin.elapsed()));
            let due = due.and_then(|due| Timespec::try_from(due).ok());
            match poll(&mut [PollFd::new(from, PollFlags::IN)], due.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// A packet that the other end can't take is lost there, as on any device.
fn hand_over(into: &Tun, packet: &[u8], counts: &mut Counts) -> rustix::io::Result<()> {
    match into.write(packet) {
        Ok(_) => Ok(()),
        // EIO: the device is down. ENOBUFS and EAGAIN: no memory. EINVAL: not IP.
        Err(Errno::IO | Errno::NOBUFS | Errno::AGAIN | Errno::NOMEM | Errno::INVAL) => {
            *counts.dropped.entry("device").or_default() += 1;
            Ok(())
        }
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::*;
    use crate::kit::netns::Netns;
    use crate::kit::{Error, require_root, rtnl};

    const ENDS: [(&str, Ipv4Addr); 2] =
        [(CLIENT_LINK, Ipv4Addr::new(10, 77, 0, 1)), (SERVER_LINK, Ipv4Addr::new(10, 77, 0, 2))];

    /// Two namespaces, the link between them, and a connection through it; `None` says why there can't be one.
    struct Joined {
        namespaces: [Netns; 2],
        threads: Vec<std::thread::JoinHandle<rustix::io::Result<()>>>,
    }

    impl Joined {
        fn new(test: &str, link: &str) -> Option<Self> {
            if let Err(why) = require_root() {
                println!("SKIP {test}: {why}");
                return None;
            }
            let link: Link = toml::from_str(link).expect("a link");
            let namespaces = [Netns::new().expect("root may"), Netns::new().expect("root may")];
            let mut tuns = Vec::new();
            for (netns, (name, address)) in namespaces.iter().zip(ENDS) {
                let made = netns.run_in(|| {
                    let tun = Tun::new(name)?;
                    rtnl::set_queue_length(name, 1000)?;
                    rtnl::up(name)?;
                    rtnl::add_address(name, address.into(), 16)?;
                    Ok(tun)
                });
                match made.expect("the namespace can be entered") {
                    Ok(tun) => tuns.push(Arc::new(tun)),
                    Err(Error::Unsupported(what)) => {
                        println!("SKIP {test}: not in this kernel: {what}");
                        return None;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            let origin = Instant::now();
            let threads = [(Side::Server, 0, 1), (Side::Client, 1, 0)].map(|(to, from, into)| {
                let direction = Mutex::new(Direction { path: Path::new(&link, to), counts: Counts::default() });
                let (from, into) = (Arc::clone(&tuns[from]), Arc::clone(&tuns[into]));
                std::thread::spawn(move || forward(&from, &into, &direction, origin))
            });
            Some(Self { namespaces, threads: threads.into() })
        }

        fn listen(&self) -> TcpListener {
            let address = SocketAddr::new(ENDS[1].1.into(), 8080);
            let bound = self.namespaces[1].run_in(|| TcpListener::bind(address));
            bound.expect("the namespace can be entered").expect("the address is the server's")
        }

        fn connect(&self) -> TcpStream {
            let address = SocketAddr::new(ENDS[1].1.into(), 8080);
            let connected = self.namespaces[0].run_in(|| TcpStream::connect(address));
            connected.expect("the namespace can be entered").expect("the server listens")
        }
    }

    impl Drop for Joined {
        /// Without its devices a link ends, and says so.
        fn drop(&mut self) {
            for (netns, (name, _)) in self.namespaces.iter().zip(ENDS) {
                let _ = netns.run_in(|| rtnl::delete_link(name));
            }
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
        }
    }

    #[test]
    fn a_handshake_takes_the_delay_of_both_directions() {
        let link = "delay = \"20ms\"\n[to-client]\ndelay = \"30ms\"";
        let Some(joined) = Joined::new("a_handshake_takes_the_delay_of_both_directions", link) else { return };
        let _listener = joined.listen();
        let took = |_| {
            let start = Instant::now();
            drop(joined.connect());
            start.elapsed()
        };
        let fastest = (0..5).map(took).min().expect("five of them");
        // Entering the namespace is part of it, and a busy machine makes it longer.
        assert!((50..80).contains(&fastest.as_millis()), "{fastest:?}");
    }

    #[test]
    fn a_transfer_takes_as_long_as_its_bytes_at_the_rate() {
        let link = "bits-per-second = 8000000\nqueue = 100000";
        let Some(joined) = Joined::new("a_transfer_takes_as_long_as_its_bytes_at_the_rate", link) else { return };
        let listener = joined.listen();
        let mut client = joined.connect();
        let (mut server, _) = listener.accept().expect("a connection waits");
        let start = Instant::now();
        let reader = std::thread::spawn(move || server.read_to_end(&mut Vec::new()));
        client.write_all(&vec![0; 500_000]).expect("connected");
        drop(client);
        assert_eq!(reader.join().expect("no panic").expect("all arrives"), 500_000);
        // A million bytes a second, and the headers.
        assert!((500..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }
}
