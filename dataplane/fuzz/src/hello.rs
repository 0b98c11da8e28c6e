//! What must hold for the beginning of a connection of `tls`, whatever its octets: what is decided on its first octets
//! stands whatever follows, the identity does not depend on how records cut it, and nothing that anybody can write
//! without a key completes a handshake.
#![allow(unreachable_pub)] // The tests of `portunus-channel` include this file.

use portunus_channel::tls::hello::{BEGINNING_MAX, HELLO_MAX, Offer, read};
use portunus_channel::tls::{Ended, Identity, Limits, Server};
use std::sync::OnceLock;

/// One arbitrary beginning.
pub fn hello(octets: &[u8]) {
    let found = read(octets);
    decided_once(octets, found);
    if let Ok(Some(offer)) = found {
        let handshake = content(octets);
        for size in [64, 1024, HELLO_MAX] {
            assert_eq!(read(&records(&handshake, size)), Ok(Some(offer)), "in records of {size} octets");
        }
        named(&handshake, offer);
    }
    // The same octets as the body of a ClientHello that is complete.
    if octets.len() + 4 <= HELLO_MAX {
        let len = (octets.len() as u32).to_be_bytes();
        let handshake = [&[1], &len[1..], octets].concat();
        match read(&records(&handshake, HELLO_MAX)) {
            Ok(Some(offer)) => named(&handshake, offer),
            other => assert_eq!(other, Err(Ended::Hello), "complete, so nothing more is waited for"),
        }
    }
    shaken(octets, found);
}

/// What is said of a beginning is said of everything that begins so.
fn decided_once(octets: &[u8], found: Result<Option<Offer>, Ended>) {
    let most = octets.len().min(BEGINNING_MAX - 1);
    let step = (most / 64).max(1);
    for end in (0..most).step_by(step) {
        match read(&octets[..end]) {
            Ok(None) => {}
            decided => assert_eq!(decided, found, "{end} octets decided"),
        }
    }
    assert!(octets.len() < BEGINNING_MAX || found != Ok(None), "so many octets are enough");
}

/// An identity that was found stands there.
fn named(handshake: &[u8], offer: Offer) {
    if let Some(id) = offer.id {
        let text = id.text();
        assert!(handshake.windows(text.len()).any(|w| w == text), "an identity that nobody sent");
        assert_eq!(Identity::from_text(&text), Some(id));
        assert!((1..=8).all(|workers| id.worker(workers) < workers));
    }
}

/// What the records hold.
fn content(octets: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), octets);
    while let [22, _, _, high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        out.extend_from_slice(&after[..len]);
        rest = &after[len..];
    }
    let len = u32::from_be_bytes([0, out[1], out[2], out[3]]) as usize;
    out.truncate(4 + len);
    out
}

fn records(handshake: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    handshake.chunks(size).flat_map(record).collect()
}

/// The way of a connection whose session nobody has.
fn shaken(octets: &[u8], found: Result<Option<Offer>, Ended>) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::new(Limits::default()).expect("an OpenSSL with TLS 1.3"));
    let Ok(Some(offer)) = found else { return };
    let mut connection = server.connection(offer.id, None).expect("memory");
    let (mut room, mut out) = ([0; 4096], Vec::new());
    if let Ok(taken) = connection.take(octets, &mut room, &mut out) {
        assert_eq!(taken.plain, 0, "plaintext before any key");
    }
    assert!(!connection.is_established(), "a handshake without a key");
}
