//! freeDiameter as its distribution ships it, a relay between softswitch and AuC: a terminal registers through it, it is
//! killed and comes back, and tshark reads every message.
//!
//! freeDiameterd and its extensions are installed by the test command; where they are missing the test fails and says so.

mod lab;

use lab::{Lab, Peer, needs};
use std::time::{Duration, Instant};

const ALICE: &str = "alice@example.test";

/// Registers until it works: a relay that has just started is not connected to both sides at once.
fn registers(lab: &Lab) {
    let until = Instant::now() + Duration::from_secs(45);
    loop {
        let report = lab.register(ALICE, "udp");
        if report.ok {
            return;
        }
        assert!(Instant::now() < until, "{}\nit logged:\n{}", report.text, lab.log());
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn terminals_register_through_freediameter_which_dies_and_comes_back() {
    needs(&["freeDiameterd", "openssl", "tshark"]);
    let relay = lab::free_port();
    let lab = Lab::plan().with_diameter_relay(relay).start();
    let capture = lab.capture();
    let daemon = Peer::free_diameter(&lab, relay);
    registers(&lab);
    drop(daemon);
    // Nobody is asked while it is gone, and nobody is let in.
    let refused = lab.register(ALICE, "udp");
    assert!(!refused.ok, "a terminal registered without an AuC: {}", refused.text);
    let _daemon = Peer::free_diameter(&lab, relay);
    registers(&lab);
    // s11 follows the registration.
    std::thread::sleep(Duration::from_millis(500));
    let seen = capture.finish();
    seen.assert_clean();
    // CER, DWR, DPR where it comes, SAR and MAR, and their answers, on both sides of the relay.
    seen.assert_values("diameter", "diameter.cmd.code", &["257", "301", "303"]);
    seen.assert_values("diameter.Route-Record", "diameter.Route-Record", &["ss1.example.test"]);
    seen.assert_at_least("diameter.cmd.code == 303 && diameter.flags.request == 0 && diameter.Result-Code == 2001", 4);
    seen.assert_at_least("diameter.cmd.code == 301 && diameter.flags.request == 0 && diameter.Result-Code == 2001", 4);
}
