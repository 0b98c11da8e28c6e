//! The UDP sockets that terminals share: whole batches in and out.

use core::net::{IpAddr, SocketAddr};
use mio::{Interest, Registry, Token};
use portunus_io::listen::{self, Buffers};
use portunus_io::{Batch, Pushed, Rx as _, Tx as _, UdpPort};
use std::io;

/// Messages a batch.
const BATCH: usize = 64;
/// Longest message taken, octets: beyond any registration, within what a datagram on loopback carries.
const MESSAGE_MAX: usize = 8_192;
/// Kernel buffers of each socket, octets. A fleet that loses its own answers measures itself.
const KERNEL_BUFFERS: Buffers = Buffers { receive: 8 << 20, send: 8 << 20 };

struct Shared {
    port: UdpPort,
    local: SocketAddr,
    tx: Batch,
    /// False: nothing is left to read until the next readiness event.
    readable: bool,
}

/// The sockets, the batch that is read into, and what went wrong.
pub(super) struct Sockets {
    shared: Vec<Shared>,
    rx: Batch,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) octets_sent: u64,
    pub(super) octets_received: u64,
    pub(super) errors: u64,
}

impl Sockets {
    /// Binds `count` sockets (at least 1) on ephemeral ports of `local` and registers them under tokens 0...
    pub(super) fn bind(local: IpAddr, count: u16, registry: &Registry) -> io::Result<Self> {
        let mut shared = Vec::new();
        for i in 0..count.max(1) {
            let socket = listen::udp(SocketAddr::new(local, 0), KERNEL_BUFFERS)?;
            let mut port = UdpPort::new(socket, BATCH);
            registry.register(&mut port, Token(usize::from(i)), Interest::READABLE)?;
            let local = port.local_addr()?;
            shared.push(Shared { port, local, tx: Batch::new(BATCH, MESSAGE_MAX), readable: true });
        }
        Ok(Self {
            shared,
            rx: Batch::new(BATCH, MESSAGE_MAX),
            sent: 0,
            received: 0,
            octets_sent: 0,
            octets_received: 0,
            errors: 0,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.shared.len()
    }

    /// The address of socket `i`, counted round.
    pub(super) fn local(&self, i: usize) -> SocketAddr {
        self.shared[i % self.shared.len()].local
    }

    /// Queues a datagram on socket `i`, counted round, and sends the batch when it is full.
    pub(super) fn send(&mut self, i: usize, to: SocketAddr, octets: &[u8]) {
        let i = i % self.shared.len();
        if self.shared[i].tx.is_full() {
            self.flush_one(i);
        }
        match self.shared[i].tx.push(to, octets) {
            Pushed::Written => self.octets_sent += octets.len() as u64,
            // The kernel takes no more and the batch is full: lost, as on any congested link.
            Pushed::Declined | Pushed::Full => self.errors += 1,
        }
    }

    fn flush_one(&mut self, i: usize) {
        let s = &mut self.shared[i];
        while !s.tx.is_empty() {
            match s.port.send(&mut s.tx) {
                Ok(done) => {
                    self.sent += done.messages as u64;
                    self.errors += (done.oversize + done.failed) as u64;
                    if done.blocked || done.messages + done.oversize + done.failed == 0 {
                        return;
                    }
                }
                Err(_) => {
                    // An asynchronous error of an earlier datagram (ICMP): it says nothing about these.
                    self.errors += 1;
                    return;
                }
            }
        }
    }

    /// Sends what is queued.
    pub(super) fn flush(&mut self) {
        for i in 0..self.shared.len() {
            if !self.shared[i].tx.is_empty() {
                self.flush_one(i);
            }
        }
    }

    pub(super) fn mark_readable(&mut self, i: usize) {
        if let Some(s) = self.shared.get_mut(i) {
            s.readable = true;
        }
    }

    /// True while some socket may still have something to read.
    pub(super) fn any_readable(&self) -> bool {
        self.shared.iter().any(|s| s.readable)
    }

    /// True while something waits to be sent.
    pub(super) fn any_queued(&self) -> bool {
        self.shared.iter().any(|s| !s.tx.is_empty())
    }

    /// Reads one batch from socket `i` and hands every datagram to `take`.
    pub(super) fn receive(&mut self, i: usize) -> Option<Batch> {
        let s = self.shared.get_mut(i)?;
        if !s.readable {
            return None;
        }
        self.rx.clear();
        match s.port.recv(&mut self.rx) {
            Ok(got) => {
                self.received += got.messages as u64;
                self.octets_received += self.rx.iter().map(|(_, octets)| octets.len() as u64).sum::<u64>();
                s.readable = !got.drained;
                // Lent to the caller, who gives it back: the terminals it feeds send through this same struct.
                (got.messages > 0).then(|| core::mem::replace(&mut self.rx, Batch::new(1, 1)))
            }
            Err(_) => {
                self.errors += 1;
                None
            }
        }
    }

    /// Takes the batch back.
    pub(super) fn give_back(&mut self, batch: Batch) {
        self.rx = batch;
    }
}
