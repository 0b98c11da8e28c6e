//! Every field of every vector of the specification, which an independent implementation computed.

use portunus_codec::hex_encode;
use portunus_keydist::batch::{MacJob, OpenJob, mac_batch, open_batch};
use portunus_keydist::schedule::{For, TrafficCtx, WrapCtx, WrapError, message_mac};
use portunus_keydist::{Idc, Idsp, Key, N1, SessionKey};
use ring::hmac;
use serde_json::Value;
use std::collections::BTreeSet;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}

fn array<const N: usize>(v: &Value, field: &str) -> [u8; N] {
    unhex(text(v, field)).try_into().expect("the field's length")
}

fn text<'v>(v: &'v Value, field: &str) -> &'v str {
    v[field].as_str().unwrap_or_else(|| panic!("{field} is missing"))
}

fn vectors() -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).expect("JSON");
    let all = all.as_array().expect("a list").clone();
    assert!(!all.is_empty());
    all
}

/// A vector's inputs.
struct Case<'v> {
    v: &'v Value,
    idc: Idc<'v>,
    idsp: Idsp<'v>,
    rand: [u8; 16],
    n1a: N1,
    kc: Key,
    ksp: Key,
    key: SessionKey,
}

impl<'v> Case<'v> {
    fn new(v: &'v Value) -> Self {
        Self {
            v,
            idc: Idc::new(text(v, "idc")).expect("an IDc"),
            idsp: Idsp::new(text(v, "idsp")).expect("an IDsp"),
            rand: array(v, "rand"),
            n1a: N1::parse(text(v, "n1_of_s1").as_bytes()).expect("an N1"),
            kc: Key::new(array(v, "kc")),
            ksp: Key::new(array(v, "ksp")),
            key: SessionKey::new(array(v, "session_key")),
        }
    }

    fn ctx(&self) -> WrapCtx<'_> {
        WrapCtx { idc: self.idc, idsp: self.idsp, rand: &self.rand, n1a: &self.n1a }
    }
}

#[test]
fn no_field_is_left_out() {
    let known =
        "idc idsp kc ksp rand n1_of_s1 session_key auth_c ekc eksp mac_key n1_of_s7 n2_of_s10 traffic mac_example";
    let known: BTreeSet<&str> = known.split(' ').collect();
    for v in vectors() {
        let fields: BTreeSet<&str> = v.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(fields, known);
    }
}

#[test]
fn words_and_wraps() {
    for v in &vectors() {
        let c = Case::new(v);
        assert_eq!(c.kc.prk().word(c.idc, c.idsp, &c.rand), array::<32>(v, "auth_c"));
        for (holder, w, field) in [(&c.kc, For::Terminal, "ekc"), (&c.ksp, For::Proxy, "eksp")] {
            let wrap = array::<48>(v, field);
            assert_eq!(holder.prk().wrap(w, &c.ctx(), &c.key), wrap, "{field}");
            let opened = holder.prk().unwrap(w, &c.ctx(), &wrap).expect("opens");
            assert_eq!(opened.expose(), c.key.expose(), "{field}");
        }
    }
}

#[test]
fn mac_keys_and_the_example() {
    for v in &vectors() {
        let c = Case::new(v);
        let mac_key = c.key.secret(&c.rand).mac_key();
        // ring does not show a key's octets: the same key gives the same MAC.
        let given = hmac::Key::new(hmac::HMAC_SHA256, &array::<32>(v, "mac_key"));
        assert_eq!(hmac::sign(&mac_key, b"probe").as_ref(), hmac::sign(&given, b"probe").as_ref());

        let example = &v["mac_example"];
        let message = text(example, "message").as_bytes();
        let from = usize::try_from(example["offset"].as_u64().expect("a number")).expect("small");
        let mac = array::<32>(example, "mac");
        assert_eq!(message_mac(&mac_key, message, from..from + 64, &[b'0'; 64]), Some(mac));
        // As received, with the MAC in its field.
        let mut signed = message.to_vec();
        hex_encode(&mac, &mut signed[from..from + 64]);
        assert_ne!(signed, message);
        assert_eq!(message_mac(&mac_key, &signed, from..from + 64, &[b'0'; 64]), Some(mac));
        // Any other octet counts.
        signed[0] ^= 1;
        assert_ne!(message_mac(&mac_key, &signed, from..from + 64, &[b'0'; 64]), Some(mac));
    }
}

#[test]
fn a_mac_field_that_is_not_in_the_message_or_not_of_its_length_gives_none() {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
    let message = [b'x'; 100];
    let zeros = [b'0'; 64];
    assert!(message_mac(&key, &message, 36..100, &zeros).is_some());
    for field in [37..101, 0..63, 0..65, 0..0, 200..264, usize::MAX - 64..usize::MAX] {
        assert_eq!(message_mac(&key, &message, field.clone(), &zeros), None, "{field:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "what a broken carriage might say")]
    let reversed = 80..16;
    assert_eq!(message_mac(&key, &message, reversed, &zeros), None);
}

#[test]
fn every_traffic_label() {
    for v in &vectors() {
        let c = Case::new(v);
        let n1b = N1::parse(text(v, "n1_of_s7").as_bytes()).expect("an N1");
        let n2b = N1::parse(text(v, "n2_of_s10").as_bytes()).expect("an N2");
        let labels = v["traffic"].as_object().expect("labels");
        assert_eq!(labels.len(), 6);
        for (label, expected) in labels {
            // The vectors name no token beside the labels: each label is its mechanism's.
            let token = match label.split(' ').next() {
                Some("sealed") => "x-pkd-sealed",
                Some("esp") => "ipsec-man",
                _ => "tls",
            };
            let ctx = TrafficCtx { idc: c.idc, idsp: c.idsp, n1b: &n1b, n2b: &n2b, token };
            let expected = unhex(expected.as_str().expect("hex"));
            let mut out = vec![0; expected.len()];
            c.key.secret(&c.rand).traffic(label, &ctx, &mut out);
            assert_eq!(out, expected, "{label}");
        }
    }
}

#[test]
fn the_batch_computes_what_single_calls_do() {
    let vectors = vectors();
    let cases: Vec<Case<'_>> = vectors.iter().map(Case::new).collect();
    for c in &cases {
        let prk = c.ksp.prk();
        let wraps: Vec<[u8; 48]> = cases.iter().map(|c| array(c.v, "eksp")).collect();
        let jobs: Vec<OpenJob<'_>> = cases.iter().zip(&wraps).map(|(c, wrap)| OpenJob { ctx: c.ctx(), wrap }).collect();
        let mut order = Vec::new();
        open_batch(&prk, &jobs, |i, result| {
            order.push(i);
            // Each vector has its own Ksp, so exactly one of them opens.
            assert_eq!(result.is_ok(), cases[i].ksp.expose() == c.ksp.expose());
            let Ok(opened) = result else { return };
            let message = text(&cases[i].v["mac_example"], "message").as_bytes();
            let mut macs = [42..106, 60..124].map(|field| MacJob {
                key: &opened.mac_key,
                message,
                field,
                placeholder: &[b'0'; 64],
                out: [0; 32],
            });
            assert_eq!(mac_batch(&mut macs), 1, "the second field lies outside");
            assert_eq!(macs[0].out, array::<32>(&cases[i].v["mac_example"], "mac"));
            assert_eq!(macs[1].out, [0; 32]);
        });
        assert_eq!(order, (0..cases.len()).collect::<Vec<_>>());
    }
}

#[test]
fn a_wrap_opens_for_its_own_names_and_nonces_only() {
    let vectors = vectors();
    let c = Case::new(&vectors[0]);
    let wrap = array::<48>(c.v, "ekc");
    let prk = c.kc.prk();
    let refused = |w, ctx: WrapCtx<'_>, wrap| assert_eq!(prk.unwrap(w, &ctx, &wrap).err(), Some(WrapError));
    let other_n1 = N1::from_bits(c.n1a.bits() ^ 1);
    let mut other_rand = c.rand;
    other_rand[15] ^= 1;
    refused(For::Terminal, WrapCtx { idc: Idc::new("bob@example.test").expect("an IDc"), ..c.ctx() }, wrap);
    refused(For::Terminal, WrapCtx { idsp: Idsp::new("sp2.example.test").expect("an IDsp"), ..c.ctx() }, wrap);
    refused(For::Terminal, WrapCtx { n1a: &other_n1, ..c.ctx() }, wrap);
    refused(For::Terminal, WrapCtx { rand: &other_rand, ..c.ctx() }, wrap);
    refused(For::Proxy, c.ctx(), wrap);
    for bit in 0..48 * 8 {
        let mut altered = wrap;
        altered[bit / 8] ^= 1 << (bit % 8);
        refused(For::Terminal, c.ctx(), altered);
    }
}

#[test]
fn no_secret_shows_itself() {
    let key = Key::new([0x5a; 32]);
    let session = SessionKey::new([0x5a; 32]);
    let secret = session.secret(&[1; 16]);
    for shown in [
        format!("{key:?}"),
        format!("{:?}", key.prk()),
        format!("{session:?}"),
        format!("{secret:?}"),
        format!("{:?}", secret.mac_key()),
    ] {
        assert!(shown.ends_with("(..)"), "{shown}");
    }
}
