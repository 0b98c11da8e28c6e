//! What an independent reader says of every message: tshark must call each MGCP and have nothing to remark.

mod common;

use common::{Sent, World, everything};
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
        let packet = ip(s, datagram(s));
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

/// Puts IP around a transport packet, and the checksums into both.
fn ip(s: &Sent, mut inner: Vec<u8>) -> Vec<u8> {
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

fn clean(name: &str, sent: &[Sent]) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcap"));
    fs::write(&file, capture(sent)).unwrap();
    // The lanes are ports like any other: which protocol they carry has to be said.
    let lanes = ["-d", "udp.port==30001,mgcp"];
    let remarks = tshark(&file, &[&lanes[..], &["-Y", "_ws.expert || _ws.malformed", "-V"]].concat());
    assert!(remarks.is_empty(), "{name}: tshark remarks\n{remarks}");
    let fields = ["-T", "fields", "-e", "frame.protocols", "-e", "mgcp.transid"];
    let read = tshark(&file, &[&lanes[..], &fields].concat());
    let lines: Vec<_> = read.lines().collect();
    assert_eq!(lines.len(), sent.len());
    for (line, s) in lines.iter().zip(sent) {
        assert!(line.contains(":mgcp"), "{name}: {} is read as {line}", s.name);
        assert!(line.ends_with(|c: char| c.is_ascii_digit()), "{name}: {} has no transaction: {line}", s.name);
    }
    // The extension and the package are seen as what they are.
    let parameters =
        tshark(&file, &[&lanes[..], &["-Y", "mgcp.param.extension || mgcp.param.signalreq", "-V"]].concat());
    assert!(parameters.contains("X-PKD: v=1;idsp=") && parameters.contains("x-pkd/chal("), "{name}: {parameters}");
}

#[test]
fn every_message_over_ipv4() {
    clean("mgcp-udp4", &everything(&World::v4()));
}

#[test]
fn every_message_over_ipv6() {
    clean("mgcp-udp6", &everything(&World::v6()));
}
