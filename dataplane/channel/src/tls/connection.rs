//! One connection: OpenSSL between two buffers as long as the handshake lasts, and then its records alone.

use super::half::{Cipher, SECRET_LEN};
use super::records::Records;
use super::{Ended, Identity, Limits, Psk};
use core::ffi::c_int;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslStream};
use portunus_codec::hex_decode;
use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use zeroize::Zeroizing;

/// What the peer may be keyed by, and what came of it.
pub(super) struct Offered {
    pub(super) id: Option<Identity>,
    /// OpenSSL keeps it where only a shared reference leads; nobody else ever has the lock.
    secrets: Mutex<Secrets>,
}

struct Secrets {
    psk: Psk,
    /// Client's and server's traffic secret, once they are agreed on.
    traffic: [Option<Zeroizing<[u8; SECRET_LEN]>>; 2],
}

/// What OpenSSL calls the secrets that protect what follows the handshake (RFC 9850).
const TRAFFIC: [&str; 2] = ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"];

impl Offered {
    pub(super) const fn new(id: Option<Identity>, psk: Psk) -> Self {
        Self { id, secrets: Mutex::new(Secrets { psk, traffic: [None, None] }) }
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies the PSK out; 0 where it does not fit.
    pub(super) fn put_psk(&self, place: &mut [u8]) -> usize {
        put(place, self.secrets().psk.expose())
    }

    /// Keeps a secret that OpenSSL tells of in a line of the format of RFC 9850.
    pub(super) fn note(&self, line: &str) {
        let mut words = line.split(' ');
        let Some(which) = words.next().and_then(|label| TRAFFIC.iter().position(|known| *known == label)) else {
            return;
        };
        let secret = words.nth(1).and_then(|digits| hex_decode::<SECRET_LEN>(digits.as_bytes()));
        if let Some(place) = self.secrets().traffic.get_mut(which) {
            *place = secret.map(Zeroizing::new);
        }
    }
}

/// Copies all of `octets`; 0 where they do not fit.
pub(super) fn put(place: &mut [u8], octets: &[u8]) -> usize {
    match place.get_mut(..octets.len()) {
        Some(place) => {
            place.copy_from_slice(octets);
            octets.len()
        }
        None => 0,
    }
}

/// Where a connection's [`Offered`] is found by OpenSSL's callbacks.
pub(super) fn offered_index() -> Result<Index<Ssl, Offered>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, Offered>> = OnceLock::new();
    if let Some(index) = INDEX.get() {
        return Ok(*index);
    }
    let index = Ssl::new_ex_index()?;
    Ok(*INDEX.get_or_init(|| index))
}

/// What OpenSSL reads from and writes to.
struct Pipe {
    input: Vec<u8>,
    from: usize,
    output: Vec<u8>,
}

impl Pipe {
    fn waiting(&self) -> usize {
        self.input.len() - self.from
    }
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let waiting = self.input.get(self.from..).unwrap_or_default();
        if waiting.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = waiting.len().min(room.len());
        let (taken, _) = waiting.split_at(len);
        if let Some(place) = room.get_mut(..len) {
            place.copy_from_slice(taken);
        }
        self.from += len;
        if self.from == self.input.len() {
            // An idle connection holds no buffer.
            self.input = Vec::new();
            self.from = 0;
        }
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What came of some octets of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Octets of plaintext.
    pub plain: usize,
    /// There is more plaintext than the room took: ask again without octets.
    pub more: bool,
}

/// How far a connection has come.
enum Phase {
    /// OpenSSL has it.
    Shaking(Box<Shaking>),
    /// The handshake is complete, and OpenSSL has let go of it.
    Open(Box<Records>),
    /// The handshake came to nothing.
    Failed(Ended),
}

/// A handshake under way.
struct Shaking {
    tls: SslStream<Pipe>,
    /// Octets of the peer's so far.
    shaken: usize,
}

/// One end of a connection.
pub struct Connection {
    phase: Phase,
    limits: Limits,
    server: bool,
}

impl core::fmt::Debug for Connection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connection").field("established", &self.is_established()).finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(context: &SslContext, limits: Limits, offered: Offered, server: bool) -> Result<Self, Ended> {
        let build = || {
            let mut ssl = Ssl::new(context)?;
            ssl.set_ex_data(offered_index()?, offered);
            if server {
                ssl.set_accept_state();
            } else {
                ssl.set_connect_state();
            }
            SslStream::new(ssl, Pipe { input: Vec::new(), from: 0, output: Vec::new() })
        };
        let tls = build().map_err(|_| Ended::Memory)?;
        Ok(Self { phase: Phase::Shaking(Box::new(Shaking { tls, shaken: 0 })), limits, server })
    }

    /// True once the handshake is complete: the peer holds the PSK.
    pub const fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// The client's first flight, appended to `out`.
    ///
    /// # Errors
    /// [`Ended`]; what stands in `out` is to be sent even then.
    pub fn start(&mut self, out: &mut Vec<u8>) -> Result<(), Ended> {
        self.shake(&[], out)
    }

    /// Takes octets of the peer's; plaintext goes to `room`, what the peer gets is appended to `out`.
    ///
    /// # Errors
    /// [`Ended`]; what stands in `out` is to be sent even then, and then the connection to be closed.
    pub fn take(&mut self, octets: &[u8], room: &mut [u8], out: &mut Vec<u8>) -> Result<Taken, Ended> {
        let mut octets = octets;
        if !self.is_established() {
            self.shake(octets, out)?;
            octets = &[];
        }
        let taken = match &mut self.phase {
            Phase::Open(records) => {
                let (plain, more) = records.take(octets, room, &self.limits, out)?;
                Taken { plain, more }
            }
            Phase::Shaking(_) | Phase::Failed(_) => Taken { plain: 0, more: false },
        };
        if out.len() > self.limits.outgoing { Err(Ended::Slow) } else { Ok(taken) }
    }

    /// Appends the protected form of `plain` to `out`.
    ///
    /// # Errors
    /// [`Ended`]: before the handshake is complete nothing is sent ([`Ended::Refused`]).
    pub fn put(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Ended> {
        let Phase::Open(records) = &mut self.phase else { return Err(Ended::Refused) };
        if out.len() + plain.len() > self.limits.outgoing {
            return Err(Ended::Slow);
        }
        records.put(plain, out)
    }

    /// Says to the peer that nothing more comes.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if let Phase::Open(records) = &mut self.phase {
            records.close(out);
        }
    }

    /// Goes on with the handshake; what the peer gets is appended to `out`.
    fn shake(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Ended> {
        let shaking = match &mut self.phase {
            Phase::Shaking(shaking) => shaking,
            Phase::Failed(ended) => return Err(*ended),
            Phase::Open(_) => return Ok(()),
        };
        let outcome = shaking.go(octets, &self.limits);
        shaking.drain(out);
        let phase = match outcome {
            Ok(false) => return Ok(()),
            Ok(true) => shaking.records(self.server).map(|records| Phase::Open(Box::new(records))),
            Err(ended) => Err(ended),
        };
        match phase {
            // OpenSSL's part goes with all that it knows.
            Ok(open) => self.phase = open,
            Err(ended) => {
                self.phase = Phase::Failed(ended);
                return Err(ended);
            }
        }
        Ok(())
    }
}

impl Shaking {
    /// True when the handshake is complete.
    fn go(&mut self, octets: &[u8], limits: &Limits) -> Result<bool, Ended> {
        let pipe = self.tls.get_mut();
        if pipe.waiting() + octets.len() > limits.incoming {
            return Err(Ended::Flood);
        }
        pipe.input.extend_from_slice(octets);
        let before = pipe.waiting();
        let outcome = self.tls.do_handshake();
        self.shaken += before - self.tls.get_ref().waiting();
        let complete = match outcome {
            Ok(()) => true,
            Err(error) if error.code() == ErrorCode::WANT_READ => false,
            Err(error) => return Err(why(&error)),
        };
        if self.shaken > limits.handshake {
            return Err(Ended::Long);
        }
        // A handshake without the PSK cannot succeed at either end; this is the second lock on that door.
        if complete && !self.tls.ssl().session_reused() {
            return Err(Ended::Unproven);
        }
        Ok(complete)
    }

    /// What protects the connection from now on. OpenSSL reads a record at a time: what follows its last waits still.
    fn records(&mut self, server: bool) -> Result<Records, Ended> {
        let pipe = self.tls.get_mut();
        let rest = pipe.input.split_off(pipe.from);
        let ssl = self.tls.ssl();
        let cipher = ssl.current_cipher().and_then(|suite| Cipher::of_suite(suite.name()));
        let offered = offered_index().ok().and_then(|index| ssl.ex_data(index));
        let (Some(cipher), Some(offered)) = (cipher, offered) else { return Err(Ended::Refused) };
        let [Some(client), Some(own)] = core::mem::take(&mut offered.secrets().traffic) else {
            return Err(Ended::Refused);
        };
        let pair = if server { (&*client, &*own) } else { (&*own, &*client) };
        Records::new(cipher, pair, server, rest).ok_or(Ended::Memory)
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        let output = &mut self.tls.get_mut().output;
        if out.is_empty() {
            core::mem::swap(out, output);
        } else {
            out.append(output);
        }
        *output = Vec::new();
    }
}

/// `SSL_R_BINDER_DOES_NOT_VERIFY` of OpenSSL's sslerr.h.
const BINDER: c_int = 253;
/// `SSL_AD_REASON_OFFSET`: reasons from here on are alerts of the peer's.
const ALERTS: c_int = 1000;

/// What OpenSSL's error means.
fn why(error: &openssl::ssl::Error) -> Ended {
    if error.code() == ErrorCode::ZERO_RETURN {
        return Ended::Closed;
    }
    let reason =
        error.ssl_error().and_then(|stack| stack.errors().first()).map_or(0, openssl::error::Error::reason_code);
    match reason {
        BINDER => Ended::Unproven,
        ALERTS..=1255 => Ended::Alert((reason - ALERTS) as u8),
        _ => Ended::Refused,
    }
}
