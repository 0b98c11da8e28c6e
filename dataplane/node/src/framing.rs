//! Which protocol's messages can be cut out of a stream, and by what: the one line a protocol costs here.

use portunus_h248::tpkt;
use portunus_io::stream::{Frame, Framing};
use portunus_signalling::Protocol;
use portunus_sip::frame::{self, next_message};

/// How messages of a protocol are cut out of a stream; `None` where it is not carried over streams here.
pub(crate) fn of(protocol: Protocol) -> Option<Framing> {
    match protocol {
        Protocol::Sip => Some(Framing::plain(sip)),
        Protocol::H248 => Some(Framing::behind(tpkt, tpkt::header)),
        Protocol::Mgcp | Protocol::Ras => None,
    }
}

/// RFC 3261 section 18.3. A ping is handed on, since the protocol knows its answer; a pong says nothing.
fn sip(octets: &[u8]) -> Frame {
    match next_message(octets) {
        frame::Frame::Message(len) | frame::Frame::Ping(len) => Frame::Message(len),
        frame::Frame::Pong(len) => Frame::Skip(len),
        frame::Frame::Incomplete => Frame::Incomplete,
        frame::Frame::Broken(_) => Frame::Broken,
    }
}

/// H.248.1 annex D.2: each message in a TPKT, whose header is no part of it.
fn tpkt(octets: &[u8]) -> Frame {
    match tpkt::next_message(octets) {
        tpkt::Frame::Message(len) => Frame::Message(len),
        tpkt::Frame::Incomplete => Frame::Incomplete,
        tpkt::Frame::Broken => Frame::Broken,
    }
}
