//! Captures of what crosses the loopback, and what tshark finds in them.

use super::{Lab, Running, bounded};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

impl Lab {
    /// Captures what crosses the access network: everything at the ports that terminals reach.
    pub fn capture_access(&self) -> Capture {
        let ports = [self.sip, self.sealed, self.ipsec, self.tls].map(|at| format!("port {}", at.port()));
        self.capture_of("access.pcap", &ports.join(" or "), (vec![self.sip.port()], Vec::new(), None))
    }

    /// Captures what crosses the loopback at the lab's ports.
    pub fn capture(&self) -> Capture {
        let sip = [self.sip.port(), self.core.port(), self.softswitch.port()];
        let stock = self.digest.map(|_| self.stock.port());
        let sip: Vec<u16> = sip.into_iter().chain(stock).chain(self.registrars.iter().map(SocketAddr::port)).collect();
        let radius: Vec<u16> = match self.relay {
            // Over TLS there is nothing to read.
            Some(relay) if relay.is_radsec() => Vec::new(),
            relay => {
                let relay = relay.into_iter().flat_map(|relay| [relay.at, relay.records]);
                [self.radius, self.accounting].into_iter().chain(relay).map(|at| at.port()).collect()
            }
        };
        let h248 = self.controllers.first().map(SocketAddr::port);
        let (ipsec, tls) = (self.ipsec.port(), self.tls.port());
        let diameter: Vec<u16> = self.diameter.into_iter().flatten().map(|at| at.port()).collect();
        let ports = sip
            .iter()
            .chain(&radius)
            .chain(&diameter)
            .chain(&h248)
            .chain([&ipsec, &tls])
            .map(|port| format!("port {port}"));
        // What is sealed is nobody's to read, and what the system says of a terminal that has gone is not ours.
        let sealed = self.sealed.port();
        let hosts = self.beside.into_iter().flatten();
        let hosts = hosts.map(|at| format!("(host {at} and (udp or tcp) and not port {sealed})"));
        let filter: Vec<String> = ports.chain(hosts).collect();
        self.capture_of("capture.pcap", &filter.join(" or "), (sip, radius.clone(), h248))
    }

    /// What a filter lets through, into a file of this name; with the ports of SIP, RADIUS and H.248 in it.
    fn capture_of(&self, name: &str, filter: &str, ports: (Vec<u16>, Vec<u16>, Option<u16>)) -> Capture {
        let (file, (sip, radius, h248)) = (self.path(name), ports);
        let mut child = Command::new("tshark")
            .args(["-q", "-i", "lo", "-F", "pcap", "-f", filter, "-w"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("tshark starts");
        // It says so once the capture runs.
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let started = lines.by_ref().map_while(Result::ok).any(|l| l.contains("Capturing on"));
        assert!(started, "tshark did not begin to capture");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        std::thread::sleep(Duration::from_millis(700));
        let diameter = self.diameter.into_iter().flatten().map(|at| at.port()).collect();
        Capture { child: Running(child), file, sip, radius, diameter, h248, ipsec: self.ipsec.port() }
    }
}

/// A capture under way.
pub struct Capture {
    child: Running,
    file: PathBuf,
    sip: Vec<u16>,
    radius: Vec<u16>,
    diameter: Vec<u16>,
    h248: Option<u16>,
    ipsec: u16,
}

impl Capture {
    pub fn finish(self) -> Seen {
        std::thread::sleep(Duration::from_millis(1500));
        let pid = self.child.0.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        std::thread::sleep(Duration::from_millis(700));
        drop(self.child);
        cut(&self.file);
        Seen {
            file: self.file,
            sip: self.sip,
            radius: self.radius,
            diameter: self.diameter,
            h248: self.h248,
            ipsec: self.ipsec,
        }
    }
}

/// A finished capture.
pub struct Seen {
    file: PathBuf,
    sip: Vec<u16>,
    radius: Vec<u16>,
    diameter: Vec<u16>,
    h248: Option<u16>,
    ipsec: u16,
}

impl Seen {
    fn tshark(&self, filter: &str) -> String {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-o", "sip.tls.port:0"]);
        for port in &self.sip {
            command.args(["-d", &format!("udp.port=={port},sip"), "-d", &format!("tcp.port=={port},sip")]);
        }
        for port in &self.radius {
            command.args(["-d", &format!("udp.port=={port},radius")]);
        }
        for port in &self.diameter {
            command.args(["-d", &format!("tcp.port=={port},diameter")]);
        }
        if let Some(port) = self.h248 {
            command.args(["-d", &format!("udp.port=={port},megaco")]);
        }
        command.args(["-d", &format!("udp.port=={},udpencap", self.ipsec), "-Y", filter]);
        let report = bounded(&mut command, Duration::from_secs(60));
        assert!(report.ok, "tshark: {}", report.text);
        report.text
    }

    /// Lines of frames that match.
    pub fn frames(&self, filter: &str) -> Vec<String> {
        let text = self.tshark(filter);
        let frame = |l: &&str| l.trim_start().chars().next().is_some_and(|c| c.is_ascii_digit());
        text.lines().filter(frame).map(str::to_owned).collect()
    }

    /// No message is malformed and none of ours earns an expert item of warning or above, or any in MGCP, RAS and H.248 in
    /// datagrams, but for ports that a traceroute might use, which the system gave. TCP's own remarks on connections (a FIN
    /// is a chat item) are not about our messages.
    pub fn assert_clean(&self) {
        let bad = self.frames(
            "_ws.malformed || (_ws.expert.severity >= 0x00400000 && (sip || radius || megaco || esp || tls)) \
             || (_ws.expert && udp && !udp.possible_traceroute && (mgcp || megaco || h225)) || (diameter && _ws.expert && !tcp.analysis.flags \
             && !(tcp.flags & 7))",
        );
        assert!(bad.is_empty(), "tshark complains:\n{}", bad.join("\n"));
        let strange =
            self.frames("(udp || tcp.len > 0) && !(sip || radius || mgcp || megaco || h225 || esp || tls || diameter)");
        assert!(strange.is_empty(), "not taken for the right protocol:\n{}", strange.join("\n"));
    }

    /// Every one of these is among the values of a field.
    pub fn assert_values(&self, protocol: &str, field: &str, wanted: &[&str]) {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file);
        for port in &self.diameter {
            command.args(["-d", &format!("tcp.port=={port},diameter")]);
        }
        command.args(["-Y", protocol, "-T", "fields", "-e", field]);
        let report = bounded(&mut command, Duration::from_secs(60));
        assert!(report.ok, "tshark: {}", report.text);
        let seen: Vec<_> = report.text.lines().flat_map(|l| l.split(',')).map(str::trim).collect();
        let missing: Vec<_> = wanted.iter().filter(|w| !seen.contains(w)).collect();
        assert!(missing.is_empty(), "no {missing:?} among {field}: {seen:?}");
    }

    pub fn assert_at_least(&self, protocol: &str, count: usize) {
        let frames = self.frames(protocol);
        assert!(frames.len() >= count, "{} frames of {protocol}, not {count}:\n{}", frames.len(), frames.join("\n"));
    }
}

/// The system hands joined datagrams of a socket (UDP_SEGMENT) to whoever captures before it cuts them. tshark takes what
/// follows an H.248 message in a datagram for a part of it: those are cut here, at the beginnings of messages. The file
/// is a classic capture of Ethernet frames.
fn cut(file: &Path) {
    let captured = std::fs::read(file).expect("a capture");
    let (head, mut rest) = captured.split_at_checked(24).expect("a capture's head");
    let mut out = head.to_vec();
    while let Some((record, after)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes(record[8..12].try_into().expect("four octets")) as usize;
        let Some((frame, after)) = after.split_at_checked(len) else { break };
        for frame in messages(frame) {
            out.extend(&record[..8]);
            out.extend([(frame.len() as u32).to_le_bytes(); 2].concat());
            out.extend(frame);
        }
        rest = after;
    }
    std::fs::write(file, out).expect("a capture");
}

/// The frames that a frame stands for.
fn messages(frame: &[u8]) -> Vec<Vec<u8>> {
    const HEADERS: usize = 14 + 20 + 8;
    let datagram = frame.len() > HEADERS && frame[12..15] == [8, 0, 0x45] && frame[23] == 17;
    let text = if datagram { &frame[HEADERS..] } else { &[] };
    if !text.starts_with(b"!/") {
        return vec![frame.to_vec()];
    }
    let follows = (1..text.len()).filter(|at| text[at - 1] == b'}' && text[*at..].starts_with(b"!/"));
    let places: Vec<_> = [0].into_iter().chain(follows).chain([text.len()]).collect();
    let one = |range: &[usize]| {
        let message = &text[range[0]..range[1]];
        let mut out = [&frame[..HEADERS], message].concat();
        out[16..18].copy_from_slice(&(message.len() as u16 + 28).to_be_bytes());
        out[38..40].copy_from_slice(&(message.len() as u16 + 8).to_be_bytes());
        // No checksum: it was one of the whole.
        out[40..42].copy_from_slice(&[0, 0]);
        out
    };
    places.windows(2).map(one).collect()
}
