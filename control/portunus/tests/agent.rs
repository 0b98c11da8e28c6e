//! `portunus agent` beside plain SIP phones, as processes over real sockets, with a relay on the access network that
//! keeps what crosses it.

#[path = "agent/baresip.rs"]
mod baresip;
mod lab;
#[path = "agent/phone.rs"]
mod phone;
#[path = "outages/relay.rs"]
mod relay;
#[path = "outages/site.rs"]
mod site;
#[path = "agent/wire.rs"]
mod wire;

use baresip::Baresip;
use lab::{free_port, needs};
use phone::{Phone, bracketed, routes, status, values};
use relay::Relay;
use site::{Process, Site, identity};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use wire::Wire;

/// What may protect a phone's signalling.
const MECHANISMS: [&str; 3] = ["x-pkd-sealed", "ipsec-man", "tls"];

/// One site at a time: what is measured in seconds wants the machine for itself.
static ALONE: Mutex<()> = Mutex::new(());

/// Another loopback address with the same port: a terminal is told the sealed port, not its address.
fn beside(address: SocketAddr) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 2], address.port()))
}

/// A site, its roles, and two phones, each with its agent, behind an access network that is looked at.
struct Town {
    site: Site,
    /// AuC and softswitch.
    _core: [Process; 2],
    proxy: Option<Process>,
    access: Relay,
    /// The same for connections.
    wire: Wire,
    _agents: [Process; 2],
    places: [SocketAddr; 2],
    phones: [Phone; 2],
}

impl Town {
    fn new(mechanism: &str) -> Self {
        let site = Site::plan(2);
        let core = [site.auc(), site.softswitch()];
        let proxy = Some(site.proxy());
        let server = beside(site.sip);
        let pair = |at| (beside(at), at);
        let access = Relay::start(&[pair(site.sip), pair(site.sealed), pair(site.ipsec)], 0, 1);
        let wire = Wire::start(beside(site.tls), site.tls);
        let places = [free_port(), free_port()];
        let agent = |name, at, who: &[u32]| site.agent(name, at, server, (mechanism, who));
        let agents = [agent("agent-a", places[0], &[0]), agent("agent-b", places[1], &[1])];
        let phones = [Phone::new(identity(0), places[0]), Phone::new(identity(1), places[1])];
        Self { site, _core: core, proxy, access, wire, _agents: agents, places, phones }
    }

    /// What crossed the access network.
    fn crossed(&self) -> Vec<Vec<u8>> {
        [self.access.tally.kept(), self.wire.kept()].concat()
    }

    /// The first phone calls the second, which answers and hangs up.
    fn call(&mut self, name: &str) {
        let [alice, bob] = &mut self.phones;
        let to = format!("<sip:{}>", bob.id);
        let invite = alice.request("INVITE", &format!("sip:{}", bob.id), &to, name, "");
        alice.send(&invite);
        let rings = bob.hears();
        assert!(rings.starts_with(&format!("INVITE {} SIP/2.0\r\n", bob.contact())), "{rings}");
        bob.answers(&rings, 180);
        bob.answers(&rings, 200);
        assert_eq!(status(&alice.hears()), 180);
        let answer = alice.hears();
        assert_eq!(status(&answer), 200, "{answer}");
        // RFC 3261 section 12.1: the caller's route set is the recorded one reversed, the callee's as it stands.
        let way = routes(values(&answer, "Record-Route").into_iter().rev());
        let ack = alice.request("ACK", bracketed(values(&answer, "Contact")[0]), values(&answer, "To")[0], name, &way);
        alice.send(&ack);
        assert!(bob.hears().starts_with("ACK "));

        let back = routes(values(&rings, "Record-Route").into_iter());
        let bye = format!(
            "BYE {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: <sip:{}>;tag=callee\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: 1 BYE\r\n{back}Content-Length: 0\r\n\r\n",
            bracketed(values(&rings, "Contact")[0]),
            format_args!(
                "SIP/2.0/UDP {};branch=z9hG4bKbye{name};rport",
                bob.contact().split_once('@').expect("host").1
            ),
            bob.id,
            values(&rings, "From")[0],
            values(&rings, "Call-ID")[0],
        );
        bob.send(&bye);
        let ends = alice.hears();
        assert!(ends.starts_with(&format!("BYE {} SIP/2.0\r\n", alice.contact())), "{ends}");
        alice.answers(&ends, 200);
        assert_eq!(status(&bob.hears()), 200);
    }
}

/// Nothing but registrations and their answers crosses the access network in the clear.
fn assert_protected(datagrams: &[Vec<u8>]) {
    let mut protected = 0;
    for datagram in datagrams {
        let text = String::from_utf8_lossy(datagram);
        if text.starts_with("REGISTER ") || text.starts_with("SIP/2.0 ") {
            assert!(values(&text, "CSeq").iter().all(|v| v.ends_with(" REGISTER")), "in the clear: {text}");
        } else {
            protected += 1;
            assert!(!text.contains("SIP/2.0"), "in the clear: {text}");
        }
    }
    assert!(protected > 10, "only {protected} protected datagrams passed");
}

#[test]
fn two_plain_phones_call_each_other_and_nothing_is_in_the_clear() {
    let _alone = ALONE.lock();
    for mechanism in MECHANISMS {
        let mut town = Town::new(mechanism);
        town.phones.iter_mut().for_each(Phone::registers);
        let registered = town.access.tally.kept().len();
        town.call("first");
        assert_protected(&town.crossed());
        let later = [town.access.tally.kept().split_off(registered), town.wire.kept()].concat();
        let later: Vec<_> = later.iter().map(|d| String::from_utf8_lossy(d)).collect();
        assert!(later.len() > 10 && !later.iter().any(|text| text.contains("SIP")), "plain SIP after s10");
    }
}

#[test]
fn two_unmodified_phones_call_each_other_talk_and_hang_up() {
    needs(&["baresip"]);
    let _alone = ALONE.lock();
    for mechanism in MECHANISMS {
        let town = Town::new(mechanism);
        let alice = Baresip::start(&identity(0), town.places[0], false);
        let bob = Baresip::start(&identity(1), town.places[1], true);
        let both = [&alice, &bob];
        both.iter().for_each(|phone| phone.until("200 OK () [1 binding]"));
        alice.does("dial", &format!("sip:{}", identity(1)));
        both.iter().for_each(|phone| phone.until("Call established"));
        both.iter().for_each(|phone| phone.until("incoming rtp for 'audio' established"));
        bob.does("hangup", "");
        alice.until("session closed: Connection reset by peer");
        assert_protected(&town.crossed());
    }
}

/// Waits until the first phone's question reaches the second and its answer comes back: how long that took.
fn reached(town: &mut Town, name: &str, within: Duration) -> Duration {
    let began = Instant::now();
    for n in 0.. {
        let [alice, bob] = &mut town.phones;
        let (uri, to, call) = (format!("sip:{}", bob.id), format!("<sip:{}>", bob.id), format!("{name}{n}"));
        let options = alice.request("OPTIONS", &uri, &to, &call, "");
        alice.send(&options);
        // A 503 of its agent's while the channel is away; the question itself once both are back.
        if alice.answered_within(Duration::from_millis(300)).is_none()
            && let Some(question) = bob.answered_within(Duration::from_millis(200))
        {
            bob.answers(&question, 200);
            break;
        }
        assert!(began.elapsed() < within, "{name}: not reached within {within:?}");
    }
    let took = began.elapsed();
    assert_eq!(status(&town.phones[0].hears()), 200);
    took
}

#[test]
fn after_the_proxy_was_killed_and_started_again_the_phones_are_reached() {
    let _alone = ALONE.lock();
    for mechanism in ["x-pkd-sealed", "tls"] {
        let mut town = Town::new(mechanism);
        town.phones.iter_mut().for_each(Phone::registers);
        town.call("before");
        town.proxy.take().expect("it runs").kill();
        town.proxy = Some(town.site.proxy());
        // A sign of life is asked for after a second, given up after eight; a connection says itself that it is lost.
        let within = Duration::from_secs(if mechanism == "tls" { 9 } else { 20 });
        let took = reached(&mut town, "look", within);
        println!("proxy killed and started again, {mechanism}: phone to phone reached after {took:.1?}");
        town.call("after");
        assert_protected(&town.crossed());
    }
}

#[test]
fn a_connection_that_leads_nowhere_is_found_out_and_the_session_goes_on_by_another() {
    let _alone = ALONE.lock();
    let mut town = Town::new("tls");
    town.phones.iter_mut().for_each(Phone::registers);
    let registered = town.access.tally.kept().len();
    town.wire.lose_all();
    // A sign of life is asked for after a second of silence, and may take eight.
    let took = reached(&mut town, "look", Duration::from_secs(12));
    println!("a way lost without a word, tls: phone to phone reached after {took:.1?}");
    town.call("after");
    assert_eq!(town.access.tally.kept().len(), registered, "nobody had to register again");
}

#[test]
fn once_says_whether_every_phone_can_be_registered() {
    let _alone = ALONE.lock();
    let site = Site::plan(2);
    let text = Site::agent_text(free_port(), site.sip, ("x-pkd-sealed", &[0, 1]));
    site.rewrite("agent", &text);
    let _roles = (site.auc(), site.softswitch(), site.proxy());
    let (code, said) = site.agent_once("agent");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 of 2 phones active"), "{said}");
    // A proxy that is not there.
    site.rewrite("agent", &text.replace(&site.sip.to_string(), &beside(site.sip).to_string()));
    let (code, said) = site.agent_once("agent");
    assert_eq!(code, Some(4), "{said}");
    // Somebody else's key.
    site.rewrite("agent", &text.replace("key_file = \"subscribers.csv\"", "key_file = \"wrong.key\""));
    site.key_file("wrong.key", 0o600);
    let (code, said) = site.agent_once("agent");
    assert_eq!(code, Some(5), "{said}");
    // A key that others can read.
    let strict = text.replace("lab = true\n", "").replace("subscribers.csv", "wrong.key");
    site.rewrite("agent", &strict);
    site.key_file("wrong.key", 0o640);
    let (code, said) = site.agent_once("agent");
    assert!(code == Some(3) && said.contains("agent.phone[0].key_file") && said.contains("chmod 600"), "{said}");
    let (code, said) = site.try_to_run("agent");
    assert_eq!(code, Some(3), "{said}");
}
