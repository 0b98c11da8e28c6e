//! Everything else that phones say and hear: through the channel, and back the way that it came.

mod common;

use common::{ALICE, World, addr, from_alice, register, respond, status, udp, values};
use portunus_agent::Flow;

const VIA: &str = "SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bKi7;rport";

fn tcp(port: u16, conn: u32) -> Flow {
    Flow { stream: Some(conn), ..udp(port) }
}

/// What the proxy and the core put on a request for alice: their Vias, their routes, and the agent's Contact.
fn to_alice(method: &str, cseq: u32, uri: &str, to_tag: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK00.01\r\n\
         Record-Route: <sip:alice%40example.test@127.0.0.1:5080;lr>\r\nMax-Forwards: 66\r\n\
         From: <sip:bob@example.test>;tag=fb\r\nTo: <sip:alice@example.test>{to_tag}\r\nCall-ID: c2\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:bob-1@127.0.0.1:5062>\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_request_goes_up_without_credentials_and_its_answer_comes_back() {
    let mut w = World::registered();
    let more = "Proxy-Authorization: Digest username=\"alice\", nonce=\"1\", response=\"ffff\"\r\nX-Own: kept\r\n";
    assert!(w.phone(udp(5061), &from_alice("INVITE", VIA, more)).is_empty());
    let (idc, up) = w.proxy.pop().unwrap();
    assert_eq!(idc, ALICE);
    assert!(!up.contains("Authorization") && up.contains("X-Own: kept\r\n"), "{up}");
    let vias = values(&up, "Via");
    assert!(vias[0].starts_with("SIP/2.0/UDP 127.0.0.1:10000;branch=z9hG4bK"), "{up}");
    assert!(vias[1].starts_with("SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bKi7") && vias[1].contains("rport=5061"));
    assert_eq!(values(&up, "Record-Route"), ["<sip:127.0.0.1:5160;lr>"]);
    assert_eq!(values(&up, "Contact"), ["<sip:alice-0x5a@127.0.0.1:5061>"]);
    assert_eq!(values(&up, "Max-Forwards"), ["69"]);
    // Never in the clear.
    assert!(w.access.iter().all(|o| !o.windows(6).any(|part| part == b"INVITE")));

    w.phones.clear();
    w.say(0, &respond(&up, 180, "X-Far: kept\r\n"));
    w.say(0, &respond(&up, 200, "Contact: <sip:bob-1@127.0.0.1:5062>\r\n"));
    let [(flow, ringing), (_, answer)] = &w.phones[..] else { panic!("{:?}", w.phones) };
    assert_eq!((*flow, status(ringing), status(answer)), (udp(5061), 180, 200));
    assert!(ringing.contains("X-Far: kept"));
    assert_eq!(values(answer, "Via").len(), 1);
    assert_eq!(values(answer, "Record-Route"), ["<sip:127.0.0.1:5160;lr>"], "so that BYE passes here");

    // In the dialog: the Route leaves, and no other is recorded.
    let bye = from_alice(
        "BYE",
        "SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bKi9",
        "Route: <sip:127.0.0.1:5160;lr>,<sip:x@127.0.0.1:5080;lr>\r\n",
    )
    .replace("To: <sip:bob@example.test>", "To: <sip:bob@example.test>;tag=tb");
    w.phone(udp(5061), &bye);
    let (_, up) = w.proxy.pop().unwrap();
    assert_eq!((values(&up, "Route"), values(&up, "Record-Route").len()), (vec!["<sip:x@127.0.0.1:5080;lr>"], 0));
}

#[test]
fn cancel_and_the_ack_of_a_refusal_share_their_invites_branch() {
    let mut w = World::registered();
    let mut branches = Vec::new();
    for method in ["INVITE", "CANCEL", "ACK", "INVITE"] {
        w.phone(udp(5061), &from_alice(method, VIA, ""));
        branches.push(values(&w.proxy.pop().unwrap().1, "Via")[0].to_owned());
    }
    assert!(branches.iter().all(|b| *b == branches[0]), "{branches:?}");
    w.phone(udp(5061), &from_alice("INVITE", &VIA.replace("i7", "i8"), ""));
    assert_ne!(values(&w.proxy.pop().unwrap().1, "Via")[0], branches[0]);
}

#[test]
fn numbers_at_the_agents_own_address_are_of_the_domain() {
    let mut w = World::registered();
    w.phone(
        udp(5061),
        &from_alice("INVITE", VIA, "").replace("sip:bob@example.test SIP", "sip:bob@127.0.0.1:5160 SIP"),
    );
    assert!(w.proxy.pop().unwrap().1.starts_with("INVITE sip:bob@example.test SIP/2.0\r\n"));
    w.phone(udp(5061), &from_alice("OPTIONS", VIA, "").replace("sip:bob@example.test SIP", "sip:127.0.0.1:5160 SIP"));
    assert!(w.proxy.pop().unwrap().1.starts_with("OPTIONS sip:example.test SIP/2.0\r\n"));
}

#[test]
fn who_has_no_channel_is_told() {
    let mut w = World::new();
    assert_eq!(status(&w.phone(udp(5061), &from_alice("INVITE", VIA, ""))[0]), 403);
    w.reachable = false;
    w.phone(udp(5061), &register("alice", 5061, 1, 600));
    let answers = w.phone(udp(5061), &from_alice("INVITE", VIA, ""));
    assert_eq!((status(&answers[0]), values(&answers[0], "Retry-After").len()), (503, 1));
    assert!(w.phone(udp(5061), &from_alice("ACK", VIA, "")).is_empty(), "an ACK is never answered");
    assert_eq!(w.agent.counters().no_channel, 3);
}

#[test]
fn a_request_comes_down_to_the_phones_contact_and_its_answer_goes_up() {
    let mut w = World::registered();
    w.phones.clear();
    w.say(0, &to_alice("INVITE", 3, "sip:alice@127.0.0.1:10000", ""));
    let (flow, invite) = w.phones.pop().unwrap();
    assert_eq!(flow, udp(5061));
    assert!(invite.starts_with("INVITE sip:alice-0x5a@127.0.0.1:5061 SIP/2.0\r\n"), "{invite}");
    assert!(values(&invite, "Via")[0].starts_with("SIP/2.0/UDP 127.0.0.1:5160;branch=z9hG4bK"));
    assert_eq!(values(&invite, "Record-Route")[0], "<sip:127.0.0.1:5160;lr>", "the agent's is the topmost");
    w.phone(udp(5061), &respond(&invite, 200, "Contact: <sip:alice-0x5a@127.0.0.1:5061>\r\n"));
    let (idc, up) = w.proxy.pop().unwrap();
    assert_eq!((&idc[..], status(&up)), (ALICE, 200));
    assert_eq!(values(&up, "Via"), ["SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK00.01"]);
    // In the dialog it goes to what the phone wrote itself.
    w.say(
        0,
        &to_alice("BYE", 4, "sip:alice-0x5a@127.0.0.1:5061", ";tag=tb")
            .replace("Max-Forwards", "Route: <sip:127.0.0.1:5160;lr>\r\nMax-Forwards"),
    );
    let (_, bye) = w.phones.pop().unwrap();
    assert!(
        bye.starts_with("BYE sip:alice-0x5a@127.0.0.1:5061 SIP/2.0\r\n") && values(&bye, "Route").is_empty(),
        "{bye}"
    );
}

#[test]
fn answers_that_answer_nothing_are_dropped() {
    let mut w = World::registered();
    w.say(0, &to_alice("INVITE", 3, "sip:alice@127.0.0.1:10000", ""));
    let invite = w.phones.pop().unwrap().1;
    let good = respond(&invite, 200, "");
    let via = values(&good, "Via")[0].to_owned();
    let (handle, mark) = via.split_at(via.len() - 16);
    let forged = format!("{handle}{:016x}", u64::from_str_radix(mark, 16).unwrap() ^ 1);
    let bobs = via.replace("z9hG4bKd0000000000", "z9hG4bKd0000000001");
    assert_ne!(bobs, via);
    for bad in [
        good.replace(&via, &forged),
        good.replace(&via, &bobs),
        good.replace("CSeq: 3", "CSeq: 4"),
        good.replace(&format!("Via: {via}\r\n"), ""),
    ] {
        w.phone(udp(5061), &bad);
    }
    let far = Flow { peer: "192.0.2.7:5061".parse().unwrap(), ..udp(5061) };
    w.phone(far, &good);
    assert_eq!((w.proxy.len(), w.agent.counters().stray_from_phones), (0, 5), "{:?}", w.proxy);
    w.phone(udp(5061), &good);
    assert_eq!(w.proxy.len(), 1);

    // The other way: what alice's phone was not sent comes out of nobody's channel.
    w.phone(udp(5062), &register("bob", 5062, 1, 600));
    w.phone(udp(5061), &from_alice("INVITE", VIA, ""));
    let (_, up) = w.proxy.pop().unwrap();
    w.phones.clear();
    w.say(1, &respond(&up, 200, ""));
    w.say(0, &respond(&up, 200, "").replace("CSeq: 7", "CSeq: 8"));
    w.say(0, "no SIP at all");
    assert!(w.phones.is_empty(), "{:?}", w.phones);
    w.say(0, &respond(&up, 200, ""));
    assert_eq!(w.phones.len(), 1);
}

#[test]
fn a_phone_that_is_not_there_is_480() {
    let mut w = World::new();
    w.agent.open_all(w.now, &mut w.rng);
    w.settle();
    w.say(0, &to_alice("INVITE", 3, "sip:alice@127.0.0.1:10000", ""));
    let (idc, up) = w.proxy.pop().unwrap();
    assert_eq!((&idc[..], status(&up), values(&up, "Via").len()), (ALICE, 480, 1));
    w.say(0, &to_alice("ACK", 3, "sip:alice@127.0.0.1:10000", ""));
    assert!(w.proxy.is_empty());
}

#[test]
fn what_came_by_a_stream_is_repeated_in_the_channel_until_it_is_answered() {
    let mut w = World::new();
    let flow = tcp(40_000, 7);
    w.phone(flow, &register("alice", 5061, 1, 600).replace("/UDP", "/TCP"));
    assert_eq!((w.phones[0].0, status(&w.phones[0].1)), (flow, 200));
    let via = "SIP/2.0/TCP 127.0.0.1:5061;branch=z9hG4bKt;rport";
    w.phone(flow, &from_alice("OPTIONS", via, ""));
    w.pass(1_600);
    assert_eq!(w.proxy.len(), 3, "at 0, 0.5 and 1.5 s");
    assert!(w.proxy.iter().all(|p| p.1 == w.proxy[0].1));
    let up = w.proxy.pop().unwrap().1;
    w.say(0, &respond(&up, 200, ""));
    assert_eq!((w.phones.last().unwrap().0, w.agent.counters().repeated), (flow, 2));
    w.pass(10_000);
    assert_eq!(w.agent.counters().repeated, 2);
    // What a datagram brought, its sender repeats.
    w.phone(udp(5061), &from_alice("OPTIONS", VIA, ""));
    w.pass(10_000);
    assert_eq!(w.agent.counters().repeated, 2);
}

#[test]
fn a_connection_that_is_gone_is_480_and_the_end_of_its_registration() {
    let mut w = World::new();
    let flow = tcp(40_000, 7);
    w.phone(flow, &register("alice", 5061, 1, 600).replace("/UDP", "/TCP"));
    w.say(0, &to_alice("INVITE", 3, "sip:alice@127.0.0.1:10000", ""));
    let (to, invite) = w.phones.pop().unwrap();
    assert_eq!(to, flow);
    assert!(values(&invite, "Via")[0].starts_with("SIP/2.0/TCP 127.0.0.1:5160"), "{invite}");
    assert_eq!(values(&invite, "Record-Route")[0], "<sip:127.0.0.1:5160;transport=tcp;lr>");
    w.agent.on_undelivered(w.now, &mut w.rng, flow, invite.as_bytes());
    w.settle();
    assert_eq!(status(&w.proxy.pop().unwrap().1), 480);
    assert_eq!((w.refreshed, w.agent.active().1), (1, 0), "callers are told at once from now on");
}

#[test]
fn a_phone_that_sends_from_another_port_than_it_listens_at_is_reached() {
    let mut w = World::new();
    w.phone(udp(7_777), &register("alice", 5061, 1, 600));
    w.say(0, &to_alice("OPTIONS", 3, "sip:alice@127.0.0.1:10000", ""));
    assert_eq!(w.phones.pop().unwrap().0, udp(5061));
    // One whose Contact names another host is where it sent from.
    let elsewhere = register("alice", 5061, 2, 600).replace("0x5a@127.0.0.1:5061", "0x5a@10.9.8.7:5061");
    w.phone(udp(7_777), &elsewhere);
    w.say(0, &to_alice("OPTIONS", 4, "sip:alice@127.0.0.1:10000", ""));
    let (flow, options) = w.phones.pop().unwrap();
    assert_eq!(flow.peer, addr(7_777));
    assert!(options.starts_with("OPTIONS sip:alice-0x5a@10.9.8.7:5061 SIP/2.0"));
}
