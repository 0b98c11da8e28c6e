//! Where activation codes are redeemed: a UDP socket and a thread of its own beside the AuC's loop.
//!
//! It answers only what was made under a code that it knows, with nothing longer than what it answers; everything else is
//! met with silence and counted. What it does with a message is decided in [`crate::activation`].

use crate::activation::{Reply, Why};
use crate::audit::{Audit, AuditEntry};
use crate::provision::Provision;
use crate::store::{Redemption, Store};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use portunus_keydist::activation::{MESSAGE_MAX, Message, locator_text};
use portunus_keydist::{Now, SystemRandom};
use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How soon a stop is noticed.
const LOOK: Duration = Duration::from_millis(200);
/// Sources that are remembered at one time.
const SOURCES: usize = 4_096;
/// Messages a source may send at once, and the time after which it may send another, milliseconds.
const BURST: u64 = 20;
const EACH_MS: u64 = 200;

/// Where and how fast.
#[derive(Debug, Clone, Copy)]
pub struct RedeemConfig {
    /// The address; port 0: any.
    pub address: SocketAddr,
    /// Messages a second altogether; more are dropped before they are looked at.
    pub rate: u32,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RedeemCounters {
    /// Datagrams that arrived.
    pub received: u64,
    /// Dropped, because their source or all together sent too many.
    pub limited: u64,
    /// Keys answered.
    pub answered: u64,
    /// Keys that work since they were confirmed.
    pub redeemed: u64,
    /// Answers sent again.
    pub repeated: u64,
    /// Silence: no message of a terminal's.
    pub malformed: u64,
    /// Silence: no code is found by that locator.
    pub unknown: u64,
    /// Silence: made under another code, or altered.
    pub forged: u64,
    /// Silence: the code's time is over.
    pub expired: u64,
    /// Silence: redeemed already, or revoked.
    pub spent: u64,
    /// Silence: a nonce that a newer one replaced.
    pub replaced: u64,
    /// Silence: begun anew too often.
    pub too_many: u64,
    /// Silence: the subscriber has another key by now.
    pub taken: u64,
    /// Silence: the store failed.
    pub faults: u64,
}

impl RedeemCounters {
    fn silence(&mut self, why: Why) {
        *match why {
            Why::Malformed => &mut self.malformed,
            Why::Unknown => &mut self.unknown,
            Why::Forged => &mut self.forged,
            Why::Expired => &mut self.expired,
            Why::Spent => &mut self.spent,
            Why::Replaced => &mut self.replaced,
            Why::TooMany => &mut self.too_many,
            Why::Taken => &mut self.taken,
        } += 1;
    }

    /// All of them, by name.
    pub const fn all(&self) -> [(&'static str, u64); 14] {
        [
            ("received", self.received),
            ("limited", self.limited),
            ("answered", self.answered),
            ("redeemed", self.redeemed),
            ("repeated", self.repeated),
            ("malformed", self.malformed),
            ("unknown", self.unknown),
            ("forged", self.forged),
            ("expired", self.expired),
            ("spent", self.spent),
            ("replaced", self.replaced),
            ("too_many", self.too_many),
            ("taken", self.taken),
            ("faults", self.faults),
        ]
    }
}

/// How much is taken from whom. A source that guesses is not let in any later for it: this spares the processor.
#[derive(Debug)]
struct Limits {
    each_second: u64,
    /// When the next message of all would find no reserve, in millionths of a second.
    all_us: u64,
    /// When each source's reserve is full again, milliseconds.
    sources: BTreeMap<IpAddr, u64>,
}

impl Limits {
    fn new(rate: u32) -> Self {
        Self { each_second: u64::from(rate.max(1)), all_us: 0, sources: BTreeMap::new() }
    }

    fn admit(&mut self, mono_ms: u64, from: IpAddr) -> bool {
        let source = self.sources.get(&network(from)).copied().unwrap_or_default().max(mono_ms) + EACH_MS;
        let all = self.all_us.max(mono_ms * 1_000) + 1_000_000 / self.each_second;
        if source > mono_ms + BURST * EACH_MS || all > (mono_ms + 1_000) * 1_000 {
            return false;
        }
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&network(from)) {
            // Those with a full reserve are as good as forgotten. Where none is, newcomers share what all have.
            self.sources.retain(|_, full_at| *full_at > mono_ms);
        }
        if self.sources.len() < SOURCES || self.sources.contains_key(&network(from)) {
            self.sources.insert(network(from), source);
        }
        self.all_us = all;
        true
    }
}

/// What is one source: an address, or of IPv6 the network of 64 bits that somebody has at least.
fn network(from: IpAddr) -> IpAddr {
    match from {
        IpAddr::V4(_) => from,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// A running redeemer.
#[derive(Debug)]
pub struct RedeemHandle {
    address: SocketAddr,
    counters: Arc<Mutex<RedeemCounters>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RedeemHandle {
    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted.
    pub fn counters(&self) -> RedeemCounters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when its thread ended by itself, which is a fault of ours.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }
}

impl Drop for RedeemHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts it; its socket is open when this returns. `record`: the system of record, where that is not the store.
///
/// # Errors
/// An address that cannot be had, named; no thread to be had.
pub fn start(
    config: RedeemConfig,
    store: Arc<Store>,
    record: Option<Arc<dyn Provision>>,
    audit: Option<Arc<Audit>>,
) -> io::Result<RedeemHandle> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", config.address));
    let socket = UdpSocket::bind(config.address).map_err(named)?;
    socket.set_read_timeout(Some(LOOK))?;
    let address = socket.local_addr()?;
    let (counters, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
    let redeemer = Redeemer {
        socket,
        store,
        record,
        audit,
        limits: Limits::new(config.rate),
        rng: SystemRandom::new(),
        begun: Instant::now(),
        counters: Arc::clone(&counters),
        stop: stop.clone(),
    };
    let thread = std::thread::Builder::new().name("auc-redeem".into()).spawn(move || redeemer.run())?;
    Ok(RedeemHandle { address, counters, stop, thread: Some(thread) })
}

struct Redeemer {
    socket: UdpSocket,
    store: Arc<Store>,
    record: Option<Arc<dyn Provision>>,
    audit: Option<Arc<Audit>>,
    limits: Limits,
    rng: SystemRandom,
    begun: Instant,
    counters: Arc<Mutex<RedeemCounters>>,
    stop: Arc<AtomicBool>,
}

impl Redeemer {
    fn run(mut self) {
        // One octet more than any message, so that a longer one is not taken for its beginning.
        let mut octets = [0u8; MESSAGE_MAX + 1];
        while !self.stop.load(Ordering::Acquire) {
            match self.socket.recv_from(&mut octets) {
                Ok((n, from)) => self.on_datagram(from, octets.get(..n).unwrap_or_default()),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                // What an earlier answer met on its way, or a signal.
                Err(e) => tracing::debug!(error = %e, "receiving for activation codes"),
            }
        }
    }

    fn count(&self, with: impl FnOnce(&mut RedeemCounters)) {
        with(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn on_datagram(&mut self, from: SocketAddr, octets: &[u8]) {
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let now = Now { mono_ms: self.begun.elapsed().as_millis() as u64, wall_ms };
        self.count(|c| c.received += 1);
        if !self.limits.admit(now.mono_ms, from.ip()) {
            return self.count(|c| c.limited += 1);
        }
        let reply = match self.store.redeem(now.wall_ms, octets, self.record.as_deref(), &mut self.rng) {
            Err(e) => {
                self.count(|c| c.faults += 1);
                tracing::error!(error = %e, "the store failed a terminal with an activation code");
                return;
            }
            Ok(Redemption::Silence(why)) => {
                self.count(|c| c.silence(why));
                // These were made under a code: whoever sends them holds it, or a copy of what a holder sent.
                if !matches!(why, Why::Malformed | Why::Unknown | Why::Forged) {
                    tracing::info!(from = %from.ip(), ?why, "an activation code was not redeemed");
                }
                return;
            }
            Ok(Redemption::Repeated(reply)) => {
                self.count(|c| c.repeated += 1);
                reply
            }
            Ok(Redemption::Answered(idc, reply)) => {
                self.count(|c| c.answered += 1);
                self.tell(now, "code.answer", &idc, octets, from);
                reply
            }
            Ok(Redemption::Redeemed(idc, reply)) => {
                self.count(|c| c.redeemed += 1);
                self.tell(now, "code.redeem", &idc, octets, from);
                reply
            }
        };
        self.send(from, &reply);
    }

    /// What cannot be sent is asked for again.
    fn send(&self, to: SocketAddr, reply: &Reply) {
        let _ = self.socket.send_to(reply.octets(), to);
    }

    fn tell(&self, now: Now, event: &'static str, idc: &str, octets: &[u8], from: SocketAddr) {
        let Some(audit) = &self.audit else { return };
        let locator = Message::read(octets).map(|m| locator_text(m.locator())).unwrap_or_default();
        let address = from.ip().to_string();
        let fields = [("id", idc), ("code", locator.as_str()), ("address", address.as_str())];
        if let Err(e) = audit.append(&[AuditEntry::new(now.wall_ms, event, &fields)]) {
            tracing::error!(error = %e, "the audit log was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custody::MasterKey;
    use crate::store::{Credential, Space, Whose};
    use portunus_keydist::activation::CodeKey;

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }

    #[test]
    fn a_source_has_a_reserve_and_all_together_have_one() {
        let mut limits = Limits::new(100);
        let [one, two]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        assert_eq!((0..100).filter(|_| limits.admit(0, one)).count(), 20);
        assert!(limits.admit(0, two) && !limits.admit(199, one) && limits.admit(200, one));
        let mut limits = Limits::new(100);
        let own = |n: u32| IpAddr::from((n + (10 << 24)).to_be_bytes());
        assert_eq!((0..1_000).filter(|n| limits.admit(0, own(*n))).count(), 100);
        assert_eq!((0..1_000).filter(|n| limits.admit(500, own(*n))).count(), 50);
        for n in 0..20_000 {
            limits.admit(1_000 + u64::from(n) * 10, own(n));
            assert!(limits.sources.len() <= SOURCES);
        }
        let near: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(network(near), network("2001:db8::ffff".parse().unwrap()));
        assert_ne!(network(near), network("2001:db8:0:1::1".parse().unwrap()));
    }

    #[test]
    fn only_who_holds_a_code_hears_anything() {
        let folder = tempfile::tempdir().unwrap();
        let rng = &mut SystemRandom::new();
        let store = Arc::new(Store::open(&folder.path().join("auc.redb"), &MasterKey::new([1; 32]), rng).unwrap());
        let log = folder.path().join("audit.log");
        let audit = Arc::new(Audit::open(&log, 1 << 20).unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let handle = start(RedeemConfig { address, rate: 1_000 }, store.clone(), None, Some(audit)).unwrap();
        let ids = ["alice@example.test".to_owned()];
        let issued = store.issue_codes((now(), now() + 60_000), Whose::Named(&ids), false, rng).unwrap();
        let key = issued[0].code.key();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ask = |octets: &[u8], patience: u64| {
            socket.set_read_timeout(Some(Duration::from_millis(patience))).unwrap();
            socket.send_to(octets, handle.address()).unwrap();
            let mut answer = [0u8; 512];
            socket.recv_from(&mut answer).ok().map(|(n, _)| answer[..n].to_vec())
        };
        let wrong = CodeKey::from_octets([9; 32]).ask(&[1; 16]);
        let mut forged = key.ask(&[1; 16]);
        forged[221] ^= 1;
        let long = [key.ask(&[1; 16]).as_slice(), &[0]].concat();
        for silent in [wrong.as_slice(), &forged, &long, b"", b"PKA1"] {
            assert_eq!(ask(silent, 150), None);
        }
        let answer = ask(&key.ask(&[2; 16]), 5_000).unwrap();
        assert_eq!(ask(&key.ask(&[2; 16]), 5_000).unwrap(), answer);
        let (granted, _) = key.open_answer(&[2; 16], &answer).unwrap();
        assert_eq!(ask(&key.confirm(&granted), 5_000).unwrap(), key.done(&granted));
        assert_eq!(ask(&key.ask(&[3; 16]), 150), None);
        let found = store.credential(Space::Subscriber, "alice@example.test").unwrap();
        assert!(matches!(found, Some(Credential::Key(kc)) if kc.expose() == granted.kc.expose()));
        let counted = handle.counters();
        assert_eq!((counted.received, counted.unknown, counted.forged, counted.malformed), (9, 1, 1, 3));
        assert_eq!((counted.answered, counted.repeated, counted.redeemed, counted.spent), (1, 1, 1, 1));
        drop(handle);
        let log = std::fs::read_to_string(log).unwrap();
        assert!(
            log.contains("code.answer") && log.contains("code.redeem") && log.contains(&issued[0].locator),
            "{log}"
        );
    }
}
