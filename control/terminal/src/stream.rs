//! A terminal's connection to the proxy: framed messages over TCP, or inside TLS, with bounded buffers.

use core::net::SocketAddr;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use portunus_channel::tls::{Connection, Ended};
use portunus_signalling::Protocol;
use portunus_sip::frame::{Frame, Framer, PONG};
use std::io::{self, Read as _, Write as _};

/// Octets that may wait in either direction; more ends the connection.
const BUFFER_MAX: usize = 64 * 1024;

/// One connection.
pub struct Stream {
    tcp: TcpStream,
    inward: Vec<u8>,
    outward: Vec<u8>,
    framing: Framing,
    /// Octets of the peer so far.
    received: u64,
    /// A turn has said that it is open.
    told: bool,
    /// Between the octets of the connection and its messages.
    tls: Option<Box<Connection>>,
}

impl core::fmt::Debug for Stream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Stream({} octets received, {} wait)", self.received, self.outward.len())
    }
}

/// What came of a connection that became ready.
#[derive(Debug, Default)]
pub struct Turn {
    /// Messages may pass from now on.
    pub opened: bool,
    /// What the peer said, in order.
    pub messages: Vec<Vec<u8>>,
    /// The connection is over, behind these messages.
    pub lost: bool,
}

/// How messages are told apart on a stream.
enum Framing {
    /// By Content-Length (RFC 3261 section 18.3).
    Sip(Framer),
    /// By packets of RFC 1006 section 6, as H.248.1 annex D.2 asks for; also for what has no stream transport.
    Tpkt,
}

/// Octets of a TPKT header: version 3, reserved, length of the packet with its header.
const TPKT: usize = 4;

impl Stream {
    /// Begins to connect; what is sent meanwhile waits.
    ///
    /// # Errors
    /// What the system reports.
    pub fn connect(to: SocketAddr, protocol: Protocol, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut tcp = TcpStream::connect(to)?;
        registry.register(&mut tcp, token, Interest::READABLE | Interest::WRITABLE)?;
        let framing = if protocol == Protocol::Sip { Framing::Sip(Framer::new()) } else { Framing::Tpkt };
        Ok(Self { tcp, inward: Vec::new(), outward: Vec::new(), framing, received: 0, told: false, tls: None })
    }

    /// The same with TLS inside; messages may be sent once it is open.
    ///
    /// # Errors
    /// Where TLS cannot begin.
    pub fn secure(mut self, mut tls: Connection) -> io::Result<Self> {
        tls.start(&mut self.outward).map_err(io::Error::other)?;
        self.tls = Some(Box::new(tls));
        Ok(self)
    }

    /// True once messages may pass.
    pub fn is_open(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_established())
    }

    /// Octets that came from the peer so far: when there are more, it lives.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Appends a message and sends what the connection takes.
    ///
    /// # Errors
    /// The connection is lost, or takes no more.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.outward.len() + octets.len() + TPKT > BUFFER_MAX {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut message = Vec::with_capacity(octets.len() + TPKT);
        if matches!(self.framing, Framing::Tpkt) {
            let len = u16::try_from(octets.len() + TPKT).map_err(|_| io::ErrorKind::InvalidInput)?;
            message.extend_from_slice(&[3, 0]);
            message.extend_from_slice(&len.to_be_bytes());
        }
        message.extend_from_slice(octets);
        match &mut self.tls {
            Some(tls) => tls.put(&message, &mut self.outward).map_err(io::Error::other)?,
            None => self.outward.append(&mut message),
        }
        self.write()
    }

    /// The connection became ready: sends what waits.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn write(&mut self) -> io::Result<()> {
        while !self.outward.is_empty() {
            match self.tcp.write(&self.outward) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => drop(self.outward.drain(..n)),
                // Not connected yet, or full: the next readiness event goes on.
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Reads what is there; `Ok(false)` at the end of the stream.
    ///
    /// # Errors
    /// The connection is lost, or its peer sends what it must not.
    pub fn read(&mut self) -> io::Result<bool> {
        let mut room = [0u8; 8_192];
        loop {
            let read = self.tcp.read(&mut room);
            self.received += read.as_ref().map_or(0, |n| *n as u64);
            match read {
                Ok(0) => return Ok(false),
                Ok(n) if self.inward.len() + n > BUFFER_MAX => return Err(io::ErrorKind::InvalidData.into()),
                Ok(n) if self.tls.is_some() => {
                    if !self.open(&room[..n])? {
                        return Ok(false);
                    }
                }
                Ok(n) => self.inward.extend_from_slice(&room[..n]),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes octets through TLS; false when the peer says that nothing follows.
    fn open(&mut self, octets: &[u8]) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        let mut shown = octets;
        loop {
            let mut room = [0u8; 8_192];
            let taken = tls.take(shown, &mut room, &mut self.outward);
            shown = &[];
            match taken {
                Ok(taken) => {
                    self.inward.extend_from_slice(&room[..taken.plain]);
                    if !taken.more {
                        return self.write().map(|()| true);
                    }
                }
                Err(ended) => {
                    // An alert for the proxy, where there is one; the connection is over in any case.
                    let _ = self.write();
                    return if ended == Ended::Closed { Ok(false) } else { Err(io::Error::other(ended)) };
                }
            }
        }
    }

    /// The connection became ready: sends what waits, reads what is there.
    pub fn turn(&mut self) -> Turn {
        let mut turn = Turn { lost: !self.write().and_then(|()| self.read()).unwrap_or(false), ..Turn::default() };
        let open = self.is_open();
        turn.opened = open && !core::mem::replace(&mut self.told, open);
        loop {
            match self.next_message() {
                Ok(Some(message)) => turn.messages.push(message),
                Ok(None) => return turn,
                Err(_) => {
                    turn.lost = true;
                    return turn;
                }
            }
        }
    }

    /// Takes the next complete message out of what was read; `Ok(None)`: none is complete.
    ///
    /// # Errors
    /// When the stream is not of its protocol, or a pong cannot be sent.
    pub fn next_message(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Framing::Sip(framer) = &mut self.framing else { return self.next_packet() };
            match framer.next(&self.inward) {
                Frame::Incomplete => return Ok(None),
                Frame::Message(n) => return Ok(Some(self.inward.drain(..n).collect())),
                Frame::Pong(n) => drop(self.inward.drain(..n)),
                Frame::Ping(n) => {
                    self.inward.drain(..n);
                    self.send(PONG)?;
                }
                Frame::Broken(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    fn next_packet(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((&[version, _, high, low], _)) = self.inward.split_first_chunk::<TPKT>() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if version != 3 || len < TPKT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.inward.len() < len {
            return Ok(None);
        }
        Ok(Some(self.inward.drain(..len).skip(TPKT).collect()))
    }

    /// Says to the proxy that nothing follows, as far as the connection takes it at once.
    pub fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.outward);
            // It is closed next, whatever comes of this.
            let _ = self.write();
        }
    }

    /// Takes it out of the poll.
    pub fn deregister(&mut self, registry: &Registry) {
        // It is closed next, which does the same.
        let _ = registry.deregister(&mut self.tcp);
    }
}
