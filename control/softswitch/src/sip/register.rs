//! REGISTER: the registrar (RFC 3261 section 10.3) and the softswitch's part of PKD1 (spec section 2).
//!
//! ```text
//!   s2 ───────────► s3 to the AuC ──► s4: challenge kept, s5
//!                        │ busy, unreachable: 503
//!   s8, word right ─► bindings change, s9, s11
//!   s8, word wrong ─► s3 again, or the one refusal
//!   vouched refresh ► bindings change, 200, s11
//! ```
//!
//! With registrars of somebody else's behind us, what would change bindings is theirs to grant first: it leaves here as
//! a [`Granting`], and comes back by [`Core::granted`] or [`Core::turned_down`] (`behind`).

use super::answers::Status;
use crate::challenges::{Again, Verdict};
use crate::location::{Contacts, Session, Unchanged, Update, Wanted};
use crate::peers::{self, Peer};
use crate::registration::{Judged, Origin, Vector, Waiting};
use crate::state::{Core, Effect, Kind};
use crate::transactions::TransactionId;
use portunus_aaa::{AaaRequest, Authenticate, DigestAlgorithm};
use portunus_keydist::Now;
use portunus_keydist::ident::{Idc, Rand};
use portunus_keydist::steps::{Refusal, S9};
use portunus_signalling::{FaultKind, Protocol};
use portunus_sip::carriage::core::{
    Ask, Granted, Register, read_register, write_digest_challenge, write_granted, write_s5, write_s9,
};
use portunus_sip::view::{Message, Name, Uri};
use std::sync::Arc;

/// A REGISTER on its way through the registrar.
struct Request<'r, 'm> {
    from: Peer,
    transaction: TransactionId,
    msg: &'r Message<'m>,
    register: Register<'m>,
    idsp: Arc<str>,
}

/// A registration that is authenticated, for a registrar behind us to grant.
pub(super) struct Granting {
    pub(super) request: Box<[u8]>,
    from: Peer,
    transaction: TransactionId,
    idsp: Arc<str>,
    proof: Proof,
}

/// What authenticated a registration.
enum Proof {
    /// Its answer to this challenge; for PKD1, with the key that it gets.
    Word(Rand, Option<S9>),
    /// A trusted proxy's word that it came inside a session.
    Vouched,
}

/// Option tags that we understand in Require.
const OPTIONS: [&str; 1] = ["path"];
/// `Expires` from which 423 is not allowed (RFC 3261 section 10.3).
const HOUR: u32 = 3600;

impl Request<'_, '_> {
    fn origin(&self) -> Origin<'_> {
        let (from, transaction) = (self.from, self.transaction);
        Origin { protocol: Protocol::Sip, from, transaction, request: self.msg.octets() }
    }

    fn uri(&self) -> Option<&str> {
        core::str::from_utf8(self.register.uri).ok()
    }
}

impl Core {
    pub(super) fn on_register(
        &mut self,
        now: Now,
        from: Peer,
        msg: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Option<Granting> {
        // RFC 3261 section 17.2.3: branch and sent-by of the topmost Via (and the method, which is always the same).
        let via = msg.via().whole;
        let transaction = self.begin(now, Protocol::Sip, from, via, out)?;
        let read = read_register(msg);
        let answer = match read {
            Ok(register) => match self.admit(from, msg, &register) {
                Ok(idsp) => return self.on_read(now, &Request { from, transaction, msg, register, idsp }, out),
                Err(status) => status,
            },
            Err(fault) if fault.kind == FaultKind::Unreadable => {
                self.transactions.forget(transaction);
                return None;
            }
            Err(fault) if fault.kind == FaultKind::Forbidden => Status::refused(),
            Err(fault) => {
                self.counters.malformed += 1;
                Status::new(400, &format!("Bad {}", fault.what))
            }
        };
        self.conclude(now, (transaction, from), msg, &answer, out);
        None
    }

    /// What must hold before anything is done for a registration.
    fn admit(&mut self, from: Peer, msg: &Message<'_>, register: &Register<'_>) -> Result<Arc<str>, Status> {
        let unknown: Vec<_> = msg
            .items(Name::Require)
            .filter(|tag| !OPTIONS.iter().any(|o| tag.eq_ignore_ascii_case(o.as_bytes())))
            .map(String::from_utf8_lossy)
            .collect();
        if !unknown.is_empty() {
            return Err(Status::new(420, "Bad Extension").with("Unsupported", &unknown.join(", ")));
        }
        let Some(idsp) = peers::serves(&self.config, Protocol::Sip, from, register.idsp.as_str()) else {
            self.counters.unknown_proxy += 1;
            return Err(Status::refused());
        };
        // Names are bound: To and From are the identity that was, or is to be, authenticated.
        let bound = [msg.to(), msg.from()].iter().all(|a| a.sip().is_some_and(|uri| uri.is_idc(register.idc)));
        if !bound || !self.is_realm(register) {
            self.counters.refused += 1;
            return Err(Status::refused());
        }
        Ok(idsp)
    }

    /// A digest response is bound to its realm, which is our own or the subscriber's. PKD1's words are not, nor is a
    /// trusted proxy's own: there each names the domain that it knows, and the AuC is found by the identity.
    fn is_realm(&self, register: &Register<'_>) -> bool {
        if !matches!(register.ask, Ask::DigestAnswer { .. }) {
            return true;
        }
        let own = || self.config.realms.of(register.idc.as_str());
        register.realm == self.config.realm.as_bytes() || own().is_some_and(|r| register.realm == r.as_bytes())
    }

    fn on_read(&mut self, now: Now, r: &Request<'_, '_>, out: &mut Vec<Effect>) -> Option<Granting> {
        match r.register.ask {
            Ask::S2(s2) => match self.begin_pkd1(now, &r.origin(), &s2, (r.uri(), Some(r.register.ipc)), out) {
                Ok(()) => {}
                Err(Refusal::Busy { retry_after_s }) => self.unless_busy(now, r, Err(retry_after_s), out),
                Err(_) => self.conclude(now, (r.transaction, r.from), r.msg, &Status::refused(), out),
            },
            Ask::S8(s8) => match self.judge_pkd1(now, &r.origin(), &s8, r.uri(), out) {
                Judged::Right(s9) => return self.grant(now, r, Proof::Word(s8.rand, Some(s9)), out),
                Judged::Asked => {}
                Judged::Refused => self.conclude(now, (r.transaction, r.from), r.msg, &Status::refused(), out),
                Judged::Busy { retry_after_s } => self.unless_busy(now, r, Err(retry_after_s), out),
            },
            Ask::DigestChallenge => self.ask_digest(now, r, self.config.retries, out),
            Ask::DigestAnswer { rand, response, algorithm } => match self.digest_word(response, algorithm) {
                Some(word) => {
                    let who = (r.register.idc.as_str(), &*r.idsp);
                    let verdict = self.challenges.answer_digest(now, rand.as_ref(), who, &word);
                    match verdict {
                        // Phones answer the challenge of their last registration: they get a new one.
                        Verdict::Unknown => {
                            self.counters.challenge_unknown += 1;
                            self.ask_digest(now, r, self.config.retries, out);
                        }
                        verdict => return self.judged_digest(now, r, verdict, rand, out),
                    }
                }
                None => self.refuse(now, r, out),
            },
            Ask::Refresh => {
                self.counters.vouched += 1;
                return self.grant(now, r, Proof::Vouched, out);
            }
        }
        None
    }

    /// The octets of a digest response, when its algorithm is the one that is admitted.
    fn digest_word(&self, response: &[u8], algorithm: Option<&[u8]>) -> Option<Vec<u8>> {
        let admitted = self.config.digest?;
        let token = core::str::from_utf8(algorithm.unwrap_or(b"MD5")).ok()?;
        if DigestAlgorithm::from_token(token) != Some(admitted) || response.len() != 2 * admitted.word_len() {
            return None;
        }
        let digit = |c: &u8| (*c as char).to_digit(16).map(|d| d as u8);
        response.chunks_exact(2).map(|pair| Some(digit(&pair[0])? << 4 | digit(&pair[1])?)).collect()
    }

    fn ask_digest(&mut self, now: Now, r: &Request<'_, '_>, retries_left: u8, out: &mut Vec<Effect>) {
        let Some(algorithm) = self.config.digest else { return self.refuse(now, r, out) };
        let Register { idc, idsp, ipc, .. } = r.register;
        let Some(realm) = self.realm_of(idc.as_str()) else { return self.refuse(now, r, out) };
        let uri = r.uri().unwrap_or_default();
        let s3 = Authenticate::digest(idc, idsp, algorithm, realm, uri, Some(ipc));
        let kind = Kind::Digest { idc: idc.as_str().into(), idsp: r.idsp.clone(), retries_left };
        let asked = self.ask_vector(now, &r.origin(), kind, AaaRequest::Authenticate(s3), out);
        self.unless_busy(now, r, asked, out);
    }

    /// Says so where too many questions are open.
    fn unless_busy(&mut self, now: Now, r: &Request<'_, '_>, asked: Result<(), u32>, out: &mut Vec<Effect>) {
        if let Err(wait_s) = asked {
            self.conclude(now, (r.transaction, r.from), r.msg, &Status::busy(wait_s), out);
        }
    }

    /// s5, or what is said instead.
    pub(crate) fn on_vector(&mut self, now: Now, waiting: &Waiting, vector: &Vector, out: &mut Vec<Effect>) {
        // It was parsed when it came.
        let Ok(msg) = Message::parse(&waiting.request) else { return };
        let tag = self.to_tag(&msg);
        // A stock phone's response is bound to the realm that its AuC was asked for.
        let idc = msg.from().sip().and_then(|uri| crate::uri::identity(&uri));
        let realm = idc.and_then(|idc| self.config.realms.of(idc.as_idc().as_str()));
        let realm = realm.unwrap_or_else(|| self.config.realm.clone());
        let answer = match vector {
            Vector::Challenge { idsp, rand, .. } => {
                self.write(|w| write_s5(&msg, &tag, &realm, idsp.as_idsp(), rand, w))
            }
            Vector::Digest { rand, algorithm } => {
                self.write(|w| write_digest_challenge(&msg, &tag, &realm, rand, algorithm.token(), w))
            }
            Vector::Busy { retry_after_s } => self.status(&msg, &Status::busy(*retry_after_s)),
        };
        self.finish(now, waiting.transaction, waiting.from, answer, out);
    }

    fn judged_digest(
        &mut self,
        now: Now,
        r: &Request<'_, '_>,
        verdict: Verdict,
        rand: Option<Rand>,
        out: &mut Vec<Effect>,
    ) -> Option<Granting> {
        match (verdict, rand) {
            (Verdict::Right(None), Some(rand)) => {
                self.counters.authenticated_digest += 1;
                return self.grant(now, r, Proof::Word(rand, None), out);
            }
            (Verdict::Again(Again::Digest { retries_left }), _) => {
                self.counters.word_differs += 1;
                self.ask_digest(now, r, retries_left, out);
            }
            (Verdict::Wrong, _) => {
                self.counters.word_differs += 1;
                self.refuse(now, r, out);
            }
            (Verdict::Unknown | Verdict::Right(_) | Verdict::Again(Again::Pkd1(_)), _) => {
                self.counters.challenge_unknown += 1;
                self.refuse(now, r, out);
            }
        }
        None
    }

    fn refuse(&mut self, now: Now, r: &Request<'_, '_>, out: &mut Vec<Effect>) {
        self.counters.refused += 1;
        self.conclude(now, (r.transaction, r.from), r.msg, &Status::refused(), out);
    }

    fn conclude(
        &mut self,
        now: Now,
        (transaction, to): (TransactionId, Peer),
        msg: &Message<'_>,
        status: &Status,
        out: &mut Vec<Effect>,
    ) {
        let answer = self.status(msg, status);
        self.finish(now, transaction, to, answer, out);
    }

    /// Grants a registration, where it is ours to grant.
    fn grant(&mut self, now: Now, r: &Request<'_, '_>, proof: Proof, out: &mut Vec<Effect>) -> Option<Granting> {
        if self.upstreams[Protocol::Sip].is_empty() {
            self.change(now, r, &proof, None, out);
            return None;
        }
        // What could not be bound here is not asked for.
        if let Err(status) = self.wanted(r.msg, Some(u32::MAX)) {
            self.conclude(now, (r.transaction, r.from), r.msg, &status, out);
            return None;
        }
        let (request, idsp) = (r.msg.octets().into(), r.idsp.clone());
        Some(Granting { request, from: r.from, transaction: r.transaction, idsp, proof })
    }

    /// A registrar behind us granted this, for so many seconds at most.
    pub(super) fn granted(&mut self, now: Now, g: &Granting, most_s: u32, out: &mut Vec<Effect>) {
        // It was read when it came.
        let Ok(msg) = Message::parse(&g.request) else { return };
        let Ok(register) = read_register(&msg) else { return };
        let r = Request { from: g.from, transaction: g.transaction, msg: &msg, register, idsp: g.idsp.clone() };
        self.change(now, &r, &g.proof, Some(most_s), out);
    }

    /// No registrar behind us granted this.
    pub(super) fn turned_down(&mut self, now: Now, g: &Granting, status: &Status, out: &mut Vec<Effect>) {
        let Ok(msg) = Message::parse(&g.request) else { return };
        self.conclude(now, (g.transaction, g.from), &msg, status, out);
    }

    /// Changes the bindings and says so: to the terminal by s9 or a plain 200, to the AuC by s11. `most_s`: what a
    /// registrar behind us granted.
    fn change(&mut self, now: Now, r: &Request<'_, '_>, proof: &Proof, most_s: Option<u32>, out: &mut Vec<Effect>) {
        let rand = match proof {
            Proof::Word(rand, _) => *rand,
            // Names the record of a registration that we have forgotten, in a restart for instance.
            Proof::Vouched => {
                let mut rand = [0; 16];
                self.random.fill(&mut rand);
                rand
            }
        };
        let session = Session { rand, idsp: r.idsp.clone(), ipc: r.register.ipc };
        let wanted = self.wanted(r.msg, most_s);
        let bound = wanted.and_then(|w| self.bind(now, r.msg, r.register.idc, &session, (proof, w.as_deref())));
        let changes = match bound {
            Ok(changes) => changes,
            Err(status) => return self.conclude(now, (r.transaction, r.from), r.msg, &status, out),
        };
        let tag = self.to_tag(r.msg);
        let held: Vec<(Box<[u8]>, u32)> = self
            .location
            .find(now.mono_ms, r.register.idc.as_str())
            .into_iter()
            .flatten()
            .filter(|b| b.lane.is_none())
            .map(|b| (b.uri.clone(), (b.expires_ms - now.mono_ms).div_ceil(1000) as u32))
            .collect();
        let granted: Vec<_> = held.iter().map(|(uri, expires)| Granted { uri, expires: *expires }).collect();
        let answer = match proof {
            Proof::Word(_, Some(s9)) => self.write(|w| write_s9(r.msg, &tag, s9, &granted, w)),
            _ => self.write(|w| write_granted(r.msg, &tag, &granted, w)),
        };
        self.finish(now, r.transaction, r.from, answer, out);
        self.account(r.register.idc.as_str(), &changes, out);
    }

    /// RFC 3261 section 10.3, steps 6 and 7.
    fn bind(
        &mut self,
        now: Now,
        msg: &Message<'_>,
        idc: Idc<'_>,
        session: &Session,
        (proof, wanted): (&Proof, Option<&[Wanted<'_>]>),
    ) -> Result<Vec<crate::location::Change>, Status> {
        let contacts = match wanted {
            None => Contacts::RemoveAll,
            Some([]) => Contacts::Query,
            Some(list) => Contacts::List(list),
        };
        let path = msg.values(Name::Path).collect::<Vec<_>>().join(&b", "[..]);
        let (call_id, cseq) = (msg.call_id(), msg.cseq().0);
        let (fresh, vouched) = (matches!(proof, Proof::Word(_, Some(_))), matches!(proof, Proof::Vouched));
        let update = Update { idc: idc.as_str(), call_id, cseq, path: &path, contacts, session, fresh, vouched };
        self.location.update(now.mono_ms, &update).map_err(|why| match why {
            Unchanged::OutOfOrder => {
                self.counters.out_of_order += 1;
                Status::new(500, "Registration Out Of Order")
            }
            Unchanged::TooManyContacts => Status::new(400, "Too Many Contacts"),
            Unchanged::Full => {
                self.counters.location_full += 1;
                self.busy()
            }
        })
    }

    /// The Contacts with the lifetimes that they get; `None` for `*`. `most_s`: what a registrar behind us granted, whose
    /// limits then hold instead of ours.
    fn wanted<'m>(&mut self, msg: &Message<'m>, most_s: Option<u32>) -> Result<Option<Vec<Wanted<'m>>>, Status> {
        if msg.contact_star() {
            return match msg.expires() {
                Some(0) => Ok(None),
                _ => Err(Status::new(400, "Bad Expires")),
            };
        }
        let lifetimes = self.config.expires;
        let mut list = Vec::new();
        for contact in msg.contacts() {
            if list.len() > self.config.limits.bindings_each * 2 {
                return Err(Status::new(400, "Too Many Contacts"));
            }
            let asked = msg.contact_expires(&contact).unwrap_or(most_s.unwrap_or(lifetimes.default_s));
            if most_s.is_none() && asked > 0 && asked < lifetimes.min_s && asked < HOUR {
                self.counters.too_brief += 1;
                let least = lifetimes.min_s.to_string();
                return Err(Status::new(423, "Interval Too Brief").with("Min-Expires", &least));
            }
            if asked > 0 && !self.leads_somewhere(msg, contact.uri) {
                self.counters.no_route += 1;
                return Err(Status::new(400, "Path Leads Nowhere"));
            }
            let expires_s = asked.min(most_s.unwrap_or(lifetimes.max_s));
            list.push(Wanted { uri: contact.uri, q_milli: contact.q_milli(), expires_s });
        }
        Ok(Some(list))
    }

    /// True when requests for this binding would go to a neighbour: by its Path, or without one by its Contact.
    fn leads_somewhere(&self, msg: &Message<'_>, contact: &[u8]) -> bool {
        let hop = msg.addrs(Name::Path).next().map_or(contact, |path| path.uri);
        Uri::parse(hop).is_some_and(|uri| peers::named(&self.config, &uri).is_some())
    }
}
