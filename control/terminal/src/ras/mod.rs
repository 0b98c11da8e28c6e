//! H.323 RAS as an endpoint speaks it: one terminal, which is one endpoint.

mod inside;

use crate::agent::{Agent, Ctx, Env, Reading, Tag};
use crate::endpoint::Endpoint as Terminal;
use core::net::SocketAddr;
use inside::Purpose;
use portunus_codec::{Full, Writer};
use portunus_h323::carriage::terminal::{self as carriage, Answer, Reply};
use portunus_h323::view::Message;
use portunus_h323::write::Endpoint;
use portunus_keydist::steps::{Refusal, S1, S7};
use portunus_keydist::{Now, Random};
use portunus_signalling::{Protocol, Text};

const RAS: Protocol = Protocol::Ras;
/// Longest message that an endpoint writes, octets.
const MESSAGE_MAX: usize = 4_096;
/// The port at which an endpoint takes calls (H.225.0).
const CALL_SIGNALLING: u16 = 1720;
/// What an endpoint says that it is.
const PRODUCT: &str = "Portunus";

/// An endpoint's part: request numbers, and what its gatekeeper calls it.
pub struct Ras {
    /// The number of the request written last, 1 to 65,535.
    seq: u16,
    /// That of the s1 or s7 written last.
    step: Option<u16>,
    /// endpointIdentifier of the s10 that was accepted last, and that of the active session.
    granted: Box<str>,
    id: Box<str>,
    requests: crate::requests::Requests<u16, Purpose>,
}

impl core::fmt::Debug for Ras {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Ras(endpoint {:?})", self.id)
    }
}

/// A terminal that speaks RAS.
pub type RasTerminal = Terminal<Ras>;

impl RasTerminal {
    /// Asks for admission to call `alias`; once that is granted the call is over, for there is none. The number that
    /// [`crate::Event::Response`] will bear; `None`: there is no session, or too much under way.
    pub fn admission(&mut self, now: Now, rng: &mut dyn Random, alias: &str) -> Option<u32> {
        self.call(now, rng, |ras, ctx| ras.admission(ctx, alias))
    }

    /// Asks where `alias` is. Returns as [`RasTerminal::admission`].
    pub fn locate(&mut self, now: Now, rng: &mut dyn Random, alias: &str) -> Option<u32> {
        self.call(now, rng, |ras, ctx| ras.locate(ctx, alias))
    }
}

fn written(f: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Option<Vec<u8>> {
    let mut room = [0u8; MESSAGE_MAX];
    let mut w = Writer::new(&mut room);
    f(&mut w).ok()?;
    w.finish().ok()?;
    Some(w.written().to_vec())
}

/// Lends what an endpoint says of itself.
fn described<R>(env: &Env<'_>, f: impl FnOnce(&Endpoint<'_>) -> R) -> R {
    let signal = SocketAddr::new(env.local.ip(), CALL_SIGNALLING);
    f(&Endpoint { aliases: &[env.idc.as_str()], ras: env.local, signal, product: PRODUCT })
}

/// The time to live that is asked for, seconds.
fn asked_s(env: &Env<'_>) -> u32 {
    env.profile.expires_s.max(1)
}

impl Ras {
    /// An endpoint's part at rest. Request numbers begin anywhere, so that an endpoint that restarts does not repeat the
    /// last ones; the steps that it awaits bear its N1.
    pub fn new(_tag: u32, rng: &mut dyn Random) -> Self {
        Self {
            seq: rng.next_u64() as u16,
            step: None,
            granted: Box::default(),
            id: Box::default(),
            requests: crate::requests::Requests::default(),
        }
    }

    fn next_seq(&mut self) -> u16 {
        self.seq = self.seq.wrapping_add(1).max(1);
        self.seq
    }
}

/// Which of several terminals behind one socket an unprotected message is for.
pub(crate) fn tag_of(message: &[u8]) -> Option<Tag> {
    let mut text = Text::default();
    let Reply { seq, answer, .. } = carriage::read_answer(message, &mut text).ok()?;
    Some(match answer {
        Answer::Challenge(s6) => Tag::N1(s6.n1),
        Answer::Key { s10, .. } => Tag::N1(s10.n1),
        Answer::Cookie { n1, .. } | Answer::Stale { n1, .. } => Tag::N1(n1),
        Answer::Refused(_) | Answer::Provisional(_) => Tag::Transaction(seq.into()),
        Answer::Granted(_) => return None,
    })
}

impl Agent for Ras {
    fn protocol(&self) -> Protocol {
        RAS
    }

    fn write_s1(&mut self, env: &Env<'_>, _rng: &mut dyn Random, s1: &S1<'_>) -> Option<Vec<u8>> {
        let seq = self.next_seq();
        self.step = Some(seq);
        described(env, |e| written(|w| carriage::write_s1(e, seq, s1, w)))
    }

    fn write_s7(&mut self, env: &Env<'_>, _rng: &mut dyn Random, s7: &S7<'_>) -> Option<Vec<u8>> {
        let seq = self.next_seq();
        self.step = Some(seq);
        described(env, |e| written(|w| carriage::write_s7(e, seq, asked_s(env), s7, w)))
    }

    fn transaction(&self) -> Option<u32> {
        self.step.map(u32::from)
    }

    fn read<'m>(&mut self, env: &Env<'_>, message: &'m [u8], text: &'m mut Text, _reply: &mut Vec<u8>) -> Reading<'m> {
        // Nothing else is obeyed, or answered, outside a session.
        let Ok(Reply { seq, names, answer, .. }) = carriage::read_answer(message, text) else {
            return Reading::Nothing;
        };
        // A token that is for somebody else decides nothing here, whoever sent it. That another proxy's challenge or key ends
        // the attempt is the role machine's to say; its cookie or clock is not even looked at.
        let (for_me, from_proxy) =
            names.map_or((true, true), |(idc, idsp)| (idc == env.idc, idsp.as_str() == env.profile.idsp));
        let judged_later = matches!(answer, Answer::Challenge(_) | Answer::Key { .. });
        if self.step != Some(seq) || !for_me || !(from_proxy || judged_later) {
            return Reading::Nothing;
        }
        match answer {
            Answer::Provisional(delay_ms) => Reading::Progress(delay_ms),
            Answer::Challenge(s6) => Reading::Challenge(s6),
            Answer::Cookie { n1, ts, cookie } => Reading::Cookie { n1, ts, cookie },
            Answer::Stale { n1, ts } => Reading::Refused { n1: Some(n1), refusal: Refusal::Stale { ts }, status: None },
            Answer::Refused(refusal) => Reading::Refused { n1: None, refusal, status: None },
            Answer::Key { s10, mac } => {
                let expires_s = carriage::terms_kept(message, &[env.idc.as_str()], asked_s(env));
                Reading::Key { s10, mac: mac.field, expires_s }
            }
            // Whoever grants a registration without a key is not the proxy.
            Answer::Granted(_) => Reading::Nothing,
        }
    }

    fn on_keyed(&mut self, message: &[u8]) {
        self.granted = identifier(message).unwrap_or_default();
    }

    fn on_active(&mut self, _ctx: &mut Ctx<'_>) {
        self.step = None;
        self.id = core::mem::take(&mut self.granted);
    }

    fn on_ended(&mut self, ctx: &mut Ctx<'_>) {
        self.abandon(ctx);
    }

    fn on_inside(&mut self, ctx: &mut Ctx<'_>, message: &[u8]) {
        self.heard(ctx, message);
    }

    /// A lightweight registration.
    fn refresh(&mut self, ctx: &mut Ctx<'_>) {
        self.keep_alive(ctx);
    }

    fn deregister(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.leave(ctx)
    }

    /// Admission to call itself.
    fn probe(&mut self, ctx: &mut Ctx<'_>) -> Option<u32> {
        let own = ctx.env().idc.as_str().to_owned();
        self.admission(ctx, &own)
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

/// endpointIdentifier of a message.
fn identifier(message: &[u8]) -> Option<Box<str>> {
    // 128 units of UTF-16 at most.
    let mut room = [0u8; 3 * 128];
    let len = Message::parse(message).ok()?.endpoint_id()?.put(&mut room)?;
    core::str::from_utf8(room.get(..len)?).ok().map(Into::into)
}
