//! Sockets bound for the workers: groups that share one port, a socket for each.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::steer::{self, Steer};

/// Sizes of a socket's kernel buffers in octets; the system may grant less, see [`receive_buffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffers {
    /// For what waits to be received.
    pub receive: usize,
    /// For what waits to be sent.
    pub send: usize,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { receive: 4 << 20, send: 4 << 20 }
    }
}

/// Sets a buffer's size past the system's limit where this process may, else up to it.
fn set_buffer(socket: &Socket, force: libc::c_int, size: usize, plain: impl Fn(&Socket) -> io::Result<()>) {
    let value = libc::c_int::try_from(size / 2).unwrap_or(libc::c_int::MAX / 2);
    // SAFETY: the option's value is a C int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            force,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result != 0 {
        // What was granted is read back by whoever reports it; a smaller buffer is no reason not to serve.
        let _ = plain(socket);
    }
}

fn udp_socket(address: SocketAddr, shared: bool, buffers: Option<Buffers>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    if let Some(buffers) = buffers {
        set_buffer(&socket, libc::SO_RCVBUFFORCE, buffers.receive, |s| s.set_recv_buffer_size(buffers.receive));
        set_buffer(&socket, libc::SO_SNDBUFFORCE, buffers.send, |s| s.set_send_buffer_size(buffers.send));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Checks that nobody else has the address, which sharing a port would hide, and finds a port where none is given.
fn claim(address: SocketAddr, kind: Type) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

/// One non-blocking UDP socket.
///
/// # Errors
/// What the system reports, an address in use among them.
pub fn udp(address: SocketAddr, buffers: Buffers) -> io::Result<UdpSocket> {
    let socket = udp_socket(address, false, Some(buffers))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// As [`udp`], with the system's own sizes of buffers: for sockets of which there are many, each with little traffic.
///
/// # Errors
/// As [`udp`].
pub fn udp_small(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = udp_socket(address, false, None)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// `count` non-blocking UDP sockets on one address; the n-th gets what `steer` says. Port 0 finds a free port.
///
/// # Errors
/// What the system reports, an address in use (even by a group of another process) among them.
pub fn udp_group(address: SocketAddr, count: usize, steer: Steer, buffers: Buffers) -> io::Result<Vec<UdpSocket>> {
    if count <= 1 {
        return Ok(vec![udp(address, buffers)?]);
    }
    let address = claim(address, Type::DGRAM)?;
    let mut sockets = Vec::with_capacity(count);
    for nth in 0..count {
        let socket = udp_socket(address, true, Some(buffers))?;
        socket.bind(&address.into())?;
        if nth == 0 {
            steer::attach(&socket, steer, count as u32)?;
        }
        sockets.push(socket.into());
    }
    Ok(sockets)
}

/// A UDP socket for the address that `main` is bound to, connected to `peer`: cheaper to send on, and preferred by
/// the system for what `peer` sends. `main` must come from [`udp_shared`].
///
/// # Errors
/// What the system reports.
pub fn udp_connected(main: &UdpSocket, peer: SocketAddr, buffers: Buffers) -> io::Result<UdpSocket> {
    let address = main.local_addr()?;
    let socket = udp_socket(address, true, Some(buffers))?;
    socket.bind(&address.into())?;
    socket.connect(&peer.into())?;
    Ok(socket.into())
}

/// As [`udp`], but of a kind that [`udp_connected`] can stand beside.
///
/// # Errors
/// What the system reports, an address in use among them.
pub fn udp_shared(address: SocketAddr, buffers: Buffers) -> io::Result<UdpSocket> {
    let address = claim(address, Type::DGRAM)?;
    let socket = udp_socket(address, true, Some(buffers))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// `count` non-blocking TCP listeners on one address, among which the system spreads connections. Port 0 finds a
/// free port.
///
/// # Errors
/// What the system reports, an address in use among them.
pub fn tcp_group(address: SocketAddr, count: usize, backlog: u32) -> io::Result<Vec<TcpListener>> {
    let address = claim(address, Type::STREAM)?;
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX).max(1);
    (0..count.max(1))
        .map(|_| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(count > 1)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(backlog)?;
            Ok(socket.into())
        })
        .collect()
}

/// Octets that the system granted for what waits to be received on `socket`.
///
/// # Errors
/// What the system reports.
pub fn receive_buffer(socket: &UdpSocket) -> io::Result<usize> {
    socket2::SockRef::from(socket).recv_buffer_size()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_refused_even_by_groups() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let group = udp_group(any, 2, Steer::Source { seed: 1 }, Buffers::default()).unwrap();
        let address = group[0].local_addr().unwrap();
        assert_eq!(address, group[1].local_addr().unwrap());
        let again = udp_group(address, 2, Steer::Source { seed: 1 }, Buffers::default());
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(udp_shared(address, Buffers::default()).unwrap_err().kind(), io::ErrorKind::AddrInUse);

        let listeners = tcp_group(any, 2, 16).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert_eq!(tcp_group(address, 2, 16).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn buffers_are_granted_as_far_as_the_system_allows() {
        let socket = udp("127.0.0.1:0".parse().unwrap(), Buffers { receive: 1 << 17, send: 1 << 17 }).unwrap();
        assert!(receive_buffer(&socket).unwrap() >= 1 << 17);
    }
}
