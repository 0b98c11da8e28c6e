//! One connection: OpenSSL between two buffers.

use super::{Ended, Identity, Limits, Psk};
use core::ffi::c_int;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslStream};
use std::io::{self, Read, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What the peer may be keyed by.
pub(super) struct Offered {
    pub(super) id: Option<Identity>,
    /// `None` once the handshake is complete. OpenSSL keeps it where only a shared reference leads; nobody else ever
    /// has the lock.
    psk: Mutex<Option<Psk>>,
}

impl Offered {
    pub(super) const fn new(id: Option<Identity>, psk: Psk) -> Self {
        Self { id, psk: Mutex::new(Some(psk)) }
    }

    /// Copies the PSK out; 0 where it does not fit or is gone.
    pub(super) fn put_psk(&self, place: &mut [u8]) -> usize {
        let psk = self.psk.lock().unwrap_or_else(PoisonError::into_inner);
        psk.as_ref().map_or(0, |psk| put(place, psk.expose()))
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

/// One end of a connection.
pub struct Connection {
    tls: SslStream<Pipe>,
    limits: Limits,
    /// Octets of the peer's while the handshake lasts.
    shaken: usize,
    established: bool,
}

impl core::fmt::Debug for Connection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connection").field("established", &self.established).finish_non_exhaustive()
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
        Ok(Self { tls, limits, shaken: 0, established: false })
    }

    /// True once the handshake is complete: the peer holds the PSK.
    pub const fn is_established(&self) -> bool {
        self.established
    }

    /// The client's first flight, appended to `out`.
    ///
    /// # Errors
    /// [`Ended`]; what stands in `out` is to be sent even then.
    pub fn start(&mut self, out: &mut Vec<u8>) -> Result<(), Ended> {
        let result = self.shake();
        self.drain(out);
        result
    }

    /// Takes octets of the peer's; plaintext goes to `room`, what the peer gets is appended to `out`.
    ///
    /// # Errors
    /// [`Ended`]; what stands in `out` is to be sent even then, and then the connection to be closed.
    pub fn take(&mut self, octets: &[u8], room: &mut [u8], out: &mut Vec<u8>) -> Result<Taken, Ended> {
        let result = self.take_in(octets, room);
        self.drain(out);
        match result {
            Ok(_) if out.len() > self.limits.outgoing => Err(Ended::Slow),
            other => other,
        }
    }

    fn take_in(&mut self, octets: &[u8], room: &mut [u8]) -> Result<Taken, Ended> {
        let pipe = self.tls.get_mut();
        if pipe.waiting() + octets.len() > self.limits.incoming {
            return Err(Ended::Flood);
        }
        pipe.input.extend_from_slice(octets);
        if !self.established {
            let before = self.tls.get_ref().waiting();
            self.shake()?;
            self.shaken += before - self.tls.get_ref().waiting();
            if self.shaken > self.limits.handshake {
                return Err(Ended::Long);
            }
            if !self.established {
                return Ok(Taken { plain: 0, more: false });
            }
        }
        let mut plain = 0;
        while let Some(rest) = room.get_mut(plain..).filter(|rest| !rest.is_empty()) {
            match self.tls.ssl_read(rest) {
                Ok(count) => plain += count,
                Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(Taken { plain, more: false }),
                // What came before the end is worth having.
                Err(_) if plain > 0 => return Ok(Taken { plain, more: true }),
                Err(error) => return Err(why(&error, true)),
            }
        }
        Ok(Taken { plain, more: true })
    }

    /// Appends the protected form of `plain` to `out`.
    ///
    /// # Errors
    /// [`Ended`]: before the handshake is complete nothing is sent ([`Ended::Refused`]).
    pub fn put(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Ended> {
        if !self.established {
            return Err(Ended::Refused);
        }
        if out.len() + plain.len() > self.limits.outgoing {
            return Err(Ended::Slow);
        }
        let mut rest = plain;
        while !rest.is_empty() {
            match self.tls.ssl_write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => return Err(why(&error, true)),
            }
        }
        self.drain(out);
        Ok(())
    }

    /// Says to the peer that nothing more comes.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.established {
            // Whether the peer has closed already makes no difference to what it is told.
            let _ = self.tls.shutdown();
            self.drain(out);
        }
    }

    fn shake(&mut self) -> Result<(), Ended> {
        match self.tls.do_handshake() {
            Ok(()) => {
                // A handshake without the PSK cannot succeed at either end; this is the second lock on that door.
                if !self.tls.ssl().session_reused() {
                    return Err(Ended::Unproven);
                }
                self.established = true;
                self.forget();
                Ok(())
            }
            Err(error) if error.code() == ErrorCode::WANT_READ => Ok(()),
            Err(error) => Err(why(&error, false)),
        }
    }

    /// Erases the PSK, which has served.
    fn forget(&mut self) {
        let offered = offered_index().ok().and_then(|index| self.tls.ssl().ex_data(index));
        if let Some(offered) = offered {
            // Erased as it is dropped.
            *offered.psk.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
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
fn why(error: &openssl::ssl::Error, established: bool) -> Ended {
    if error.code() == ErrorCode::ZERO_RETURN {
        return Ended::Closed;
    }
    let reason =
        error.ssl_error().and_then(|stack| stack.errors().first()).map_or(0, openssl::error::Error::reason_code);
    match reason {
        BINDER => Ended::Unproven,
        ALERTS..=1255 => Ended::Alert((reason - ALERTS) as u8),
        _ if established => Ended::Broken,
        _ => Ended::Refused,
    }
}
