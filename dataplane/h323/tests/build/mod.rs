//! Messages that no writer of the project makes, built bit by bit.
#![allow(dead_code, unreachable_pub)]

use super::common::{NOW, World, n1a, write};
use portunus_codec::PerWriter;
use portunus_h323::write as ras;

/// 1.3.6.1.4.1.32473.7 without the last number.
pub const PKD1: [u8; 9] = [0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 7];
/// Additions that GatekeeperRequest, and RegistrationRequest, have in H.225.0 (12/2009).
pub const GRQ: u32 = 12;
pub const RRQ: u32 = 27;

pub type Part<'a> = &'a dyn Fn(&mut PerWriter<'_, '_>);

pub fn built(f: impl FnOnce(&mut PerWriter<'_, '_>)) -> Vec<u8> {
    write(|w| {
        f(&mut PerWriter::new(w));
        w.finish().map(|_| ())
    })
}

pub fn pkd1(n: u8) -> Vec<u8> {
    [&PKD1[..], &[n]].concat()
}

/// A value of a profile element.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Octets(&'a [u8]),
    Flag,
    None,
    /// Octets, with parameters and an extension addition that nobody knows.
    Dressed(&'a [u8]),
}

pub fn put_bmp(p: &mut PerWriter<'_, '_>, text: &str) {
    p.constrained(text.encode_utf16().count() as u32, 1, 128);
    for unit in text.encode_utf16() {
        p.octets(&unit.to_be_bytes());
    }
}

pub fn put_element(p: &mut PerWriter<'_, '_>, id: u8, value: Value<'_>) {
    let dressed = matches!(value, Value::Dressed(_));
    p.bool(dressed).bool(dressed).bool(!matches!(value, Value::None)).constrained(id.into(), 0, 255);
    if dressed {
        // Params: ranInt and iv8.
        p.bits(0b011, 3).length(2).octets(&[1, 2]).octets(b"initvect");
    }
    match value {
        Value::Octets(octets) | Value::Dressed(octets) => _ = p.bits(0, 4).length(octets.len()).octets(octets),
        Value::Flag => _ = p.bits(0b0100, 4).bool(true),
        Value::None => {}
    }
    if dressed {
        p.small(0).bool(true).length(1).octets(&[0x80]);
    }
}

/// A PKD1 token of these elements.
pub struct Own<'a> {
    pub n: u8,
    pub stamp: Option<u64>,
    pub challenge: Option<&'a [u8]>,
    pub from: &'a str,
    pub to: &'a str,
    pub elements: &'a [(u8, Value<'a>)],
}

impl Own<'_> {
    pub fn put(&self, p: &mut PerWriter<'_, '_>) {
        p.bool(true).bool(self.stamp.is_some()).bits(0, 2).bool(self.challenge.is_some()).bits(0b0010, 4);
        p.length(10).octets(&pkd1(self.n));
        if let Some(ts) = self.stamp {
            p.constrained((ts / 1000) as u32, 1, u32::MAX);
        }
        if let Some(challenge) = self.challenge {
            p.constrained(challenge.len() as u32, 8, 128).octets(challenge);
        }
        put_bmp(p, self.to);
        // eckasdhkey, sendersID, h235Key, profileInfo.
        p.small(3).bits(0b0101, 4);
        let opened = p.open();
        put_bmp(p, self.from);
        p.end_open(opened);
        let opened = p.open();
        p.length(self.elements.len());
        for (id, value) in self.elements {
            put_element(p, *id, *value);
        }
        p.end_open(opened);
    }
}

/// A token of somebody else, that ends within an octet: its Diffie-Hellman parameters are of 13, 5 and 3 bits.
pub fn foreign(p: &mut PerWriter<'_, '_>) {
    p.bits(0b0_0010_0000, 9).length(2).octets(&[0x2a, 3]).bool(false);
    for (bits, value) in [(13, 0x1abc), (5, 0x15), (3, 0x5)] {
        p.constrained(bits, 0, 2048).align().bits(value, bits);
    }
}

/// Another, with an integer, a certificate, something non-standard, and additions that nobody knows.
pub fn stranger(p: &mut PerWriter<'_, '_>) {
    p.bits(0b1_0000_1101, 9).length(3).octets(&[0x2a, 0x81, 0x34]);
    p.length(2).octets(&[0xff, 7]);
    p.bool(false).length(1).octets(&[0x2a]).length(3).octets(b"DER");
    p.length(2).octets(&[0x2a, 3]).length(2).octets(b"ns");
    p.small(9).bits(0b00_0000_0001, 10).length(3).octets(b"new");
}

/// A list of tokens.
pub fn tokens(all: &[Part<'_>]) -> Vec<u8> {
    built(|p| {
        p.length(all.len());
        for part in all {
            part(p);
        }
    })
}

/// A message of a root that ends at an octet boundary, and these additions of so many.
pub fn extended(mut root: Vec<u8>, count: u32, all: &[(u32, &[u8])]) -> Vec<u8> {
    root[0] |= 0x02;
    let tail = built(|p| {
        p.small(count - 1);
        for i in 0..count {
            p.bool(all.iter().any(|(at, _)| *at == i));
        }
        for (_, octets) in all {
            p.length(octets.len()).octets(octets);
        }
    });
    [root, tail].concat()
}

impl Own<'_> {
    /// The list of this token with another timeStamp.
    pub fn put_with(&self, stamp: Option<u64>) -> Vec<u8> {
        tokens(&[&|p| Own { stamp, ..*self }.put(p)])
    }
}

/// A nested hashed token.
#[derive(Clone, Copy)]
pub struct Mac<'a> {
    pub outer: u8,
    pub inner: u8,
    pub algorithm: &'a [u8],
    pub bits: usize,
}

impl Mac<'_> {
    pub fn good() -> Self {
        Self { outer: 5, inner: 5, algorithm: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9], bits: 256 }
    }

    pub fn put(&self, p: &mut PerWriter<'_, '_>) {
        p.bits(0b0111, 4).bits(0b010, 3).length(10).octets(&pkd1(self.outer));
        p.bits(0, 9).length(10).octets(&pkd1(self.inner));
        p.length(self.algorithm.len()).octets(self.algorithm).bits(0, 3);
        p.length(self.bits).octets(&vec![0xab; self.bits / 8]).bits(0, (self.bits % 8) as u32);
    }
}

/// A password hash of H.235 annex D, of an endpoint with dialled digits: three of them, so that it ends within an octet.
pub fn other_hash(p: &mut PerWriter<'_, '_>) {
    p.bits(0, 4).bits(0, 2).constrained(3, 1, 128).align().bits(0x345, 12);
    p.constrained(1_700_000_000, 1, u32::MAX);
    p.length(1).octets(&[0x2a]).bits(0, 3).length(12).align().bits(0xabc, 12);
}

pub fn grq_root(w: &World, seq: u16) -> Vec<u8> {
    write(|o| ras::gatekeeper_request(seq, &w.endpoint(), None, o))
}

pub fn own1<'a>(w: &World, elements: &'a [(u8, Value<'a>)]) -> Own<'a> {
    let (from, to) = (w.idc.as_str(), w.idsp.as_str());
    Own { n: 1, stamp: Some(NOW), challenge: None, from, to, elements }
}

/// What s1 has to have.
pub fn plain() -> Vec<(u8, Value<'static>)> {
    let n1: &'static [u8] = Box::leak(Box::new(*n1a().as_bytes()));
    let ts: &'static [u8] = Box::leak(Box::new(NOW.to_be_bytes()));
    vec![(1, Value::Octets(n1)), (3, Value::Octets(ts))]
}
