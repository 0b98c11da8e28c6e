//! What an operator installs: unmodified phones, each beside an agent; the proxy; behind it the softswitch that does the
//! AuC's steps; and an unmodified Kamailio as the registrar of the domain. Two phones call each other, talk and hang up
//! under each mechanism, and both sides of the proxy are looked at.

#[path = "agent/baresip.rs"]
mod baresip;
mod lab;

use baresip::Baresip;
use lab::{Lab, Peer, free_port, needs};
use std::time::{SystemTime, UNIX_EPOCH};

const PHONES: [&str; 2] = ["alice@example.test", "bob@example.test"];

/// The same call in a topology under a mechanism.
fn call(plan: Lab, mechanism: &str) {
    let registrar = free_port();
    let plan = plan.with_registrars(&[registrar]);
    let _kamailio = Peer::kamailio_registrar(&plan, registrar);
    let lab = plan.start();
    let (core, access) = (lab.capture(), lab.capture_access());
    let places = [free_port(), free_port()];
    let _agents = [0, 1].map(|n| lab.agent(&format!("agent-{n}"), places[n], mechanism, &PHONES[n..=n]));
    let alice = Baresip::start(PHONES[0], places[0], false);
    let bob = Baresip::start(PHONES[1], places[1], true);
    let both = [&alice, &bob];
    both.iter().for_each(|phone| phone.until("200 OK () [1 binding]"));
    let keyed = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
    alice.does("dial", &format!("sip:{}", PHONES[1]));
    both.iter().for_each(|phone| phone.until("Call established"));
    both.iter().for_each(|phone| phone.until("incoming rtp for 'audio' established"));
    bob.does("hangup", "");
    alice.until("session closed: Connection reset by peer");

    let (core, access) = (core.finish(), access.finish());
    // The core: plain SIP by the registrar, once from the softswitch and once to it, in which there is no fault.
    core.assert_clean();
    let at = format!("udp.port == {}", registrar.port());
    let count = |method: &str| core.frames(&format!("{at} && sip.Method == \"{method}\"")).len();
    for phone in PHONES {
        // Two registrations of one moment may stand in one captured frame: the system joins what leaves together.
        let registered = core.frames(&format!("{at} && sip.Method == \"REGISTER\" && frame contains \"{phone}\""));
        assert!(!registered.is_empty(), "{mechanism}: {phone} did not register at the registrar");
    }
    for method in ["INVITE", "ACK", "BYE"] {
        assert!(count(method) >= 2, "{mechanism}: {method} did not pass the registrar");
    }
    let marks = core.frames(&format!("{at} && (frame contains \"PKD1\" || sip.Authorization)"));
    assert!(marks.is_empty(), "{mechanism}: of PKD1 at the registrar:\n{}", marks.join("\n"));
    // The access network: the steps are plain, nothing else is, and nothing at all once the phones are registered.
    let plain = access.frames("frame contains \"SIP/2.0\"");
    assert!(plain.len() >= 8, "{mechanism}: only {} plain messages", plain.len());
    let other = access.frames("frame contains \"SIP/2.0\" && !(sip.CSeq.method == \"REGISTER\")");
    assert!(other.is_empty(), "{mechanism}: in the clear:\n{}", other.join("\n"));
    let late = access.frames(&format!("frame contains \"SIP/2.0\" && frame.time_epoch > {keyed:.3}"));
    assert!(late.is_empty(), "{mechanism}: in the clear after s10:\n{}", late.join("\n"));
    let port = match mechanism {
        "x-pkd-sealed" => lab.sealed,
        "ipsec-man" => lab.ipsec,
        _ => lab.tls,
    };
    let protected = access.frames(&format!("(udp.port == {0} || tcp.port == {0})", port.port()));
    assert!(protected.len() > 10, "{mechanism}: only {} protected packets", protected.len());
}

#[test]
fn two_phones_call_each_other_by_a_registrar_behind_the_proxy_under_each_mechanism() {
    needs(&["baresip", "kamailio", "tshark"]);
    for mechanism in ["x-pkd-sealed", "ipsec-man", "tls"] {
        call(Lab::plan(), mechanism);
    }
}

#[test]
fn and_so_they_do_where_the_softswitch_faces_them_itself() {
    needs(&["baresip", "kamailio", "tshark"]);
    call(Lab::plan().direct(), "tls");
}
