//! One connection.

use std::io::{self, Read};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::frame::Framing;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) listener: u8,
    pub(super) framing: Framing,
    /// Octets received of a message that is not complete, or of messages that did not fit a turn.
    pub(super) held: Vec<u8>,
    /// `held` may begin with complete messages.
    pub(super) more_held: bool,
    /// Octets that the system did not take yet, from `out_from` on.
    pub(super) out: Vec<u8>,
    pub(super) out_from: usize,
    pub(super) queued: bool,
    pub(super) dirty: bool,
    /// The peer has closed its side: read on until the end shows.
    pub(super) closing: bool,
    pub(super) active_ms: u64,
    pub(super) older: u32,
    pub(super) newer: u32,
}

/// Why a turn ended a connection.
pub(super) enum End {
    /// By the peer.
    Closed,
    /// By the framing.
    Broken,
    /// It was closed before its turn came.
    Stale,
}

/// What a read left behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Nothing: the next event will tell.
    Drained,
    /// Perhaps more.
    More,
    /// The peer's end.
    Ended,
}

impl Connection {
    /// Reads once. After a sign that the peer has closed, a short read is no proof that nothing is left.
    pub(super) fn read(&mut self, room: &mut [u8]) -> Result<(usize, Input), End> {
        match self.stream.read(room) {
            Ok(0) => Ok((0, Input::Ended)),
            Ok(count) if count < room.len() && !self.closing => Ok((count, Input::Drained)),
            Ok(count) => Ok((count, Input::More)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.closing => Ok((0, Input::Ended)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((0, Input::Drained)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok((0, Input::More)),
            Err(_) => Err(End::Closed),
        }
    }
}
