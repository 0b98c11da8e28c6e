//! MGCP at the softswitch: registration through a proxy's lane, what follows it, and how it ends from both sides.

#[path = "mgcp/behind.rs"]
mod behind;
mod common;

use common::*;
use portunus_aaa::AaaAnswer;
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::params::Params;
use portunus_keydist::steps::{Registration, S2, S8};
use portunus_mgcp::view::{Message, Name};
use portunus_signalling::Protocol;
use portunus_softswitch::Peer;

/// From where the proxy sends s2, and the lane of a gateway.
const SHARED: &str = "192.0.2.1:30000";
const LANE: &str = "192.0.2.1:30001";
const GW: &str = "gw1.example.test";
const N1A: &str = "64e6d05cb4c9b98f";

struct Mgcp {
    bench: Bench,
    next: u32,
}

impl core::ops::Deref for Mgcp {
    type Target = Bench;
    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl core::ops::DerefMut for Mgcp {
    fn deref_mut(&mut self) -> &mut Bench {
        &mut self.bench
    }
}

fn text(f: impl FnOnce(&mut portunus_codec::Writer<'_>)) -> String {
    let mut buf = [0; 1024];
    let mut w = portunus_codec::Writer::new(&mut buf);
    f(&mut w);
    String::from_utf8(w.written().to_vec()).unwrap()
}

fn transaction(message: &str) -> u32 {
    Message::alone(message.as_bytes()).unwrap().transaction()
}

fn line(message: &str, name: Name) -> String {
    let msg = Message::alone(message.as_bytes()).unwrap();
    String::from_utf8(msg.value(name).unwrap_or_default().to_vec()).unwrap()
}

impl Mgcp {
    fn new() -> Self {
        let mut config = config();
        config.silent_s = 60;
        Self::with(config)
    }

    fn with(config: portunus_softswitch::Config) -> Self {
        Self { bench: Bench::new(config), next: 0 }
    }

    fn say(&mut self, from: &str, message: &str) {
        self.bench.say(Protocol::Mgcp, peer(from), message.as_bytes());
    }

    /// What was sent to `to` since the last look; nothing else may have been.
    fn to(&mut self, to: &str) -> Vec<String> {
        let sent = core::mem::take(&mut self.sent);
        sent.into_iter().map(|(at, text)| (at == peer(to)).then_some(text).expect("to nobody else")).collect()
    }

    /// A final answer to each of `commands`.
    fn answer(&mut self, from: &str, code: &str, commands: &[String]) {
        for command in commands {
            self.say(from, &format!("{code} {}\r\n", transaction(command)));
        }
    }

    fn id(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn s2(&mut self) -> String {
        let s2 = S2 {
            idc: Idc::new(GW).unwrap(),
            idsp: Idsp::new("sp1.example.test").unwrap(),
            n1: N1::parse(N1A.as_bytes()).unwrap(),
        };
        format!("RSIP {} *@{GW} MGCP 1.0\r\nRM: restart\r\nX-PKD: {}\r\n", self.id(), text(|w| s2.write_services(w)))
    }

    fn s8(&mut self, rand: [u8; 16], word: [u8; 32]) -> String {
        let s8 = S8 {
            idc: Idc::new(GW).unwrap(),
            idsp: Idsp::new("sp1.example.test").unwrap(),
            rand,
            auth_c: word,
            ipc: "203.0.113.7:2427".parse().unwrap(),
        };
        let list = text(|w| portunus_keydist::params::Quoted::new(w).s8(&s8));
        format!("NTFY {} aaln/1@{GW} MGCP 1.0\r\nX: 1\r\nO: x-pkd/resp({list})\r\n", self.id())
    }

    /// s2 to s5; the challenge's Rand is `[n; 16]`.
    fn challenged(&mut self, n: u8) {
        let s2 = self.s2();
        self.say(SHARED, &s2);
        assert_eq!(self.to(SHARED), [format!("200 {} OK\r\n", transaction(&s2))]);
        let (id, _) = self.question();
        self.aaa(id, Ok(AaaAnswer::Vector(vector(n))));
        let s5 = self.to(SHARED).remove(0);
        assert!(s5.contains("S: x-pkd/chal(idsp=\"sp1.example.test\",n1=\"64e6d05cb4c9b98f\",rand="), "{s5}");
        assert!(s5.contains(" aaln/1@gw1.example.test "), "{s5}");
        self.answer(SHARED, "200", &[s5]);
        self.silence();
    }

    /// All of a registration; its record is made.
    fn registered(&mut self, n: u8) {
        self.challenged(n);
        let s8 = self.s8([n; 16], [n; 32]);
        self.say(LANE, &s8);
        let sent = self.to(LANE);
        assert_eq!(sent[0], format!("200 {} OK\r\n", transaction(&s8)));
        let signal = line(&sent[1], Name::SignalRequests);
        let list = signal.strip_prefix("x-pkd/key(").unwrap().strip_suffix(')').unwrap();
        let (s9, rand) = Params::read_quoted(list.as_bytes()).unwrap().s9().unwrap();
        assert_eq!((s9.ekc, s9.eksp, rand), ([n; 48], [n ^ 0xff; 48], [n; 16]));
        assert_eq!(sent.len(), 2);
        self.answer(LANE, "200", &sent[1..]);
        let records = self.records();
        assert!(records.iter().any(|r| matches!(r.event, Registration::Start)));
    }

    /// A registration, the audit that follows it, and off-hook wanted of two endpoints.
    fn served(&mut self) {
        self.registered(7);
        self.pass(400);
        let audit = self.to(LANE);
        assert!(audit.len() == 1 && audit[0].starts_with("AUEP ") && audit[0].contains(" *@gw1.example.test MGCP 1.0"));
        self.say(
            LANE,
            &format!("200 {} OK\r\nZ: aaln/1@{GW}\r\nZ: aaln/2@{GW}\r\nZ: aaln/3@other\r\n", transaction(&audit[0])),
        );
        let wanted = self.to(LANE);
        assert_eq!(wanted.len(), 2);
        for (want, endpoint) in wanted.iter().zip(["aaln/1", "aaln/2"]) {
            assert!(want.starts_with("RQNT ") && want.contains(&format!(" {endpoint}@{GW} ")), "{want}");
            assert_eq!(line(want, Name::RequestedEvents), "L/hd(N)");
        }
        self.answer(LANE, "200", &wanted);
        self.silence();
    }
}

fn lane() -> Peer {
    peer(LANE)
}

#[test]
fn a_gateway_registers_is_audited_and_gets_dial_tone() {
    let mut m = Mgcp::new();
    m.served();
    let ntfy = format!("NTFY 900 aaln/2@{GW} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n");
    m.say(LANE, &ntfy);
    let sent = m.to(LANE);
    assert_eq!(sent[0], "200 900 OK\r\n");
    assert!(sent[1].contains(" aaln/2@gw1.example.test ") && line(&sent[1], Name::SignalRequests) == "L/dl");
    assert_eq!(line(&sent[1], Name::RequestedEvents), "L/hu(N)");
    m.answer(LANE, "200", &sent[1..]);
    // At most once: the same again gets the same answer, and no other request.
    m.say(LANE, &ntfy);
    assert_eq!(m.to(LANE), ["200 900 OK\r\n"]);
    m.say(LANE, &format!("NTFY 901 aaln/2@{GW} MGCP 1.0\r\nX: 5\r\nO: L/hu\r\n"));
    let sent = m.to(LANE);
    assert_eq!((sent[0].as_str(), line(&sent[1], Name::RequestedEvents).as_str()), ("200 901 OK\r\n", "L/hd(N)"));
}

#[test]
fn a_gateway_that_speaks_first_is_audited_all_the_same() {
    let mut m = Mgcp::new();
    m.registered(7);
    for n in 900..903 {
        m.say(LANE, &format!("NTFY {n} aaln/1@{GW} MGCP 1.0\r\nX: 0\r\nO: L/hu\r\n"));
        let sent = m.to(LANE);
        m.answer(LANE, "200", &sent[1..]);
    }
    m.pass(400);
    let audit = m.to(LANE);
    assert!(audit[0].starts_with("AUEP ") && audit[0].contains(" *@"), "{audit:?}");
    // Whoever says something while a question to it is lost is there.
    m.pass(2_000);
    m.say(LANE, &format!("NTFY 903 aaln/1@{GW} MGCP 1.0\r\nX: 0\r\nO: L/hu\r\n"));
    let sent = m.to(LANE);
    m.answer(LANE, "200", &sent.into_iter().filter(|m| m.starts_with("RQNT ")).collect::<Vec<_>>());
    m.pass(28_000);
    m.say(LANE, &format!("NTFY 904 aaln/1@{GW} MGCP 1.0\r\nX: 0\r\nO: L/hu\r\n"));
    assert!(m.to(LANE).contains(&"200 904 OK\r\n".to_owned()));
}

#[test]
fn steps_are_repeated_until_they_are_received_and_answered_once() {
    let mut m = Mgcp::new();
    let s2 = m.s2();
    m.say(SHARED, &s2);
    m.to(SHARED);
    m.say(SHARED, &s2);
    assert_eq!(m.to(SHARED), [format!("200 {} OK\r\n", transaction(&s2))]);
    let (id, _) = m.question();
    m.aaa(id, Ok(AaaAnswer::Vector(vector(3))));
    let s5 = m.to(SHARED);
    m.pass(1_600);
    assert_eq!(m.to(SHARED), [s5[0].clone(), s5[0].clone()]);
    // Only who was asked can answer.
    m.answer(LANE, "200", &s5);
    m.pass(2_100);
    assert_eq!(m.to(SHARED), s5);
    m.answer(SHARED, "200", &s5);
    m.pass(9_000);
    m.silence();
    assert_eq!(m.ss.counters().stray_answer, 1);
}

#[test]
fn a_wrong_word_gets_one_more_challenge_and_then_the_refusal() {
    let mut m = Mgcp::new();
    m.challenged(4);
    let s8 = m.s8([4; 16], [5; 32]);
    m.say(LANE, &s8);
    let (id, _) = m.question();
    assert_eq!(m.to(LANE).len(), 1);
    m.aaa(id, Ok(AaaAnswer::Vector(vector(6))));
    let s5 = m.to(LANE);
    assert!(s5[0].contains("x-pkd/chal(") && s5[0].contains("n1=\"64e6d05cb4c9b98f\""), "{}", s5[0]);
    m.answer(LANE, "200", &s5);
    let s8 = m.s8([6; 16], [5; 32]);
    m.say(LANE, &s8);
    let sent = m.to(LANE);
    assert!(sent[1].contains("S: x-pkd/fail(cause=\"denied\",rand=\"BgYGBgYGBgYGBgYGBgYGBg\")"), "{}", sent[1]);
    m.answer(LANE, "200", &sent[1..]);
    // Nobody is registered, so nobody is served.
    m.say(LANE, &format!("NTFY 900 aaln/2@{GW} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n"));
    assert_eq!(m.to(LANE), ["500 900 Endpoint unknown\r\n"]);
}

#[test]
fn a_proxy_registers_for_itself_only_and_an_absent_auc_is_said() {
    let mut m = Mgcp::new();
    let foreign = m.s2().replace("idsp=sp1", "idsp=sp2");
    m.say(SHARED, &foreign);
    let sent = m.to(SHARED);
    assert!(sent[1].contains("x-pkd/fail(cause=\"denied\",n1=\"64e6d05cb4c9b98f\")"), "{}", sent[1]);
    m.answer(SHARED, "200", &sent[1..]);
    let s2 = m.s2();
    m.say(SHARED, &s2);
    let (id, _) = m.question();
    m.to(SHARED);
    m.aaa(id, Err(portunus_aaa::Unreachable));
    let sent = m.to(SHARED);
    assert!(sent[0].contains("x-pkd/fail(cause=\"busy\",n1=\"64e6d05cb4c9b98f\")"), "{}", sent[0]);
}

#[test]
fn a_session_that_is_not_active_yet_is_audited_again_and_then_forgotten() {
    let mut m = Mgcp::new();
    m.registered(7);
    let mut audits = 0;
    for _ in 0..40 {
        m.pass(1_000);
        for command in m.to(LANE) {
            assert!(command.starts_with("AUEP "));
            audits += 1;
            m.answer(LANE, "501", &[command]);
        }
    }
    assert!((20..40).contains(&audits), "{audits}");
    assert!(m.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    m.pass(600_000);
    m.silence();
}

#[test]
fn a_silent_gateway_is_audited_and_forgotten_when_nobody_answers() {
    let mut m = Mgcp::new();
    m.served();
    m.pass(31_000);
    let audit = m.to(LANE);
    assert!(audit[0].starts_with("AUEP ") && audit[0].contains(" aaln/1@"), "{audit:?}");
    m.answer(LANE, "200", &audit[..1]);
    m.pass(25_000);
    assert!(m.to(LANE).is_empty());
    m.pass(35_000);
    assert!(m.to(LANE).len() > 1, "repeated");
    m.records();
    m.say(LANE, &format!("NTFY 900 aaln/2@{GW} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n"));
    assert_eq!(m.to(LANE), ["500 900 Endpoint unknown\r\n"]);
}

#[test]
fn restarts() {
    let mut m = Mgcp::new();
    m.served();
    m.say(LANE, &format!("RSIP 910 aaln/2@{GW} MGCP 1.0\r\nRM: graceful\r\nRD: 300\r\n"));
    assert_eq!(m.to(LANE), ["200 910 OK\r\n"]);
    m.say(LANE, &format!("RSIP 911 aaln/2@{GW} MGCP 1.0\r\nRM: forced\r\n"));
    assert_eq!(m.to(LANE), ["200 911 OK\r\n"]);
    m.say(LANE, &format!("RSIP 912 aaln/2@{GW} MGCP 1.0\r\nRM: restart\r\n"));
    let sent = m.to(LANE);
    assert!(sent[1].starts_with("RQNT ") && sent[1].contains(" aaln/2@"));
    m.answer(LANE, "200", &sent[1..]);
    m.say(LANE, &format!("RSIP 913 *@{GW} MGCP 1.0\r\nRM: disconnected\r\n"));
    m.pass(10);
    let sent = m.to(LANE);
    assert!(sent[0] == "200 913 OK\r\n" && sent[1].starts_with("AUEP ") && sent[1].contains(" *@"), "{sent:?}");
    m.answer(LANE, "200", &sent[1..]);
    m.pass(10);
    // It named no endpoint: all are asked at once.
    let sent = m.to(LANE);
    assert!(sent[0].starts_with("RQNT ") && sent[0].contains(" *@"), "{sent:?}");
    m.answer(LANE, "200", &sent);
    m.say(LANE, &format!("RSIP 914 *@{GW} MGCP 1.0\r\nRM: X-nonsense\r\n"));
    assert_eq!(m.to(LANE), ["536 914 Unknown restart method\r\n"]);
    m.say(LANE, &format!("RSIP 915 *@{GW} MGCP 1.0\r\nRM: forced\r\n"));
    assert_eq!(m.to(LANE), ["200 915 OK\r\n"]);
    assert!(m.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    m.say(LANE, &format!("NTFY 916 aaln/2@{GW} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n"));
    assert_eq!(m.to(LANE), ["500 916 Endpoint unknown\r\n"]);
    // Also when it comes again: the answer is kept.
    m.say(LANE, &format!("RSIP 915 *@{GW} MGCP 1.0\r\nRM: forced\r\n"));
    assert_eq!(m.to(LANE), ["200 915 OK\r\n"]);
    m.pass(600_000);
    m.silence();
}

#[test]
fn what_cannot_be_served_gets_its_code() {
    let mut m = Mgcp::new();
    m.served();
    for (command, expected) in [
        (format!("AUEP 920 aaln/1@{GW} MGCP 1.0\r\n"), "504 920 Unknown command\r\n"),
        ("NTFY 921 aaln/1@gw2 MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n".to_owned(), "500 921 Endpoint unknown\r\n"),
        (
            format!("NTFY 922 aaln/1@{GW} MGCP 1.0\r\nX: 1\r\nX+Y: z\r\nO: L/hd\r\n"),
            "511 922 Unrecognized extension\r\n",
        ),
        (format!("NTFY 923 aaln/1@{GW} MGCP 1.0\r\nO: L/hd\r\n"), "510 923 Protocol error\r\n"),
        (format!("NTFY 924 aaln/1@{GW} MGCP 1.0\r\nX: 1\r\nO: L/hd(\r\n"), "510 924 Protocol error\r\n"),
        (format!("NTFY 925 aaln/1@{GW} MGCP 9.0\r\nX: 1\r\n"), "528 925 Incompatible protocol version\r\n"),
        (format!("NTFY 926 aaln/1@{GW} MGCP 1.0\r\nX: 1\r\nO: x-pkd/resp(n1=\"1\")\r\n"), "510 926 Protocol error\r\n"),
    ] {
        m.say(LANE, &command);
        assert_eq!(m.to(LANE), [expected], "{command}");
    }
    for junk in ["", "\r\n", "hello", "200 1 OK\r\n", "000 1\r\n", "\u{0}\u{1}"] {
        m.say(LANE, junk);
        m.silence();
    }
    // Piggy-backed, both are served; an answer that wants to be confirmed is.
    m.say(LANE, &format!("200 77 OK\r\nK:\r\n.\r\nNTFY 930 aaln/1@{GW} MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n"));
    let sent = m.to(LANE);
    assert_eq!(sent[..2], ["000 77\r\n", "200 930 OK\r\n"]);
    let _ = lane();
}

#[test]
fn a_large_gateway_is_asked_as_a_whole() {
    let mut m = Mgcp::new();
    m.registered(7);
    m.pass(1_000);
    let audit = m.to(LANE);
    let names: String = (1..=200).map(|n| format!("Z: ds/e1-1/{n}@{GW}\r\n")).collect();
    m.say(LANE, &format!("200 {} OK\r\n{names}", transaction(&audit[0])));
    let wanted = m.to(LANE);
    assert!(wanted.len() == 1 && wanted[0].contains(" *@gw1.example.test "), "{wanted:?}");
    m.say(LANE, &format!("NTFY 900 ds/e1-1/163@{GW} MGCP 1.0\r\nX: 5\r\nO: hd\r\n"));
    assert!(m.to(LANE)[1].contains("S: L/dl"));
}

#[test]
fn registering_again_on_another_lane_leaves_the_first() {
    let mut m = Mgcp::new();
    m.served();
    m.challenged(9);
    let s8 = m.s8([9; 16], [9; 32]);
    let other = "192.0.2.1:30002";
    m.say(other, &s8);
    let sent = m.to(other);
    m.answer(other, "200", &sent[1..]);
    m.records();
    // It is where it was, until it speaks there.
    m.say(LANE, &format!("NTFY 900 aaln/2@{GW} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n"));
    let tone = m.to(LANE);
    m.answer(LANE, "200", &tone[1..]);
    m.pass(1_000);
    assert!(m.to(other)[0].starts_with("AUEP "));
    m.say(other, &format!("NTFY 900 aaln/2@{GW} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n"));
    assert!(m.to(other)[1].contains("S: L/dl"));
    m.say(LANE, &format!("NTFY 901 aaln/2@{GW} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n"));
    assert_eq!(m.to(LANE), ["500 901 Endpoint unknown\r\n"]);
}
