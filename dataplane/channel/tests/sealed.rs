//! `x-pkd-sealed` on the wire: the header octet by octet, and what is dropped under which name.

use portunus_channel::sealed::{HEADER_LEN, Header, NO_PROTOCOL, PORT, Sealed, TAG_LEN};
use portunus_channel::{Dropped, Flow, Handles, Mechanism as _, Opened, Said, TrafficKey, datagrams};
use portunus_codec::Writer;
use portunus_keydist::mech::Mech;
use portunus_keydist::schedule::TrafficCtx;
use portunus_keydist::{Idc, Idsp, N1, SessionKey};
use proptest::prelude::*;
use ring::aead;

fn sealed(protocol: u8, seq: u64, content: &[u8]) -> Vec<u8> {
    let mut buf = [0; 512];
    let mut w = Writer::new(&mut buf);
    let flow = Flow::plain(0x0102_0304_0506_0708, protocol);
    Sealed.seal(&TrafficKey::new([7; 32]), &flow, seq, content, &mut w).expect("seals");
    w.written().to_vec()
}

fn open<'d>(key: &TrafficKey, datagram: &'d mut [u8]) -> Result<Opened<'d>, Dropped> {
    Sealed.open(key, &Flow::plain(1, 1), datagram)
}

/// Ciphertext and tag made with the library directly, as another implementation would.
fn bare(header: &[u8], seq: u8, content: &[u8]) -> Vec<u8> {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, &[7; 32]).expect("a key");
    let nonce = aead::Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, seq]);
    let mut body = content.to_vec();
    let key = aead::LessSafeKey::new(key);
    key.seal_in_place_append_tag(nonce, aead::Aad::from(header), &mut body).expect("seals");
    body
}

#[test]
fn the_octets_are_those_of_the_specification() {
    let header = [0x50, 1, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0x0d];
    let datagram = sealed(3, 0x0d, b"!/1 [192.0.2.7]:2944");
    assert_eq!(datagram[..HEADER_LEN], header);
    assert_eq!(datagram[HEADER_LEN..], bare(&header, 0x0d, b"!/1 [192.0.2.7]:2944"));
    assert_eq!(sealed(1, 0x0102_0304, b"x")[12..20], [0, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(sealed(NO_PROTOCOL, 1, b"").len(), HEADER_LEN + TAG_LEN);
}

#[test]
fn keys_are_the_labels_of_the_schedule() {
    let secret = SessionKey::new([1; 32]).secret(&[2; 16]);
    let (n1b, n2b) = (N1::from_bits(3), N1::from_bits(4));
    let (idc, idsp) = (Idc::new("alice@example.test"), Idsp::new("sp1.example.test"));
    let token = Mech::Sealed.token();
    let ctx = TrafficCtx { idc: idc.expect("IDc"), idsp: idsp.expect("IDsp"), n1b: &n1b, n2b: &n2b, token };
    let keys = Sealed.derive(&secret, &ctx);
    for (label, key) in [("sealed c2s", &keys.c2s), ("sealed s2c", &keys.s2c)] {
        let mut octets = [0; 32];
        secret.traffic(label, &ctx, &mut octets);
        let mut buf = [0; 64];
        let mut w = Writer::new(&mut buf);
        Sealed.seal(&TrafficKey::new(octets), &Flow::plain(1, 1), 1, b"probe", &mut w).expect("seals");
        let n = w.len();
        assert_eq!(open(key, &mut buf[..n]).map(|o| o.content.to_vec()), Ok(b"probe".to_vec()), "{label}");
    }
    assert_eq!(size_of_val(&keys), 72);
    assert_eq!(format!("{keys:?}"), "Keys { c2s: TrafficKey(..), s2c: TrafficKey(..) }");
}

#[test]
fn what_is_unknown_is_dropped_under_its_name_before_any_key_is_touched() {
    let good = sealed(1, 1, b"content");
    let with = |at: usize, octet: u8| {
        let mut d = good.clone();
        d[at] = octet;
        Sealed.peek(&d)
    };
    assert!(Sealed.peek(&good).is_ok());
    for octet in (0..=255).filter(|o| *o != 0x50) {
        assert_eq!(with(0, octet), Err(Dropped::Magic));
    }
    for octet in (0..=255).filter(|o| *o != 1) {
        assert_eq!(with(1, octet), Err(Dropped::Version));
    }
    for octet in 5..=255 {
        assert_eq!(with(2, octet), Err(Dropped::Protocol));
    }
    for octet in 1..=255 {
        assert_eq!(with(3, octet), Err(Dropped::Flags));
    }
    assert_eq!(with(19, 0), Err(Dropped::Sequence), "0 is refused");
    assert_eq!(Sealed.peek(&[]), Err(Dropped::Short));
    assert_eq!(Sealed.peek(&good[..HEADER_LEN + TAG_LEN - 1]), Err(Dropped::Short));
}

#[test]
fn protocol_0_is_empty_even_when_it_verifies() {
    // Our own sender refuses to make it; a terminal that breaks the rule has the key all the same.
    let header = Header { protocol: NO_PROTOCOL, kid: 1, seq: 1 }.octets();
    let mut datagram = [&header[..], &bare(&header, 1, b"x")].concat();
    assert_eq!(open(&TrafficKey::new([7; 32]), &mut datagram), Err(Dropped::Content));
    let mut datagram = [&header[..], &bare(&header, 1, b"")].concat();
    assert!(open(&TrafficKey::new([7; 32]), &mut datagram).is_ok());
}

#[test]
fn empty_content_of_a_protocol_is_a_message_and_another_protocol_is_none_of_the_session() {
    let key = TrafficKey::new([7; 32]);
    let header = Header { protocol: 1, kid: 1, seq: 1 }.octets();
    let mut datagram = [&header[..], &bare(&header, 1, b"")].concat();
    assert_eq!(open(&key, &mut datagram.clone()).map(|opened| opened.said), Ok(Said::Message));
    assert_eq!(Sealed.open(&key, &Flow::plain(1, 2), &mut datagram), Err(Dropped::Protocol));
}

#[test]
fn the_table_has_its_line() {
    let line = datagrams(Mech::Sealed).expect("its line");
    let format = line.format();
    assert_eq!((format.port, format.head, format.tail, format.seq_max), (PORT, 20, 16, (1 << 32) - 1));
    assert_eq!((format.handles, format.worker_octet), (Handles::Wide, 4));
    assert!(datagrams(Mech::Tls).is_none(), "no datagrams");
}

proptest! {
    #[test]
    fn headers_come_back(protocol in 0u8..=4, kid: u64, seq in 1u64..) {
        let header = Header { protocol, kid, seq };
        let mut datagram = header.octets().to_vec();
        datagram.extend_from_slice(&[0; TAG_LEN]);
        prop_assert_eq!(Header::read(&datagram), Ok(header));
    }

    #[test]
    fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut copy = octets;
        prop_assert!(open(&TrafficKey::new([7; 32]), &mut copy).is_err());
    }

    /// Likely headers, so that the rules behind the first octet are reached.
    #[test]
    fn near_misses_are_survived_and_what_is_read_is_what_stands_there(
        head in proptest::collection::vec(0u8..6, 3),
        tail in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut datagram = vec![0x50];
        datagram.extend_from_slice(&head);
        datagram.extend_from_slice(&tail);
        if let Ok(header) = Header::read(&datagram) {
            prop_assert_eq!(&header.octets()[..], &datagram[..HEADER_LEN]);
        }
        prop_assert!(open(&TrafficKey::new([7; 32]), &mut datagram).is_err());
    }
}
