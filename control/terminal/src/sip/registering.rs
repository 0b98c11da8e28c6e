//! s1, s7 and their answers as SIP, and the confirmation of the key.

use super::event::{Active, Event, Step};
use super::failure::Failure;
use super::session::Session;
use super::{Path, Profile, SipTerminal, text};
use core::net::SocketAddr;
use core::ops::Range;
use portunus_channel::Mechanism as _;
use portunus_channel::sealed::{NO_PROTOCOL, Sealed};
use portunus_codec::{Full, Writer, hex_u64};
use portunus_keydist::steps::{Refusal, S1, S6, S10};
use portunus_keydist::terminal::{KeyMessage, Next, Reject, Todo};
use portunus_keydist::{Idc, N1, Now, Random};
use portunus_sip::carriage::terminal::{Agent, Answer, Txn, read_answer, terms_kept, write_s1, write_s7};

/// The sealed header's number for SIP.
pub(super) const SIP: u8 = 1;
/// Longest message that a terminal writes, octets.
pub(super) const MESSAGE_MAX: usize = 4_096;

/// The s1 or s7 that an answer is awaited for.
pub(super) struct Pending {
    step: u8,
    cseq: u32,
    branch: [u8; 23],
    octets: Vec<u8>,
}

/// What all messages of a terminal have in common, spelled out.
pub(super) struct Spelled {
    pub(super) contact: String,
    call_id: String,
    from_tag: String,
}

/// A branch: the magic cookie of RFC 3261 and sixteen random digits.
pub(super) fn branch(bits: u64) -> [u8; 23] {
    let mut out = *b"z9hG4bK0000000000000000";
    if let Some(digits) = out.get_mut(7..) {
        digits.copy_from_slice(&hex_u64(bits));
    }
    out
}

/// Writes a message that begins with the terminal's own names; `None` when it is longer than [`MESSAGE_MAX`].
pub(super) fn compose(
    profile: &Profile,
    idc: Idc<'_>,
    local: SocketAddr,
    spelled: &Spelled,
    cseq: u32,
    branch: &[u8; 23],
    write: impl FnOnce(&Agent<'_>, &Txn<'_>, &mut Writer<'_>) -> Result<(), Full>,
) -> Option<Vec<u8>> {
    let agent = Agent {
        idc,
        realm: &profile.realm,
        registrar: &profile.registrar,
        local,
        transport: profile.transport,
        contact: &spelled.contact,
        call_id: &spelled.call_id,
        from_tag: &spelled.from_tag,
    };
    let txn = Txn { cseq, branch: core::str::from_utf8(branch).ok()? };
    let mut room = [0u8; MESSAGE_MAX];
    let mut w = Writer::new(&mut room);
    write(&agent, &txn, &mut w).ok()?;
    w.finish().ok()?;
    Some(w.written().to_vec())
}

fn compose_s1(
    profile: &Profile,
    local: SocketAddr,
    spelled: &Spelled,
    cseq: u32,
    branch: &[u8; 23],
    s1: &S1<'_>,
) -> Option<Vec<u8>> {
    compose(profile, s1.idc, local, spelled, cseq, branch, |agent, txn, w| {
        write_s1(agent, txn, profile.expires_s, s1, w)
    })
}

impl SipTerminal {
    /// Registers, unless a registration is under way. The terminal goes on trying by itself, with back-off, until it is
    /// active, and keeps its session alive from then on.
    pub fn start(&mut self, now: Now, rng: &mut dyn Random) {
        self.stopped = false;
        if self.pending.is_none() && self.provisional.is_none() {
            self.failures_in_row = 0;
            self.begin(now, rng);
        }
    }

    /// Sends s1.
    pub(super) fn begin(&mut self, now: Now, rng: &mut dyn Random) {
        self.began_ms = now.mono_ms;
        self.provisional = None;
        let spelled = self.spelled();
        let (cseq, branch) = self.next_txn(rng);
        let s1 = self.machine.start(now, rng);
        let octets = compose_s1(&self.profile, self.local, &spelled, cseq, &branch, &s1);
        self.ask(now, 1, cseq, branch, octets);
        self.step(now, Step::S1);
    }

    pub(super) fn spelled(&self) -> Spelled {
        Spelled {
            contact: text::contact(self.idc(), self.local, self.profile.transport),
            call_id: text::call_id(self.tag, self.call),
            from_tag: format!("{:08x}", self.call as u32),
        }
    }

    pub(super) fn next_txn(&mut self, rng: &mut dyn Random) -> (u32, [u8; 23]) {
        // RFC 3261 section 8.1.1.5: less than 2^31.
        self.cseq = (self.cseq + 1) & 0x7fff_ffff;
        (self.cseq, branch(rng.next_u64()))
    }

    fn ask(&mut self, now: Now, step: u8, cseq: u32, branch: [u8; 23], octets: Option<Vec<u8>>) {
        let Some(octets) = octets else {
            return self.failed(now, Failure::TooLong);
        };
        self.send(Path::Signalling, self.profile.server, octets.clone());
        self.pending = Some(Box::new(Pending { step, cseq, branch, octets }));
    }

    /// Takes an answer to the pending s1 or s7; false: it is none.
    pub(super) fn on_answer(&mut self, now: Now, rng: &mut dyn Random, message: &[u8]) -> bool {
        let Ok(reply) = read_answer(message) else { return false };
        let Some(pending) = &self.pending else { return false };
        let own = reply.branch == pending.branch
            && reply.cseq == pending.cseq
            && reply.call_id == text::call_id(self.tag, self.call).as_bytes();
        if !own {
            return false;
        }
        match reply.answer {
            Answer::Provisional => {}
            Answer::Challenge(s6) => self.on_challenge(now, rng, &s6),
            Answer::Cookie { n1, ts, cookie } => self.on_cookie(now, rng, &n1, ts, cookie),
            Answer::Stale { n1, ts } => {
                self.step(now, Step::Stale);
                self.on_refusal(now, rng, n1, &Refusal::Stale { ts }, reply.status);
            }
            Answer::Refused(refusal) => self.on_refusal(now, rng, None, &refusal, reply.status),
            Answer::Key { s10, mac, mac_value: _ } => self.on_key(now, rng, message, s10, mac.into()),
            // A 200 without a key, or a digest challenge, answers nothing that this terminal asks.
            Answer::Granted | Answer::Digest { .. } => return false,
        }
        true
    }

    fn on_challenge(&mut self, now: Now, rng: &mut dyn Random, s6: &S6<'_>) {
        self.step(now, Step::S6);
        let (spelled, (cseq, branch)) = (self.spelled(), self.next_txn(rng));
        let octets = match self.machine.on_challenge(now, rng, s6) {
            Ok(s7) => compose(&self.profile, s7.idc, self.local, &spelled, cseq, &branch, |agent, txn, w| {
                write_s7(agent, txn, self.profile.expires_s, &s7, w)
            }),
            Err(reject) => return self.rejected(now, reject),
        };
        self.ask(now, 7, cseq, branch, octets);
        self.step(now, Step::S7);
    }

    fn on_cookie(&mut self, now: Now, rng: &mut dyn Random, n1: &N1, ts: u64, cookie: &[u8]) {
        self.step(now, Step::Cookie);
        let (spelled, (cseq, branch)) = (self.spelled(), self.next_txn(rng));
        let octets = match self.machine.on_cookie(now, rng, n1, ts, cookie) {
            Ok(s1) => compose_s1(&self.profile, self.local, &spelled, cseq, &branch, &s1),
            Err(reject) => return self.rejected(now, reject),
        };
        self.ask(now, 1, cseq, branch, octets);
        self.step(now, Step::S1);
    }

    fn on_refusal(&mut self, now: Now, rng: &mut dyn Random, n1: Option<N1>, refusal: &Refusal, status: u16) {
        let (spelled, (cseq, branch)) = (self.spelled(), self.next_txn(rng));
        let octets = match self.machine.on_refusal(now, rng, n1.as_ref(), refusal) {
            Ok(Next::Send(s1)) => compose_s1(&self.profile, self.local, &spelled, cseq, &branch, &s1),
            Ok(Next::Wait { .. }) => return self.failed(now, Failure::of_refusal(refusal, status)),
            Err(reject) => return self.rejected(now, reject),
        };
        self.ask(now, 1, cseq, branch, octets);
        self.step(now, Step::S1);
    }

    fn on_key(&mut self, now: Now, rng: &mut dyn Random, message: &[u8], s10: S10<'_>, mac_field: Range<usize>) {
        let contact = self.spelled().contact;
        let expires = terms_kept(message, &contact, self.profile.expires_s);
        let key = KeyMessage { s10, message, mac_field, terms_kept: expires.is_some() };
        let established = match self.machine.on_key(now, rng, &key) {
            Ok(established) => established,
            Err(reject) => return self.rejected(now, reject),
        };
        self.pending = None;
        self.step(now, Step::S10);
        let (Some(kid), Some(port)) = (established.sel.kid(), established.sel.port()) else {
            // A mechanism that was offered although this terminal has no room for it: the profile's doing.
            self.machine.stop();
            return self.failed(now, Failure::Mechanism);
        };
        let keys = Sealed::derive(&established.secret, &self.machine.traffic_ctx(&established));
        let to = SocketAddr::new(self.profile.server.ip(), port);
        let expires_s = expires.unwrap_or_default();
        self.provisional = Some(Box::new(Session::new(kid, keys, to, established.life_s, expires_s)));
        self.keyed_after_ms = now.mono_ms.saturating_sub(self.began_ms);
        self.events.push_back(Event::Keyed { kid });
        self.confirm(now, Step::Confirm);
    }

    /// One protected message without content.
    fn confirm(&mut self, now: Now, step: Step) {
        let sealed = self.provisional.as_mut().and_then(|s| Some((s.to, s.seal(NO_PROTOCOL, &[])?)));
        if let Some((to, octets)) = sealed {
            self.send(Path::Sealed, to, octets);
            self.step(now, step);
        }
    }

    /// Takes a sealed datagram; false when no session of this terminal verifies it.
    pub(super) fn on_sealed(&mut self, now: Now, rng: &mut dyn Random, kid: u64, datagram: &mut [u8]) -> bool {
        let newest = self.provisional.as_ref().is_some_and(|s| s.kid == kid);
        let session = if newest { &mut self.provisional } else { &mut self.session };
        let Some(heard) = session.as_mut().and_then(|s| s.open(now.mono_ms, datagram)) else {
            return false;
        };
        let (protocol, text) = (heard.protocol, heard.text);
        if newest {
            self.confirmed(now, rng);
        }
        self.heard();
        if protocol == SIP {
            self.on_inside(now, rng, text);
        }
        true
    }

    /// Something protected verified under the new key: it replaces the old one.
    fn confirmed(&mut self, now: Now, rng: &mut dyn Random) {
        self.machine.on_protected(now, rng);
        let Some(mut session) = self.provisional.take() else { return };
        session.refreshed(now.mono_ms, session.expires_s, rng);
        let active = Active {
            kid: session.kid,
            life_s: session.life_s,
            expires_s: session.expires_s,
            keyed_after_ms: self.keyed_after_ms,
            active_after_ms: now.mono_ms.saturating_sub(self.began_ms),
        };
        if let Some(old) = self.session.replace(session) {
            self.events.push_back(Event::Forget { kid: old.kid });
        }
        self.failures_in_row = 0;
        self.tally.activations += 1;
        self.step(now, Step::Confirmed);
        self.events.push_back(Event::Active(active));
    }

    fn rejected(&mut self, now: Now, reject: Reject) {
        if reject.ends_attempt() {
            self.failed(now, Failure::Rejected(reject));
        } else {
            self.tally.ignored += 1;
        }
    }

    /// The attempt came to nothing; the role machine backs off, and this says so.
    pub(super) fn failed(&mut self, now: Now, why: Failure) {
        self.forget_registration();
        self.tally.failures += 1;
        self.failures_in_row += 1;
        let most = self.profile.attempts_max;
        self.stopped = why == Failure::TooLong || (most != 0 && self.failures_in_row >= most);
        if self.stopped && self.session.is_none() {
            self.machine.stop();
        }
        let next = self.machine.next_deadline().map(|(at, _)| at.saturating_sub(now.mono_ms));
        self.events.push_back(Event::Failed { why, retry_in_ms: next.filter(|_| !self.stopped) });
    }

    /// What the role machine's clock asks for.
    pub(super) fn registering_due(&mut self, now: Now, rng: &mut dyn Random) {
        while let Some(todo) = self.machine.on_timer(now, rng) {
            match todo {
                Todo::Repeat => self.repeat(now),
                Todo::Confirm => {
                    self.tally.repeated += 1;
                    self.confirm(now, Step::Again);
                }
                Todo::GaveUp(why) => {
                    let step = self.pending.as_ref().map_or(1, |p| p.step);
                    self.failed(now, Failure::of_machine(why, step));
                }
                // The last session lives to its end, and nothing follows it.
                Todo::Start if self.stopped => {}
                Todo::Start => self.begin(now, rng),
                Todo::SessionEnded => self.forget_session(),
            }
        }
    }

    fn repeat(&mut self, now: Now) {
        if let Some(pending) = &self.pending {
            let octets = pending.octets.clone();
            self.tally.repeated += 1;
            self.send(Path::Signalling, self.profile.server, octets);
            self.step(now, Step::Again);
        }
    }

    /// Whatever was under way: answers to it, and its key, are worth nothing any more.
    pub(super) fn forget_registration(&mut self) {
        self.pending = None;
        if let Some(gone) = self.provisional.take() {
            self.events.push_back(Event::Forget { kid: gone.kid });
        }
    }

    pub(super) fn forget_session(&mut self) {
        self.heard();
        if let Some(gone) = self.session.take() {
            self.events.push_back(Event::Forget { kid: gone.kid });
        }
    }

    /// The connection to the proxy could not be opened, or was lost while an answer was awaited: the attempt failed.
    pub fn on_connection_lost(&mut self, now: Now, rng: &mut dyn Random) {
        if self.pending.is_some() {
            // As a busy proxy that names no time: back-off, and then afresh over a new connection.
            let _ = self.machine.on_refusal(now, rng, None, &Refusal::Busy { retry_after_s: 0 });
            self.failed(now, Failure::Connection);
        }
    }
}
