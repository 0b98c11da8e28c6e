//! The elements that are measured, each a process of its own: the proxy, the floors and Kamailio.

use crate::cpu::Meter;
use crate::standin::StandIn;
use core::net::SocketAddr;
use core::time::Duration;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509Name};
use portunus_signalling::Protocol;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The signalling proxy.
    Proxy,
    /// A bare forwarder.
    F0,
    /// A bare forwarder that also computes what a proxy must.
    F1,
    /// A bare forwarder in the node's own threads: workers, rings and control thread, with nothing in them.
    Fn,
    /// Kamailio, stateless, with Path.
    KamailioStateless,
    /// Kamailio, transaction-stateful, with Path.
    KamailioStateful,
    /// Kamailio, stateless, behind its tls module with a certificate.
    KamailioTls,
}

impl Kind {
    /// What tables call it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::F0 => "floor F0",
            Self::F1 => "floor F1",
            Self::Fn => "floor in node's threads",
            Self::KamailioStateless => "Kamailio stateless",
            Self::KamailioStateful => "Kamailio stateful",
            Self::KamailioTls => "Kamailio tls",
        }
    }

    /// What it does to each registration.
    pub const fn does(self) -> &'static str {
        match self {
            Self::Proxy => "s1>s2, s5>s6 (seals N2a), s7>s8, s9>s10 (unwraps, derives, signs); all checks of the spec",
            Self::F0 => {
                "same packets through recvmmsg/sendmmsg on one thread, nothing read; a trailer as long as what a proxy adds"
            }
            Self::F1 => "F0 and the proxy's cryptography: seal and open N2a, unwrap, S, K_mac, traffic keys, MAC",
            Self::Fn => {
                "as F0, in the proxy's own workers, rings and control thread: what the node costs without engine"
            }
            Self::KamailioStateless => {
                "forwards s1, s7 and their answers with Via and Path; speaks no PKD1: the core does"
            }
            Self::KamailioStateful => "as stateless, with a transaction for each request (tm)",
            Self::KamailioTls => "as stateless, behind TLS 1.3 with a certificate",
        }
    }
}

/// An element at work; it is ended when dropped.
#[derive(Debug)]
pub struct Element {
    /// What it is.
    pub kind: Kind,
    /// Where terminals reach it.
    pub address: SocketAddr,
    /// What it costs.
    pub meter: Meter,
    child: Child,
    _files: Option<tempfile::TempDir>,
}

/// A protocol's name on this program's command line.
pub const fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sip => "sip",
        Protocol::Mgcp => "mgcp",
        Protocol::H248 => "h248",
        Protocol::Ras => "h323",
    }
}

/// How the elements are run.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// What they speak; Kamailio speaks SIP only.
    pub protocol: Protocol,
    /// The stand-in core's address for the proxy.
    pub behind_proxy: SocketAddr,
    /// The stand-in core's address for everything else.
    pub behind_forwarder: SocketAddr,
    /// Workers of the proxy and of Kamailio.
    pub workers: usize,
    /// Registrations of one slice.
    pub registrations: u32,
}

/// Terminals that the proxy has room for, in slices: those of the slices of half a minute, for so long it keeps what was
/// never confirmed.
const PROXY_SLICES: usize = 4;
/// Octets of shared memory that Kamailio needs for one transaction of a registration's request: some 20 kB are found.
const TRANSACTION: u64 = 24 << 10;
/// Transactions of one registration: s1 and s7.
const TRANSACTIONS: u64 = 2;
/// Octets of shared memory that Kamailio needs besides.
const SHARED_BASE: u64 = 256 << 20;

/// Megabytes of shared memory for Kamailio: all transactions of a slice are alive at its end, for they stay for 5 s
/// after theirs. With less it drops requests and measures its own retransmissions.
///
/// # Errors
/// When this machine has not as much to spare.
fn shared_memory(registrations: u32, available: Option<u64>) -> io::Result<u64> {
    let mb = (u64::from(registrations) * TRANSACTIONS * TRANSACTION + SHARED_BASE).div_ceil(1 << 20);
    match available.map(|octets| octets >> 20) {
        Some(free) if mb > free => Err(io::Error::other(format!(
            "kamailio needs {mb} MB of shared memory for {registrations} registrations a slice, and this machine has \
             {free} MB free: ask for fewer (--registrations), or leave it out (--no-peers)"
        ))),
        _ => Ok(mb),
    }
}

impl Setup {
    /// Between terminals of a protocol and a stand-in core.
    pub const fn new(protocol: Protocol, standin: &StandIn, workers: usize, registrations: u32) -> Self {
        let (behind_proxy, behind_forwarder) = (standin.behind_proxy, standin.behind_forwarder);
        Self { protocol, behind_proxy, behind_forwarder, workers, registrations }
    }
}

impl Element {
    /// Starts an element and waits until it serves.
    ///
    /// # Errors
    /// What keeps it from serving; for Kamailio also that it is not installed.
    pub fn start(kind: Kind, setup: &Setup) -> io::Result<Self> {
        Self::with(kind, setup, &[])
    }

    /// As [`Element::start`], with more arguments for an element of our own.
    ///
    /// # Errors
    /// As there.
    pub fn with(kind: Kind, setup: &Setup, more: &[&str]) -> io::Result<Self> {
        let spoken = &[&["--protocol", name(setup.protocol)], more].concat();
        match kind {
            Kind::Proxy => {
                let core = setup.behind_proxy.to_string();
                let terminals = setup.registrations as usize * PROXY_SLICES;
                let (workers, terminals) = (setup.workers.to_string(), terminals.to_string());
                let proxy = ["proxy", "--core", &core, "--workers", &workers, "--terminals", &terminals];
                Self::own(kind, &[&proxy[..], spoken].concat())
            }
            Kind::Fn => {
                let workers = setup.workers.to_string();
                Self::own(
                    kind,
                    &["floor", "--node", "--workers", &workers, "--core", &setup.behind_forwarder.to_string()],
                )
            }
            Kind::F0 => {
                Self::own(kind, &[&["floor", "--core", &setup.behind_forwarder.to_string()], &spoken[..]].concat())
            }
            Kind::F1 => {
                let core = setup.behind_forwarder.to_string();
                Self::own(kind, &[&["floor", "--crypto", "--core", &core], &spoken[..]].concat())
            }
            Kind::KamailioStateless => Self::kamailio(kind, include_str!("../peers/kamailio-stateless.cfg"), setup),
            Kind::KamailioStateful => Self::kamailio(kind, include_str!("../peers/kamailio-stateful.cfg"), setup),
            Kind::KamailioTls => Self::kamailio(kind, include_str!("../peers/kamailio-tls.cfg"), setup),
        }
    }

    /// This program again, under a hidden sub-command, which says `ready ADDRESS` and ends when its input does.
    fn own(kind: Kind, args: &[&str]) -> io::Result<Self> {
        let mut child =
            Command::new(std::env::current_exe()?).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("ready ").and_then(|a| a.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            return Err(io::Error::other(format!("{} did not start: {line:?}", kind.label())));
        };
        let meter = Meter::new(child.id())?;
        Ok(Self { kind, address, meter, child, _files: None })
    }

    fn kamailio(kind: Kind, template: &str, setup: &Setup) -> io::Result<Self> {
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let files = tempfile::tempdir()?;
        let config = template
            .replace("@LISTEN@", &address.to_string())
            .replace("@CORE@", &format!("sip:{}", setup.behind_forwarder))
            .replace("@FILES@", &files.path().to_string_lossy())
            .replace("@WORKERS@", &setup.workers.to_string());
        let shared = shared_memory(setup.registrations, crate::cpu::available())?.to_string();
        if kind == Kind::KamailioTls {
            certificate(files.path()).map_err(io::Error::other)?;
        }
        let path = files.path().join("kamailio.cfg");
        std::fs::File::create(&path)?.write_all(config.as_bytes())?;
        let child = Command::new("kamailio")
            .args(["-x", "tlsf", "-X", "fm", "-m", &shared, "-M", "16", "-DD", "-E", "-f"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("kamailio: {e}; apt-get install kamailio")))?;
        let meter = Meter::new(child.id())?;
        let mut element = Self { kind, address, meter, child, _files: Some(files) };
        await_sip(address)?;
        // Its workers exist only now.
        element.meter = Meter::new(element.child.id())?;
        Ok(element)
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        // Our own children end with their input. Kamailio's main process must be asked, so that it ends its workers.
        drop(self.child.stdin.take());
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status();
        let until = Instant::now() + Duration::from_secs(3);
        while asked.is_ok() && Instant::now() < until {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a key on P-256 and its own certificate.
fn certificate(into: &std::path::Path) -> Result<(), Box<dyn core::error::Error + Send + Sync>> {
    let key = EcKey::generate(EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?.as_ref())?;
    let key = PKey::from_ec_key(key)?;
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, "bench.example.test")?;
    let name = name.build();
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_subject_name(&name)?;
    certificate.set_issuer_name(&name)?;
    certificate.set_pubkey(&key)?;
    certificate.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    certificate.set_not_after(Asn1Time::days_from_now(2)?.as_ref())?;
    certificate.sign(&key, MessageDigest::sha256())?;
    std::fs::write(into.join("cert.pem"), certificate.build().to_pem()?)?;
    std::fs::write(into.join("key.pem"), key.private_key_to_pem_pkcs8()?)?;
    Ok(())
}

/// Waits until a SIP proxy forwards OPTIONS to the core and brings the answer back.
fn await_sip(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let own = socket.local_addr()?;
    for n in 0..100 {
        let ask = format!(
            "OPTIONS sip:core SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKready{n};rport\r\nMax-Forwards: 9\r\n\
             To: <sip:core>\r\nFrom: <sip:ready>;tag=1\r\nCall-ID: ready{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        // Nobody listens yet: refused, asked again.
        let _ = socket.send_to(ask.as_bytes(), address);
        let mut room = [0u8; 2_048];
        match socket.recv(&mut room) {
            Ok(n) if room.get(..n).is_some_and(|m| m.starts_with(b"SIP/2.0 200")) => return Ok(()),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "kamailio does not forward"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_follows_the_slice_and_the_machine() {
        assert_eq!(shared_memory(60_000, None).unwrap(), 3_069);
        assert_eq!(shared_memory(60_000, Some(4 << 30)).unwrap(), 3_069);
        let error = shared_memory(60_000, Some(2 << 30)).unwrap_err().to_string();
        assert!(error.contains("3069 MB") && error.contains("2048 MB free"), "{error}");
    }
}
