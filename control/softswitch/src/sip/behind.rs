//! Registrars of somebody else's, which know nothing of any of this: an authenticated registration goes to one as an
//! ordinary one, and what it answers is what the terminal gets.
//!
//! ```text
//!   s8, word right ──► REGISTER: Path by us, P-Asserted-Identity ──► 2xx: bindings change, s9, s11
//!   vouched refresh        │ ▲                                  ├──► 4xx, 6xx: the terminal's answer
//!                          │ └─ another registrar ◄─────────────┴─── silence, 408, 502 to 504: the next, else 503
//!   time ──► OPTIONS ──► any answer but 408 and 503: it is up │ silence: it is down, after some
//! ```
//!
//! The registration is written anew: nothing of PKD1 is in it, and of the terminal only its names, its Call-ID and its
//! CSeq. Contact and the lower Path are the proxy's, which finds the terminal by them. What else terminals and registrar
//! ask of each other is relayed without memory (`relay`).

use super::answers::Status;
use super::register::Granting;
use super::relay::is_our_via;
use crate::agent::Ctx;
use crate::commands::Commands;
use crate::peers::Peer;
use crate::state::Core;
use crate::uri::equivalent;
use core::net::SocketAddr;
use portunus_codec::{Full, Writer, hex_u64};
use portunus_keydist::ident::Idc;
use portunus_keydist::timing::Repeat;
use portunus_signalling::Protocol;
use portunus_sip::carriage::core::read_register;
use portunus_sip::view::uri::put_idc_uri;
use portunus_sip::view::{Message, Name, Via};

/// Timer E of RFC 3261 section 17.1.2.2.
const GAPS_MS: &[u32] = &[500, 1_000, 2_000, 4_000];
/// How our branches begin, before the transaction's number and what only we can write.
const COOKIE: &[u8] = b"z9hG4bK";

/// What a request of ours was for.
enum Purpose {
    Register(Box<Pending>),
    /// A sign of life of this registrar's.
    Probe(usize),
}

/// A registration that waits for a registrar.
struct Pending {
    granting: Granting,
    /// Whom it was put to.
    tried: Vec<usize>,
    /// When nobody waits for it any more, monotonic milliseconds.
    until_ms: u64,
}

/// The requests to registrars.
pub(super) struct Behind {
    commands: Commands<Purpose>,
    answer_within_ms: u32,
    patience_ms: u64,
}

impl Behind {
    /// `None` where there are none.
    pub(super) fn new(core: &mut Core) -> Option<Self> {
        if core.config.behind.registrars.is_empty() {
            return None;
        }
        let health = core.config.behind.health;
        let (answer_within_ms, patience_ms) = (health.answer_within_ms, health.patience_ms);
        let schedule = Repeat { gaps_ms: GAPS_MS, give_up_ms: answer_within_ms };
        let commands = Commands::new(1..=u32::MAX, schedule, core.config.limits.commands, &mut *core.random);
        Some(Self { commands, answer_within_ms, patience_ms })
    }

    /// Puts an authenticated registration to the registrar of its terminal.
    pub(super) fn register(&mut self, ctx: &mut Ctx<'_>, granting: Granting) {
        ctx.core.counters.registrar_asked += 1;
        let until_ms = ctx.now.mono_ms + self.patience_ms;
        self.attempt(ctx, Box::new(Pending { granting, tried: Vec::new(), until_ms }));
    }

    /// The next one that is up is asked; where there is none, or no time left, the terminal is told to come again.
    fn attempt(&mut self, ctx: &mut Ctx<'_>, mut pending: Box<Pending>) {
        let in_time =
            ctx.now.mono_ms + u64::from(self.answer_within_ms) <= pending.until_ms || pending.tried.is_empty();
        let full = self.commands.is_full();
        ctx.core.counters.command_full += u64::from(full);
        let id = self.commands.id();
        let written = (in_time && !full).then(|| registration(ctx.core, &mut pending, id)).flatten();
        let Some((to, bytes)) = written else {
            ctx.core.counters.registrar_none += 1;
            let busy = ctx.core.busy();
            return ctx.core.turned_down(ctx.now, &pending.granting, &busy, ctx.out);
        };
        self.commands.send(ctx, id, to, bytes, Purpose::Register(pending));
    }

    /// Takes an answer to a request of ours; false: it is none.
    pub(super) fn answered(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) -> bool {
        let Some(id) = own_transaction(ctx.core, msg) else { return false };
        let status = msg.status();
        if status < 200 {
            self.commands.pending(ctx.now, id, from, self.answer_within_ms);
            return true;
        }
        match self.commands.answered(ctx, id, from) {
            Some(Purpose::Probe(nth)) => {
                sign(ctx.core, nth, !matches!(status, 408 | 503));
                ctx.core.upstreams[Protocol::Sip].probed(ctx.now.mono_ms, nth);
            }
            Some(Purpose::Register(pending)) => self.on_answer(ctx, pending, msg),
            None => {}
        }
        true
    }

    fn on_answer(&mut self, ctx: &mut Ctx<'_>, pending: Box<Pending>, msg: &Message<'_>) {
        let counters = &mut ctx.core.counters;
        let status = match msg.status() {
            200..=299 => {
                counters.registrar_granted += 1;
                let most_s = granted(&pending.granting, msg);
                return ctx.core.granted(ctx.now, &pending.granting, most_s, ctx.out);
            }
            // It cannot: another one may.
            408 | 502..=504 => {
                counters.registrar_failover += 1;
                return self.attempt(ctx, pending);
            }
            // It asks for what nobody here has, or sends elsewhere: its configuration's fault, not the terminal's.
            300..=399 | 401 | 407 => {
                counters.registrar_distrusts += 1;
                ctx.core.busy()
            }
            code => {
                counters.registrar_refused += 1;
                let status = Status::new(code, &String::from_utf8_lossy(msg.reason()));
                match msg.value(Name::MinExpires).map(String::from_utf8_lossy) {
                    Some(least) if code == 423 => status.with("Min-Expires", &least),
                    _ => status,
                }
            }
        };
        ctx.core.turned_down(ctx.now, &pending.granting, &status, ctx.out);
    }

    /// Repeats what is due, gives up who is silent, and asks for signs of life.
    pub(super) fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        for purpose in self.commands.on_timer(ctx) {
            match purpose {
                Purpose::Probe(nth) => {
                    sign(ctx.core, nth, false);
                    ctx.core.upstreams[Protocol::Sip].probed(ctx.now.mono_ms, nth);
                }
                Purpose::Register(pending) => {
                    pending.tried.last().iter().for_each(|nth| sign(ctx.core, **nth, false));
                    ctx.core.counters.registrar_failover += 1;
                    self.attempt(ctx, pending);
                }
            }
        }
        while let Some(nth) = ctx.core.upstreams[Protocol::Sip].take_due(ctx.now.mono_ms) {
            let id = self.commands.id();
            let written = question(ctx.core, nth, id);
            let asked = written.is_some_and(|(to, bytes)| self.commands.send(ctx, id, to, bytes, Purpose::Probe(nth)));
            if !asked {
                ctx.core.upstreams[Protocol::Sip].probed(ctx.now.mono_ms, nth);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.commands.next_deadline()
    }
}

/// A sign of life of a registrar's, or of none.
fn sign(core: &mut Core, nth: usize, up: bool) {
    let turned = if up { core.upstreams[Protocol::Sip].heard(nth) } else { core.upstreams[Protocol::Sip].silent(nth) };
    let counters = &mut core.counters;
    *(if up { &mut counters.registrar_up } else { &mut counters.registrar_down }) += u64::from(turned);
}

/// The branch of a request of ours: its number, and what shows that it is ours.
fn branch(core: &Core, id: u32) -> Vec<u8> {
    let mark = core.keyed.parts(6, &[&id.to_be_bytes()]);
    [COOKIE, format!("{id:08x}").as_bytes(), &hex_u64(mark)].concat()
}

/// The number of the request of ours that this answers: our Via is its only one.
fn own_transaction(core: &Core, msg: &Message<'_>) -> Option<u32> {
    let mut vias = msg.items(Name::Via).map(Via::parse);
    let (own, below) = (vias.next()??, vias.next());
    let made = own.branch().filter(|_| below.is_none() && is_our_via(core, &own))?;
    let number = made.strip_prefix(COOKIE).and_then(|rest| core::str::from_utf8(rest.get(..8)?).ok())?;
    let id = u32::from_str_radix(number, 16).ok()?;
    (made == branch(core, id)).then_some(id)
}

/// The first lines of a request of ours.
fn begin((own, branch): (SocketAddr, &[u8]), method: &str, uri: &[u8], w: &mut Writer<'_>) {
    w.text(method).put(b" ").put(uri).put(b" SIP/2.0\r\nVia: SIP/2.0/UDP ").text(&own.to_string());
    w.put(b";rport;branch=").put(branch).put(b"\r\nMax-Forwards: 70\r\n");
}

/// An ordinary REGISTER for the registrar that comes next, which is noted.
fn registration(core: &mut Core, pending: &mut Pending, id: u32) -> Option<(Peer, Vec<u8>)> {
    // It was read when it came.
    let msg = Message::parse(&pending.granting.request).ok()?;
    let idc = read_register(&msg).ok()?.idc;
    let nth = core.upstreams[Protocol::Sip].choose(idc.as_bytes(), &pending.tried)?;
    let to = Peer::Udp(core.upstreams[Protocol::Sip].address(nth)?);
    pending.tried.push(nth);
    let (own, branch) = (core.config.own, branch(core, id));
    let bytes = core.write(|w| put_registration((own, &branch), &msg, idc, w))?;
    Some((to, bytes))
}

fn put_registration(
    (own, branch): (SocketAddr, &[u8]),
    msg: &Message<'_>,
    idc: Idc<'_>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    begin((own, branch), "REGISTER", msg.uri(), w);
    for (line, tag) in [("From: <", msg.from().tag()), ("To: <", None), ("P-Asserted-Identity: <", None)] {
        w.text(line);
        put_idc_uri(idc, w);
        w.put(b">").put(if tag.is_some() { b";tag=" } else { b"" }).put(tag.unwrap_or_default()).put(b"\r\n");
    }
    w.put(b"Call-ID: ").put(msg.call_id()).put(b"\r\nCSeq: ").decimal(msg.cseq().0.into());
    w.put(b" REGISTER\r\nPath: <sip:").text(&own.to_string()).put(b";lr>\r\n");
    for (name, line) in [(Name::Path, "Path: "), (Name::Contact, "Contact: ")] {
        for value in msg.values(name) {
            w.text(line).put(value).put(b"\r\n");
        }
    }
    if let Some(seconds) = msg.expires() {
        w.put(b"Expires: ").decimal(seconds.into()).put(b"\r\n");
    }
    w.put(b"Supported: path\r\nContent-Length: 0\r\n\r\n");
    Ok(())
}

/// OPTIONS: are you there (RFC 3261 section 11).
fn question(core: &mut Core, nth: usize, id: u32) -> Option<(Peer, Vec<u8>)> {
    let address = core.upstreams[Protocol::Sip].address(nth)?;
    let (own, branch, realm) = (core.config.own, branch(core, id), core.config.realm.clone());
    let call = hex_u64(core.random.next_u64());
    let bytes = core.write(|w| {
        begin((own, &branch), "OPTIONS", format!("sip:{address}").as_bytes(), w);
        w.put(b"From: <sip:").text(&realm).put(b">;tag=").put(&call).put(b"\r\nTo: <sip:").text(&address.to_string());
        w.put(b">\r\nCall-ID: up-").put(&call).put(b"\r\nCSeq: 1 OPTIONS\r\nContact: <sip:").text(&own.to_string());
        w.put(b">\r\nContent-Length: 0\r\n\r\n");
        Ok(())
    })?;
    Some((Peer::Udp(address), bytes))
}

/// The seconds that a registrar granted to what was asked for: to its Contact, or to all; else what was asked.
fn granted(granting: &Granting, answer: &Message<'_>) -> u32 {
    let Ok(msg) = Message::parse(&granting.request) else { return 0 };
    let asked = msg.contacts().next();
    let own = asked.and_then(|asked| answer.contacts().find(|a| equivalent(a.uri, asked.uri)));
    own.and_then(|a| answer.contact_expires(&a)).or_else(|| answer.expires()).unwrap_or(u32::MAX)
}
