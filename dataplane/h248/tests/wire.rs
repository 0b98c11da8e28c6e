//! What an independent reader says of every message: tshark must call each Megaco and have nothing to remark.

mod common;

use common::{Sent, World, everything};
use portunus_h248::tpkt::header;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

/// A capture of raw IP packets (link type 101), one UDP datagram or one TCP segment a message.
fn capture(sent: &[Sent], tcp: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 101] {
        out.extend(word.to_le_bytes());
    }
    let mut next_seq = std::collections::HashMap::<(SocketAddr, SocketAddr), u32>::new();
    for (i, s) in sent.iter().enumerate() {
        let transport = if tcp {
            let seq = *next_seq.entry((s.from, s.to)).or_insert(1);
            next_seq.insert((s.from, s.to), seq + s.octets.len() as u32);
            let ack = *next_seq.entry((s.to, s.from)).or_insert(1);
            segment(s, seq, ack)
        } else {
            datagram(s)
        };
        let packet = ip(s, if tcp { 6 } else { 17 }, transport);
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

fn segment(s: &Sent, seq: u32, ack: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(s.from.port().to_be_bytes());
    out.extend(s.to.port().to_be_bytes());
    out.extend(seq.to_be_bytes());
    out.extend(ack.to_be_bytes());
    out.extend([0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
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

/// Puts IP around a transport packet, and the checksums into both.
fn ip(s: &Sent, protocol: u8, mut inner: Vec<u8>) -> Vec<u8> {
    let (from, to) = match (s.from.ip(), s.to.ip()) {
        (IpAddr::V4(f), IpAddr::V4(t)) => (f.octets().to_vec(), t.octets().to_vec()),
        (IpAddr::V6(f), IpAddr::V6(t)) => (f.octets().to_vec(), t.octets().to_vec()),
        _ => panic!("one address family a message"),
    };
    let pseudo = sum(&from) + sum(&to) + u32::from(protocol) + inner.len() as u32;
    let at = if protocol == 6 { 16 } else { 6 };
    let checksum = fold(pseudo + sum(&inner));
    inner[at..at + 2].copy_from_slice(&checksum);
    let mut head = Vec::new();
    if s.from.is_ipv4() {
        head.extend([0x45, 0]);
        head.extend((inner.len() as u16 + 20).to_be_bytes());
        head.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
        head.extend([from, to].concat());
        let checksum = fold(sum(&head));
        head[10..12].copy_from_slice(&checksum);
    } else {
        head.extend([0x60, 0, 0, 0]);
        head.extend((inner.len() as u16).to_be_bytes());
        head.extend([protocol, 64]);
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

fn clean(name: &str, sent: &[Sent], tcp: bool) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcap"));
    fs::write(&file, capture(sent, tcp)).unwrap();
    let remarks = tshark(&file, &["-Y", "_ws.expert || _ws.malformed", "-V"]);
    assert!(remarks.is_empty(), "{name}: tshark remarks\n{remarks}");
    let read = tshark(&file, &["-T", "fields", "-e", "frame.protocols", "-e", "megaco.version"]);
    let lines: Vec<_> = read.lines().collect();
    assert_eq!(lines.len(), sent.len());
    for (line, s) in lines.iter().zip(sent) {
        assert!(line.contains(":megaco"), "{name}: {} is read as {line}", s.name);
        assert!(line.ends_with(|c: char| c.is_ascii_digit()), "{name}: {} has no version: {line}", s.name);
    }
    let commands = tshark(&file, &["-T", "fields", "-e", "megaco.command"]);
    assert!(["Modify", "Notify", "ServiceChange"].iter().all(|c| commands.contains(c)), "{commands}");
}

#[test]
fn every_message_over_udp_and_ipv4() {
    clean("h248-udp4", &everything(&World::v4()), false);
}

#[test]
fn every_message_over_udp_and_ipv6() {
    clean("h248-udp6", &everything(&World::v6()), false);
}

#[test]
fn every_message_of_a_gateway_with_a_device_name() {
    clean("h248-device", &everything(&World::device()), false);
}

#[test]
fn every_message_over_tcp() {
    let w = World::v4();
    // One connection, established before the capture begins: only what the gateway's side carries, each behind TPKT.
    let framed = |mut s: Sent| {
        s.octets = [&header(s.octets.len()).unwrap()[..], &s.octets].concat();
        s
    };
    let own = |s: &Sent| s.from == w.terminal || s.to == w.terminal;
    let sent: Vec<_> = everything(&w).into_iter().filter(own).map(framed).collect();
    clean("h248-tcp4", &sent, true);
}
