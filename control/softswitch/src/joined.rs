//! A softswitch and its AAA client, joined: questions go over, answers come back, and what is left is messages to
//! send. The same whether the client has sockets ([`crate::run`]) or a simulated network.

use crate::peers::Peer;
use crate::state::{AskId, Effect};
use crate::switch::Softswitch;
use core::net::SocketAddr;
use portunus_aaa::client::Client;
use portunus_aaa::{AaaEvent, AaaRequest, Refused, RequestId, Unreachable};
use portunus_keydist::Now;
use portunus_signalling::Protocol;
use std::collections::{BTreeMap, VecDeque};

/// As much of an AAA client as a softswitch needs.
pub trait Questions {
    /// Asks; exactly one event follows an `Ok`.
    ///
    /// # Errors
    /// [`Refused`]; then nothing follows.
    fn request(&mut self, now: Now, request: AaaRequest) -> Result<RequestId, Refused>;

    /// The next thing that became of a question.
    fn poll_event(&mut self) -> Option<AaaEvent>;
}

impl Questions for Client {
    fn request(&mut self, now: Now, request: AaaRequest) -> Result<RequestId, Refused> {
        Client::request(self, now, request)
    }

    fn poll_event(&mut self) -> Option<AaaEvent> {
        Client::poll_event(self)
    }
}

/// What a [`Witness`] is shown.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// A message from a neighbour.
    Received(Protocol, &'a [u8]),
    /// A message to a neighbour.
    Sent(Protocol, &'a [u8]),
    /// A question to the AuC.
    Asked(&'a AaaRequest),
    /// An answer of the AuC.
    Answered(&'a AaaEvent),
}

/// Looks on, for a demonstration or a capture; decides nothing.
pub type Witness = Box<dyn FnMut(Seen<'_>) + Send>;

/// The two, joined.
pub struct Joined<Q> {
    softswitch: Softswitch,
    aaa: Q,
    open: BTreeMap<RequestId, AskId>,
    effects: Vec<Effect>,
    sends: VecDeque<(Protocol, Peer, Vec<u8>)>,
    left: Vec<(Protocol, SocketAddr)>,
    witness: Option<Witness>,
}

impl<Q> core::fmt::Debug for Joined<Q> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Joined").field("softswitch", &self.softswitch).finish_non_exhaustive()
    }
}

impl<Q: Questions> Joined<Q> {
    /// Joins them.
    pub fn new(softswitch: Softswitch, aaa: Q) -> Self {
        Self {
            softswitch,
            aaa,
            open: BTreeMap::new(),
            effects: Vec::new(),
            sends: VecDeque::new(),
            left: Vec::new(),
            witness: None,
        }
    }

    /// The softswitch, to look at.
    pub fn softswitch(&self) -> &Softswitch {
        &self.softswitch
    }

    /// The client, to look at.
    pub fn aaa_ref(&self) -> &Q {
        &self.aaa
    }

    /// The client, to feed with packets and time; [`Joined::pump`] must follow.
    pub fn aaa(&mut self) -> &mut Q {
        &mut self.aaa
    }

    /// From now on `witness` sees what comes and goes.
    pub fn watch(&mut self, witness: Witness) {
        self.witness = Some(witness);
    }

    fn show(&mut self, seen: Seen<'_>) {
        if let Some(witness) = &mut self.witness {
            witness(seen);
        }
    }

    /// A message from a neighbour.
    pub fn on_message(&mut self, now: Now, protocol: Protocol, from: Peer, bytes: &[u8]) {
        self.show(Seen::Received(protocol, bytes));
        self.softswitch.on_message(now, protocol, from, bytes, &mut self.effects);
        self.pump(now);
    }

    /// Time has passed, for the softswitch; the client has a clock of its own.
    pub fn on_timer(&mut self, now: Now) {
        self.softswitch.on_timer(now, &mut self.effects);
        self.pump(now);
    }

    /// When [`Joined::on_timer`] has something to do, monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.softswitch.next_deadline()
    }

    /// The next message to send.
    pub fn poll_send(&mut self) -> Option<(Protocol, Peer, Vec<u8>)> {
        self.sends.pop_front()
    }

    /// The next lane whose port towards others nothing is said by any more; to be asked once [`Joined::poll_send`] has
    /// nothing.
    pub fn poll_left(&mut self) -> Option<(Protocol, SocketAddr)> {
        self.left.pop()
    }

    /// Carries questions and answers over until there are none.
    pub fn pump(&mut self, now: Now) {
        loop {
            for effect in core::mem::take(&mut self.effects) {
                match effect {
                    Effect::Send { protocol, to, bytes } => {
                        self.show(Seen::Sent(protocol, &bytes));
                        if let Peer::Behind(lane, _) = to {
                            self.left.retain(|left| *left != (protocol, lane));
                        }
                        self.sends.push_back((protocol, to, bytes));
                    }
                    Effect::Leave(protocol, lane) => self.left.push((protocol, lane)),
                    Effect::Ask { id, request } => {
                        self.show(Seen::Asked(&request));
                        match self.aaa.request(now, request) {
                            Ok(request) => {
                                self.open.insert(request, id);
                            }
                            // Nothing follows a refusal: this is what became of it.
                            Err(_) => self.softswitch.on_aaa(now, id, Err(Unreachable), &mut self.effects),
                        }
                    }
                }
            }
            while let Some(event) = self.aaa.poll_event() {
                self.show(Seen::Answered(&event));
                if let Some(id) = self.open.remove(&event.id) {
                    self.softswitch.on_aaa(now, id, event.outcome, &mut self.effects);
                }
            }
            if self.effects.is_empty() {
                return;
            }
        }
    }
}
