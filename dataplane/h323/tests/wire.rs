//! What an independent reader says of every message: tshark must call each H.225.0 RAS and have nothing to remark.

mod common;

use common::{Sent, Shown, World, everything};
use portunus_h323::view::{Kind, Message};

/// What tshark numbers the alternatives of RasMessage: those of the root, and behind them the added ones.
fn number(kind: Kind) -> u32 {
    match kind {
        Kind::RequestInProgress => 25,
        Kind::InfoRequestAck => 28,
        Kind::InfoRequestNak => 29,
        known => (0..25)
            .find(|i| Message::salvage(&[*i << 2, 0, 0, 0, 0]).map(|m| m.0) == Some(known))
            .map_or_else(|| if known == Kind::InfoRequestResponse { 22 } else { panic!("{known:?}") }, u32::from),
    }
}

fn clean(name: &str, sent: &[Sent]) {
    let place = (env!("CARGO_TARGET_TMPDIR"), name);
    let fields = ["h225.RasMessage", "h225.requestSeqNum"];
    let (shown, lines) = Shown::clean(place, sent, |_| false, ("h225", &fields, &[]));
    for (line, s) in lines.iter().zip(sent) {
        let msg = Message::parse(&s.octets).unwrap();
        let expected = format!("\t{}\t{}", number(msg.kind()), msg.seq());
        assert!(line.ends_with(&expected), "{name}: {} is read as {line}, not {expected}", s.name);
    }
    let all = shown.tshark(&["-V"]);
    for expected in ["1.3.6.1.4.1.32473.7.1", "1.3.6.1.4.1.32473.7.4", "1.2.840.113549.2.9", "securityWrongSyncTime"] {
        assert!(all.contains(expected), "{name}: {expected}");
    }
    assert_eq!(all.matches("H.225.0 RAS").count(), sent.len());
}

#[test]
fn every_message_over_ipv4() {
    clean("ras-udp4", &everything(&World::v4()));
}

#[test]
fn every_message_over_ipv6() {
    clean("ras-udp6", &everything(&World::v6()));
}

#[test]
fn every_message_of_an_endpoint_of_digits() {
    clean("ras-digits", &everything(&World::digits()));
}
