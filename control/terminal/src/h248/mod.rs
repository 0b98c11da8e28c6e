//! H.248 text as a media gateway speaks it: one terminal, with its terminations behind it.

mod inside;
mod terminations;

use crate::agent::{Agent, Ctx, Env, Reading, Tag};
use crate::endpoint::Endpoint as Terminal;
use inside::Purpose;
use portunus_codec::{Full, Writer};
use portunus_h248::carriage::message::{self, Sender};
use portunus_h248::carriage::terminal::{self as carriage, FromProxy};
use portunus_h248::view::Method;
use portunus_keydist::params::BUSY_RETRY_S;
use portunus_keydist::steps::{Refusal, S1, S7};
use portunus_keydist::{Idc, Now, Random};
use portunus_signalling::{Protocol, Text};
use std::collections::VecDeque;
use terminations::Terminations;

const H248_TEXT: Protocol = Protocol::H248;
/// Longest message that a gateway writes, octets: the names of hundreds of terminations.
const MESSAGE_MAX: usize = 8_192;
/// The version of the protocol that a gateway speaks.
const VERSION: u8 = 2;
/// Terminations of a gateway that nobody said anything else about.
const TERMINATIONS: u16 = 2;
/// Replies kept for repetitions of their requests.
const REPLIES_MAX: usize = 32;

/// A gateway's part: transactions, its terminations, and what its controller wants to hear.
pub struct H248 {
    /// The transaction of the request written last.
    transaction: u32,
    /// That of the s1 or s7 written last.
    step: Option<u32>,
    terminations: Terminations,
    /// The inactivity that the controller wants to hear of (package `it`, H.248.14).
    inactivity: Option<Inactivity>,
    requests: crate::requests::Requests<u32, Purpose>,
    /// Transaction, when it was replied to (monotonic milliseconds), and how.
    replies: VecDeque<(u32, u64, Vec<u8>)>,
}

/// After how long without a message of ours the controller wants to hear so.
#[derive(Debug, Clone, Copy)]
struct Inactivity {
    /// The request identifier.
    request: u32,
    every_ms: u64,
    due_ms: u64,
}

impl core::fmt::Debug for H248 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "H248({} terminations)", self.terminations.count())
    }
}

/// A terminal that speaks H.248.
pub type H248Terminal = Terminal<H248>;

impl H248Terminal {
    /// The subscriber at a termination, `aaln/1` and so on, lifts or puts down the receiver; the controller is told where
    /// it asked for that. The number that [`crate::Event::Response`] will bear; `None`: nobody asked, there is no such
    /// termination, or no session.
    pub fn hook(&mut self, now: Now, rng: &mut dyn Random, termination: &str, lifted: bool) -> Option<u32> {
        self.call(now, rng, |h248, ctx| h248.hook(ctx, termination, lifted))
    }

    /// Says that the service of a termination changes, or of the gateway where it is `ROOT` (H.248.1 section 7.2.8).
    /// `reason` begins with its code, e.g. `904 Termination malfunctioning`, and holds no quotation mark; `delay_s`
    /// after how many seconds. `None`: there is no session, or the method is an extension.
    pub fn service_change(
        &mut self,
        now: Now,
        rng: &mut dyn Random,
        termination: &str,
        method: Method,
        reason: &str,
        delay_s: Option<u32>,
    ) -> Option<u32> {
        self.call(now, rng, |h248, ctx| {
            h248.service_change(ctx, termination, method, (reason, delay_s), Purpose::Plain)
        })
    }
}

fn written(f: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Option<Vec<u8>> {
    let mut room = [0u8; MESSAGE_MAX];
    let mut w = Writer::new(&mut room);
    f(&mut w).ok()?;
    w.finish().ok()?;
    Some(w.written().to_vec())
}

fn sender(idc: Idc<'_>) -> Sender<'_> {
    Sender { idc, version: VERSION }
}

impl H248 {
    /// A gateway's part at rest, with two terminations, `aaln/1` and `aaln/2`. Transaction ids begin anywhere, so that a
    /// gateway that restarts does not repeat the last ones; the steps that it awaits bear its N1.
    pub fn new(_tag: u32, rng: &mut dyn Random) -> Self {
        Self {
            transaction: rng.next_u64() as u32,
            step: None,
            terminations: Terminations::new(TERMINATIONS),
            inactivity: None,
            requests: crate::requests::Requests::default(),
            replies: VecDeque::new(),
        }
    }

    /// The same with `aaln/1` to `aaln/count`, at least one.
    #[must_use]
    pub fn with_terminations(mut self, count: u16) -> Self {
        self.terminations = Terminations::new(count.max(1));
        self
    }

    fn next_transaction(&mut self) -> u32 {
        // 0 stands for all transactions where acknowledgements are concerned.
        self.transaction = self.transaction.wrapping_add(1).max(1);
        self.transaction
    }

    /// What a reply to the s1 or s7 under way says.
    fn on_receipt(&self, transaction: u32, error: Option<u16>) -> Reading<'static> {
        if self.step != Some(transaction) {
            return Reading::Nothing;
        }
        match error {
            None => Reading::Noted,
            Some(code) => refused(code),
        }
    }
}

fn refused(code: u16) -> Reading<'static> {
    let refusal = match code {
        400..=401 | 403..=499 => Refusal::Malformed,
        500..=599 => Refusal::Busy { retry_after_s: BUSY_RETRY_S },
        _ => Refusal::Denied,
    };
    Reading::Refused { n1: None, refusal, status: Some(code) }
}

/// Which of several terminals behind one socket an unprotected message is for.
pub(crate) fn tag_of(message: &[u8]) -> Option<Tag> {
    let (id, said) = carriage::read(message).ok()?;
    Some(match said {
        FromProxy::Challenge(s6) => Tag::N1(s6.n1),
        FromProxy::Key { s10, .. } => Tag::N1(s10.n1),
        FromProxy::Cookie { n1, .. } => Tag::N1(n1),
        FromProxy::Refused { n1, .. } => Tag::N1(n1?),
        FromProxy::Reply { .. } | FromProxy::Pending(_) => Tag::Transaction(id),
        FromProxy::Error(_) | FromProxy::Request => return None,
    })
}

impl Agent for H248 {
    fn protocol(&self) -> Protocol {
        H248_TEXT
    }

    fn write_s1(&mut self, env: &Env<'_>, _rng: &mut dyn Random, s1: &S1<'_>) -> Option<Vec<u8>> {
        let id = self.next_transaction();
        self.step = Some(id);
        written(|w| carriage::write_s1(&sender(env.idc), id, s1, w))
    }

    fn write_s7(&mut self, env: &Env<'_>, _rng: &mut dyn Random, s7: &S7<'_>) -> Option<Vec<u8>> {
        let id = self.next_transaction();
        self.step = Some(id);
        written(|w| carriage::write_s7(&sender(env.idc), id, s7, w))
    }

    fn transaction(&self) -> Option<u32> {
        self.step
    }

    fn read<'m>(&mut self, env: &Env<'_>, message: &'m [u8], _text: &'m mut Text, reply: &mut Vec<u8>) -> Reading<'m> {
        let from = sender(env.idc);
        let (id, said) = match carriage::read(message) {
            Ok(read) => read,
            Err(fault) => {
                let answer = written(|w| message::write_fault(&from, message, &fault, w).map(|_| ()));
                reply.extend(answer.into_iter().flatten());
                return Reading::Nothing;
            }
        };
        let reading = match said {
            FromProxy::Challenge(s6) => Reading::Challenge(s6),
            FromProxy::Cookie { n1, ts, cookie } => Reading::Cookie { n1, ts, cookie },
            FromProxy::Refused { n1, refusal } => Reading::Refused { n1, refusal, status: None },
            FromProxy::Key { s10, mac, mac_value: _ } => Reading::Key { s10, mac, expires_s: Some(0) },
            FromProxy::Reply { id, error } => return self.on_receipt(id, error),
            FromProxy::Pending(id) => return self.on_receipt(id, None),
            FromProxy::Error(code) if self.step.is_some() => return refused(code),
            // Nothing else is obeyed, or answered, outside a session.
            FromProxy::Error(_) | FromProxy::Request => return Reading::Nothing,
        };
        reply.extend(written(|w| carriage::write_step_reply(&from, id, w)).into_iter().flatten());
        reading
    }

    fn on_active(&mut self, _ctx: &mut Ctx<'_>) {
        self.step = None;
    }

    fn on_ended(&mut self, ctx: &mut Ctx<'_>) {
        self.abandon(ctx);
    }

    fn on_inside(&mut self, ctx: &mut Ctx<'_>, message: &[u8]) {
        self.heard(ctx, message);
    }

    /// A gateway's registration lives as long as its session, in which the controller audits it.
    fn refresh(&mut self, ctx: &mut Ctx<'_>) {
        ctx.refreshed(0);
    }

    /// The gateway out of service at once.
    fn deregister(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let why = ("905 Termination taken out of service", None);
        self.service_change(ctx, "ROOT", Method::Forced, why, Purpose::Deregister).is_some()
    }

    /// The receiver of the first termination, lifted and put down in turn.
    fn probe(&mut self, ctx: &mut Ctx<'_>) -> Option<u32> {
        self.lift_in_turn(ctx)
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        for request in self.requests.on_timer(ctx) {
            self.unanswered(ctx, &request);
        }
        self.say_inactive(ctx);
    }

    fn next_deadline(&self) -> Option<u64> {
        let inactivity = self.inactivity.map(|i| i.due_ms);
        [self.requests.next_deadline(), inactivity].into_iter().flatten().min()
    }
}
