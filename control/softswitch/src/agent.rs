//! What a signalling protocol is to the softswitch, and what the softswitch is to it.
//!
//! ```text
//!   message ──► Agent::on_message ──┬─ s2: Ctx::s2 ──► s3 ──► Agent::on_vector: writes s5
//!                                   ├─ s8: Ctx::s8 ──► Judged: Right: Ctx::bind, writes s9 (s11 follows by itself)
//!                                   │                          Asked: another s5 follows by on_vector
//!                                   │                          Refused, Busy: writes the refusal
//!                                   └─ anything of a terminal: Gateways::sender, Ctx::touch, an answer
//!   time    ──► Agent::on_timer: Commands repeats, audits
//!   elsewhere the terminal registered anew, or ran out ──► Agent::on_left
//! ```
//!
//! One registration core serves them all: challenges, words, retries, questions to the AuC, records, limits and
//! counters name no protocol. An agent knows syntax and what its protocol does after a registration, and keeps no
//! location of its own: [`Ctx::bind`] and [`Ctx::confirm`] are where a terminal moves, so that an identity that turns up in
//! another protocol leaves the former one at once.

use crate::location::{Change, Session, Unchanged};
use crate::peers::{self, Peer};
use crate::registration::{Judged, Origin, Vector, Waiting};
use crate::state::{Core, Effect};
use crate::transactions::{Seen, TransactionId};
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_keydist::Now;
use portunus_keydist::ident::{Idc, Rand};
use portunus_keydist::steps::{Refusal, S2, S8};
use portunus_signalling::Protocol;
use std::sync::Arc;

/// A signalling protocol of the softswitch. No I/O, no clock: what is to be sent leaves through the [`Ctx`].
pub(crate) trait Agent: Send {
    /// A message from a trusted neighbour: for lane protocols any port of a configured proxy's address. Its length is
    /// within the limit; nothing else is known of it. What cannot be read is counted (`ctx.core.counters`).
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, bytes: &[u8]);

    /// What became of a registration whose vector was asked for, by [`Ctx::s2`] or again by [`Ctx::s8`]: write s5, or
    /// the refusal. `waiting` is the [`Origin`] as it was given, with the request's octets.
    fn on_vector(&mut self, ctx: &mut Ctx<'_>, waiting: &Waiting, vector: &Vector);

    /// A terminal that was bound to this lane, or waited there, no longer is: it ran out, [`Ctx::unbind`] was called, it
    /// is elsewhere now, or the lane is another's. Forget what is kept of it there; there is nobody to tell.
    fn on_left(&mut self, _ctx: &mut Ctx<'_>, _idc: &str, _lane: Peer) {}

    /// Time has passed: repeat commands, audit, give up.
    fn on_timer(&mut self, _ctx: &mut Ctx<'_>) {}

    /// When [`Agent::on_timer`] has something to do next, monotonic milliseconds.
    fn next_deadline(&self) -> Option<u64> {
        None
    }
}

/// What an agent may use while it is called.
pub(crate) struct Ctx<'a> {
    /// Configuration, counters, and what protocols share.
    pub core: &'a mut Core,
    /// The time.
    pub now: Now,
    /// Whose call this is.
    pub protocol: Protocol,
    /// What is to be done; [`Ctx::send`] appends.
    pub out: &'a mut Vec<Effect>,
}

/// A terminal that was authenticated, to be bound to its lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'a> {
    /// Who.
    pub idc: Idc<'a>,
    /// Through which proxy, as [`Ctx::serves`] gave it.
    pub idsp: &'a Arc<str>,
    /// The challenge that authenticated it.
    pub rand: Rand,
    /// The terminal's address as the proxy sees it (s8).
    pub ipc: SocketAddr,
    /// Where it is reached: the source of s8.
    pub lane: Peer,
    /// After how many seconds without [`Ctx::touch`] or [`Ctx::refresh`] it is forgotten.
    pub expires_s: u32,
}

impl Ctx<'_> {
    /// Sends a message, once.
    pub(crate) fn send(&mut self, to: Peer, bytes: Vec<u8>) {
        self.out.push(Effect::Send { protocol: self.protocol, to, bytes });
    }

    /// Writes a message; `None`, and counted, when it does not fit.
    pub(crate) fn write(&mut self, f: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Option<Vec<u8>> {
        self.core.write(f)
    }

    /// At most once: opens a transaction with a neighbour, named by whatever tells its retransmissions (its transaction
    /// id; for what comes from a port that many terminals share, the step's N1 or Rand as well). `None`: it is a
    /// retransmission, was counted, and got its answer again if there is one. Remembered for
    /// `Config::transaction_ms` from its answer on.
    pub(crate) fn begin(&mut self, from: Peer, key: &[u8]) -> Option<TransactionId> {
        self.core.begin(self.now, self.protocol, from, key, self.out)
    }

    /// Answers a transaction: sent now, and again for every retransmission.
    pub(crate) fn answer(&mut self, transaction: TransactionId, to: Peer, bytes: Vec<u8>) {
        self.core.transactions.answer(self.now.mono_ms, transaction, &bytes);
        self.send(to, bytes);
    }

    /// Takes a transaction back, as if it had never come.
    pub(crate) fn forget(&mut self, transaction: TransactionId) {
        self.core.transactions.forget(transaction);
    }

    /// The proxy identity, when this neighbour may send its registrations; else counted, and the registration is to be
    /// refused.
    pub(crate) fn serves(&mut self, from: Peer, idsp: &str) -> Option<Arc<str>> {
        let found = peers::serves(&self.core.config, self.protocol, from, idsp);
        self.core.counters.unknown_proxy += u64::from(found.is_none());
        found
    }

    /// s2: asks the AuC (s3); [`Agent::on_vector`] follows. `ipc` where s2 says it.
    ///
    /// # Errors
    /// What the terminal is told, counted: too many questions are open, or its realm is nobody's.
    pub(crate) fn s2(&mut self, origin: &Origin<'_>, s2: &S2<'_>, ipc: Option<SocketAddr>) -> Result<(), Refusal> {
        self.core.begin_pkd1(self.now, origin, s2, (None, ipc), self.out)
    }

    /// s8: compares the words; uses the challenge up. Counted.
    pub(crate) fn s8(&mut self, origin: &Origin<'_>, s8: &S8<'_>) -> Judged {
        self.core.judge_pkd1(self.now, origin, s8, None, self.out)
    }

    /// Binds an authenticated terminal to its lane, and tells the AuC (s11). True: it is there. False: it is somewhere
    /// else, by whatever protocol, and waits here until it is [`Ctx::confirm`]ed or its time is over.
    ///
    /// # Errors
    /// Seconds to wait, for the refusal: the location table is full. Counted.
    pub(crate) fn bind(&mut self, bound: &Bound<'_>) -> Result<bool, u32> {
        let Bound { idc, idsp, rand, ipc, lane, expires_s } = *bound;
        // A lane is one terminal's: whoever had it before is gone from there.
        if let Some(former) = self.owner(lane).filter(|former| **former != *idc.as_str()) {
            self.leave(&former, lane);
        }
        let session = Session { rand, idsp: idsp.clone(), ipc };
        let (now_ms, protocol) = (self.now.mono_ms, self.protocol);
        match self.core.location.bind_lane(now_ms, idc.as_str(), (protocol, lane), expires_s, &session) {
            Ok(changes) => {
                self.account(idc.as_str(), &changes);
                Ok(self.lane_of(idc.as_str()) == Some(lane))
            }
            Err(Unchanged::Full | Unchanged::OutOfOrder | Unchanged::TooManyContacts) => {
                self.core.counters.location_full += 1;
                Err(self.core.wait_s())
            }
        }
    }

    /// Who is bound to this lane.
    pub(crate) fn whose(&self, lane: Peer) -> Option<Box<str>> {
        self.owner(lane).filter(|idc| self.lane_of(idc) == Some(lane))
    }

    /// Who is bound to this lane, or waits there.
    pub(crate) fn owner(&self, lane: Peer) -> Option<Box<str>> {
        self.core.location.owner(self.now.mono_ms, self.protocol, lane).map(Into::into)
    }

    /// A message that is no step, and no answer of the proxy's own, came from a terminal by this lane, which only an
    /// active session lets it do: where it waited there, it is there from now on, and nowhere else. True when it is
    /// there.
    pub(crate) fn confirm(&mut self, idc: &str, lane: Peer) -> bool {
        let (now_ms, protocol) = (self.now.mono_ms, self.protocol);
        if let Some(changes) = self.core.location.confirm_lane(now_ms, idc, (protocol, lane)) {
            self.core.counters.moved += 1;
            self.account(idc, &changes);
        }
        self.lane_of(idc) == Some(lane)
    }

    /// Where a terminal of this protocol is reached; `None`: it is not bound by this protocol.
    pub(crate) fn lane_of(&self, idc: &str) -> Option<Peer> {
        self.core.location.lane_of(self.now.mono_ms, self.protocol, idc)
    }

    /// True while a terminal is bound, by whatever protocol.
    pub(crate) fn is_bound(&self, idc: &str) -> bool {
        self.core.location.find(self.now.mono_ms, idc).is_some_and(|mut bindings| bindings.any(|b| b.is_reached()))
    }

    /// The terminal showed life: it is not forgotten before `expires_s` from now. Nothing is told to the AuC.
    pub(crate) fn touch(&mut self, idc: &str, expires_s: u32) -> bool {
        self.core.location.touch(self.now.mono_ms, self.protocol, idc, expires_s).is_some()
    }

    /// The terminal refreshed its registration, which the AuC is told (s11): as [`Ctx::touch`].
    pub(crate) fn refresh(&mut self, idc: &str, expires_s: u32) -> bool {
        let refreshed = self.core.location.touch(self.now.mono_ms, self.protocol, idc, expires_s);
        let changes: Vec<_> = refreshed.into_iter().map(Change::Refreshed).collect();
        self.account(idc, &changes);
        !changes.is_empty()
    }

    /// The terminal de-registered, or was given up: [`Agent::on_left`] follows, and the AuC is told (s11).
    pub(crate) fn unbind(&mut self, idc: &str) {
        if let Some(lane) = self.lane_of(idc) {
            self.leave(idc, lane);
        }
    }

    /// As [`Ctx::unbind`], of one lane, where it may only have waited.
    pub(crate) fn leave(&mut self, idc: &str, lane: Peer) {
        let changes = self.core.location.unbind_lane(self.now.mono_ms, idc, (self.protocol, lane));
        self.account(idc, &changes);
    }

    fn account(&mut self, idc: &str, changes: &[Change]) {
        self.core.account(idc, changes, self.out);
    }
}

impl Core {
    /// See [`Ctx::begin`].
    pub(crate) fn begin(
        &mut self,
        now: Now,
        protocol: Protocol,
        from: Peer,
        key: &[u8],
        out: &mut Vec<Effect>,
    ) -> Option<TransactionId> {
        let mut whole = match from {
            Peer::Udp(addr) => format!("{} {addr} ", protocol as u8).into_bytes(),
            Peer::LocalLane(addr) => format!("{} lane {addr} ", protocol as u8).into_bytes(),
            Peer::Behind(addr, nth) => format!("{} behind {nth} {addr} ", protocol as u8).into_bytes(),
            Peer::LocalProxy => format!("{} local ", protocol as u8).into_bytes(),
        };
        whole.extend_from_slice(key);
        match self.transactions.begin(now.mono_ms, &whole) {
            Seen::New(transaction) => return Some(transaction),
            Seen::Answered(answer) => out.push(Effect::Send { protocol, to: from, bytes: answer.to_vec() }),
            Seen::Open => {}
        }
        self.counters.retransmission += 1;
        None
    }

    /// Writes a message; `None`, and counted, when it does not fit.
    pub(crate) fn write(&mut self, f: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Option<Vec<u8>> {
        let mut w = Writer::new(&mut self.buf);
        let done = f(&mut w).and_then(|()| w.finish());
        if done.is_err() {
            self.counters.too_big += 1;
            return None;
        }
        Some(w.written().to_vec())
    }

    /// Seconds to wait, of its own for everybody, so that they do not all come back at once.
    pub(crate) fn wait_s(&mut self) -> u32 {
        let (from, to) = self.config.retry_after_s;
        let spread = u64::from(to - from) + 1;
        from + (self.random.next_u64() % spread) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Peer as PeerConfig};
    use portunus_aaa::{AaaAnswer, AaaRequest, Unreachable};
    use portunus_keydist::steps::{Registration as Event, S4};
    use portunus_keydist::{Idsp, N1, SystemRandom};

    const LANE: &str = "192.0.2.1:40001";

    struct World {
        core: Core,
        out: Vec<Effect>,
        now: Now,
    }

    impl World {
        fn new() -> Self {
            let mut config = Config::new(([127, 0, 0, 1], 5060).into(), "example.test");
            config.peers = vec![PeerConfig { addr: "192.0.2.1:5060".parse().unwrap(), idsps: vec!["sp1".into()] }];
            let core = Core::new(config, Box::new(SystemRandom::new())).unwrap();
            Self { core, out: Vec::new(), now: Now { mono_ms: 100, wall_ms: 0 } }
        }

        fn with<R>(&mut self, protocol: Protocol, f: impl FnOnce(&mut Ctx<'_>) -> R) -> R {
            f(&mut Ctx { core: &mut self.core, now: self.now, protocol, out: &mut self.out })
        }

        /// The one question under way is answered; what an agent would be told.
        fn aaa(&mut self, outcome: Result<AaaAnswer, Unreachable>) -> Option<(Waiting, Vector)> {
            let Some(Effect::Ask { id, .. }) = self.out.pop() else { panic!("nothing was asked") };
            let (asked, outcome) = self.core.answered(self.now, id, outcome, &mut self.out)?;
            Some((asked.waiting, self.core.vector(self.now, asked.kind, outcome)))
        }

        /// The records told, as (event, Rand's first octet).
        fn told(&mut self) -> Vec<(Event, u8)> {
            let mut told = Vec::new();
            while let Some(Effect::Ask { id, request: AaaRequest::Account(a) }) = self.out.pop() {
                told.push((a.event, a.rand[0]));
                self.core.answered(self.now, id, Ok(AaaAnswer::Recorded), &mut self.out);
            }
            told
        }

        /// Authenticates and binds "gw" at a lane, by a challenge of `n`.
        fn registered(&mut self, protocol: Protocol, n: u8, lane: Peer) {
            let (idc, idsp) = (Idc::new("gw").unwrap(), Idsp::new("sp1").unwrap());
            let s2 = S2 { idc, idsp, n1: N1::from_bits(7) };
            let asked = self.with(protocol, |ctx| {
                let transaction = ctx.begin(lane, &[n]).expect("new");
                ctx.s2(&Origin { protocol, from: lane, transaction, request: b"s2" }, &s2, None)
            });
            assert_eq!(asked, Ok(()));
            let s4 = S4 { rand: [n; 16], auth_c: [n; 32], ekc: [1; 48], eksp: [2; 48] };
            let (waiting, vector) = self.aaa(Ok(AaaAnswer::Vector(s4))).unwrap();
            assert_eq!((waiting.protocol, waiting.from, &*waiting.request), (protocol, lane, &b"s2"[..]));
            assert!(matches!(vector, Vector::Challenge { n1, rand, .. } if n1 == N1::from_bits(7) && rand == [n; 16]));
            let ipc = "198.51.100.7:2427".parse().unwrap();
            let s8 = S8 { idc, idsp, rand: [n; 16], auth_c: [n; 32], ipc };
            self.with(protocol, |ctx| {
                let transaction = ctx.begin(lane, &[n, 1]).expect("new");
                let judged = ctx.s8(&Origin { protocol, from: lane, transaction, request: b"s8" }, &s8);
                assert!(matches!(judged, Judged::Right(s9) if s9.ekc == [1; 48]));
                let idsp = ctx.serves(lane, "sp1").expect("a proxy's lane");
                ctx.bind(&Bound { idc, idsp: &idsp, rand: s8.rand, ipc, lane, expires_s: 60 }).unwrap();
            });
        }
    }

    #[test]
    fn a_terminal_is_where_it_showed_life_last() {
        let (mut w, lane) = (World::new(), Peer::Udp(LANE.parse().unwrap()));
        w.registered(Protocol::Mgcp, 1, lane);
        assert_eq!(w.told(), [(Event::Start, 1)]);
        assert_eq!(w.with(Protocol::Mgcp, |ctx| ctx.whose(lane)).as_deref(), Some("gw"));
        assert!(w.with(Protocol::Mgcp, |ctx| ctx.touch("gw", 60)) && w.out.is_empty());
        assert!(w.with(Protocol::Mgcp, |ctx| ctx.refresh("gw", 60)));
        assert_eq!(w.told(), [(Event::Refresh, 1)]);
        // In another protocol it waits, and is where it was.
        w.registered(Protocol::Ras, 2, lane);
        assert_eq!(w.told(), [(Event::Start, 2)]);
        assert_eq!(w.with(Protocol::Ras, |ctx| (ctx.whose(lane), ctx.owner(lane))), (None, Some("gw".into())));
        assert!(!w.with(Protocol::Ras, |ctx| ctx.touch("gw", 60)));
        assert_eq!(w.with(Protocol::Mgcp, |ctx| ctx.lane_of("gw")), Some(lane));
        assert!(w.with(Protocol::Ras, |ctx| ctx.confirm("gw", lane)));
        assert_eq!(w.told(), [(Event::Stop, 1)]);
        assert_eq!(w.core.location.take_left(), Some((Protocol::Mgcp, "gw".into(), lane)));
        assert_eq!(w.with(Protocol::Mgcp, |ctx| ctx.lane_of("gw")), None);
        assert!(w.with(Protocol::Ras, |ctx| ctx.confirm("gw", lane)) && w.core.counters.moved == 1);
        w.with(Protocol::Ras, |ctx| ctx.unbind("gw"));
        assert_eq!(w.told(), [(Event::Stop, 2)]);
        assert!(!w.with(Protocol::Ras, |ctx| ctx.touch("gw", 60)));
    }

    #[test]
    fn retransmissions_get_their_answer_and_nothing_else_happens() {
        let (mut w, lane) = (World::new(), Peer::Udp(LANE.parse().unwrap()));
        let transaction = w.with(Protocol::Mgcp, |ctx| ctx.begin(lane, b"1")).unwrap();
        assert!(w.with(Protocol::Mgcp, |ctx| ctx.begin(lane, b"1")).is_none() && w.out.is_empty());
        w.with(Protocol::Mgcp, |ctx| ctx.answer(transaction, lane, b"200 1".to_vec()));
        assert!(w.with(Protocol::Mgcp, |ctx| ctx.begin(lane, b"1")).is_none());
        assert_eq!(w.out.len(), 2, "the answer, twice");
        assert_eq!(w.out[0], w.out[1]);
        assert!(w.with(Protocol::H248, |ctx| ctx.begin(lane, b"1")).is_some(), "another protocol's");
        assert_eq!(w.core.counters.retransmission, 2);
    }
}
