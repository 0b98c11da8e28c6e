//! Media gateways that know nothing of PKD1, MGCP and H.248: what they say opens their channel, and then goes through it
//! as it stands, both ways.
//!
//! ```text
//!   gateway                     agent                                   proxy
//!     | RSIP, ServiceChange       |                                       |
//!     |-------------------------->| s1 s6 s7 s10, confirmation            |
//!     |                           |<=====================================>|
//!     |                           | RSIP, ServiceChange, in the channel   |
//!     | 200, Reply                |<=====================================>|
//!     |<--------------------------|                                       |
//! ```
//!
//! The last message of a gateway without a channel waits for it; where none comes of it, it gets its protocol's error.
//! Transactions are the two ends' own business: nothing is repeated here. What takes a gateway out of service ends its
//! session when it was granted.
//!
//! Whom a call agent wants notified (MGCP `N`) is the agent here as far as its gateway knows, and the one that was named
//! as far as the call agent does. Deliberately absent: `ServiceChangeAddress` and `ServiceChangeMgcId` in a controller's
//! reply pass as they are; a gateway that follows them leaves its agent.

use crate::agent::{Agent, Notice};
use crate::phone::{Gateway, Phone};
use crate::registering::SOON_MS;
use crate::way::Flow;
use core::net::SocketAddr;
use portunus_h248::carriage::message::{self, Sender};
use portunus_h248::view::{CommandKind, Kind, Message as H248, Method, Transaction};
use portunus_keydist::{Idc, Now, Random};
use portunus_mgcp::code;
use portunus_mgcp::transaction::{Response, response};
use portunus_mgcp::view::{Message as Mgcp, Name, PARTS_MAX, Parts, Verb};
use portunus_mgcp::write;
use portunus_signalling::{Fault, FaultKind, Protocol};
use portunus_terminal::Failure;

/// Longest that a gateway's message waits for its channel, below the time after which its sender gives it up (T-MAX of
/// RFC 3435 is 20 s).
const HOLD_MS: u64 = 15_000;

/// What an agent reads of a gateway's message.
#[derive(Debug, Default)]
struct Said {
    /// Who says it, where it says so: responses of MGCP do not.
    idc: Option<String>,
    /// It wants an answer.
    request: bool,
    /// The transaction that takes the whole gateway out of service at once.
    leaves: Option<u32>,
}

/// Why a gateway's request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum No {
    /// It is nobody's here, or not from where it may come.
    Stranger,
    /// The proxy does not let it in.
    Denied,
    /// There is no channel now.
    Busy,
}

impl No {
    /// RFC 3435 section 2.4.
    const fn mgcp(self) -> code::Code {
        match self {
            Self::Stranger => code::UNKNOWN_ENDPOINT,
            Self::Denied => code::NOT_READY,
            Self::Busy => code::TRANSIENT,
        }
    }

    /// H.248.8.
    const fn h248(self) -> (u16, &'static str) {
        match self {
            Self::Stranger | Self::Denied => (402, "Unauthorized"),
            Self::Busy => (503, "Service Unavailable"),
        }
    }
}

impl Phone {
    /// When a message that waits for the channel is given up.
    pub(crate) fn waiting_deadline(&self) -> Option<u64> {
        let (_, since_ms) = self.gateway.as_ref()?.waiting.as_ref()?;
        Some(since_ms + HOLD_MS)
    }
}

impl Agent {
    /// Takes a datagram from a gateway.
    pub(crate) fn on_gateway(&mut self, now: Now, rng: &mut dyn Random, flow: Flow, protocol: Protocol, octets: &[u8]) {
        self.counters.from_phones += 1;
        let said = match read(protocol, octets) {
            Ok(said) => said,
            Err(fault) => return self.faulty_gateway(flow, protocol, octets, &fault),
        };
        let Some(n) = self.gateway_of(flow, protocol, said.idc.as_deref()) else {
            self.counters.stranger += 1;
            return self.refuse(flow, protocol, octets, No::Stranger);
        };
        let Some(Phone { terminal, gateway: Some(gateway), .. }) = self.phones.get_mut(n) else { return };
        gateway.flow = Some(flow);
        if terminal.is_active() {
            gateway.leaving = said.leaves.or(gateway.leaving);
            self.gateway_up(n, now, rng, octets);
        } else if said.request {
            let since_ms = gateway.waiting.take().map_or(now.mono_ms, |(_, since_ms)| since_ms);
            gateway.waiting = Some((octets.to_vec(), since_ms));
            terminal.start(now, rng);
            self.attend(n, now, rng);
        } else {
            self.counters.no_channel += 1;
        }
    }

    /// The gateway of this name that may send from there; without a name the one that was heard from there last.
    fn gateway_of(&self, flow: Flow, protocol: Protocol, idc: Option<&str>) -> Option<usize> {
        self.phones.iter().position(|phone| {
            let Some(gateway) = phone.gateway.as_ref().filter(|g| g.protocol == protocol) else { return false };
            let named = match idc {
                Some(idc) => phone.id.eq_ignore_ascii_case(idc),
                None => gateway.flow == Some(flow),
            };
            named && phone.admits(flow.peer.ip())
        })
    }

    fn gateway_up(&mut self, n: usize, now: Now, rng: &mut dyn Random, octets: &[u8]) {
        let gateway = self.phones.get(n).and_then(|p| p.gateway.as_ref());
        let mgcp = gateway.filter(|g| g.protocol == Protocol::Mgcp);
        let own = mgcp.and_then(|g| g.flow).map(|flow| own_name(self.place(flow)));
        let named = mgcp.and_then(|g| g.notified.clone()).zip(own);
        let restored =
            named.map(|(notified, own)| renamed(octets, |value| (value == own.as_bytes()).then(|| notified.clone())));
        self.up(n, now, rng, restored.as_deref().unwrap_or(octets));
    }

    /// A message out of the channel of gateway `n`.
    pub(crate) fn gateway_down(&mut self, n: usize, now: Now, rng: &mut dyn Random, octets: &[u8]) {
        let Some(flow) = self.phones.get(n).and_then(|p| p.gateway.as_ref()?.flow) else {
            self.counters.unreachable += 1;
            return;
        };
        let own = own_name(self.place(flow));
        let Some(Phone { gateway: Some(gateway), .. }) = self.phones.get_mut(n) else { return };
        let told = match gateway.protocol {
            Protocol::Mgcp => renamed(octets, |value| {
                gateway.notified = Some(value.to_vec());
                Some(own.clone().into_bytes())
            }),
            _ => octets.to_vec(),
        };
        let gone = gateway.leaving.is_some_and(|id| is_granted(gateway.protocol, octets, id));
        self.counters.passed_down += 1;
        self.send_down(flow, told);
        if gone && let Some(phone) = self.phones.get_mut(n) {
            phone.wanted = false;
            phone.terminal.come_to_rest(now, rng);
            self.tell(n, Notice::Gone { lapsed: false });
        }
    }

    /// The channel of a gateway is open: what waits for it goes in.
    pub(crate) fn gateway_open(&mut self, n: usize, now: Now, rng: &mut dyn Random) {
        let Some(gateway) = self.phones.get_mut(n).and_then(|p| p.gateway.as_mut()) else { return };
        let Some((octets, _)) = gateway.waiting.take() else { return };
        gateway.leaving = read(gateway.protocol, &octets).ok().and_then(|said| said.leaves);
        self.counters.granted += 1;
        self.gateway_up(n, now, rng, &octets);
    }

    /// An attempt to open a gateway's channel failed, or the channel; false: it is a phone's.
    pub(crate) fn gateway_failed(
        &mut self,
        n: usize,
        now: Now,
        rng: &mut dyn Random,
        why: Failure,
        retry_in_ms: Option<u64>,
    ) -> bool {
        if self.phones.get(n).is_none_or(|p| p.gateway.is_none()) {
            return false;
        }
        match (why, retry_in_ms) {
            (Failure::Denied | Failure::Mechanism | Failure::TooLong, _) => self.refuse_waiting(n, No::Denied),
            (_, Some(ms)) if ms <= SOON_MS => {}
            _ => self.refuse_waiting(n, No::Busy),
        }
        let Some(phone) = self.phones.get_mut(n) else { return true };
        // One that is in service is registered again whether or not it speaks; one that is not asks again itself.
        let waits = phone.gateway.as_ref().is_some_and(|g| g.waiting.is_some());
        let idle = !phone.opened && !phone.wanted && !waits;
        if idle && !phone.terminal.is_active() {
            phone.terminal.come_to_rest(now, rng);
        }
        self.tell(n, Notice::Failed(why, retry_in_ms.filter(|_| !idle)));
        true
    }

    /// Gives up what waits for too long.
    pub(crate) fn waiting_due(&mut self, n: usize, now: Now) {
        if self.phones.get(n).and_then(Phone::waiting_deadline).is_some_and(|at| at <= now.mono_ms) {
            self.refuse_waiting(n, No::Busy);
        }
    }

    fn refuse_waiting(&mut self, n: usize, no: No) {
        let Some(gateway) = self.phones.get_mut(n).and_then(|p| p.gateway.as_mut()) else { return };
        let Gateway { protocol, flow: Some(flow), .. } = *gateway else { return };
        if let Some((octets, _)) = gateway.waiting.take() {
            self.counters.refused += 1;
            self.refuse(flow, protocol, &octets, no);
        }
    }

    fn place(&self, flow: Flow) -> SocketAddr {
        let beside = flow.listener.checked_sub(self.config.listeners.len()).and_then(|n| self.beside.get(n));
        beside.map_or(flow.peer, |(at, _)| *at)
    }

    /// Refuses every request of a message.
    fn refuse(&mut self, flow: Flow, protocol: Protocol, octets: &[u8], no: No) {
        if protocol == Protocol::Mgcp {
            let commands = Parts::new(octets).take(PARTS_MAX).filter_map(|part| Mgcp::parse(part).ok());
            for msg in commands.filter(|msg| msg.command().is_some()) {
                self.answer_mgcp(flow, no.mgcp(), msg.transaction());
            }
            return;
        }
        let Ok(msg) = H248::parse(octets) else { return };
        let name = self.config.profile.idsp.clone();
        let Some(idc) = Idc::new(&name) else { return };
        let (sender, (code, text)) = (Sender { idc, version: msg.version() }, no.h248());
        for t in msg.transactions().filter(|t| t.kind == Kind::Request) {
            if let Some(error) = self.written(|w| message::write_error(&sender, t.id, code, text, w)) {
                self.send_down(flow, error);
            }
        }
    }

    fn answer_mgcp(&mut self, flow: Flow, code: code::Code, transaction: u32) {
        let answer = self.written(|w| {
            write::response(code, transaction, w);
            Ok(())
        });
        if let Some(answer) = answer {
            self.send_down(flow, answer);
        }
    }

    /// What cannot be read: the protocol's own error, where one is due.
    fn faulty_gateway(&mut self, flow: Flow, protocol: Protocol, octets: &[u8], fault: &Fault) {
        let readable = fault.kind != FaultKind::Unreadable;
        *(if readable { &mut self.counters.malformed } else { &mut self.counters.unreadable }) += 1;
        if protocol == Protocol::Mgcp {
            let broken = Parts::new(octets).take(PARTS_MAX).filter(|part| Mgcp::parse(part).is_err());
            for transaction in broken.filter_map(Mgcp::salvage).filter(|_| readable) {
                self.answer_mgcp(flow, code::of(fault), transaction);
            }
            return;
        }
        let name = self.config.profile.idsp.clone();
        let Some(idc) = Idc::new(&name) else { return };
        let sender = Sender { idc, version: 1 };
        if let Some(error) = self.written(|w| message::write_fault(&sender, octets, fault, w).map(|_| ())) {
            self.send_down(flow, error);
        }
    }
}

fn read(protocol: Protocol, octets: &[u8]) -> Result<Said, Fault> {
    if protocol == Protocol::Mgcp { read_mgcp(octets) } else { read_h248(octets) }
}

/// All commands of a datagram are one gateway's; those of another would be refused by its name.
fn read_mgcp(octets: &[u8]) -> Result<Said, Fault> {
    let mut said = Said::default();
    for part in Parts::new(octets).take(PARTS_MAX) {
        let msg = Mgcp::parse(part)?;
        let Some((verb, endpoint)) = msg.command() else { continue };
        let domain = String::from_utf8_lossy(endpoint.domain).into_owned();
        if said.idc.as_ref().is_some_and(|idc| !idc.eq_ignore_ascii_case(&domain)) {
            return Err(Fault { kind: FaultKind::Forbidden, what: code::what::ENDPOINT, at: 0 });
        }
        (said.idc, said.request) = (Some(domain), true);
        let forced = msg.value(Name::RestartMethod).is_some_and(|m| m.eq_ignore_ascii_case(b"forced"));
        if verb == Verb::Rsip && endpoint.is_all() && forced {
            said.leaves = Some(msg.transaction());
        }
    }
    Ok(said)
}

fn read_h248(octets: &[u8]) -> Result<Said, Fault> {
    let msg = H248::parse(octets)?;
    let forced = |t: &Transaction<'_>| {
        t.actions().flat_map(|a| a.commands()).any(|c| {
            let method = || c.services().and_then(|s| s.method());
            c.kind == CommandKind::ServiceChange && c.is_root() && method() == Some(Method::Forced)
        })
    };
    let requests = || msg.transactions().filter(|t| t.kind == Kind::Request);
    let leaves = requests().find(forced).map(|t| t.id);
    // A name that is none is nobody's.
    let idc = msg.mid().idc().map_or_else(String::new, |idc| idc.as_str().to_owned());
    Ok(Said { idc: Some(idc), request: requests().next().is_some(), leaves })
}

/// True for a message that grants this transaction.
fn is_granted(protocol: Protocol, octets: &[u8], id: u32) -> bool {
    if protocol == Protocol::Mgcp {
        let granted = |msg: Mgcp<'_>| {
            msg.transaction() == id && matches!(response(&msg), Some(Response::Final { code: 200..=299, .. }))
        };
        return Parts::new(octets).take(PARTS_MAX).any(|part| Mgcp::parse(part).is_ok_and(granted));
    }
    let granted = |t: Transaction<'_>| t.kind == Kind::Reply && t.id == id && !t.failed();
    H248::parse(octets).is_ok_and(|msg| msg.transactions().any(granted))
}

/// How an agent is named to a gateway in `N` (RFC 3435 section 3.2.1.3).
fn own_name(at: SocketAddr) -> String {
    format!("ca@[{}]:{}", at.ip(), at.port())
}

/// The datagram with other values in its `N` lines, where `other` gives some. No line of a session description begins so.
fn renamed(octets: &[u8], mut other: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + 32);
    for line in octets.split_inclusive(|c| *c == b'\n') {
        let named = line.first_chunk::<2>().is_some_and(|head| head.eq_ignore_ascii_case(b"N:"));
        let value = line.get(2..).filter(|_| named).map(<[u8]>::trim_ascii);
        match value.and_then(&mut other) {
            Some(value) => {
                let end = line.iter().rposition(|c| !matches!(c, b'\r' | b'\n')).map_or(0, |at| at + 1);
                out.extend_from_slice(b"N: ");
                out.extend_from_slice(&value);
                out.extend_from_slice(line.get(end..).unwrap_or_default());
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_notify_is_renamed_and_nothing_else() {
        let rqnt = b"RQNT 1 aaln/1@gw1 MGCP 1.0\r\nn:  ca1@ca.example.test:5678 \r\nX: 1\r\nR: L/hd(N)\r\n";
        let mut was = Vec::new();
        let down = renamed(rqnt, |value| {
            was = value.to_vec();
            Some(own_name(SocketAddr::from(([127, 0, 0, 1], 2728))).into_bytes())
        });
        assert_eq!(was, b"ca1@ca.example.test:5678");
        let expected = "RQNT 1 aaln/1@gw1 MGCP 1.0\r\nN: ca@[127.0.0.1]:2728\r\nX: 1\r\nR: L/hd(N)\r\n";
        assert_eq!(String::from_utf8(down).unwrap(), expected);
        assert_eq!(renamed(rqnt, |_| None), rqnt);
    }
}
