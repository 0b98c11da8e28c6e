//! What the stage needs to know of a protocol: how its terminals and its core say things.

#![allow(unreachable_pub)]

use portunus_codec::Writer;
use portunus_keydist::steps::{Refusal, S1, S7, S9};
use portunus_keydist::{Idc, Idsp, N1, Rand, Word};
use portunus_signalling::Signalling;
use std::ops::Range;

/// What a terminal hears outside its session.
#[derive(Debug, Clone)]
pub enum Said {
    Challenge {
        n1: N1,
        n2: Vec<u8>,
        rand: Rand,
    },
    Cookie(Vec<u8>),
    Key,
    Refused(Refusal),
    /// The receipt of a command of its own, or an error.
    Receipt {
        error: bool,
    },
}

/// s10, owned.
#[derive(Debug, Clone)]
pub struct Key {
    pub n1: N1,
    pub n2: N1,
    pub ekc: [u8; 48],
    pub sel: String,
    pub mechs: String,
    pub mac: Range<usize>,
    pub mac_value: [u8; 32],
}

/// What the core hears of the proxy.
#[derive(Debug, Clone)]
pub enum Asked {
    S2 {
        idc: String,
        n1: N1,
    },
    S8 {
        idc: String,
        rand: Rand,
        word: Word,
    },
    /// Something of a session, or the receipt of a command of the core's own.
    Other,
}

/// What names a registration that the core refuses.
#[derive(Debug, Clone, Copy)]
pub enum Named {
    N1(N1),
    Rand(Rand),
}

/// A protocol. `t` numbers transactions.
pub trait Dialect: Sync {
    fn signalling(&self) -> &'static dyn Signalling;
    /// Identities that its terminals may have.
    fn idcs(&self) -> [&'static str; 2];
    /// True where steps are commands, with answers of their own.
    fn has_receipts(&self) -> bool;

    fn s1(&self, t: u32, s1: &S1<'_>) -> Vec<u8>;
    /// `s6` is the message that is answered.
    fn s7(&self, t: u32, s6: &[u8], s7: &S7<'_>) -> Vec<u8>;
    fn said(&self, octets: &[u8]) -> Said;
    /// The key in a message that may be anything.
    fn key(&self, octets: &[u8]) -> Option<Key>;

    fn asked(&self, octets: &[u8]) -> Asked;
    /// The core's receipt for a command of the proxy's; `None` where the step itself is the answer.
    fn receipt(&self, command: &[u8]) -> Option<Vec<u8>>;
    /// To the s2 or s8 `request`, as the core's own transaction `t` where it is one.
    fn s5(&self, t: u32, request: &[u8], idsp: Idsp<'_>, idc: Idc<'_>, n1: &N1, rand: &Rand) -> Vec<u8>;
    fn s9(&self, t: u32, request: &[u8], idsp: Idsp<'_>, idc: Idc<'_>, rand: &Rand, s9: &S9) -> Vec<u8>;
    fn fail(&self, t: u32, request: &[u8], idsp: Idsp<'_>, idc: Idc<'_>, named: Named) -> Vec<u8>;

    /// A terminal's request inside its session, and the core's answers to it, good and bad.
    fn request(&self, t: u32, idc: &str) -> Vec<u8>;
    fn granted(&self, request: &[u8]) -> Vec<u8>;
    fn rejected(&self, request: &[u8]) -> Vec<u8>;
    /// A request that renews the registration, and one that ends it.
    fn refresh(&self, t: u32, idc: &str) -> Option<Vec<u8>>;
    fn leave(&self, t: u32, idc: &str) -> Vec<u8>;
    /// The core's request for the terminal, and the terminal's answer.
    fn command(&self, t: u32, idc: &str) -> Vec<u8>;
    fn done(&self, command: &[u8], idc: &str) -> Vec<u8>;
}

/// Runs a writer in a fresh buffer.
pub fn write<E: std::fmt::Debug>(f: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Vec<u8> {
    let mut buf = vec![0u8; 4096];
    let mut w = Writer::new(&mut buf);
    f(&mut w).expect("written");
    w.written().to_vec()
}
