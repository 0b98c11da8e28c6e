//! `portunus redeem`: a terminal fetches its first key with an activation code.

use crate::cli::{RedeemArgs, resolve};
use crate::exit::Failure;
use crate::out::Out;
use portunus_keydist::activation::{Code, MESSAGE_MAX};
use portunus_keydist::{Now, Random as _, SystemRandom};
use portunus_terminal::activation::{Event, Pending, Redeem};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Longest file with a code, octets.
const FILE_MAX: u64 = 4_096;

/// Redeems a code, or goes on where an earlier attempt was cut off.
///
/// # Errors
/// What is wrong with the code or the file, or that nobody answered.
pub fn redeem(args: &RedeemArgs, out: Out) -> Result<(), Failure> {
    if args.out.exists() {
        let what = format!("{} exists already", args.out.display());
        return Err(Failure::configuration(what, "name a new file with --out"));
    }
    let server = resolve(&args.server)?;
    let place = Kept { file: args.out.clone(), beside: beside(&args.out) };
    let code = read_code(&args.code)?;
    let line = Line::to(server, Duration::from_secs(args.limit))?;
    if let Some(pending) = place.pending()? {
        // Its confirm may have arrived, and then nothing else is answered any more.
        if let Event::Done(pending) = line.run(Redeem::resumed(line.now(), pending), &place)? {
            return done(&place, &pending, out);
        }
    }
    let fresh = Redeem::new(line.now(), code.key(), SystemRandom::new().array());
    match line.run(fresh, &place)? {
        Event::Done(pending) => done(&place, &pending, out),
        Event::Unconfirmed(_) => Err(Failure::unreachable(
            format!("{server} gave a key and did not say that it works"),
            format!("run the same again: {} is taken up where it was left", place.beside.display()),
        )),
        Event::Unanswered | Event::Key(_) => {
            let what = format!("{server} did not answer: it is not reached, or the code is not good there (any more)");
            Err(Failure::unreachable(what, "check the address; then ask whoever issued the code what it is listed as"))
        }
    }
}

fn done(place: &Kept, pending: &Pending, out: Out) -> Result<(), Failure> {
    write_private(&place.file, &pending.key_file())?;
    let gone = std::fs::remove_file(&place.beside);
    gone.map_err(|e| Failure::io(&format!("removing {}", place.beside.display()), &e))?;
    out.say(format!("{} has its key, in {}; the code is used up", pending.idc, place.file.display()));
    out.machine(&json!({ "done": "redeemed", "id": pending.idc, "key_file": place.file }));
    Ok(())
}

/// Where a key is before it is known to work.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".unconfirmed");
    file.with_file_name(name)
}

struct Kept {
    file: PathBuf,
    beside: PathBuf,
}

impl Kept {
    fn pending(&self) -> Result<Option<Pending>, Failure> {
        let failed = |e: &std::io::Error| Failure::io(&format!("reading {}", self.beside.display()), e);
        let mut text = Zeroizing::new(String::with_capacity(FILE_MAX as usize + 1));
        match std::fs::File::open(&self.beside) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(&e)),
            Ok(file) => file.take(FILE_MAX).read_to_string(&mut text).map_err(|e| failed(&e))?,
        };
        let bad = || {
            let what = format!("{} is not what an earlier attempt left", self.beside.display());
            Failure::configuration(what, "move it away, or name another --out")
        };
        Pending::from_text(&text).map(Some).ok_or_else(bad)
    }
}

/// Puts a whole file of mode 0600 in its place, durable when this returns.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        match std::fs::remove_file(&fresh) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|e| Failure::io(&format!("writing {}", path.display()), &e))
}

/// The code: the first line of a file or of standard input; of a row `id,code`, what follows the comma.
fn read_code(path: &Path) -> Result<Code, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(FILE_MAX as usize + 1));
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|f| f.take(FILE_MAX).read_to_string(&mut text))
    };
    read.map_err(|e| Failure::configuration(format!("{}: {e}", path.display()), "name a file with the code"))?;
    let line = text.lines().map(str::trim).find(|l| !l.is_empty() && *l != "id,code").unwrap_or_default();
    let code = line.rsplit(',').next().unwrap_or_default();
    Code::parse(code).map_err(|e| Failure::configuration(e.to_string(), "compare it with the paper, and type it again"))
}

/// The way to the AuC.
struct Line {
    socket: UdpSocket,
    begun: Instant,
    /// When nobody is waited for any longer, since `begun`.
    limit: Duration,
}

impl Line {
    fn to(server: SocketAddr, limit: Duration) -> Result<Self, Failure> {
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let opened = UdpSocket::bind(any).and_then(|socket| socket.connect(server).map(|()| socket));
        let socket = opened.map_err(|e| Failure::io(&format!("reaching {server}"), &e))?;
        Ok(Self { socket, begun: Instant::now(), limit })
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.begun.elapsed().as_millis() as u64, wall_ms: 0 }
    }

    /// Runs one redemption to its end; a key is kept before it is confirmed.
    fn run(&self, mut redeem: Redeem, place: &Kept) -> Result<Event, Failure> {
        let failed = |e: &std::io::Error| Failure::io("talking to the AuC", e);
        let mut octets = [0u8; MESSAGE_MAX + 1];
        loop {
            while let Some(message) = redeem.poll_transmit(self.now()) {
                // A refusal by the network is as good as no answer: it is sent again.
                let _ = self.socket.send(&message);
            }
            let over = self.begun.elapsed() >= self.limit;
            if let Some(event) = if over { redeem.give_up() } else { redeem.on_timer(self.now()) } {
                return Ok(event);
            }
            let wait = redeem.deadline().map_or(1, |at| at.saturating_sub(self.now().mono_ms).max(1));
            let left = self.limit.saturating_sub(self.begun.elapsed());
            let wait = Duration::from_millis(wait).min(left.max(Duration::from_millis(1)));
            self.socket.set_read_timeout(Some(wait)).map_err(|e| failed(&e))?;
            let Ok(n) = self.socket.recv(&mut octets) else {
                // A refusal comes at once: the repetition is waited for all the same.
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            match redeem.on_datagram(octets.get(..n).unwrap_or_default()) {
                Some(Event::Key(pending)) => {
                    write_private(&place.beside, &pending.to_text())?;
                    redeem.kept(self.now());
                }
                Some(event) => return Ok(event),
                None => {}
            }
        }
    }
}
