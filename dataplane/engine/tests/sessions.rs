//! Protected traffic and the life of sessions.
mod common;

use common::*;
use portunus_engine::{Command, EndReason, Meta, Policy, To};
use portunus_keydist::mech::Mech;
use portunus_sip::carriage::terminal::{Plain, Txn, write_register, write_request};
use portunus_sip::view::Message;

/// The same under every mechanism for datagrams.
fn each(test: impl Fn(World)) {
    for mech in [Mech::Sealed, Mech::Esp] {
        test(World::under(mech));
    }
}

fn options(phone: &mut Phone, from: &str) -> Vec<u8> {
    let contact = phone.contact();
    let from = portunus_keydist::Idc::new(from).unwrap();
    phone.write(|agent, txn, w| {
        let plain = Plain {
            method: "INVITE",
            uri: "sip:bob@example.test",
            from,
            from_tag: "f",
            to_uri: "sip:bob@example.test",
            to_tag: None,
            call_id: "c1",
            txn: Txn { cseq: txn.cseq, branch: txn.branch },
            local: agent.local,
            transport: agent.transport,
            contact: Some(&contact),
            route: None,
            body: None,
        };
        write_request(&plain, w)
    })
}

#[test]
fn a_request_goes_up_opened_and_its_answer_down_sealed() {
    each(|mut world| {
        let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
        let request = options(&mut phone, "alice@example.test");
        let sealed = phone.seal(1, &request);
        let up = world.access(world.sealed(&phone), &sealed);
        assert_eq!(up.len(), 1);
        assert!(matches!(up[0].0, To::Core { .. }));
        let msg = Message::parse(&up[0].1).unwrap();
        assert_eq!(msg.vias().count(), 2, "the proxy stands in the way");
        let text = String::from_utf8(up[0].1.clone()).unwrap();
        let vias: String = text.lines().filter(|l| l.starts_with("Via")).map(|l| format!("{l}\r\n")).collect();
        let header = |name: &str| text.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
        let answer = format!(
            "SIP/2.0 200 OK\r\n{vias}{}\r\n{};tag=b\r\n{}\r\n{}\r\nContent-Length: 0\r\n\r\n",
            header("From"),
            header("To"),
            header("Call-ID"),
            header("CSeq")
        );
        let down = world.core_says(answer.as_bytes());
        assert_eq!(down.len(), 1);
        let (protocol, content) = phone.open(&down[0].1).expect("sealed for the terminal");
        assert_eq!((protocol, status(&content), Message::parse(&content).unwrap().vias().count()), (1, 200, 1));
        assert_eq!((world.count().sealed_up, world.count().sealed_down), (1, 1));
    });
}

#[test]
fn a_foreign_name_inside_a_session_is_refused_there() {
    each(|mut world| {
        let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
        let request = options(&mut phone, "bob@example.test");
        let sealed = phone.seal(1, &request);
        let back = world.access(world.sealed(&phone), &sealed);
        assert_eq!(back.len(), 1);
        assert_eq!(status(&phone.open(&back[0].1).expect("sealed").1), 403);
        assert_eq!(world.count().relay_refused, 1);
    });
}

#[test]
fn replayed_reordered_and_forged_datagrams() {
    each(|mut world| {
        let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
        let at = world.sealed(&phone);
        let (first, second) = (phone.seal(0, b""), phone.seal(0, b""));
        assert_eq!(world.access(at, &second).len(), 1);
        assert_eq!(world.access(at, &first).len(), 1, "late, and still in the window");
        assert!(world.access(at, &first).is_empty() && world.access(at, &second).is_empty());
        assert_eq!(world.count().sealed_replayed, 2);
        let third = phone.seal(0, b"");
        for octet in 0..third.len() {
            for bit in 0..8 {
                let mut forged = third.clone();
                forged[octet] ^= 1 << bit;
                assert!(world.access(at, &forged).is_empty(), "octet {octet} bit {bit}");
            }
        }
        for len in 0..third.len() {
            assert!(world.access(at, &third[..len]).is_empty());
        }
        assert_eq!(world.access(at, &third).len(), 1, "none of the copies used its number up");
        let mut far = phone.seal(0, b"");
        assert_eq!(world.access(at, &far).len(), 1);
        phone.session.as_mut().unwrap().seq += 1024;
        assert_eq!(world.access(at, &phone.seal(0, b"")).len(), 1);
        phone.session.as_mut().unwrap().seq = 5;
        far = phone.seal(0, b"");
        assert!(world.access(at, &far).is_empty(), "older than the window");
        // What the proxy sent does not come back to it.
        let sent = world.access(at, &{
            phone.session.as_mut().unwrap().seq = 5000;
            phone.seal(0, b"")
        });
        assert!(world.access(at, &sent[0].1).is_empty());
    });
}

#[test]
fn a_batch_is_taken_in_its_order_whatever_stands_in_it() {
    each(|mut world| {
        let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
        let mut second = world.phone("alice@example.test", "192.0.2.99:5060");
        second.rng = Seeded(77);
        world.register(&mut second);
        let (ping, late) = (phone.seal(0, b""), phone.seal(0, b""));
        let mut forged = phone.seal(0, b"");
        *forged.last_mut().unwrap() ^= 1;
        let confirms = second.seal(0, b"");
        let batch = [(&phone, &ping), (&phone, &forged), (&phone, &ping), (&second, &confirms), (&phone, &late)];
        // More than are opened at once, and a keep-alive of the access side among them.
        let mut all: Vec<_> = batch.iter().map(|(phone, octets)| (world.sealed(phone), octets.to_vec())).collect();
        all.push((phone.meta(), b"\r\n\r\n".to_vec()));
        all.extend((0..9).map(|_| (world.sealed(&second), second.seal(0, b""))));
        let back = world.access_all(all);
        let count = world.count();
        assert_eq!((count.sealed_forged, count.sealed_replayed, count.sealed_unknown_kid), (1, 1, 1));
        assert_eq!(
            (count.sessions_active, count.sessions_replaced),
            (1, 1),
            "confirmed before the older one's was taken"
        );
        assert!(phone.open(&back[0].1).is_some() && second.open(&back[1].1).is_some());
        assert_eq!(back[2].1, b"\r\n");
        assert!(back[3..].iter().all(|(_, octets)| second.open(octets).is_some()));
        assert_eq!(back.len(), 3 + 9);
    });
}

#[test]
fn the_newest_verified_source_is_followed() {
    each(|mut world| {
        let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
        let old = phone.seal(0, b"");
        let moved = Meta { source: "198.51.100.7:777".parse().unwrap(), ..world.sealed(&phone) };
        let newer = phone.seal(0, b"");
        let back = world.access(moved, &newer);
        let there = To::Access { listener: moved.listener, conn: 0, addr: moved.source };
        assert_eq!(back[0].0, there);
        // A delayed copy from the old place is taken, but does not drag the session back.
        let back = world.access(world.sealed(&phone), &old);
        assert_eq!(back[0].0, there);
        assert_eq!(world.count().sealed_moved, 1);
    });
}

#[test]
fn an_unconfirmed_session_dies_and_the_previous_lives_on() {
    each(|mut world| {
        let mut first = world.active("alice@example.test", "192.0.2.7:5060");
        let mut second = world.phone("alice@example.test", "192.0.2.99:5060");
        second.rng = Seeded(77);
        world.register(&mut second);
        assert_eq!((world.count().sessions_active, world.count().sessions_provisional), (1, 1));
        let ping = first.seal(0, b"");
        assert_eq!(world.access(world.sealed(&first), &ping).len(), 1, "nothing has changed for it");
        // A request of the core goes to the confirmed one.
        world.pass(30_100);
        assert_eq!((world.count().sessions_provisional, world.count().sessions_unconfirmed), (0, 1));
        let late = second.seal(0, b"");
        assert!(world.access(world.sealed(&second), &late).is_empty());
        let ping = first.seal(0, b"");
        assert_eq!(world.access(world.sealed(&first), &ping).len(), 1);
        assert_eq!(world.sink.events.len(), 1);
    });
}

#[test]
fn a_confirmed_newer_session_ends_the_older() {
    let mut world = World::new();
    let mut first = world.active("alice@example.test", "192.0.2.7:5060");
    let mut second = world.phone("alice@example.test", "192.0.2.99:5060");
    second.rng = Seeded(77);
    world.register(&mut second);
    world.confirm(&mut second);
    let kid = first.session.as_ref().unwrap().kid;
    assert_eq!(world.sink.events[1], Heard::Ended { idc: first.idc.clone(), kid, why: EndReason::Replaced });
    assert!(matches!(&world.sink.events[2], Heard::Active { kid: newer, .. } if *newer != kid));
    let ping = first.seal(0, b"");
    assert!(world.access(world.sealed(&first), &ping).is_empty());
    let count = world.count();
    assert_eq!((count.sessions_active, count.sessions_replaced, count.sealed_unknown_kid), (1, 1, 1));
}

#[test]
fn a_second_provisional_session_takes_the_place_of_the_first() {
    each(|mut world| {
        let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
        world.register(&mut phone);
        world.register(&mut phone);
        let count = world.count();
        assert_eq!((count.sessions_provisional, count.sessions_superseded), (1, 1));
        world.confirm(&mut phone);
        world.pass(40_000);
        assert_eq!(world.count().sessions_active, 1);
    });
}

#[test]
fn requests_for_a_terminal_reach_its_active_session_only() {
    each(|mut world| {
        let mut phone = world.phone("bob@example.test", "192.0.2.7:5060");
        world.register(&mut phone);
        let request = "OPTIONS sip:bob%40example.test@10.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKabc\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:bob@example.test>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
        let back = world.core_says(request.as_bytes());
        assert!(matches!(back[0].0, To::Core { .. }));
        assert_eq!((status(&back[0].1), world.count().core_unreachable), (480, 1));
        world.confirm(&mut phone);
        let down = world.core_says(request.as_bytes());
        let (_, content) = phone.open(&down[0].1).expect("sealed");
        let msg = Message::parse(&content).unwrap();
        assert_eq!(msg.uri(), phone.contact().as_bytes(), "the terminal's own Contact");
        assert_eq!(msg.vias().count(), 2);
    });
}

#[test]
fn a_deregistration_ends_the_session_after_its_last_reply() {
    each(|mut world| {
        let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
        let request = phone.write(|a, t, w| write_register(a, t, 0, w));
        let sealed = phone.seal(1, &request);
        let up = world.access(world.sealed(&phone), &sealed).remove(0).1;
        assert_eq!(world.count().sessions_active, 1, "not before the reply");
        let answer = world.core.answer(&up);
        let down = world.core_says(&answer);
        assert_eq!(status(&phone.open(&down[0].1).expect("sealed").1), 200);
        let count = world.count();
        assert_eq!((count.sessions_active, count.sessions_deregistered), (0, 1));
        assert!(matches!(world.sink.events.last(), Some(Heard::Ended { why: EndReason::Deregistered, .. })));
        let ping = phone.seal(0, b"");
        assert!(world.access(world.sealed(&phone), &ping).is_empty());
    });
}

#[test]
fn a_refresh_may_move_the_contact() {
    each(|mut world| {
        let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
        phone.addr.set_port(7777);
        let request = phone.write(|a, t, w| write_register(a, t, 600, w));
        let sealed = phone.seal(1, &request);
        let up = world.access(world.sealed(&phone), &sealed).remove(0).1;
        assert!(String::from_utf8_lossy(&up).contains("integrity-protected=\"yes\""));
        let answer = world.core.answer(&up);
        let down = world.core_says(&answer);
        let (_, content) = phone.open(&down[0].1).expect("sealed");
        assert!(String::from_utf8_lossy(&content).contains(&phone.contact()), "its own Contact comes back");
        assert_eq!(world.count().sessions_active, 1);
    });
}

#[test]
fn lives_end_and_the_control_side_may_end_them() {
    let mut world = World::with(Policy { life_s: 60, ..Policy::default() }, capacity());
    let phone = world.active("alice@example.test", "192.0.2.7:5060");
    let other = world.active("bob@example.test", "192.0.2.8:5060");
    let kid = other.session.as_ref().unwrap().kid;
    let idc = arrayvec::ArrayString::from(&other.idc).unwrap();
    world.command(Command::EndSession { idc, kid: Some(kid ^ 1 << 40) });
    assert_eq!(world.count().sessions_active, 2, "another session was meant");
    world.command(Command::EndSession { idc, kid: Some(kid) });
    assert_eq!((world.count().sessions_active, world.count().sessions_commanded), (1, 1));
    world.pass(59_000);
    assert_eq!(world.count().sessions_active, 1);
    world.pass(2_000);
    assert_eq!((world.count().sessions_active, world.count().sessions_expired), (0, 1));
    assert_eq!(world.sink.events.iter().filter(|e| matches!(e, Heard::Ended { .. })).count(), 2);
    drop(phone);
}

#[test]
fn nothing_unprotected_is_relayed_and_nothing_sealed_taken_elsewhere() {
    let mut world = World::new();
    let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
    let request = options(&mut phone, "alice@example.test");
    let back = world.access(phone.meta(), &request);
    assert_eq!((status(&back[0].1), back.len()), (403, 1));
    let ping = phone.seal(0, b"");
    assert!(world.access(phone.meta(), &ping).is_empty(), "not on the plain port");
    assert!(world.access(Meta { listener: 9, ..phone.meta() }, &ping).is_empty());
    let wrong = phone.seal(2, b"x");
    assert!(world.access(world.sealed(&phone), &wrong).is_empty(), "another protocol than it registered with");
    let count = world.count();
    assert_eq!((count.unprotected_refused, count.wrong_listener, count.sealed_bad_header), (1, 1, 1));
}

/// A request of the core's for a terminal, by the name that the proxy gave it.
fn core_request(idc: &str, max_forwards: u32) -> Vec<u8> {
    let token = idc.replace('@', "%40");
    format!(
        "OPTIONS sip:{token}@10.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKabc\r\n\
         Max-Forwards: {max_forwards}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:{idc}>\r\nCall-ID: x\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Where a request of the core's goes: the Request-URI that the terminal sees.
fn called(world: &mut World, phone: &Phone) -> String {
    let down = world.core_says(&core_request(&phone.idc, 70));
    let (_, content) = phone.open(&down[0].1).expect("sealed");
    String::from_utf8(Message::parse(&content).unwrap().uri().to_vec()).unwrap()
}

#[test]
fn a_moved_contact_counts_once_the_core_granted_it() {
    let mut world = World::new();
    let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
    let (at, before) = (world.sealed(&phone), phone.contact());
    phone.addr.set_port(7777);
    for granted in [false, true] {
        let request = phone.write(|a, t, w| write_register(a, t, 600, w));
        let sealed = phone.seal(1, &request);
        let up = world.access(at, &sealed).remove(0).1;
        assert_eq!(called(&mut world, &phone), before, "only asked for so far");
        let answer = world.core.answer(&up);
        let answer = match granted {
            true => answer,
            false => String::from_utf8(answer).unwrap().replace("200 OK", "500 Not Now").into_bytes(),
        };
        assert_eq!(world.core_says(&answer).len(), 1);
        let now_at = if granted { phone.contact() } else { before.clone() };
        assert_eq!(called(&mut world, &phone), now_at);
    }
    assert_eq!(world.count().binding_lost, 0);
}

#[test]
fn taking_one_of_two_contacts_back_leaves_the_session_and_the_other() {
    let mut world = World::new();
    let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
    let at = world.sealed(&phone);
    let own = phone.contact();
    let register = |phone: &mut Phone, contacts: &str| {
        let request = phone.write(|a, t, w| write_register(a, t, 600, w));
        let request = String::from_utf8(request).unwrap();
        let line = request.lines().find(|l| l.starts_with("Contact:")).unwrap();
        request.replace(line, &format!("Contact: {contacts}")).into_bytes()
    };
    let both = format!("<{own}>;q=0.5, <sip:other@192.0.2.8:5060>;q=0.9");
    let first = register(&mut phone, &both);
    let second = register(&mut phone, "<sip:other@192.0.2.8:5060>;expires=0");
    let third = register(&mut phone, &format!("<{own}>;expires=0"));
    let say = |world: &mut World, phone: &mut Phone, request: &[u8]| {
        let sealed = phone.seal(1, request);
        let up = world.access(at, &sealed).remove(0).1;
        // The registrar keeps one binding of the proxy's; a query is answered with it.
        let asked = Message::parse(&up).unwrap().has(portunus_sip::view::Name::Contact);
        let mut answer = String::from_utf8(world.core.answer(&up)).unwrap();
        if !asked {
            let line = "Contact: <sip:alice%40example.test@10.0.0.1:5070>;expires=3000\r\nCSeq:";
            let old = answer.lines().find(|l| l.starts_with("Contact:")).map(str::to_owned);
            answer = match old {
                Some(old) => answer.replace(&format!("{old}\r\n"), "").replace("CSeq:", line),
                None => answer.replace("CSeq:", line),
            };
        }
        let down = world.core_says(answer.as_bytes());
        (asked, String::from_utf8(phone.open(&down[0].1).expect("sealed").1).unwrap())
    };
    let (asked, granted) = say(&mut world, &mut phone, &first);
    assert!(asked && granted.contains(&own) && granted.contains("sip:other@"), "{granted}");
    assert_eq!(called(&mut world, &phone), "sip:other@192.0.2.8:5060", "the higher priority");
    let (asked, granted) = say(&mut world, &mut phone, &second);
    assert!(!asked, "at the core nothing is taken back");
    assert!(granted.contains(&format!("<{own}>;expires=3000")) && !granted.contains("sip:other@"), "{granted}");
    assert_eq!((world.count().sessions_active, called(&mut world, &phone)), (1, own));
    let (asked, _) = say(&mut world, &mut phone, &third);
    assert!(asked);
    assert_eq!((world.count().sessions_active, world.count().sessions_deregistered), (0, 1), "none is left");
}

#[test]
fn the_core_is_told_when_hops_run_out() {
    let mut world = World::new();
    let phone = world.active("alice@example.test", "192.0.2.7:5060");
    let back = world.core_says(&core_request(&phone.idc, 0));
    assert_eq!(back.len(), 1);
    assert!(matches!(back[0].0, To::Core { .. }));
    let text = String::from_utf8_lossy(&back[0].1);
    assert_eq!(status(&back[0].1), 483, "{text}");
    assert!(text.contains("\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKabc\r\n"), "as it came: {text}");
    let ack = String::from_utf8(core_request(&phone.idc, 0)).unwrap().replace("OPTIONS", "ACK");
    assert!(world.core_says(ack.as_bytes()).is_empty());
}
