//! Datagrams through `recvmmsg` and `sendmmsg`: one system call a batch.
//!
//! All headers are made once; a call only fills in pointers and lengths. Every call is non-blocking.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::addr::{NAME_LEN, Name};
use crate::batch::{Batch, Received, Rx, Sent, Tx};

/// The headers of a batch of up to `capacity` datagrams, as the kernel wants them.
struct Headers {
    names: Box<[Name]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the raw pointers inside are filled in before each system call and used by that call only; between calls
// they are dead values, so it does not matter which thread holds them.
unsafe impl Send for Headers {}

impl Headers {
    fn new(capacity: usize) -> Self {
        // SAFETY: `iovec` and `mmsghdr` consist of integers and raw pointers, for which all zero bits are a value.
        let (part, header) = unsafe {
            (MaybeUninit::<libc::iovec>::zeroed().assume_init(), MaybeUninit::<libc::mmsghdr>::zeroed().assume_init())
        };
        Self {
            names: vec![Name::unset(); capacity].into_boxed_slice(),
            parts: vec![part; capacity].into_boxed_slice(),
            headers: vec![header; capacity].into_boxed_slice(),
        }
    }

    fn len(&self) -> usize {
        self.headers.len()
    }

    /// Points header `nth` at a buffer and, when `name_len` is not zero, at its name.
    fn point(&mut self, nth: usize, octets: *mut u8, len: usize, name_len: libc::socklen_t) {
        let (Some(name), Some(part), Some(header)) =
            (self.names.get_mut(nth), self.parts.get_mut(nth), self.headers.get_mut(nth))
        else {
            return;
        };
        part.iov_base = octets.cast();
        part.iov_len = len;
        header.msg_hdr.msg_name = if name_len == 0 { core::ptr::null_mut() } else { (&raw mut *name).cast() };
        header.msg_hdr.msg_namelen = name_len;
        header.msg_hdr.msg_iov = &raw mut *part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_len = 0;
        header.msg_hdr.msg_flags = 0;
    }
}

/// A UDP socket that moves whole batches.
pub struct UdpPort {
    socket: UdpSocket,
    headers: Headers,
    connected: bool,
    calls: u64,
}

impl core::fmt::Debug for UdpPort {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("UdpPort").field("socket", &self.socket).field("connected", &self.connected).finish()
    }
}

impl UdpPort {
    /// Takes over a bound socket. `batch` is how many datagrams one call moves at most, 1 to 1024.
    pub fn new(socket: UdpSocket, batch: usize) -> Self {
        let connected = socket.peer_addr().is_ok();
        Self { socket, headers: Headers::new(batch.clamp(1, 1024)), connected, calls: 0 }
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// System calls made so far for receiving and sending.
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

impl Rx for UdpPort {
    fn recv(&mut self, batch: &mut Batch) -> io::Result<Received> {
        let room = batch.free_slots().min(self.headers.len());
        if room == 0 {
            return Ok(Received::default());
        }
        let len = batch.message_max();
        for nth in 0..room {
            if let Some(octets) = batch.free_buffer(nth) {
                self.headers.point(nth, octets, len, NAME_LEN);
            }
        }
        self.calls += 1;
        // SAFETY: `room` headers are set up, each with one iovec to a free slot's buffer of `message_max` octets that
        // nothing else refers to, and to its own `Name` of NAME_LEN octets; all of them outlive the call.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                self.headers.headers.as_mut_ptr(),
                room as libc::c_uint,
                libc::MSG_DONTWAIT,
                core::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(Received { drained: true, ..Received::default() }),
                io::ErrorKind::Interrupted => Ok(Received::default()),
                _ => Err(error),
            };
        };
        let mut received = Received { drained: count < room, ..Received::default() };
        let headers = &self.headers;
        batch.accept(count, |nth| {
            let header = headers.headers.get(nth)?;
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                received.oversize += 1;
                return None;
            }
            let Some(peer) = headers.names.get(nth).and_then(|name| name.get(header.msg_hdr.msg_namelen)) else {
                received.invalid += 1;
                return None;
            };
            received.messages += 1;
            Some((peer, header.msg_len as usize))
        });
        Ok(received)
    }
}

impl UdpPort {
    /// Fills in the headers of the batch's first messages and returns how many.
    fn load(&mut self, batch: &Batch) -> usize {
        let mut loaded = 0;
        for item in batch.items().iter().take(self.headers.len()) {
            let Some(octets) = batch.item_buffer(item) else { break };
            let name_len = match self.headers.names.get_mut(loaded) {
                Some(name) if !self.connected => name.set(&item.peer),
                _ => 0,
            };
            // The kernel only reads what a send points at.
            self.headers.point(loaded, octets.cast_mut(), item.len, name_len);
            loaded += 1;
        }
        loaded
    }
}

impl Tx for UdpPort {
    fn send(&mut self, batch: &mut Batch) -> io::Result<Sent> {
        let mut sent = Sent::default();
        let mut again = true;
        while !batch.is_empty() {
            let loaded = self.load(batch);
            self.calls += 1;
            // SAFETY: `loaded` headers are set up, each with one iovec to the octets of a message of the batch and, on
            // an unconnected socket, with its own `Name` of the given length; all of them outlive the call.
            let count = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    self.headers.headers.as_mut_ptr(),
                    loaded as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            if let Ok(count) = usize::try_from(count) {
                sent.messages += count;
                batch.remove_first(count);
                again = true;
                continue;
            }
            let error = io::Error::last_os_error();
            match (error.kind(), error.raw_os_error()) {
                (io::ErrorKind::WouldBlock, _) | (_, Some(libc::ENOBUFS)) => {
                    sent.blocked = true;
                    return Ok(sent);
                }
                (io::ErrorKind::Interrupted, _) => {}
                (_, Some(libc::EMSGSIZE)) => {
                    sent.oversize += 1;
                    batch.remove_first(1);
                }
                (_, Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT)) => return Err(error),
                // A connected socket reports an earlier datagram's fate here and has not tried this one.
                (io::ErrorKind::ConnectionRefused, _) if again => again = false,
                _ => {
                    sent.failed += 1;
                    again = true;
                    batch.remove_first(1);
                }
            }
        }
        Ok(sent)
    }
}

impl AsRawFd for UdpPort {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Source for UdpPort {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.socket.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.socket.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.socket.as_raw_fd()).deregister(registry)
    }
}
