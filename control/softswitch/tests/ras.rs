//! RAS at the softswitch: registration through a proxy's lane, what endpoints ask and are asked, and how it ends from both
//! sides.

mod common;

use common::*;
use core::net::SocketAddr;
use portunus_aaa::AaaAnswer;
use portunus_codec::Writer;
use portunus_h323::Ras;
use portunus_h323::view::{Element, Kind, Message, Reason};
use portunus_h323::write::{self, Call, Endpoint, Registering, Tok};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::steps::{Refusal, Registration, S9};
use portunus_signalling::{FromCore, Of, Protocol, Signalling, Text};
use portunus_softswitch::Listeners;

/// From where the proxy sends s2, and the lanes of endpoints.
const SHARED: &str = "192.0.2.1:30000";
const LANE: &str = "192.0.2.1:30001";
const LANE_BOB: &str = "192.0.2.1:30002";
const ALICE: &str = "alice";
const BOB: &str = "498912345";
const IDSP: &str = "sp1.example.test";
const OWN_RAS: &str = "192.0.2.100:1719";
const CALL: Call = Call { conference: [0xc0; 16], id: [0x1d; 16], reference: 17 };

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn n1a() -> N1 {
    N1::parse(b"64e6d05cb4c9b98f").unwrap()
}

fn written<E: core::fmt::Debug>(f: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Vec<u8> {
    let mut room = [0; 4096];
    let mut w = Writer::new(&mut room);
    f(&mut w).unwrap();
    w.written().to_vec()
}

fn read(octets: &[u8]) -> Message<'_> {
    Message::parse(octets).unwrap_or_else(|e| panic!("{e:?}: {octets:02x?}"))
}

/// Where an endpoint takes calls: a place of its own.
fn signal(idc: &str) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, idc.len() as u8], 1720))
}

fn described<R>(idc: &str, f: impl FnOnce(&Endpoint<'_>) -> R) -> R {
    f(&Endpoint { aliases: &[idc], ras: at("10.0.0.7:1719"), signal: signal(idc), product: "test" })
}

struct World {
    bench: Bench,
    seq: u16,
}

impl core::ops::Deref for World {
    type Target = Bench;
    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl core::ops::DerefMut for World {
    fn deref_mut(&mut self) -> &mut Bench {
        &mut self.bench
    }
}

impl World {
    fn new() -> Self {
        let mut config = config();
        config.silent_s = 60;
        config.listeners = Listeners { ras: Some(at(OWN_RAS)), ..Listeners::default() };
        Self { bench: Bench::new(config), seq: 40 }
    }

    fn seq(&mut self) -> u16 {
        self.seq += 1;
        self.seq
    }

    fn say(&mut self, from: &str, octets: &[u8]) {
        self.bench.say(Protocol::Ras, peer(from), octets);
    }

    /// What was sent to `to` since the last look; nothing else may have been.
    fn to(&mut self, to: &str) -> Vec<Vec<u8>> {
        assert!(self.sent.is_empty());
        let sent = core::mem::take(&mut self.octets);
        sent.into_iter().map(|(at, octets)| (at == peer(to)).then_some(octets).expect("to nobody else")).collect()
    }

    /// An endpoint says something by its lane and gets one answer, of this kind and to this number.
    fn asked(&mut self, lane: &str, octets: &[u8], kind: Kind) -> Vec<u8> {
        self.say(lane, octets);
        let mut sent = self.to(lane);
        assert_eq!(sent.len(), 1, "{:?}: {sent:02x?}", read(octets));
        let answer = sent.remove(0);
        assert_eq!((read(&answer).kind(), read(&answer).seq()), (kind, read(octets).seq()));
        answer
    }

    /// As [`World::asked`], for what is rejected; why.
    fn rejected(&mut self, lane: &str, octets: &[u8]) -> Reason {
        let kind = read(octets).kind().reject().unwrap();
        let answer = self.asked(lane, octets, kind);
        read(&answer).reason().unwrap()
    }

    fn s2(&mut self, idc: &str) -> Vec<u8> {
        let (seq, n1) = (self.seq(), n1a());
        let elements = [(Element::N1, &n1.as_bytes()[..])];
        let tok =
            Tok { n: 1, time_stamp: 0, challenge: None, general_id: IDSP.into(), senders_id: idc, elements: &elements };
        described(idc, |e| written(|w| write::gatekeeper_request(seq, e, Some(&tok), w)))
    }

    fn s8(&mut self, idc: &str, rand: [u8; 16], word: [u8; 32], ttl: u32) -> Vec<u8> {
        let seq = self.seq();
        let elements = [(Element::AuthC, &word[..]), (Element::IpC, &b"203.0.113.7:40000"[..])];
        let tok = Tok {
            n: 3,
            time_stamp: 0,
            challenge: Some(&rand),
            general_id: IDSP.into(),
            senders_id: idc,
            elements: &elements,
        };
        described(idc, |e| written(|w| write::registration_request(seq, e, ttl, &Registering::Full(Some(&tok)), w)))
    }

    /// s2 to s5; the challenge's Rand is `[n; 16]`.
    fn challenged(&mut self, idc: &str, n: u8) {
        let s2 = self.s2(idc);
        self.say(SHARED, &s2);
        self.silence();
        let (id, _) = self.question();
        self.aaa(id, Ok(AaaAnswer::Vector(vector(n))));
        let s5 = self.to(SHARED).remove(0);
        assert_eq!((read(&s5).kind(), read(&s5).seq()), (Kind::GatekeeperReject, read(&s2).seq()));
        let (rand, of) = challenge(&s5, idc);
        assert_eq!((rand, of), ([n; 16], Of::N1(n1a())));
        self.silence();
    }

    /// All of a registration for so many seconds; its record is made. What the endpoint is called.
    fn registered(&mut self, idc: &str, lane: &str, n: u8, ttl: u32) -> String {
        self.challenged(idc, n);
        let s8 = self.s8(idc, [n; 16], [n; 32], ttl);
        let s9 = self.asked(lane, &s8, Kind::RegistrationConfirm);
        let mut text = Text::new();
        let (FromCore::Key { of, s9: S9 { ekc, eksp }, .. }, _) = Ras.read_answer(&s9, &mut text).unwrap() else {
            panic!("no s9")
        };
        assert_eq!((of, ekc, eksp), (Of::Rand([n; 16]), [n; 48], [n ^ 0xff; 48]));
        assert!(read(&s9).aliases().next().unwrap().is(idc) && read(&s9).aliases().count() == 1);
        assert!(read(&s9).gatekeeper_id().unwrap().is("example.test"));
        let records = self.records();
        assert!(records.iter().any(|r| matches!(r.event, Registration::Start)));
        id_of(&s9)
    }

    /// A registration for an hour, the question that follows it, and its answer.
    fn served(&mut self, idc: &str, lane: &str) -> String {
        let id = self.registered(idc, lane, idc.len() as u8, 3_600);
        self.pass(400);
        self.answer_irq(idc, lane, &id);
        id
    }

    /// The one question that was put to an endpoint is answered.
    fn answer_irq(&mut self, idc: &str, lane: &str, id: &str) {
        let irq = self.to(lane);
        assert_eq!(irq.len(), 1, "{irq:02x?}");
        assert_eq!(read(&irq[0]).kind(), Kind::InfoRequest);
        let irr = self.irr(idc, read(&irq[0]).seq(), id, false);
        self.say(lane, &irr);
        self.silence();
    }

    fn irr(&self, idc: &str, seq: u16, id: &str, need_response: bool) -> Vec<u8> {
        described(idc, |e| written(|w| write::info_request_response(seq, e, id, need_response, w)))
    }

    fn keep_alive(&mut self, idc: &str, id: &str, ttl: u32) -> Vec<u8> {
        let seq = self.seq();
        let how = Registering::KeepAlive { endpoint_id: id };
        described(idc, |e| written(|w| write::registration_request(seq, e, ttl, &how, w)))
    }

    fn arq(&mut self, id: &str, from: &[&str], to: &[&str], answer: bool) -> Vec<u8> {
        let seq = self.seq();
        written(|w| write::admission_request(seq, id, from, to, &CALL, answer, 640, w))
    }

    fn lrq(&mut self, id: Option<&str>, of: &[&str]) -> Vec<u8> {
        let seq = self.seq();
        written(|w| write::location_request(seq, id, of, at("203.0.113.99:1719"), w))
    }

    fn drq(&mut self, id: &str) -> Vec<u8> {
        let seq = self.seq();
        written(|w| write::disengage_request(seq, id, &CALL, w))
    }

    fn brq(&mut self, id: &str, bandwidth: u32) -> Vec<u8> {
        let seq = self.seq();
        written(|w| write::bandwidth_request(seq, id, &CALL, bandwidth, w))
    }

    fn urq(&mut self, idc: &str, id: Option<&str>) -> Vec<u8> {
        let seq = self.seq();
        written(|w| write::unregistration_request(seq, signal(idc), &[idc], id, w))
    }
}

/// The Rand and the name of an s5.
fn challenge(s5: &[u8], expected: &str) -> ([u8; 16], Of) {
    let mut text = Text::new();
    let (FromCore::Challenge { of, idc, idsp, rand }, _) = Ras.read_answer(s5, &mut text).unwrap() else {
        panic!("no s5: {s5:02x?}")
    };
    assert_eq!((idc, idsp), (Idc::new(expected), Idsp::new(IDSP).unwrap()));
    (rand, of)
}

/// Of what a refusal is, and why.
fn refusal(octets: &[u8]) -> (Of, Refusal) {
    let mut text = Text::new();
    match Ras.read_answer(octets, &mut text).unwrap() {
        (FromCore::Refused { of, refusal }, _) => (of, refusal),
        other => panic!("{other:?}"),
    }
}

/// endpointIdentifier.
fn id_of(octets: &[u8]) -> String {
    let mut room = [0; 384];
    let len = read(octets).endpoint_id().unwrap().put(&mut room).unwrap();
    String::from_utf8(room[..len].to_vec()).unwrap()
}

#[test]
fn an_endpoint_registers_is_asked_and_keeps_its_registration() {
    let mut w = World::new();
    let id = w.served(ALICE, LANE);
    let light = w.keep_alive(ALICE, &id, 7_200);
    let rcf = w.asked(LANE, &light, Kind::RegistrationConfirm);
    assert_eq!(
        (read(&rcf).time_to_live(), id_of(&rcf)),
        (Some(3_600), id.clone()),
        "never longer than is granted here"
    );
    assert!(!read(&rcf).has_aliases() && read(&rcf).token().unwrap().is_none());
    assert!(w.records().iter().all(|r| matches!(r.event, Registration::Refresh)));
    // At most once: the same again gets the same answer, and nobody hears of it.
    assert_eq!(w.asked(LANE, &light, Kind::RegistrationConfirm), rcf);
    assert!(w.records().is_empty());
    // In full, which says the alias again, and may move the calls.
    let seq = w.seq();
    let full = described(ALICE, |e| written(|w| write::registration_request(seq, e, 60, &Registering::Full(None), w)));
    let rcf = w.asked(LANE, &full, Kind::RegistrationConfirm);
    assert!(read(&rcf).aliases().next().unwrap().is(ALICE) && read(&rcf).time_to_live() == Some(60));
    let seq = w.seq();
    let grq = described(ALICE, |e| written(|w| write::gatekeeper_request(seq, e, None, w)));
    let gcf = w.asked(LANE, &grq, Kind::GatekeeperConfirm);
    assert_eq!(read(&gcf).ras_address(), Some(at(OWN_RAS)));
}

#[test]
fn endpoints_are_admitted_and_located() {
    let mut w = World::new();
    let (alice, bob) = (w.served(ALICE, LANE), w.served(BOB, LANE_BOB));
    // By an h323-ID, by dialled digits, and by the first of several that is registered.
    for (to, who) in [(&[BOB][..], BOB), (&["nobody", "12*#", BOB], BOB), (&[ALICE], ALICE)] {
        let arq = w.arq(&alice, &[ALICE], to, false);
        let acf = w.asked(LANE, &arq, Kind::AdmissionConfirm);
        assert_eq!(
            (read(&acf).destination_address(), read(&acf).bandwidth()),
            (Some(signal(who)), Some(640)),
            "{to:?}"
        );
        let lrq = w.lrq(Some(&alice), to);
        let lcf = w.asked(LANE, &lrq, Kind::LocationConfirm);
        assert_eq!(read(&lcf).call_signal_address(), Some(signal(who)));
        assert_eq!(read(&lcf).ras_address(), Some(at(OWN_RAS)));
    }
    // Who is called asks too, and names the caller.
    let arq = w.arq(&bob, &[ALICE], &[BOB], true);
    let acf = w.asked(LANE_BOB, &arq, Kind::AdmissionConfirm);
    assert_eq!(read(&acf).destination_address(), Some(signal(BOB)));
    // More for the call, which has as much as is asked for; not for another registration's.
    let brq = w.brq(&bob, 3_840);
    let bcf = w.asked(LANE_BOB, &brq, Kind::BandwidthConfirm);
    assert_eq!(read(&bcf).bandwidth(), Some(3_840));
    let brq = w.brq(&alice, 3_840);
    assert_eq!(w.rejected(LANE_BOB, &brq), Reason::NOT_REGISTERED);
    let drq = w.drq(&bob);
    w.asked(LANE_BOB, &drq, Kind::DisengageConfirm);
    for (to, reason) in [(&["carol"][..], Reason::CALLED_PARTY_NOT_REGISTERED), (&[], Reason::INCOMPLETE_ADDRESS)] {
        let arq = w.arq(&alice, &[ALICE], to, false);
        assert_eq!(w.rejected(LANE, &arq), reason, "{to:?}");
    }
    let lrq = w.lrq(Some(&alice), &["carol"]);
    assert_eq!(w.rejected(LANE, &lrq), Reason::REQUEST_DENIED);
    // Whoever is reached by another protocol takes no calls here.
    w.registered_in_sip();
    let arq = w.arq(&alice, &[ALICE], &["alice@example.test"], false);
    assert_eq!(w.rejected(LANE, &arq), Reason::CALLED_PARTY_NOT_REGISTERED);
    let urq = w.urq(BOB, Some(&bob));
    w.asked(LANE_BOB, &urq, Kind::UnregistrationConfirm);
    let arq = w.arq(&alice, &[ALICE], &[BOB], false);
    assert_eq!(w.rejected(LANE, &arq), Reason::CALLED_PARTY_NOT_REGISTERED);
}

impl World {
    fn registered_in_sip(&mut self) {
        self.bench.registered(1, ALICE, 77);
    }
}

#[test]
fn names_are_bound() {
    let mut w = World::new();
    let (alice, bob) = (w.served(ALICE, LANE), w.served(BOB, LANE_BOB));
    let wrong = |kind| Reason::security_error(kind, 3);
    let arq = w.arq(&alice, &[BOB], &[BOB], false);
    assert_eq!(w.rejected(LANE, &arq), wrong(Kind::AdmissionReject));
    let urq = w.urq(BOB, Some(&alice));
    assert_eq!(w.rejected(LANE, &urq), wrong(Kind::UnregistrationReject));
    let seq = w.seq();
    let full = described(BOB, |e| written(|w| write::registration_request(seq, e, 60, &Registering::Full(None), w)));
    assert_eq!(w.rejected(LANE, &full), wrong(Kind::RegistrationReject));
    let grq = described(BOB, |e| written(|w| write::gatekeeper_request(seq, e, None, w)));
    assert_eq!(w.rejected(LANE, &grq), wrong(Kind::GatekeeperReject));
    // Another's endpointIdentifier is nobody's here.
    let arq = w.arq(&bob, &[ALICE], &[BOB], false);
    assert_eq!(w.rejected(LANE, &arq), Reason::INVALID_ENDPOINT_IDENTIFIER);
    let light = w.keep_alive(ALICE, &bob, 60);
    assert_eq!(w.rejected(LANE, &light), Reason::FULL_REGISTRATION_REQUIRED);
    for request in [w.drq(&bob), w.lrq(Some(&bob), &[BOB]), w.urq(ALICE, Some(&bob))] {
        assert_eq!(w.rejected(LANE, &request), Reason::NOT_REGISTERED, "{:?}", read(&request));
    }
    // And none of it did anything.
    for (lane, idc, id) in [(LANE, ALICE, &alice), (LANE_BOB, BOB, &bob)] {
        let light = w.keep_alive(idc, id, 60);
        w.asked(lane, &light, Kind::RegistrationConfirm);
    }
}

#[test]
fn a_wrong_word_gets_one_more_challenge_and_then_the_refusal() {
    let mut w = World::new();
    w.challenged(ALICE, 4);
    let s8 = w.s8(ALICE, [4; 16], [5; 32], 60);
    w.say(LANE, &s8);
    w.say(LANE, &s8);
    let (id, _) = w.question();
    w.silence();
    w.aaa(id, Ok(AaaAnswer::Vector(vector(6))));
    let again = w.to(LANE).remove(0);
    assert_eq!((read(&again).kind(), read(&again).seq()), (Kind::RegistrationReject, read(&s8).seq()));
    assert_eq!(challenge(&again, ALICE), ([6; 16], Of::N1(n1a())));
    let s8 = w.s8(ALICE, [6; 16], [5; 32], 60);
    let refused = w.asked(LANE, &s8, Kind::RegistrationReject);
    assert_eq!(refusal(&refused), (Of::Rand([6; 16]), Refusal::Denied));
    // The same again gets the same; nobody is registered, so nobody is served.
    assert_eq!(w.asked(LANE, &s8, Kind::RegistrationReject), refused);
    let light = w.keep_alive(ALICE, "0123456789abcdef", 60);
    assert_eq!(w.rejected(LANE, &light), Reason::DISCOVERY_REQUIRED);
    let arq = w.arq("0123456789abcdef", &[ALICE], &[BOB], false);
    assert_eq!(w.rejected(LANE, &arq), Reason::CALLER_NOT_REGISTERED);
    for request in [w.drq("x"), w.lrq(None, &[BOB]), w.urq(ALICE, None)] {
        assert_eq!(w.rejected(LANE, &request), Reason::NOT_REGISTERED, "{:?}", read(&request));
    }
    let seq = w.seq();
    let grq = described(ALICE, |e| written(|w| write::gatekeeper_request(seq, e, None, w)));
    assert_eq!(w.rejected(LANE, &grq), Reason::security_denial(Kind::GatekeeperReject));
    let brq = w.brq("x", 1_280);
    assert_eq!(w.rejected(LANE, &brq), Reason::NOT_REGISTERED);
    // An acknowledgement that is asked for says so too; none is due where none is.
    let irr = w.irr(ALICE, 7, "x", true);
    w.asked(LANE, &irr, Kind::InfoRequestNak);
    let irr = w.irr(ALICE, 8, "x", false);
    w.say(LANE, &irr);
    w.silence();
}

#[test]
fn a_proxy_registers_for_itself_only_and_an_absent_auc_is_said() {
    let mut w = World::new();
    let s2 = w.s2(ALICE);
    // From the address of another proxy.
    w.say("192.0.2.2:30000", &s2);
    assert_eq!(refusal(&w.to("192.0.2.2:30000")[0]), (Of::N1(n1a()), Refusal::Denied));
    w.say(SHARED, &s2);
    w.say(SHARED, &s2);
    let (id, _) = w.question();
    w.silence();
    w.aaa(id, Err(portunus_aaa::Unreachable));
    let busy = w.to(SHARED).remove(0);
    assert!(matches!(refusal(&busy), (Of::N1(n1), Refusal::Busy { .. }) if n1 == n1a()));
    assert_eq!(read(&busy).reason(), Some(Reason::resource_unavailable(Kind::GatekeeperReject)));
    w.say(SHARED, &s2);
    assert_eq!(w.to(SHARED), [busy], "kept for the repetition");
}

#[test]
fn a_question_that_takes_long_is_in_progress() {
    let mut w = World::new();
    let s2 = w.s2(ALICE);
    w.say(SHARED, &s2);
    let (id, _) = w.question();
    w.pass(900);
    w.silence();
    w.pass(200);
    let rip = w.to(SHARED).remove(0);
    assert_eq!((read(&rip).kind(), read(&rip).seq()), (Kind::RequestInProgress, read(&s2).seq()));
    assert!(read(&rip).delay_ms() > Some(10_000));
    w.pass(5_000);
    w.silence();
    w.aaa(id, Ok(AaaAnswer::Vector(vector(3))));
    assert_eq!(challenge(&w.to(SHARED)[0], ALICE).0, [3; 16]);
    // What was answered in time hears nothing of it.
    w.challenged(BOB, 5);
    w.pass(5_000);
    w.silence();
}

#[test]
fn a_session_that_is_not_active_yet_is_asked_again_and_then_forgotten() {
    let mut w = World::new();
    let id = w.registered(ALICE, LANE, 7, 3_600);
    let (mut asked, mut told) = (0, 0);
    for _ in 0..90 {
        w.pass(1_000);
        for octets in w.to(LANE) {
            match read(&octets).kind() {
                Kind::InfoRequest => asked += 1,
                // It is told, in case that it is there after all.
                Kind::UnregistrationRequest => {
                    assert_eq!(id_of(&octets), id);
                    told += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((8..=16).contains(&asked) && told == 5, "{asked} {told}");
    assert!(w.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    w.pass(600_000);
    w.silence();
}

#[test]
fn a_silent_endpoint_is_asked_and_forgotten_when_nobody_answers() {
    let mut w = World::new();
    let id = w.served(ALICE, LANE);
    w.pass(30_500);
    w.answer_irq(ALICE, LANE, &id);
    // A request of its own is a sign of life too.
    w.pass(20_000);
    let irr = w.irr(ALICE, 9_000, &id, true);
    w.asked(LANE, &irr, Kind::InfoRequestAck);
    w.pass(29_000);
    w.silence();
    // Any answer is one: it may not know the question.
    w.pass(1_500);
    let irq = w.to(LANE).remove(0);
    w.say(LANE, &written(|o| write::unknown_message_response(read(&irq).seq(), &irq, o)));
    w.pass(29_000);
    w.silence();
    // Who is still at it has more time.
    w.pass(1_500);
    let irq = w.to(LANE).remove(0);
    w.say(LANE, &written(|o| write::request_in_progress(read(&irq).seq(), 30_000, o)));
    w.pass(29_000);
    w.silence();
    w.pass(1_500);
    let urq = w.to(LANE).remove(0);
    assert_eq!((read(&urq).kind(), id_of(&urq)), (Kind::UnregistrationRequest, id));
    assert!(w.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    w.say(LANE, &written(|o| write::confirm(Kind::UnregistrationConfirm, read(&urq).seq(), o)));
    w.pass(60_000);
    w.silence();
    let arq = w.arq("x", &[ALICE], &[BOB], false);
    assert_eq!(w.rejected(LANE, &arq), Reason::CALLER_NOT_REGISTERED);
}

#[test]
fn an_endpoint_that_speaks_first_is_asked_all_the_same() {
    let mut w = World::new();
    let id = w.registered(ALICE, LANE, 7, 3_600);
    let arq = w.arq(&id, &[ALICE], &[ALICE], false);
    w.asked(LANE, &arq, Kind::AdmissionConfirm);
    let drq = w.drq(&id);
    w.asked(LANE, &drq, Kind::DisengageConfirm);
    w.pass(400);
    let irq = w.to(LANE).remove(0);
    assert_eq!(read(&irq).kind(), Kind::InfoRequest);
    // Whoever asks something while a question to it is lost is there.
    w.pass(14_000);
    assert!(w.to(LANE).iter().all(|again| *again == irq));
    let arq = w.arq(&id, &[ALICE], &[ALICE], false);
    w.asked(LANE, &arq, Kind::AdmissionConfirm);
    w.pass(10_000);
    w.silence();
    let arq = w.arq(&id, &[ALICE], &[ALICE], false);
    w.asked(LANE, &arq, Kind::AdmissionConfirm);
}

#[test]
fn a_time_to_live_that_nobody_renews_ends() {
    let mut w = World::new();
    let id = w.registered(ALICE, LANE, 7, 40);
    w.pass(400);
    w.answer_irq(ALICE, LANE, &id);
    // Answers show life and renew nothing.
    w.pass(20_100);
    w.answer_irq(ALICE, LANE, &id);
    w.pass(10_000);
    let light = w.keep_alive(ALICE, &id, 40);
    w.asked(LANE, &light, Kind::RegistrationConfirm);
    w.pass(20_100);
    w.answer_irq(ALICE, LANE, &id);
    w.records();
    w.pass(20_000);
    let urq = w.to(LANE).remove(0);
    assert_eq!((read(&urq).kind(), id_of(&urq)), (Kind::UnregistrationRequest, id));
    assert!(w.records().iter().any(|r| matches!(r.event, Registration::Stop)));
}

#[test]
fn an_endpoint_leaves_and_its_answer_is_kept() {
    let mut w = World::new();
    let id = w.served(ALICE, LANE);
    let urq = w.urq(ALICE, Some(&id));
    let ucf = w.asked(LANE, &urq, Kind::UnregistrationConfirm);
    assert!(w.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    assert_eq!(w.asked(LANE, &urq, Kind::UnregistrationConfirm), ucf);
    let again = w.urq(ALICE, Some(&id));
    assert_eq!(w.rejected(LANE, &again), Reason::NOT_REGISTERED);
    w.pass(600_000);
    w.silence();
}

#[test]
fn what_cannot_be_served_is_said() {
    let mut w = World::new();
    let id = w.served(ALICE, LANE);
    // serviceControlIndication 4711, of which nothing is read but the number.
    w.say(LANE, &[0x85, 0x04, 0x00, 0x00, 0x12, 0x66]);
    let xrs = w.to(LANE).remove(0);
    assert_eq!((read(&xrs).kind(), read(&xrs).seq()), (Kind::UnknownMessageResponse, 4_711));
    // A question that is a gatekeeper's to ask.
    let irq = written(|o| write::info_request(4_712, 0, o));
    w.asked(LANE, &irq, Kind::UnknownMessageResponse);
    let mut cut = w.arq(&id, &[ALICE], &[BOB], false);
    cut.truncate(20);
    w.say(LANE, &cut);
    let answer = w.to(LANE).remove(0);
    assert_eq!((read(&answer).kind(), read(&answer).reason()), (Kind::AdmissionReject, Some(Reason::Root(3))));
    // A step's token in what is none.
    let tok = Tok { n: 4, time_stamp: 0, challenge: None, general_id: IDSP.into(), senders_id: ALICE, elements: &[] };
    let seq = w.seq();
    let odd = described(ALICE, |e| written(|w| write::gatekeeper_request(seq, e, Some(&tok), w)));
    assert_eq!(w.rejected(LANE, &odd), Reason::security_error(Kind::GatekeeperReject, 5));
    for junk in [&b""[..], b"\0", b"\xff\xff\xff", b"REGISTER sip:x SIP/2.0\r\n\r\n", &[0x42; 300]] {
        w.say(LANE, junk);
        assert!(w.to(LANE).len() <= 1, "{junk:02x?}");
    }
    // Answers to nothing are counted.
    let before = w.ss.counters().stray_answer;
    w.say(LANE, &written(|o| write::confirm(Kind::UnregistrationConfirm, 1, o)));
    w.say(LANE, &written(|o| write::unknown_message_response(2, b"", o)));
    w.silence();
    assert_eq!(w.ss.counters().stray_answer, before + 2);
}

#[test]
fn registering_again_on_another_lane_leaves_the_first() {
    let mut w = World::new();
    let first = w.served(ALICE, LANE);
    let other = "192.0.2.1:30009";
    let second = w.registered(ALICE, other, 9, 3_600);
    assert_ne!(first, second);
    // It is where it was, until it answers there.
    let light = w.keep_alive(ALICE, &first, 3_600);
    w.asked(LANE, &light, Kind::RegistrationConfirm);
    w.records();
    w.pass(400);
    w.answer_irq(ALICE, other, &second);
    let light = w.keep_alive(ALICE, &first, 60);
    assert_eq!(w.rejected(LANE, &light), Reason::DISCOVERY_REQUIRED);
    w.records();
    // On its own lane too the former registration is none.
    let third = w.registered(ALICE, other, 11, 3_600);
    let light = w.keep_alive(ALICE, &second, 60);
    assert_eq!(w.rejected(other, &light), Reason::FULL_REGISTRATION_REQUIRED);
    let light = w.keep_alive(ALICE, &third, 60);
    w.asked(other, &light, Kind::RegistrationConfirm);
}

#[test]
fn an_endpoint_that_nobody_could_call_is_refused_and_nothing_is_used_up() {
    let mut w = World::new();
    w.challenged(ALICE, 4);
    let s8 = w.s8(ALICE, [4; 16], [4; 32], 60);
    // Its call signalling address is an NSAP of five octets, which is as long as one of IPv4 and none of IP.
    let mut odd = w.s8(ALICE, [4; 16], [4; 32], 60);
    let address = odd.windows(8).position(|o| *o == [1, 0, 203, 0, 113, 5, 0x06, 0xb8]).unwrap();
    odd[address..address + 8].copy_from_slice(&[1, 0x52, 0, 1, 2, 3, 4, 5]);
    let refused = w.asked(LANE, &odd, Kind::RegistrationReject);
    assert_eq!(refusal(&refused), (Of::Rand([4; 16]), Refusal::Malformed));
    w.asked(LANE, &s8, Kind::RegistrationConfirm);
}
