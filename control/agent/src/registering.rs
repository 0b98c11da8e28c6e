//! REGISTER of phones: each waits for the channel, and is answered by what becomes of it.
//!
//! ```text
//!   no channel:  REGISTER held -> PKD1 -> active  -> 200        refused -> 403, busy or silent -> 503, Retry-After
//!   channel:     REGISTER held -> refresh inside  -> 200
//!   expires 0:   REGISTER held -> ended inside    -> 200
//!   not renewed in time:          ended inside
//! ```

use crate::agent::{Agent, Notice};
use crate::passing::Said;
use crate::phone::{Answered, Bound, Held, Phone, Wish};
use crate::way::{Flow, reached, top};
use portunus_keydist::{Now, Random};
use portunus_sip::carriage::core::Granted;
use portunus_sip::view::{Message, Uri};
use portunus_terminal::Failure;

/// When a held REGISTER is answered 100: a server of a request that is not INVITE says so when timer E of its client
/// has grown to T2 and not before (RFC 4320 section 4.1).
const TRYING_MS: u64 = 3_500;
/// Longest that a REGISTER is held, below timer F of its client (32 s).
const HOLD_MS: u64 = 20_000;
/// What a failed attempt is followed by so soon that the phone need not hear of it.
pub(crate) const SOON_MS: u64 = 2_000;
/// Retry-After where nobody said one, seconds.
const RETRY_AFTER_S: u32 = 30;
/// A phone that is late by so much is still registered.
const GRACE_MS: u64 = 2_000;

impl Phone {
    pub(crate) fn registering_deadline(&self) -> Option<u64> {
        let held = self.held.as_ref().map(|h| h.since_ms + if h.trying { HOLD_MS } else { TRYING_MS });
        [held, self.bound.as_ref().map(|b| b.until_ms)].into_iter().flatten().min()
    }
}

/// What a REGISTER asks for; `Ok(None)`: what is registered. Of several Contacts the first that is to stay counts: one
/// identity has one phone here.
fn wish(msg: &Message<'_>, most_s: u32) -> Result<Option<Wish>, &'static str> {
    if msg.contact_star() {
        return if msg.expires() == Some(0) { Ok(Some(Wish::Unbind)) } else { Err("Malformed Expires") };
    }
    let asked = |c: &portunus_sip::view::Addr<'_>| msg.contact_expires(c).unwrap_or(most_s);
    let mut contacts = msg.contacts().peekable();
    if contacts.peek().is_none() {
        return Ok(None);
    }
    match contacts.find(|c| asked(c) > 0) {
        None => Ok(Some(Wish::Unbind)),
        Some(c) if Uri::parse(c.uri).is_none() => Err("Malformed Contact"),
        Some(c) => Ok(Some(Wish::Bind { contact: c.uri.to_vec(), expires_s: asked(&c).min(most_s) })),
    }
}

impl Agent {
    /// A REGISTER of phone `n`.
    pub(crate) fn register(&mut self, n: usize, now: Now, rng: &mut dyn Random, flow: Flow, msg: &Message<'_>) {
        let most_s = self.config.profile.expires_s;
        let Some(phone) = self.phones.get_mut(n) else { return };
        if phone.held.as_ref().is_some_and(|h| Message::parse(&h.request).is_ok_and(|held| top(&held) == top(msg))) {
            return;
        }
        if let Some(octets) = phone.answered.as_ref().filter(|a| a.via == top(msg)).map(|a| a.octets.clone()) {
            return self.send_down(flow, octets);
        }
        match wish(msg, most_s) {
            Ok(Some(wish)) => self.hold(n, now, rng, flow, msg, wish),
            Ok(None) => self.query(n, now, flow, msg),
            Err(reason) => {
                self.counters.malformed += 1;
                self.answer(flow, msg, &Said::status(400, reason));
            }
        }
    }

    /// A REGISTER without Contact asks what is registered.
    fn query(&mut self, n: usize, now: Now, flow: Flow, msg: &Message<'_>) {
        let bound = self.phones.get(n).and_then(|p| p.bound.as_ref());
        let held = bound.map(|b| (b.contact.clone(), (b.until_ms.saturating_sub(now.mono_ms) / 1000) as u32));
        let bindings: Vec<_> = held.iter().map(|(uri, expires)| Granted { uri, expires: *expires }).collect();
        self.answer(flow, msg, &Said { bindings: &bindings, ..Said::status(200, "OK") });
    }

    fn hold(&mut self, n: usize, now: Now, rng: &mut dyn Random, flow: Flow, msg: &Message<'_>, wish: Wish) {
        let Some(phone) = self.phones.get_mut(n) else { return };
        let unbind = wish == Wish::Unbind;
        // One that waited already is the phone's older wish: it has given that up.
        let request = msg.octets().to_vec();
        phone.held = Some(Held { flow, request, wish, since_ms: now.mono_ms, trying: false });
        if unbind {
            let was = phone.bound.take().is_some();
            self.close(n, now, rng);
            if was {
                self.tell(n, Notice::Gone { lapsed: false });
            }
        } else if !phone.terminal.refresh(now, rng) {
            phone.terminal.start(now, rng);
        }
        self.attend(n, now, rng);
    }

    /// Ends a phone's registration in its channel, or what there is of one.
    pub(crate) fn close(&mut self, n: usize, now: Now, rng: &mut dyn Random) {
        let Some(phone) = self.phones.get_mut(n) else { return };
        phone.wanted = false;
        if !phone.terminal.deregister(now, rng) {
            phone.terminal.come_to_rest(now, rng);
        }
    }

    /// Answers the REGISTER that waits, where one does.
    fn answer_held(&mut self, n: usize, said: &Said<'_>) {
        let Some(held) = self.phones.get_mut(n).and_then(|p| p.held.take()) else { return };
        *(if said.status == 200 { &mut self.counters.granted } else { &mut self.counters.refused }) += 1;
        // It was read once; it can be read again.
        let Ok(msg) = Message::parse(&held.request) else { return };
        let Some(octets) = self.answer(held.flow, &msg, said) else { return };
        if let Some(phone) = self.phones.get_mut(n) {
            phone.answered = Some(Answered { via: top(&msg).to_vec(), octets });
        }
    }

    /// The channel is open, with so many seconds granted.
    pub(crate) fn channel_open(&mut self, n: usize, now: Now, expires_s: u32) {
        let Some(phone) = self.phones.get_mut(n) else { return };
        let Some(Held { flow, wish: Wish::Bind { contact, expires_s: asked }, .. }) = &phone.held else { return };
        let (granted, contact) = ((*asked).min(expires_s).max(1), contact.clone());
        let until_ms = now.mono_ms + u64::from(granted) * 1000 + GRACE_MS;
        let peer = if flow.stream.is_some() { flow.peer } else { reached(&contact, flow.peer) };
        phone.bound = Some(Bound { flow: Flow { peer, ..*flow }, contact: contact.clone(), until_ms });
        let bindings = [Granted { uri: &contact, expires: granted }];
        self.answer_held(n, &Said { bindings: &bindings, ..Said::status(200, "OK") });
        self.tell(n, Notice::Registered(granted));
    }

    /// An attempt to open the channel, or the channel, failed.
    pub(crate) fn channel_failed(
        &mut self,
        n: usize,
        now: Now,
        rng: &mut dyn Random,
        why: Failure,
        retry_in_ms: Option<u64>,
    ) {
        if self.gateway_failed(n, now, rng, why, retry_in_ms) {
            return;
        }
        match (why, retry_in_ms) {
            (Failure::Denied | Failure::Mechanism | Failure::TooLong, _) => {
                self.answer_held(n, &Said::status(403, "Forbidden"));
            }
            (_, Some(ms)) if ms <= SOON_MS => {}
            (_, retry) => {
                let seconds = retry.map_or(RETRY_AFTER_S, |ms| u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX));
                self.answer_held(n, &Said::busy(seconds));
            }
        }
        let Some(phone) = self.phones.get_mut(n) else { return };
        // Nobody is there to try for: the phone's next REGISTER begins again.
        let idle = phone.bound.is_none() && phone.held.is_none() && !phone.wanted;
        if idle && !phone.terminal.is_active() {
            phone.terminal.come_to_rest(now, rng);
        }
        self.tell(n, Notice::Failed(why, retry_in_ms.filter(|_| !idle)));
    }

    /// The session has ended in order.
    pub(crate) fn channel_closed(&mut self, n: usize, now: Now, rng: &mut dyn Random) {
        let Some(phone) = self.phones.get_mut(n) else { return };
        let unbinds = phone.held.as_ref().is_some_and(|h| h.wish == Wish::Unbind);
        if phone.held.is_some() && !unbinds {
            // It registered again while the end of the last registration was under way.
            phone.terminal.start(now, rng);
        }
        if let Some(gateway) = phone.gateway.as_mut() {
            gateway.leaving = None;
            if gateway.waiting.is_some() {
                phone.terminal.start(now, rng);
            }
        }
        if core::mem::take(&mut phone.opened) {
            self.tell(n, Notice::Closed);
        }
        if unbinds {
            self.answer_held(n, &Said::status(200, "OK"));
        }
    }

    /// The core refused to end the registration.
    pub(crate) fn not_closed(&mut self, n: usize) {
        if self.phones.get(n).and_then(|p| p.held.as_ref()).is_some_and(|h| h.wish == Wish::Unbind) {
            self.answer_held(n, &Said::busy(RETRY_AFTER_S));
        }
    }

    /// What is due of a phone's registration.
    pub(crate) fn registering_due(&mut self, n: usize, now: Now, rng: &mut dyn Random) {
        let Some(phone) = self.phones.get_mut(n) else { return };
        let waited = phone.held.as_ref().map_or(0, |h| now.mono_ms.saturating_sub(h.since_ms));
        if waited >= HOLD_MS {
            self.answer_held(n, &Said::busy(RETRY_AFTER_S));
        } else if waited >= TRYING_MS
            && let Some(held) = phone.held.as_mut().filter(|h| !h.trying)
        {
            held.trying = true;
            let (flow, request) = (held.flow, held.request.clone());
            if let Ok(msg) = Message::parse(&request) {
                self.answer(flow, &msg, &Said::status(100, "Trying"));
            }
        }
        let Some(phone) = self.phones.get_mut(n) else { return };
        if phone.bound.as_ref().is_some_and(|b| b.until_ms <= now.mono_ms) {
            phone.bound = None;
            self.counters.lapsed += 1;
            self.tell(n, Notice::Gone { lapsed: true });
            self.close(n, now, rng);
        }
    }
}
