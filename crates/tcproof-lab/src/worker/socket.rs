//! Socket options of servers and loads.

use std::io;

use rustix::io::Errno;
use socket2::TcpKeepalive;

use crate::scenario;

/// Sets what the scenario asks for; to be done before `listen(2)` or `connect(2)`, which fix the window scale.
pub(super) fn prepare(socket: &socket2::Socket, wanted: &scenario::Socket) -> io::Result<()> {
    if wanted.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(bytes) = wanted.rcvbuf {
        socket.set_recv_buffer_size(bytes.0 as usize)?;
    }
    if let Some(bytes) = wanted.sndbuf {
        socket.set_send_buffer_size(bytes.0 as usize)?;
    }
    if let Some(name) = &wanted.congestion {
        socket.set_tcp_congestion(name.as_bytes()).map_err(|error| match error.raw_os_error() {
            Some(errno) if errno == Errno::NOENT.raw_os_error() => {
                io::Error::new(io::ErrorKind::Unsupported, format!("congestion control {name}"))
            }
            _ => error,
        })?;
    }
    if let Some(keepalive) = wanted.keepalive {
        let mut options = TcpKeepalive::new();
        if let Some(idle) = keepalive.idle {
            options = options.with_time(idle.0);
        }
        if let Some(interval) = keepalive.interval {
            options = options.with_interval(interval.0);
        }
        if let Some(probes) = keepalive.probes {
            options = options.with_retries(probes.0);
        }
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&options)?;
    }
    if let Some(time) = wanted.user_timeout {
        socket.set_tcp_user_timeout(Some(time.0))?;
    }
    Ok(())
}
