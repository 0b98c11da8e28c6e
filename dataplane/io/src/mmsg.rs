//! Datagrams through `recvmmsg` and `sendmmsg`: one system call a batch.
//!
//! All headers are made once; a call only fills in pointers and lengths. Every call is non-blocking.
//!
//! A port with few peers may coalesce ([`UdpPort::coalesce`]): messages of one length to one peer pass the system's
//! network stack as one datagram that is cut at the end of the way (UDP_SEGMENT), and arrive uncut where the system
//! has joined them (UDP_GRO). What the wire carries is the same.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::addr::{NAME_LEN, Name};
use crate::batch::{Batch, Filled, Item, Received, Rx, Sent, Tx};

/// Room for one control message that holds one number.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    value: [u8; 8],
}

/// Messages that one datagram is cut into at most: what every kernel with UDP_SEGMENT takes.
const SEGMENTS: usize = 64;
/// Octets of the longest datagram that is to be cut.
const JOINED: usize = 65_000;

/// The headers of a batch of up to `capacity` datagrams, as the kernel wants them.
struct Headers {
    names: Box<[Name]>,
    parts: Box<[libc::iovec]>,
    controls: Box<[Control]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the raw pointers inside are filled in before each system call and used by that call only; between calls
// they are dead values, so it does not matter which thread holds them.
unsafe impl Send for Headers {}

impl Headers {
    fn new(capacity: usize) -> Self {
        // SAFETY: `iovec`, `mmsghdr` and `cmsghdr` consist of integers and raw pointers, for which all zero bits are a
        // value.
        let (part, header, control) = unsafe {
            (
                MaybeUninit::<libc::iovec>::zeroed().assume_init(),
                MaybeUninit::<libc::mmsghdr>::zeroed().assume_init(),
                MaybeUninit::<Control>::zeroed().assume_init(),
            )
        };
        Self {
            names: vec![Name::unset(); capacity].into_boxed_slice(),
            parts: vec![part; capacity].into_boxed_slice(),
            controls: vec![control; capacity].into_boxed_slice(),
            headers: vec![header; capacity].into_boxed_slice(),
        }
    }

    fn len(&self) -> usize {
        self.headers.len()
    }

    /// Points part `nth` at a buffer.
    fn part(&mut self, nth: usize, octets: *mut u8, len: usize) {
        if let Some(part) = self.parts.get_mut(nth) {
            part.iov_base = octets.cast();
            part.iov_len = len;
        }
    }

    /// Points header `nth` at `parts` parts from `first` on, and at its name where `name_len` is not zero.
    fn header(&mut self, nth: usize, first: usize, parts: usize, name_len: libc::socklen_t) {
        let Some(header) = self.headers.get_mut(nth) else { return };
        let header = &mut header.msg_hdr;
        header.msg_name = match self.names.get_mut(nth) {
            Some(name) if name_len > 0 => (&raw mut *name).cast(),
            _ => core::ptr::null_mut(),
        };
        header.msg_namelen = name_len;
        header.msg_iov = self.parts.get_mut(first..first + parts).map_or(core::ptr::null_mut(), <[_]>::as_mut_ptr);
        header.msg_iovlen = if header.msg_iov.is_null() { 0 } else { parts };
        header.msg_control = core::ptr::null_mut();
        header.msg_controllen = 0;
        header.msg_flags = 0;
    }

    /// Gives header `nth` room for a control message, holding the segment length `segment` where that is to be sent.
    fn control(&mut self, nth: usize, segment: Option<u16>) {
        let (Some(header), Some(control)) = (self.headers.get_mut(nth), self.controls.get_mut(nth)) else { return };
        control.header.cmsg_len = size_of::<libc::cmsghdr>() as _;
        if let Some(segment) = segment {
            control.header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<u16>()) as _;
            control.header.cmsg_level = libc::SOL_UDP;
            control.header.cmsg_type = libc::UDP_SEGMENT;
            if let Some(value) = control.value.first_chunk_mut() {
                *value = segment.to_ne_bytes();
            }
        }
        header.msg_hdr.msg_control = (&raw mut *control).cast();
        header.msg_hdr.msg_controllen = size_of::<Control>() as _;
    }

    /// The segment length that came with datagram `nth`, where the system has joined several messages.
    fn segment(&self, nth: usize) -> Option<usize> {
        let (header, control) = (self.headers.get(nth)?, self.controls.get(nth)?);
        let there = header.msg_hdr.msg_controllen >= size_of::<libc::cmsghdr>() + size_of::<libc::c_int>();
        let joined = control.header.cmsg_level == libc::SOL_UDP && control.header.cmsg_type == libc::UDP_GRO;
        let value = control.value.first_chunk().filter(|_| there && joined)?;
        usize::try_from(libc::c_int::from_ne_bytes(*value)).ok()
    }
}

/// A UDP socket that moves whole batches.
pub struct UdpPort {
    socket: UdpSocket,
    headers: Headers,
    connected: bool,
    /// Octets of the longest message that is sent joined with others; 0: none is.
    join_max: usize,
    /// The system may join what it delivers.
    joined: bool,
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
        let headers = Headers::new(batch.clamp(1, 1024));
        Self { socket, headers, connected, join_max: 0, joined: false, calls: 0 }
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Lets messages pass the system joined, both ways: worth it where many go to each peer. Within a batch, messages
    /// of different lengths leave in another order then. Batches that are received into should be
    /// [`Batch::coalescing`], or what arrives joined is counted as oversize. Returns whether
    /// the system delivers joined messages; that it does not is no error.
    pub fn coalesce(&mut self) -> bool {
        self.join_max = JOINED / 2;
        let on: libc::c_int = 1;
        // SAFETY: the option's value is a C int that outlives the call.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_UDP,
                libc::UDP_GRO,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        self.joined = result == 0;
        self.joined
    }

    /// System calls made so far for receiving and sending.
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

impl Headers {
    /// Receives what there is into the batch's free slots, by one call.
    fn receive(&mut self, socket: RawFd, joined: bool, batch: &mut Batch) -> io::Result<Received> {
        let room = batch.free_slots().min(self.len());
        if room == 0 {
            return Ok(Received::default());
        }
        let len = batch.message_max();
        for nth in 0..room {
            if let Some(octets) = batch.free_buffer(nth) {
                self.part(nth, octets, len);
                self.header(nth, nth, 1, NAME_LEN);
                if joined {
                    self.control(nth, None);
                }
            }
        }
        // SAFETY: `room` headers are set up, each with one iovec to a free slot's buffer of `message_max` octets that
        // nothing else refers to, to its own `Name` of NAME_LEN octets and perhaps to its own `Control`; all of them
        // outlive the call.
        let count = unsafe {
            libc::recvmmsg(
                socket,
                self.headers.as_mut_ptr(),
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
        received.messages = batch.accept(count, |nth| {
            let header = self.headers.get(nth)?;
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                received.oversize += 1;
                return None;
            }
            let Some(peer) = self.names.get(nth).and_then(|name| name.get(header.msg_hdr.msg_namelen)) else {
                received.invalid += 1;
                return None;
            };
            let segment = if joined { self.segment(nth) } else { None };
            Some(Filled { peer, len: header.msg_len as usize, segment })
        });
        Ok(received)
    }
}

impl Rx for UdpPort {
    fn recv(&mut self, batch: &mut Batch) -> io::Result<Received> {
        self.calls += 1;
        self.headers.receive(self.socket.as_raw_fd(), self.joined, batch)
    }
}

/// Receives by one socket after another with the same headers: for many sockets with little traffic each.
pub struct Receiver {
    headers: Headers,
}

impl core::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Receiver").field("batch", &self.headers.len()).finish()
    }
}

impl Receiver {
    /// `batch` is how many datagrams one call moves at most, 1 to 1024.
    pub fn new(batch: usize) -> Self {
        Self { headers: Headers::new(batch.clamp(1, 1024)) }
    }

    /// As [`Rx::recv`], by this socket.
    ///
    /// # Errors
    /// As [`Rx::recv`].
    pub fn recv(&mut self, socket: &UdpSocket, batch: &mut Batch) -> io::Result<Received> {
        self.headers.receive(socket.as_raw_fd(), false, batch)
    }
}

/// What was loaded for one call.
struct Loaded {
    headers: usize,
    /// Messages that the first header stands for, and the length of the longest.
    first: (usize, usize),
}

impl UdpPort {
    /// Fills in headers for the batch's first messages.
    fn load(&mut self, batch: &Batch) -> Loaded {
        let mut loaded = Loaded { headers: 0, first: (0, 0) };
        let items = batch.items();
        let limit = self.headers.len();
        let mut at = 0;
        while let Some(item) = items.get(at).filter(|_| at < limit) {
            let name_len = match self.headers.names.get_mut(loaded.headers) {
                Some(name) if !self.connected => name.set(&item.peer),
                _ => 0,
            };
            let run =
                items.get(at..limit.min(items.len())).map_or(1, |rest| joinable(rest, self.join_max, self.connected));
            for (nth, item) in items.iter().enumerate().skip(at).take(run) {
                // The kernel only reads what a send points at.
                let octets = batch.item_buffer(item).map_or(core::ptr::null_mut(), <*const u8>::cast_mut);
                self.headers.part(nth, octets, if octets.is_null() { 0 } else { item.len });
            }
            self.headers.header(loaded.headers, at, run, name_len);
            if run > 1 {
                self.headers.control(loaded.headers, u16::try_from(item.len).ok());
            }
            if loaded.headers == 0 {
                loaded.first = (run, item.len);
            }
            loaded.headers += 1;
            at += run;
        }
        loaded
    }

    /// Messages that the first `headers` headers stand for.
    fn messages(&self, headers: usize) -> usize {
        self.headers.headers.iter().take(headers).map(|header| header.msg_hdr.msg_iovlen).sum()
    }
}

/// How many of the first messages may pass as one datagram: those of one length to one peer, and one shorter one behind
/// them.
fn joinable(items: &[Item], join_max: usize, one_peer: bool) -> usize {
    let Some(first) = items.first().filter(|first| first.len > 0 && first.len <= join_max) else { return 1 };
    let mut octets = 0;
    let mut run = 0;
    for item in items.iter().take(SEGMENTS) {
        octets += item.len;
        let other = !one_peer && item.peer != first.peer;
        if octets > JOINED || item.len > first.len || item.len == 0 || other {
            break;
        }
        run += 1;
        if item.len < first.len {
            break;
        }
    }
    run.max(1)
}

impl Tx for UdpPort {
    fn send(&mut self, batch: &mut Batch) -> io::Result<Sent> {
        let mut sent = Sent::default();
        let mut again = true;
        if self.join_max > 0 {
            batch.sort_by_len(self.connected);
        }
        while !batch.is_empty() {
            let loaded = self.load(batch);
            self.calls += 1;
            // SAFETY: the loaded headers are set up, each with iovecs to the octets of messages of the batch, with its
            // own `Control` where it joins several, and on an unconnected socket with its own `Name` of the given
            // length; all of them outlive the call.
            let count = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    self.headers.headers.as_mut_ptr(),
                    loaded.headers as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            if let Ok(count) = usize::try_from(count) {
                let messages = self.messages(count);
                sent.messages += messages;
                batch.remove_first(messages);
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
                (_, Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT)) => return Err(error),
                // A connected socket reports an earlier datagram's fate here and has not tried this one.
                (io::ErrorKind::ConnectionRefused, _) if again => again = false,
                // Messages longer than the path takes cannot be joined; a path without checksum offload joins none.
                (_, Some(libc::EMSGSIZE | libc::EINVAL)) if loaded.first.0 > 1 => self.join_max = loaded.first.1 - 1,
                _ if loaded.first.0 > 1 => self.join_max = 0,
                (_, Some(libc::EMSGSIZE)) => {
                    sent.oversize += 1;
                    batch.remove_first(1);
                }
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
