//! Messages on their way, and what tshark says of them.

use core::fmt::Debug;
use core::net::{IpAddr, SocketAddr};
use portunus_codec::Writer;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// IP's numbers of the transports.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A message, from where to where.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Which.
    pub name: &'static str,
    /// From.
    pub from: SocketAddr,
    /// To.
    pub to: SocketAddr,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// The octets of one message.
///
/// # Panics
/// When none has this name.
pub fn octets<'a>(sent: &'a [Sent], name: &str) -> &'a [u8] {
    &sent.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name}")).octets
}

/// An address.
///
/// # Panics
/// When it is none.
pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Runs a writer in a fresh buffer.
///
/// # Panics
/// When it fails, or its message does not fit.
pub fn write<E: Debug>(f: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Vec<u8> {
    let mut buf = vec![0u8; 8192];
    let mut w = Writer::new(&mut buf);
    f(&mut w).expect("written");
    w.finish().expect("room enough");
    w.written().to_vec()
}

/// As [`write`], for what cannot fail.
///
/// # Panics
/// When its message does not fit.
pub fn put(f: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    write(|w| {
        f(w);
        Ok::<(), ()>(())
    })
}

/// A capture of raw IP packets (link type 101), one UDP datagram or, where `tcp` says so, one TCP segment a message.
pub fn capture(sent: &[Sent], tcp: impl Fn(&Sent) -> bool) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 101] {
        out.extend(word.to_le_bytes());
    }
    let mut next_seq = HashMap::<(SocketAddr, SocketAddr), u32>::new();
    for (i, s) in sent.iter().enumerate() {
        let packet = if tcp(s) {
            let seq = *next_seq.entry((s.from, s.to)).or_insert(1);
            next_seq.insert((s.from, s.to), seq + s.octets.len() as u32);
            let ack = *next_seq.entry((s.to, s.from)).or_insert(1);
            ip(s, TCP, segment(s, seq, ack))
        } else {
            ip(s, UDP, datagram(s))
        };
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
    let at = if protocol == TCP { 16 } else { 6 };
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

/// A capture in a file, and how tshark is to read it.
#[derive(Debug)]
pub struct Shown<'a> {
    file: PathBuf,
    options: &'a [&'a str],
}

impl<'a> Shown<'a> {
    /// Writes a capture of these messages into `folder`, and holds tshark to have nothing to remark on it, to see as many
    /// messages as there are, and each as what it is: its `protocol`, and a last one of `fields` that ends with a digit.
    ///
    /// # Panics
    /// When any of that is not so, or there is no tshark.
    pub fn clean(
        (folder, name): (&str, &str),
        sent: &[Sent],
        tcp: impl Fn(&Sent) -> bool,
        (protocol, fields, options): (&str, &[&str], &'a [&'a str]),
    ) -> (Self, Vec<String>) {
        let file = Path::new(folder).join(format!("{name}.pcap"));
        fs::write(&file, capture(sent, tcp)).expect("a file that can be written");
        let shown = Self { file, options };
        let remarks = shown.tshark(&["-Y", "_ws.expert || _ws.malformed", "-V"]);
        assert!(remarks.is_empty(), "{name}: tshark remarks\n{remarks}");
        let mut more = vec!["-T", "fields", "-e", "frame.protocols"];
        more.extend(fields.iter().flat_map(|field| ["-e", field]));
        let lines: Vec<String> = shown.tshark(&more).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), sent.len(), "{name}");
        for (line, s) in lines.iter().zip(sent) {
            assert!(line.contains(&format!(":{protocol}")), "{name}: {} is read as {line}", s.name);
            let field = fields.last().copied().unwrap_or_default();
            assert!(line.ends_with(|c: char| c.is_ascii_digit()), "{name}: {} has no {field}: {line}", s.name);
        }
        (shown, lines)
    }

    /// What tshark says with these options more.
    ///
    /// # Panics
    /// When there is no tshark, or it fails.
    pub fn tshark(&self, more: &[&str]) -> String {
        let out = Command::new("tshark").arg("-r").arg(&self.file).args(self.options).args(more).output();
        let out = out.unwrap_or_else(|e| panic!("tshark is needed for this test (package tshark): {e}"));
        assert!(out.status.success(), "tshark: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}
