//! H.248 at the softswitch: registration through a proxy's lane, what follows it, and how it ends from both sides.

#[path = "h248/behind.rs"]
mod behind;
mod common;

use common::*;
use portunus_aaa::AaaAnswer;
use portunus_h248::carriage::message::{Sender, write_reply};
use portunus_h248::view::{Command, Kind, Message};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::params::Params;
use portunus_keydist::steps::{Registration, S2, S8};
use portunus_signalling::Protocol;
use portunus_softswitch::{Effect, Peer};

/// From where the proxy sends s2, and the lane of a gateway.
const SHARED: &str = "192.0.2.1:30000";
const LANE: &str = "192.0.2.1:30001";
const GW: &str = "gw1.example.test";
const N1A: &str = "64e6d05cb4c9b98f";

struct H248 {
    bench: Bench,
    next: u32,
}

impl core::ops::Deref for H248 {
    type Target = Bench;
    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl core::ops::DerefMut for H248 {
    fn deref_mut(&mut self) -> &mut Bench {
        &mut self.bench
    }
}

fn text(f: impl FnOnce(&mut portunus_codec::Writer<'_>)) -> String {
    let mut buf = [0; 16_384];
    let mut w = portunus_codec::Writer::new(&mut buf);
    f(&mut w);
    String::from_utf8(w.written().to_vec()).unwrap()
}

/// The transaction of a message of one.
fn id(message: &str) -> u32 {
    let msg = Message::parse(message.as_bytes()).unwrap_or_else(|e| panic!("{e:?} {message}"));
    msg.transactions().next().unwrap().id
}

fn only<'m>(message: &'m str) -> Command<'m> {
    let msg = Message::parse(message.as_bytes()).unwrap();
    msg.only_command().unwrap_or_else(|| panic!("{message}")).1
}

/// The parameters of the one signal of `name` in a step.
fn params<'m>(message: &'m str, name: &str) -> Params<'m> {
    let signals = only(message).descriptors().next().unwrap();
    let signal = signals.elements().next().unwrap();
    assert_eq!(signal.name(), name.as_bytes(), "{message}");
    Params::read_quoted(signal.block()).unwrap()
}

impl H248 {
    fn new() -> Self {
        let mut config = config();
        config.silent_s = 60;
        Self::with(config)
    }

    fn with(config: portunus_softswitch::Config) -> Self {
        Self { bench: Bench::new(config), next: 0 }
    }

    fn say(&mut self, from: &str, message: &str) {
        self.say_as(peer(from), message);
    }

    fn say_as(&mut self, from: Peer, message: &str) {
        let mut out = Vec::new();
        let now = self.now;
        self.ss.on_message(now, Protocol::H248, from, message.as_bytes(), &mut out);
        for effect in out {
            match effect {
                Effect::Send { protocol, to, bytes } => {
                    assert_eq!(protocol, Protocol::H248);
                    self.sent.push((to, String::from_utf8_lossy(&bytes).into_owned()));
                }
                Effect::Ask { id, request } => self.asked.push((id, request)),
                Effect::Leave(_, lane) => self.left.push(lane),
            }
        }
    }

    /// What was sent to `to` since the last look, every message checked; nothing else may have been sent.
    fn to(&mut self, to: &str) -> Vec<String> {
        let sent = core::mem::take(&mut self.sent);
        let own = |(at, text): (_, String)| {
            assert_eq!(at, peer(to));
            _ = id(&text);
            text
        };
        sent.into_iter().map(own).collect()
    }

    /// A gateway's request.
    fn ask(&mut self, actions: &str) -> String {
        self.next += 1;
        format!("!/2 <{GW}> T={}{{{actions}}}", self.next)
    }

    /// The gateway says something in its session, and gets exactly this reply; what else it got.
    fn said(&mut self, actions: &str, reply: &str) -> Vec<String> {
        let request = self.ask(actions);
        self.say(LANE, &request);
        let mut sent = self.to(LANE);
        assert_eq!(sent.remove(0), format!("!/2 <example.test> P={}{{{reply}}}", self.next), "{request}");
        sent
    }

    /// A reply of the gateway's to a command.
    fn reply(&mut self, from: &str, command: &str, actions: &str) {
        let idc = Idc::new(GW).unwrap();
        let reply = text(|w| write_reply(&Sender { idc, version: 2 }, id(command), actions, w).unwrap());
        self.say(from, &reply);
    }

    /// Success to each of these Modify commands.
    fn done(&mut self, from: &str, commands: &[String]) {
        for command in commands {
            let termination = String::from_utf8(only(command).terminations().next().unwrap().to_vec()).unwrap();
            self.reply(from, command, &format!("C=-{{MF={termination}}}"));
        }
    }

    fn s2(&mut self) -> String {
        let s2 = S2 {
            idc: Idc::new(GW).unwrap(),
            idsp: Idsp::new("sp1.example.test").unwrap(),
            n1: N1::parse(N1A.as_bytes()).unwrap(),
        };
        let pkd = text(|w| s2.write_services(w));
        self.ask(&format!("C=-{{SC=ROOT{{SV{{MT=RS,RE=\"901 Cold Boot\",V=2,X-PKD=\"{pkd}\"}}}}}}"))
            .replace("!/2", "!/1")
    }

    fn s8(&mut self, rand: [u8; 16], word: [u8; 32]) -> String {
        let s8 = S8 {
            idc: Idc::new(GW).unwrap(),
            idsp: Idsp::new("sp1.example.test").unwrap(),
            rand,
            auth_c: word,
            ipc: "203.0.113.7:2944".parse().unwrap(),
        };
        let list = text(|w| portunus_keydist::params::Quoted::new(w).s8(&s8));
        self.ask(&format!("C=-{{N=ROOT{{OE=1{{portunus/resp{{{list}}}}}}}}}"))
    }

    /// s2 to s5; the challenge's Rand is `[n; 16]`.
    fn challenged(&mut self, n: u8) {
        let s2 = self.s2();
        self.say(SHARED, &s2);
        assert_eq!(self.to(SHARED), [format!("!/1 <example.test> P={}{{C=-{{SC=ROOT{{SV{{V=2}}}}}}}}", id(&s2))]);
        let (id, _) = self.question();
        self.aaa(id, Ok(AaaAnswer::Vector(vector(n))));
        let s5 = self.to(SHARED).remove(0);
        let list = params(&s5, "portunus/chal");
        assert_eq!((list.n1.map(|n| n.to_string()), list.rand), (Some(N1A.to_owned()), Some([n; 16])), "{s5}");
        assert!(s5.starts_with("!/2 <example.test> T=") && s5.ends_with(",E=1{portunus/resp}}}}"), "{s5}");
        self.done(SHARED, &[s5]);
        self.silence();
    }

    /// All of a registration; its record is made.
    fn registered(&mut self, n: u8) {
        self.challenged(n);
        let s8 = self.s8([n; 16], [n; 32]);
        self.say(LANE, &s8);
        let sent = self.to(LANE);
        assert_eq!(sent[0], format!("!/2 <example.test> P={}{{C=-{{N=ROOT}}}}", id(&s8)));
        let (s9, rand) = params(&sent[1], "portunus/key").s9().unwrap();
        assert_eq!((s9.ekc, s9.eksp, rand), ([n; 48], [n ^ 0xff; 48], [n; 16]));
        assert_eq!(sent.len(), 2);
        self.done(LANE, &sent[1..]);
        let records = self.records();
        assert!(records.iter().any(|r| matches!(r.event, Registration::Start)));
    }

    /// A registration, the audit that follows it, and what its terminations are asked.
    fn served(&mut self) {
        self.registered(7);
        self.pass(400);
        let audit = self.to(LANE);
        assert!(audit.len() == 1 && audit[0].ends_with("{C=-{AV=*{AT{PG}}}}"), "{audit:?}");
        self.reply(LANE, &audit[0], "C=-{AV=A1{PG{al-1,cg-1}},AV=A2{PG{AL-2}},AV=E1{PG{bcp-1}},AV=ROOT{PG{root-1}}}");
        let wanted = self.to(LANE);
        let actions: Vec<_> = wanted.iter().map(|m| &m[m.find('{').unwrap()..]).collect();
        let expected =
            ["{C=-{MF=ROOT{E=2{it/ito{mit=\"2000\"}}}}}", "{C=-{MF=A1{E=3{al/of}}}}", "{C=-{MF=A2{E=4{al/of}}}}"];
        assert_eq!(actions, expected);
        self.done(LANE, &wanted);
        self.silence();
    }
}

#[test]
fn a_gateway_registers_is_audited_and_gets_dial_tone() {
    let mut m = H248::new();
    m.served();
    let tone = m.said("C=-{N=A2{OE=4{20261124T03500000:al/of{init=\"OFF\"}}}}", "C=-{N=A2}");
    assert!(tone.len() == 1 && tone[0].ends_with("{C=-{MF=A2{SG{cg/dt},E=5{al/on}}}}"), "{tone:?}");
    // It comes again: the same reply, and nothing else.
    let again = m.ask("");
    m.next -= 1;
    let repeated = again
        .replace("{}", "{C=-{N=A2{OE=4{20261124T03500000:al/of{init=\"OFF\"}}}}}")
        .replace(&format!("T={}", m.next + 1), &format!("T={}", m.next));
    m.say(LANE, &repeated);
    assert_eq!(m.to(LANE), [format!("!/2 <example.test> P={}{{C=-{{N=A2}}}}", m.next)]);
    m.done(LANE, &tone);
    let hung_up = m.said("C=-{N=A2{OE=5{al/on}}}", "C=-{N=A2}");
    assert!(hung_up[0].ends_with("{C=-{MF=A2{E=6{al/of}}}}"), "{hung_up:?}");
    // The tone is repeated until it is acknowledged.
    m.pass(600);
    assert_eq!(m.to(LANE), hung_up);
    m.done(LANE, &hung_up);
    m.pass(9_000);
    m.silence();
    assert_eq!(m.said("C=-{N=ROOT{OE=2{it/ito}}}", "C=-{N=ROOT}"), [""; 0]);
}

#[test]
fn commands_are_repeated_until_answered_by_whom_was_asked() {
    let mut m = H248::new();
    let s2 = m.s2();
    m.say(SHARED, &s2);
    let first = m.to(SHARED);
    m.say(SHARED, &s2);
    assert_eq!(m.to(SHARED), first, "one answer, one question");
    let (id_of, _) = m.question();
    m.aaa(id_of, Ok(AaaAnswer::Vector(vector(3))));
    let s5 = m.to(SHARED);
    m.pass(1_600);
    assert_eq!(m.to(SHARED), [s5[0].clone(), s5[0].clone()]);
    m.done(LANE, &s5);
    m.pass(2_000);
    assert_eq!(m.to(SHARED), s5);
    // Who is still at it says so.
    m.say(SHARED, &format!("!/2 <sp1.example.test> PN={}{{}}", id(&s5[0])));
    m.pass(8_000);
    m.silence();
    let acknowledged = format!("!/2 <sp1.example.test> P={}{{IA,C=-{{MF=ROOT}}}}", id(&s5[0]));
    m.say(SHARED, &acknowledged);
    let sent = m.to(SHARED);
    assert_eq!(sent, [format!("!/2 <example.test> K{{{}}}", id(&s5[0]))]);
    m.pass(60_000);
    m.silence();
    assert_eq!(m.ss.counters().stray_answer, 1);
}

#[test]
fn a_wrong_word_gets_one_more_challenge_and_then_the_refusal() {
    let mut m = H248::new();
    m.challenged(4);
    let s8 = m.s8([4; 16], [5; 32]);
    m.say(LANE, &s8);
    let (id_of, _) = m.question();
    assert_eq!(m.to(LANE).len(), 1);
    m.aaa(id_of, Ok(AaaAnswer::Vector(vector(6))));
    let s5 = m.to(LANE);
    assert_eq!(params(&s5[0], "portunus/chal").n1.map(|n| n.to_string()), Some(N1A.to_owned()));
    m.done(LANE, &s5);
    let s8 = m.s8([6; 16], [5; 32]);
    m.say(LANE, &s8);
    let sent = m.to(LANE);
    assert!(sent[1].contains("SG{portunus/fail{cause=\"denied\",rand=\"BgYGBgYGBgYGBgYGBgYGBg\"}}"), "{}", sent[1]);
    m.done(LANE, &sent[1..]);
    // Nobody is registered, so nobody is served.
    m.said("C=-{N=A2{OE=4{al/of}}}", "ER=402{\"Unauthorized\"}");
}

#[test]
fn a_proxy_registers_for_itself_only_and_an_absent_auc_is_said() {
    let mut m = H248::new();
    let foreign = m.s2().replace("idsp=sp1", "idsp=sp2");
    m.say(SHARED, &foreign);
    let sent = m.to(SHARED);
    assert!(sent[1].contains("portunus/fail{cause=\"denied\",n1=\"64e6d05cb4c9b98f\"}"), "{}", sent[1]);
    m.done(SHARED, &sent[1..]);
    let s2 = m.s2();
    m.say(SHARED, &s2);
    let (id_of, _) = m.question();
    m.to(SHARED);
    m.aaa(id_of, Err(portunus_aaa::Unreachable));
    let sent = m.to(SHARED);
    assert!(sent[0].contains("portunus/fail{cause=\"busy\",n1=\"64e6d05cb4c9b98f\"}"), "{}", sent[0]);
}

#[test]
fn a_session_that_is_not_active_yet_is_audited_again_and_then_forgotten() {
    let mut m = H248::new();
    m.registered(7);
    let mut audits = 0;
    for _ in 0..40 {
        m.pass(1_000);
        for command in m.to(LANE) {
            assert!(command.contains("AV=*{AT{PG}}"));
            audits += 1;
            m.say(LANE, &format!("!/2 <sp1.example.test> P={}{{ER=503{{\"Service unavailable\"}}}}", id(&command)));
        }
    }
    assert!((20..40).contains(&audits), "{audits}");
    assert!(m.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    m.pass(600_000);
    m.silence();
}

#[test]
fn a_silent_gateway_is_audited_and_forgotten_when_nobody_answers() {
    let mut m = H248::new();
    m.served();
    m.pass(31_000);
    let audit = m.to(LANE);
    assert!(audit[0].ends_with("{C=-{AV=ROOT{AT{}}}}"), "{audit:?}");
    // An error of the gateway's own is an answer, too.
    m.reply(LANE, &audit[0], "C=-{ER=501{\"Not implemented\"}}");
    m.pass(25_000);
    assert!(m.to(LANE).is_empty());
    m.pass(65_000);
    assert!(m.to(LANE).len() > 1, "repeated");
    m.records();
    m.said("C=-{N=A2{OE=4{al/of}}}", "ER=402{\"Unauthorized\"}");
}

#[test]
fn service_changes() {
    let mut m = H248::new();
    m.served();
    let quiet = m.said("C=-{SC=A2{SV{MT=GR,RE=\"904 Termination malfunctioning\",DL=300}}}", "C=-{SC=A2}");
    assert!(quiet.is_empty(), "nothing changes yet");
    m.said("C=-{SC=A2{SV{MT=FO,RE=\"904 Termination malfunctioning\"}}}", "C=-{SC=A2}");
    let sent = m.said("C=-{SC=A2{SV{MT=RS,RE=\"900 Service Restored\"}}}", "C=-{SC=A2{SV{V=2}}}");
    assert!(sent[0].contains("MF=A2{E=") && sent[0].ends_with("{al/of}}}}"), "{sent:?}");
    m.done(LANE, &sent);
    for (method, reason) in
        [("DC", "900 Service Restored"), ("RS", "902 Warm Boot"), ("FL", "909 MGC Impending Failure")]
    {
        m.said(&format!("C=-{{SC=ROOT{{SV{{MT={method},RE=\"{reason}\"}}}}}}"), "C=-{SC=ROOT{SV{V=2}}}");
        m.pass(10);
        let audit = m.to(LANE);
        assert!(audit[0].contains("AV=*{AT{PG}}"), "{audit:?}");
        // It has no termination: all are asked at once.
        m.reply(LANE, &audit[0], "C=-{ER=431{\"No TerminationID matched a wildcard\"}}");
        let sent = m.to(LANE);
        assert!(sent[1].contains("{W-MF=*{E="), "{sent:?}");
        for command in &sent {
            m.reply(LANE, command, "C=-{ER=440{\"Unsupported or unknown Package\"}}");
        }
        assert!(m.records().iter().any(|r| matches!(r.event, Registration::Refresh)), "{method}");
    }
    let forced = "C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}";
    assert!(m.said(forced, "C=-{SC=ROOT}").is_empty());
    assert!(m.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    m.said("C=-{N=A2{OE=4{al/of}}}", "ER=402{\"Unauthorized\"}");
    m.pass(600_000);
    m.silence();
}

#[test]
fn what_cannot_be_served_gets_its_error() {
    let mut m = H248::new();
    m.served();
    m.said("C=-{AV=ROOT{AT{}}}", "C=-{ER=443{\"Unsupported or unknown command\"}}");
    m.said("C=-{N=ROOT{OE=2{it/ito}},A=$}", "C=-{N=ROOT,ER=443{\"Unsupported or unknown command\"}}");
    m.said("C=5{PR=1}", "C=5{ER=422{\"Syntax error in action\"}}");
    let other = m.ask("C=-{N=A1{OE=3{al/of}}}").replace(GW, "gw2.example.test");
    m.say(LANE, &other);
    assert_eq!(m.to(LANE), [format!("!/2 <example.test> P={}{{ER=402{{\"Unauthorized\"}}}}", m.next)]);
    for (junk, answer) in [
        ("!/2 <gw1.example.test> T=900{C=-{N=A1", "!/2 <example.test> P=900{ER=400{\"Syntax error in message\"}}"),
        ("!/9 <gw1.example.test> T=901{C=-{N=A1}}", "!/3 <example.test> ER=406{\"Version not supported\"}"),
    ] {
        m.say(LANE, junk);
        assert_eq!(m.to(LANE), [answer]);
    }
    for junk in
        ["", "hello", "!/2 <gw1.example.test> P=77{", "!/2 <gw1.example.test> ER=400{}", "!/2 <gw1.example.test> K{1}"]
    {
        m.say(LANE, junk);
        m.silence();
    }
    // Several transactions in one message are each answered.
    m.say(LANE, &format!("!/2 <{GW}> T=930{{C=-{{N=A1{{OE=3{{al/of}}}}}}}}P=5{{C=-{{MF=A1}}}}T=931{{C=-{{N=ROOT{{OE=2{{it/ito}}}}}}}}"));
    let sent = m.to(LANE);
    assert_eq!((sent.len(), id(&sent[0]), id(&sent[2])), (3, 930, 931), "{sent:?}");
    assert_eq!(Message::parse(sent[1].as_bytes()).unwrap().transactions().next().unwrap().kind, Kind::Request);
}

#[test]
fn a_large_gateway_is_asked_as_a_whole() {
    let mut m = H248::new();
    m.registered(7);
    m.pass(1_000);
    let audit = m.to(LANE);
    let all: Vec<_> = (1..=200).map(|n| format!("AV=ds/{n}{{PG{{al-1}}}}")).collect();
    m.reply(LANE, &audit[0], &format!("C=-{{{}}}", all.join(",")));
    let sent = m.to(LANE);
    assert!(sent.len() == 2 && sent[1].contains("{W-MF=*{E=3{al/of}}}"), "{sent:?}");
    m.done(LANE, &sent[..1]);
    m.reply(LANE, &sent[1], "C=-{MF=*}");
    let tone = m.said("C=-{N=ds/163{OE=3{al/of}}}", "C=-{N=ds/163}");
    assert!(tone[0].contains("MF=ds/163{SG{cg/dt}"), "{tone:?}");
}

#[test]
fn registering_again_on_another_lane_leaves_the_first() {
    let mut m = H248::new();
    m.served();
    m.challenged(9);
    let s8 = m.s8([9; 16], [9; 32]);
    let other = "192.0.2.1:30002";
    m.say(other, &s8);
    let sent = m.to(other);
    m.done(other, &sent[1..]);
    m.records();
    // It is where it was, until it answers there.
    let tone = m.said("C=-{N=A2{OE=4{al/of}}}", "C=-{N=A2}");
    m.done(LANE, &tone);
    m.pass(400);
    let audit = m.to(other).remove(0);
    assert!(audit.contains("AV=*{AT{PG}}"));
    m.reply(other, &audit, "C=-{AV=A1{PG{al-1}}}");
    let wanted = m.to(other);
    m.done(other, &wanted);
    m.said("C=-{N=A2{OE=4{al/of}}}", "ER=402{\"Unauthorized\"}");
}
