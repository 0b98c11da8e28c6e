//! H.248 text.

use super::{Dialect, Edit, Said, Speaker, replaced, value, written};
use portunus_h248::carriage::core::{self, FromProxy as Step};
use portunus_h248::carriage::message::{Sender, write_request};
use portunus_h248::carriage::terminal::{FromProxy, read, write_s1, write_s7};
use portunus_h248::view::{Kind, Message};
use portunus_keydist::steps::{S1, S7};
use portunus_keydist::{Idc, Rand};
use portunus_signalling::{Signalling, Text};

/// See the module.
pub(super) struct H248;

fn sender(idc: Idc<'_>) -> Sender<'_> {
    Sender { idc, version: 2 }
}

fn has_requests(msg: &[u8]) -> bool {
    Message::parse(msg).is_ok_and(|msg| msg.transactions().any(|t| matches!(t.kind, Kind::Request)))
}

const EDITS: &[Edit] = &[
    Edit::Value(b"mechs=\"", b'"', b"x-pkd-sealed;q=0.1"),
    Edit::Value(b"mechs=\"", b'"', b"x-pkd-sealed"),
    Edit::Value(b"sel=\"", b'"', b"tls;port=2945"),
    Edit::Octets(b"AU=0x", b"AU=0x1"),
    Edit::Octets(b"!/1", b"!/3"),
    Edit::Octets(b"ROOT", b"aaln/1"),
    Edit::Value(b"life=\"", b'"', b"9"),
    Edit::Value(b"n1=\"", b'"', b"0123456789abcdef"),
    Edit::Value(b"rand=\"", b'"', b"AAAAAAAAAAAAAAAAAAAAAA"),
    Edit::Value(b"ts=\"", b'"', b"1793491200000"),
    Edit::Octets(b"portunus/", b"Portunus/"),
];

impl Dialect for H248 {
    fn signalling(&self) -> &'static dyn Signalling {
        &portunus_h248::H248
    }

    fn port(&self) -> u16 {
        2944
    }

    fn idc(&self, name: &str) -> String {
        format!("{name}.example.test")
    }

    fn s1(&self, who: &Speaker<'_>, s1: &S1<'_>) -> Option<Vec<u8>> {
        written(|w| write_s1(&sender(who.idc), who.number, s1, w))
    }

    fn s7(&self, who: &Speaker<'_>, _: &[u8], s7: &S7<'_>) -> Option<Vec<u8>> {
        written(|w| write_s7(&sender(who.idc), who.number, s7, w))
    }

    fn said<'m>(&self, msg: &'m [u8], _: &'m mut Text) -> Result<Said<'m>, String> {
        Ok(match read(msg).map_err(|fault| format!("{fault:?}"))?.1 {
            FromProxy::Challenge(s6) => Said::Challenge { idc: None, s6 },
            FromProxy::Cookie { n1, cookie, .. } => Said::Cookie { n1, cookie },
            FromProxy::Key { s10, mac, mac_value } => Said::Key { idc: None, s10, mac, mac_value },
            FromProxy::Refused { .. } => Said::Harmless,
            _ if has_requests(msg) => Said::Request,
            _ => Said::Harmless,
        })
    }

    fn s8(&self, msg: &[u8]) -> Option<Rand> {
        match core::read(&Message::parse(msg).ok()?).ok()?? {
            Step::Response { s8, .. } => Some(s8.rand),
            Step::Register { .. } => None,
        }
    }

    fn bears(&self, msg: &[u8]) -> Option<String> {
        Message::parse(msg).ok()?.mid().idc().map(|idc| idc.as_str().to_owned())
    }

    fn is_request(&self, msg: &[u8]) -> bool {
        has_requests(msg)
    }

    fn edits(&self) -> &'static [Edit] {
        EDITS
    }

    fn proofs(&self) -> &'static [(&'static [u8], u8)] {
        &[(b"authc=\"", b'"'), (b":0x00000001:0x", b' ')]
    }

    fn tail(&self) -> &'static [u8] {
        b"T=17{C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}}"
    }

    fn instead(&self, msg: &[u8], bits: u64) -> Option<Vec<u8>> {
        let Some(n1) = value(msg, b"n1=\"", b'"') else {
            let error = ["ER=500{\"x\"}", "ER=402{\"x\"}", "ER=400{\"x\"}"][(bits % 3) as usize];
            return replaced(msg, b"C=-{", format!("{error},C=-{{").as_bytes()).filter(|_| msg.starts_with(b"!/"));
        };
        let n1 = String::from_utf8_lossy(n1);
        let cause = ["denied", "mechanism", "busy", "stale\",ts=\"1"][(bits % 4) as usize];
        let at = msg.windows(9).position(|w| w == b"portunus/")?;
        let signal = msg.get(at..=at + msg.get(at..)?.iter().position(|c| *c == b'}')?)?;
        replaced(msg, signal, format!("portunus/fail{{n1=\"{n1}\",cause=\"{cause}\"}}").as_bytes())
    }

    fn plainly(&self, who: &Speaker<'_>, _: &str) -> Option<Vec<u8>> {
        let actions = match who.bits % 3 {
            0 => "C=-{N=aaln/1{OE=1{20261101T00000000:al/of{init=\"OFF\"}}}}",
            1 => "C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}",
            _ => "C=-{MF=aaln/1{SG{alert/ri}}}",
        };
        written(|w| write_request(&sender(who.idc), who.number, actions, w))
    }

    /// s8, s2 and s9, as proxy and controller write them.
    fn claim(&self, who: &Speaker<'_>, idsp: &str) -> Vec<u8> {
        let (word, rand) = (format!("{:016x}", who.bits).repeat(4), "AAAAAAAAAAAAAAAAAAAAAA");
        let actions = match who.bits % 3 {
            0 => format!(
                "C=-{{N=ROOT{{OE=1{{portunus/resp{{idsp=\"{idsp}\",rand=\"{rand}\",authc=\"{word}\",\
                 ipc=\"203.0.113.66:2944\"}}}}}}}}"
            ),
            1 => format!(
                "C=-{{SC=ROOT{{SV{{MT=RS,RE=\"901 Cold Boot\",V=2,X-PKD=\"v=1;idsp={idsp};n1={:016x}\"}}}}}}",
                who.bits
            ),
            _ => format!(
                "C=-{{MF=ROOT{{SG{{portunus/key{{idsp=\"{idsp}\",rand=\"{rand}\",ekc=\"{0}\",eksp=\"{0}\"}}}}}}}}",
                "A".repeat(64)
            ),
        };
        written(|w| write_request(&sender(who.idc), who.number, &actions, w)).unwrap_or_default()
    }

    fn inside(&self, who: &Speaker<'_>, other: &str) -> Vec<u8> {
        let actions = match who.bits % 4 {
            // Another's gateway out of service, and another's telephone.
            0 | 1 => "C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}",
            2 => "C=-{N=aaln/1{OE=1{20261101T00000000:al/of{init=\"OFF\"}}}}",
            // A step.
            _ => return self.claim(who, "sp1.example.test"),
        };
        let Some(idc) = Idc::new(other) else { return Vec::new() };
        written(|w| write_request(&sender(idc), who.number, actions, w)).unwrap_or_default()
    }
}
