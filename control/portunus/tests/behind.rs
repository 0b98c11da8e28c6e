//! Somebody else's core behind the project's authentication: programs that know nothing of PKD1 serve terminals that
//! registered by it. The softswitch does the AuC's steps, in one process with the proxy or behind it.

mod lab;

use lab::line::Line;
use lab::{Controller, Lab, free_port, needs};
use portunus_keydist::SystemRandom;
use portunus_signalling::Protocol;
use portunus_terminal::Event;
use portunus_terminal::h248::H248;
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
