//! The floors: what forwarding the same packets costs with the same I/O loop and nothing else (F0), and with the same
//! number of the same cryptographic calls (F1).
//!
//! A floor reads nothing. So that the core's answer finds its way back it appends a trailer of a fixed length, which
//! holds the terminal's address; the stand-in core repeats it behind its answer and says in it which step that is. In
//! SIP the trailer is as long as what a proxy adds (Via and Path); in the other protocols, where a proxy adds nothing,
//! as short as can be. Receipts (MGCP 200, H.248 Reply) go through it like everything else, so that as many packets
//! pass as through a proxy, which writes its own.

use crate::keys::{IDSP, identity, key_of};
use crate::traffic::floor::{Channel, TRAFFIC};
use core::net::SocketAddr;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use mio::{Events, Interest, Poll, Token};
use portunus_channel::Mechanism as _;
use portunus_channel::sealed::Sealed;
use portunus_io::listen::{self, Buffers};
use portunus_io::{Batch, Pushed, Rx as _, Tx as _, UdpPort};
use portunus_keydist::batch::{MacJob, OpenJob, mac_batch, open_batch};
use portunus_keydist::ident::{Idc, Idsp, N1, Rand, Wrap};
use portunus_keydist::proxy::challenge::Challenges;
use portunus_keydist::proxy::source::{ProcessKeys, Source};
use portunus_keydist::schedule::{For, WrapCtx};
use portunus_keydist::{Prk, Random as _, SessionKey, SystemRandom, TrafficCtx};
use portunus_signalling::Protocol;
use portunus_sip::MAC_PLACEHOLDER;
use std::io;

/// Octets of the longest trailer, SIP's.
pub const TRAILER: usize = 200;
/// Octets of the others'.
const TRAILER_SHORT: usize = 16;

/// Octets of a protocol's trailer.
pub const fn trailer(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Sip => TRAILER,
        Protocol::Mgcp | Protocol::H248 | Protocol::Ras => TRAILER_SHORT,
    }
}
const MAGIC: [u8; 8] = [0xf1, 0x00, 0xf1, 0x00, 0xf1, 0x00, 0xf1, 0x00];
/// Messages a batch, as the node's default.
const BATCH: usize = 64;
/// Joined datagrams received by one system call, as the proxy's link to the core.
const JOINED: usize = 32;
/// Longest message, octets.
const MESSAGE_MAX: usize = 4_096;

/// What a trailer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// The terminal.
    pub terminal: SocketAddr,
    /// Towards the terminal: the step that the message is (6 or 10); 0 towards the core. [`TRAFFIC`] both ways for what
    /// passes a channel.
    pub step: u8,
}

impl Trailer {
    /// Its octets, of which the first `len` count. The terminal's address is IPv4: measurements run on 127.0.0.1.
    pub fn octets(&self, len: usize) -> [u8; TRAILER] {
        let mut out = [0u8; TRAILER];
        if let IpAddr::V4(v4) = self.terminal.ip() {
            out[..4].copy_from_slice(&v4.octets());
        }
        out[4..6].copy_from_slice(&self.terminal.port().to_be_bytes());
        out[6] = self.step;
        out[len - 8..len].copy_from_slice(&MAGIC);
        out
    }

    /// Splits a message from its trailer of `len` octets; `None` when it has none.
    pub fn split(octets: &[u8], len: usize) -> Option<(&[u8], Self)> {
        let (message, t) = octets.split_at_checked(octets.len().checked_sub(len)?)?;
        let (ip, port) = (t.get(..4)?, t.get(4..6)?);
        let ip = Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?);
        let port = u16::from_be_bytes(port.try_into().ok()?);
        let trailer = Self { terminal: SocketAddr::new(ip.into(), port), step: *t.get(6)? };
        (t.get(len - 8..)? == MAGIC).then_some((message, trailer))
    }
}

/// The cryptography of a proxy, on material that is always the same.
struct Crypto {
    challenges: Challenges,
    source: Source,
    prk: Prk,
    idc: String,
    rand: Rand,
    n1: N1,
    wrap: Wrap,
    token: Vec<u8>,
    check: u64,
}

impl Crypto {
    fn new() -> Option<Self> {
        let mut rng = SystemRandom::new();
        let keys = ProcessKeys::draw(&mut rng);
        let mut challenges = Challenges::new(&keys, 0);
        let source = Source::new(SocketAddr::from(([127, 0, 0, 1], 5060)), 0);
        let (prk, idc_text, rand, n1) = (key_of(IDSP).prk(), identity(0), rng.array(), N1::from_bits(rng.next_u64()));
        let (idc, idsp) = (Idc::new(&idc_text)?, Idsp::new(IDSP)?);
        let ctx = WrapCtx { idc, idsp, rand: &rand, n1a: &n1 };
        let wrap = prk.wrap(For::Proxy, &ctx, &SessionKey::new(rng.array()));
        let token = challenges.seal(0, &source, idc, &rand, &n1).to_vec();
        Some(Self { challenges, source, prk, idc: idc_text, rand, n1, wrap, token, check: 0 })
    }

    /// What a proxy computes for s6: N2a is sealed.
    fn step6(&mut self) {
        let Some(idc) = Idc::new(&self.idc) else { return };
        let token = self.challenges.seal(0, &self.source, idc, &self.rand, &self.n1);
        self.check ^= u64::from(token[0]);
    }

    /// What a proxy computes from s7 to s10, for a batch of them: N2a is opened, the wrap too, S, K_mac and the
    /// traffic keys are derived, the message is signed.
    fn step10(&mut self, messages: &[&[u8]]) {
        let (Some(idc), Some(idsp)) = (Idc::new(&self.idc), Idsp::new(IDSP)) else { return };
        let ctx = WrapCtx { idc, idsp, rand: &self.rand, n1a: &self.n1 };
        let traffic = TrafficCtx { idc, idsp, n1b: &self.n1, n2b: &self.n1, token: "x-pkd-sealed" };
        let jobs: Vec<OpenJob<'_>> = messages.iter().map(|_| OpenJob { ctx, wrap: &self.wrap }).collect();
        let mut keys = Vec::with_capacity(messages.len());
        for _ in messages {
            let opened = self.challenges.open(0, &self.source, idc, &self.token, u64::MAX);
            self.check ^= u64::from(opened.is_ok());
        }
        open_batch(&self.prk, &jobs, |_, opened| {
            if let Ok(opened) = opened {
                std::hint::black_box(Sealed.derive(&opened.secret, &traffic));
                keys.push(opened.mac_key);
            }
        });
        let each = keys.iter().zip(messages);
        let mut macs: Vec<MacJob<'_>> = each
            .map(|(key, message)| MacJob { key, message, field: 0..64, placeholder: MAC_PLACEHOLDER, out: [0; 32] })
            .collect();
        mac_batch(&mut macs);
        self.check ^= macs.iter().fold(0, |n, m| n ^ u64::from(m.out[0]));
    }
}

/// A floor at work.
pub struct Floor {
    access: UdpPort,
    core: UdpPort,
    to_core: SocketAddr,
    crypto: Option<Crypto>,
    channel: Option<Channel>,
    joined: bool,
    trailer: usize,
    rest: Duration,
    enough: usize,
}

impl core::fmt::Debug for Floor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Floor(F{})", u8::from(self.crypto.is_some()))
    }
}

impl Floor {
    /// Binds both sides on 127.0.0.1. `rest` and `enough` are the node's pace: how long to rest after a batch of
    /// fewer than `enough` messages.
    ///
    /// # Errors
    /// What the system reports.
    pub fn bind(
        protocol: Protocol,
        to_core: SocketAddr,
        crypto: bool,
        rest: Duration,
        enough: usize,
    ) -> io::Result<Self> {
        let trailer = trailer(protocol);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let port = || listen::udp(any, Buffers::default()).map(|s| UdpPort::new(s, BATCH));
        let crypto = if crypto { Crypto::new() } else { None };
        Ok(Self {
            access: port()?,
            core: port()?,
            to_core,
            crypto,
            channel: None,
            joined: false,
            trailer,
            rest,
            enough,
        })
    }

    /// The same, whose messages from and to the core pass the system joined, as the proxy's do.
    #[must_use]
    pub fn joined(mut self) -> Self {
        self.joined = self.core.coalesce();
        self
    }

    /// The same for what passes a channel: opens what terminals send, and seals what they get.
    #[must_use]
    pub fn with_channel(self, channel: Channel) -> Self {
        Self { channel: Some(channel), trailer: crate::traffic::floor::TRAILER, ..self }
    }

    /// Where terminals reach it.
    ///
    /// # Errors
    /// What the system reports.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.access.local_addr()
    }

    /// Forwards until `stop` says true, which is asked at least once a second.
    ///
    /// # Errors
    /// What the system reports about the poll.
    pub fn run(mut self, mut stop: impl FnMut() -> bool) -> io::Result<()> {
        let mut poll = Poll::new()?;
        poll.registry().register(&mut self.access, Token(0), Interest::READABLE)?;
        poll.registry().register(&mut self.core, Token(1), Interest::READABLE)?;
        let mut events = Events::with_capacity(8);
        let plain = || Batch::new(BATCH, MESSAGE_MAX);
        let (mut rx, mut up, mut down) = (plain(), plain(), plain());
        let mut core_rx = if self.joined { Batch::coalescing(JOINED) } else { plain() };
        let mut ready = [true, true];
        while !stop() {
            let mut moved = 0;
            if ready[0] {
                rx.clear();
                ready[0] = !self.access.recv(&mut rx).map(|r| r.drained).unwrap_or(true);
                moved += rx.len();
                let mut pass = |step, from, octets: &[u8]| {
                    let trailer = Trailer { terminal: from, step }.octets(self.trailer);
                    push(&mut up, self.to_core, &[octets, &trailer[..self.trailer]]);
                };
                match &self.channel {
                    Some(channel) => channel.upwards(&mut rx, |from, octets| pass(TRAFFIC, from, octets)),
                    None => rx.iter().for_each(|(from, octets)| pass(0, from, octets)),
                }
            }
            if ready[1] {
                core_rx.clear();
                ready[1] = !self.core.recv(&mut core_rx).map(|r| r.drained).unwrap_or(true);
                moved += core_rx.len();
                self.downwards(&core_rx, &mut down);
            }
            // What a full socket does not take is lost, as in the node.
            let _ = self.core.send(&mut up);
            up.clear();
            let _ = self.access.send(&mut down);
            down.clear();
            if moved == 0 {
                poll.poll(&mut events, Some(Duration::from_secs(1)))?;
                for event in events.iter() {
                    ready[event.token().0.min(1)] = true;
                }
            } else if moved < self.enough && !self.rest.is_zero() {
                std::thread::sleep(self.rest);
                ready = [true, true];
            }
        }
        Ok(())
    }

    fn downwards(&mut self, rx: &Batch, down: &mut Batch) {
        let mut keys: [&[u8]; BATCH] = [&[]; BATCH];
        let mut count = 0;
        for (_, octets) in rx.iter() {
            let Some((message, trailer)) = Trailer::split(octets, self.trailer) else { continue };
            if let Some(channel) = &mut self.channel {
                if down.is_full() {
                    let _ = self.access.send(down);
                    down.clear();
                }
                down.push_with(trailer.terminal, |room| channel.downwards(message, room));
                continue;
            }
            push(down, trailer.terminal, &[message]);
            match (&mut self.crypto, trailer.step) {
                (Some(crypto), 6) => crypto.step6(),
                (Some(_), 10) => {
                    if let Some(place) = keys.get_mut(count) {
                        *place = message;
                        count += 1;
                    }
                }
                _ => {}
            }
        }
        if let (Some(crypto), Some(keys)) = (&mut self.crypto, keys.get(..count).filter(|k| !k.is_empty())) {
            crypto.step10(keys);
        }
    }
}

fn push(batch: &mut Batch, to: SocketAddr, parts: &[&[u8]]) -> bool {
    let pushed = batch.push_with(to, |room| {
        let mut at = 0;
        for part in parts {
            room.get_mut(at..at + part.len())?.copy_from_slice(part);
            at += part.len();
        }
        Some(at)
    });
    pushed == Pushed::Written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_comes_back() {
        let t = Trailer { terminal: SocketAddr::from(([127, 0, 0, 1], 40_000)), step: 10 };
        for len in [Protocol::Sip, Protocol::Ras].map(trailer) {
            let whole = [b"message".as_slice(), &t.octets(len)[..len]].concat();
            assert_eq!(Trailer::split(&whole, len), Some((&b"message"[..], t)));
            assert_eq!(Trailer::split(b"message", len), None);
        }
    }

    #[test]
    fn the_crypto_works_on_good_material() {
        let mut c = Crypto::new().unwrap();
        let idc = identity(0);
        let opened = c.challenges.open(0, &c.source, Idc::new(&idc).unwrap(), &c.token, u64::MAX);
        assert_eq!(opened.unwrap().rand, c.rand);
        let message = [b'x'; 900];
        c.step6();
        c.step10(&[&message, &message]);
    }
}
