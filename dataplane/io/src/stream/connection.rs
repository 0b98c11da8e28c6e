//! One connection.

use std::io::{self, Read};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::frame::Framing;
use super::layer::{Layer, LayerEnd};

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
    /// What stands between its octets and its messages.
    pub(super) layer: Option<Box<dyn Layer>>,
    /// The layer has something without further octets.
    pub(super) more_behind: bool,
    /// The owner has heard that its layer is open.
    pub(super) opened: bool,
    /// When its layer must be open.
    pub(super) opening_ends_ms: u64,
    /// To be closed when everything is sent.
    pub(super) finishing: bool,
    /// The owner's number.
    pub(super) mark: u64,
}

impl core::fmt::Debug for Connection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// Why a turn ended a connection.
pub(super) enum End {
    /// By the peer.
    Closed,
    /// By the framing.
    Broken,
    /// By its layer.
    Layer(LayerEnd),
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
    pub(super) fn new(
        stream: TcpStream,
        (peer, listener, framing): (SocketAddr, u8, Framing),
        now_ms: u64,
    ) -> Box<Self> {
        // Answers are small and awaited: nothing gains from Nagle's delay. A failure costs latency only.
        let _ = stream.set_nodelay(true);
        Box::new(Self {
            stream,
            peer,
            listener,
            framing,
            held: Vec::new(),
            more_held: false,
            out: Vec::new(),
            out_from: 0,
            queued: false,
            dirty: false,
            closing: false,
            active_ms: now_ms,
            older: super::NONE,
            newer: super::NONE,
            layer: None,
            more_behind: false,
            opened: false,
            opening_ends_ms: u64::MAX,
            finishing: false,
            mark: 0,
        })
    }

    /// Reads once, through the layer where there is one; `raw` is what that is shown.
    pub(super) fn fill(&mut self, room: &mut [u8], raw: &mut [u8]) -> Result<(usize, Input), End> {
        if self.layer.is_none() {
            return self.read(room);
        }
        let behind = core::mem::take(&mut self.more_behind);
        let (count, input) = if behind { (0, Input::More) } else { self.read(raw)? };
        let Some(layer) = &mut self.layer else { return Ok((0, input)) };
        let passed = layer.take(raw.get(..count).unwrap_or_default(), room, &mut self.out).map_err(End::Layer)?;
        self.more_behind = passed.more;
        Ok((passed.octets, if passed.more { Input::More } else { input }))
    }

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
