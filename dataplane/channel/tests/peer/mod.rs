//! Peers of the wire format: scapy's IPsec layer, one process for all messages of a test, and tshark over a capture.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

fn digits(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn octets(digits: &str) -> Vec<u8> {
    digits.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// The running peer.
#[derive(Debug)]
pub(crate) struct Scapy {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Scapy {
    /// One association: key and salt, SPI.
    pub(crate) fn start(key: &[u8], spi: u32) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer/esp.py");
        let mut command = Command::new("python3");
        command.arg(script).args([digits(key), spi.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("python3 is needed for this test: {e}"));
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut peer = Self { child, to, from };
        let ready = peer.line();
        assert_eq!(ready, "ready", "scapy and cryptography are needed for this test (pip install scapy cryptography)");
        peer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the peer answers");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, words: &[String]) -> String {
        writeln!(self.to.as_mut().unwrap(), "{}", words.join(" ")).expect("the peer listens");
        self.line()
    }

    /// The inner ports and content of a datagram, or what the peer says against it.
    pub(crate) fn open(&mut self, datagram: &[u8]) -> Result<((u16, u16), Vec<u8>), String> {
        let answer = self.ask(&["open".to_owned(), digits(datagram)]);
        let words: Vec<_> = answer.split(' ').collect();
        match words[..] {
            ["udp", from, to, content] => Ok(((from.parse().unwrap(), to.parse().unwrap()), octets(content))),
            ["udp", from, to] => Ok(((from.parse().unwrap(), to.parse().unwrap()), Vec::new())),
            _ => Err(answer),
        }
    }

    /// A datagram of the peer's making.
    pub(crate) fn seal(&mut self, seq: u32, ports: (u16, u16), content: &[u8]) -> Vec<u8> {
        let words = ["seal".to_owned(), seq.to_string(), ports.0.to_string(), ports.1.to_string(), digits(content)];
        let answer = self.ask(&words);
        octets(answer.strip_prefix("esp ").unwrap_or_else(|| panic!("scapy: {answer}")))
    }
}

impl Drop for Scapy {
    fn drop(&mut self) {
        // End of input ends it.
        self.to = None;
        _ = self.child.wait();
    }
}

/// A file of datagrams between two ports 4500.
#[derive(Debug)]
pub(crate) struct Capture(std::path::PathBuf);

fn sum(octets: &[u8]) -> u16 {
    let mut sum: u32 = octets.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

impl Capture {
    /// Link type 228: packets begin with their IPv4 header.
    pub(crate) fn write(datagrams: &[Vec<u8>]) -> Self {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, 228] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        for (n, datagram) in datagrams.iter().enumerate() {
            let udp = 8 + datagram.len() as u16;
            let mut ip = vec![0x45, 0, 0, 0, 0, n as u8, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 7, 192, 0, 2, 1];
            ip[2..4].copy_from_slice(&(20 + udp).to_be_bytes());
            let check = sum(&ip);
            ip[10..12].copy_from_slice(&check.to_be_bytes());
            for number in [4500, 4500, udp, 0] {
                ip.extend_from_slice(&u16::to_be_bytes(number));
            }
            ip.extend_from_slice(datagram);
            for word in [n as u32, 0, ip.len() as u32, ip.len() as u32] {
                file.extend_from_slice(&word.to_le_bytes());
            }
            file.extend_from_slice(&ip);
        }
        let path = std::env::temp_dir().join(format!("portunus-esp-{}.pcap", std::process::id()));
        std::fs::write(&path, file).expect("a temporary file");
        Self(path)
    }

    /// What tshark finds when it has the key: a line a packet.
    pub(crate) fn fields(&self, key: &[u8], spi: u32, fields: &[&str]) -> String {
        let association = format!(
            "uat:esp_sa:\"IPv4\",\"*\",\"*\",\"0x{spi:08x}\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x{}\",\"NULL\",\"\"",
            digits(key)
        );
        let mut command = Command::new("tshark");
        command.args(["-n", "-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"]);
        command.args(["-o", &association, "-T", "fields", "-r"]).arg(&self.0);
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.output().unwrap_or_else(|e| panic!("tshark is needed for this test: {e}"));
        assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}
