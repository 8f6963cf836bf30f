//! A server, good or bad.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::bulk::{Bulk, Work};
use super::{Command, Control, Event, LISTENER, STDIN, abrupt, errno_name, orderly, say, socket};
use crate::kit::fastopen;
use crate::scenario::{Server, ServerKind};

/// Serves until told to stop.
pub(super) fn serve(spec: &Server) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4096);
    let mut control = Control::new(poll.registry())?;
    let mut listener = listen(spec)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let bulk = match spec.kind {
        ServerKind::Sinks => Some(Bulk::new(Work::Reads(spec.reads))?),
        ServerKind::Sources => Some(Bulk::new(Work::Writes(spec.writes))?),
        _ => None,
    };
    if bulk.is_some() {
        control = control.bulk();
    }
    let (peers, slow) = (HashMap::new(), VecDeque::new());
    let mut state = Serving { spec, listener, peers, next: 0, slow, waiting: false, bulk };
    let mut pace = Pace::new(spec);
    let mut more = false;
    say(&Event::Ready)?;
    loop {
        let patience = match (more, &state.bulk) {
            (true, _) => Duration::ZERO,
            (false, Some(_)) => Duration::from_millis(1),
            (false, None) => Duration::from_millis(5),
        };
        poll.poll(&mut events, Some(patience)).or_else(ignore_interrupt)?;
        let now = Instant::now();
        for event in &events {
            match event.token() {
                STDIN => match control.commands(now, state.open())? {
                    None => return Ok(()),
                    Some(commands) => {
                        if commands.contains(&Command::Relisten) {
                            SockRef::from(&state.listener).listen(spec.backlog as i32)?;
                        }
                    }
                },
                LISTENER => state.waiting = true,
                _ if state.bulk.as_mut().is_some_and(|bulk| bulk.event(event)) => {}
                token => state.readable(token, now, &mut control),
            }
        }
        state.answer_slow(now, &mut control);
        state.accept(&poll, &mut pace, now, &mut control)?;
        if let Some(bulk) = &mut state.bulk {
            let over;
            (over, more) = bulk.turn(now, &mut control);
            over.into_iter().for_each(orderly);
        }
        control.tick(now, state.open())?;
    }
}

pub(super) fn ignore_interrupt(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

fn listen(spec: &Server) -> io::Result<TcpListener> {
    let address = SocketAddr::new(spec.listen, spec.port);
    let protocol = if spec.mptcp { Protocol::MPTCP } else { Protocol::TCP };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(protocol))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(spec.reuseport)?;
    socket::prepare(&socket, &spec.socket)?;
    if let Some(queue) = spec.socket.fastopen {
        fastopen::listen(&socket, queue.0).map_err(io::Error::other)?;
    }
    socket.bind(&address.into())?;
    socket.listen(spec.backlog as i32)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// How many connections may be accepted now.
struct Pace<'a> {
    spec: &'a Server,
    start: Instant,
    accepted: u64,
}

impl<'a> Pace<'a> {
    fn new(spec: &'a Server) -> Self {
        Self { spec, start: Instant::now(), accepted: 0 }
    }

    fn allows(&self, now: Instant) -> bool {
        let elapsed = now - self.start;
        match self.spec.kind {
            ServerKind::Stalls => false,
            ServerKind::Paced => {
                let rate = self.spec.rate.map_or(1.0, |rate| f64::from(rate.0));
                (self.accepted as f64) < rate * elapsed.as_secs_f64()
            }
            ServerKind::Bursty => self.spec.pause.is_none_or(|pause| {
                let within = elapsed.as_millis() % pause.every.0.as_millis().max(1);
                within >= pause.length.0.as_millis()
            }),
            _ => true,
        }
    }

    /// Time in which nothing could be accepted is not caught up on.
    fn idle(&mut self, now: Instant) {
        if let (ServerKind::Paced, Some(rate)) = (self.spec.kind, self.spec.rate) {
            self.accepted = (f64::from(rate.0) * (now - self.start).as_secs_f64()) as u64;
        }
    }
}

struct Serving<'a> {
    spec: &'a Server,
    listener: TcpListener,
    peers: HashMap<Token, TcpStream>,
    next: usize,
    /// Answers that are due later, in order.
    slow: VecDeque<(Instant, Token)>,
    /// Whether the listener has connections waiting, as far as is known: readiness is told once.
    waiting: bool,
    /// Connections that move data in bulk.
    bulk: Option<Bulk>,
}

impl Serving<'_> {
    fn open(&self) -> usize {
        self.peers.len() + self.bulk.as_ref().map_or(0, Bulk::len)
    }

    fn accept(&mut self, poll: &Poll, pace: &mut Pace<'_>, now: Instant, control: &mut Control) -> io::Result<()> {
        if !self.waiting {
            pace.idle(now);
        }
        while self.waiting && pace.allows(now) {
            match self.listener.accept() {
                Ok((mut stream, _)) => {
                    pace.accepted += 1;
                    control.count(|t| t.numbers.accepted += 1);
                    if self.spec.kind == ServerKind::ClosesFirst {
                        continue;
                    }
                    let token = Token(self.next);
                    self.next += 1;
                    abrupt(&stream);
                    if let Some(bulk) = &mut self.bulk {
                        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                        bulk.add(token, stream, now);
                    } else {
                        poll.registry().register(&mut stream, token, Interest::READABLE)?;
                        self.peers.insert(token, stream);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.waiting = false,
                Err(error) => {
                    // EMFILE: the connection stays in the queue; try again at the next turn, not at once.
                    control.count(|t| t.numbers.fail(&errno_name(&error)));
                    break;
                }
            }
        }
        Ok(())
    }

    fn readable(&mut self, token: Token, now: Instant, control: &mut Control) {
        let Some(stream) = self.peers.get_mut(&token) else { return };
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => match self.spec.kind {
                    ServerKind::Leaks => return,
                    ServerKind::SlowResponse => {
                        let delay = self.spec.delay.map_or(Duration::ZERO, |delay| delay.0);
                        self.slow.push_back((now + delay, token));
                        return;
                    }
                    _ => break,
                },
                Ok(n) if self.spec.kind != ServerKind::SlowResponse => {
                    control.count(|t| t.numbers.answered += 1);
                    if stream.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    control.count(|t| t.numbers.fail(&errno_name(&error)));
                    break;
                }
            }
        }
        if let Some(stream) = self.peers.remove(&token) {
            orderly(stream);
        }
    }

    fn answer_slow(&mut self, now: Instant, control: &mut Control) {
        while self.slow.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, token)) = self.slow.pop_front() else { return };
            if let Some(mut stream) = self.peers.remove(&token) {
                // The peer may have given up; that is its own matter.
                if stream.write_all(b"slow").is_ok() {
                    control.count(|t| t.numbers.answered += 1);
                }
                orderly(stream);
            }
        }
    }
}
