//! `ipsec-man` on the wire: published vectors, the octets one by one, what is dropped under which name, and peers that
//! nobody here wrote.

mod peer;

use peer::{Capture, Scapy};
use portunus_channel::esp::Esp;
use portunus_channel::{Dropped, Flow, Handles, Mechanism as _, Said, SealError, TrafficKey, datagrams};
use portunus_codec::{Writer, hex_decode};
use portunus_keydist::mech::Mech;
use portunus_keydist::schedule::TrafficCtx;
use portunus_keydist::{Idc, Idsp, N1, SessionKey};
use proptest::prelude::*;
use ring::aead;

const SPI: u32 = 0x0102_0304;
const KEY: [u8; 32] = [7; 32];
const SALT: [u8; 4] = [1, 2, 3, 4];
const FLOW: Flow = Flow { handle: SPI as u64, protocol: 1, ports: (5062, 5060) };

fn key() -> TrafficKey {
    TrafficKey::salted(KEY, SALT)
}

fn sealed(seq: u64, content: &[u8]) -> Vec<u8> {
    let mut buf = [0; 2048];
    let mut w = Writer::new(&mut buf);
    Esp.seal(&key(), &FLOW, seq, content, &mut w).expect("seals");
    w.written().to_vec()
}

fn opened(datagram: &[u8]) -> Result<(Said, Vec<u8>), Dropped> {
    let mut copy = datagram.to_vec();
    Esp.open(&key(), &FLOW, &mut copy).map(|opened| (opened.said, opened.content.to_vec()))
}

/// ESP made with the library directly, as another implementation would: any text, and any IV.
fn bare(seq: u32, iv: u64, text: &[u8]) -> Vec<u8> {
    let ready = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &KEY).expect("a key"));
    let header = [SPI.to_be_bytes(), seq.to_be_bytes()].concat();
    let nonce = [&SALT[..], &iv.to_be_bytes()].concat();
    let nonce = aead::Nonce::try_assume_unique_for_key(&nonce).expect("12 octets");
    let mut body = text.to_vec();
    ready.seal_in_place_append_tag(nonce, aead::Aad::from(&header), &mut body).expect("seals");
    [&header[..], &iv.to_be_bytes(), &body].concat()
}

/// An inner datagram of the flow's ports, with the length that it is given and some checksum.
fn udp(len: u16, content: &[u8]) -> Vec<u8> {
    [&[0x13, 0xc6, 0x13, 0xc4][..], &len.to_be_bytes(), &[0xab, 0xcd], content].concat()
}

/// Padding 1, 2, 3 and so on to the next word and `extra` words beyond, and the trailer.
fn padded(payload: &[u8], extra: usize, next: u8) -> Vec<u8> {
    let pad = (payload.len() + 2).next_multiple_of(4) - payload.len() - 2 + 4 * extra;
    [payload, &(1..=pad as u8).collect::<Vec<_>>(), &[pad as u8, next]].concat()
}

fn octets(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| hex_decode::<1>(two).expect("hex")[0]).collect()
}

/// The AES-256 case of "Test Cases for the use of GCM and GMAC in IPsec ESP" (draft-mcgrew-gcm-test-01, section 4): a
/// tunnel's datagram, so all that can be wrong with it is what it carries.
#[test]
fn a_published_vector_verifies_and_comes_out_as_published() {
    let key = octets("abbccddef00112233445566778899aababbccddef00112233445566778899aab");
    let key = TrafficKey::salted(key.try_into().expect("32"), [0x11, 0x22, 0x33, 0x44]);
    let datagram = octets(
        "4a2cbfe3 00000002 0102030405060708 ff425c9b724599df7a3bcd510194e00d 6a78107f1b0b1cbf06efae9d65a5d763
         748a637985771d347f0545659f14e99d ef842d8e b335f4eecfdbf831824b4c4915956c96",
    );
    let text = octets(
        "4500003069a6400080062690c0a80102 9389155e0a9e008b2dc57ee000000000 7002400020bf0000020405b401010402 01020201",
    );
    assert_eq!(Esp.peek(&datagram).map(|peek| (peek.handle, peek.seq)), Ok((0x4a2c_bfe3, 2)));
    let mut copy = datagram.clone();
    assert_eq!(Esp.open(&key, &FLOW, &mut copy), Err(Dropped::NextHeader), "ICMP, says its trailer");
    assert_eq!(&copy[16..16 + text.len()], text, "deciphered in place");
    for bit in 0..datagram.len() * 8 {
        let mut copy = datagram.clone();
        copy[bit / 8] ^= 1 << (bit % 8);
        let zero = if copy[4..8] == [0; 4] { Dropped::Sequence } else { Dropped::Unverified };
        assert_eq!(Esp.open(&key, &FLOW, &mut copy), Err(zero), "bit {bit}");
    }
}

#[test]
fn the_octets_are_those_of_the_specification() {
    for (content, text) in [
        (&b""[..], "13c613c4 00080000 0102 0211"),
        (b"a", "13c613c4 00090000 61 01 0111"),
        (b"ab", "13c613c4 000a0000 6162 0011"),
        (b"abc", "13c613c4 000b0000 616263 010203 0311"),
        (b"abcd", "13c613c4 000c0000 61626364 0102 0211"),
    ] {
        assert_eq!(sealed(0x0d, content), bare(0x0d, 0x0d, &octets(text)), "{text}");
    }
    assert_eq!(sealed(0x0102_0304, b"x")[..16], octets("01020304 01020304 0000000001020304"));
    assert_eq!(Esp.seal_in_place(&key(), &FLOW, 1, 65_528, &mut vec![0; 70_000]), Err(SealError::Full), "UDP's length");
    for handle in [0, 255, 1 << 32] {
        let flow = Flow { handle, ..FLOW };
        assert_eq!(Esp.seal_in_place(&key(), &flow, 1, 0, &mut [0; 64]), Err(SealError::Handle), "{handle}");
    }
}

#[test]
fn keys_are_the_labels_of_the_schedule() {
    let secret = SessionKey::new([1; 32]).secret(&[2; 16]);
    let (n1b, n2b) = (N1::from_bits(3), N1::from_bits(4));
    let (idc, idsp) = (Idc::new("alice@example.test"), Idsp::new("sp1.example.test"));
    let token = Mech::Esp.token();
    let ctx = TrafficCtx { idc: idc.expect("IDc"), idsp: idsp.expect("IDsp"), n1b: &n1b, n2b: &n2b, token };
    let keys = Esp.derive(&secret, &ctx);
    for (label, key) in [("esp c2s", &keys.c2s), ("esp s2c", &keys.s2c)] {
        let mut octets = [0; 36];
        secret.traffic(label, &ctx, &mut octets);
        let (own, salt) = octets.split_first_chunk().expect("32");
        let mut buf = [0; 64];
        let mut w = Writer::new(&mut buf);
        Esp.seal(&TrafficKey::salted(*own, salt.try_into().expect("4")), &FLOW, 1, b"probe", &mut w).expect("seals");
        let n = w.len();
        assert_eq!(Esp.open(key, &FLOW, &mut buf[..n]).map(|o| o.content.to_vec()), Ok(b"probe".to_vec()), "{label}");
    }
}

#[test]
fn what_is_unknown_is_dropped_under_its_name_before_any_key_is_touched() {
    let good = sealed(1, b"content");
    assert!(Esp.peek(&good).is_ok());
    assert_eq!(Esp.peek(&[0xff]), Err(Dropped::KeepAlive));
    for short in [&[][..], &[0xfe], &[0xff, 0xff], &good[..35]] {
        assert_eq!(Esp.peek(short), Err(Dropped::Short), "{}", short.len());
    }
    let mut ike = good.clone();
    ike[..4].fill(0);
    assert_eq!(Esp.peek(&ike), Err(Dropped::Marker));
    assert_eq!(Esp.peek(&ike[..4]), Err(Dropped::Marker), "of whatever length");
    for reserved in [1u32, 255] {
        let mut bad = good.clone();
        bad[..4].copy_from_slice(&reserved.to_be_bytes());
        assert_eq!(Esp.peek(&bad), Err(Dropped::Handle), "{reserved}");
    }
    let mut zero = good.clone();
    zero[4..8].fill(0);
    assert_eq!(Esp.peek(&zero), Err(Dropped::Sequence));
    for more in 1..4 {
        let longer = [&good[..], &vec![0; more]].concat();
        assert_eq!(Esp.peek(&longer), Err(Dropped::Length), "{more}");
    }
}

#[test]
fn padding_is_1_2_3_and_is_looked_at() {
    let payload = udp(12, b"four");
    for extra in [0, 1, 63] {
        let whole = bare(1, 1, &padded(&payload, extra, 17));
        assert_eq!(opened(&whole), Ok((Said::Message, b"four".to_vec())), "{extra} words more than needed");
    }
    let good = padded(&payload, 1, 17);
    for at in payload.len()..good.len() - 2 {
        let mut text = good.clone();
        text[at] ^= 0x40;
        assert_eq!(opened(&bare(1, 1, &text)), Err(Dropped::Padding), "octet {at}");
    }
    let mut text = good.clone();
    let at = text.len() - 2;
    text[at] = at as u8 + 1;
    assert_eq!(opened(&bare(1, 1, &text)), Err(Dropped::Padding), "longer than there are octets");
    text[at] = 0;
    assert_eq!(opened(&bare(1, 1, &text)), Ok((Said::Message, b"four".to_vec())), "padding against traffic analysis");
}

#[test]
fn what_verifies_is_held_to_what_was_agreed_on() {
    let text = |payload: &[u8], next| opened(&bare(1, 1, &padded(payload, 0, next)));
    assert_eq!(text(&udp(12, b"four"), 17), Ok((Said::Message, b"four".to_vec())));
    assert_eq!(text(&udp(8, b""), 17), Ok((Said::Confirmation, Vec::new())));
    assert_eq!(
        text(&udp(8, b"more"), 17),
        Ok((Said::Confirmation, Vec::new())),
        "what follows the datagram is padding"
    );
    assert_eq!(text(&udp(11, b"four"), 17), Ok((Said::Message, b"fou".to_vec())));
    for len in [0, 7, 13, u16::MAX] {
        assert_eq!(text(&udp(len, b"four"), 17), Err(Dropped::Content), "{len}");
    }
    assert_eq!(text(b"", 17), Err(Dropped::Content), "no header at all");
    for next in [0, 1, 4, 6, 41, 50, 60] {
        assert_eq!(text(&udp(12, b"four"), next), Err(Dropped::NextHeader), "{next}");
    }
    for at in 0..4 {
        let mut payload = udp(12, b"four");
        payload[at] ^= 1;
        assert_eq!(text(&payload, 17), Err(Dropped::Ports), "octet {at}");
    }
    assert!([Dropped::Content, Dropped::NextHeader, Dropped::Ports, Dropped::Padding].iter().all(|d| d.is_verified()));
    assert!(!Dropped::Unverified.is_verified());
}

#[test]
fn dummies_are_nothing_whatever_they_hold() {
    for text in [vec![0, 59], vec![0xee, 0xee, 0xff, 59], [vec![0x5a; 62], vec![200, 59]].concat()] {
        let text = [vec![0; text.len().next_multiple_of(4) - text.len()], text].concat();
        assert_eq!(opened(&bare(1, 1, &text)), Ok((Said::Nothing, Vec::new())));
    }
}

#[test]
fn any_iv_of_the_senders_is_taken() {
    let text = padded(&udp(12, b"four"), 0, 17);
    assert_eq!(opened(&bare(9, 0xdead_beef_0102_0304, &text)), Ok((Said::Message, b"four".to_vec())));
}

#[test]
fn the_table_has_its_line() {
    let format = datagrams(Mech::Esp).expect("its line").format();
    assert_eq!((format.port, format.head, format.tail, format.seq_max), (4500, 24, 21, (1 << 32) - 1));
    assert_eq!((format.handles, format.worker_octet, format.shortest), (Handles::Narrow, 3, 36));
}

/// scapy's IPsec layer (and the cipher of `cryptography`), which needs `pip install scapy cryptography`.
#[test]
fn scapy_opens_what_is_sealed_here_and_the_other_way_round() {
    let mut scapy = Scapy::start(&[&KEY[..], &SALT].concat(), SPI);
    for (seq, len) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (70_000, 601), (u64::from(u32::MAX), 1400)] {
        let content: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let (ports, inside) = scapy.open(&sealed(seq, &content)).unwrap_or_else(|e| panic!("{len} octets: {e}"));
        assert_eq!((ports, &inside), (FLOW.ports, &content));
        let theirs = scapy.seal(seq as u32, FLOW.ports, &content);
        let said = if len == 0 { Said::Confirmation } else { Said::Message };
        assert_eq!(opened(&theirs), Ok((said, content)), "{len} octets of theirs");
    }
    let mut altered = sealed(9, b"content");
    altered[20] ^= 1;
    assert!(scapy.open(&altered).is_err(), "a peer that verifies nothing proves nothing");
}

/// Given the keys, tshark deciphers a capture, finds the SIP in it and nothing to complain about.
#[test]
fn tshark_reads_what_is_sealed_here() {
    let request =
        b"OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
        From: <sip:alice@example.test>;tag=1\r\nTo: <sip:example.test>\r\nCall-ID: 1@192.0.2.7\r\nCSeq: 1 OPTIONS\r\n\
        Content-Length: 0\r\n\r\n";
    let messages: Vec<Vec<u8>> = (0..4)
        .map(|n| sealed(n + 1, &[request, &b"\r\n\r\n"[..n as usize]].concat()))
        .chain([sealed(5, b"")])
        .collect();
    let capture = Capture::write(&messages);
    let seen = capture.fields(
        &[&KEY[..], &SALT].concat(),
        SPI,
        &["sip.Method", "esp.pad_len", "udp.dstport", "_ws.expert.message"],
    );
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines.len(), 5, "{seen}");
    for line in &lines[..4] {
        let fields: Vec<_> = line.split('\t').collect();
        assert_eq!((fields[0], fields[2], fields[3]), ("OPTIONS", "4500,5060", ""), "{line}");
    }
    assert!(lines[4].ends_with("4500,5060\t"), "{}", lines[4]);
    let blind = capture.fields(&[0; 36], SPI, &["sip.Method"]);
    assert_eq!(blind.trim(), "", "without the key there is nothing to read");
}

proptest! {
    #[test]
    fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(opened(&octets).is_err());
    }

    /// The holder of the key may send what it likes.
    #[test]
    fn any_text_that_verifies_is_survived(text in proptest::collection::vec(any::<u8>(), 0..80), next in 0u8..3) {
        let text = [vec![0; text.len().next_multiple_of(4) - text.len()], text].concat();
        let mut text = if text.is_empty() { vec![0; 4] } else { text };
        if let Some(last) = text.last_mut().filter(|_| next > 0) {
            *last = if next == 1 { 17 } else { 59 };
        }
        // Nobody hits the ports by chance.
        let dummy = text.last() == Some(&59);
        prop_assert_eq!(opened(&bare(1, 1, &text)).is_ok(), dummy);
    }

    #[test]
    fn inner_datagrams_come_back(
        content in proptest::collection::vec(any::<u8>(), 0..300),
        more in 0usize..9,
        extra in 0usize..5,
    ) {
        let payload = [udp(content.len() as u16 + 8, &content), vec![0x5a; more]].concat();
        let text = padded(&payload, extra, 17);
        let said = if content.is_empty() { Said::Confirmation } else { Said::Message };
        prop_assert_eq!(opened(&bare(1, 1, &text)), Ok((said, content)));
    }
}
