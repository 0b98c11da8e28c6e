//! A capture file is one that the field's own reader takes.

use std::process::Command;
use std::sync::{Arc, Mutex};

use portunus_io::capture::{Capture, PcapWriter};
use portunus_io::memory::link;
use portunus_io::trace::{Trace, Way};
use portunus_io::{Batch, Rx, Tx};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn capture(local: &str, peer: &str) -> Vec<u8> {
    let (local, peer) = (local.parse().unwrap(), peer.parse().unwrap());
    let (near, mut far) = link(local, peer, 1 << 16);
    let file = Shared::default();
    let clock = Box::new(|| 1_700_000_000_123_456_789);
    let traced = Trace::new(near, 16);
    let mut port = Capture::new(traced, local, PcapWriter::new(file.clone()).unwrap(), clock);
    far.send_from(peer, b"OPTIONS sip:a@example.test SIP/2.0\r\nCall-ID: in\r\n\r\n");
    let mut batch = Batch::new(8, 1500);
    assert_eq!(port.recv(&mut batch).unwrap().messages, 1);
    batch.clear();
    batch.push(peer, b"SIP/2.0 200 OK\r\nCall-ID: out\r\n\r\n");
    batch.push(peer, b"odd");
    assert_eq!(port.send(&mut batch).unwrap().messages, 2);
    assert!(port.error().is_none());
    let ways: Vec<_> = port.inner().entries().map(|entry| (entry.nth, entry.way, entry.len)).collect();
    assert_eq!(ways, [(0, Way::In, 51), (1, Way::Out, 32), (2, Way::Out, 3)]);
    let octets = file.0.lock().unwrap();
    octets.clone()
}

#[test]
fn the_file_is_what_the_format_says() {
    let octets = capture("192.0.2.1:5060", "198.51.100.2:40000");
    let word = |at: usize| u32::from_ne_bytes(octets[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xA1B2_3C4D, 101));
    assert_eq!((word(24), word(28)), (1_700_000_000, 123_456_789));
    let packet = &octets[40..40 + word(32) as usize];
    assert_eq!(packet.len(), 20 + 8 + 51);
    assert_eq!(packet[12..20], [198, 51, 100, 2, 192, 0, 2, 1]);
    // A header's words sum up to all ones (RFC 1071).
    let sum = packet[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    assert_eq!((sum & 0xFFFF) + (sum >> 16), 0xFFFF);
}

#[test]
fn tshark_reads_it_without_complaint() {
    // Where tshark is not installed the format test above stands alone.
    if Command::new("tshark").arg("--version").output().is_err() {
        return;
    }
    let cases = [("192.0.2.1:5060", "198.51.100.2:40000", "ip"), ("[2001:db8::1]:5060", "[2001:db8::2]:40000", "ipv6")];
    for (local, peer, family) in cases {
        let path = std::env::temp_dir().join(format!("portunus-capture-{}-{family}.pcap", std::process::id()));
        std::fs::write(&path, capture(local, peer)).unwrap();
        let out = Command::new("tshark")
            .args(["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields"])
            .args(["-e", &format!("{family}.src"), "-e", "udp.srcport", "-e", "udp.checksum.status"])
            .args(["-e", "sip.Call-ID", "-r"])
            .arg(&path)
            .output()
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let (a, b) = if family == "ip" { ("192.0.2.1", "198.51.100.2") } else { ("2001:db8::1", "2001:db8::2") };
        // Checksum status 1 is good.
        assert_eq!(text, format!("{b}\t40000\t1\tin\n{a}\t5060\t1\tout\n{a}\t5060\t1\t\n"));
    }
}
