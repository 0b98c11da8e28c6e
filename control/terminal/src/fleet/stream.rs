//! A terminal's connection to the proxy: framed messages over TCP, with bounded buffers.

use core::net::SocketAddr;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use portunus_signalling::Protocol;
use portunus_sip::frame::{Frame, Framer, PONG};
use std::io::{self, Read as _, Write as _};

/// Octets that may wait in either direction; more ends the connection.
const BUFFER_MAX: usize = 64 * 1024;

/// One connection.
pub(super) struct Stream {
    tcp: TcpStream,
    inward: Vec<u8>,
    outward: Vec<u8>,
    framing: Framing,
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
    pub(super) fn connect(to: SocketAddr, protocol: Protocol, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut tcp = TcpStream::connect(to)?;
        registry.register(&mut tcp, token, Interest::READABLE | Interest::WRITABLE)?;
        let framing = if protocol == Protocol::Sip { Framing::Sip(Framer::new()) } else { Framing::Tpkt };
        Ok(Self { tcp, inward: Vec::new(), outward: Vec::new(), framing })
    }

    /// Appends a message and sends what the connection takes.
    pub(super) fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.outward.len() + octets.len() + TPKT > BUFFER_MAX {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if matches!(self.framing, Framing::Tpkt) {
            let len = u16::try_from(octets.len() + TPKT).map_err(|_| io::ErrorKind::InvalidInput)?;
            self.outward.extend_from_slice(&[3, 0]);
            self.outward.extend_from_slice(&len.to_be_bytes());
        }
        self.outward.extend_from_slice(octets);
        self.write()
    }

    /// The connection became ready: sends what waits.
    pub(super) fn write(&mut self) -> io::Result<()> {
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
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let mut room = [0u8; 8_192];
        loop {
            match self.tcp.read(&mut room) {
                Ok(0) => return Ok(false),
                Ok(n) if self.inward.len() + n > BUFFER_MAX => return Err(io::ErrorKind::InvalidData.into()),
                Ok(n) => self.inward.extend_from_slice(&room[..n]),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes the next complete message out of what was read; `Ok(None)`: none is complete.
    ///
    /// # Errors
    /// When the stream is not of its protocol, or a pong cannot be sent.
    pub(super) fn next_message(&mut self) -> io::Result<Option<Vec<u8>>> {
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

    /// Takes it out of the poll.
    pub(super) fn deregister(&mut self, registry: &Registry) {
        // It is closed next, which does the same.
        let _ = registry.deregister(&mut self.tcp);
    }
}
