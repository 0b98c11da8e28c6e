//! Live peers: programs that nobody here wrote, in the path or at the other end, over real sockets. The roles run as
//! an operator runs them: the binary, a configuration file, a ready line.
//!
//! The peers (kamailio, sipp, sipsak, tshark) are installed by the test command; where one is missing the test fails
//! and says which.

mod lab;

use lab::{Lab, Peer, needs};
use portunus_signalling::Protocol;
use std::time::Duration;

const ALICE: &str = "alice@example.test";

#[test]
fn kamailio_in_the_path_leaves_the_registration_intact() {
    needs(&["kamailio"]);
    let lab = Lab::plan();
    let middle = lab::free_port();
    let _kamailio = Peer::kamailio(&lab, middle);
    let lab = lab.proxied_through(middle).start();
    for transport in ["udp", "tcp"] {
        let report = lab.register(ALICE, transport);
        assert!(report.ok, "{transport}: {}", report.text);
    }
}

#[test]
fn every_message_of_both_topologies_is_clean_to_tshark() {
    needs(&["tshark"]);
    for direct in [false, true] {
        let plan = Lab::plan();
        let lab = if direct { plan.direct().start() } else { plan.start() };
        let capture = lab.capture();
        for transport in ["udp", "tcp"] {
            let report = lab.register(ALICE, transport);
            assert!(report.ok, "direct {direct}, {transport}: {}", report.text);
        }
        let report = lab.register_under(ALICE, "ipsec-man");
        assert!(report.ok && report.text.contains(": ipsec-man, session "), "direct {direct}: {}", report.text);
        let refused = lab.register_with_wrong_key("bob@example.test");
        assert!(!refused.ok, "a wrong key registered: {}", refused.text);
        let seen = capture.finish();
        seen.assert_clean();
        seen.assert_at_least("sip", if direct { 10 } else { 20 });
        seen.assert_at_least("radius", 8);
        // The confirmation and its answer; whatever else came to that port would be no ESP.
        seen.assert_at_least("esp", 2);
    }
}

/// Every protocol beside SIP: a registration, one that is refused, and what follows inside a session, which the core's side
/// of the proxy shows.
#[test]
fn every_message_of_every_protocol_is_clean_to_tshark() {
    needs(&["tshark"]);
    for direct in [false, true] {
        let plan = Lab::plan().with_every_protocol();
        let lab = if direct { plan.direct().start() } else { plan.start() };
        let capture = lab.capture();
        for (protocol, spoken, id, carriers) in [
            (Protocol::Mgcp, "mgcp", "gw1.example.test", &["udp"][..]),
            (Protocol::H248, "h248", "gw2.example.test", &["udp", "tcp"]),
            (Protocol::Ras, "ras", "carol", &["udp"]),
        ] {
            for by in carriers {
                let report = lab.register_by(spoken, id, by);
                assert!(report.ok, "direct {direct}, {spoken} over {by}: {}", report.text);
            }
            let stayed = lab.stays(protocol, spoken, id);
            assert_eq!(stayed.verified, 1, "direct {direct}, {spoken}: {stayed:?}");
            let refused = lab.register_wrongly(spoken, id);
            assert!(!refused.ok, "a wrong key registered: {}", refused.text);
        }
        let seen = capture.finish();
        seen.assert_clean();
        // s1, s6, s7, s10 of two registrations, and twice as many where the other side of the proxy is seen too; where
        // steps are commands, each has a receipt.
        for (protocol, steps) in [("mgcp", 16), ("megaco && udp", 16), ("h225", 8)] {
            seen.assert_at_least(protocol, if direct { steps } else { steps * 2 });
        }
        seen.assert_at_least("megaco && tcp", 8);
        // RasMessage by its alternatives: GRQ, GRJ, RRQ, RCF and RRJ; and ARQ, ACF, DRQ, DCF, IRQ and IRR.
        seen.assert_values("h225", "h225.RasMessage", &["0", "2", "3", "4", "5"]);
        if !direct {
            seen.assert_values("h225", "h225.RasMessage", &["9", "10", "15", "16", "21", "22"]);
            seen.assert_values("mgcp", "mgcp.req.verb", &["RSIP", "NTFY", "RQNT", "AUEP"]);
            seen.assert_values("megaco", "megaco.command", &["ServiceChange", "Notify", "Modify", "AuditValue"]);
        }
    }
}

#[test]
fn stock_phones_register_by_digest_where_the_listener_admits_them() {
    needs(&["sipp", "sipsak"]);
    let lab = Lab::plan().with_stock_phone("md5", "phone1@example.test", "correct-horse").start();
    let phone = Peer::sipp(&lab, "phone1", "correct-horse", &lab.stock);
    assert!(phone.ok, "sipp: {}", phone.text);
    let wrong = Peer::sipp(&lab, "phone1", "battery-staple", &lab.stock);
    assert!(!wrong.ok, "a wrong password registered: {}", wrong.text);
    let sipsak = Peer::sipsak(&lab, "phone1", "correct-horse", &lab.stock);
    assert!(sipsak.ok, "sipsak: {}", sipsak.text);
    // Provisioned for PKD1: never accepted with less, whatever it offers as a password.
    let downgrade = Peer::sipp(&lab, "alice", lab::ALICE_KEY, &lab.stock);
    assert!(!downgrade.ok, "a PKD1 subscriber was let in by digest: {}", downgrade.text);
    // Off by default: the other listener does not admit stock phones.
    let elsewhere = Peer::sipp(&lab, "phone1", "correct-horse", &lab.sip);
    assert!(!elsewhere.ok, "digest passed where it is switched off: {}", elsewhere.text);
}

#[test]
fn a_killed_proxy_comes_back_and_terminals_register_again() {
    let mut lab = Lab::plan().start();
    assert!(lab.register(ALICE, "udp").ok);
    lab.kill_and_restart();
    let again = lab.register_within(ALICE, "udp", Duration::from_secs(15));
    assert!(again.ok, "{}", again.text);
}
