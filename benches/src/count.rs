//! Instruction counts under valgrind: the gate against regressions, since they do not change with the neighbours.
//!
//! `portunus-load count` runs itself under `valgrind --tool=callgrind` once for each piece of work; only what happens
//! inside [`crate::rig::measured_section`] counts. The counts to hold are in `benches/instructions.json`.

use crate::keys::{IDSP, identity, key_of};
use crate::paths;
use crate::rig::{BATCH, Rig, measured_section};
use portunus_channel::sealed::Sealed;
use portunus_channel::{Flow, Keys, Mechanism as _, ReplayWindow, datagrams};
use portunus_codec::Writer;
use portunus_keydist::batch::{MacJob, OpenJob, mac_batch, open_batch};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::mech::Mech;
use portunus_keydist::schedule::{For, WrapCtx};
use portunus_keydist::{SessionKey, TrafficCtx};
use portunus_signalling::Protocol;
use portunus_sip::view::Message;
use portunus_sip::{MAC_PLACEHOLDER, Sip};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::process::Command;

/// A request with 17 headers, as a large carrier's access network sees it.
pub const SEVENTEEN: &str = "INVITE sip:bob@example.test SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK776asdhds;rport\r\n\
Max-Forwards: 70\r\nRoute: <sip:sp1.example.test;lr>\r\n\
From: \"Alice\" <sip:alice@example.test>;tag=1928301774\r\nTo: <sip:bob@example.test>\r\n\
Call-ID: a84b4c76e66710@192.0.2.7\r\nCSeq: 314159 INVITE\r\nContact: <sip:alice@192.0.2.7:5060>\r\n\
Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, NOTIFY\r\nSupported: path, sec-agree, 100rel, timer\r\n\
User-Agent: bench/1.0\r\nAccept: application/sdp\r\nP-Preferred-Identity: <sip:alice@example.test>\r\n\
Session-Expires: 1800\r\nMin-SE: 90\r\nContent-Type: application/sdp\r\nContent-Length: 0\r\n\r\n";

/// Material for the cryptography's benches.
pub struct Crypto {
    idc: String,
    rand: [u8; 16],
    n1: N1,
    wrap: [u8; 48],
    message: Vec<u8>,
    /// The keys of a session.
    pub keys: Keys,
}

impl core::fmt::Debug for Crypto {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Crypto")
    }
}

impl Crypto {
    /// Always the same material; `None` never happens.
    pub fn new() -> Option<Self> {
        let (idc_text, rand, n1) = (identity(1), [7u8; 16], N1::from_bits(9));
        let (idc, idsp) = (Idc::new(&idc_text)?, Idsp::new(IDSP)?);
        let ctx = WrapCtx { idc, idsp, rand: &rand, n1a: &n1 };
        let key = SessionKey::new([5; 32]);
        let wrap = key_of(IDSP).prk().wrap(For::Proxy, &ctx, &key);
        let traffic = TrafficCtx { idc, idsp, n1b: &n1, n2b: &n1, token: "x-pkd-sealed" };
        let keys = Sealed.derive(&key.secret(&rand), &traffic);
        Some(Self { idc: idc_text, rand, n1, wrap, message: vec![b'm'; 900], keys })
    }

    /// What a proxy computes for a batch of s10: opens the wraps and makes the MACs over messages of 900 octets.
    pub fn batch(&self, size: usize) -> Option<usize> {
        let (idc, idsp) = (Idc::new(&self.idc)?, Idsp::new(IDSP)?);
        let ctx = WrapCtx { idc, idsp, rand: &self.rand, n1a: &self.n1 };
        let prk = key_of(IDSP).prk();
        let jobs = vec![OpenJob { ctx, wrap: &self.wrap }; size];
        measured_section(|| {
            let mut keys = Vec::with_capacity(size);
            open_batch(&prk, &jobs, |_, opened| keys.extend(opened.map(|o| o.mac_key)));
            let each = keys.iter();
            let mut macs: Vec<MacJob<'_>> = each
                .map(|key| MacJob {
                    key,
                    message: &self.message,
                    field: 0..64,
                    placeholder: MAC_PLACEHOLDER,
                    out: [0; 32],
                })
                .collect();
            Some(mac_batch(&mut macs))
        })
    }
}

/// The pieces of work, and how many units each does in one run.
pub const WORK: [(&str, u64); 13] = [
    ("sip-index-17-headers", 1_000),
    ("sip-read-s1", 1_000),
    ("mgcp-s1-to-s2", 1_000),
    ("h248-s1-to-s2", 1_000),
    ("h248-s1-to-s10", 500),
    ("ras-s1-to-s2", 1_000),
    ("ras-s7-to-s10", 1_000),
    ("crypto-s9-to-s10-batch-of-32", 32),
    ("esp-seal-and-open-600", 200),
    ("sealed-seal-and-open-600", 200),
    ("replay-window", 10_000),
    ("ring-message", 10_000),
    ("engine-registration", 320),
];

/// Does a piece of work once, as many units as [`WORK`] says. `false`: there is none of that name.
///
/// # Errors
/// When it cannot be set up, or does not come to what it must.
pub fn work(name: &str) -> io::Result<bool> {
    let units = WORK.iter().find(|(n, _)| *n == name).map_or(0, |(_, units)| *units);
    let wrong = || io::Error::other("the work did not come to its result");
    match name {
        "sip-index-17-headers" => measured_section(|| {
            for _ in 0..units {
                black_box(Message::parse(black_box(SEVENTEEN.as_bytes())).map_err(|_| wrong())?);
            }
            Ok::<_, io::Error>(())
        })?,
        "sip-read-s1" => measured_section(|| {
            for _ in 0..units {
                black_box(Sip.read_terminal(black_box(paths::S1_SIP.as_bytes())).map_err(|_| wrong())?);
            }
            Ok::<_, io::Error>(())
        })?,
        "mgcp-s1-to-s2" => paths::pass_s1(Protocol::Mgcp, units).ok_or_else(wrong)?,
        "h248-s1-to-s2" => paths::pass_s1(Protocol::H248, units).ok_or_else(wrong)?,
        "h248-s1-to-s10" => crate::ladder::pass(units).ok_or_else(wrong)?,
        "ras-s7-to-s10" => paths::pass_s7_to_s10(units).ok_or_else(wrong)?,
        "ras-s1-to-s2" => paths::pass_s1(Protocol::Ras, units).ok_or_else(wrong)?,
        "crypto-s9-to-s10-batch-of-32" => {
            let crypto = Crypto::new().ok_or_else(wrong)?;
            let made = crypto.batch(units as usize).ok_or_else(wrong)?;
            if made as u64 != units {
                return Err(wrong());
            }
        }
        "esp-seal-and-open-600" | "sealed-seal-and-open-600" => {
            let keys = Crypto::new().ok_or_else(wrong)?.keys;
            let mech = if name.starts_with("esp") { Mech::Esp } else { Mech::Sealed };
            measured_section(|| (1..=units).try_for_each(|seq| seal_and_open(mech, &keys, seq))).ok_or_else(wrong)?;
        }
        "replay-window" => {
            let mut window = ReplayWindow::new();
            // In fours, backwards: what a reordering network brings. 3, 2, 1 never reach 0.
            let seqs = (4..4 + units).map(|seq| seq ^ 3);
            measured_section(|| seqs.into_iter().try_for_each(|seq| window.commit(seq))).map_err(|_| wrong())?;
        }
        "ring-message" => ring(units).ok_or_else(wrong)?,
        "engine-registration" => {
            let mut rig = Rig::new(1_000)?;
            for batch in (0..units).collect::<Vec<u64>>().chunks(BATCH) {
                if rig.register(batch) != batch.len() {
                    return Err(wrong());
                }
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Seals a message of 600 octets terminal to proxy and opens it again, under this mechanism.
pub fn seal_and_open(mech: Mech, keys: &Keys, seq: u64) -> Option<()> {
    let mut room = [0u8; 700];
    let mut w = Writer::new(&mut room);
    let (mechanism, flow) = (datagrams(mech)?, Flow::plain(0x0102_0304, 1));
    mechanism.seal(&keys.c2s, &flow, seq, &[b'x'; 600], &mut w).ok()?;
    let opened = mechanism.open(&keys.c2s, &flow, w.written_mut()).ok()?;
    black_box(opened.content.len());
    Some(())
}

/// Sends messages of 600 octets through a ring, one by one.
pub fn ring(messages: u64) -> Option<()> {
    let (mut producer, mut consumer) = portunus_io::ring::ring(1 << 16);
    let message = [b'x'; 600];
    measured_section(|| {
        for _ in 0..messages {
            producer.push(7, &message).ok()?;
            let mut seen = 0;
            consumer.drain(1, |_, octets| seen = octets.len());
            (black_box(seen) == message.len()).then_some(())?;
        }
        Some(())
    })
}

/// Counts of instructions a unit, by name of work.
pub type Counts = BTreeMap<String, u64>;

/// Counts everything. Needs valgrind.
///
/// # Errors
/// When valgrind is missing or a piece of work fails under it.
pub fn all(tell: &mut dyn FnMut(&str)) -> io::Result<Counts> {
    let mut counts = Counts::new();
    for (name, units) in WORK {
        tell(name);
        counts.insert(name.to_owned(), one(name)? / units);
    }
    Ok(counts)
}

fn one(name: &str) -> io::Result<u64> {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*measured_section*", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["work", name])
        .output()
        .map_err(|e| io::Error::new(e.kind(), format!("valgrind: {e}; apt-get install valgrind")))?;
    let said = String::from_utf8_lossy(&out.stderr);
    let collected = said.lines().find_map(|l| l.split_once("Collected : ")?.1.trim().parse::<u64>().ok());
    match collected {
        Some(n) if out.status.success() && n > 0 => Ok(n),
        _ => Err(io::Error::other(format!("{name} under valgrind: {said}"))),
    }
}

/// What became of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance.
    Held,
    /// Better by more than the tolerance: the baseline should be renewed.
    Better,
    /// Worse by more than the tolerance.
    Worse,
    /// It has no baseline.
    New,
}

/// Compares a count with its baseline; `tolerance` in per cent.
pub fn verdict(baseline: Option<u64>, count: u64, tolerance: u64) -> Verdict {
    let Some(baseline) = baseline else { return Verdict::New };
    let slack = baseline * tolerance / 100;
    if count > baseline + slack {
        Verdict::Worse
    } else if count + slack < baseline {
        Verdict::Better
    } else {
        Verdict::Held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_of_work_comes_to_its_end() {
        for (name, _) in WORK {
            assert!(work(name).unwrap(), "{name}");
        }
        assert!(!work("nothing").unwrap());
    }

    #[test]
    fn verdicts() {
        assert_eq!(verdict(Some(1_000), 1_030, 3), Verdict::Held);
        assert_eq!(verdict(Some(1_000), 1_031, 3), Verdict::Worse);
        assert_eq!(verdict(Some(1_000), 969, 3), Verdict::Better);
        assert_eq!(verdict(None, 969, 3), Verdict::New);
    }
}
