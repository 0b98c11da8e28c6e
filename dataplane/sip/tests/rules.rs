//! Rules of the specification's section 2 that an attacker would try first: answers that nobody asked for, credentials
//! that one reader takes and another does not, Contacts that were never asked.
mod common;

use common::*;
use portunus_keydist::steps::S8;
use portunus_signalling::{FaultKind, FromTerminal, Hop, Marks, Signalling, Text, Ticket, Up};
use portunus_sip::Sip;
use portunus_sip::carriage::terminal;
use portunus_sip::view::Message;

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

fn find<'s>(sent: &'s [Sent], name: &str, to: std::net::SocketAddr) -> &'s [u8] {
    &sent.iter().find(|s| s.name == name && s.to == to).unwrap().octets
}

#[test]
fn a_response_goes_up_only_to_what_was_sent_down() {
    for w in [World::v4(), World::v6()] {
        let sent = call(&w);
        let up = |hop: &Hop<'_>, octets: &[u8]| {
            let mut buf = [0u8; 8192];
            let mut out = portunus_codec::Writer::new(&mut buf);
            Sip.relay_up(hop, &w.session(), octets, &mut out)
        };
        let ok = find(&sent, "200", w.access);
        assert_eq!(up(&w.hop(), ok), Ok(Up::Forward));
        // A newer session of the same terminal still answers what the older one was asked.
        assert_eq!(up(&Hop { ticket: Ticket(0x0300_0000_0000_0777), ..w.hop() }, ok), Ok(Up::Forward));
        // Another terminal's key does not fit; nor does another handle, transaction or next hop.
        assert!(up(&Hop { salt: 5, ..w.hop() }, ok).is_err());
        let branch = text(ok).split("z9hG4bK").nth(1).unwrap().split(['\r', ';', '\n']).next().unwrap().to_owned();
        let (ticket, salt) = branch.split_once('.').unwrap();
        let other_ticket = format!("{}f", &ticket[..15]);
        let forged = [
            text(ok).replacen(ticket, &other_ticket, 1),
            text(ok).replacen(salt, "0000000000000000", 1),
            text(ok).replace("987asjd97y7atg", "another-call"),
            text(ok).replace("CSeq: 986759", "CSeq: 1"),
            text(ok).replace("z9hG4bKss.1", "z9hG4bKss.2"),
        ];
        for octets in forged {
            assert_ne!(octets.as_bytes(), ok);
            assert!(up(&w.hop(), octets.as_bytes()).is_err(), "{octets}");
        }
    }
}

#[test]
fn a_response_comes_down_only_to_what_was_sent_up() {
    let w = World::v4();
    let down = |octets: &[u8]| {
        let mut buf = [0u8; 8192];
        let mut out = portunus_codec::Writer::new(&mut buf);
        Sip.relay_down(&w.hop(), &w.session(), octets, &mut out)
    };
    for (octets, name) in
        [(find(&call(&w), "200", w.core), "call"), (find(&refreshes(&w), "refresh", w.core), "refresh")]
    {
        assert_eq!(down(octets), Ok(()), "{name}");
        let branch = Message::parse(octets).unwrap();
        let branch = text(branch.via().branch().unwrap()).to_owned();
        let (ticket, salt) = branch.strip_prefix("z9hG4bK").unwrap().split_once('.').unwrap();
        // The handle of a session as that of its de-registration, the same salt: what a callee who saw one might send.
        let ends = format!("03300000{}", &ticket[8..]);
        for octets in [text(octets).replace(ticket, &ends), text(octets).replace(salt, "0123456789abcde0")] {
            assert!(down(octets.as_bytes()).is_err(), "{name}: {octets}");
        }
    }
}

#[test]
fn a_relayed_branch_gives_nothing_of_its_key_away() {
    let w = World::v4();
    let salt = format!("{:016x}", w.hop().salt);
    for sent in call(&w).into_iter().chain(refreshes(&w)) {
        assert!(!text(&sent.octets).contains(&salt), "{}", sent.name);
    }
    let bob = portunus_keydist::Idc::new("bob@example.test").unwrap();
    let bob = portunus_signalling::SessionRef { idc: bob, ..w.session() };
    let invite = &call(&w)[0].octets;
    let refused = write(|o| Sip.relay_up(&w.hop(), &bob, invite, o).map(|_| ()));
    assert!(refused.starts_with(b"SIP/2.0 403 ") && !text(&refused).contains(&salt));
}

#[test]
fn credentials_that_cannot_be_read_are_not_passed_on() {
    // One reader refuses what another takes: `integrity-protected` must not slip by in between.
    let w = World::v4();
    let (s1, invite) = (ladder(&w)[0].octets.clone(), call(&w)[0].octets.clone());
    for header in ["Proxy-Authorization", "Authorization"] {
        for value in [
            "Digest username=\"a\", integrity-protected=\"yes\",",
            "Digest a=1,, integrity-protected=yes",
            "Digest a=1, a=2, integrity-protected=yes",
            "Digest integrity-protected",
            "digest\r\n integrity-protected=\"yes\";x",
            "Digest",
        ] {
            let row = format!("{header}: {value}\r\nCall-ID:");
            let inside = text(&invite).replacen("Call-ID:", &row, 1);
            let mut buf = [0u8; 8192];
            let mut out = portunus_codec::Writer::new(&mut buf);
            let fault = Sip.relay_up(&w.hop(), &w.session(), inside.as_bytes(), &mut out).expect_err(value);
            assert_eq!((fault.kind, fault.what), (FaultKind::Malformed, header), "{value}");
            if header == "Proxy-Authorization" {
                let outside = text(&s1).replacen("Call-ID:", &row, 1);
                let fault = Sip.read_terminal(outside.as_bytes()).expect_err(value);
                assert_eq!((fault.kind, fault.what), (FaultKind::Malformed, header), "{value}");
            }
        }
        // Another scheme than Digest is nothing to us, wherever it does not register.
        let row = format!("{header}: Bearer abc.def\r\nCall-ID:");
        let inside = text(&invite).replacen("Call-ID:", &row, 1);
        let passed = write(|o| Sip.relay_up(&w.hop(), &w.session(), inside.as_bytes(), o).map(|_| ()));
        assert!(text(&passed).contains("Bearer abc.def"));
    }
}

#[test]
fn core_only_names_in_every_spelling() {
    let w = World::v4();
    let (s1, invite, ok) = (ladder(&w)[0].octets.clone(), call(&w)[0].octets.clone(), call(&w)[4].octets.clone());
    for row in [
        "pATH: <sip:x;lr>",
        "SERVICE-ROUTE:<sip:x;lr>",
        "P-asserted-IDENTITY\t: <sip:b@example.test>",
        "p-ASSERTED-service: x",
        "P-CHARGING-anything-at-all: x",
        "p-associated-uri: <sip:x>",
        "P-VISITED-network-id: x",
        "authentication-INFO : x=1",
        "Security-server:tls",
        "P-Asserted-Identity:\r\n <tel:1>",
        "Proxy-Authorization: Digest Integrity-Protected = \"yes\"",
        "Proxy-Authorization: DIGEST MAC=\"0\"",
    ] {
        for octets in [&s1, &invite, &ok] {
            let forged = text(octets).replacen("Call-ID:", &format!("{row}\r\nCall-ID:"), 1);
            let fault = Sip.read_terminal(forged.as_bytes()).expect_err(row);
            assert_eq!(fault.kind, FaultKind::Forbidden, "{row}");
            let mut buf = [0u8; 8192];
            let mut out = portunus_codec::Writer::new(&mut buf);
            let fault = Sip.relay_up(&w.hop(), &w.session(), forged.as_bytes(), &mut out).expect_err(row);
            assert_eq!(fault.kind, FaultKind::Forbidden, "{row}");
        }
    }
}

#[test]
fn what_the_terminal_never_asked_is_not_its_registration() {
    let w = World::v4();
    let s10 = ladder(&w).pop().unwrap().octets;
    let kept = |msg: &str| terminal::terms_kept(msg.as_bytes(), w.contact, 3600);
    let own = text(&s10).lines().find(|l| l.starts_with("Contact:")).unwrap().to_owned();
    assert_eq!(kept(text(&s10)), Some(1800));
    let with = |row: &str| text(&s10).replacen(&own, row, 1);
    let expires = text(&s10).lines().find(|l| l.starts_with("Expires:")).unwrap().to_owned();
    for (what, msg) in [
        (
            "another Contact beside it",
            with(&format!("{own}\r\nContact: <sip:mallory@198.51.100.66>;q=1.0;expires=1800")),
        ),
        ("another in the same row", with(&format!("{own}, <sip:mallory@198.51.100.66>;expires=1"))),
        ("another instead", with("Contact: <sip:mallory@198.51.100.66>;expires=1800")),
        ("no Contact", with("Subject: x")),
        ("a star", with("Contact: *")),
        ("longer than asked", with(&own.replace("expires=1800", "expires=3601"))),
        ("no time at all", with(&own.replace("expires=1800", "expires=0"))),
        ("a priority that was not asked", with(&own.replace(";expires", ";q=0.1;expires"))),
        ("a parameter that was not asked", with(&own.replace(";expires", ";+sip.instance=\"<urn:x>\";expires"))),
        ("a longer Expires", text(&s10).replacen(&expires, "Expires: 7200", 1)),
        ("another case", with(&own.replace("alice@", "Alice@"))),
    ] {
        assert_ne!(msg, text(&s10), "{what}");
        assert_eq!(kept(&msg), None, "{what}");
    }
}

#[test]
fn a_star_ends_registrations_only_with_expires_zero() {
    let w = World::v4();
    let register = |cseq, expires: u32, star: bool| {
        let txn = terminal::Txn { cseq, branch: "z9hG4bKstar" };
        let msg = write(|o| terminal::write_register(&w.agent(), &txn, expires, o));
        let own = text(&msg).lines().find(|l| l.starts_with("Contact:")).unwrap().to_owned();
        if star { text(&msg).replacen(&own, "Contact: *", 1) } else { text(&msg).to_owned() }
    };
    let up = |msg: &str| {
        let mut buf = [0u8; 8192];
        let mut out = portunus_codec::Writer::new(&mut buf);
        Sip.relay_up(&w.hop(), &w.session(), msg.as_bytes(), &mut out)
    };
    assert_eq!(up(&register(1, 0, true)), Ok(Up::Deregister));
    let bad = register(2, 3600, true);
    for msg in [bad.clone(), bad.replacen("Expires: 3600\r\n", "", 1)] {
        let fault = up(&msg).expect_err("RFC 3261 section 10.2.2");
        assert_eq!((fault.kind, fault.what), (FaultKind::Malformed, "Contact"));
        let fault = Sip.read_terminal(msg.as_bytes()).expect_err("a stock phone's too");
        assert_eq!((fault.kind, fault.what), (FaultKind::Malformed, "Contact"));
    }
    assert!(matches!(
        Sip.read_terminal(register(3, 0, true).as_bytes()),
        Ok(FromTerminal::Digest { ends: true, answered: false, .. })
    ));
}

#[test]
fn a_registration_goes_where_the_proxy_sends_it() {
    let w = World::v4();
    let steps = ladder(&w);
    let routed = |msg: &[u8]| {
        let routes =
            "Route: <sip:192.0.2.1:5060;lr>, <sip:198.51.100.77;lr>\r\nrOUTE: <sip:198.51.100.78;lr>\r\nCall-ID:";
        text(msg).replacen("Call-ID:", routes, 1).into_bytes()
    };
    let (s1_msg, s7_msg) = (routed(&steps[0].octets), routed(&steps[4].octets));
    let refresh = routed(&refreshes(&w)[0].octets);
    let s8 = portunus_keydist::steps::S8 { idc: w.idc, idsp: w.idsp, rand: RAND, auth_c: [0; 32], ipc: w.terminal };
    for up in [
        write(|o| Sip.write_s2(&w.hop(), &s1_msg, &s1(&w), o)),
        write(|o| Sip.write_s8(&w.hop(), &s7_msg, &s7(&w), &s8, o)),
        write(|o| Sip.write_digest(&w.hop(), &s1_msg, w.idc, o)),
        write(|o| Sip.relay_up(&w.hop(), &w.session(), &refresh, o).map(|_| ())),
    ] {
        assert!(!Message::parse(&up).unwrap().has(portunus_sip::view::Name::Route), "{}", text(&up));
    }
    // Nor to a terminal: a REGISTER names no user.
    for uri in ["sip:bob%40example.test@198.51.100.1:5060", "sip:bob@example.test", "tel:+1", "sip:@x"] {
        for msg in [&steps[0].octets, &steps[4].octets] {
            let aimed = text(msg).replacen("REGISTER sip:example.test", &format!("REGISTER {uri}"), 1);
            let fault = Sip.read_terminal(aimed.as_bytes()).expect_err(uri);
            assert_eq!((fault.kind, fault.what), (FaultKind::Malformed, "Request-URI"), "{uri}");
        }
        let aimed = text(&refreshes(&w)[0].octets).replacen("REGISTER sip:example.test", &format!("REGISTER {uri}"), 1);
        let mut buf = [0u8; 8192];
        let mut out = portunus_codec::Writer::new(&mut buf);
        let fault = Sip.relay_up(&w.hop(), &w.session(), aimed.as_bytes(), &mut out).expect_err(uri);
        assert_eq!(fault.what, "Request-URI", "{uri}");
    }
}

#[test]
fn a_route_by_the_proxys_name_is_its_own() {
    let w = World::v4();
    let invite = &call(&w)[0].octets;
    for own in ["sip:192.0.2.1:5060;lr", "sip:198.51.100.1:5060;lr", "sip:SP1.example.test;lr"] {
        let msg = text(invite).replacen("Call-ID:", &format!("Route: <{own}>\r\nRoute: <sip:far;lr>\r\nCall-ID:"), 1);
        let up = write(|o| Sip.relay_up(&w.hop(), &w.session(), msg.as_bytes(), o).map(|_| ()));
        let up = Message::parse(&up).unwrap();
        let left: Vec<_> = up.addrs(portunus_sip::view::Name::Route).map(|a| text(a.uri).to_owned()).collect();
        assert_eq!(left, ["sip:far;lr"], "{own}");
    }
}

/// What a reader notes spares a writer work and changes nothing of what is written, whatever the order of the
/// credentials and however many headers there are.
#[test]
fn notes_change_nothing_that_is_written() {
    for w in [World::v4(), World::v6()] {
        let sent = ladder(&w);
        let s7_msg = text(find(&sent, "s7", w.access)).to_owned();
        let (before, rest) = s7_msg.split_once("Authorization: Digest ").unwrap();
        let (list, after) = rest.split_once("\r\n").unwrap();
        let params: Vec<_> = list.split(", ").map(|p| p.trim_end_matches(',')).collect();
        assert!(params.len() > 8 && params.iter().any(|p| p.starts_with("n2=")));
        let mut noted = 0;
        for turn in 0..params.len() {
            for (between, cookie) in [(", ", None), (" ,\t", Some("cookie=\"00\""))] {
                let mut list: Vec<_> = params.iter().copied().chain(cookie).collect();
                let len = list.len();
                list.rotate_left(turn % len);
                for more in [0, 11, 40] {
                    let more = "X-More: 1\r\n".repeat(more);
                    let list = list.join(between);
                    let msg = format!("{before}Authorization: Digest {list}\r\n{more}{after}");
                    let (mut marks, mut room) = (Marks::NONE, Text::new());
                    let read = Sip.read_marked(msg.as_bytes(), &mut marks, &mut room);
                    let Ok(FromTerminal::S7(s7)) = read else { panic!("{msg}: {read:?}") };
                    noted += usize::from(!marks.words().is_empty());
                    let s8 = S8 { idc: w.idc, idsp: w.idsp, rand: RAND, auth_c: s7.auth_c, ipc: w.terminal };
                    let (with, without) = (Hop { marks: &marks, ..w.hop() }, w.hop());
                    let s8_of = |hop: &Hop<'_>| write(|o| Sip.write_s8(hop, msg.as_bytes(), &s7, &s8, o));
                    let s8_msg = s8_of(&with);
                    assert_eq!(text(&s8_msg), text(&s8_of(&without)));
                    for gone in ["n2=", " ts=", "\tts=", "cookie="] {
                        assert!(!text(&s8_msg).contains(gone), "{gone} {}", text(&s8_msg));
                    }
                    let digest_of = |hop: &Hop<'_>| write(|o| Sip.write_digest(hop, msg.as_bytes(), w.idc, o));
                    assert_eq!(text(&digest_of(&with)), text(&digest_of(&without)));
                    let binding_of = |marks: &Marks| write(|o| Sip.binding(msg.as_bytes(), marks, o));
                    assert_eq!(binding_of(&marks), binding_of(&Marks::NONE));
                }
            }
        }
        assert!(noted > params.len());
    }
}

/// Some elements put their Record-Route above every Via. Ours belongs above theirs all the same, or whoever goes back by
/// the routes meets the elements in another order than they stand in.
#[test]
fn a_record_route_goes_above_one_that_stands_above_the_vias() {
    use portunus_sip::carriage::core::{Forward, forward_request};
    let w = World::v4();
    let theirs = "Record-Route: <sip:198.51.100.50;lr>\r\n";
    let sent = call(&w);
    let invite = text(find(&sent, "INVITE", w.softswitch)).replacen("Via: ", &format!("{theirs}Via: "), 1);
    let msg = Message::parse(invite.as_bytes()).unwrap();
    let rows = |octets: &[u8]| {
        let msg = Message::parse(octets).unwrap();
        let rows = msg.addrs(portunus_sip::view::Name::RecordRoute);
        rows.map(|a| text(a.whole).to_owned()).collect::<Vec<_>>()
    };
    let (before, ours) = (rows(invite.as_bytes()), "<sip:192.0.2.100;lr>");
    assert_eq!(before[0], "<sip:198.51.100.50;lr>");
    let forward = Forward {
        uri: None,
        via: b"SIP/2.0/UDP 192.0.2.100:5060;branch=z9hG4bKss.1",
        source: w.core,
        route: None,
        pop_routes: 0,
        record_route: Some(ours.as_bytes()),
        asserted: portunus_keydist::ident::Idc::new("alice@example.test"),
    };
    let mut buf = [0u8; 8192];
    let mut out = portunus_codec::Writer::new(&mut buf);
    forward_request(&msg, &forward, &mut out).unwrap();
    assert_eq!(rows(out.written())[0], ours);
    assert_eq!(rows(out.written())[1..], before);
    let written = Message::parse(out.written()).unwrap();
    assert!(text(written.via().whole).starts_with("SIP/2.0/UDP 192.0.2.100:5060;"));
    assert_eq!(written.value(portunus_sip::view::Name::PAssertedIdentity), Some(&b"<sip:alice@example.test>"[..]));
    // So does the proxy's, towards the terminal.
    let mut buf = [0u8; 8192];
    let mut out = portunus_codec::Writer::new(&mut buf);
    Sip.relay_down(&w.hop(), &w.session(), invite.as_bytes(), &mut out).unwrap();
    assert!(
        rows(out.written())[0].contains("%40") && rows(out.written())[1..] == before[..],
        "{:?}",
        rows(out.written())
    );
}
