//! The netlink socket, and UDP sockets whose datagrams the kernel's ESP takes.
#![allow(unsafe_code)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::wire::{self, Answer, REQUEST_MAX, Request};

/// Octets of the longest datagram of the kernel's that is read: it fills a page or two with a list's entries.
const ANSWER_MAX: usize = 32 << 10;
/// XFRMNLGRP_MAPPING (linux/xfrm.h), as a group's bit.
const MAPPING_GROUP: u32 = 1 << 7;

/// A socket to the kernel's xfrm. Needs CAP_NET_ADMIN for anything but being made.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    number: u32,
    octets: Box<[u8; ANSWER_MAX]>,
}

/// Makes the kernel take ESP in UDP out of what arrives at a socket (udp(7), UDP_ENCAP; RFC 3948), and its keep-alives.
/// What is left to be received are datagrams with a zero SPI (key exchanges).
///
/// # Errors
/// What the system reports: ENOPROTOOPT where the kernel was built without it.
pub fn encapsulate(socket: &UdpSocket) -> io::Result<()> {
    /// UDP_ENCAP (linux/udp.h).
    const UDP_ENCAP: libc::c_int = 100;
    let value = libc::c_int::from(wire::ESP_IN_UDP);
    // SAFETY: the option's value is a C int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_UDP,
            UDP_ENCAP,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Netlink {
    /// Opens it, and hears of peers that move.
    ///
    /// # Errors
    /// What the system reports: EPROTONOSUPPORT where the kernel has no `xfrm_user`.
    pub fn open() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                libc::NETLINK_XFRM,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: `sockaddr_nl` consists of integers, for which zero is a value.
        let mut name: libc::sockaddr_nl = unsafe { core::mem::zeroed() };
        name.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        name.nl_groups = MAPPING_GROUP;
        // SAFETY: the name is a `sockaddr_nl` of the length given, and outlives the call.
        let bound = unsafe {
            libc::bind(fd.as_raw_fd(), (&raw const name).cast(), size_of::<libc::sockaddr_nl>() as libc::socklen_t)
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { fd, number: 0, octets: Box::new([0; ANSWER_MAX]) })
    }

    /// Sends a request; returns its number. The kernel carries it out before this returns; its answer waits.
    ///
    /// # Errors
    /// What the system reports; EPERM comes as an answer.
    pub fn ask(&mut self, request: &Request<'_>) -> io::Result<u32> {
        self.number = self.number.wrapping_add(1).max(1);
        let mut room = [0u8; REQUEST_MAX];
        let octets = wire::write(self.number, request, &mut room);
        // SAFETY: pointer and length are those of a slice that outlives the call.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), octets.as_ptr().cast(), octets.len(), 0) };
        let outcome = if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(self.number) };
        // A key may stand there.
        room.fill(0);
        core::hint::black_box(&mut room);
        outcome
    }

    /// What waits to be read, one datagram of it; nothing where nothing waits.
    ///
    /// # Errors
    /// What the system reports; ENOBUFS: answers were lost, and everything is to be listed anew.
    pub fn hear(&mut self, mut each: impl FnMut(Answer)) -> io::Result<bool> {
        // SAFETY: pointer and length are those of the buffer, which outlives the call.
        let got = unsafe { libc::recv(self.fd.as_raw_fd(), self.octets.as_mut_ptr().cast(), ANSWER_MAX, 0) };
        let Ok(len) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) };
        };
        let datagram = self.octets.get_mut(..len).unwrap_or_default();
        wire::read(datagram).for_each(&mut each);
        // Lists hold keys.
        datagram.fill(0);
        core::hint::black_box(datagram);
        Ok(true)
    }

    /// Waits until something can be heard, at most so long; true when it can.
    ///
    /// # Errors
    /// What the system reports, an interruption excepted.
    pub fn wait(&self, longest: Duration) -> io::Result<bool> {
        let mut one = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let ms = libc::c_int::try_from(longest.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: one `pollfd` that outlives the call.
        let ready = unsafe { libc::poll(&raw mut one, 1, ms) };
        if ready >= 0 {
            return Ok(ready > 0);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
    }
}

impl AsRawFd for Netlink {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
