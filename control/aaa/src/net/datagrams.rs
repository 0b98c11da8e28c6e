//! A server's datagram port: whole batches in and out.

use super::{DATAGRAM_MAX, TURN};
use core::net::SocketAddr;
use mio::{Interest, Registry, Token};
use portunus_io::{Batch, Pushed, Rx as _, Tx as _, UdpPort};
use std::io;
use std::net::UdpSocket;

/// Datagrams a system call.
const BATCH: usize = 64;
/// Octets that wait in the kernel while a batch is worked on.
const KERNEL_BUFFER: usize = 4 << 20;

/// One port.
pub(super) struct Datagrams {
    port: UdpPort,
    rx: Batch,
    out: Batch,
    /// A turn ended before everything was read.
    pub(super) more: bool,
}

/// Where answers are put while datagrams are read.
pub(super) struct Out<'a> {
    port: &'a mut UdpPort,
    batch: &'a mut Batch,
}

impl Out<'_> {
    /// Queues an answer; a full batch leaves at once.
    pub(super) fn send(&mut self, to: SocketAddr, octets: &[u8]) {
        if self.batch.push(to, octets) == Pushed::Full {
            self.flush();
            // Whoever asked asks again for what does not fit a datagram.
            let _ = self.batch.push(to, octets);
        }
    }

    /// Sends what is queued. What a full socket buffer refuses is asked for again.
    pub(super) fn flush(&mut self) {
        while !self.batch.is_empty() {
            match self.port.send(self.batch) {
                Ok(sent) if sent.messages + sent.oversize + sent.failed > 0 => {}
                _ => self.batch.clear(),
            }
        }
    }
}

impl Datagrams {
    /// Opens it. Port 0: any.
    pub(super) fn bind(at: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(at)?;
        socket.set_nonblocking(true)?;
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(KERNEL_BUFFER);
        let _ = socket2::SockRef::from(&socket).set_send_buffer_size(KERNEL_BUFFER);
        let port = UdpPort::new(socket, BATCH);
        let batch = || Batch::new(BATCH, DATAGRAM_MAX);
        Ok(Self { port, rx: batch(), out: batch(), more: false })
    }

    /// The address in use.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.port.local_addr()
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.port, token, Interest::READABLE)
    }

    /// Hands every datagram that is there to `take`, as many as one turn allows.
    pub(super) fn read(&mut self, mut take: impl FnMut(SocketAddr, &[u8], &mut Out<'_>)) {
        self.more = false;
        for _ in 0..TURN / BATCH {
            self.rx.clear();
            let drained = match self.port.recv(&mut self.rx) {
                Ok(got) => got.drained,
                // An error of an earlier datagram (ICMP): it says nothing of these.
                Err(_) => continue,
            };
            for (peer, octets) in self.rx.iter() {
                take(peer, octets, &mut Out { port: &mut self.port, batch: &mut self.out });
            }
            if drained {
                return;
            }
        }
        self.more = true;
    }

    /// Where answers are put.
    pub(super) fn out(&mut self) -> Out<'_> {
        Out { port: &mut self.port, batch: &mut self.out }
    }
}
