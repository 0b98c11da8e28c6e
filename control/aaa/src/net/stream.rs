//! One connection, with or without TLS, over a non-blocking socket, cut into packets.

use crate::transport::OutOfStep;
use mio::net::TcpStream;
use rustls::Connection;
use std::io::{self, Read as _, Write as _};

/// Octets that may wait to be sent before a peer that does not read is given up.
const OUTBOX_MAX: usize = 1 << 20;
/// Records read from one connection before the others have their turn.
const READS_MAX: usize = 64;
/// Octets of an incomplete packet that are kept: more than the longest of any transport.
const INBOX_MAX: usize = 1 << 15;
/// Octets read at once without TLS.
const CHUNK: usize = 16_384;

/// What a turn with a connection led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing more to be read for now.
    Waiting,
    /// There may be more to be read.
    More,
}

pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    /// `None`: TCP alone.
    tls: Option<Box<Connection>>,
    /// TCP alone: what waits to be written.
    outbox: Vec<u8>,
    connected: bool,
    ready: bool,
    inbox: Vec<u8>,
}

fn gone(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, what)
}

impl Stream {
    /// `connected`: false for a socket whose connection is still being made.
    pub(crate) fn new(socket: TcpStream, tls: Option<Connection>, connected: bool) -> Self {
        let _ = socket.set_nodelay(true);
        let tls = tls.map(|mut tls| {
            tls.set_buffer_limit(Some(OUTBOX_MAX));
            Box::new(tls)
        });
        let ready = connected && tls.is_none();
        Self { socket, tls, outbox: Vec::new(), connected, ready, inbox: Vec::new() }
    }

    /// True once the connection is made, its handshake included.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(crate) fn peer_certificate(&self) -> Option<&rustls::pki_types::CertificateDer<'static>> {
        self.tls.as_ref()?.peer_certificates().and_then(|chain| chain.first())
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
                Ok(_) => {
                    self.connected = true;
                    self.ready = self.tls.is_none();
                }
                Err(e) if e.kind() == io::ErrorKind::NotConnected => return Ok(Turn::Waiting),
                Err(e) => return Err(e),
            }
        }
        for _ in 0..READS_MAX {
            let read = match &mut self.tls {
                Some(tls) => tls.read_tls(&mut self.socket),
                None => self.read_plain(),
            };
            match read {
                Ok(0) => return Err(gone("closed by the peer")),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.flush()?;
                    return Ok(Turn::Waiting);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            self.decrypt()?;
            self.cut(frame, take)?;
        }
        self.flush()?;
        Ok(Turn::More)
    }

    /// TCP alone: appends what is there to the inbox.
    fn read_plain(&mut self) -> io::Result<usize> {
        let had = self.inbox.len();
        self.inbox.resize(had + CHUNK, 0);
        let read = self.socket.read(self.inbox.get_mut(had..).unwrap_or_default());
        self.inbox.truncate(had + *read.as_ref().unwrap_or(&0));
        read
    }

    /// TLS: moves the handshake on, and what was decrypted to the inbox.
    fn decrypt(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let state = match tls.process_new_packets() {
            Ok(state) => state,
            Err(e) => {
                // An alert says to the peer why; whether it arrives is not waited for.
                let _ = self.flush();
                return Err(io::Error::new(io::ErrorKind::InvalidData, e));
            }
        };
        self.ready |= !tls.is_handshaking();
        let had = self.inbox.len();
        self.inbox.resize(had + state.plaintext_bytes_to_read(), 0);
        if let Some(room) = self.inbox.get_mut(had..) {
            tls.reader().read_exact(room)?;
        }
        Ok(())
    }

    /// Gives out the inbox's whole packets.
    fn cut(
        &mut self,
        frame: fn(&[u8]) -> Result<Option<usize>, OutOfStep>,
        take: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
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
        if self.inbox.len() > INBOX_MAX { Err(gone("the stream is out of step")) } else { Ok(()) }
    }

    /// Queues one packet.
    ///
    /// # Errors
    /// The peer does not read; the connection is to be closed.
    pub(crate) fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(packet).map_err(|_| gone("the peer does not read")),
            None if self.outbox.len() + packet.len() > OUTBOX_MAX => Err(gone("the peer does not read")),
            None => {
                self.outbox.extend_from_slice(packet);
                Ok(())
            }
        }
    }

    /// Writes what is queued as far as the socket takes it.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.connected && self.tls.as_ref().map_or(!self.outbox.is_empty(), |tls| tls.wants_write()) {
            let written = match &mut self.tls {
                Some(tls) => tls.write_tls(&mut self.socket).map(|_| 0),
                None => self.socket.write(&self.outbox),
            };
            match written {
                Ok(n) => drop(self.outbox.drain(..n.min(self.outbox.len()))),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Says goodbye; the socket closes when this is dropped.
    pub(crate) fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        let _ = self.flush();
    }
}
