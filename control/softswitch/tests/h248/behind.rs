//! A controller of somebody else's behind the softswitch: it is told of gateways in their name and hears the rest from
//! themselves.

use super::*;
use portunus_softswitch::Upstream;

/// The controller, by the port of the gateway on [`LANE`].
fn controller() -> Peer {
    at(LANE, 0)
}

/// One of several, by the port of a lane.
fn at(lane: &str, nth: u16) -> Peer {
    Peer::Behind(lane.parse().unwrap(), nth)
}

fn behind() -> H248 {
    let mut config = config();
    config.silent_s = 60;
    config.behind.controllers = vec![Upstream::at("192.0.2.200:2944".parse().unwrap())];
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
    assert_eq!(m.left, [LANE.parse().unwrap()], "nothing is to be said in its name");
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
    assert_eq!(m.left, [LANE.parse().unwrap()]);
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
    assert_eq!(core::mem::take(&mut m.left), [LANE.parse().unwrap()]);
    let (to, told) = m.one();
    assert!(to == at(other, 0) && told.contains("MT=RS"), "{to:?} {told}");
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

/// Two controllers, and a gateway whose session is active; which of them is told, and what.
fn announced() -> (H248, u16, String) {
    let mut config = config();
    config.silent_s = 60;
    let upstream = |n: u8| Upstream {
        name: Some(format!("mgc{n}.example.test").into()),
        ..Upstream::at(([192, 0, 2, 200 + n], 2944).into())
    };
    config.behind.controllers = vec![upstream(1), upstream(2)];
    let mut m = H248::with(config);
    m.registered(7);
    m.pass(400);
    let audit = m.to(LANE).remove(0);
    m.reply(LANE, &audit, "C=-{AV=ROOT}");
    let (to, told) = m.one();
    assert!(told.ends_with("{C=-{SC=ROOT{SV{MT=RS,RE=\"901 Cold Boot\",V=2}}}}"), "{told}");
    let first = if to == at(LANE, 0) { 0 } else { 1 };
    assert_eq!(to, at(LANE, first));
    (m, first, told)
}

/// Of the gateway's two controllers the one that it prefers, which has taken it, and the other.
fn two() -> (H248, u16, u16) {
    let (mut m, first, told) = announced();
    m.takes(first, &told);
    (m, first, 1 - first)
}

impl H248 {
    /// The nth controller takes the gateway that it was told of.
    fn takes(&mut self, nth: u16, told: &str) {
        self.answers(nth, told, "C=-{SC=ROOT{SV{V=2}}}");
        self.silence();
    }

    fn answers(&mut self, nth: u16, told: &str, actions: &str) {
        self.say_as(at(LANE, nth), &format!("!/1 <mgc{nth}.example.test> P={}{{{actions}}}", id(told)));
    }

    /// The nth controller is silent until it is found to be down; what it was that followed.
    fn lost(&mut self, nth: u16) -> Vec<(Peer, String)> {
        self.bench.silent.push(nth);
        let before = self.ss.counters().upstream_down;
        for _ in 0..20 {
            self.pass(500);
            if self.ss.counters().upstream_down > before {
                self.pass(20);
                return core::mem::take(&mut self.sent);
            }
        }
        panic!("it is never found to be down");
    }

    /// The gateway registers once more, and its session is active; what is said then.
    fn again(&mut self) -> Vec<(Peer, String)> {
        self.challenged(9);
        let s8 = self.s8([9; 16], [9; 32]);
        self.say(LANE, &s8);
        let sent = self.to(LANE);
        self.done(LANE, &sent[1..]);
        self.records();
        self.pass(400);
        let audit = self.to(LANE).remove(0);
        self.reply(LANE, &audit, "C=-{AV=ROOT}");
        core::mem::take(&mut self.sent)
    }

    /// The gateway shows life, so that it is not asked for any.
    fn alive(&mut self) {
        let audit = self.ask("C=-{N=ROOT{OE=2{it/ito}}}");
        self.say(LANE, &audit);
        self.sent.clear();
    }
}

#[test]
fn a_gateway_whose_controller_is_down_is_the_next_ones_and_notices_nothing() {
    let (mut m, first, second) = two();
    // Asked before the end of it; what is not answered is the gateway's to repeat.
    let notify = m.ask("C=-{N=A1{OE=9{al/of}}}");
    m.say(LANE, &notify);
    assert_eq!(m.one(), (at(LANE, first), notify.clone()));
    let said = m.lost(first);
    assert_eq!(m.ss.gauges().controllers, 1);
    assert_eq!(said.len(), 1, "{said:?}");
    let (to, told) = &said[0];
    let failover = "C=-{SC=ROOT{SV{MT=FL,RE=\"909 MGC Impending Failure\",V=2}}}";
    assert_eq!((to, told), (&at(LANE, second), &format!("!/1 <{GW}> T={}{{{failover}}}", id(told))));
    m.say(LANE, &notify);
    m.silence();
    assert_eq!(m.ss.counters().gateway_waits, 1);
    m.takes(second, told);
    m.say(LANE, &notify);
    assert_eq!(m.one(), (at(LANE, second), notify.clone()));
    // The gateway's own numbers stay as they are ...
    let reply = format!("!/2 <mgc2.example.test> P={}{{C=-{{N=A1}}}}", id(&notify));
    m.say_as(at(LANE, second), &reply);
    assert_eq!(m.to(LANE), [reply]);
    // ... and the second controller counts from where the first one did: for the gateway those are others.
    m.say_as(at(LANE, second), "!/2 <mgc2.example.test> T=1{C=-{AV=ROOT{AT{}}}}");
    let audit = m.to(LANE).remove(0);
    assert!(id(&audit) != 1 && audit.ends_with("{C=-{AV=ROOT{AT{}}}}"), "{audit}");
    m.reply(LANE, &audit, "IA,C=-{AV=ROOT}");
    assert_eq!(m.one(), (at(LANE, second), format!("!/2 <{GW}> P=1{{IA,C=-{{AV=ROOT}}}}")));
    m.say_as(at(LANE, second), "!/2 <mgc2.example.test> K{1}");
    assert_eq!(m.to(LANE), [format!("!/2 <mgc2.example.test> K{{{}}}", id(&audit))]);
    let c = m.ss.counters();
    assert_eq!((c.upstream_down, c.gateway_failover, c.gateway_announced), (1, 1, 2));
    // The first one comes back: nothing changes, and what it wants is refused.
    m.bench.silent.clear();
    m.alive();
    m.pass(6_000);
    m.silence();
    assert_eq!((m.ss.counters().upstream_up, m.ss.gauges().controllers), (1, 2));
    m.say_as(at(LANE, first), "!/2 <mgc1.example.test> T=9{C=-{AV=ROOT{AT{}}}}");
    let refused = (at(LANE, first), "!/2 <example.test> P=9{ER=402{\"Unauthorized\"}}".to_owned());
    assert_eq!(m.one(), refused);
    assert_eq!(m.ss.counters().upstream_other, 1);
    // Until it registers anew: then it is the first one's, and the second one is told.
    let told = m.again();
    assert!(told[0].0 == at(LANE, second) && told[0].1.contains("MT=FO"), "{told:?}");
    assert!(told[1].0 == at(LANE, first) && told[1].1.contains("MT=RS"), "{told:?}");
    m.answers(second, &told[0].1, "C=-{SC=ROOT}");
    m.takes(first, &told[1].1);
    assert!(m.left.is_empty(), "its port is still its own");
}

#[test]
fn an_announcement_that_nobody_answers_goes_to_the_next_one() {
    let (mut m, first, second) = two();
    let said = m.lost(first);
    m.takes(second, &said[0].1);
    // Both are up again, but the first one does not care for gateways.
    m.bench.silent.clear();
    m.alive();
    m.pass(6_000);
    m.again();
    let mut told = String::new();
    for _ in 0..12 {
        m.pass(500);
        for (to, text) in core::mem::take(&mut m.sent) {
            match to == at(LANE, second) && !text.contains("MT=FO") {
                true => told = text,
                false => assert!(text.contains("MT=RS") || text.contains("MT=FO"), "{to:?} {text}"),
            }
        }
    }
    // It has not been anybody's since it registered.
    assert!(told.contains("MT=RS"), "{told}");
    m.takes(second, &told);
}

#[test]
fn who_has_no_other_controller_is_announced_again_when_it_is_back() {
    let mut m = behind();
    m.taken();
    assert_eq!(m.lost(0), []);
    assert_eq!((m.ss.counters().gateway_unserved, m.ss.gauges().controllers), (1, 0));
    let notify = m.ask("C=-{N=A1{OE=9{al/of}}}");
    m.say(LANE, &notify);
    m.silence();
    m.bench.silent.clear();
    m.pass(8_000);
    let mut told = m.at_controller();
    told.dedup();
    let back = "C=-{SC=ROOT{SV{MT=DC,RE=\"900 Service Restored\",V=2}}}";
    assert_eq!(told, [format!("!/1 <{GW}> T={}{{{back}}}", id(&told[0]))]);
    m.takes(0, &told[0]);
    m.say(LANE, &notify);
    assert_eq!(m.at_controller(), [notify]);
    // A gateway that leaves while nobody serves it is let go here.
    m.lost(0);
    let forced = m.ask("C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}");
    m.say(LANE, &forced);
    assert_eq!(m.to(LANE), [format!("!/2 <example.test> P={}{{C=-{{SC=ROOT}}}}", id(&forced))]);
    assert!(m.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    assert_eq!(m.left, [LANE.parse().unwrap()]);
}

#[test]
fn a_gateway_goes_where_its_controller_sends_it_if_that_is_one_of_ours() {
    let (mut m, first, second) = two();
    let other = format!("[192.0.2.{}]:2944", 201 + second);
    // The reply to the gateway's own ServiceChange sends it on: it is told that it is served.
    let restart = m.ask("C=-{SC=ROOT{SV{MT=RS,RE=\"902 Warm Boot\",V=2}}}");
    m.say(LANE, &restart);
    assert_eq!(m.one(), (at(LANE, first), restart.clone()));
    let sent_on =
        |of: &str, mgc: &str| format!("!/2 <mgc.example.test> P={}{{C=-{{SC=ROOT{{SV{{MG={mgc}}}}}}}}}", id(of));
    m.say_as(at(LANE, first), &sent_on(&restart, &other));
    let sent = core::mem::take(&mut m.sent);
    assert_eq!(sent.len(), 2);
    let told = &sent.iter().find(|(to, _)| *to == at(LANE, second)).unwrap().1;
    assert!(told.contains("MT=HO,RE=\"903 MGC Directed Change\""), "{told}");
    let heard = &sent.iter().find(|(to, _)| *to == peer(LANE)).unwrap().1;
    assert_eq!(*heard, format!("!/2 <example.test> P={}{{C=-{{SC=ROOT{{SV{{V=2}}}}}}}}", id(&restart)));
    m.takes(second, told);
    // A hand-off goes back, and is answered in the gateway's name.
    let own = format!("<mgc{}.example.test>", 1 + first);
    let handoff = |mgc: &str| {
        format!("!/2 <mgc.example.test> T=77{{C=-{{SC=ROOT{{SV{{MT=HO,RE=\"903 MGC Directed Change\",MG={mgc}}}}}}}}}")
    };
    m.say_as(at(LANE, second), &handoff(&own));
    let sent = core::mem::take(&mut m.sent);
    let told = &sent.iter().find(|(to, _)| *to == at(LANE, first)).unwrap().1;
    assert!(told.contains("MT=HO"), "{told}");
    assert!(sent.contains(&(at(LANE, second), format!("!/2 <{GW}> P=77{{C=-{{SC=ROOT}}}}"))), "{sent:?}");
    m.takes(first, told);
    assert_eq!(m.ss.counters().redirect_followed, 2);
    // To nobody else, be it by address or by name; nor to itself.
    for stranger in ["[198.51.100.9]:2944", "<mgc9.example.test>", &own] {
        m.say_as(at(LANE, first), &handoff(stranger));
        let refused = format!("!/2 <{GW}> P=77{{ER=502{{\"Not ready\"}}}}");
        assert_eq!(m.one(), (at(LANE, first), refused), "{stranger}");
    }
    let restart = m.ask("C=-{SC=ROOT{SV{MT=RS,RE=\"902 Warm Boot\",V=2}}}");
    m.say(LANE, &restart);
    m.sent.clear();
    m.say_as(at(LANE, first), &sent_on(&restart, "[198.51.100.9]"));
    assert_eq!(m.to(LANE), [format!("!/2 <example.test> P={}{{ER=502{{\"Not ready\"}}}}", id(&restart))]);
    assert_eq!((m.ss.counters().redirect_refused, m.ss.counters().redirect_followed), (4, 2));
}

#[test]
fn an_announcement_is_sent_on_too_but_not_in_circles() {
    let (mut m, first, told) = announced();
    m.sent.push((at(LANE, first), told));
    let mut hops = 0;
    while let Some((to, told)) = m.sent.pop() {
        assert!(told.contains("MT=RS"), "it has been nobody's: {told}");
        let nth = if to == at(LANE, 0) { 0 } else { 1 };
        m.answers(nth, &told, &format!("C=-{{SC=ROOT{{SV{{MG=[192.0.2.{}]}}}}}}", 202 - nth));
        hops += 1;
    }
    let c = m.ss.counters();
    assert_eq!((hops, c.redirect_followed, c.redirect_refused, c.gateway_refused), (4, 3, 1, 1));
    // Another place of the same controller's is one of ours, or it stays where it is.
    let (mut m, first, second) = two();
    let restart = m.ask("C=-{N=A1{OE=9{al/of}}}");
    m.say(LANE, &restart);
    assert_eq!(m.one().0, at(LANE, first));
    let said = m.lost(first);
    m.answers(second, &said[0].1, "C=-{SC=ROOT{SV{AD=3000}}}");
    assert_eq!(m.ss.counters().redirect_refused, 1);
    let notify = m.ask("C=-{N=A1{OE=9{al/of}}}");
    m.say(LANE, &notify);
    assert_eq!(m.one(), (at(LANE, second), notify));
}

#[test]
fn whoever_asks_us_back_is_told_that_nobody_is_there() {
    let mut m = behind();
    m.say_as(at("0.0.0.0:0", 0), "!/2 <mgc.example.test> T=5{C=-{AV=ROOT{AT{}}}}");
    assert_eq!(m.one(), (at("0.0.0.0:0", 0), "!/2 <example.test> P=5{ER=402{\"Unauthorized\"}}".to_owned()));
}
