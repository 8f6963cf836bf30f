//! An open-loop load: it does not slow down when the server does, as real clients don't.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::bulk::{Bulk, Work};
use super::server::ignore_interrupt;
use super::{Control, Event, STDIN, abrupt, errno_name, orderly, say, socket};
use crate::kit::spoof::SynFlood;
use crate::scenario::{Bind, Closes, Load, LoadKind, MAX_DURATION, SLOW_CALL};

/// Connections that one load has open or under way, at most.
const MAX_OPEN: usize = 40_000;
/// Connections started in one turn, at most: what is left is started in the next.
const MAX_AT_ONCE: u64 = 100;

/// Runs until told to stop.
pub(super) fn load(spec: &Load) -> io::Result<()> {
    match spec.kind {
        LoadKind::SpoofedSyn => flood(spec),
        _ => Loading::new(spec)?.run(),
    }
}

/// How long a flood sends before it listens for commands again.
const SLICE: Duration = Duration::from_millis(100);

/// Floods in slices.
fn flood(spec: &Load) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(8);
    let mut control = Control::new(poll.registry())?;
    let SocketAddr::V4(target) = spec.to[0] else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "spoofed SYNs are IPv4 only"));
    };
    let (start, length) = (Instant::now(), spec.length.map_or(MAX_DURATION, |length| length.0));
    let most = spec.count.map_or(u64::MAX, |count| u64::from(count.0));
    let mut sent = 0;
    say(&Event::Ready)?;
    for seed in 1.. {
        let slice = start.elapsed() + SLICE;
        let scheduled = (f64::from(spec.per_second()) * slice.min(length).as_secs_f64()) as u64;
        let count = scheduled.min(most).saturating_sub(sent);
        let flood = SynFlood {
            target,
            sources: crate::topology::SPOOFED,
            prefix: crate::topology::SPOOFED_PREFIX,
            rate: spec.per_second(),
            count,
            within: SLICE,
            seed,
        };
        let now_sent = flood.run(|| false).map_err(io::Error::other)?;
        sent += now_sent;
        control.count(|t| t.numbers.started += now_sent);
        let left = slice.saturating_sub(start.elapsed());
        poll.poll(&mut events, Some(left)).or_else(ignore_interrupt)?;
        if !events.is_empty() && control.commands(Instant::now(), 0)?.is_none() {
            break;
        }
        control.tick(Instant::now(), 0)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The handshake is under way.
    Connecting,
    /// Waiting for the answer, or for the server's FIN.
    Waiting,
    /// Kept open.
    Held,
}

struct Connection {
    stream: TcpStream,
    phase: Phase,
    started: Instant,
}

struct Loading<'a> {
    spec: &'a Load,
    poll: Poll,
    control: Control,
    connections: HashMap<Token, Connection>,
    /// Every connection has the same patience, so they run out of it in order.
    patience: VecDeque<(Instant, Token)>,
    next: usize,
    start: Instant,
    started: u64,
    /// Connections that move data in bulk.
    bulk: Option<Bulk>,
}

impl<'a> Loading<'a> {
    fn new(spec: &'a Load) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut control = Control::new(poll.registry())?;
        let bulk = match spec.kind {
            LoadKind::Uploads => Some(Bulk::new(Work::Writes(spec.writes))?),
            LoadKind::Downloads => Some(Bulk::new(Work::Reads(spec.reads))?),
            _ => None,
        };
        if bulk.is_some() {
            control = control.bulk();
        }
        let start = Instant::now() + spec.after.map_or(Duration::ZERO, |after| after.0);
        Ok(Self {
            spec,
            poll,
            control,
            connections: HashMap::new(),
            patience: VecDeque::new(),
            next: 0,
            start,
            started: 0,
            bulk,
        })
    }

    fn open(&self) -> usize {
        self.connections.len() + self.bulk.as_ref().map_or(0, Bulk::len)
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        let mut more = false;
        say(&Event::Ready)?;
        loop {
            let patience = Duration::from_millis(if more { 0 } else { 1 });
            self.poll.poll(&mut events, Some(patience)).or_else(ignore_interrupt)?;
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    STDIN => {
                        if self.control.commands(now, self.open())?.is_none() {
                            return Ok(());
                        }
                    }
                    _ if self.bulk.as_mut().is_some_and(|bulk| bulk.event(event)) => {}
                    token => self.ready(token, now),
                }
            }
            self.give_up(now);
            for _ in 0..self.due(now) {
                self.started += 1;
                self.start_one();
            }
            if let Some(bulk) = &mut self.bulk {
                let over;
                (over, more) = bulk.turn(now, &mut self.control);
                over.into_iter().for_each(orderly);
            }
            self.control.tick(now, self.open())?;
        }
    }

    /// How many connections to start now, by the clock alone.
    fn due(&self, now: Instant) -> u64 {
        let Some(elapsed) = now.checked_duration_since(self.start) else { return 0 };
        if self.spec.length.is_some_and(|length| elapsed > length.0) {
            return 0;
        }
        // A burst is everything that fell due since the last one.
        let elapsed = match self.spec.every {
            Some(every) => every.0.mul_f64((elapsed.as_secs_f64() / every.0.as_secs_f64()).floor()),
            None => elapsed,
        };
        let scheduled = (f64::from(self.spec.per_second()) * elapsed.as_secs_f64()) as u64;
        let due = scheduled.saturating_sub(self.started).min(MAX_AT_ONCE);
        match self.spec.count().map(u64::from) {
            Some(count) if self.spec.kind.keeps() => due.min(count.saturating_sub(self.open() as u64)),
            Some(count) => due.min(count.saturating_sub(self.started)),
            None => due,
        }
    }

    fn start_one(&mut self) {
        if self.connections.len() >= MAX_OPEN {
            self.control.count(|t| t.numbers.fail("too many open"));
            return;
        }
        self.control.count(|t| t.numbers.started += 1);
        match self.connect() {
            Ok((connection, at_once)) => {
                let token = Token(self.next);
                self.next += 1;
                let started = connection.started;
                self.patience.push_back((started + self.spec.timeout.0, token));
                self.connections.insert(token, connection);
                if at_once {
                    self.control.count(|t| t.numbers.connected += 1);
                    self.connected(token, started);
                }
            }
            Err(error) => self.control.count(|t| t.numbers.fail(&errno_name(&error))),
        }
    }

    /// Begins to connect; whether it may write at once, as with a TCP Fast Open cookie: the SYN goes with the data.
    fn connect(&mut self) -> io::Result<(Connection, bool)> {
        let turn = self.started as usize;
        let to = self.spec.to[turn % self.spec.to.len()];
        // Every source meets every destination.
        let from =
            (!self.spec.from.is_empty()).then(|| self.spec.from[(turn / self.spec.to.len()) % self.spec.from.len()]);
        let protocol = if self.spec.mptcp { Protocol::MPTCP } else { Protocol::TCP };
        let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(protocol))?;
        match (self.spec.bind, from) {
            (Bind::None, None) => {}
            (Bind::BeforeConnect, None) => {
                let any: IpAddr = crate::scenario::CLIENT.into();
                socket.bind(&SocketAddr::new(any, 0).into())?;
            }
            (Bind::NoPort, from) => {
                setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
                let from = from.unwrap_or(crate::scenario::CLIENT.into());
                socket.bind(&SocketAddr::new(from, 0).into())?;
            }
            (_, Some(from)) => socket.bind(&SocketAddr::new(from, 0).into())?,
        }
        socket::prepare(&socket, &self.spec.socket)?;
        if self.spec.socket.fastopen.is_some() {
            setsockopt(&socket, sockopt::TcpFastOpenConnect, &true)?;
        }
        let started = Instant::now();
        let result = socket.connect(&to.into());
        let call = started.elapsed();
        self.control.count(|t| {
            t.calls.saturating_record(call.as_micros() as u64);
            t.numbers.slow_calls += u64::from(call > SLOW_CALL);
        });
        let at_once = result.is_ok();
        match result {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        abrupt(&stream);
        let token = Token(self.next);
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok((Connection { stream, phase: Phase::Connecting, started }, at_once))
    }

    fn ready(&mut self, token: Token, now: Instant) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if connection.phase == Phase::Connecting {
            match connection.stream.take_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => return self.failed(token, &errno_name(&error)),
            }
            if connection.stream.peer_addr().is_err() {
                return;
            }
            let took = now - connection.started;
            self.control.count(|t| {
                t.numbers.connected += 1;
                t.handshakes.saturating_record(took.as_micros() as u64);
            });
            return self.connected(token, now);
        }
        let mut buffer = [0; 4096];
        loop {
            match connection.stream.read(&mut buffer) {
                Ok(0) => return self.done(token),
                Ok(_) => {
                    let took = now - connection.started;
                    self.control.count(|t| {
                        t.numbers.answered += 1;
                        t.answers.saturating_record(took.as_micros() as u64);
                    });
                    if self.spec.closes != Closes::Server && connection.phase == Phase::Waiting {
                        return self.done(token);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.failed(token, &errno_name(&error)),
            }
        }
    }

    fn connected(&mut self, token: Token, now: Instant) {
        if let Some(bulk) = &mut self.bulk {
            if let Some(connection) = self.connections.remove(&token) {
                bulk.add(token, connection.stream, now);
            }
            return;
        }
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let half_close = self.spec.kind == LoadKind::HalfClose;
        if (self.spec.request || half_close)
            && let Err(error) = connection.stream.write_all(b"tcproof lab asks")
        {
            return self.failed(token, &errno_name(&error));
        }
        if half_close {
            // If it fails, the read that follows says why.
            let _ = connection.stream.shutdown(std::net::Shutdown::Write);
        }
        if self.spec.kind == LoadKind::Hold {
            connection.phase = Phase::Held;
        } else if self.spec.request || half_close || self.spec.closes == Closes::Server {
            connection.phase = Phase::Waiting;
        } else {
            self.done(token);
        }
    }

    fn done(&mut self, token: Token) {
        if let Some(connection) = self.connections.remove(&token)
            && self.spec.closes != Closes::Reset
        {
            orderly(connection.stream);
        }
    }

    fn failed(&mut self, token: Token, why: &str) {
        self.connections.remove(&token);
        self.control.count(|t| t.numbers.fail(why));
    }

    /// Clients don't wait for ever.
    fn give_up(&mut self, now: Instant) {
        while self.patience.front().is_some_and(|(end, _)| *end <= now) {
            let Some((_, token)) = self.patience.pop_front() else { return };
            match self.connections.get(&token).map(|connection| connection.phase) {
                Some(Phase::Connecting) => self.failed(token, "timeout"),
                Some(Phase::Waiting) => self.failed(token, "no answer"),
                Some(Phase::Held) | None => {}
            }
        }
    }
}
