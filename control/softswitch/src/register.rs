//! REGISTER: the registrar (RFC 3261 section 10.3) and the softswitch's part of PKD1 (spec section 2).
//!
//! ```text
//!   s2 ───────────► s3 to the AuC ──► s4: challenge kept, s5
//!                        │ busy, unreachable: 503
//!   s8, word right ─► bindings change, s9, s11
//!   s8, word wrong ─► s3 again, or the one refusal
//!   vouched refresh ► bindings change, 200, s11
//! ```

use crate::answers::Status;
use crate::challenges::{Again, Challenge, Phone, Verdict};
use crate::location::{Contacts, Session, Unchanged, Update, Wanted};
use crate::peers::{self, Peer};
use crate::state::{Asked, Effect, Kind, Softswitch};
use crate::transactions::{Seen, TransactionId};
use portunus_aaa::{AaaAnswer, AaaRequest, Authenticate, DigestAlgorithm, Unreachable};
use portunus_keydist::Now;
use portunus_keydist::ident::{Idc, Rand};
use portunus_keydist::softswitch::Registration;
use portunus_keydist::steps::{S5, S9};
use portunus_signalling::FaultKind;
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

impl Softswitch {
    pub(crate) fn on_register(&mut self, now: Now, from: Peer, msg: &Message<'_>, out: &mut Vec<Effect>) {
        let Some(transaction) = self.begin(now, from, msg, out) else { return };
        let read = read_register(msg);
        let answer = match read {
            Ok(register) => match self.admit(from, msg, &register) {
                Ok(idsp) => return self.on_read(now, &Request { from, transaction, msg, register, idsp }, out),
                Err(status) => status,
            },
            Err(fault) if fault.kind == FaultKind::Unreadable => return self.transactions.forget(transaction),
            Err(fault) if fault.kind == FaultKind::Forbidden => Status::refused(),
            Err(fault) => {
                self.counters.malformed += 1;
                Status::new(400, &format!("Bad {}", fault.what))
            }
        };
        self.conclude(now, (transaction, from), msg, &answer, out);
    }

    fn begin(&mut self, now: Now, from: Peer, msg: &Message<'_>, out: &mut Vec<Effect>) -> Option<TransactionId> {
        // RFC 3261 section 17.2.3: branch and sent-by of the topmost Via (and the method, which is always the same).
        let via = msg.via();
        let mut key = match from {
            Peer::Udp(addr) => format!("{addr} ").into_bytes(),
            Peer::LocalProxy => b"local ".to_vec(),
        };
        key.extend_from_slice(via.whole);
        match self.transactions.begin(now.mono_ms, &key) {
            Seen::New(transaction) => return Some(transaction),
            Seen::Answered(answer) => out.push(Effect::Send { to: from, bytes: answer.to_vec() }),
            Seen::Open => {}
        }
        self.counters.retransmission += 1;
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
        let Some(idsp) = peers::serves(&self.config, from, register.idsp.as_str()) else {
            self.counters.unknown_proxy += 1;
            return Err(Status::refused());
        };
        // Names are bound: To and From are the identity that was, or is to be, authenticated.
        let bound = [msg.to(), msg.from()].iter().all(|a| a.sip().is_some_and(|uri| uri.is_idc(register.idc)));
        if !bound || register.realm != self.config.realm.as_bytes() {
            self.counters.refused += 1;
            return Err(Status::refused());
        }
        Ok(idsp)
    }

    fn on_read(&mut self, now: Now, r: &Request<'_, '_>, out: &mut Vec<Effect>) {
        match r.register.ask {
            Ask::S2(s2) => {
                let registration = Registration::on_s2(now, &s2, self.policy);
                self.ask(now, r, Kind::Pkd1(Box::new(registration)), out);
            }
            Ask::S8(s8) => {
                let verdict = self.challenges.answer(now, &s8);
                self.judged(now, r, verdict, Some(s8.rand), out);
            }
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
                        verdict => self.judged(now, r, verdict, rand, out),
                    }
                }
                None => self.refuse(now, r, out),
            },
            Ask::Refresh => {
                self.counters.vouched += 1;
                self.grant(now, r, &Proof::Vouched, out);
            }
        }
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
        let kind = Kind::Digest { idc: r.register.idc.as_str().into(), idsp: r.idsp.clone(), retries_left };
        self.ask(now, r, kind, out);
    }

    /// s3.
    fn ask(&mut self, now: Now, r: &Request<'_, '_>, kind: Kind, out: &mut Vec<Effect>) {
        let Register { idc, idsp, uri, ipc, .. } = r.register;
        let uri = core::str::from_utf8(uri).unwrap_or_default();
        let realm = self.config.realm.clone();
        let request = match (&kind, self.config.digest) {
            (Kind::Pkd1(registration), _) => {
                Authenticate::pkd1(&registration.ask(), realm, Some(uri).filter(|u| !u.is_empty()), Some(ipc))
            }
            (Kind::Digest { .. }, Some(algorithm)) => Authenticate::digest(idc, idsp, algorithm, realm, uri, Some(ipc)),
            (Kind::Digest { .. }, None) => return self.refuse(now, r, out),
        };
        let request = AaaRequest::Authenticate(request);
        let asked = Asked { from: r.from, transaction: r.transaction, request: r.msg.octets().into(), kind };
        if self.ask_vector(now, asked, request, out).is_err() {
            self.counters.ask_full += 1;
            let busy = self.busy();
            self.conclude(now, (r.transaction, r.from), r.msg, &busy, out);
        }
    }

    /// s4, or what came instead of it.
    pub(crate) fn on_vector(
        &mut self,
        now: Now,
        asked: Asked,
        outcome: Result<AaaAnswer, Unreachable>,
        out: &mut Vec<Effect>,
    ) {
        // It was parsed when it came.
        let Ok(msg) = Message::parse(&asked.request) else { return };
        let (tag, realm) = (self.to_tag(&msg), self.config.realm.clone());
        let challenged = match (outcome, asked.kind) {
            (Ok(AaaAnswer::Vector(s4)), Kind::Pkd1(mut registration)) => {
                let answer = registration
                    .on_s4(now, &s4)
                    .ok()
                    .map(|S5 { idsp, rand, .. }| (rand, self.write(|w| write_s5(&msg, &tag, &realm, idsp, &rand, w))));
                answer.map(|(rand, answer)| (rand, Challenge::Pkd1(registration), answer))
            }
            (Ok(AaaAnswer::Digest(vector)), Kind::Digest { idc, idsp, retries_left }) => {
                let (rand, algorithm) = (vector.rand, vector.word.algorithm().token());
                let answer = self.write(|w| write_digest_challenge(&msg, &tag, &realm, &rand, algorithm, w));
                Some((rand, Challenge::Digest(Phone { idc, idsp, vector, retries_left }), answer))
            }
            _ => None,
        };
        let Some((rand, challenge, answer)) = challenged else {
            self.counters.auc_unavailable += 1;
            let busy = self.busy();
            return self.conclude(now, (asked.transaction, asked.from), &msg, &busy, out);
        };
        self.counters.challenge_evicted += self.challenges.insert(now.mono_ms, rand, challenge);
        self.counters.challenged += 1;
        self.finish(now, asked.transaction, asked.from, answer, out);
    }

    fn judged(&mut self, now: Now, r: &Request<'_, '_>, verdict: Verdict, rand: Option<Rand>, out: &mut Vec<Effect>) {
        match (verdict, rand) {
            (Verdict::Right(s9), Some(rand)) => {
                match s9 {
                    Some(_) => self.counters.authenticated += 1,
                    None => self.counters.authenticated_digest += 1,
                }
                self.grant(now, r, &Proof::Word(rand, s9), out);
            }
            (Verdict::Again(again), _) => {
                self.counters.word_differs += 1;
                match again {
                    Again::Pkd1(registration) => self.ask(now, r, Kind::Pkd1(registration), out),
                    Again::Digest { retries_left } => self.ask_digest(now, r, retries_left, out),
                }
            }
            (Verdict::Wrong, _) => {
                self.counters.word_differs += 1;
                self.refuse(now, r, out);
            }
            (Verdict::Unknown | Verdict::Right(_), _) => {
                self.counters.challenge_unknown += 1;
                self.refuse(now, r, out);
            }
        }
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

    /// Changes the bindings and says so: to the terminal by s9 or a plain 200, to the AuC by s11.
    fn grant(&mut self, now: Now, r: &Request<'_, '_>, proof: &Proof, out: &mut Vec<Effect>) {
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
        let fresh = matches!(proof, Proof::Word(_, Some(_)));
        let changes = match self.bind(now, r.msg, r.register.idc, &session, fresh) {
            Ok(changes) => changes,
            Err(status) => return self.conclude(now, (r.transaction, r.from), r.msg, &status, out),
        };
        let tag = self.to_tag(r.msg);
        let held: Vec<(Box<[u8]>, u32)> = self
            .location
            .find(now.mono_ms, r.register.idc.as_str())
            .into_iter()
            .flatten()
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
        fresh: bool,
    ) -> Result<Vec<crate::location::Change>, Status> {
        let wanted = self.wanted(msg)?;
        let contacts = match &wanted {
            None => Contacts::RemoveAll,
            Some(list) if list.is_empty() => Contacts::Query,
            Some(list) => Contacts::List(list),
        };
        let path = msg.values(Name::Path).collect::<Vec<_>>().join(&b", "[..]);
        let (call_id, cseq) = (msg.call_id(), msg.cseq().0);
        let update = Update { idc: idc.as_str(), call_id, cseq, path: &path, contacts, session, fresh };
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

    /// The Contacts with the lifetimes that they get; `None` for `*`.
    fn wanted<'m>(&mut self, msg: &Message<'m>) -> Result<Option<Vec<Wanted<'m>>>, Status> {
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
            let asked = msg.contact_expires(&contact).unwrap_or(lifetimes.default_s);
            if asked > 0 && asked < lifetimes.min_s && asked < HOUR {
                self.counters.too_brief += 1;
                let least = lifetimes.min_s.to_string();
                return Err(Status::new(423, "Interval Too Brief").with("Min-Expires", &least));
            }
            if asked > 0 && !self.leads_somewhere(msg, contact.uri) {
                self.counters.no_route += 1;
                return Err(Status::new(400, "Path Leads Nowhere"));
            }
            let expires_s = asked.min(lifetimes.max_s);
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
