//! FreeRADIUS as its distribution ships it: a relay between softswitch and AuC, over UDP and over TLS, and its client,
//! which asks the AuC directly; tshark reads every message.
//!
//! freeradius and radclient are installed by the test command; where they are missing the test fails and says so.

mod lab;
#[path = "agent/phone.rs"]
mod phone;

use lab::{Lab, free_port, needs};
use phone::Phone;
use std::time::{Duration, Instant};

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// Registers until it works: a relay that has just started is not connected to both sides at once.
fn registers(lab: &Lab, id: &str) {
    let until = Instant::now() + Duration::from_secs(45);
    loop {
        let report = lab.register(id, "udp");
        if report.ok {
            assert!(report.text.contains("active after"), "{}", report.text);
            return;
        }
        assert!(Instant::now() < until, "{}\nit logged:\n{}\n{}", report.text, lab.log(), lab.relay_log());
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A phone beside an agent: registers, registers again inside its session, and its agent ends the registration. What
/// the AuC was told of it: Start, Interim-Update and Stop.
fn comes_stays_and_goes(lab: &Lab, id: &str) {
    let at = free_port();
    let agent = lab.agent("agent", at, "x-pkd-sealed", &[id]);
    let mut phone = Phone::new(id.to_owned(), at);
    phone.registers();
    let began = lab.until_recorded(id, "no Start", |r| r["ended_ms"].is_null());
    assert_eq!((&began["proxy"], &began["softswitch"]), (&"sp1.example.test".into(), &"ss1.example.test".into()));
    assert_eq!(began["address"], "127.0.0.1");
    // Times are told apart by the millisecond.
    std::thread::sleep(Duration::from_millis(50));
    phone.registers();
    let stays = lab.until_recorded(id, "no Interim-Update", |r| r["seen_ms"] != began["seen_ms"]);
    assert_eq!((&stays["session"], &stays["since_ms"]), (&began["session"], &began["since_ms"]));
    lab.ends(agent);
    let ended = lab.until_recorded(id, "no Stop", |r| !r["ended_ms"].is_null());
    assert_eq!((&ended["session"], &ended["since_ms"]), (&began["session"], &began["since_ms"]));
    assert!(ended["ended_ms"].as_u64() >= stays["seen_ms"].as_u64(), "{ended}");
}

#[test]
fn terminals_register_through_freeradius_which_dies_and_comes_back() {
    needs(&["freeradius", "radclient", "tshark"]);
    let lab = Lab::plan().with_radius_relay().start();
    let capture = lab.capture();
    let relay = lab.free_radius();
    registers(&lab, ALICE);
    lab.until_recorded(ALICE, "no s11", |r| r["softswitch"] == "ss1.example.test");
    comes_stays_and_goes(&lab, BOB);
    // It answers probes, and so does the AuC; each proves itself by its secret.
    for (at, answer) in [(lab.relay().at, "Access-Accept"), (lab.radius()[0], "Access-Accept")] {
        let probe = lab.radclient(at, "status", "Message-Authenticator = 0x00");
        assert!(probe.ok && probe.text.contains(answer), "{at}: {}", probe.text);
    }
    drop(relay);
    // Nobody is asked while it is gone, and nobody is let in.
    let refused = lab.register(ALICE, "udp");
    assert!(!refused.ok, "a terminal registered without an AuC: {}", refused.text);
    let _relay = lab.free_radius();
    registers(&lab, ALICE);
    std::thread::sleep(Duration::from_millis(500));
    let seen = capture.finish();
    seen.assert_clean();
    let remarks = seen.frames("radius && _ws.expert");
    assert!(remarks.is_empty(), "tshark remarks:\n{}", remarks.join("\n"));
    // On both sides of the relay: s3, s4, all three kinds of s11, probes.
    for kind in [1, 2, 4, 5, 11, 12] {
        seen.assert_at_least(&format!("radius.code == {kind}"), 2);
    }
    for status in ["1", "2", "3"] {
        seen.assert_at_least(&format!("radius.code == 4 && radius.Acct_Status_Type == {status}"), 2);
    }
    // What the relay adds and must get back, and what it must not lose.
    let auc = lab.radius()[0].port();
    for (code, port) in [(1, "dstport"), (11, "srcport")] {
        let all = seen.frames(&format!("radius.code == {code} && udp.{port} == {auc}")).len();
        let kept = format!(
            "radius.code == {code} && udp.{port} == {auc} && radius.Proxy_State && radius.Message_Authenticator"
        );
        assert!(all > 0 && seen.frames(&kept).len() == all, "{all} of code {code}");
    }
    // State, Message-Authenticator, Digest-Realm, -Nonce, -Algorithm, -Auth-Param: tshark knows the last four by number.
    let whole: String =
        [24, 80, 104, 105, 111, 117].iter().map(|kind| format!(" && radius.avp.type == {kind}")).collect();
    let challenges = seen.frames("radius.code == 11").len();
    assert_eq!(seen.frames(&format!("radius.code == 11{whole}")).len(), challenges, "of {challenges} challenges");
}

#[test]
fn terminals_register_through_freeradius_over_tls_on_both_sides() {
    needs(&["freeradius"]);
    let lab = Lab::plan().with_radsec_relay().start();
    let _relay = lab.free_radius();
    registers(&lab, ALICE);
    lab.until_recorded(ALICE, "no s11", |r| r["softswitch"] == "ss1.example.test");
    comes_stays_and_goes(&lab, BOB);
    let log = lab.relay_log();
    for word in ["TLS 1.3", "Access-Challenge", "Accounting-Response"] {
        assert!(log.contains(word), "no {word}: {log}");
    }
    let wrong = lab.register_with_wrong_key(ALICE);
    assert!(!wrong.ok, "{}", wrong.text);
}

#[test]
fn radclient_gets_a_challenge_from_the_auc_and_nothing_for_less() {
    needs(&["radclient", "tshark"]);
    let lab = Lab::plan().start();
    let capture = lab.capture();
    let [auc, records] = lab.radius();
    let s3 = |idsp: &str, realm: &str, more: &str| {
        format!(
            "User-Name = \"{ALICE}\", NAS-Identifier = \"ss9.example.test\", Digest-Realm = \"{realm}\", \
             Digest-Method = \"REGISTER\", Digest-URI = \"sip:{realm}\", Digest-Auth-Param = \"idsp=\\\"{idsp}\\\"\", \
             Digest-Auth-Param = \"n1=\\\"0123456789abcdef\\\"\"{more}"
        )
    };
    let signed = ", Message-Authenticator = 0x00";
    let challenge = lab.radclient(auc, "auth", &s3("sp1.example.test", "example.test", signed));
    // radclient takes a challenge for no success, and says what it is.
    let text = &challenge.text;
    assert!(text.contains("Received Access-Challenge"), "{text}");
    for attribute in
        ["State = 0x", "Digest-Realm = \"example.test\"", "Digest-Nonce = \"", "Message-Authenticator = 0x"]
    {
        assert!(text.contains(attribute), "no {attribute}: {text}");
    }
    assert!(text.contains("Digest-Algorithm = \"PKD1-HMAC-SHA-256\""), "{text}");
    assert!(["authc=", "ekc=", "eksp="].iter().all(|p| text.contains(p)), "{text}");
    for (idsp, realm) in [("nobody.example.test", "example.test"), ("sp1.example.test", "other.test")] {
        let refused = lab.radclient(auc, "auth", &s3(idsp, realm, signed));
        assert!(refused.text.contains("Received Access-Reject"), "{}", refused.text);
    }
    // Nothing proves who asks: no answer at all.
    let unsigned = lab.radclient(auc, "auth", &s3("sp1.example.test", "example.test", ""));
    assert!(unsigned.text.contains("No reply"), "{}", unsigned.text);
    let s11 = |status: &str| {
        format!(
            "Acct-Status-Type = {status}, Acct-Session-Id = \"AAECAwQFBgcICQoLDA0ODw\", User-Name = \"{ALICE}\", \
             NAS-Identifier = \"ss9.example.test\", Called-Station-Id = \"sp1.example.test\", \
             Framed-IP-Address = 192.0.2.9"
        )
    };
    let mut since = None;
    for status in ["Start", "Interim-Update", "Stop"] {
        let kept = lab.radclient(records, "acct", &s11(status));
        assert!(kept.ok && kept.text.contains("Received Accounting-Response"), "{status}: {}", kept.text);
        let record = lab.record_of(ALICE).expect("a record");
        assert_eq!((&record["address"], &record["softswitch"]), (&"192.0.2.9".into(), &"ss9.example.test".into()));
        assert_eq!(record["session"], "AAECAwQFBgcICQoLDA0ODw");
        assert_eq!(record["ended_ms"].is_null(), status != "Stop", "{status}: {record}");
        assert_eq!(since.get_or_insert(record["since_ms"].clone()), &record["since_ms"]);
    }
    let seen = capture.finish();
    seen.assert_clean();
    let remarks = seen.frames("radius && _ws.expert");
    assert!(remarks.is_empty(), "tshark remarks:\n{}", remarks.join("\n"));
}
