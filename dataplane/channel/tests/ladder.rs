//! From Kc and Ksp to the first sealed message: all roles but the proxy's machine, with nothing in between.

use portunus_channel::sealed::Sealed;
use portunus_channel::{Flow, Mechanism as _, Said};
use portunus_codec::{Writer, hex_encode};
use portunus_keydist::auc::{Decoy, vector};
use portunus_keydist::batch::{MacJob, OpenJob, mac_batch, open_batch};
use portunus_keydist::mech::{Mech, MechList, Sel};
use portunus_keydist::schedule::{TrafficCtx, WrapCtx};
use portunus_keydist::softswitch::{Policy, Registration, Verdict};
use portunus_keydist::steps::{S2, S6, S8, S10};
use portunus_keydist::terminal::{Config, KeyMessage, Terminal};
use portunus_keydist::timing::Repeat;
use portunus_keydist::{Idc, Idsp, Key, N1, Now, SystemRandom};
use std::sync::Arc;

#[test]
fn both_ends_hold_the_same_keys() {
    let rng = &mut SystemRandom::new();
    let now = Now { mono_ms: 5, wall_ms: 1_790_000_000_000 };
    let (idc, idsp) = (Idc::new("alice@example.test").expect("IDc"), Idsp::new("sp1.example.test").expect("IDsp"));
    let (kc, ksp, decoy) = (Key::new([1; 32]), Key::new([2; 32]), Decoy::new(Key::new([3; 32])));
    let mechs = MechList::from_text("tls;q=0.1 x-pkd-sealed;q=0.9").expect("a list");
    let mut terminal = Terminal::new(idc, idsp, &kc, Arc::new(Config::new(mechs, Repeat::SIP_UDP)));

    let n1a = terminal.start(now, rng).n1;
    let mut registration = Registration::on_s2(now, &S2 { idc, idsp, n1: n1a }, Policy::default());
    let s4 = vector(rng, Some(&kc), &decoy, Some(&ksp), &registration.ask()).expect("known");
    let rand = registration.on_s4(now, &s4).expect("awaited").rand;
    let s6 = S6 { idsp, n1: n1a, n2: b"token", ts: now.wall_ms, rand };
    let s7 = terminal.on_challenge(now, rng, &s6).expect("a challenge");
    let ipc = std::net::SocketAddr::from(([192, 0, 2, 7], 5060));
    let s8 = S8 { idc, idsp, rand, auth_c: s7.auth_c, ipc };
    let Ok(Verdict::Granted(s9, _)) = registration.on_s8(now, &s8) else { panic!("granted") };

    // The proxy: opens its wrap, chooses, signs.
    let mut opened = None;
    let ctx = WrapCtx { idc, idsp, rand: &rand, n1a: &n1a };
    open_batch(&ksp.prk(), &[OpenJob { ctx, wrap: &s9.eksp }], |_, result| opened = result.ok());
    let opened = opened.expect("opens");
    let chosen = s7.mechs.choose(&[Mech::Sealed], |_| true).expect("offered");
    assert_eq!(chosen.mech, Some(Mech::Sealed));
    let sel = Sel::sealed(0x0100_0000_0000_0001, 5065);
    let (n1b, n2b) = (s7.n1, N1::from_bits(99));
    let mut message = format!("{n1b} {n2b} {} {} {}", sel.as_str(), s7.mechs, "0".repeat(64)).into_bytes();
    let field = message.len() - 64..message.len();
    let mut job = [MacJob {
        key: &opened.mac_key,
        message: &message,
        field: field.clone(),
        placeholder: &[b'0'; 64],
        out: [0; 32],
    }];
    assert_eq!(mac_batch(&mut job), 1);
    let mac = job[0].out;
    hex_encode(&mac, &mut message[field.clone()]);
    let token = Mech::Sealed.token();
    let ctx = TrafficCtx { idc, idsp, n1b: &n1b, n2b: &n2b, token };
    let at_proxy = Sealed.derive(&opened.secret, &ctx);

    let s10 = S10 {
        idsp,
        n1: n1b,
        n2: n2b,
        ts: now.wall_ms,
        life: 86_400,
        ekc: s9.ekc,
        sel: sel.as_str(),
        mechs: mechs.as_str(),
    };
    let key = KeyMessage { s10, message: &message, mac_field: field, terms_kept: true };
    let established = terminal.on_key(now, rng, &key).expect("accepted");
    let at_terminal = Sealed.derive(&established.secret, &terminal.traffic_ctx(&established));

    let kid = established.sel.kid().expect("complete");
    for (from, to) in [(&at_terminal.c2s, &at_proxy.c2s), (&at_proxy.s2c, &at_terminal.s2c)] {
        let mut buf = [0; 64];
        let mut w = Writer::new(&mut buf);
        let flow = Flow::plain(kid, 1);
        Sealed.seal(from, &flow, 1, b"", &mut w).expect("seals");
        let n = w.len();
        let peek = Sealed.peek(&buf[..n]).expect("a header");
        let opened = Sealed.open(to, &flow, &mut buf[..n]).expect("verifies");
        assert_eq!((peek.handle, peek.seq, opened.said), (kid, 1, Said::Confirmation));
    }
    assert!(terminal.on_protected(now, rng));
}
