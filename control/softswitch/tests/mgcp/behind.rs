//! Call agents of somebody else's behind the softswitch, in the words of RFC 3435: they are told of gateways in their name
//! and hear the rest from themselves.

use super::*;
use portunus_softswitch::Upstream;

/// One of the call agents, by the port of the gateway on [`LANE`].
fn agent(nth: u16) -> Peer {
    Peer::Behind(LANE.parse().unwrap(), nth)
}

fn behind(how_many: u8) -> Mgcp {
    let mut config = config();
    config.silent_s = 60;
    let upstream = |n: u8| Upstream {
        name: Some(format!("ca{n}.example.test").into()),
        ..Upstream::at(([192, 0, 2, 200 + n], 2727).into())
    };
    config.behind.call_agents = (1..=how_many).map(upstream).collect();
    Mgcp::with(config)
}

/// The one of `how_many` that the gateway prefers, and another one; it was told of it, and has taken it.
fn taken(how_many: u8) -> (Mgcp, u16, u16) {
    let mut m = behind(how_many);
    let (first, told) = m.introduced();
    m.agent_says(first, &format!("200 {} OK\r\n", transaction(&told)));
    m.silence();
    (m, first, 1 - first.min(1))
}

impl Mgcp {
    fn agent_says(&mut self, nth: u16, message: &str) {
        self.bench.say(Protocol::Mgcp, agent(nth), message.as_bytes());
    }

    /// The session is active; which call agent is told, and what.
    fn introduced(&mut self) -> (u16, String) {
        self.registered(7);
        self.pass(400);
        let audit = self.to(LANE).remove(0);
        assert!(audit.starts_with("AUEP ") && audit.contains(" aaln/1@gw1.example.test MGCP 1.0"), "{audit}");
        // A session that is not active yet.
        self.answer(LANE, "501", &[audit]);
        self.silence();
        self.pass(1_000);
        let audit = self.to(LANE).remove(0);
        self.answer(LANE, "500", &[audit]);
        let (to, told) = self.one();
        assert_eq!(told, format!("RSIP {} *@{GW} MGCP 1.0\r\nRM: restart\r\n", transaction(&told)));
        let nth = if to == agent(0) { 0 } else { 1 };
        assert_eq!(to, agent(nth));
        (nth, told)
    }

    /// What is told to this call agent, and nothing else to anybody.
    fn told(&mut self, nth: u16) -> Vec<String> {
        let sent = core::mem::take(&mut self.sent);
        let mut told: Vec<String> = sent
            .into_iter()
            .inspect(|(to, text)| assert_eq!(*to, agent(nth), "{text}"))
            .map(|(_, text)| text)
            .collect();
        told.dedup();
        told
    }

    /// The nth call agent is silent until it is found to be down.
    fn lost(&mut self, nth: u16) {
        self.bench.silent.push(nth);
        let before = self.ss.counters().upstream_down;
        while self.ss.counters().upstream_down == before {
            assert!(self.now.mono_ms < 100_000, "it is never found to be down");
            self.pass(500);
        }
        self.pass(20);
    }
}

#[test]
fn a_gateway_is_announced_once_its_session_is_active_and_then_the_two_talk() {
    let (mut m, first, _) = taken(1);
    // Whatever the two say passes as it is (RFC 3435 section 3.2 and appendix F).
    let request =
        format!("RQNT 1201 aaln/1@{GW} MGCP 1.0\r\nN: ca@ca1.whatever.net:5678\r\nX: 0123456789AC\r\nR: l/hd(N)\r\n");
    m.agent_says(first, &request);
    assert_eq!(m.to(LANE), [request]);
    m.say(LANE, "200 1201 OK\r\n");
    assert_eq!(m.told(first), ["200 1201 OK\r\n"]);
    let notify =
        format!("NTFY 2002 aaln/1@{GW} MGCP 1.0\r\nN: ca@ca1.whatever.net:5678\r\nX: 0123456789AC\r\nO: L/hd\r\n");
    m.say(LANE, &notify);
    assert_eq!(m.told(first), [notify]);
    // Piggy-backed, each comes by itself.
    let create = format!("CRCX 1204 aaln/1@{GW} MGCP 1.0\r\nC: A3C47F21456789F0\r\nL: p:10, a:PCMU\r\nM: recvonly\r\n");
    m.agent_says(first, &format!("200 2002 OK\r\n.\r\n{create}"));
    assert_eq!(m.to(LANE), ["200 2002 OK\r\n", &create]);
    let created = "200 1204 OK\r\nI: FDE234C8\r\n\r\nv=0\r\no=- 25678 753849 IN IP4 128.96.41.1\r\nt=0 0\r\n";
    m.say(LANE, "100 1204 Pending\r\n");
    m.say(LANE, created);
    assert_eq!(m.told(first), ["100 1204 Pending\r\n", created]);
    m.agent_says(first, "000 1204\r\n");
    assert_eq!(m.to(LANE), ["000 1204\r\n"]);
    let audit = format!("AUEP 1205 *@{GW} MGCP 1.0\r\n");
    m.agent_says(first, &audit);
    assert_eq!(m.to(LANE), [audit]);
    // It shows life, so it is audited no sooner, and the call agent is told nothing more of it.
    m.say(LANE, &format!("200 1205 OK\r\nZ: aaln/1@{GW}\r\n"));
    assert_eq!(m.told(first).len(), 1);
    m.pass(29_000);
    m.silence();
    m.pass(1_500);
    let audit = m.to(LANE).remove(0);
    m.answer(LANE, "200", &[audit]);
    m.pass(1_000);
    m.silence();
    // Another's endpoint, and whoever is not registered.
    m.say(LANE, "NTFY 9 aaln/1@gw2.example.test MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n");
    assert_eq!(m.to(LANE), ["500 9 Endpoint unknown\r\n"]);
    m.say("192.0.2.1:30009", &format!("NTFY 9 aaln/1@{GW} MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n"));
    assert_eq!(m.to("192.0.2.1:30009"), ["500 9 Endpoint unknown\r\n"]);
}

#[test]
fn a_gateway_leaves_by_its_own_word_and_by_silence() {
    let (mut m, first, _) = taken(1);
    let forced = format!("RSIP 31 *@{GW} MGCP 1.0\r\nRM: forced\r\n");
    m.say(LANE, &forced);
    assert_eq!(m.told(first), core::slice::from_ref(&forced));
    m.agent_says(first, "400 31 Transient\r\n");
    assert_eq!(m.to(LANE), ["400 31 Transient\r\n"]);
    assert!(m.left.is_empty() && m.records().is_empty(), "it is refused, and stays");
    m.say(LANE, &forced.replace("31", "32"));
    m.told(first);
    m.agent_says(first, "200 32 OK\r\n");
    assert_eq!(m.to(LANE), ["200 32 OK\r\n"]);
    assert!(m.records().iter().any(|r| matches!(r.event, Registration::Stop)));
    assert_eq!(m.left, [LANE.parse().unwrap()]);
    m.silence();
    // One endpoint of it is not all of it, and graceful not yet.
    let (mut m, first, _) = taken(1);
    for said in [
        format!("RSIP 33 aaln/1@{GW} MGCP 1.0\r\nRM: forced\r\n"),
        format!("RSIP 34 *@{GW} MGCP 1.0\r\nRM: graceful\r\nRD: 300\r\n"),
    ] {
        m.say(LANE, &said);
        assert_eq!(m.told(first), core::slice::from_ref(&said));
        let answer = format!("200 {} OK\r\n", transaction(&said));
        m.agent_says(first, &answer);
        assert_eq!(m.to(LANE), [answer]);
    }
    assert!(m.left.is_empty() && m.records().is_empty());
    // It goes without a word: the call agent is told.
    while m.sent.iter().all(|(to, _)| *to != agent(first)) {
        m.sent.clear();
        m.pass(500);
    }
    m.sent.retain(|(to, _)| *to == agent(first));
    let gone = m.told(first).remove(0);
    assert_eq!(gone, format!("RSIP {} *@{GW} MGCP 1.0\r\nRM: forced\r\n", transaction(&gone)));
    assert!(m.left.is_empty(), "its port is still needed");
    m.agent_says(first, &format!("250 {}\r\n", transaction(&gone)));
    assert_eq!(m.left, [LANE.parse().unwrap()]);
}

#[test]
fn a_gateway_whose_call_agent_is_down_is_the_next_ones_and_notices_nothing() {
    let (mut m, first, second) = taken(2);
    let notify = format!("NTFY 2002 aaln/1@{GW} MGCP 1.0\r\nX: 5\r\nO: L/hd\r\n");
    m.say(LANE, &notify);
    assert_eq!(m.told(first), core::slice::from_ref(&notify));
    m.lost(first);
    let told = m.told(second);
    assert_eq!(told, [format!("RSIP {} *@{GW} MGCP 1.0\r\nRM: disconnected\r\n", transaction(&told[0]))]);
    m.say(LANE, &notify);
    m.silence();
    // Provisional: it waits longer.
    m.agent_says(second, &format!("100 {}\r\n", transaction(&told[0])));
    m.agent_says(second, &format!("200 {} OK\r\nK:\r\n", transaction(&told[0])));
    assert_eq!(m.told(second), [format!("000 {}\r\n", transaction(&told[0]))]);
    m.say(LANE, &notify);
    assert_eq!(m.told(second), core::slice::from_ref(&notify));
    m.agent_says(second, "200 2002 OK\r\n");
    assert_eq!(m.to(LANE), ["200 2002 OK\r\n"]);
    // The second one counts from where the first one did: for the gateway those are others.
    m.agent_says(second, &format!("RQNT 1201 aaln/1@{GW} MGCP 1.0\r\nK: 1199-1200\r\nX: 6\r\nR: L/hu\r\nS: L/dl\r\n"));
    let request = m.to(LANE).remove(0);
    let n = transaction(&request);
    assert!(n != 1201 && request.contains(&format!("\r\nK: {}-{}\r\n", n - 2, n - 1)), "{request}");
    assert!(request.ends_with("\r\nX: 6\r\nR: L/hu\r\nS: L/dl\r\n"), "{request}");
    m.say(LANE, &format!("200 {n} OK\r\nK:\r\n"));
    assert_eq!(m.told(second), ["200 1201 OK\r\nK:\r\n"]);
    m.agent_says(second, "000 1201\r\n");
    assert_eq!(m.to(LANE), [format!("000 {n}\r\n")]);
    let c = m.ss.counters();
    assert_eq!((c.upstream_down, c.gateway_failover, c.gateway_waits, m.ss.gauges().call_agents), (1, 1, 1, 1));
    // The first one is back: it is told that the endpoint is not its own.
    m.bench.silent.clear();
    m.pass(6_000);
    m.silence();
    assert_eq!(m.ss.gauges().call_agents, 2);
    m.agent_says(first, &format!("AUEP 7 *@{GW} MGCP 1.0\r\n"));
    assert_eq!(m.told(first), ["500 7 Endpoint unknown\r\n"]);
    m.agent_says(first, "200 2002 OK\r\n");
    m.silence();
    assert_eq!(m.ss.counters().upstream_other, 2);
    // Both are down: whoever comes back first has it, and meanwhile a gateway may leave.
    m.lost(second);
    let told = m.told(first);
    assert!(told.len() == 1 && told[0].contains("RM: disconnected"), "{told:?}");
    m.lost(first);
    m.sent.clear();
    m.say(LANE, &format!("RSIP 40 *@{GW} MGCP 1.0\r\nRM: forced\r\n"));
    assert_eq!(m.to(LANE), ["200 40 OK\r\n"]);
    assert!(m.records().iter().any(|r| matches!(r.event, Registration::Stop)));
}

#[test]
fn a_call_agent_that_refuses_is_asked_again_and_one_that_sends_on_is_followed_to_one_of_ours() {
    let mut m = behind(2);
    let (first, told) = m.introduced();
    m.agent_says(first, &format!("409 {} Overloaded\r\n", transaction(&told)));
    m.silence();
    m.pass(5_000);
    let audit = m.to(LANE).remove(0);
    m.answer(LANE, "200", &[audit]);
    let again = m.told(first).remove(0);
    assert_ne!(transaction(&again), transaction(&told));
    // To one of ours.
    let second = 1 - first;
    let there = format!("N: ca@[192.0.2.{}]:2727\r\n", 201 + second);
    m.agent_says(first, &format!("521 {} Redirected\r\n{there}", transaction(&again)));
    let told = m.told(second);
    assert!(told.len() == 1 && told[0].contains("RM: restart"), "{told:?}");
    m.agent_says(second, &format!("200 {} OK\r\n", transaction(&told[0])));
    // The gateway restarts, and is sent to a stranger: it is to come again, and learns nothing of where.
    let restart = |n: u32| format!("RSIP {n} *@{GW} MGCP 1.0\r\nRM: restart\r\n");
    for (n, entity) in [(50, "ca@[198.51.100.9]:2727"), (51, "ca@ca9.example.net:2727"), (52, "ca@198.51.100.9")] {
        m.say(LANE, &restart(n));
        assert_eq!(m.told(second), [restart(n)]);
        m.agent_says(second, &format!("521 {n} Redirected\r\nN: {entity}\r\n"));
        assert_eq!(m.to(LANE), [format!("400 {n} Transient error\r\n")]);
    }
    // And to one of ours, who takes it: it is served.
    m.say(LANE, &restart(53));
    m.told(second);
    m.agent_says(second, &format!("521 53 Redirected\r\nN: ca@ca{}.example.test:2727\r\n", 1 + first));
    let sent = core::mem::take(&mut m.sent);
    assert!(sent.contains(&(lane(), "200 53 OK\r\n".to_owned())), "{sent:?}");
    assert!(sent.iter().any(|(to, text)| *to == agent(first) && text.contains("RM: disconnected")), "{sent:?}");
    let c = m.ss.counters();
    assert_eq!((c.gateway_refused, c.redirect_followed, c.redirect_refused), (1, 2, 3));
}

#[test]
fn whoever_is_behind_registers_nobody() {
    let mut m = behind(1);
    let s2 = m.s2();
    m.agent_says(0, &s2);
    m.silence();
    assert_eq!((m.asked.len(), m.ss.counters().unreadable), (0, 1));
    let nobodys = Peer::Behind("0.0.0.0:0".parse().unwrap(), 0);
    m.bench.say(Protocol::Mgcp, nobodys, b"AUEP 5 *@[192.0.2.100] MGCP 1.0\r\n");
    // Sent as a message, not taken for a question of ours.
    assert_eq!(m.bench.questions.pop().map(|(_, _, text)| text), Some("500 5 Endpoint unknown\r\n".to_owned()));
    // Without a call agent in the configuration nobody is behind.
    let mut m = Mgcp::new();
    m.agent_says(0, "AUEP 5 *@gw1.example.test MGCP 1.0\r\n");
    m.silence();
    assert_eq!(m.ss.counters().stranger, 1);
}
