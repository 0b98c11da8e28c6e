//! Whatever arrives at a port for protected datagrams, or begins a connection of `tls`. The properties are those of the
//! fuzz targets, so that what fuzzing finds is kept and replayed here.

#[path = "../../fuzz/src/channel.rs"]
mod channel;
#[path = "../../fuzz/src/hello.rs"]
mod hello;
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;

use portunus_channel::tls::{Client, Identity, Limits, Psk};
use proptest::prelude::*;

/// The first flight of a terminal's own OpenSSL.
fn flight() -> Vec<u8> {
    let client = Client::new(Limits::default()).expect("an OpenSSL with TLS 1.3");
    let mut connection = client.connection(Identity([9; 16]), Psk::new([1; 32])).expect("memory");
    let mut out = Vec::new();
    connection.start(&mut out).expect("a first flight");
    out
}

#[test]
fn kept_seeds_hold() {
    assert!(seeds::replay("channel", channel::channel) >= 10);
    assert!(seeds::replay("hello", hello::hello) >= 10);
}

#[test]
fn a_first_flight_cut_anywhere_and_with_every_bit_flipped() {
    let mut octets = flight();
    for end in 0..octets.len() {
        assert_eq!(portunus_channel::tls::hello::read(&octets[..end]), Ok(None), "cut at {end}");
    }
    for bit in 0..octets.len() * 8 {
        octets[bit / 8] ^= 1 << (bit % 8);
        hello::hello(&octets);
        octets[bit / 8] ^= 1 << (bit % 8);
    }
}

proptest! {
    #[test]
    fn arbitrary_octets(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        channel::channel(&octets);
        hello::hello(&octets);
    }

    /// With the handles of the sessions that there are, so that more is read than a header.
    #[test]
    fn arbitrary_octets_in_a_session(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let sealed = [&[0x50, 1, 2, 0][..], &channel::rooms()[0].2.handle.to_be_bytes(), &octets].concat();
        channel::channel(&sealed);
        channel::channel(&[&[1, 2, 3, 4][..], &octets].concat());
    }
}
