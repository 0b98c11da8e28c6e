//! MGCP as a gateway speaks it: one terminal, with its endpoints behind it.

mod inside;
mod lines;

use crate::agent::{Agent, Ctx, Env, Reading, Tag};
use crate::endpoint::Endpoint as Terminal;
use inside::Purpose;
use lines::Lines;
use portunus_codec::Writer;
use portunus_keydist::params::BUSY_RETRY_S;
use portunus_keydist::steps::{Refusal, S1, S7};
use portunus_keydist::{Now, Random};
use portunus_mgcp::carriage::terminal::{self as carriage, Answer};
use portunus_mgcp::code;
use portunus_mgcp::view::{Endpoint, Message, TRANSACTION_MAX};
use portunus_mgcp::write;
use portunus_signalling::{FaultKind, Protocol, Text};
use std::collections::VecDeque;

const MGCP: Protocol = Protocol::Mgcp;
/// Longest datagram that a gateway writes, octets: the names of hundreds of endpoints.
const DATAGRAM_MAX: usize = 8_192;
/// Endpoints of a gateway that nobody said anything else about.
const ENDPOINTS: u16 = 2;
/// Answers kept for repetitions of their commands.
const ANSWERS_MAX: usize = 32;

/// A gateway's part: transactions, the challenge under way, its endpoints.
pub struct Mgcp {
    /// The transaction of the command written last.
    transaction: u32,
    /// That of the s1 or s7 written last.
    step: Option<u32>,
    /// Local name and request identifier of the challenge read last: s7 is written under them.
    challenge: Option<Box<(String, Vec<u8>)>>,
    /// True once it was registered: what it says of itself from then on is `disconnected`, not `restart`.
    served: bool,
    lines: Lines,
    requests: crate::requests::Requests<u32, Purpose>,
    /// Transaction, when it was answered (monotonic milliseconds), and how.
    answers: VecDeque<(u32, u64, Vec<u8>)>,
}

impl core::fmt::Debug for Mgcp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Mgcp({} endpoints)", self.lines.count())
    }
}

/// A terminal that speaks MGCP.
pub type MgcpTerminal = Terminal<Mgcp>;

impl MgcpTerminal {
    /// An endpoint's subscriber lifts or puts down the receiver; the call agent is told where it asked for that. The
    /// number that [`crate::Event::Response`] will bear; `None`: nobody asked, there is no such endpoint, or no session.
    pub fn hook(&mut self, now: Now, rng: &mut dyn Random, local: &str, lifted: bool) -> Option<u32> {
        self.call(now, rng, |mgcp, ctx| mgcp.hook(ctx, local, lifted))
    }

    /// Says that endpoints restart (RFC 3435 section 2.3.12): `local` is one of them or `*`, `method` one of `restart`,
    /// `forced`, `graceful`, `cancel-graceful` and `disconnected`, and `delay_s` after how many seconds. Returns as
    /// [`MgcpTerminal::hook`].
    pub fn restart(
        &mut self,
        now: Now,
        rng: &mut dyn Random,
        local: &str,
        method: &str,
        delay_s: Option<u32>,
    ) -> Option<u32> {
        self.call(now, rng, |mgcp, ctx| mgcp.restart(ctx, local, method, delay_s, Purpose::Plain))
    }
}

fn written(f: impl FnOnce(&mut Writer<'_>)) -> Option<Vec<u8>> {
    let mut room = [0u8; DATAGRAM_MAX];
    let mut w = Writer::new(&mut room);
    f(&mut w);
    w.finish().ok()?;
    Some(w.written().to_vec())
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

impl Mgcp {
    /// A gateway's part at rest, with two endpoints, `aaln/1` and `aaln/2`. Transaction ids begin anywhere, so that a
    /// gateway that restarts does not repeat the last ones; the steps that it awaits bear its N1.
    pub fn new(_tag: u32, rng: &mut dyn Random) -> Self {
        Self {
            transaction: 1 + (rng.next_u64() % u64::from(TRANSACTION_MAX)) as u32,
            step: None,
            challenge: None,
            served: false,
            lines: Lines::new(ENDPOINTS),
            requests: crate::requests::Requests::default(),
            answers: VecDeque::new(),
        }
    }

    /// The same with `aaln/1` to `aaln/count`, at least one.
    #[must_use]
    pub fn with_endpoints(mut self, count: u16) -> Self {
        self.lines = Lines::new(count.max(1));
        self
    }

    fn next_transaction(&mut self) -> u32 {
        self.transaction = if self.transaction >= TRANSACTION_MAX { 1 } else { self.transaction + 1 };
        self.transaction
    }

    /// What a response to the s1 or s7 under way says.
    fn on_response(&self, code: code::Code, transaction: u32) -> Reading<'static> {
        if self.step != Some(transaction) {
            return Reading::Nothing;
        }
        let refused = |refusal| Reading::Refused { n1: None, refusal, status: Some(code) };
        match code {
            0..=399 => Reading::Noted,
            400..=499 => refused(Refusal::Busy { retry_after_s: BUSY_RETRY_S }),
            code::PROTOCOL_ERROR => refused(Refusal::Malformed),
            _ => refused(Refusal::Denied),
        }
    }
}

/// Which of several terminals behind one socket an unprotected message is for.
pub(crate) fn tag_of(message: &[u8]) -> Option<Tag> {
    if let Some((_, transaction)) = carriage::read_response(message) {
        return Some(Tag::Transaction(transaction));
    }
    let reply = carriage::read(message).ok()??;
    Some(Tag::N1(match reply.answer {
        Answer::Challenge(s6) => s6.n1,
        Answer::Key { s10, .. } => s10.n1,
        Answer::Cookie { n1, .. } | Answer::Refused { n1, .. } => n1,
    }))
}

impl Agent for Mgcp {
    fn protocol(&self) -> Protocol {
        MGCP
    }

    fn write_s1(&mut self, _env: &Env<'_>, _rng: &mut dyn Random, s1: &S1<'_>) -> Option<Vec<u8>> {
        let transaction = self.next_transaction();
        self.step = Some(transaction);
        let method = if self.served { "disconnected" } else { "restart" };
        written(|w| _ = carriage::write_s1(transaction, "*", method, s1, w))
    }

    fn write_s7(&mut self, _env: &Env<'_>, _rng: &mut dyn Random, s7: &S7<'_>) -> Option<Vec<u8>> {
        let transaction = self.next_transaction();
        self.step = Some(transaction);
        let challenge = self.challenge.as_deref()?;
        let endpoint = Endpoint { local: challenge.0.as_bytes(), domain: s7.idc.as_bytes() };
        written(|w| _ = carriage::write_s7(transaction, &endpoint, &challenge.1, s7, w))
    }

    fn transaction(&self) -> Option<u32> {
        self.step
    }

    fn read<'m>(&mut self, env: &Env<'_>, message: &'m [u8], _text: &'m mut Text, reply: &mut Vec<u8>) -> Reading<'m> {
        if let Some((code, transaction)) = carriage::read_response(message) {
            return self.on_response(code, transaction);
        }
        let mut respond =
            |code, transaction| reply.extend(written(|w| write::response(code, transaction, w)).into_iter().flatten());
        let step = match carriage::read(message) {
            Ok(Some(step)) => step,
            // Nothing else is obeyed, or answered, outside a session.
            Ok(None) => return Reading::Nothing,
            Err(fault) => {
                if let Some(transaction) = Message::salvage(message).filter(|_| fault.kind != FaultKind::Unreadable) {
                    respond(code::of(&fault), transaction);
                }
                return Reading::Nothing;
            }
        };
        if step.endpoint.domain != env.idc.as_bytes() {
            respond(code::UNKNOWN_ENDPOINT, step.transaction);
            return Reading::Nothing;
        }
        respond(code::OK, step.transaction);
        match step.answer {
            Answer::Challenge(s6) => {
                self.challenge = Some(Box::new((text(step.endpoint.local), step.x.to_vec())));
                Reading::Challenge(s6)
            }
            Answer::Cookie { n1, ts, cookie } => Reading::Cookie { n1, ts, cookie },
            Answer::Refused { n1, refusal } => Reading::Refused { n1: Some(n1), refusal, status: None },
            Answer::Key { s10, mac, mac_value: _ } => {
                // Under the MAC stands what the proxy understood: the endpoint that answered.
                let asked = self.challenge.as_deref().map(|(local, _)| local.as_bytes());
                let kept = asked.is_some_and(|local| local.eq_ignore_ascii_case(step.endpoint.local));
                Reading::Key { s10, mac, expires_s: kept.then_some(0) }
            }
        }
    }

    fn on_active(&mut self, _ctx: &mut Ctx<'_>) {
        self.served = true;
        self.step = None;
        self.challenge = None;
    }

    fn on_ended(&mut self, ctx: &mut Ctx<'_>) {
        self.abandon(ctx);
    }

    fn on_inside(&mut self, ctx: &mut Ctx<'_>, message: &[u8]) {
        self.heard(ctx, message);
    }

    /// A gateway's registration lives as long as its session, in which the call agent audits it.
    fn refresh(&mut self, ctx: &mut Ctx<'_>) {
        ctx.refreshed(0);
    }

    /// All endpoints out of service at once.
    fn deregister(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.restart(ctx, "*", "forced", None, Purpose::Deregister).is_some()
    }

    /// The receiver of the first endpoint, lifted and put down in turn.
    fn probe(&mut self, ctx: &mut Ctx<'_>) -> Option<u32> {
        let lifted = !self.lines.is_lifted(1);
        self.notify(ctx, 1, lifted)
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        for request in self.requests.on_timer(ctx) {
            self.unanswered(ctx, &request);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.requests.next_deadline()
    }
}
