//! The mechanism list: every rule of spec section 4, the canonical form, and the choice.

use portunus_keydist::mech::{ENTRIES_MAX, LIST_MAX, Mech, MechError, MechFault, MechList, Sel};
use proptest::prelude::*;

fn sip(value: &str) -> MechList {
    MechList::from_sip(value).unwrap_or_else(|e| panic!("{value}: {e}"))
}

fn refused(value: &str) -> (MechFault, usize) {
    match MechList::from_sip(value) {
        Ok(list) => panic!("{value} was taken as {list}"),
        Err(MechError { fault, at }) => (fault, at),
    }
}

#[test]
fn canonical_is_the_entries_as_sent_trimmed_and_joined_by_one_space() {
    let list = sip("  ipsec-man;q=0.50;spi-c=4711;port-c=5070 ,\r\n\t x-pkd-sealed;q=0.900,tls ");
    assert_eq!(list.as_str(), "ipsec-man;q=0.50;spi-c=4711;port-c=5070 x-pkd-sealed;q=0.900 tls");
    assert_eq!(MechList::from_text(list.as_str()), Ok(list));
    let seen: Vec<_> = list.entries().map(|e| (e.token, e.mech, e.q_milli)).collect();
    assert_eq!(
        seen,
        [
            ("ipsec-man", Some(Mech::Esp), 500),
            ("x-pkd-sealed", Some(Mech::Sealed), 900),
            ("tls", Some(Mech::Tls), 1000)
        ]
    );
    let esp = list.get(Mech::Esp).expect("offered");
    assert_eq!((esp.param("spi-c"), esp.param("port-c"), esp.param("port")), (Some("4711"), Some("5070"), None));
    assert_eq!(esp.as_str(), "ipsec-man;q=0.50;spi-c=4711;port-c=5070");
}

#[test]
fn what_a_list_may_not_be_is_named_with_its_place() {
    use MechFault as F;
    for (value, expected) in [
        ("", (F::Empty, 0)),
        (" \r\n ", (F::Empty, 0)),
        ("tls,", (F::EmptyEntry, 4)),
        (",tls", (F::EmptyEntry, 0)),
        ("tls, ,x-pkd-sealed", (F::EmptyEntry, 4)),
        (";q=1", (F::EmptyEntry, 0)),
        ("TLS", (F::Character, 0)),
        ("x-pkd-Sealed", (F::Character, 6)),
        ("tls x-pkd-sealed", (F::Character, 3)),
        ("tls; q=1", (F::Character, 4)),
        ("tls;q=\"1\"", (F::Character, 6)),
        ("tls;q=1\0", (F::Character, 7)),
        ("tls;a=\u{e9}", (F::Character, 6)),
        ("tls=1", (F::Character, 3)),
        ("tls,tls", (F::EntryTwice, 4)),
        ("tls;q=0.1, x-pkd-sealed, tls;q=0.2", (F::EntryTwice, 25)),
        ("tls;q", (F::Parameter, 4)),
        ("tls;", (F::Parameter, 4)),
        ("tls;;q=1", (F::Parameter, 4)),
        ("tls;=1", (F::Parameter, 4)),
        ("tls;q=", (F::Parameter, 4)),
        ("tls;a=b=c", (F::Parameter, 4)),
        ("x-pkd-sealed, tls;q=0.5;q=0.5", (F::ParameterTwice, 24)),
        ("tls;a=1;b=2;a=3", (F::ParameterTwice, 12)),
    ] {
        assert_eq!(refused(value), expected, "{value:?}");
    }
    assert_eq!(
        MechError { fault: F::ParameterTwice, at: 24 }.to_string(),
        "mechanism list: a parameter is given twice (at octet 24)"
    );
}

#[test]
fn elsewhere_one_space_separates_and_no_other() {
    for value in ["tls  x-pkd-sealed", " tls", "tls ", "tls,x-pkd-sealed", "tls\tx-pkd-sealed", ""] {
        assert!(MechList::from_text(value).is_err(), "{value:?}");
    }
    assert!(MechList::from_text("tls x-pkd-sealed").is_ok());
}

#[test]
fn priorities() {
    for (q, milli) in
        [("0", 0), ("1", 1000), ("0.5", 500), ("0.05", 50), ("0.001", 1), ("1.0", 1000), ("1.000", 1000), ("0.", 0)]
    {
        let list = sip(&format!("tls;q={q}"));
        assert_eq!(list.entries().next().map(|e| e.q_milli), Some(milli), "{q}");
    }
    for q in ["2", "1.1", "1.001", "0.1234", "0.5000", ".5", "00.5", "01", "0.5a", "0.-1", "+1", "1e0", "0.1.1", "a"] {
        assert_eq!(refused(&format!("tls;q={q}")), (MechFault::Priority, 6), "{q}");
    }
}

#[test]
fn limits_are_exact() {
    let entries: Vec<String> = (0..ENTRIES_MAX).map(|i| format!("m{i}")).collect();
    assert_eq!(sip(&entries.join(",")).entries().count(), ENTRIES_MAX);
    let value = format!("{},tls", entries.join(","));
    assert_eq!(refused(&value), (MechFault::TooManyEntries, value.len() - 3));

    let long = |n: usize| format!("tls;a={}", "b".repeat(n - 6));
    assert_eq!(sip(&long(LIST_MAX)).as_str().len(), LIST_MAX);
    assert_eq!(refused(&long(LIST_MAX + 1)).0, MechFault::TooLong);
    // Blanks do not count: the canonical form is what is limited.
    let (first, second) = (long(LIST_MAX - 13), "x-pkd-sealed");
    assert_eq!(sip(&format!("{first}{},{second}", " ".repeat(300))).as_str().len(), LIST_MAX);
    assert_eq!(refused(&format!("{first}b,{second}")).0, MechFault::TooLong);
}

#[test]
fn hostile_lists_cost_bounded_work() {
    let many = "a=1;".repeat(200_000);
    assert_eq!(refused(&format!("tls;{many}")).0, MechFault::TooLong);
    assert_eq!(refused(&"a,".repeat(500_000)).0, MechFault::EntryTwice);
}

#[test]
fn the_choice_is_the_highest_priority_that_the_policy_allows() {
    let all = [Mech::Sealed, Mech::Esp, Mech::Tls];
    let any = |_| true;
    let chosen = |list: &MechList, order: &[Mech]| list.choose(order, any).and_then(|e| e.mech);
    let list = sip("x-pkd-sealed;q=0.2, ipsec-man;q=0.7;spi-c=256;port-c=1, tls;q=0.5, x-other;q=1");
    assert_eq!(chosen(&list, &all), Some(Mech::Esp));
    assert_eq!(chosen(&list, &[Mech::Sealed, Mech::Tls]), Some(Mech::Tls), "what is not in the order is not allowed");
    assert_eq!(chosen(&list, &[]), None);
    assert_eq!(list.choose(&all, |m| m != Mech::Esp).and_then(|e| e.mech), Some(Mech::Tls));
    assert_eq!(list.choose(&all, |_| false), None);
    assert_eq!(chosen(&sip("x-other"), &all), None);

    let tie = sip("tls;q=0.5, ipsec-man;q=0.500;spi-c=256;port-c=1, x-pkd-sealed;q=0.50");
    assert_eq!(chosen(&tie, &all), Some(Mech::Sealed), "the proxy's own order decides");
    assert_eq!(chosen(&tie, &[Mech::Esp, Mech::Sealed, Mech::Tls]), Some(Mech::Esp));
    assert_eq!(chosen(&sip("tls;q=0"), &all), Some(Mech::Tls), "0 is the lowest priority, not a refusal");
}

#[test]
fn an_entry_without_its_parameters_counts_as_not_offered() {
    let chosen = |entry: &str| {
        let list = sip(&format!("{entry}, x-pkd-sealed;q=0.1"));
        let esp = list.get(Mech::Esp).expect("an entry all the same");
        let complete = esp.is_complete();
        assert_eq!(complete, esp.spi_c().is_some() && esp.port_c().is_some());
        let mech = list.choose(&[Mech::Esp, Mech::Sealed], |_| true).and_then(|e| e.mech);
        assert_eq!(mech, Some(if complete { Mech::Esp } else { Mech::Sealed }), "{entry}");
        (esp.spi_c(), esp.port_c())
    };
    assert_eq!(chosen("ipsec-man;spi-c=256;port-c=65535"), (Some(256), Some(65_535)));
    assert_eq!(chosen("ipsec-man;q=0.5;port-c=5062;spi-c=4294967295"), (Some(u32::MAX), Some(5062)));
    for entry in [
        "ipsec-man",
        "ipsec-man;spi-c=256",
        "ipsec-man;port-c=5062",
        "ipsec-man;spi-c=255;port-c=5062",
        "ipsec-man;spi-c=0;port-c=5062",
        "ipsec-man;spi-c=4294967296;port-c=5062",
        "ipsec-man;spi-c=0x100;port-c=5062",
        "ipsec-man;spi-c=1000.;port-c=5062",
        "ipsec-man;spi-c=256;port-c=0",
        "ipsec-man;spi-c=256;port-c=65536",
        "ipsec-man;spi-c=256;port-c=-1",
    ] {
        chosen(entry);
        assert!(!sip(entry).get(Mech::Esp).expect("there").is_complete(), "{entry}");
        assert_eq!(sip(entry).choose(&[Mech::Esp], |_| true), None, "{entry}");
    }
}

#[test]
fn a_terminal_says_where_it_receives() {
    let list = sip("x-pkd-sealed;q=0.5, ipsec-man;q=1.0, tls");
    let told = list.receiving(3_221_225_729, 5062).expect("fits");
    assert_eq!(told.as_str(), "x-pkd-sealed;q=0.5 ipsec-man;q=1.0;spi-c=3221225729;port-c=5062 tls");
    assert_eq!(MechList::from_text(told.as_str()), Ok(told));
    assert_eq!(told.receiving(256, 1), Some(told), "what it says stays");
    assert_eq!(sip("x-pkd-sealed").receiving(256, 1), Some(sip("x-pkd-sealed")), "not offered");
    assert_eq!(sip(&format!("ipsec-man;a={}", "b".repeat(LIST_MAX - 12))).receiving(256, 1), None, "no room");
}

#[test]
fn answers_go_both_ways() {
    let sel = Sel::sealed(0x1_0000_0001, 5065);
    assert_eq!(sel.as_str(), "x-pkd-sealed;kid=0000000100000001;port=5065");
    let read = Sel::parse(sel.as_str()).expect("reads");
    assert_eq!(read, sel);
    assert_eq!((read.mech(), read.kid(), read.port()), (Mech::Sealed, Some(0x1_0000_0001), Some(5065)));
    assert!(read.is_complete());

    let longest = Sel::esp(u32::MAX, u16::MAX, u16::MAX);
    assert_eq!(longest.as_str(), "ipsec-man;spi-s=4294967295;port-s=65535;port=65535");
    let read = Sel::parse(longest.as_str()).expect("reads");
    assert_eq!((read.spi_s(), read.port_s(), read.port()), (Some(u32::MAX), Some(u16::MAX), Some(u16::MAX)));
    assert!(read.is_complete());
    assert_eq!(Sel::parse("ipsec-man;spi-s=256;port-s=5070").map(|s| s.is_complete()), Ok(true), "port 4500");
    assert_eq!(Sel::parse(Sel::tls(5061).as_str()).map(|s| (s.mech(), s.port())), Ok((Mech::Tls, Some(5061))));
}

#[test]
fn answers_that_are_none() {
    for (value, fault, at) in [
        ("", MechFault::EmptyEntry, 0),
        ("x-other;port=1", MechFault::Unknown, 0),
        ("tls,x-pkd-sealed", MechFault::Character, 3),
        (" tls;port=1;port=2", MechFault::ParameterTwice, 12),
    ] {
        assert_eq!(Sel::parse(value), Err(MechError { fault, at }), "{value:?}");
    }
    let long = format!("tls;a={}", "b".repeat(200));
    assert_eq!(Sel::parse(&long).map_err(|e| e.fault), Err(MechFault::TooLong));
    for incomplete in [
        "x-pkd-sealed",
        "x-pkd-sealed;kid=0000000100000001",
        "x-pkd-sealed;port=5065",
        "x-pkd-sealed;kid=1;port=5065",
        "x-pkd-sealed;kid=000000010000000g;port=5065",
        "x-pkd-sealed;kid=0000000100000001;port=0",
        "x-pkd-sealed;kid=0000000100000001;port=65536",
        "ipsec-man;spi-s=255;port-s=5070",
        "ipsec-man;spi-s=256",
        "ipsec-man;spi-s=256;port-s=0",
        "ipsec-man;spi-s=256;port-s=5070;port=0",
    ] {
        assert_eq!(Sel::parse(incomplete).map(|s| s.is_complete()), Ok(false), "{incomplete}");
    }
}

fn entry() -> impl Strategy<Value = String> {
    let token = "[a-z][a-z0-9.!%*_+`'~-]{0,10}";
    let q = prop_oneof![Just(String::new()), "0\\.[0-9]{0,3}".prop_map(|q| format!(";q={q}"))];
    (token, q, proptest::collection::btree_map("[a-pr-z][a-z0-9-]{0,6}", "[a-z0-9.]{1,8}", 0..4)).prop_map(
        |(token, q, params)| {
            let params: String = params.iter().map(|(n, v)| format!(";{n}={v}")).collect();
            format!("{token}{q}{params}")
        },
    )
}

proptest! {
    /// Whatever a terminal may send comes out entry by entry as it was sent.
    #[test]
    fn good_lists_come_back(entries in proptest::collection::vec(entry(), 1..8), blanks in "[ \t]{0,3}") {
        let token = |e: &String| e.split(';').next().map(str::to_owned);
        let distinct: std::collections::BTreeSet<_> = entries.iter().map(token).collect();
        prop_assume!(distinct.len() == entries.len());
        let value = entries.join(&format!("{blanks},{blanks}"));
        let list = MechList::from_sip(&value);
        prop_assert!(list.is_ok(), "{} {:?}", value, list);
        let list = list.expect("checked");
        prop_assert_eq!(list.as_str(), entries.join(" "));
        let back: Vec<String> = list.entries().map(|e| e.as_str().to_owned()).collect();
        prop_assert_eq!(back, entries);
        prop_assert_eq!(MechList::from_text(list.as_str()), Ok(list));
    }

    /// No text makes it panic; an error's offset lies in the text; what is taken is canonical.
    #[test]
    fn any_text_is_survived(value in "[a-z;=., q01\\PC]{0,80}") {
        for (read, sip) in [(MechList::from_sip(&value), true), (MechList::from_text(&value), false)] {
            match read {
                Ok(list) => {
                    prop_assert_eq!(MechList::from_text(list.as_str()), Ok(list));
                    prop_assert!(sip || list.as_str() == value);
                }
                Err(e) => prop_assert!(e.at <= value.len()),
            }
        }
        if let Ok(sel) = Sel::parse(&value) {
            prop_assert_eq!(Sel::parse(sel.as_str()), Ok(sel));
        }
    }
}
