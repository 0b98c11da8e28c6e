//! Middleware that writes what passes into a capture file, with the real addresses, for tshark and its like.
//!
//! Format: pcap (draft-ietf-opsawg-pcap), nanosecond time stamps, link type 101 (raw IP). The IP and UDP headers
//! are made here from the addresses of the two sides, with correct checksums; TTL 64, no options.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use crate::addr::canonical;
use crate::batch::{Batch, Received, Rx, Sent, Tx};

const MAGIC_NANOSECONDS: u32 = 0xA1B2_3C4D;
const LINK_TYPE_RAW: u32 = 101;
const SNAP_LEN: u32 = 65_535 + 48;
const UDP: u8 = 17;

/// Writes datagrams as packets of a capture file.
#[derive(Debug)]
pub struct PcapWriter<W> {
    out: W,
    packet: Vec<u8>,
}

/// Sum of 16-bit words as RFC 1071 wants it, not yet folded.
fn sum(octets: &[u8]) -> u32 {
    octets.chunks(2).fold(0u32, |sum, pair| {
        let high = u32::from(pair.first().copied().unwrap_or(0)) << 8;
        sum.wrapping_add(high | u32::from(pair.get(1).copied().unwrap_or(0)))
    })
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file's header.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut header = Vec::with_capacity(24);
        header.extend(MAGIC_NANOSECONDS.to_ne_bytes());
        header.extend(2u16.to_ne_bytes());
        header.extend(4u16.to_ne_bytes());
        header.extend([0u8; 8]);
        header.extend(SNAP_LEN.to_ne_bytes());
        header.extend(LINK_TYPE_RAW.to_ne_bytes());
        out.write_all(&header)?;
        Ok(Self { out, packet: Vec::with_capacity(2048) })
    }

    /// Writes one datagram. `wall_ns` is its time in nanoseconds since 1970. Nothing is written for a payload that
    /// no UDP datagram holds.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn datagram(&mut self, wall_ns: u64, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let Some(udp_len) = u16::try_from(payload.len() + 8).ok().filter(|&len| len <= 65_515) else { return Ok(()) };
        let (from, to) = family(from, to);
        self.packet.clear();
        let mut pseudo = u32::from(UDP) + u32::from(udp_len);
        match (from.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let start = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, UDP, 0, 0];
                self.packet.extend(start);
                self.packet.extend(source.octets());
                self.packet.extend(destination.octets());
                put(&mut self.packet, 2, (udp_len + 20).to_be_bytes());
                let checksum = fold(sum(&self.packet));
                put(&mut self.packet, 10, checksum.to_be_bytes());
                pseudo += sum(&source.octets()) + sum(&destination.octets());
            }
            (source, destination) => {
                let (source, destination) = (six(source), six(destination));
                self.packet.extend([0x60, 0, 0, 0]);
                self.packet.extend(udp_len.to_be_bytes());
                self.packet.extend([UDP, 64]);
                self.packet.extend(source);
                self.packet.extend(destination);
                pseudo += sum(&source) + sum(&destination);
            }
        }
        let udp = self.packet.len();
        self.packet.extend(from.port().to_be_bytes());
        self.packet.extend(to.port().to_be_bytes());
        self.packet.extend(udp_len.to_be_bytes());
        self.packet.extend([0, 0]);
        self.packet.extend_from_slice(payload);
        // RFC 768: a checksum that computes to zero is sent as all ones.
        let checksum = match fold(pseudo + sum(self.packet.get(udp..).unwrap_or_default())) {
            0 => 0xFFFF,
            other => other,
        };
        put(&mut self.packet, udp + 6, checksum.to_be_bytes());
        let mut record = [0u8; 16];
        let len = self.packet.len() as u32;
        let words = [(wall_ns / 1_000_000_000) as u32, (wall_ns % 1_000_000_000) as u32, len, len];
        for (place, word) in record.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        self.out.write_all(&record)?;
        self.out.write_all(&self.packet)
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn put(packet: &mut [u8], at: usize, value: [u8; 2]) {
    if let Some(place) = packet.get_mut(at..at + 2) {
        place.copy_from_slice(&value);
    }
}

fn six(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Both addresses of one family, IPv4 where both can be.
fn family(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    (canonical(from), canonical(to))
}

/// Wraps a link and captures what passes, both ways. A write error ends the capture, never the traffic;
/// [`Capture::error`] tells.
pub struct Capture<L, W> {
    inner: L,
    local: SocketAddr,
    file: PcapWriter<W>,
    clock: Box<dyn FnMut() -> u64 + Send>,
    error: Option<io::Error>,
}

impl<L, W> core::fmt::Debug for Capture<L, W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Capture").field("local", &self.local).field("error", &self.error).finish_non_exhaustive()
    }
}

impl<L, W: Write> Capture<L, W> {
    /// `local` is the address of this side; `clock` gives nanoseconds since 1970.
    pub fn new(inner: L, local: SocketAddr, file: PcapWriter<W>, clock: Box<dyn FnMut() -> u64 + Send>) -> Self {
        Self { inner, local, file, clock, error: None }
    }

    /// What ended the capture before its time.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// The link below.
    pub fn inner(&mut self) -> &mut L {
        &mut self.inner
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn note(&mut self, batch: &Batch, skip: usize, outward: bool) {
        let wall = (self.clock)();
        for (peer, message) in batch.iter().skip(skip) {
            if self.error.is_some() {
                return;
            }
            let (from, to) = if outward { (self.local, peer) } else { (peer, self.local) };
            self.error = self.file.datagram(wall, from, to, message).err();
        }
    }
}

impl<L: Rx, W: Write> Rx for Capture<L, W> {
    fn recv(&mut self, batch: &mut Batch) -> io::Result<Received> {
        let before = batch.len();
        let received = self.inner.recv(batch)?;
        if batch.len() > before {
            self.note(batch, before, false);
        }
        Ok(received)
    }
}

impl<L: Tx, W: Write> Tx for Capture<L, W> {
    fn send(&mut self, batch: &mut Batch) -> io::Result<Sent> {
        if !batch.is_empty() {
            self.note(batch, 0, true);
        }
        self.inner.send(batch)
    }
}
