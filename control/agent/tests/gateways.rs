//! Media gateways without a channel: who they are is looked at, what they say waits, and they are told in their protocol's
//! own form. What passes a channel is looked at with real peers (`control/portunus/tests/gateways.rs`).

mod common;

use common::{IDSP, REALM, addr, key_of};
use portunus_agent::{Agent, Config, ConfigError, Effect, Flow, Gateways, PhoneConfig};
use portunus_keydist::{Now, SystemRandom};
use portunus_signalling::Protocol;
use portunus_terminal::{MECHS, Profile, Transport};

const GW: &str = "gw1.example.test";

fn config(ids: &[&str]) -> Config {
    let profile = Profile::new(addr(5060), Transport::Udp, IDSP, REALM, MECHS).unwrap();
    let of = |protocol, port: u16| Gateways {
        profile: Profile { server: addr(port), ..profile.clone().speaking(protocol) },
        listeners: vec![addr(port + 1)],
        list: ids.iter().map(|id| PhoneConfig { id: (*id).into(), key: key_of(id), from: Vec::new() }).collect(),
    };
    let gateways = vec![of(Protocol::Mgcp, 2727), of(Protocol::H248, 2944)];
    Config { profile, listeners: Vec::new(), phones: Vec::new(), gateways }
}

struct World {
    agent: Agent,
    now: Now,
    rng: SystemRandom,
    /// Datagrams that left towards the proxy.
    sent: Vec<String>,
}

impl World {
    fn new() -> Self {
        let mut rng = SystemRandom::new();
        let agent = Agent::new(config(&[GW]), &[addr(10_000), addr(10_001)], &mut rng).unwrap();
        Self { agent, now: Now { mono_ms: 1_000, wall_ms: 1_800_000_000_000 }, rng, sent: Vec::new() }
    }

    /// What is said to gateways now.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(effect) = self.agent.poll() {
            match effect {
                Effect::ToPhone { octets, .. } => told.push(String::from_utf8(octets).unwrap()),
                Effect::ToProxy { octets, .. } => self.sent.push(String::from_utf8(octets).unwrap()),
                _ => {}
            }
        }
        told
    }

    /// A gateway at `peer` says something to a listener: 0 is MGCP's, 1 is H.248's.
    fn said(&mut self, listener: usize, peer: &str, text: &str) -> Vec<String> {
        let flow = Flow { listener, peer: peer.parse().unwrap(), stream: None };
        self.agent.on_phone(self.now, &mut self.rng, flow, text.as_bytes());
        self.told()
    }

    fn pass(&mut self, ms: u64) -> Vec<String> {
        let (end, mut told) = (self.now.mono_ms + ms, Vec::new());
        while self.now.mono_ms < end {
            let at = self.agent.next_deadline().unwrap_or(end).max(self.now.mono_ms + 1).min(end);
            self.now = Now { mono_ms: at, wall_ms: self.now.wall_ms + at - self.now.mono_ms };
            self.agent.on_timer(self.now, &mut self.rng);
            told.extend(self.told());
        }
        told
    }
}

const HERE: &str = "127.0.0.1:2427";
const FAR: &str = "192.0.2.7:2427";

#[test]
fn strangers_and_nonsense_get_the_protocols_own_error_and_open_nothing() {
    let mut w = World::new();
    for (from, text, answer) in [
        (HERE, "RSIP 7 *@gw9.example.test MGCP 1.0\r\nRM: restart\r\n", "500 7 "),
        (FAR, "RSIP 7 *@gw1.example.test MGCP 1.0\r\nRM: restart\r\n", "500 7 "),
        (HERE, "RSIP 8 *@gw1.example.test MGCP 1.0\r\nnonsense\r\n", "510 8 "),
        (HERE, "RSIP 9 *@gw1.example.test MGCP 9.0\r\nRM: restart\r\n", "528 9 "),
    ] {
        let told = w.said(0, from, text);
        assert!(told.len() == 1 && told[0].starts_with(answer), "{text:?}: {told:?}");
    }
    let change = |mid: &str| format!("MEGACO/1 {mid} T=5{{C=-{{SC=ROOT{{SV{{MT=RS,RE=\"901 Cold Boot\"}}}}}}}}");
    for (from, text, answer) in [
        (HERE, change("<gw9.example.test>"), "P=5{ER=402{"),
        (FAR, change("<gw1.example.test>"), "P=5{ER=402{"),
        (HERE, change("<gw1.example.test>").replace("MEGACO/1", "MEGACO/9"), "ER=406{"),
        (HERE, change("<gw1.example.test>").replace("ROOT{SV", "ROOT{{SV"), "ER=4"),
    ] {
        let told = w.said(1, from, &text);
        assert!(told.len() == 1 && told[0].contains(answer), "{text:?}: {told:?}");
    }
    assert!(w.said(0, HERE, "\u{1}\u{2}").is_empty() && w.said(0, HERE, "200 5 OK\r\n")[..].is_empty());
    assert!(w.sent.is_empty() && w.agent.next_deadline().is_none(), "{:?}", w.sent);
}

#[test]
fn what_a_gateway_says_first_begins_its_registration_and_is_refused_when_nothing_comes_of_it() {
    let mut w = World::new();
    let rsip = "RSIP 10 *@GW1.example.test MGCP 1.0\r\nRM: restart\r\n";
    assert!(w.said(0, HERE, rsip).is_empty());
    assert!(w.sent.len() == 1 && w.sent[0].contains(" *@gw1.example.test ") && w.sent[0].contains("X-PKD: "));
    // Repeated, it waits on, from when it came first.
    assert!(w.pass(4_000).is_empty() && w.said(0, HERE, rsip).is_empty());
    let told = w.pass(20_000);
    assert!(told.len() == 1 && told[0].starts_with("400 10 "), "{told:?}");
    let sent = w.sent.len();
    w.pass(600_000);
    assert_eq!(w.sent.len(), sent, "nobody is tried for who has given up");
    let told = w.said(1, HERE, "MEGACO/1 <gw1.example.test> T=5{C=-{SC=ROOT{SV{MT=RS,RE=\"901 Cold Boot\"}}}}");
    assert!(told.is_empty() && w.sent.len() > sent, "the same name in another protocol is another gateway");
    let told = w.pass(20_000);
    assert!(told.len() == 1 && told[0].contains("P=5{ER=503{"), "{told:?}");
    assert_eq!(w.agent.counters().refused, 2);
}

#[test]
fn gateways_are_named_once() {
    let new = |ids: &[&str]| Agent::new(config(ids), &[addr(1); 4], &mut SystemRandom::new()).err();
    assert_eq!(new(&[GW, "GW1.example.test"]), Some(ConfigError::Twice("GW1.example.test".into())));
    assert_eq!(new(&["g w"]), Some(ConfigError::Gateway("g w".into())));
    assert_eq!(new(&[GW]), None);
}
