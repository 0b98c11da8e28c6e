//! The answers of the specification's independent implementation (`vectors.json`), carried by this protocol: what a
//! gateway with a name, and one with an address for a name, sends and accepts.

mod common;

use common::{World, write};
use portunus_h248::carriage::message::Sender;
use portunus_h248::carriage::terminal::{self, FromProxy};
use portunus_h248::{H248, MAC_PLACEHOLDER};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::mech::MechList;
use portunus_keydist::schedule::{For, Key, WrapCtx, message_mac};
use portunus_keydist::steps::{S7, S10};
use portunus_signalling::{FromTerminal, Signalling};

/// The vectors of a gateway's: identity, proxy, Kc, Rand, N1 of s1, session key, word, wrap, MAC key, N1 of s7, N2b.
const VECTORS: [[&str; 11]; 2] = [
    [
        "gw1.example.test",
        "sp1.example.test",
        "c81c1f555ea75a75031fdbd24ef19ed3c1a96cf14d6bd9269b0c09d3196134ec",
        "b86c4e1c4b62baac766438c8980832c9",
        "64e6d05cb4c9b98f",
        "071606be86c68381c9848d816d301455d04d3ec15874ccacb35348e63b359039",
        "f6f1434e395ca6be2cfb952d30d1bcbe0eb6ec6a5e44eaff2cb9d694e2eb0335",
        "f7ce5e8a9d4ba60b58ad1759dcb71bfe02eaffbc7df1c2518965d39c323ad5f3d9ceadeaf5d66606f38d1f0eec0688be",
        "b8638b9ef66e40b112439a8ba4261c01269b68f38df96b8a2b7606f41a18f377",
        "3f05e7b59536e12e",
        "c14fabd6374601c4",
    ],
    [
        "[192.0.2.7]:2944",
        "sp2.example.test",
        "79c3c76dc2b4c28e435222b786d795b56101e5792a5ec60fdbaf355c32d629e5",
        "3871fe2da36280edfcc4537f37052d35",
        "7ca67fc1b01cedc0",
        "5eaf90927815dbdfb2c11bcc5f5defef0ceca1181e3928be8586907861ccabd9",
        "6a4e4da0d6f41ceb1ea96260f1f9729c0e9ca986afd344f280e2cadffb3393c9",
        "ca50178f4ce5bcb77d1262dbbff36ef1e79e3e624111a5053cfbbf47ce2b998efc67b722809d379693b6d521c7aae93c",
        "6122c50b74ff5807b92391ab5659b864cec1948bf04f58a875ef40808d93c68e",
        "e9a645c95ee6e399",
        "32c142d6f01f56df",
    ],
];

fn octets<const N: usize>(hex: &str) -> [u8; N] {
    portunus_codec::hex_decode(hex.as_bytes()).unwrap()
}

#[test]
fn what_the_vectors_say_passes_through_the_messages() {
    for [idc, idsp, kc, rand, n1a, k, word, ekc, mac_key, n1b, n2] in VECTORS {
        let (idc, idsp) = (Idc::new(idc).unwrap(), Idsp::new(idsp).unwrap());
        let (rand, n1a) = (octets::<16>(rand), N1::parse(n1a.as_bytes()).unwrap());
        let prk = Key::new(octets(kc)).prk();
        let world = World { idc, idsp, ..World::v4() };
        let auth_c = prk.word(idc, idsp, &rand);
        assert_eq!(auth_c, octets::<32>(word));
        let mechs = MechList::from_text("x-pkd-sealed").unwrap();
        let n1b = N1::parse(n1b.as_bytes()).unwrap();
        let s7 = S7 { idc, idsp: None, n1: n1b, n2: b"N2a", ts: 1, rand: None, auth_c, mechs };
        let msg = write(|o| terminal::write_s7(&Sender { idc, version: 2 }, 2, &s7, o));
        let text = String::from_utf8(msg.clone()).unwrap();
        assert!(text.contains(&format!("authc=\"{word}\"")), "{text}");
        assert!(matches!(H248.read_terminal(&msg), Ok(FromTerminal::S7(got)) if got == s7));
        let s10 = S10 {
            idsp,
            n1: n1b,
            n2: N1::parse(n2.as_bytes()).unwrap(),
            ts: 2,
            life: 86_400,
            ekc: octets(ekc),
            sel: "x-pkd-sealed;kid=0300000000000001;port=5065",
            mechs: s7.mechs.as_str(),
        };
        let mut field = 0..0;
        let mut msg = write(|o| H248.write_s10(&world.hop(), &msg, b"", &s10, o).map(|f| field = f));
        let ctx = WrapCtx { idc, idsp, rand: &rand, n1a: &n1a };
        let key = prk.unwrap(For::Terminal, &ctx, &s10.ekc).unwrap();
        assert_eq!(key.expose(), &octets::<32>(k));
        // The MAC by the key that the vectors name, computed without this product's key schedule.
        let hmac = ring_hmac(&octets::<32>(mac_key), &msg);
        let own = message_mac(&key.secret(&rand).mac_key(), &msg, field.clone(), MAC_PLACEHOLDER).unwrap();
        assert_eq!(own, hmac);
        H248.put_mac(&mut msg[field.clone()], &hmac);
        let Ok((_, FromProxy::Key { mac, mac_value, .. })) = terminal::read(&msg) else { panic!() };
        assert_eq!((mac, mac_value), (field, hmac));
    }
}

/// HMAC-SHA-256 of a message whose field holds its placeholder.
fn ring_hmac(key: &[u8; 32], msg: &[u8]) -> [u8; 32] {
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), msg);
    tag.as_ref().try_into().unwrap()
}
