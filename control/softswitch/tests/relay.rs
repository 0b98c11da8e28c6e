//! The stateless proxy between registered terminals.

mod common;

use common::{Bench, OWN, SP1, SP2, config, header, peer};

fn request(method: &str, uri: &str, branch: &str, more: &str) -> String {
    let cseq = if method == "ACK" || method == "CANCEL" { 1 } else { if method == "INVITE" { 1 } else { 2 } };
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}\r\n\
         Via: SIP/2.0/UDP 10.0.0.9:5062;branch=z9hG4bKa;received=198.51.100.7;rport=40000\r\n\
         Max-Forwards: 69\r\n\
         From: <sip:alice@example.test>;tag=a\r\n\
         To: <sip:bob@example.test>\r\n\
         Call-ID: call-1\r\n\
         CSeq: {cseq} {method}\r\n\
         Contact: <sip:alice@10.0.0.9:5062>\r\n\
         {more}Content-Length: 0\r\n\r\n"
    )
}

fn two() -> Bench {
    let mut b = Bench::new(config());
    b.registered(1, "alice", 1);
    b.registered(2, "bob", 2);
    b
}

#[test]
fn a_call_finds_its_way_and_its_way_back() {
    let mut b = two();
    let record = "Record-Route: <sip:alice%40example.test@192.0.2.1:5060;lr>\r\n";
    let invite = request("INVITE", "sip:bob@example.test", "z9hG4bKone", record);
    b.sip(peer(SP1), &invite);
    let (to, on) = b.one();
    assert_eq!(to, peer(SP2));
    assert!(on.starts_with("INVITE sip:bob%40example.test@192.0.2.2:5060 SIP/2.0\r\n"), "{on}");
    assert_eq!(header(&on, "Route"), ["<sip:bob%40example.test@192.0.2.2:5060;lr>"]);
    assert_eq!(header(&on, "Max-Forwards"), ["68"]);
    let records = header(&on, "Record-Route").join(", ");
    assert!(records.starts_with(&format!("<sip:{OWN};lr>")), "{records}");
    assert!(records.contains("alice%40example.test@192.0.2.1"));
    let vias: Vec<String> = header(&on, "Via").iter().map(|v| (*v).to_owned()).collect();
    assert!(vias[0].starts_with(&format!("SIP/2.0/UDP {OWN};branch=z9hG4bK")), "{vias:?}");
    assert_eq!(vias.join(", ").matches("SIP/2.0/UDP").count(), 3);

    // A retransmission takes the same way, octet by octet.
    b.sip(peer(SP1), &invite);
    assert_eq!(b.one().1, on);
    // So do CANCEL and the ACK of a failure: same branch, same target.
    for method in ["CANCEL", "ACK"] {
        let mut other = request(method, "sip:bob@example.test", "z9hG4bKone", "");
        if method == "ACK" {
            other = other.replace("To: <sip:bob@example.test>", "To: <sip:bob@example.test>;tag=b");
        }
        b.sip(peer(SP1), &other);
        let (to, on) = b.one();
        assert_eq!((to, header(&on, "Via")[0]), (peer(SP2), &*vias[0]), "{on}");
    }

    let vias_of_answer = vias.iter().map(|v| format!("Via: {v}\r\n")).collect::<String>();
    let answer = |vias: &str| {
        format!(
            "SIP/2.0 200 OK\r\n{vias}From: <sip:alice@example.test>;tag=a\r\nTo: <sip:bob@example.test>;tag=b\r\n\
             Call-ID: call-1\r\nCSeq: 1 INVITE\r\nContact: <sip:bob@10.0.0.8>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    b.sip(peer(SP2), &answer(&vias_of_answer));
    let (to, back) = b.one();
    assert_eq!(to, peer(SP1));
    assert!(header(&back, "Via")[0].contains("z9hG4bKone") && !back.contains(OWN), "{back}");

    // A response that is not for us, or leads nowhere we know, goes nowhere.
    b.sip(peer(SP2), &answer("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone\r\n"));
    let elsewhere = format!("Via: {}\r\nVia: SIP/2.0/UDP 203.0.113.7:5060;branch=z9hG4bKx\r\n", vias[0]);
    b.sip(peer(SP2), &answer(&elsewhere));
    b.silence();
    assert_eq!(b.ss.counters().stray_response, 2);
}

#[test]
fn requests_in_a_dialog_follow_their_routes_and_only_to_neighbours() {
    let mut b = two();
    let routes = |last: &str| format!("Route: <sip:{OWN};lr>, <{last}>\r\n");
    let bye = request("BYE", "sip:bob@10.0.0.8", "z9hG4bKbye", &routes("sip:bob%40example.test@192.0.2.2:5060;lr"));
    b.sip(peer(SP1), &bye);
    let (to, on) = b.one();
    assert_eq!(to, peer(SP2));
    assert!(on.starts_with("BYE sip:bob@10.0.0.8 SIP/2.0\r\n"));
    assert_eq!(header(&on, "Route"), ["<sip:bob%40example.test@192.0.2.2:5060;lr>"]);
    assert!(header(&on, "Record-Route").is_empty());
    for away in [
        "sip:203.0.113.7;lr",
        "sip:192.0.2.2:22;lr",
        "sip:192.0.2.2;transport=tcp;lr",
        "sips:192.0.2.2;lr",
        "sip:evil.test;lr",
    ] {
        let bye = request("BYE", "sip:bob@10.0.0.8", "z9hG4bKbye", &routes(away));
        b.sip(peer(SP1), &bye);
        assert!(b.one().1.starts_with("SIP/2.0 404 No Route"), "{away}");
    }
    let away = request("MESSAGE", "sip:x@203.0.113.7", "z9hG4bKm", "");
    b.sip(peer(SP1), &away);
    assert!(b.one().1.starts_with("SIP/2.0 404 "));
}

#[test]
fn who_is_not_there_and_who_was() {
    let mut b = two();
    let to = |uri: &str| request("MESSAGE", uri, "z9hG4bKm", "");
    b.sip(peer(SP1), &to("sip:carol@example.test"));
    assert!(b.one().1.starts_with("SIP/2.0 404 Not Found"));
    b.sip(peer(SP1), &to("sip:Bob@example.test"));
    assert!(b.one().1.starts_with("SIP/2.0 404 "), "identities are compared octet by octet");
    b.sip(peer(SP1), &to("sip:%62ob@example.test"));
    assert_eq!(b.one().0, peer(SP2));
    b.sip(peer(SP1), &to("tel:+15550100"));
    assert!(b.one().1.starts_with("SIP/2.0 416 "));
    b.pass(600_000);
    b.records();
    b.sip(peer(SP1), &to("sip:bob@example.test"));
    let (back, answer) = b.one();
    assert!(back == peer(SP1) && answer.starts_with("SIP/2.0 480 "), "{answer}");
    assert!(header(&answer, "To")[0].contains(";tag="));
    b.sip(peer(SP1), &request("ACK", "sip:bob@example.test", "z9hG4bKm", ""));
    b.silence();
}

#[test]
fn hops_and_loops_end() {
    let mut b = two();
    let none = request("INVITE", "sip:bob@example.test", "z9hG4bKh", "").replace("Max-Forwards: 69", "Max-Forwards: 0");
    b.sip(peer(SP1), &none);
    assert!(b.one().1.starts_with("SIP/2.0 483 "));
    let invite = request("INVITE", "sip:bob@example.test", "z9hG4bKl", "");
    b.sip(peer(SP1), &invite);
    let (_, on) = b.one();
    // Somebody sends it back as it left, but for the Request-URI: the same request, for the second time.
    let ours = header(&on, "Via")[0].to_owned();
    let back =
        invite.replacen("Via:", &format!("Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKz\r\nVia: {ours}\r\nVia:"), 1);
    b.sip(peer(SP2), &back);
    assert!(b.one().1.starts_with("SIP/2.0 482 "));
    // With another target it is a spiral, and goes on.
    let spiral = back.replace("INVITE sip:bob@", "INVITE sip:alice@");
    b.sip(peer(SP2), &spiral);
    assert_eq!(b.one().0, peer(SP1));
    assert_eq!(b.ss.counters().looped, 2);
    let picky = request("INVITE", "sip:bob@example.test", "z9hG4bKp", "Proxy-Require: x-foo\r\n");
    b.sip(peer(SP1), &picky);
    assert_eq!(header(&b.one().1, "Unsupported"), ["x-foo"]);
}

#[test]
fn a_health_check_is_answered_and_noise_is_not() {
    let mut b = two();
    b.sip(peer(SP1), &request("OPTIONS", &format!("sip:{OWN}"), "z9hG4bKo", ""));
    let (_, answer) = b.one();
    assert!(answer.starts_with("SIP/2.0 200 ") && header(&answer, "Allow")[0].contains("REGISTER"));
    b.sip(peer(SP1), &request("OPTIONS", "sip:example.test", "z9hG4bKo", ""));
    assert!(b.one().1.starts_with("SIP/2.0 200 "));
    b.sip(peer(SP1), &request("MESSAGE", "sip:example.test", "z9hG4bKo", ""));
    assert!(b.one().1.starts_with("SIP/2.0 404 "));
    for noise in ["\r\n\r\n", "", "GET / HTTP/1.1\r\n\r\n", "\u{0}\u{1}", "REGISTER"] {
        b.sip(peer(SP1), noise);
    }
    let long = format!("{}{}", request("OPTIONS", "sip:example.test", "z9hG4bKo", ""), "x".repeat(9000));
    b.sip(peer(SP1), &long);
    b.silence();
}
