//! The softswitch's state and its face.

use crate::challenges::Challenges;
use crate::config::{Config, ConfigError};
use crate::counters::Counters;
use crate::keyed::Keyed;
use crate::location::{Change, Location, Session};
use crate::peers::{self, Peer};
use crate::records::Records;
use crate::transactions::{TransactionId, Transactions};
use crate::{location, relay};
use hashbrown::HashMap;
use portunus_aaa::{AaaAnswer, AaaRequest, Account, Unreachable};
use portunus_keydist::softswitch::{Policy, Registration};
use portunus_keydist::steps::Registration as Event;
use portunus_keydist::{Now, Rand, Random};
use portunus_sip::view::Message;
use std::collections::VecDeque;
use std::sync::Arc;

/// Names one question to the AuC; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a message to a neighbour.
    Send {
        /// To whom.
        to: Peer,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Ask the AuC, and give what comes of it to [`Softswitch::on_aaa`] under the same id.
    Ask {
        /// Names the question.
        id: AskId,
        /// The question.
        request: AaaRequest,
    },
}

/// A registration whose vector was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Where it came from.
    pub from: Peer,
    pub transaction: TransactionId,
    /// The REGISTER, to be answered.
    pub request: Box<[u8]>,
    /// Whose it is.
    pub kind: Kind,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A PKD1 registration, waiting for its s4.
    Pkd1(Box<Registration>),
    /// A stock phone's.
    Digest {
        idc: Box<str>,
        idsp: Arc<str>,
        /// Challenges that it may still get after this one.
        retries_left: u8,
    },
}

/// What a question is about.
#[derive(Debug)]
enum Purpose {
    Vector(Box<Asked>),
    Record(Rand),
}

/// How full the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Identities in the location table, bound or remembered.
    pub identities: usize,
    /// Bindings.
    pub bindings: usize,
    /// Challenges that wait for their answer.
    pub challenges: usize,
    /// Questions open at the AuC.
    pub asks: usize,
    /// Octets of cached answers, roughly.
    pub cache_octets: usize,
    /// Registration records that the AuC does not know yet.
    pub records: usize,
}

/// A registrar, location service and stateless proxy. See the crate's words for its place.
pub struct Softswitch {
    pub(crate) config: Config,
    pub(crate) random: Box<dyn Random + Send>,
    /// Keys tags and branches.
    pub(crate) keyed: Keyed,
    pub(crate) policy: Policy,
    pub(crate) location: Location,
    pub(crate) challenges: Challenges,
    pub(crate) transactions: Transactions,
    records: Records,
    asks: HashMap<AskId, Purpose, Keyed>,
    /// Open vectors among the questions, and when each is given up.
    ask_queue: VecDeque<(u64, AskId)>,
    open_vectors: usize,
    next_ask: u64,
    pub(crate) counters: Counters,
    /// Where messages are written.
    pub(crate) buf: Vec<u8>,
}

impl core::fmt::Debug for Softswitch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Softswitch").field("gauges", &self.gauges()).finish_non_exhaustive()
    }
}

/// Records looked at in one call of the timer.
const EXPIRE_AT_ONCE: usize = 1024;

impl Softswitch {
    /// An empty softswitch.
    ///
    /// # Errors
    /// [`ConfigError`]: the configuration's fault.
    pub fn new(config: Config, mut random: Box<dyn Random + Send>) -> Result<Self, ConfigError> {
        config.validate()?;
        let l = config.limits;
        let policy = Policy::new(config.retries, config.ask_ms as u32, config.challenge_ms as u32).unwrap_or_default();
        let limits = location::Limits {
            identities: l.identities,
            bindings_each: l.bindings_each,
            remember_ms: config.remember_ms,
        };
        let keyed = Keyed::new(&mut *random);
        Ok(Self {
            location: Location::new(limits, &mut *random),
            challenges: Challenges::new(l.challenges, config.challenge_ms, &mut *random),
            transactions: Transactions::new(l.cache_octets, config.transaction_ms, &mut *random),
            records: Records::new(l.records, config.record_retry_ms, &mut *random),
            asks: HashMap::with_hasher(keyed),
            ask_queue: VecDeque::new(),
            open_vectors: 0,
            next_ask: 1,
            counters: Counters::default(),
            buf: vec![0; l.message],
            keyed,
            policy,
            config,
            random,
        })
    }

    /// Takes one message from a neighbour. Nothing is ever said to a stranger.
    pub fn on_sip(&mut self, now: Now, from: Peer, bytes: &[u8], out: &mut Vec<Effect>) {
        if !peers::is_trusted(&self.config, from) {
            self.counters.stranger += 1;
            return;
        }
        self.counters.received += 1;
        // CRLF keep-alives and the like.
        if bytes.len() > self.config.limits.message || bytes.iter().all(u8::is_ascii_whitespace) {
            self.counters.unreadable += u64::from(bytes.len() > 4);
            return;
        }
        match Message::parse(bytes) {
            Ok(msg) if !msg.is_request() => relay::response(self, &msg, out),
            Ok(msg) => relay::request(self, now, from, &msg, out),
            Err(_) => self.counters.unreadable += 1,
        }
        self.counters.transaction_evicted += self.transactions.take_evicted();
    }

    /// Takes what became of a question. Each [`Effect::Ask`] must see exactly one of these.
    pub fn on_aaa(&mut self, now: Now, id: AskId, outcome: Result<AaaAnswer, Unreachable>, out: &mut Vec<Effect>) {
        match self.asks.remove(&id) {
            Some(Purpose::Vector(asked)) => {
                self.open_vectors -= 1;
                // Questions are answered in order, more or less: what is answered leaves the queue from its front.
                while self.ask_queue.front().is_some_and(|(_, id)| !self.asks.contains_key(id)) {
                    self.ask_queue.pop_front();
                }
                self.on_vector(now, *asked, outcome, out);
            }
            Some(Purpose::Record(rand)) => match outcome {
                Ok(_) => {
                    if let Some(next) = self.records.recorded(&rand) {
                        self.ask_record(next, out);
                    }
                }
                Err(Unreachable) => self.records.failed(now.mono_ms, &rand),
            },
            None => {}
        }
    }

    /// Does what time asks for.
    pub fn on_timer(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.transactions.expire(now.mono_ms);
        self.counters.challenge_expired += self.challenges.expire(now.mono_ms);
        self.expire_asks(now, out);
        let mut ended = Vec::new();
        let expired = &mut self.counters.binding_expired;
        self.location.expire(now.mono_ms, EXPIRE_AT_ONCE, |idc, session, bindings| {
            *expired += bindings as u64;
            ended.push((idc.to_owned(), session));
        });
        for (idc, session) in ended {
            self.record(&idc, &session, Event::Stop, out);
        }
        let mut again = Vec::new();
        self.records.due(now.mono_ms, |account| again.push(account));
        for account in again {
            self.ask_record(account, out);
        }
    }

    /// When [`Softswitch::on_timer`] has something to do next, monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        [
            self.transactions.next_deadline(),
            self.challenges.next_deadline(),
            self.ask_queue.front().map(|(due, _)| *due),
            self.location.next_deadline(),
            self.records.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What happened since start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How full the tables are.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            identities: self.location.identities(),
            bindings: self.location.bindings(),
            challenges: self.challenges.len(),
            asks: self.asks.len(),
            cache_octets: self.transactions.octets(),
            records: self.records.len(),
        }
    }

    /// The Contact URIs where an identity can be reached now, best first: for the administrator and the simulator.
    pub fn bindings_of(&self, now: Now, idc: &str) -> Vec<String> {
        let mut found: Vec<_> = self.location.find(now.mono_ms, idc).into_iter().flatten().collect();
        found.sort_by_key(|b| core::cmp::Reverse(b.rank()));
        found.into_iter().map(|b| String::from_utf8_lossy(&b.uri).into_owned()).collect()
    }

    /// Opens a question about a registration; gives the registration back when too many are open.
    pub(crate) fn ask_vector(
        &mut self,
        now: Now,
        asked: Asked,
        request: AaaRequest,
        out: &mut Vec<Effect>,
    ) -> Result<(), Box<Asked>> {
        let asked = Box::new(asked);
        if self.open_vectors >= self.config.limits.asks {
            return Err(asked);
        }
        let id = self.next_id();
        self.open_vectors += 1;
        self.ask_queue.push_back((now.mono_ms + self.config.ask_ms, id));
        self.asks.insert(id, Purpose::Vector(asked));
        self.counters.asked += 1;
        out.push(Effect::Ask { id, request });
        Ok(())
    }

    /// Tells the AuC what became of registrations (s11).
    pub(crate) fn account(&mut self, idc: &str, changes: &[Change], out: &mut Vec<Effect>) {
        for change in changes {
            let (session, event) = match change {
                Change::Started(s) => (s, Event::Start),
                Change::Refreshed(s) => (s, Event::Refresh),
                Change::Ended(s) => (s, Event::Stop),
            };
            self.record(idc, session, event, out);
        }
    }

    fn record(&mut self, idc: &str, session: &Session, event: Event, out: &mut Vec<Effect>) {
        let account = Account {
            idc: idc.to_owned(),
            idsp: session.idsp.to_string(),
            rand: session.rand,
            ip: session.ipc.ip().to_canonical(),
            event,
        };
        match self.records.push(account) {
            Ok(Some(account)) => self.ask_record(account, out),
            Ok(None) => {}
            Err(_) => self.counters.record_lost += 1,
        }
    }

    fn ask_record(&mut self, account: Account, out: &mut Vec<Effect>) {
        let id = self.next_id();
        self.asks.insert(id, Purpose::Record(account.rand));
        out.push(Effect::Ask { id, request: AaaRequest::Account(account) });
    }

    fn next_id(&mut self) -> AskId {
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        id
    }

    /// Gives questions up that the AAA client never answered: it should have, so this is a safety net.
    fn expire_asks(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some((_, id)) = self.ask_queue.front().copied().filter(|(due, _)| *due <= now.mono_ms) {
            self.ask_queue.pop_front();
            if self.asks.contains_key(&id) {
                self.counters.ask_expired += 1;
                self.on_aaa(now, id, Err(Unreachable), out);
            }
        }
    }
}
