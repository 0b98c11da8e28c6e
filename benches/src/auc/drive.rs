//! A closed loop of RADIUS questions to one server: so many are under way at any time, each about a subscriber drawn at
//! random.

use super::site::{NAS, SECRET, password};
use crate::keys::{IDSP, REALM, identity, key_of};
use core::net::SocketAddr;
use core::time::Duration;
use mio::{Events, Interest, Poll, Token};
use openssl::hash::{MessageDigest, hash};
use portunus_aaa::radius::{Builder, Code, Packet, attr, carriage, check_answer};
use portunus_aaa::secret::SharedSecret;
use portunus_aaa::{AaaAnswer, AaaRequest, Authenticate, Scheme};
use portunus_codec::hex_encode;
use portunus_io::listen::{self, Buffers};
use portunus_io::{Batch, Pushed, Rx as _, Tx as _, UdpPort};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::schedule::{For, WrapCtx, words_equal};
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// s3, which the AuC answers by a vector.
    Vector,
    /// Whether a digest response is the user's, as RADIUS servers verified them before RFC 4590: FreeRADIUS's `digest`.
    Digest,
}

/// Identifiers of one source port.
const IDS: usize = 256;
/// Messages a system call.
const BATCH: usize = 64;
/// Unanswered for so long, a question is asked again.
const PATIENCE: Duration = Duration::from_millis(500);
/// One answer in so many is looked at as a terminal and its proxy would.
const LOOK: u64 = 64;

struct Question {
    subscriber: u64,
    authenticator: [u8; 16],
    n1: N1,
}

/// What a slice came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Driven {
    pub(super) answered: u64,
    pub(super) wrong: u64,
    pub(super) repeated: u64,
    pub(super) seconds: f64,
}

/// A generator with its socket.
pub(super) struct Driver {
    port: UdpPort,
    poll: Poll,
    ask: Ask,
    to: SocketAddr,
    subscribers: u64,
    secret: SharedSecret,
    open: Vec<Option<Question>>,
    free: VecDeque<u8>,
    random: u64,
    tx: Batch,
    rx: Batch,
}

/// `name` as N1: 16 lower-case hex digits.
fn n1(random: u64) -> Option<N1> {
    let mut text = [0u8; 16];
    hex_encode(&random.to_be_bytes(), &mut text);
    N1::parse(&text)
}

impl Driver {
    /// Asks this of the server at `to`, which knows so many subscribers.
    pub(super) fn new(ask: Ask, to: SocketAddr, subscribers: u64) -> io::Result<Self> {
        let buffers = Buffers { receive: 8 << 20, send: 8 << 20 };
        let mut port = UdpPort::new(listen::udp(SocketAddr::from(([127, 0, 0, 1], 0)), buffers)?, BATCH);
        let poll = Poll::new()?;
        poll.registry().register(&mut port, Token(0), Interest::READABLE)?;
        Ok(Self {
            port,
            poll,
            ask,
            to,
            subscribers,
            secret: SharedSecret::new(SECRET.as_bytes()),
            open: (0..IDS).map(|_| None).collect(),
            free: (0..=255).collect(),
            random: 0x9e37_79b9_7f4a_7c15 ^ u64::from(to.port()),
            tx: Batch::new(BATCH, 4_096),
            rx: Batch::new(BATCH, 4_096),
        })
    }

    /// xorshift64*: even, and no part of what is measured.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Asks about a subscriber drawn at random.
    fn ask(&mut self) -> io::Result<()> {
        let subscriber = self.draw() % self.subscribers;
        let [a, b] = [self.draw(), self.draw()].map(u64::to_be_bytes);
        let authenticator: [u8; 16] = core::array::from_fn(|i| if i < 8 { a[i] } else { b[i - 8] });
        let bad = |what: &str| io::Error::other(what.to_owned());
        let n1 = n1(self.draw()).ok_or_else(|| bad("N1"))?;
        let id = self.free.pop_front().ok_or_else(|| bad("no identifier is free"))?;
        let packet = match self.ask {
            Ask::Vector => vector_request(id, subscriber, n1, &authenticator, &self.secret)?,
            Ask::Digest => digest_request(id, subscriber, &authenticator, &self.secret)?,
        };
        if self.tx.is_full() {
            self.flush()?;
        }
        if self.tx.push(self.to, &packet) != Pushed::Written {
            return Err(bad("the batch is full"));
        }
        self.open[usize::from(id)] = Some(Question { subscriber, authenticator, n1 });
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.tx.is_empty() {
            let sent = self.port.send(&mut self.tx)?;
            if sent.messages + sent.oversize + sent.failed == 0 {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Asks `count` questions, `window` of them under way at a time, and waits for their answers.
    pub(super) fn run(&mut self, count: u64, window: u64) -> io::Result<Driven> {
        let window = window.min(IDS as u64 / 2);
        let (mut done, mut asked) = (Driven::default(), 0);
        let begun = Instant::now();
        let mut heard = Instant::now();
        let mut events = Events::with_capacity(4);
        while done.answered < count {
            while asked < count && asked - done.answered < window {
                self.ask()?;
                asked += 1;
            }
            self.flush()?;
            self.rx.clear();
            let got = self.port.recv(&mut self.rx)?;
            if got.messages == 0 {
                self.poll.poll(&mut events, Some(Duration::from_millis(100)))?;
                if heard.elapsed() > PATIENCE {
                    heard = Instant::now();
                    let lost = self.forget();
                    done.repeated += lost;
                    asked -= lost;
                    if done.repeated > count {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} does not answer", self.to)));
                    }
                }
                continue;
            }
            heard = Instant::now();
            let answers = core::mem::replace(&mut self.rx, Batch::new(1, 1));
            for (_, octets) in answers.iter() {
                let Some(good) = self.take(octets, done.answered) else { continue };
                done.answered += 1;
                done.wrong += u64::from(!good);
            }
            self.rx = answers;
        }
        done.seconds = begun.elapsed().as_secs_f64();
        Ok(done)
    }

    /// Gives up what was not answered; how many they were.
    fn forget(&mut self) -> u64 {
        let mut lost = 0;
        for id in 0..=255u8 {
            if self.open[usize::from(id)].take().is_some() {
                self.free.push_back(id);
                lost += 1;
            }
        }
        lost
    }

    /// An answer arrived; `None`: to nothing that is open. False: it is not what it should be.
    fn take(&mut self, octets: &[u8], nth: u64) -> Option<bool> {
        let id = *octets.get(1)?;
        let question = self.open[usize::from(id)].take()?;
        self.free.push_back(id);
        let right = match self.ask {
            Ask::Digest => octets.first() == Some(&(Code::AccessAccept as u8)),
            Ask::Vector if nth.is_multiple_of(LOOK) => is_vector(octets, &question, &self.secret),
            Ask::Vector => octets.first() == Some(&(Code::AccessChallenge as u8)),
        };
        Some(right)
    }
}

fn request(subscriber: u64, n1: N1) -> AaaRequest {
    AaaRequest::Authenticate(Authenticate {
        idc: identity(subscriber),
        idsp: IDSP.into(),
        scheme: Scheme::Pkd1 { n1 },
        realm: REALM.into(),
        uri: None,
        source: None,
    })
}

fn full<E>(_: E) -> io::Error {
    io::Error::other("a request does not fit a packet")
}

fn vector_request(
    id: u8,
    subscriber: u64,
    n1: N1,
    authenticator: &[u8; 16],
    secret: &SharedSecret,
) -> io::Result<Vec<u8>> {
    let mut b = Builder::new(Vec::new(), Code::AccessRequest, id);
    carriage::write_request(&mut b, &request(subscriber, n1), NAS, None);
    b.finish_request(authenticator, secret).map_err(full)
}

/// Digest-Response and Digest-Attributes of draft-sterman-aaa-sip, which Debian's FreeRADIUS verifies.
fn digest_request(id: u8, subscriber: u64, authenticator: &[u8; 16], secret: &SharedSecret) -> io::Result<Vec<u8>> {
    const DIGEST_RESPONSE: u8 = 206;
    const DIGEST_ATTRIBUTES: u8 = 207;
    let hex = |parts: &[&[u8]]| -> io::Result<[u8; 32]> {
        let mut text = [0u8; 32];
        hex_encode(&hash(MessageDigest::md5(), &parts.join(&b':'))?, &mut text);
        Ok(text)
    };
    let (user, uri) = (identity(subscriber), format!("sip:{REALM}"));
    let mut nonce = [0u8; 32];
    hex_encode(authenticator, &mut nonce);
    let ha1 = hex(&[user.as_bytes(), REALM.as_bytes(), password(subscriber).as_bytes()])?;
    let ha2 = hex(&[b"REGISTER", uri.as_bytes()])?;
    let response = hex(&[&ha1, &nonce, &ha2])?;
    let mut b = Builder::new(Vec::new(), Code::AccessRequest, id);
    b.put(attr::USER_NAME, user.as_bytes()).put(attr::NAS_IDENTIFIER, NAS.as_bytes());
    b.put(DIGEST_RESPONSE, &response);
    // Realm, Nonce, Method, URI, User-Name, each an attribute within an attribute.
    let parts: [(u8, &[u8]); 5] =
        [(1, REALM.as_bytes()), (2, &nonce), (3, b"REGISTER"), (4, uri.as_bytes()), (10, user.as_bytes())];
    for (kind, value) in parts {
        b.put(DIGEST_ATTRIBUTES, &[&[kind, value.len() as u8 + 2], value].concat());
    }
    b.finish_request(authenticator, secret).map_err(full)
}

/// True when it is a vector that this subscriber can answer and whose session key it can open.
fn is_vector(octets: &[u8], question: &Question, secret: &SharedSecret) -> bool {
    let Question { subscriber, authenticator, n1 } = question;
    let Ok(packet) = Packet::parse(octets) else { return false };
    let proved = check_answer(&packet, (Code::AccessRequest, authenticator), secret).is_ok();
    let Ok(AaaAnswer::Vector(s4)) = carriage::read_answer(&packet, &request(*subscriber, *n1)) else { return false };
    let name = identity(*subscriber);
    let (Some(idc), Some(idsp)) = (Idc::new(&name), Idsp::new(IDSP)) else { return false };
    let prk = key_of(&name).prk();
    let ctx = WrapCtx { idc, idsp, rand: &s4.rand, n1a: n1 };
    let word = prk.word(idc, idsp, &s4.rand);
    proved && words_equal(&word, &s4.auth_c) && prk.unwrap(For::Terminal, &ctx, &s4.ekc).is_ok()
}

/// Asks for a vector of subscriber 0 every few milliseconds until a right one comes; how long after `since` that was.
pub(super) fn first_answer(to: SocketAddr, since: Instant, limit: Duration) -> io::Result<Duration> {
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(5)))?;
    let secret = SharedSecret::new(SECRET.as_bytes());
    let mut room = [0u8; 4_096];
    // An answer may be later than the next question.
    let mut asked: Vec<Question> = Vec::new();
    for n in 0u64.. {
        let mut authenticator = [0x5a; 16];
        authenticator[..8].copy_from_slice(&n.to_be_bytes());
        let n1 = n1(n).ok_or(io::ErrorKind::InvalidInput)?;
        // Nobody listens yet: refused, asked again.
        let _ = socket.send_to(&vector_request(n as u8, 0, n1, &authenticator, &secret)?, to);
        asked.push(Question { subscriber: 0, authenticator, n1 });
        while let Ok(len) = socket.recv(&mut room) {
            let answer = room.get(..len).unwrap_or_default();
            if asked.iter().rev().take(IDS).any(|question| is_vector(answer, question, &secret)) {
                return Ok(since.elapsed());
            }
        }
        if since.elapsed() > limit {
            break;
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("{to} gave no vector within {} s", limit.as_secs())))
}
