//! A phone of the simplest kind: plain SIP over one UDP socket, written out.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// How long a phone waits for what it must hear.
const PATIENCE: Duration = Duration::from_secs(10);

/// A phone beside an agent, which is its outbound proxy and registrar.
pub(crate) struct Phone {
    socket: UdpSocket,
    /// Its address of record without the scheme.
    pub(crate) id: String,
    agent: SocketAddr,
    number: u32,
}

/// The status of a response; 0 for a request.
pub(crate) fn status(text: &str) -> u16 {
    text.strip_prefix("SIP/2.0 ").and_then(|t| t.get(..3)).and_then(|t| t.parse().ok()).unwrap_or(0)
}

/// The values of a header, in order.
pub(crate) fn values<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let of = |l: &'t str| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v);
    text.lines().take_while(|l| !l.is_empty()).filter_map(of).collect()
}

impl Phone {
    pub(crate) fn new(id: String, agent: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self { socket, id, agent, number: 0 }
    }

    /// Its Contact's URI.
    pub(crate) fn contact(&self) -> String {
        let user = self.id.split('@').next().expect("a user");
        format!("sip:{user}-phone@{}", self.socket.local_addr().expect("its address"))
    }

    pub(crate) fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.agent).expect("sent");
    }

    /// What it hears next; provisional responses other than `180` are passed over.
    pub(crate) fn hears(&self) -> String {
        loop {
            let mut room = [0u8; 8_192];
            let (n, from) =
                self.socket.recv_from(&mut room).unwrap_or_else(|e| panic!("{} hears nothing: {e}", self.id));
            assert_eq!(from, self.agent, "only the agent speaks to its phone");
            let text = String::from_utf8(room[..n].to_vec()).expect("SIP is text");
            if status(&text) != 100 {
                return text;
            }
        }
    }

    /// As [`Phone::hears`], or nothing within a time.
    pub(crate) fn answered_within(&self, wait: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(wait)).expect("a time");
        let mut room = [0u8; 8_192];
        let heard = self.socket.recv_from(&mut room);
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        heard.ok().map(|(n, _)| String::from_utf8_lossy(&room[..n]).into_owned())
    }

    /// A request, from its start line to the empty line; `more` are whole lines.
    pub(crate) fn request(&mut self, method: &str, uri: &str, to: &str, call: &str, more: &str) -> String {
        self.number += 1;
        let Self { id, number, .. } = &*self;
        // ACK has the number of its INVITE, which is the last request here.
        let cseq = if method == "ACK" { number - 1 } else { *number };
        let via = self.socket.local_addr().expect("its address");
        let contact = self.contact();
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{call}{number};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{id}>;tag=t{call}\r\nTo: {to}\r\nCall-ID: {call}-{id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <{contact}>\r\n{more}Content-Length: 0\r\n\r\n"
        )
    }

    /// Registers, and is granted its own Contact.
    pub(crate) fn registers(&mut self) {
        let to = format!("<sip:{}>", self.id);
        let text = self.request("REGISTER", "sip:example.test", &to, "reg", "Expires: 600\r\n");
        self.send(&text);
        let answer = self.hears();
        assert_eq!(status(&answer), 200, "{answer}");
        assert!(values(&answer, "Contact")[0].starts_with(&format!("<{}>", self.contact())), "{answer}");
    }

    /// Answers a request.
    pub(crate) fn answers(&self, request: &str, code: u16) {
        let mut out = format!("SIP/2.0 {code} Said\r\n");
        for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
            for value in values(request, name) {
                let tag = if name == "To" && !value.contains("tag=") { ";tag=callee" } else { "" };
                out += &format!("{name}: {value}{tag}\r\n");
            }
        }
        out += &format!("Contact: <{}>\r\nContent-Length: 0\r\n\r\n", self.contact());
        self.send(&out);
    }
}

/// The lines that send a request along a dialog's routes.
pub(crate) fn routes<'r>(recorded: impl Iterator<Item = &'r str>) -> String {
    recorded.map(|r| format!("Route: {r}\r\n")).collect()
}

/// The URI between a header's brackets.
pub(crate) fn bracketed(value: &str) -> &str {
    value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(value, |(uri, _)| uri)
}
