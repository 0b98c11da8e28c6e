//! What the protocols share: tables, limits, questions to the AuC and the records of registrations.

use crate::challenges::Challenges;
use crate::config::{Config, ConfigError, Peer as PeerConfig};
use crate::counters::Counters;
use crate::keyed::Keyed;
use crate::location::{self, Change, Location, Session};
use crate::peers::Peer;
use crate::records::Records;
use crate::registration::Waiting;
use crate::transactions::Transactions;
use crate::upstreams::Kinds;
use core::net::SocketAddr;
use hashbrown::HashMap;
use portunus_aaa::{AaaAnswer, AaaRequest, Account, Unreachable};
use portunus_keydist::softswitch::{Policy, Registration};
use portunus_keydist::steps::Registration as Event;
use portunus_keydist::{Now, Rand, Random};
use portunus_signalling::Protocol;
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
        /// In which protocol: by which of our sockets it leaves.
        protocol: Protocol,
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
    /// A gateway left whoever of somebody else's served it: nothing is said any more by the port of its lane, of this
    /// address, and nothing that comes there is for anybody. It may be closed.
    Leave(Protocol, SocketAddr),
}

/// A registration whose vector was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Where it came from, and what answers it.
    pub waiting: Waiting,
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
    /// Registrars behind us that are up.
    pub registrars: usize,
    /// Call agents behind us that are up.
    pub call_agents: usize,
    /// Controllers behind us that are up.
    pub controllers: usize,
}

/// What the protocols share.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) random: Box<dyn Random + Send>,
    /// Keys tags and branches.
    pub(crate) keyed: Keyed,
    pub(crate) policy: Policy,
    pub(crate) location: Location,
    /// Servers of somebody else's.
    pub(crate) upstreams: Kinds,
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

/// Records looked at in one call of the timer.
const EXPIRE_AT_ONCE: usize = 1024;

impl Core {
    pub(crate) fn new(mut config: Config, mut random: Box<dyn Random + Send>) -> Result<Self, ConfigError> {
        config.validate()?;
        for upstream in &config.behind.registrars {
            // It relays calls, and registers nobody.
            config.peers.push(PeerConfig { addr: upstream.address, idsps: Vec::new() });
        }
        for neighbour in &config.neighbours {
            config.peers.push(PeerConfig { addr: neighbour.address, idsps: Vec::new() });
        }
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
            upstreams: Kinds::new(&config.behind),
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

    /// Takes what became of a question; what an agent is to be told of it, if anything.
    pub(crate) fn answered(
        &mut self,
        now: Now,
        id: AskId,
        outcome: Result<AaaAnswer, Unreachable>,
        out: &mut Vec<Effect>,
    ) -> Option<(Asked, Result<AaaAnswer, Unreachable>)> {
        match self.asks.remove(&id)? {
            Purpose::Vector(asked) => {
                self.open_vectors -= 1;
                // Questions are answered in order, more or less: what is answered leaves the queue from its front.
                while self.ask_queue.front().is_some_and(|(_, id)| !self.asks.contains_key(id)) {
                    self.ask_queue.pop_front();
                }
                return Some((*asked, outcome));
            }
            Purpose::Record(rand) => match outcome {
                Ok(_) => {
                    if let Some(next) = self.records.recorded(&rand) {
                        self.ask_record(next, out);
                    }
                }
                Err(Unreachable) => self.records.failed(now.mono_ms, &rand),
            },
        }
        None
    }

    /// Does what time asks for, but for [`Core::overdue`].
    pub(crate) fn on_timer(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.transactions.expire(now.mono_ms);
        self.counters.challenge_expired += self.challenges.expire(now.mono_ms);
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

    /// The next question that the AAA client never answered: it should have, so this is a safety net.
    pub(crate) fn overdue(&mut self, now: Now) -> Option<AskId> {
        while let Some((_, id)) = self.ask_queue.front().copied().filter(|(due, _)| *due <= now.mono_ms) {
            self.ask_queue.pop_front();
            if self.asks.contains_key(&id) {
                self.counters.ask_expired += 1;
                return Some(id);
            }
        }
        None
    }

    /// When [`Core::on_timer`] or [`Core::overdue`] has something to do next, monotonic milliseconds.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        [
            self.transactions.next_deadline(),
            self.challenges.next_deadline(),
            self.ask_queue.front().map(|(due, _)| *due),
            self.location.next_deadline(),
            self.records.next_deadline(),
            self.upstreams.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn gauges(&self) -> Gauges {
        Gauges {
            identities: self.location.identities(),
            bindings: self.location.bindings(),
            challenges: self.challenges.len(),
            asks: self.asks.len(),
            cache_octets: self.transactions.octets(),
            records: self.records.len(),
            registrars: self.upstreams[Protocol::Sip].up(),
            call_agents: self.upstreams[Protocol::Mgcp].up(),
            controllers: self.upstreams[Protocol::H248].up(),
        }
    }

    /// True when a further question about a registration may be opened.
    pub(crate) fn may_ask(&self) -> bool {
        self.open_vectors < self.config.limits.asks
    }

    /// Opens a question about a registration.
    pub(crate) fn open_question(&mut self, now: Now, asked: Asked, request: AaaRequest, out: &mut Vec<Effect>) {
        let id = self.next_id();
        self.open_vectors += 1;
        self.ask_queue.push_back((now.mono_ms + self.config.ask_ms, id));
        self.asks.insert(id, Purpose::Vector(Box::new(asked)));
        self.counters.asked += 1;
        out.push(Effect::Ask { id, request });
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
            softswitch: None,
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
}
