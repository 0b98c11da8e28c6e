//! Messages out of a stream (RFC 3261 section 18.3, RFC 5626 section 3.5.1): Content-Length says where each ends, so it
//! must be there. After an error nobody can tell where the next message begins: the connection is closed.

use crate::view::{MESSAGE_MAX, Name};
use portunus_codec::parse_u32;
use portunus_signalling::{Fault, FaultKind};

/// What stands at the front of a stream's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Not complete: read more. A buffer of [`MESSAGE_MAX`] octets is always enough.
    Incomplete,
    /// A message of this many octets.
    Message(usize),
    /// A keep-alive ping (double CRLF) of this many octets: answer with [`PONG`], then drop it.
    Ping(usize),
    /// A pong, or empty lines between messages, of this many octets: drop it.
    Pong(usize),
    /// The stream is broken: close it. A message that could still be answered stands in front of the fault.
    Broken(Fault),
}

/// The answer to a ping.
pub const PONG: &[u8] = b"\r\n";

/// Finds the message at the front of `buf`. Bounded work: at most [`MESSAGE_MAX`] octets are looked at.
pub fn next_message(buf: &[u8]) -> Frame {
    Framer::new().next(buf)
}

/// As [`next_message`], remembering how far it has looked, so that a stream that arrives octet by octet costs no more
/// than one that arrives at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Framer {
    /// Octets that were searched for the end of the headers.
    searched: usize,
}

impl Framer {
    /// For a new connection.
    pub const fn new() -> Self {
        Self { searched: 0 }
    }

    /// Finds the message at the front of `buf`: the same octets as before and what has been read since, until it gives
    /// anything but [`Frame::Incomplete`].
    pub fn next(&mut self, buf: &[u8]) -> Frame {
        let frame = self.look(buf);
        if frame != Frame::Incomplete {
            self.searched = 0;
        }
        frame
    }

    fn look(&mut self, buf: &[u8]) -> Frame {
        match buf {
            [b'\r', b'\n', b'\r', b'\n', ..] => return Frame::Ping(4),
            // One CRLF alone may be the first half of a ping; with anything else behind it, it is a pong.
            [b'\r', b'\n', c, ..] if *c != b'\r' => return Frame::Pong(2),
            [b'\r', b'\n', b'\r', c, ..] if *c != b'\n' => return broken("start line", 0),
            [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Frame::Incomplete,
            _ => {}
        }
        let window = buf.get(..MESSAGE_MAX.min(buf.len())).unwrap_or_default();
        let from = self.searched.min(window.len());
        let Some(n) = memchr::memmem::find(window.get(from..).unwrap_or_default(), b"\r\n\r\n") else {
            if buf.len() >= MESSAGE_MAX {
                return Frame::Broken(Fault { kind: FaultKind::TooBig, what: "headers", at: MESSAGE_MAX });
            }
            // The last three octets may begin the end.
            self.searched = window.len().saturating_sub(3);
            return Frame::Incomplete;
        };
        let head = from + n;
        // The end of the headers has been found: a later call for the same message looks from here.
        self.searched = head;
        let len = match content_length(window.get(..head + 2).unwrap_or_default()) {
            Ok(len) => len,
            Err(fault) => return Frame::Broken(fault),
        };
        match (head + 4).checked_add(len) {
            Some(total) if total > MESSAGE_MAX => {
                Frame::Broken(Fault { kind: FaultKind::TooBig, what: "message", at: MESSAGE_MAX })
            }
            Some(total) if total <= buf.len() => Frame::Message(total),
            _ => Frame::Incomplete,
        }
    }
}

fn broken(what: &'static str, at: usize) -> Frame {
    Frame::Broken(Fault { kind: FaultKind::Malformed, what, at })
}

/// The one Content-Length among the header lines `head`.
fn content_length(head: &[u8]) -> Result<usize, Fault> {
    let fault = |at| Fault { kind: FaultKind::Malformed, what: Name::ContentLength.as_str(), at };
    let mut found = None;
    let mut at = 0;
    while let Some(n) = memchr::memmem::find(head.get(at..).unwrap_or_default(), b"\r\n") {
        let line = head.get(at..at + n).unwrap_or_default();
        if let Some(colon) = memchr::memchr(b':', line) {
            let (name, value) = line.split_at(colon);
            if Name::of(name.trim_ascii_end()) == Name::ContentLength {
                let len = parse_u32(value.get(1..).unwrap_or_default().trim_ascii()).ok_or(fault(at))?;
                // Two that say the same are still two: the next reader may take the other.
                if found.replace(len as usize).is_some() {
                    return Err(fault(at));
                }
                // A folded Content-Length may go on in the next line; no one writes that but to deceive.
                if matches!(head.get(at + n + 2), Some(b' ' | b'\t')) {
                    return Err(fault(at));
                }
            }
        }
        at += n + 2;
    }
    found.ok_or(fault(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"OPTIONS sip:h SIP/2.0\r\nVia: x\r\nl : 4 \r\n\r\nbody";

    #[test]
    fn octet_by_octet() {
        let stream = [ONE, b"\r\n\r\n", ONE].concat();
        let mut framer = Framer::new();
        for end in 0..ONE.len() {
            assert_eq!(framer.next(&stream[..end]), Frame::Incomplete, "{end}");
            assert_eq!(next_message(&stream[..end]), Frame::Incomplete, "{end}");
        }
        assert_eq!(framer.next(&stream), Frame::Message(ONE.len()));
        let rest = &stream[ONE.len()..];
        assert_eq!(framer.next(rest), Frame::Ping(4));
        assert_eq!(framer.next(&rest[4..]), Frame::Message(ONE.len()));
    }

    #[test]
    fn keep_alives() {
        assert_eq!(next_message(b""), Frame::Incomplete);
        assert_eq!(next_message(b"\r\n"), Frame::Incomplete);
        assert_eq!(next_message(b"\r\nO"), Frame::Pong(2));
        assert_eq!(next_message(b"\r\n\r\n\r\n"), Frame::Ping(4));
        assert!(matches!(next_message(b"\r\n\rX"), Frame::Broken(_)));
    }

    #[test]
    fn what_breaks_a_stream() {
        let what = |buf: &[u8]| match next_message(buf) {
            Frame::Broken(f) => (f.kind, f.what),
            other => panic!("{other:?}"),
        };
        let malformed = (FaultKind::Malformed, "Content-Length");
        assert_eq!(what(b"A b SIP/2.0\r\nVia: x\r\n\r\n"), malformed);
        assert_eq!(what(b"A b SIP/2.0\r\nl: 1\r\nContent-Length: 1\r\n\r\nx"), malformed);
        assert_eq!(what(b"A b SIP/2.0\r\nl: -1\r\n\r\n"), malformed);
        assert_eq!(what(b"A b SIP/2.0\r\nl: 1\r\n 2\r\n\r\n"), malformed);
        assert_eq!(what(b"A b SIP/2.0\r\nl: 99999\r\n\r\n"), (FaultKind::TooBig, "message"));
        assert_eq!(what(b"A b SIP/2.0\r\nl: 4294967295\r\n\r\n"), (FaultKind::TooBig, "message"));
        assert_eq!(what(&vec![b'x'; MESSAGE_MAX]), (FaultKind::TooBig, "headers"));
    }
}
