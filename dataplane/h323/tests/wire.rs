//! What an independent reader says of every message: tshark must call each H.225.0 RAS and have nothing to remark.

mod common;

use common::{Sent, World, everything};
use portunus_h323::view::{Kind, Message};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

/// A capture of raw IP packets (link type 101), one UDP datagram a message.
fn capture(sent: &[Sent]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 101] {
        out.extend(word.to_le_bytes());
    }
    for (i, s) in sent.iter().enumerate() {
        let packet = ip(s);
        for word in [i as u32, 0, packet.len() as u32, packet.len() as u32] {
            out.extend(word.to_le_bytes());
        }
        out.extend(packet);
    }
    out
}

fn datagram(s: &Sent) -> Vec<u8> {
    let mut out = Vec::new();
    for half in [s.from.port(), s.to.port(), s.octets.len() as u16 + 8, 0] {
        out.extend(half.to_be_bytes());
    }
    [out, s.octets.clone()].concat()
}

fn sum(octets: &[u8]) -> u32 {
    octets.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c.get(1).copied().unwrap_or(0))).sum()
}

fn fold(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// A message's packet, with its checksums.
fn ip(s: &Sent) -> Vec<u8> {
    let mut inner = datagram(s);
    let (from, to) = match (s.from.ip(), s.to.ip()) {
        (IpAddr::V4(f), IpAddr::V4(t)) => (f.octets().to_vec(), t.octets().to_vec()),
        (IpAddr::V6(f), IpAddr::V6(t)) => (f.octets().to_vec(), t.octets().to_vec()),
        _ => panic!("one address family a message"),
    };
    let pseudo = sum(&from) + sum(&to) + 17 + inner.len() as u32;
    let checksum = fold(pseudo + sum(&inner));
    inner[6..8].copy_from_slice(&checksum);
    let mut head = Vec::new();
    if s.from.is_ipv4() {
        head.extend([0x45, 0]);
        head.extend((inner.len() as u16 + 20).to_be_bytes());
        head.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
        head.extend([from, to].concat());
        let checksum = fold(sum(&head));
        head[10..12].copy_from_slice(&checksum);
    } else {
        head.extend([0x60, 0, 0, 0]);
        head.extend((inner.len() as u16).to_be_bytes());
        head.extend([17, 64]);
        head.extend([from, to].concat());
    }
    [head, inner].concat()
}

fn tshark(file: &Path, more: &[&str]) -> String {
    let out = Command::new("tshark").arg("-r").arg(file).args(more).output();
    let out = out.unwrap_or_else(|e| panic!("tshark is needed for this test (package tshark): {e}"));
    assert!(out.status.success(), "tshark: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// What tshark numbers the alternatives of RasMessage: those of the root, and behind them the added ones.
fn number(kind: Kind) -> u32 {
    match kind {
        Kind::RequestInProgress => 25,
        Kind::InfoRequestAck => 28,
        known => (0..25)
            .find(|i| Message::salvage(&[*i << 2, 0, 0, 0, 0]).map(|m| m.0) == Some(known))
            .map_or_else(|| if known == Kind::InfoRequestResponse { 22 } else { panic!("{known:?}") }, u32::from),
    }
}

fn clean(name: &str, sent: &[Sent]) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcap"));
    fs::write(&file, capture(sent)).unwrap();
    let remarks = tshark(&file, &["-Y", "_ws.expert || _ws.malformed", "-V"]);
    assert!(remarks.is_empty(), "{name}: tshark remarks\n{remarks}");
    let fields = ["-T", "fields", "-e", "frame.protocols", "-e", "h225.RasMessage", "-e", "h225.requestSeqNum"];
    let read = tshark(&file, &fields);
    let lines: Vec<_> = read.lines().collect();
    assert_eq!(lines.len(), sent.len());
    for (line, s) in lines.iter().zip(sent) {
        let msg = Message::parse(&s.octets).unwrap();
        let expected = format!("\t{}\t{}", number(msg.kind()), msg.seq());
        assert!(line.contains(":h225"), "{name}: {} is read as {line}", s.name);
        assert!(line.ends_with(&expected), "{name}: {} is read as {line}, not {expected}", s.name);
    }
    let shown = tshark(&file, &["-V"]);
    for expected in ["1.3.6.1.4.1.32473.7.1", "1.3.6.1.4.1.32473.7.4", "1.2.840.113549.2.9", "securityWrongSyncTime"] {
        assert!(shown.contains(expected), "{name}: {expected}");
    }
    assert_eq!(shown.matches("H.225.0 RAS").count(), sent.len());
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
