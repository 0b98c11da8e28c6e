//! MGCP.

use super::{Dialect, Edit, Said, Speaker, replaced, value, written};
use portunus_keydist::Rand;
use portunus_keydist::steps::{S1, S7};
use portunus_mgcp::carriage::core::{self, Ask};
use portunus_mgcp::carriage::terminal::{self, Answer, write_s1, write_s7};
use portunus_mgcp::view::{Message, PARTS_MAX, Parts};
use portunus_signalling::{Signalling, Text};

/// See the module.
pub(super) struct Mgcp;

/// The messages of a datagram; `None` where one is none.
fn messages(datagram: &[u8]) -> Option<Vec<Message<'_>>> {
    Parts::new(datagram).take(PARTS_MAX).map(|part| Message::parse(part).ok()).collect()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

const EDITS: &[Edit] = &[
    Edit::Value(b"mechs=\"", b'"', b"x-pkd-sealed;q=0.1"),
    Edit::Value(b"mechs=\"", b'"', b"x-pkd-sealed"),
    Edit::Value(b"sel=\"", b'"', b"ipsec-man;spi-s=4660;port-c=5066;port-s=5067"),
    Edit::Octets(b"aaln/1@", b"aaln/2@"),
    Edit::Octets(b"*@", b"aaln/2@"),
    Edit::Octets(b"X: ", b"X: 1"),
    Edit::Value(b"life=\"", b'"', b"9"),
    Edit::Value(b"n1=\"", b'"', b"0123456789abcdef"),
    Edit::Value(b"rand=\"", b'"', b"AAAAAAAAAAAAAAAAAAAAAA"),
    Edit::Value(b"ts=\"", b'"', b"1793491200000"),
    Edit::Octets(b"x-pkd/", b"X-PKD/"),
];

impl Dialect for Mgcp {
    fn signalling(&self) -> &'static dyn Signalling {
        &portunus_mgcp::Mgcp
    }

    fn port(&self) -> u16 {
        2727
    }

    fn idc(&self, name: &str) -> String {
        format!("{name}.example.test")
    }

    fn s1(&self, who: &Speaker<'_>, s1: &S1<'_>) -> Option<Vec<u8>> {
        written(|w| write_s1(who.number, "*", "restart", s1, w))
    }

    fn s7(&self, who: &Speaker<'_>, s6: &[u8], s7: &S7<'_>) -> Option<Vec<u8>> {
        let step = terminal::read(s6).ok()??;
        written(|w| write_s7(who.number, &step.endpoint, step.x, s7, w))
    }

    fn said<'m>(&self, msg: &'m [u8], _: &'m mut Text) -> Result<Said<'m>, String> {
        let parts = messages(msg).filter(|parts| !parts.is_empty()).ok_or("unreadable")?;
        if parts.iter().all(|part| part.code().is_some()) {
            return Ok(Said::Harmless);
        }
        let step = match terminal::read(msg) {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(Said::Request),
            Err(fault) => return Err(format!("{fault:?}")),
        };
        let idc = Some(text(step.endpoint.domain));
        Ok(match step.answer {
            Answer::Challenge(s6) => Said::Challenge { idc, s6 },
            Answer::Cookie { n1, cookie, .. } => Said::Cookie { n1, cookie },
            Answer::Key { s10, mac, mac_value } => Said::Key { idc, s10, mac, mac_value },
            Answer::Refused { .. } => Said::Harmless,
        })
    }

    fn s8(&self, msg: &[u8]) -> Option<Rand> {
        match core::read(&Message::parse(msg).ok()?).ok()??.ask {
            Ask::S8(s8) => Some(s8.rand),
            Ask::S2(_) => None,
        }
    }

    fn bears(&self, msg: &[u8]) -> Option<String> {
        // Of several commands the one that is none of its own would do; all are compared with the first.
        let parts = messages(msg)?;
        let mut domains = parts.iter().filter_map(|part| Some(part.command()?.1.domain));
        let first = domains.next()?;
        domains.all(|d| d == first).then(|| text(first)).or(Some("several".into()))
    }

    fn is_request(&self, msg: &[u8]) -> bool {
        messages(msg).is_some_and(|parts| parts.iter().any(|part| part.command().is_some()))
    }

    fn edits(&self) -> &'static [Edit] {
        EDITS
    }

    fn proofs(&self) -> &'static [(&'static [u8], u8)] {
        &[(b"authc=\"", b'"'), (b"X-PKDMAC: ", b'\r')]
    }

    fn tail(&self) -> &'static [u8] {
        b".\r\nRSIP 17 *@gw.example.test MGCP 1.0\r\nRM: forced\r\n"
    }

    fn instead(&self, msg: &[u8], bits: u64) -> Option<Vec<u8>> {
        if let Some(code) = msg.starts_with(b"200 ").then_some(["510", "400", "500"][(bits % 3) as usize]) {
            return replaced(msg, b"200", code.as_bytes());
        }
        let n1 = text(value(msg, b"n1=\"", b'"')?);
        let cause = ["denied", "mechanism", "busy", "stale\",ts=\"1"][(bits % 4) as usize];
        let signals = value(msg, b"S: ", b'\r')?;
        replaced(msg, signals, format!("x-pkd/fail(n1=\"{n1}\",cause=\"{cause}\")").as_bytes())
    }

    fn plainly(&self, who: &Speaker<'_>, _: &str) -> Option<Vec<u8>> {
        let (n, idc) = (who.number, who.idc.as_str());
        let text = match who.bits % 3 {
            0 => format!("NTFY {n} aaln/1@{idc} MGCP 1.0\r\nX: 0b\r\nO: L/hd\r\n"),
            1 => format!("RSIP {n} *@{idc} MGCP 1.0\r\nRM: forced\r\n"),
            _ => format!("RQNT {n} aaln/1@{idc} MGCP 1.0\r\nX: 0b\r\nS: L/rg\r\n"),
        };
        Some(text.into_bytes())
    }

    /// s8, s2 and s9, as proxy and call agent write them.
    fn claim(&self, who: &Speaker<'_>, idsp: &str) -> Vec<u8> {
        let (n, idc, word) = (who.number, who.idc.as_str(), format!("{:016x}", who.bits).repeat(4));
        let rand = "AAAAAAAAAAAAAAAAAAAAAA";
        let text = match who.bits % 3 {
            0 => format!(
                "NTFY {n} aaln/1@{idc} MGCP 1.0\r\nX: 0b\r\nO: x-pkd/resp(idsp=\"{idsp}\",rand=\"{rand}\",\
                 authc=\"{word}\",ipc=\"203.0.113.66:2427\")\r\n"
            ),
            1 => format!("RSIP {n} *@{idc} MGCP 1.0\r\nRM: restart\r\nX-PKD: v=1;idsp={idsp};n1={:016x}\r\n", who.bits),
            _ => format!(
                "RQNT {n} aaln/1@{idc} MGCP 1.0\r\nX: 0b\r\nS: x-pkd/key(idsp=\"{idsp}\",rand=\"{rand}\",\
                 ekc=\"{0}\",eksp=\"{0}\")\r\n",
                "A".repeat(64)
            ),
        };
        text.into_bytes()
    }

    fn inside(&self, who: &Speaker<'_>, other: &str) -> Vec<u8> {
        let (n, own) = (who.number, who.idc.as_str());
        let forced = |n, idc: &str| format!("RSIP {n} *@{idc} MGCP 1.0\r\nRM: forced\r\n");
        let text = match who.bits % 4 {
            // Another's gateway out of service, alone and behind something of its own.
            0 => forced(n, other),
            1 => format!("NTFY {n} aaln/1@{own} MGCP 1.0\r\nX: 0b\r\nO: L/hd\r\n.\r\n{}", forced(n + 1, other)),
            // Another's telephone.
            2 => format!("NTFY {n} aaln/1@{other} MGCP 1.0\r\nX: 0b\r\nO: L/hd\r\n"),
            // A step.
            _ => return self.claim(who, "sp1.example.test"),
        };
        text.into_bytes()
    }
}
