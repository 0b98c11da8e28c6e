//! An element beside a phone that knows nothing of PKD1: what it answers in the phone's plain SIP, and what it changes
//! in the phone's requests before they enter the channel.

use super::core::{Forward, Granted, put_bindings};
use crate::edit::{self, Contacts, Credentials, Top};
use crate::view::{Message, Method};
use crate::write::{Stamp, Tag, begin_response, end};
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};

/// An answer to a phone.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Where the request came from: written on its Via where the phone asked for it (RFC 3581).
    pub source: SocketAddr,
    /// Tag for To, where it has none.
    pub to_tag: &'a str,
    /// Status code.
    pub status: u16,
    /// Reason phrase.
    pub reason: &'a str,
    /// Seconds to wait before the next attempt; `None`: not said.
    pub retry_after_s: Option<u32>,
    /// The bindings that a REGISTER's 200 lists.
    pub bindings: &'a [Granted<'a>],
}

/// Answers a request; an ACK gets nothing (RFC 3261 section 17.1.1.3).
///
/// # Errors
/// [`Full`].
pub fn write_answer(request: &Message<'_>, a: &Answer<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    if request.method() == Method::Ack {
        return Ok(());
    }
    begin_response(request, a.status, &[a.reason], Tag::Text(a.to_tag.as_bytes()), Some(a.source), w);
    put_bindings(a.bindings, w);
    if let Some(s) = a.retry_after_s {
        w.put(b"Retry-After: ").decimal(s.into()).put(b"\r\n");
    }
    end(w)
}

/// As [`super::core::forward_request`], without credentials: what a phone proves itself with is between it and the
/// element beside it, which has taken its place towards the proxy.
///
/// # Errors
/// [`Full`].
pub fn forward_bare(msg: &Message<'_>, f: &Forward<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let edit = edit::Request {
        uri: f.uri,
        top: Top::Raw { via: f.via, route: f.route, record_route: f.record_route, asserted: f.asserted },
        source: Some((f.source, Stamp::Asked)),
        routes: edit::Routes::Pop(f.pop_routes),
        contacts: Contacts::Keep,
        credentials: Credentials::Drop,
        strip_agreement: false,
        strip_core_only: false,
    };
    edit::request(msg, &edit, w)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 5_062))
    }

    #[test]
    fn credentials_of_both_kinds_stay_behind() {
        let text = b"INVITE sip:bob@example.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport\r\n\
            Authorization: Digest username=\"a\", nonce=\"n\", response=\"00\"\r\nFrom: <sip:a@example.test>;tag=1\r\n\
            Proxy-Authorization: Basic QTpC\r\nTo: <sip:bob@example.test>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
            Proxy-Authorization: Digest username=\"a\", nonce=\"n\", response=\"00\"\r\nMax-Forwards: 7\r\n\r\n";
        let msg = Message::parse(text).unwrap();
        let mut room = [0u8; 1024];
        let mut w = Writer::new(&mut room);
        let via = b"SIP/2.0/UDP 192.0.2.9:4000;branch=z9hG4bK2";
        let f =
            Forward { uri: None, via, source: phone(), route: None, pop_routes: 0, record_route: None, asserted: None };
        forward_bare(&msg, &f, &mut w).unwrap();
        let out = String::from_utf8_lossy(w.written());
        assert!(!out.contains("uthorization") && !out.contains("QTpC"), "{out}");
        assert!(out.contains("branch=z9hG4bK1;received=127.0.0.1;rport=5062"), "{out}");
        assert!(out.contains("Max-Forwards: 6"), "{out}");
    }

    #[test]
    fn answers_follow_the_request() {
        let text = b"REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK1;rport\r\n\
            From: <sip:a@example.test>;tag=1\r\nTo: <sip:a@example.test>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n\r\n";
        let msg = Message::parse(text).unwrap();
        let mut room = [0u8; 1024];
        let mut w = Writer::new(&mut room);
        let bindings = [Granted { uri: b"sip:a@127.0.0.1:5062", expires: 60 }];
        let granted = Answer {
            source: phone(),
            to_tag: "t",
            status: 200,
            reason: "OK",
            retry_after_s: None,
            bindings: &bindings,
        };
        write_answer(&msg, &granted, &mut w).unwrap();
        let read = Message::parse(w.written()).unwrap();
        assert_eq!((read.status(), read.to().tag()), (200, Some(&b"t"[..])));
        assert_eq!(read.contacts().next().and_then(|c| c.expires()), Some(60));
        assert_eq!(read.via().source(), Some(phone()));
    }
}
