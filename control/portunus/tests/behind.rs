//! Somebody else's core behind the project's authentication: programs that know nothing of PKD1 serve terminals that
//! registered by it. The softswitch does the AuC's steps, in one process with the proxy or behind it.

mod lab;

use lab::line::Line;
use lab::megaco::Controller;
use lab::{Lab, Peer, free_port, needs};
use portunus_keydist::{Now, SystemRandom};
use portunus_signalling::Protocol;
use portunus_terminal::Event;
use portunus_terminal::h248::H248;
use portunus_terminal::sip::{Sip, SipTerminal};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const GATEWAY: &str = "gw1.example.test";
const PATIENCE: Duration = Duration::from_secs(15);

fn done(id: u32) -> impl Fn(&Event) -> bool {
    move |e| matches!(e, Event::Response { id: of, status: 200 } if *of == id)
}

/// A gateway's life: registered by PKD1, and served by the controller until it leaves.
fn served_by_megaco(lab: &Lab, controller: &mut Controller) {
    let agent = H248::new(1, &mut SystemRandom::new());
    let mut gateway = Line::start(Protocol::H248, lab.h248, lab.proxy_id(), (GATEWAY, &lab.key_of(GATEWAY)), agent);
    gateway.active();
    // ServiceChange up, audit down, what it found up, requests down: each seen by the controller itself.
    for said in ["restart", "audited", "asked"] {
        let lines = if said == "audited" { " aaln/1,aaln/2" } else { "" };
        controller.until(&format!("{said} {GATEWAY}{lines}"), PATIENCE, || gateway.turn());
    }
    let now = gateway.now();
    let lifted = gateway.terminal.hook(now, &mut gateway.rng, "aaln/2", true).expect("off-hook is asked for");
    controller.until(&format!("notified {GATEWAY} aaln/2 al/of"), PATIENCE, || gateway.turn());
    gateway.until("the Notify is replied to", done(lifted), || ());
    controller.until(&format!("tone {GATEWAY} aaln/2"), PATIENCE, || gateway.turn());
    let tone = |e: &Event| {
        matches!(e, Event::Request { method, from, body, status: 200 }
            if method == "Modify" && from == "aaln/2" && body.windows(5).any(|w| w == b"cg/dt"))
    };
    assert!(gateway.events.iter().any(tone), "{:#?}", gateway.events);
    let now = gateway.now();
    assert!(gateway.terminal.deregister(now, &mut gateway.rng));
    controller.until(&format!("forced {GATEWAY}"), PATIENCE, || gateway.turn());
    gateway.until("it is out of service", |e| *e == Event::Deregistered, || ());
}

#[test]
fn a_megaco_controller_serves_gateways_that_the_proxy_authenticated() {
    needs(&["escript", "tshark"]);
    let at = free_port();
    let mut controller = Controller::start(at);
    let lab = Lab::plan().direct().with_controller(at).start();
    let capture = lab.capture();
    served_by_megaco(&lab, &mut controller);
    let seen = capture.finish();
    seen.assert_clean();
    // ServiceChange twice, audit, two requests for off-hook, Notify and tone, each with its reply.
    seen.assert_at_least("megaco", 14);
    assert!(lab.counter("softswitch", "behind_sent") >= 7);
    // The gateway left, and its port with it.
    let until = Instant::now() + PATIENCE;
    while lab.counter("softswitch", "behind_open") > 0 {
        assert!(Instant::now() < until, "its port is still open");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn and_so_it_does_behind_a_softswitch_of_its_own_process() {
    needs(&["escript"]);
    let at = free_port();
    let mut controller = Controller::start(at);
    let lab = Lab::plan().with_controller(at).start();
    served_by_megaco(&lab, &mut controller);
}

fn phone(lab: &Lab, id: &str) -> Line<Sip> {
    let agent = Sip::new(&mut SystemRandom::new());
    let mut line = Line::start(Protocol::Sip, lab.sip, lab.proxy_id(), (id, &lab.key_of(id)), agent);
    line.active();
    line
}

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// Alice asks for something that bob must hear of, and gets 200.
fn reaches(
    (alice, bob): (&mut Line<Sip>, &mut Line<Sip>),
    method: &str,
    ask: impl FnOnce(&mut SipTerminal, Now, &mut SystemRandom) -> Option<u32>,
) {
    let now = alice.now();
    let id = ask(&mut alice.terminal, now, &mut alice.rng).expect("asked");
    alice.until(method, done(id), || bob.turn());
    let heard = |e: &Event| {
        matches!(e, Event::Request { method: heard, from, status: 200, .. }
            if heard == method && from == "sip:alice@example.test")
    };
    assert!(bob.events.iter().any(heard), "{method}: {:#?}", bob.events);
}

/// Everything that two terminals do by a registrar; each registered by PKD1.
fn call_by_registrar(lab: &Lab) -> (Line<Sip>, Line<Sip>) {
    let (mut alice, mut bob) = (phone(lab, ALICE), phone(lab, BOB));
    let both = (&mut alice, &mut bob);
    reaches(both, "MESSAGE", |t, now, rng| t.send_request(now, rng, "MESSAGE", BOB, b"hello"));
    reaches((&mut alice, &mut bob), "OPTIONS", |t, now, rng| t.send_request(now, rng, "OPTIONS", BOB, b""));
    reaches((&mut alice, &mut bob), "INVITE", |t, now, rng| t.send_request(now, rng, "INVITE", BOB, b"v=0"));
    let acknowledged = |e: &Event| matches!(e, Event::Request { method, .. } if method == "ACK");
    bob.until("ACK", acknowledged, || alice.turn());
    reaches((&mut alice, &mut bob), "BYE", |t, now, rng| t.hang_up(now, rng));
    (alice, bob)
}

#[test]
fn kamailio_is_the_registrar_of_terminals_that_the_proxy_authenticated() {
    needs(&["kamailio", "tshark"]);
    let registrar = free_port();
    let plan = Lab::plan().direct().with_registrars(&[registrar]);
    let _kamailio = Peer::kamailio_registrar(&plan, registrar);
    let lab = plan.start();
    let capture = lab.capture();
    let (mut alice, mut bob) = call_by_registrar(&lab);
    // Nobody but the registrar knows where somebody is: bob leaves it, and is not found there.
    let now = bob.now();
    assert!(bob.terminal.deregister(now, &mut bob.rng));
    bob.until("de-registered", |e| *e == Event::Deregistered, || ());
    let now = alice.now();
    let lost = alice.terminal.send_request(now, &mut alice.rng, "MESSAGE", BOB, b"gone?").expect("asked");
    alice.until("404", |e| *e == Event::Response { id: lost, status: 404 }, || ());
    // The registrar's own limit on the life of a registration reaches the terminal.
    let granted = |e: &Event| matches!(e, Event::Active(a) if a.expires_s == 1_800);
    assert!(alice.events.iter().any(granted), "{:#?}", alice.events);
    let seen = capture.finish();
    seen.assert_clean();
    let core = format!("udp.port == {}", registrar.port());
    let of = |filter: &str| seen.frames(&format!("{core} && sip.Method == \"{filter}\"")).len();
    // Two registrations and one end; the rest to the registrar and back from it.
    assert_eq!(["REGISTER", "MESSAGE", "INVITE", "ACK", "BYE"].map(of), [3, 3, 2, 2, 2]);
    for (what, filter) in [
        ("PKD1 or a secret", "frame contains \"PKD1\" || frame contains \"ekc=\" || sip.Authorization"),
        ("a request without its sender", "sip.Method && sip.from.user && !sip.P-Asserted-Identity && sip.to.user"),
    ] {
        let bad = seen.frames(&format!("{core} && ({filter})"));
        assert!(bad.is_empty(), "{what} on the core side:\n{}", bad.join("\n"));
    }
    // The access side: nothing but the steps is plain.
    let access = format!("udp.port == {} && sip.Method && sip.Method != \"REGISTER\"", lab.sip.port());
    assert!(seen.frames(&access).is_empty());
    assert_eq!(lab.counter("softswitch", "softswitch_registrar_granted"), 3);
    assert_eq!(lab.counter("softswitch", "softswitch_registrars"), 1);
}

#[test]
fn terminals_of_a_registrar_that_is_down_go_to_the_other() {
    needs(&["kamailio"]);
    // One that is there and says nothing.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (dead, alive) = (silent.local_addr().expect("its address"), free_port());
    let plan = Lab::plan().direct().with_registrars(&[dead, alive]);
    let _kamailio = Peer::kamailio_registrar(&plan, alive);
    let lab = plan.start();
    // Whoever prefers the silent one waits a little longer, and is registered at the other one all the same. Other
    // requests may go to the silent one until it is found to be down.
    for id in [ALICE, BOB] {
        phone(&lab, id);
    }
    let until = Instant::now() + 2 * PATIENCE;
    while lab.counter("softswitch", "softswitch_registrars") > 1 {
        assert!(Instant::now() < until, "it is never found to be down: {}", lab.counters());
        std::thread::sleep(Duration::from_millis(200));
    }
    call_by_registrar(&lab);
}
