//! SIP as a terminal speaks it.

mod inside;
mod text;

// What a terminal of any protocol has, under the names that owners of SIP terminals know.
pub use crate::endpoint::{Path, Tally, Transmit, Why};
pub use crate::event::{Active, Event, Step};
pub use crate::failure::{Blame, Failure};
pub use crate::profile::{MECHS, Profile, ProfileError, Transport};

use crate::agent::{Agent, Ctx, Env, Reading};
use crate::endpoint::Endpoint;
use core::net::SocketAddr;
use inside::{Inside, Kind};
use portunus_codec::{Full, Writer, hex_u64};
use portunus_keydist::steps::{Refusal, S1, S7};
use portunus_keydist::{Key, Random};
use portunus_signalling::{Protocol, Text};
use portunus_sip::carriage::terminal::{self as carriage, Answer, Txn, read_answer, terms_kept, write_s1, write_s7};
use std::sync::Arc;

const SIP: Protocol = Protocol::Sip;
/// Longest message that a terminal writes, octets.
const MESSAGE_MAX: usize = 4_096;

/// A SIP terminal's part: its transactions, requests and dialogs.
pub struct Sip {
    cseq: u32,
    /// Random part of the Call-ID of every REGISTER of this terminal, and of its From tag.
    call: u64,
    /// CSeq and branch of the s1 or s7 written last.
    txn: (u32, [u8; 23]),
    inside: Inside,
}

impl core::fmt::Debug for Sip {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sip(CSeq {})", self.cseq)
    }
}

/// A terminal that speaks SIP.
pub type SipTerminal = Endpoint<Sip>;

impl SipTerminal {
    /// A terminal at rest. `None` when `idc` is not an IDc or the profile's proxy name not an IDsp.
    ///
    /// `local` is the address that it is reached at (Via and Contact). `tag` begins every Call-ID that it makes, so
    /// that an owner of many terminals behind one socket finds the right one ([`call_id_tag`]).
    pub fn new(
        profile: Arc<Profile>,
        idc: &str,
        key: &Key,
        local: SocketAddr,
        tag: u32,
        rng: &mut dyn Random,
    ) -> Option<Self> {
        Self::with(Sip::new(rng), profile, idc, key, local, tag)
    }
}

/// The owner's tag in a message's Call-ID, read without parsing the rest: for terminals that share a socket.
pub fn call_id_tag(message: &[u8]) -> Option<u32> {
    text::call_id_tag(message)
}

/// A branch: the magic cookie of RFC 3261 and sixteen random digits.
fn branch(bits: u64) -> [u8; 23] {
    let mut out = *b"z9hG4bK0000000000000000";
    if let Some(digits) = out.get_mut(7..) {
        digits.copy_from_slice(&hex_u64(bits));
    }
    out
}

fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Option<Vec<u8>> {
    let mut room = [0u8; MESSAGE_MAX];
    let mut w = Writer::new(&mut room);
    write(&mut w).ok()?;
    w.finish().ok()?;
    Some(w.written().to_vec())
}

/// Writes a message that begins with the terminal's own names; `None` when it is longer than [`MESSAGE_MAX`].
fn compose(
    env: &Env<'_>,
    call: u64,
    cseq: u32,
    branch: &[u8; 23],
    write: impl FnOnce(&carriage::Agent<'_>, &Txn<'_>, &mut Writer<'_>) -> Result<(), Full>,
) -> Option<Vec<u8>> {
    let agent = carriage::Agent {
        idc: env.idc,
        realm: &env.profile.realm,
        registrar: &env.profile.registrar,
        local: env.local,
        transport: env.carrier,
        contact: &text::contact(env.idc.as_str(), env.local, env.profile.transport),
        call_id: &text::call_id(env.tag, call),
        from_tag: &format!("{:08x}", call as u32),
    };
    let txn = Txn { cseq, branch: core::str::from_utf8(branch).ok()? };
    written(|w| write(&agent, &txn, w))
}

impl Sip {
    /// A terminal's part at rest.
    pub fn new(rng: &mut dyn Random) -> Self {
        Self { cseq: 0, call: rng.next_u64(), txn: (0, branch(0)), inside: Inside::default() }
    }

    fn next_txn(&mut self, rng: &mut dyn Random) -> (u32, [u8; 23]) {
        // RFC 3261 section 8.1.1.5: less than 2^31.
        self.cseq = (self.cseq + 1) & 0x7fff_ffff;
        (self.cseq, branch(rng.next_u64()))
    }
}

impl Agent for Sip {
    fn protocol(&self) -> Protocol {
        SIP
    }

    fn write_s1(&mut self, env: &Env<'_>, rng: &mut dyn Random, s1: &S1<'_>) -> Option<Vec<u8>> {
        self.txn = self.next_txn(rng);
        compose(env, self.call, self.txn.0, &self.txn.1, |agent, txn, w| {
            write_s1(agent, txn, env.profile.expires_s, s1, w)
        })
    }

    fn write_s7(&mut self, env: &Env<'_>, rng: &mut dyn Random, s7: &S7<'_>) -> Option<Vec<u8>> {
        self.txn = self.next_txn(rng);
        compose(env, self.call, self.txn.0, &self.txn.1, |agent, txn, w| {
            write_s7(agent, txn, env.profile.expires_s, s7, w)
        })
    }

    fn read<'m>(&mut self, env: &Env<'_>, message: &'m [u8], _text: &'m mut Text, _reply: &mut Vec<u8>) -> Reading<'m> {
        let Ok(reply) = read_answer(message) else { return Reading::Nothing };
        let own = reply.branch == self.txn.1
            && reply.cseq == self.txn.0
            && reply.call_id == text::call_id(env.tag, self.call).as_bytes();
        if !own {
            return Reading::Nothing;
        }
        let status = Some(reply.status);
        match reply.answer {
            Answer::Provisional => Reading::Noted,
            Answer::Challenge(s6) => Reading::Challenge(s6),
            Answer::Cookie { n1, ts, cookie } => Reading::Cookie { n1, ts, cookie },
            Answer::Stale { n1, ts } => Reading::Refused { n1, refusal: Refusal::Stale { ts }, status },
            Answer::Refused(refusal) => Reading::Refused { n1: None, refusal, status },
            Answer::Key { s10, mac, mac_value: _ } => {
                let contact = text::contact(env.idc.as_str(), env.local, env.profile.transport);
                let expires_s = terms_kept(message, &contact, env.profile.expires_s);
                Reading::Key { s10, mac: mac.into(), expires_s }
            }
            // A 200 without a key, or a digest challenge, answers nothing that this terminal asks.
            Answer::Granted | Answer::Digest { .. } => Reading::Nothing,
        }
    }

    fn on_ended(&mut self, ctx: &mut Ctx<'_>) {
        self.abandon(ctx);
    }

    fn on_inside(&mut self, ctx: &mut Ctx<'_>, message: &[u8]) {
        self.heard(ctx, message);
    }

    fn refresh(&mut self, ctx: &mut Ctx<'_>) {
        if !self.inside.requests.any(|kind| *kind == Kind::Refresh) {
            let expires_s = ctx.env().profile.expires_s;
            self.register_inside(ctx, Kind::Refresh, expires_s);
        }
    }

    fn deregister(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.register_inside(ctx, Kind::Deregister, 0).is_some()
    }

    /// OPTIONS to the registrar's own URI.
    fn probe(&mut self, ctx: &mut Ctx<'_>) -> Option<u32> {
        let registrar = ctx.env().profile.registrar.clone();
        self.request_to(ctx, Kind::Plain, "OPTIONS", &registrar, &[])
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        for request in self.inside.requests.on_timer(ctx) {
            self.unanswered(ctx, &request);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.inside.requests.next_deadline()
    }
}
