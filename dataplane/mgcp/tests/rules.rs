//! The rules of the proxy's side: what is refused and with which code, what passes in a session, and where messages of
//! the core go.

mod common;

use common::*;
use portunus_keydist::steps::Refusal;
use portunus_mgcp::Mgcp;
use portunus_mgcp::code;
use portunus_mgcp::view::Message;
use portunus_signalling::{Border, Crossing, FaultKind, FromCore, FromTerminal, Of, Route, Rules, Signalling, Up};

const PKD: &str = "X-PKD: v=1;idsp=sp1.example.test;n1=64e6d05cb4c9b98f;ts=1763942400000\r\n";
const HEAD: &str = "RSIP 7 *@gw1.example.test MGCP 1.0\r\n";

fn reply(msg: &str) -> Option<String> {
    let w = World::v4();
    let fault = Mgcp.read_terminal(msg.as_bytes()).expect_err(msg);
    let mut buf = [0u8; 512];
    let mut out = portunus_codec::Writer::new(&mut buf);
    let due = Mgcp.write_fault(&w.hop(), msg.as_bytes(), &fault, &mut out).unwrap();
    due.then(|| String::from_utf8(out.written().to_vec()).unwrap())
}

#[test]
fn faults_get_their_codes() {
    let authc = "0".repeat(64);
    let good = format!("n1=\"64e6d05cb4c9b98f\",n2=\"t\",ts=\"1\",authc=\"{authc}\",mechs=\"x-pkd-sealed\"");
    let ntfy = |rest: &str| format!("NTFY 7 aaln/1@gw1.example.test MGCP 1.0\r\n{rest}\r\n");
    assert!(matches!(
        Mgcp.read_terminal(ntfy(&format!("X: 1\r\nO: x-pkd/resp({good})")).as_bytes()),
        Ok(FromTerminal::S7(_))
    ));
    for (msg, code) in [
        (format!("RSIP 7 *@gw1.example.test MGCP 2.0\r\n{PKD}"), 528),
        (format!("RSIP 7 gw1.example.test MGCP 1.0\r\n{PKD}"), 510),
        (format!("RSIP 7 $@gw1.example.test MGCP 1.0\r\n{PKD}"), 510),
        (format!("RSIP 7 *@gw1.example.test XXXX 1.0\r\n{PKD}"), 510),
        (format!("{HEAD}{PKD}{PKD}"), 510),
        (format!("{HEAD}RM: restart\r\nRM: restart\r\n{PKD}"), 510),
        (format!("{HEAD}RM: forced\r\n{PKD}"), 510),
        (format!("{HEAD}no colon\r\n{PKD}"), 510),
        (format!("{HEAD}{}", PKD.trim_end()), 510),
        (format!("{HEAD}X-PKD: v=2;idsp=sp1\r\n"), 510),
        (format!("{HEAD}X-PKD: v=1;idsp=sp1;n1=64e6d05cb4c9b98f\r\n"), 510),
        (format!("{HEAD}{PKD}X-PKDMAC: {authc}\r\n"), 510),
        (format!("{HEAD}X-PKD: v=1;idsp=sp1;n1=64e6d05cb4c9b98f;ts=1;ekc={}\r\n", "A".repeat(64)), 510),
        (format!("NTFY 7 aaln/1@gw1.example.test MGCP 1.0\r\n{PKD}"), 510),
        (ntfy(&format!("O: x-pkd/resp({good})")), 510),
        (ntfy(&format!("X: 1\r\nO: x-pkd/resp({good}), L/hd")), 510),
        (ntfy(&format!("X: 1\r\nO: x-pkd/resp({good}),")), 510),
        (ntfy(&format!("X: 1\r\nO: x-pkd/chal({good})")), 510),
        (ntfy(&format!("X: 1\r\nO: x-pkd/resp({good},n1=\"64e6d05cb4c9b98f\")")), 510),
        (ntfy(&format!("X: 1\r\nO: x-pkd/resp({good},ipc=\"192.0.2.1:1\")")), 510),
        (ntfy(&format!("X: 1\r\nO: x-pkd/resp({good})({good})")), 510),
        (ntfy("X: 1\r\nO: x-pkd/resp"), 510),
        (ntfy(&format!("X: 1\r\nO: x-pkd/resp({good}")), 510),
        (ntfy(&format!("X: xyz\r\nO: x-pkd/resp({good})")), 510),
        (format!("{HEAD}{PKD}.\r\n{HEAD}{PKD}"), 510),
        (format!("{HEAD}{PKD}.\r\n200 1 OK\r\n"), 510),
        (format!("200 1 OK\r\n.\r\n{HEAD}{PKD}"), 510),
        (format!("{HEAD}{}", "A: b\r\n".repeat(1025)), 510),
    ] {
        assert_eq!(reply(&msg).as_deref(), Some(format!("{code} 7 {}\r\n", code::phrase(code)).as_str()), "{msg}");
    }
    // Nothing to answer, or nobody to answer to.
    for msg in [
        "",
        "\r\n",
        "RSIP",
        "RSIP 0 a@b MGCP 1.0\r\n",
        "RSIP 1234567890 a@b MGCP 1.0\r\n",
        "200 x OK\r\n",
        "RS\u{0}P 1 a@b MGCP 1.0\r\n",
    ] {
        assert_eq!(reply(msg), None, "{msg:?}");
    }
    assert_eq!(reply("200 7 OK\r\nno colon\r\n"), None);
}

#[test]
fn what_is_not_authenticated_is_refused_with_501() {
    let w = World::v4();
    for (msg, expected) in [
        ("NTFY 7 aaln/1@gw1.example.test MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n", "501 7 Endpoint not ready\r\n"),
        ("RSIP 7 *@gw1.example.test MGCP 1.0\r\nRM: restart\r\n", "501 7 Endpoint not ready\r\n"),
        ("FUNY 7 *@gw1.example.test MGCP 1.0\r\n", "501 7 Endpoint not ready\r\n"),
        (
            "NTFY 7 a@g MGCP 1.0\r\nO: L/hd\r\n.\r\n200 9 OK\r\n.\r\nNTFY 8 a@g MGCP 1.0\r\nO: L/hu\r\n",
            "501 7 Endpoint not ready\r\n.\r\n501 8 Endpoint not ready\r\n",
        ),
    ] {
        assert!(matches!(Mgcp.read_terminal(msg.as_bytes()), Ok(FromTerminal::Request { .. })), "{msg}");
        let out = write(|o| Mgcp.write_refusal(&w.hop(), msg.as_bytes(), &Refusal::Denied, None, o));
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }
    let answer = "200 7 OK\r\n.\r\n250 8\r\n";
    assert!(matches!(Mgcp.read_terminal(answer.as_bytes()), Ok(FromTerminal::Response { ticket: None })));
    assert!(write(|o| Mgcp.write_refusal(&w.hop(), answer.as_bytes(), &Refusal::Denied, None, o)).is_empty());
}

#[test]
fn a_session_passes_its_own_and_nothing_else() {
    let w = World::v4();
    for s in traffic(&w).iter().filter(|s| s.from == w.terminal) {
        let mut buf = [0u8; 2048];
        let mut out = portunus_codec::Writer::new(&mut buf);
        let up = Mgcp.relay_up(&w.hop(), &w.session(), &s.octets, &mut out).unwrap();
        let expected = if s.name == "forced restart" { Up::Deregister } else { Up::Forward };
        assert_eq!((up, out.written()), (expected, &s.octets[..]), "{}", s.name);
    }
    let own = "NTFY 7 aaln/1@gw1.example.test MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n";
    for (msg, expected) in [
        (own.replace("gw1", "gw2"), "500 7 Endpoint unknown\r\n"),
        (format!("{own}.\r\n{}", own.replace("gw1", "gw2").replace(" 7 ", " 8 ")), "500 8 Endpoint unknown\r\n"),
        (format!("{HEAD}{PKD}"), "510 7 Protocol error\r\n"),
        (own.replace("L/hd", "x-pkd/resp(idsp=\"sp1\")"), "510 7 Protocol error\r\n"),
        (own.replace("L/hd", "L/hd, X-PKD/resp(ekc=\"\")"), "510 7 Protocol error\r\n"),
        (own.replace("O: L/hd", "X-PKDMAC: 0"), "510 7 Protocol error\r\n"),
    ] {
        let mut buf = [0u8; 2048];
        let mut out = portunus_codec::Writer::new(&mut buf);
        assert_eq!(Mgcp.relay_up(&w.hop(), &w.session(), msg.as_bytes(), &mut out), Ok(Up::Answer), "{msg}");
        assert_eq!(std::str::from_utf8(out.written()).unwrap(), expected, "{msg}");
    }
    // One endpoint out of service is not the gateway's end; nor is all of them, later.
    for (endpoint, method) in [("aaln/1", "forced"), ("*", "graceful"), ("*", "restart")] {
        let msg = format!("RSIP 7 {endpoint}@gw1.example.test MGCP 1.0\r\nRM: {method}\r\n");
        let mut buf = [0u8; 2048];
        let mut out = portunus_codec::Writer::new(&mut buf);
        assert_eq!(Mgcp.relay_up(&w.hop(), &w.session(), msg.as_bytes(), &mut out), Ok(Up::Forward));
    }
}

#[test]
fn nothing_of_the_core_reaches_another_gateway() {
    let w = World::v4();
    for (msg, kind, expected) in [
        ("AUEP 9 *@gw2.example.test MGCP 1.0\r\n".to_owned(), FaultKind::Forbidden, "500 9 Endpoint unknown\r\n"),
        ("200 1 OK\r\n.\r\nAUEP 9 *@gw2 MGCP 1.0\r\n".to_owned(), FaultKind::Forbidden, "500 9 Endpoint unknown\r\n"),
        (
            "RQNT 9 a@gw1.example.test MGCP 1.0\r\nX: 1\r\nS: L/dl, x-pkd/key(eksp=\"\")\r\n".to_owned(),
            FaultKind::Forbidden,
            "510 9 Protocol error\r\n",
        ),
        (
            "AUEP 9 *@gw1.example.test MGCP 3.0\r\n".to_owned(),
            FaultKind::Unsupported,
            "528 9 Incompatible protocol version\r\n",
        ),
    ] {
        let mut buf = [0u8; 2048];
        let mut out = portunus_codec::Writer::new(&mut buf);
        let fault = Mgcp.relay_down(&w.hop(), &w.session(), msg.as_bytes(), &mut out).unwrap_err();
        assert_eq!(fault.kind, kind, "{msg}");
        let out = write(|o| Mgcp.write_core_fault(&w.hop(), msg.as_bytes(), &fault, o).map(|due| assert!(due)));
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }
    let gone = write(|o| Mgcp.answer_own(&w.hop(), b"AUEP 9 *@gw1.example.test MGCP 1.0\r\n", false, o));
    assert_eq!(gone, b"501 9 Endpoint not ready\r\n");
    assert!(write(|o| Mgcp.answer_own(&w.hop(), b"200 9 OK\r\n", false, o)).is_empty());
}

#[test]
fn messages_of_the_core_find_their_way() {
    let w = World::v4();
    let idc = |route| match route {
        Route::Terminal(idc) => idc.as_idc().as_str().to_owned(),
        other => format!("{other:?}"),
    };
    for (msg, expected) in [
        ("AUEP 9 *@gw1.example.test MGCP 1.0\r\n", "gw1.example.test"),
        ("200 1 OK\r\n.\r\nRQNT 9 aaln/1@gw1.example.test MGCP 1.0\r\nX: 1\r\n", "gw1.example.test"),
        ("200 1 OK\r\n", "Lane"),
        ("000 1\r\n", "Lane"),
        ("RQNT 9 a@gw1 MGCP 1.0\r\nX: 1\r\nS: x-pkd/nonsense\r\n", "Step"),
        ("", "Unknown"),
        ("hello\r\n", "Unknown"),
    ] {
        assert_eq!(idc(Mgcp.route_core(msg.as_bytes())), expected, "{msg}");
    }
    for (msg, last, success, transaction) in [
        ("200 11 OK\r\n", true, true, Some(11)),
        ("250 11 OK\r\n", true, true, Some(11)),
        ("100 11 In progress\r\n", false, false, Some(11)),
        ("501 11 No\r\n", true, false, Some(11)),
        ("000 11\r\n", true, false, None),
    ] {
        let read = Mgcp.read_core(msg.as_bytes());
        assert!(
            matches!(read, Ok(FromCore::Answer { of: Of::Lane, last: l, success: s }) if (l, s) == (last, success)),
            "{msg}: {read:?}"
        );
        assert_eq!(Mgcp.transaction(msg.as_bytes()), transaction);
    }
    let sent = ladder(&w);
    assert_eq!(octets(&sent, "200 to s5"), b"200 501 OK\r\n");
    assert_eq!(octets(&sent, "200 to s9"), b"200 502 OK\r\n");
    assert!(put(|o| Mgcp.acknowledge_core(&w.hop(), b"200 1 OK\r\n", o)).is_empty());
    assert!(put(|o| Mgcp.acknowledge_core(&w.hop(), b"AUEP 9 *@gw1 MGCP 1.0\r\n", o)).is_empty());
    // A step that rides on an answer is still a step.
    let riding = [b"200 8 OK\r\n.\r\n", octets(&sent, "s9")].concat();
    assert!(matches!(Mgcp.read_core(&riding), Ok(FromCore::Key { .. })));
    for name in ["s2", "s8"] {
        assert_eq!(Mgcp.step_transaction(octets(&sent, name)), Mgcp.transaction(octets(&sent, name)), "{name}");
    }
    // What was read is acknowledged as what is read for that.
    let late = refusals(&w).into_iter().find(|s| s.name == "late fail").unwrap().octets;
    let dotted = [octets(&sent, "s5"), b".\r\n"].concat();
    for step in [octets(&sent, "s5"), octets(&sent, "s9"), &riding, &late, &dotted] {
        let step_ack = put(|o| Mgcp.acknowledge_step(&w.hop(), step, o));
        assert!(step_ack.starts_with(b"200 50"));
        assert_eq!(step_ack, put(|o| Mgcp.acknowledge_core(&w.hop(), step, o)));
    }
    assert_eq!(Message::parse(octets(&sent, "s9")).unwrap().transaction(), 502);
}

/// A transaction is found behind any number of blanks, and never cut short.
#[test]
fn an_identifier_behind_many_blanks_is_salvaged_whole() {
    for blanks in 1..100 {
        let text = format!("RSIP{}2994 *@gw1.example.test MGCP 1.0\r\n", " ".repeat(blanks));
        assert_eq!(portunus_mgcp::view::Message::salvage(text.as_bytes()), Some(2994), "{blanks}");
    }
}

/// Gateways are told the proxy's address for the call agent's, and give it back sealed.
#[test]
fn the_call_agents_address_stays_in_the_core() {
    let veil = Some(portunus_keydist::proxy::Veil::new(&portunus_keydist::Key::new([9; 32]).prk()));
    let border = Border { veil, rules: Rules { hide: true, ..Rules::OPEN } };
    let noticed = std::cell::Cell::default();
    for w in [World::v4(), World::v6()] {
        let crossing = Crossing { border: &border, noticed: Some(&noticed) };
        let session = portunus_signalling::SessionRef { crossing, ..w.session() };
        let down = |msg: &str| {
            let msg = msg.replace("gw1.example.test", w.idc.as_str());
            let out = write(|o| Mgcp.relay_down(&w.hop(), &session, msg.as_bytes(), o));
            String::from_utf8(out).unwrap()
        };
        let up = |msg: &str| {
            let mut buf = [0u8; 4096];
            let mut out = portunus_codec::Writer::new(&mut buf);
            let msg = msg.replace("gw1.example.test", w.idc.as_str());
            let up = Mgcp.relay_up(&w.hop(), &session, msg.as_bytes(), &mut out);
            (up, String::from_utf8(out.written().to_vec()).unwrap().replace(w.idc.as_str(), "gw1.example.test"))
        };
        let agent = "ca@[198.51.100.77]:2727";
        let asked = format!(
            "RQNT 7 aaln/1@gw1.example.test MGCP 1.0\r\nN: {agent}\r\nX: 1\r\nR: L/hd\r\n.\r\n\
             RQNT 8 aaln/2@gw1.example.test MGCP 1.0\r\nX: 2\r\nn:{agent}\r\nR: L/hd\r\n"
        );
        let told = down(&asked);
        assert!(!told.contains("198.51.100.77"), "{told}");
        assert_eq!(told.matches(&format!("@[{}]:{}\r\n", w.access.ip(), w.access.port())).count(), 2, "{told}");
        assert_eq!(told, down(&asked), "a repetition is one");
        let entity = told.split("N: ").nth(1).and_then(|t| t.split("\r\n").next()).unwrap();
        let notify =
            |entity: &str| format!("NTFY 9 aaln/1@gw1.example.test MGCP 1.0\r\nX: 1\r\nN: {entity}\r\nO: L/hd\r\n");
        assert_eq!(up(&notify(entity)), (Ok(Up::Forward), notify(agent)));
        // Any other entity is the gateway's own affair.
        assert_eq!(up(&notify("ca@elsewhere")), (Ok(Up::Forward), notify("ca@elsewhere")));
        // A redirection leads to the proxy too.
        let elsewhere = down(&format!("521 9 Redirected\r\nN: {agent}\r\n"));
        assert!(elsewhere.contains(&w.access.port().to_string()) && !elsewhere.contains("198.51.100.77"));
        noticed.set(portunus_signalling::Noticed::default());
        let forged = up(&notify(&entity.replacen("pkd~", "pkd~A", 1))).0.unwrap_err();
        assert_eq!((forged.kind, forged.what, noticed.get().forged), (FaultKind::Forbidden, "N", true));
        assert_eq!(up(&notify("pkd~@x")).0.unwrap_err().what, "N");
        // A name too long to be hidden goes nowhere.
        let mut buf = vec![0u8; 8192];
        let long = format!("RQNT 7 aaln/1@gw1.example.test MGCP 1.0\r\nN: {}@x\r\nX: 1\r\n", "y".repeat(1100));
        let mut out = portunus_codec::Writer::new(&mut buf);
        assert!(Mgcp.relay_down(&w.hop(), &session, long.as_bytes(), &mut out).is_err());
    }
}
