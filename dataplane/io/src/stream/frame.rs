//! Cutting octets into messages.

use core::ops::Range;

use super::connection::End;

/// Messages that one turn hands out at most.
pub(super) const FRAMES: usize = 64;

/// What a framing finds at the beginning of the octets that it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A message of so many octets, behind a header ([`Framing::behind`]) where the framing has one.
    Message(usize),
    /// So many octets that belong to no message and are passed over.
    Skip(usize),
    /// Not complete yet.
    Incomplete,
    /// Nothing that can become a message: the connection is closed.
    Broken,
}

/// Octets of a header before each message: that of TPKT (RFC 1006), the only kind there is.
pub const HEADER: usize = 4;

/// Makes the header of a message of so many octets; `None` where none can say it.
pub type Header = fn(usize) -> Option<[u8; HEADER]>;

/// How a stream is cut into messages, and what precedes each of them.
#[derive(Clone, Copy)]
pub struct Framing {
    /// Says what stands at the beginning of the octets. Called again with the same beginning when more has arrived.
    pub(super) find: fn(&[u8]) -> Frame,
    pub(super) header: Option<Header>,
}

impl core::fmt::Debug for Framing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Framing").field("header", &self.header.is_some()).finish_non_exhaustive()
    }
}

impl Framing {
    /// Messages that show their own ends. `find` says what stands at the beginning of some octets, and is called again
    /// with the same beginning when more has arrived.
    pub const fn plain(find: fn(&[u8]) -> Frame) -> Self {
        Self { find, header: None }
    }

    /// Messages behind a header of [`HEADER`] octets, which `find` looks at and `header` makes; neither side of this
    /// set sees the headers themselves.
    pub const fn behind(find: fn(&[u8]) -> Frame, header: Header) -> Self {
        Self { find, header: Some(header) }
    }

    /// Octets before each message.
    pub(super) const fn lead(&self) -> usize {
        if self.header.is_some() { HEADER } else { 0 }
    }
}

/// The buffer that connections are read into, one after the other. It stands beside [`Streams`] so that answers can
/// be written to connections while the messages are still being looked at.
#[derive(Debug)]
pub struct Scratch {
    pub(super) octets: Box<[u8]>,
    /// What is read for a layer.
    pub(super) raw: Box<[u8]>,
    pub(super) frames: Vec<Range<usize>>,
}

impl Scratch {
    /// The messages of the last turn, oldest first, to be read or edited in place. At most 64.
    pub fn messages(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let mut rest = &mut *self.octets;
        let mut at = 0;
        self.frames.iter().map(move |frame| {
            let (_, from) = core::mem::take(&mut rest).split_at_mut(frame.start - at);
            let (message, after) = from.split_at_mut(frame.len());
            rest = after;
            at = frame.end;
            message
        })
    }
}

/// Cuts the first `filled` octets of `scratch` into frames. Returns how many octets were dealt with, and whether
/// anything was complete.
pub(super) fn cut(
    scratch: &mut Scratch,
    filled: usize,
    framing: Framing,
    message_max: usize,
) -> Result<(usize, bool), End> {
    let mut at = 0;
    while at < filled && scratch.frames.len() < FRAMES {
        match (framing.find)(scratch.octets.get(at..filled).unwrap_or_default()) {
            Frame::Message(len) if len > 0 && len <= message_max && at + framing.lead() + len <= filled => {
                let from = at + framing.lead();
                scratch.frames.push(from..from + len);
                at = from + len;
            }
            Frame::Skip(len) if len > 0 && at + len <= filled => at += len,
            Frame::Incomplete if filled - at < message_max + framing.lead() => break,
            _ => return Err(End::Broken),
        }
    }
    Ok((at, at > 0))
}
