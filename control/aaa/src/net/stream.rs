//! One TLS connection over a non-blocking socket, cut into packets.

use super::DATAGRAM_MAX;
use crate::transport::OutOfStep;
use mio::net::TcpStream;
use rustls::Connection;
use std::io::{self, Read as _, Write as _};

/// Octets that may wait to be sent before a peer that does not read is given up.
const OUTBOX_MAX: usize = 1 << 20;
/// Records read from one connection before the others have their turn.
const READS_MAX: usize = 64;

/// What a turn with a connection led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing more to be read for now.
    Waiting,
    /// There may be more to be read.
    More,
}

pub(crate) struct TlsStream {
    pub(crate) socket: TcpStream,
    tls: Connection,
    connected: bool,
    ready: bool,
    inbox: Vec<u8>,
}

fn gone(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, what)
}

impl TlsStream {
    /// `connected`: false for a socket whose connection is still being made.
    pub(crate) fn new(socket: TcpStream, mut tls: Connection, connected: bool) -> Self {
        let _ = socket.set_nodelay(true);
        tls.set_buffer_limit(Some(OUTBOX_MAX));
        Self { socket, tls, connected, ready: false, inbox: Vec::new() }
    }

    /// True once the handshake is through.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(crate) fn peer_certificate(&self) -> Option<&rustls::pki_types::CertificateDer<'static>> {
        self.tls.peer_certificates().and_then(|chain| chain.first())
    }

    /// Moves the handshake on, reads what is there and gives `take` every whole packet.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn turn(
        &mut self,
        frame: fn(&[u8]) -> Result<Option<usize>, OutOfStep>,
        take: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Turn> {
        if !self.connected {
            if let Some(e) = self.socket.take_error()? {
                return Err(e);
            }
            match self.socket.peer_addr() {
                Ok(_) => self.connected = true,
                Err(e) if e.kind() == io::ErrorKind::NotConnected => return Ok(Turn::Waiting),
                Err(e) => return Err(e),
            }
        }
        for _ in 0..READS_MAX {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(gone("closed by the peer")),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.flush()?;
                    return Ok(Turn::Waiting);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            let state = self.tls.process_new_packets();
            // An alert says to the peer why; whether it arrives is not waited for.
            let state = state.map_err(|e| {
                let _ = self.flush();
                io::Error::new(io::ErrorKind::InvalidData, e)
            })?;
            self.ready |= !self.tls.is_handshaking();
            self.pull(state.plaintext_bytes_to_read(), frame, take)?;
        }
        self.flush()?;
        Ok(Turn::More)
    }

    fn pull(
        &mut self,
        n: usize,
        frame: fn(&[u8]) -> Result<Option<usize>, OutOfStep>,
        take: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let had = self.inbox.len();
        self.inbox.resize(had + n, 0);
        if let Some(room) = self.inbox.get_mut(had..) {
            self.tls.reader().read_exact(room)?;
        }
        let mut at = 0;
        loop {
            let rest = self.inbox.get(at..).unwrap_or_default();
            match frame(rest) {
                Ok(Some(len)) => {
                    take(rest.get(..len).unwrap_or_default());
                    at += len.max(1);
                }
                Ok(None) => break,
                Err(OutOfStep) => return Err(gone("the stream is out of step")),
            }
        }
        self.inbox.drain(..at.min(self.inbox.len()));
        // What is left is less than one packet.
        if self.inbox.len() > DATAGRAM_MAX { Err(gone("the stream is out of step")) } else { Ok(()) }
    }

    /// Queues one packet.
    ///
    /// # Errors
    /// The peer does not read; the connection is to be closed.
    pub(crate) fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(packet).map_err(|_| gone("the peer does not read"))
    }

    /// Writes what is queued as far as the socket takes it.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.connected && self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Says goodbye; the socket closes when this is dropped.
    pub(crate) fn close(mut self) {
        self.tls.send_close_notify();
        let _ = self.flush();
    }
}
