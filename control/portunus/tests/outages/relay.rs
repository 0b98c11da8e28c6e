//! A bad network between two parties: forwards datagrams, loses some, and notes the RADIUS questions that pass.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Sources that a relay serves at most; datagrams of others are lost.
const SOURCES_MAX: usize = 1_024;

/// Datagrams kept to be looked at.
const KEPT_MAX: usize = 4_096;

/// What passed.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) forwarded: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// When each Access-Request passed for the first time: a repetition has the same identifier and authenticator.
    questions: Mutex<(HashSet<Vec<u8>>, Vec<Question>)>,
    /// The first datagrams, both ways.
    kept: Mutex<Vec<Vec<u8>>>,
}

/// An Access-Request.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) at: Instant,
    pub(crate) user: String,
}

/// User-Name (RFC 2865 section 5.1) among a packet's attributes.
fn user_name(mut attributes: &[u8]) -> Option<String> {
    while let [kind, len, rest @ ..] = attributes {
        let value = rest.get(..usize::from(*len).checked_sub(2)?)?;
        if *kind == 1 {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        attributes = &rest[value.len()..];
    }
    None
}

impl Tally {
    /// The distinct Access-Requests so far.
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.questions.lock().expect("no panic under it").1.clone()
    }

    /// What passed first, both ways.
    pub(crate) fn kept(&self) -> Vec<Vec<u8>> {
        self.kept.lock().expect("no panic under it").clone()
    }

    fn keep(&self, datagram: &[u8]) {
        let mut kept = self.kept.lock().expect("no panic under it");
        if kept.len() < KEPT_MAX {
            kept.push(datagram.to_vec());
        }
    }

    fn note(&self, datagram: &[u8]) {
        // RFC 2865 section 3: code 1 is Access-Request.
        if let ([1, id, ..], Some(authenticator)) = (datagram, datagram.get(4..20)) {
            let mut name = authenticator.to_vec();
            name.push(*id);
            let mut known = self.questions.lock().expect("no panic under it");
            if known.0.insert(name) {
                let user = user_name(&datagram[20..]).unwrap_or_default();
                known.1.push(Question { at: Instant::now(), user });
            }
        }
    }
}

/// A running relay; it ends when dropped.
pub(crate) struct Relay {
    pub(crate) tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    rebind: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Wires {
    poll: Poll,
    /// Where datagrams come in, and the address behind it.
    fronts: Vec<(UdpSocket, SocketAddr)>,
    /// One socket for each source, so that the far side tells sources apart; in the order of their tokens.
    backs: Vec<(UdpSocket, SocketAddr)>,
    known: HashMap<SocketAddr, usize>,
    tally: Arc<Tally>,
    loss_permille: u64,
    state: u64,
}

impl Relay {
    /// Forwards what arrives at the first address of each pair to the second, and the answers back; loses so many
    /// datagrams in a thousand, each way, as `seed` says.
    pub(crate) fn start(pairs: &[(SocketAddr, SocketAddr)], loss_permille: u64, seed: u64) -> Self {
        let poll = Poll::new().expect("a poll");
        let mut fronts = Vec::new();
        for (n, (at, behind)) in pairs.iter().enumerate() {
            let mut socket = UdpSocket::bind(*at).unwrap_or_else(|e| panic!("a relay at {at}: {e}"));
            poll.registry().register(&mut socket, Token(n), Interest::READABLE).expect("registered");
            fronts.push((socket, *behind));
        }
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let known = HashMap::new();
        let wires =
            Wires { poll, fronts, backs: Vec::new(), known, tally: Arc::clone(&tally), loss_permille, state: seed };
        let (stopped, rebind) = (Arc::clone(&stop), Arc::new(AtomicBool::new(false)));
        let moved = Arc::clone(&rebind);
        let thread = std::thread::spawn(move || wires.run(&stopped, &moved));
        Self { tally, stop, rebind, thread: Some(thread) }
    }

    /// From now on every source has another address to the far side, as behind a NAT that was started again; what still
    /// goes to the old ones is lost.
    pub(crate) fn rebind(&self) {
        self.rebind.store(true, Ordering::Relaxed);
        while self.rebind.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Wires {
    fn run(mut self, stop: &AtomicBool, rebind: &AtomicBool) {
        let mut events = Events::with_capacity(256);
        while !stop.load(Ordering::Relaxed) {
            if rebind.load(Ordering::Relaxed) {
                for back in 0..self.backs.len() {
                    let source = self.backs[back].1;
                    self.backs[back] = (self.far_socket(back), source);
                }
                rebind.store(false, Ordering::Relaxed);
            }
            let _ = self.poll.poll(&mut events, Some(Duration::from_millis(50)));
            let ready: Vec<usize> = events.iter().map(|e| e.token().0).collect();
            for token in ready {
                match token.checked_sub(self.fronts.len()) {
                    None => self.inward(token),
                    Some(back) => self.outward(back),
                }
            }
        }
    }

    /// SplitMix64: a fair coin with a seed.
    fn loses(&mut self) -> bool {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let lost = (z ^ (z >> 31)) % 1_000 < self.loss_permille;
        let counter = if lost { &self.tally.lost } else { &self.tally.forwarded };
        counter.fetch_add(1, Ordering::Relaxed);
        lost
    }

    fn inward(&mut self, front: usize) {
        let mut room = [0u8; 8_192];
        while let Ok((n, from)) = self.fronts[front].0.recv_from(&mut room) {
            self.tally.note(&room[..n]);
            self.tally.keep(&room[..n]);
            if self.loses() {
                continue;
            }
            let Some(back) = self.back_of(from) else { continue };
            let _ = self.backs[back].0.send_to(&room[..n], self.fronts[front].1);
        }
    }

    fn back_of(&mut self, source: SocketAddr) -> Option<usize> {
        if let Some(known) = self.known.get(&source) {
            return Some(*known);
        }
        if self.backs.len() >= SOURCES_MAX {
            return None;
        }
        let socket = self.far_socket(self.backs.len());
        self.backs.push((socket, source));
        self.known.insert(source, self.backs.len() - 1);
        Some(self.backs.len() - 1)
    }

    /// A socket towards the far side, for the source of this number.
    fn far_socket(&self, back: usize) -> UdpSocket {
        let mut socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a loopback socket");
        let token = Token(self.fronts.len() + back);
        self.poll.registry().register(&mut socket, token, Interest::READABLE).expect("registered");
        socket
    }

    fn outward(&mut self, back: usize) {
        let mut room = [0u8; 8_192];
        while let Ok((n, from)) = self.backs[back].0.recv_from(&mut room) {
            // An answer leaves from where its question came in: terminals look at its source.
            let front = self.fronts.iter().position(|(_, behind)| *behind == from);
            self.tally.keep(&room[..n]);
            if self.loses() {
                continue;
            }
            if let Some(front) = front {
                let _ = self.fronts[front].0.send_to(&room[..n], self.backs[back].1);
            }
        }
    }
}
