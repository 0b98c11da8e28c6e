//! A controller of somebody else's behind the softswitch: it is told of gateways in their name and hears the rest from
//! themselves.

use super::*;
use portunus_softswitch::Elsewhere;

/// The controller, by the port of the gateway on [`LANE`].
fn controller() -> Peer {
    Peer::Behind(LANE.parse().unwrap())
}

fn behind() -> H248 {
    let mut config = config();
    config.silent_s = 60;
    config.elsewhere = Some(Elsewhere { controller: "192.0.2.200:2944".parse().unwrap(), ports: 4 });
    H248::with(config)
}

impl H248 {
    /// What was sent to the controller since the last look; nothing else may have been sent.
    fn at_controller(&mut self) -> Vec<String> {
        let sent = core::mem::take(&mut self.sent);
        sent.into_iter().inspect(|(to, text)| assert_eq!(*to, controller(), "{text}")).map(|(_, text)| text).collect()
    }

    /// The session is active, and the controller is told; what it was told.
    fn introduced(&mut self) -> String {
        self.registered(7);
        self.pass(400);
        let audit = self.to(LANE);
        assert!(audit.len() == 1 && audit[0].ends_with("{C=-{AV=ROOT{AT{}}}}"), "{audit:?}");
        self.reply(LANE, &audit[0], "C=-{AV=ROOT}");
        let told = self.at_controller();
        let expected =
            format!("!/1 <{GW}> T={}{{C=-{{SC=ROOT{{SV{{MT=RS,RE=\"901 Cold Boot\",V=2}}}}}}}}", id(&told[0]));
        assert_eq!(told, [expected]);
        told[0].clone()
    }

    /// As [`H248::introduced`], and the controller takes it.
    fn taken(&mut self) {
        let told = self.introduced();
        let reply = format!("!/1 <mgc.example.test> P={}{{C=-{{SC=ROOT{{SV{{V=2}}}}}}}}", id(&told));
        self.say_as(controller(), &reply);
        self.silence();
    }
}

#[test]
fn a_gateway_is_introduced_once_its_session_is_active_and_then_the_two_talk() {
    let mut m = behind();
    m.registered(7);
    m.pass(400);
    let audit = m.to(LANE).remove(0);
    m.say(LANE, &format!("!/2 <sp1.example.test> P={}{{ER=503{{\"Service unavailable\"}}}}", id(&audit)));
    m.silence();
    m.pass(1_000);
    let audit = m.to(LANE).remove(0);
    m.reply(LANE, &audit, "C=-{AV=ROOT}");
    let told = m.at_controller();
    // Repeated until the controller replies.
    m.pass(600);
    assert_eq!(m.at_controller(), told);
    m.say_as(controller(), &format!("!/1 <mgc.example.test> P={}{{C=-{{SC=ROOT{{SV{{V=2}}}}}}}}", id(&told[0])));
    m.silence();
    // Whatever the two say passes as it is.
    let audit = "MEGACO/2 <mgc.example.test>\nTransaction = 1 { Context = - { AuditValue = * { Audit { Packages }}}}";
    m.say_as(controller(), audit);
    assert_eq!(m.to(LANE), [audit]);
    let reply = format!("!/2 <{GW}> P=1{{C=-{{AV=A1{{PG{{al-1}}}}}}}}");
    m.say(LANE, &reply);
    assert_eq!(m.at_controller(), [reply]);
    let notify = m.ask("C=-{N=A1{OE=9{al/of}}}");
    m.say(LANE, &notify);
    m.say(LANE, &notify);
    assert_eq!(m.at_controller(), [notify.clone(), notify.clone()], "at most once is the controller's business");
    let reply = format!("!/2 <mgc.example.test> P={}{{C=-{{N=A1}}}}", id(&notify));
    m.say_as(controller(), &reply);
    assert_eq!(m.to(LANE), [reply]);
    // It is not told again while the gateway lives.
    m.pass(31_000);
    let audit = m.to(LANE).remove(0);
    m.reply(LANE, &audit, "C=-{AV=ROOT}");
    m.pass(1_000);
    m.silence();
    assert!(m.left.is_empty());
}

#[test]
fn a_controller_that_refuses_or_is_silent_is_asked_again() {
    let mut m = behind();
    let told = m.introduced();
    m.say_as(controller(), &format!("!/1 <mgc.example.test> P={}{{ER=502{{\"Not ready\"}}}}", id(&told)));
    m.silence();
    m.pass(5_000);
    let audit = m.to(LANE).remove(0);
    m.reply(LANE, &audit, "C=-{AV=ROOT}");
    let again = m.at_controller();
    assert!(again.len() == 1 && id(&again[0]) != id(&told), "{again:?}");
    // Nobody replies: it is given up, and begun anew with the question whether the gateway is there.
    while m.sent.iter().all(|(to, text)| *to == controller() && *text == again[0]) {
        m.sent.clear();
        m.pass(500);
    }
    m.sent.retain(|(to, _)| *to != controller());
    assert!(m.to(LANE)[0].contains("AV=ROOT"));
    assert_eq!(m.ss.counters().command_given_up, 1);
}

#[test]
fn a_gateway_leaves_when_the_controller_lets_it() {
    let mut m = behind();
    m.taken();
    let forced = m.ask("C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}");
    m.say(LANE, &forced);
    assert_eq!(m.at_controller(), core::slice::from_ref(&forced));
    let refused = format!("!/2 <mgc.example.test> P={}{{ER=501{{\"Not implemented\"}}}}", id(&forced));
    m.say_as(controller(), &refused);
    assert_eq!(m.to(LANE), [refused]);
    assert!(m.left.is_empty() && m.records().is_empty(), "it is refused, and stays");
    let forced = m.ask("C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}");
    m.say(LANE, &forced);
    m.at_controller();
    let granted = format!("!/2 <mgc.example.test> P={}{{C=-{{SC=ROOT}}}}", id(&forced));
    m.say_as(controller(), &granted);
    assert_eq!(m.to(LANE), [granted]);
    assert!(m.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    assert_eq!(m.left, [controller()], "nothing is to be said in its name");
    m.say_as(controller(), "!/2 <mgc.example.test> T=5{C=-{AV=ROOT{AT{}}}}");
    m.silence();
    let late = m.ask("C=-{N=A1{OE=9{al/of}}}");
    m.say(LANE, &late);
    assert_eq!(m.to(LANE), [format!("!/2 <example.test> P={}{{ER=402{{\"Unauthorized\"}}}}", id(&late))]);
    assert_eq!(m.ss.counters().unreachable, 2);
}

#[test]
fn the_controller_hears_of_a_gateway_that_went_without_a_word() {
    let mut m = behind();
    m.taken();
    m.pass(31_000);
    assert!(m.to(LANE)[0].contains("AV=ROOT"));
    // Nobody answers: the gateway is given up.
    while m.sent.iter().all(|(to, _)| *to != controller()) {
        m.sent.clear();
        m.pass(500);
    }
    m.sent.retain(|(to, _)| *to == controller());
    let gone = m.at_controller().remove(0);
    let said = "C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}";
    assert_eq!(gone, format!("!/1 <{GW}> T={}{{{said}}}", id(&gone)));
    assert!(m.left.is_empty(), "its port is still needed");
    m.say_as(controller(), &format!("!/1 <mgc.example.test> P={}{{C=-{{SC=ROOT}}}}", id(&gone)));
    assert_eq!(m.left, [controller()]);
    m.pass(60_000);
    m.silence();
}

#[test]
fn a_port_that_is_no_longer_a_gateways_is_left_whoever_comes_after() {
    let mut m = behind();
    m.taken();
    // The gateway registers again on another lane, and answers there: its former port has no further use.
    m.challenged(9);
    let s8 = m.s8([9; 16], [9; 32]);
    let other = "192.0.2.1:30002";
    m.say(other, &s8);
    let sent = m.to(other);
    m.done(other, &sent[1..]);
    m.records();
    m.pass(400);
    assert!(m.left.is_empty());
    let audit = m.to(other).remove(0);
    m.reply(other, &audit, "C=-{AV=ROOT}");
    assert_eq!(core::mem::take(&mut m.left), [controller()]);
    let (to, told) = m.one();
    assert!(to == Peer::Behind(other.parse().unwrap()) && told.contains("MT=RS"), "{to:?} {told}");
}

#[test]
fn whoever_is_behind_registers_nobody() {
    let mut m = behind();
    let s2 = m.s2();
    m.say_as(controller(), &s2);
    m.silence();
    assert_eq!((m.asked.len(), m.ss.counters().unreadable), (0, 1));
    // Without a controller in the configuration nobody is behind.
    let mut m = H248::new();
    m.say_as(controller(), "!/2 <mgc.example.test> T=5{C=-{AV=ROOT{AT{}}}}");
    m.silence();
    assert_eq!(m.ss.counters().stranger, 1);
}
