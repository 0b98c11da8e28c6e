//! The gateway protocols' parameter list: what is written is read back, and what is wrong is called by its name.

use portunus_codec::Writer;
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::mech::MechList;
use portunus_keydist::params::{Cause, PARAMS_MAX, ParamFault, Params, Quoted};
use portunus_keydist::steps::{Refusal, S1, S2, S5, S6, S7, S8, S9, S10};
use proptest::prelude::*;

const RAND: [u8; 16] = *b"0123456789abcdef";

fn idc() -> Idc<'static> {
    Idc::new("gw1.example.test").unwrap()
}

fn idsp() -> Idsp<'static> {
    Idsp::new("sp1.example.test").unwrap()
}

fn n1() -> N1 {
    N1::from_bits(0x64e6_d05c_b4c9_b98f)
}

fn quoted(f: impl FnOnce(&mut Quoted<'_, '_>)) -> String {
    let mut buf = [0u8; 2048];
    let mut w = Writer::new(&mut buf);
    f(&mut Quoted::new(&mut w));
    w.finish().unwrap();
    String::from_utf8(w.written().to_vec()).unwrap()
}

fn services(f: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut buf = [0u8; 512];
    let mut w = Writer::new(&mut buf);
    f(&mut w);
    w.finish().unwrap();
    String::from_utf8(w.written().to_vec()).unwrap()
}

fn read(list: &str) -> Params<'_> {
    Params::read_quoted(list.as_bytes()).unwrap_or_else(|e| panic!("{e}: {list}"))
}

fn fault(list: &str) -> ParamFault {
    Params::read_quoted(list.as_bytes()).expect_err(list).fault
}

#[test]
fn every_step_comes_back() {
    let s1 = S1 { idc: idc(), idsp: idsp(), n1: n1(), ts: 1_763_942_400_000, cookie: Some(b"C00kie_-") };
    let text = services(|w| s1.write_services(w));
    assert_eq!(text, "v=1;idsp=sp1.example.test;n1=64e6d05cb4c9b98f;ts=1763942400000;cookie=C00kie_-");
    assert_eq!(Params::read_services(text.as_bytes()).unwrap().s1(idc()), Ok(s1));
    let s2 = S2 { idc: idc(), idsp: idsp(), n1: n1() };
    let text = services(|w| s2.write_services(w));
    assert_eq!(Params::read_services(text.as_bytes()).unwrap().s2(idc()), Ok(s2));
    let s5 = S5 { idc: idc(), idsp: idsp(), rand: RAND };
    assert_eq!(read(&quoted(|q| q.s5(&s5, &n1()))).s5(idc()), Ok((s5, n1())));
    let s6 = S6 { idsp: idsp(), n1: n1(), n2: b"token-_9", ts: 7, rand: RAND };
    assert_eq!(read(&quoted(|q| q.s6(&s6))).s6(), Ok(s6));
    let mechs = MechList::from_text("x-pkd-sealed;q=0.9 tls").unwrap();
    let s7 = S7 { idc: idc(), idsp: None, n1: n1(), n2: b"t", ts: 9, rand: None, auth_c: [0xab; 32], mechs };
    assert_eq!(read(&quoted(|q| q.s7(&s7))).s7(idc()), Ok(s7));
    for ipc in ["203.0.113.7:2427", "[2001:db8::7]:2427"] {
        let s8 = S8 { idc: idc(), idsp: idsp(), rand: RAND, auth_c: [0xab; 32], ipc: ipc.parse().unwrap() };
        assert_eq!(read(&quoted(|q| q.s8(&s8))).s8(idc()), Ok(s8));
    }
    let s9 = S9 { ekc: [1; 48], eksp: [2; 48] };
    assert_eq!(read(&quoted(|q| q.s9(idsp(), &RAND, &s9))).s9(), Ok((s9, RAND)));
    let (sel, mechs) = ("x-pkd-sealed;kid=0000000100000001;port=5065", mechs.as_str());
    let s10 = S10 { idsp: idsp(), n1: n1(), n2: n1(), ts: 3, life: 86_400, ekc: [1; 48], sel, mechs };
    assert_eq!(read(&quoted(|q| q.s10(&s10))).s10(), Ok(s10));
}

#[test]
fn refusals_come_back() {
    for refusal in [Refusal::Denied, Refusal::Stale { ts: 5 }, Refusal::Mechanism, Refusal::Busy { retry_after_s: 4 }] {
        let text = quoted(|q| q.refusal(Some(&n1()), &refusal));
        let params = read(&text);
        assert_eq!((params.refusal(), params.n1), (Ok(refusal), Some(n1())));
    }
    let early = quoted(|q| q.core_refusal(&Refusal::Busy { retry_after_s: 9 }, None, &n1()));
    assert_eq!((read(&early).cause, read(&early).n1, read(&early).rand), (Some(Cause::Busy), Some(n1()), None));
    let late = quoted(|q| q.core_refusal(&Refusal::Denied, Some(&RAND), &n1()));
    assert_eq!((read(&late).cause, read(&late).n1, read(&late).rand), (Some(Cause::Denied), None, Some(RAND)));
    assert_eq!(read("cause=\"stale\"").refusal().unwrap_err().fault, ParamFault::Missing);
}

#[test]
fn blanks_case_and_unknown_names() {
    let p = read(" \r\n IDSP = \"sp1\" ,\r\n\tN1=\"64e6d05cb4c9b98f\", new=\"a \"\"b\"\", c=\" ,ts=\"1\"  ");
    assert_eq!((p.idsp, p.n1, p.ts), (Idsp::new("sp1"), Some(n1()), Some(1)));
    assert_eq!(read(""), Params::default());
    assert_eq!(read(" "), Params::default());
}

#[test]
fn what_is_wrong_is_named() {
    for list in
        ["n1", "n1=", "n1=x", "n1=\"", "=\"\"", ",", "n1=\"64e6d05cb4c9b98f\",", "ts=\"1\" n1=\"64e6d05cb4c9b98f\""]
    {
        assert_eq!(fault(list), ParamFault::Syntax, "{list}");
    }
    for list in ["ts=\"1\",ts=\"1\"", "new=\"\",NEW=\"\"", "mechreq=\"1\",mechreq=\"1\""] {
        assert_eq!(fault(list), ParamFault::Twice, "{list}");
    }
    for list in [
        "n1=\"64E6D05CB4C9B98F\"",
        "n1=\"\"",
        "ts=\"-1\"",
        "ts=\"99999999999999999999\"",
        "rand=\"AA\"",
        "idsp=\"a b\"",
        "mechreq=\"0\"",
        "authc=\"ab\"",
        "n2=\"a b\"",
        "cookie=\"\"",
        "ekc=\"====\"",
        "life=\"4294967296\"",
        "ipc=\"x\"",
        "cause=\"why\"",
        "mechs=\"a\"\"b\"",
    ] {
        assert_eq!(fault(list), ParamFault::Value, "{list}");
    }
    let many: String = (0..=PARAMS_MAX).map(|i| format!("p{i}=\"\",")).collect();
    assert_eq!(fault(many.trim_end_matches(',')), ParamFault::TooBig);
    assert_eq!(fault(&format!("x=\"{}\"", "y".repeat(600))), ParamFault::TooBig);
    for (list, expected) in [
        ("", ParamFault::Missing),
        ("idsp=sp1", ParamFault::Missing),
        ("v=2;idsp=sp1", ParamFault::Version),
        ("v=11", ParamFault::Version),
        ("v=1;", ParamFault::Syntax),
        ("v=1;v=1", ParamFault::Twice),
        ("v=1;idsp=sp1;;n1=64e6d05cb4c9b98f", ParamFault::Syntax),
        ("v=1;idsp= sp1", ParamFault::Syntax),
        ("v=1;idsp=sp1;idsp=sp1", ParamFault::Twice),
    ] {
        assert_eq!(Params::read_services(list.as_bytes()).expect_err(list).fault, expected, "{list}");
    }
}

#[test]
fn what_only_the_core_may_send_is_seen() {
    let wrap = "A".repeat(64);
    let good = "n1=\"64e6d05cb4c9b98f\",n2=\"t\",ts=\"1\",mechs=\"tls\"";
    let word = format!("authc=\"{}\"", "0".repeat(64));
    assert!(read(&format!("{good},{word}")).s7(idc()).is_ok());
    for more in [format!("ekc=\"{wrap}\""), format!("eksp=\"{wrap}\""), "ipc=\"192.0.2.1:1\"".to_owned()] {
        let text = format!("{good},{word},{more}");
        assert_eq!(read(&text).s7(idc()).unwrap_err().fault, ParamFault::CoreOnly);
        assert_eq!(read(&text).s1(idc()).unwrap_err().fault, ParamFault::CoreOnly);
    }
    for part in good.split(',').chain([word.as_str()]) {
        let text: Vec<_> = good.split(',').chain([word.as_str()]).filter(|p| *p != part).collect();
        assert_eq!(read(&text.join(",")).s7(idc()).unwrap_err().fault, ParamFault::Missing, "{part}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(list in "([a-z0-9]{1,6} ?= ?\"[ -~]{0,20}\",? ?|[ -~]{0,10}){0,6}") {
        if let Err(e) = Params::read_quoted(list.as_bytes()) {
            prop_assert!(e.at <= list.len());
        }
        let services = format!("v=1;{list}");
        if let Err(e) = Params::read_services(services.as_bytes()) {
            prop_assert!(e.at <= services.len());
        }
    }

    #[test]
    fn any_octets_are_read_or_refused(list in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Params::read_quoted(&list);
        let _ = Params::read_services(&list);
    }
}
