//! SIP.

use super::{Dialect, Edit, Said, Speaker, written};
use portunus_keydist::Rand;
use portunus_keydist::steps::{S1, S7};
use portunus_signalling::{Signalling, Text, Transport};
use portunus_sip::carriage::terminal::{Agent, Answer, Plain, Txn, read_answer, write_request, write_s1, write_s7};
use portunus_sip::view::Message;

/// See the module.
pub(super) struct Sip;

const EDITS: &[Edit] = &[
    // Bid down: fewer, weaker or other mechanisms than the terminal offered, or than it reads back.
    Edit::Value(b"Security-Client: ", b'\r', b"x-pkd-sealed;q=0.1"),
    Edit::Value(b"Security-Client: ", b'\r', b"tls;q=1.0, x-pkd-sealed;q=0.3"),
    Edit::Value(b"mechs=\"", b'"', b"x-pkd-sealed"),
    Edit::Value(b"Security-Server: ", b'\r', b"tls;port=5061"),
    // Take the registration elsewhere, or keep it for longer.
    Edit::Octets(b"@10.0.0.", b"@10.9.9."),
    Edit::Octets(b";expires=", b";expires=9"),
    // Swap values.
    Edit::Value(b" n1=\"", b'"', b"0123456789abcdef"),
    Edit::Value(b"nonce=\"", b'"', b"AAAAAAAAAAAAAAAAAAAAAA"),
    Edit::Value(b"ts=\"", b'"', b"1793491200000"),
];

fn branch(bits: u64) -> String {
    format!("z9hG4bK{bits:016x}")
}

fn agent<'a>(who: &Speaker<'a>) -> Agent<'a> {
    Agent {
        idc: who.idc,
        realm: "example.test",
        registrar: "sip:example.test",
        local: who.at,
        transport: Transport::Udp,
        contact: "sip:evil@203.0.113.66:5060",
        call_id: "evil",
        from_tag: "evil",
    }
}

impl Dialect for Sip {
    fn signalling(&self) -> &'static dyn Signalling {
        &portunus_sip::Sip
    }

    fn port(&self) -> u16 {
        5060
    }

    fn idc(&self, name: &str) -> String {
        format!("{name}@example.test")
    }

    fn s1(&self, who: &Speaker<'_>, s1: &S1<'_>) -> Option<Vec<u8>> {
        let txn = Txn { cseq: who.number, branch: &branch(who.bits) };
        written(|w| write_s1(&agent(who), &txn, 300, s1, w))
    }

    fn s7(&self, who: &Speaker<'_>, _: &[u8], s7: &S7<'_>) -> Option<Vec<u8>> {
        let txn = Txn { cseq: who.number, branch: &branch(who.bits) };
        written(|w| write_s7(&agent(who), &txn, 300, s7, w))
    }

    fn said<'m>(&self, bytes: &'m [u8], _: &'m mut Text) -> Result<Said<'m>, String> {
        let msg = match Message::parse(bytes) {
            Ok(msg) => msg,
            // What was malformed is repeated in the answer that says so (RFC 3261 section 8.2.6.2).
            Err(_) if [&b"SIP/2.0 400 "[..], b"SIP/2.0 505 "].iter().any(|s| bytes.starts_with(s)) => {
                return Ok(Said::Harmless);
            }
            Err(fault) => return Err(format!("{fault:?}")),
        };
        if msg.is_request() {
            return Ok(Said::Request);
        }
        let idc = || msg.to().sip().and_then(|u| u.as_idc()).map(|i| i.as_str().to_owned());
        Ok(match read_answer(bytes).map(|r| r.answer) {
            Ok(Answer::Challenge(s6)) => Said::Challenge { idc: idc(), s6 },
            Ok(Answer::Cookie { n1, cookie, .. }) => Said::Cookie { n1, cookie },
            Ok(Answer::Key { s10, mac, mac_value }) => Said::Key { idc: idc(), s10, mac: mac.into(), mac_value },
            Ok(Answer::Granted) => Said::Granted,
            _ => Said::Harmless,
        })
    }

    fn s8(&self, _: &[u8]) -> Option<Rand> {
        None
    }

    fn is_step(&self, _: bool, msg: &[u8]) -> bool {
        msg.starts_with(b"REGISTER ")
    }

    fn bears(&self, _: &[u8]) -> Option<String> {
        None
    }

    fn is_request(&self, msg: &[u8]) -> bool {
        Message::parse(msg).is_ok_and(|msg| msg.is_request())
    }

    fn edits(&self) -> &'static [Edit] {
        EDITS
    }

    fn proofs(&self) -> &'static [(&'static [u8], u8)] {
        &[(b"response=\"", b'"'), (b"mac=\"", b'"')]
    }

    fn tail(&self) -> &'static [u8] {
        b"\r\nX: y"
    }

    fn instead(&self, msg: &[u8], bits: u64) -> Option<Vec<u8>> {
        let status: &[u8] = match bits % 5 {
            0 => b"403",
            1 => b"494",
            2 => b"503",
            3 => b"200",
            _ => b"401",
        };
        let mut forged = msg.starts_with(b"SIP/2.0 ").then(|| msg.to_vec())?;
        forged.get_mut(8..11)?.copy_from_slice(status);
        Some(forged)
    }

    fn plainly(&self, who: &Speaker<'_>, to: &str) -> Option<Vec<u8>> {
        let methods = ["MESSAGE", "INVITE", "BYE", "OPTIONS"];
        let uri = format!("sip:{to}");
        let plain = Plain {
            method: methods.get((who.bits % 4) as usize)?,
            uri: &uri,
            from: who.idc,
            from_tag: "evil",
            to_uri: &uri,
            to_tag: None,
            call_id: "evil",
            txn: Txn { cseq: who.number, branch: &branch(who.bits) },
            local: who.at,
            transport: Transport::Udp,
            contact: Some("sip:evil@203.0.113.66"),
            route: None,
            body: Some(("text/plain", b"forged")),
        };
        written(|w| write_request(&plain, w))
    }

    /// A REGISTER with what only the core may say.
    fn claim(&self, who: &Speaker<'_>, idsp: &str) -> Vec<u8> {
        let (victim, number, branch) = (who.idc.as_str(), who.number, branch(who.bits));
        format!(
            "REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5070;branch={branch}.0000000000000000\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{victim}>;tag=e\r\nTo: <sip:{victim}>\r\nCall-ID: evil\r\n\
             CSeq: {number} REGISTER\r\nPath: <sip:evil@192.0.2.10:5070;lr>\r\nContact: <sip:evil@203.0.113.66>\r\n\
             Authorization: Digest username=\"{victim}\", realm=\"example.test\", nonce=\"\", uri=\"sip:example.test\", \
             response=\"\", algorithm=PKD1-HMAC-SHA-256, idsp=\"{idsp}\", integrity-protected=\"yes\"\r\n\
             Expires: 300\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    fn inside(&self, who: &Speaker<'_>, other: &str) -> Vec<u8> {
        let (own, branch) = (who.idc.as_str(), branch(who.bits));
        let via = format!("Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch};rport\r\nMax-Forwards: 70\r\n");
        let tail = format!("Call-ID: evil\r\nCSeq: {}", who.number);
        let text = match who.bits % 4 {
            // A request of somebody else.
            0 => format!(
                "MESSAGE sip:{own} SIP/2.0\r\n{via}From: <sip:{other}>;tag=e\r\nTo: <sip:{own}>\r\n{tail} MESSAGE\r\n\
                 Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nforged"
            ),
            // Somebody else's registration, to its own address.
            1 => format!(
                "REGISTER sip:example.test SIP/2.0\r\n{via}From: <sip:{other}>;tag=e\r\nTo: <sip:{other}>\r\n{tail} REGISTER\r\n\
                 Contact: <sip:evil@203.0.113.66>;expires=300\r\nContent-Length: 0\r\n\r\n"
            ),
            // Its own, with a Contact of its making and words that only the core may say.
            2 => format!(
                "REGISTER sip:example.test SIP/2.0\r\n{via}From: <sip:{own}>;tag=e\r\nTo: <sip:{own}>\r\n{tail} REGISTER\r\n\
                 Path: <sip:evil@203.0.113.66;lr>\r\nContact: <sip:evil@203.0.113.66>;expires=300\r\n\
                 P-Asserted-Identity: <sip:{other}>\r\nContent-Length: 0\r\n\r\n"
            ),
            // A way out of the trusted network.
            _ => format!(
                "MESSAGE sip:x@203.0.113.66 SIP/2.0\r\n{via}Route: <sip:192.0.2.100;lr>, <sip:203.0.113.66;lr>\r\n\
                 From: <sip:{own}>;tag=e\r\nTo: <sip:x@203.0.113.66>\r\n{tail} MESSAGE\r\nContent-Length: 0\r\n\r\n"
            ),
        };
        text.into_bytes()
    }
}
