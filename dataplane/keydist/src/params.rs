//! The parameter list of the gateway protocols (spec section 4, MGCP and H.248): `name="value"` pairs behind a signal
//! or an observed event, and the form `v=1;name=value` of a plain registration. Read once: what comes out is typed and
//! within its limits; octets that are opaque here stay where they are in the message.
//!
//! Names are compared without regard to case, as both protocols compare theirs. A name that is not known is passed
//! over, for later versions; any name given twice is malformed.

use crate::ident::{Idc, Idsp, N1, Rand, Word, Wrap, is_n2};
use crate::mech::{LIST_MAX, MechList, SEL_MAX};
use crate::steps::{Refusal, S1, S2, S5, S6, S7, S8, S9, S10};
use core::net::SocketAddr;
use portunus_codec::{b64_decode, hex_decode, parse_u32, parse_u64};

mod read;
mod write;

pub use write::Quoted;

/// Most parameters in a list, the unknown ones counted.
pub const PARAMS_MAX: usize = 24;
/// Longest value in octets.
pub const VALUE_MAX: usize = LIST_MAX;
/// Longest cookie in octets: the longest that a proxy makes, and room.
pub const COOKIE_MAX: usize = 128;
/// What a terminal waits, in seconds, after a refusal for overload: the gateway protocols' lists name no time.
pub const BUSY_RETRY_S: u32 = 4;

/// What is wrong with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParamFault {
    /// Not `name="value"`, or not `name=value` where values stand bare.
    Syntax,
    /// More than [`PARAMS_MAX`] parameters, or a value longer than [`VALUE_MAX`].
    TooBig,
    /// A name given twice.
    Twice,
    /// A value that is none of its parameter's.
    Value,
    /// A parameter that its step cannot do without is not there.
    Missing,
    /// A parameter that only the core may send.
    CoreOnly,
    /// A version other than 1.
    Version,
}

/// A list that was refused: what, which parameter, where. The fault is its sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamError {
    /// What is wrong.
    pub fault: ParamFault,
    /// The parameter; empty where the fault is none's.
    pub name: &'static str,
    /// Octet offset in the list.
    pub at: usize,
}

impl core::fmt::Display for ParamError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let what = match self.fault {
            ParamFault::Syntax => "not a list of parameters",
            ParamFault::TooBig => "too many or too long",
            ParamFault::Twice => "given twice",
            ParamFault::Value => "a value that it cannot have",
            ParamFault::Missing => "missing",
            ParamFault::CoreOnly => "not the terminal's to send",
            ParamFault::Version => "a version other than 1",
        };
        write!(f, "parameter {}: {what} (at octet {})", self.name, self.at)
    }
}

impl core::error::Error for ParamError {}

/// The causes of a refusal, as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The one cause that says nothing.
    Denied,
    /// The clock is off.
    Stale,
    /// No mechanism is acceptable.
    Mechanism,
    /// Overload, or the core is away.
    Busy,
}

impl Cause {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Denied, "denied"), (Self::Stale, "stale"), (Self::Mechanism, "mechanism"), (Self::Busy, "busy")];

    /// The word that travels.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(cause, _)| *cause == self).map_or("denied", |(_, word)| word)
    }

    /// The cause of a refusal; what is malformed is refused by the protocol's own error, and is `Denied` here.
    pub const fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Denied | Refusal::Malformed => Self::Denied,
            Refusal::Stale { .. } => Self::Stale,
            Refusal::Mechanism => Self::Mechanism,
            Refusal::Busy { .. } => Self::Busy,
        }
    }
}

/// A list, read. Every value was checked; `None` where it was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'m> {
    /// `idsp`: the proxy.
    pub idsp: Option<Idsp<'m>>,
    /// `n1`.
    pub n1: Option<N1>,
    /// `n2`: N2a, an opaque token; or N2b, which is 16 hex digits.
    pub n2: Option<&'m [u8]>,
    /// `ts`: milliseconds since 1970 UTC.
    pub ts: Option<u64>,
    /// `rand`: 16 octets in base64url.
    pub rand: Option<Rand>,
    /// `mechreq="1"`.
    pub mechreq: bool,
    /// `authc`: 64 lower-case hex digits.
    pub auth_c: Option<Word>,
    /// `mechs`: the list as text, not yet checked as one.
    pub mechs: Option<&'m str>,
    /// `ekc`: 48 octets in base64url.
    pub ekc: Option<Wrap>,
    /// `eksp`: only the core sends it.
    pub eksp: Option<Wrap>,
    /// `sel`: the answer as text.
    pub sel: Option<&'m str>,
    /// `life`: seconds.
    pub life: Option<u32>,
    /// `ipc`: address and port; only the core hears it.
    pub ipc: Option<SocketAddr>,
    /// `cause`.
    pub cause: Option<Cause>,
    /// `cookie`: 1 to [`COOKIE_MAX`] characters of an N2a token's.
    pub cookie: Option<&'m [u8]>,
}

const fn missing(name: &'static str) -> ParamError {
    ParamError { fault: ParamFault::Missing, name, at: 0 }
}

impl<'m> Params<'m> {
    /// Takes one parameter in that a protocol's own reader found: its value without the quotation marks. `at` is only
    /// repeated in errors. Whether a name that is not known came twice is the caller's to see.
    ///
    /// # Errors
    /// [`ParamError`].
    pub fn take(&mut self, name: &[u8], value: &'m [u8], at: usize) -> Result<(), ParamError> {
        let Some(field) = Field::of(name) else { return Ok(()) };
        let fail = |fault| ParamError { fault, name: field.name(), at };
        if value.len() > VALUE_MAX {
            return Err(fail(ParamFault::TooBig));
        }
        match self.set(field, value) {
            Some(true) => Ok(()),
            Some(false) => Err(fail(ParamFault::Twice)),
            None => Err(fail(ParamFault::Value)),
        }
    }

    /// `None`: the value is none of the field's. `Some(false)`: it was there already.
    fn set(&mut self, field: Field, value: &'m [u8]) -> Option<bool> {
        fn put<T>(place: &mut Option<T>, value: Option<T>) -> Option<bool> {
            value.map(|value| place.replace(value).is_none())
        }
        match field {
            Field::Idsp => put(&mut self.idsp, Idsp::from_octets(value)),
            Field::N1 => put(&mut self.n1, N1::parse(value)),
            Field::N2 => put(&mut self.n2, is_n2(value).then_some(value)),
            Field::Ts => put(&mut self.ts, parse_u64(value)),
            Field::Rand => put(&mut self.rand, octets(value)),
            Field::Mechreq => (value == b"1").then(|| !core::mem::replace(&mut self.mechreq, true)),
            Field::Authc => put(&mut self.auth_c, hex_decode(value)),
            Field::Mechs => put(&mut self.mechs, text(value, LIST_MAX)),
            Field::Ekc => put(&mut self.ekc, octets(value)),
            Field::Eksp => put(&mut self.eksp, octets(value)),
            Field::Sel => put(&mut self.sel, text(value, SEL_MAX)),
            Field::Life => put(&mut self.life, parse_u32(value)),
            Field::Ipc => put(&mut self.ipc, core::str::from_utf8(value).ok().and_then(|s| s.parse().ok())),
            Field::Cause => {
                let cause = Cause::ALL.into_iter().find(|(_, word)| word.as_bytes().eq_ignore_ascii_case(value));
                put(&mut self.cause, cause.map(|(cause, _)| cause))
            }
            Field::Cookie => put(&mut self.cookie, is_cookie(value).then_some(value)),
        }
    }

    /// Refuses what only the core may send; for every list of a terminal's.
    ///
    /// # Errors
    /// [`ParamFault::CoreOnly`].
    pub fn from_terminal(self) -> Result<Self, ParamError> {
        let core_only = [("ekc", self.ekc.is_some()), ("eksp", self.eksp.is_some()), ("ipc", self.ipc.is_some())];
        match core_only.into_iter().find(|(_, there)| *there) {
            Some((name, _)) => Err(ParamError { fault: ParamFault::CoreOnly, name, at: 0 }),
            None => Ok(self),
        }
    }

    /// s1, from a terminal.
    ///
    /// # Errors
    /// [`ParamError`]: core-only or missing.
    pub fn s1(&self, idc: Idc<'m>) -> Result<S1<'m>, ParamError> {
        let own = self.from_terminal()?;
        let idsp = own.idsp.ok_or(missing("idsp"))?;
        let n1 = own.n1.ok_or(missing("n1"))?;
        Ok(S1 { idc, idsp, n1, ts: own.ts.ok_or(missing("ts"))?, cookie: own.cookie })
    }

    /// s2, at the softswitch.
    ///
    /// # Errors
    /// [`ParamFault::Missing`].
    pub fn s2(&self, idc: Idc<'m>) -> Result<S2<'m>, ParamError> {
        Ok(S2 { idc, idsp: self.idsp.ok_or(missing("idsp"))?, n1: self.n1.ok_or(missing("n1"))? })
    }

    /// s5, at the proxy, with the N1 of the registration that it belongs to.
    ///
    /// # Errors
    /// [`ParamFault::Missing`].
    pub fn s5(&self, idc: Idc<'m>) -> Result<(S5<'m>, N1), ParamError> {
        let n1 = self.n1.ok_or(missing("n1"))?;
        let rand = self.rand.ok_or(missing("rand"))?;
        Ok((S5 { idc, idsp: self.idsp.ok_or(missing("idsp"))?, rand }, n1))
    }

    /// s6, at the terminal.
    ///
    /// # Errors
    /// [`ParamFault::Missing`].
    pub fn s6(&self) -> Result<S6<'m>, ParamError> {
        if !self.mechreq {
            return Err(missing("mechreq"));
        }
        Ok(S6 {
            idsp: self.idsp.ok_or(missing("idsp"))?,
            n1: self.n1.ok_or(missing("n1"))?,
            n2: self.n2.ok_or(missing("n2"))?,
            ts: self.ts.ok_or(missing("ts"))?,
            rand: self.rand.ok_or(missing("rand"))?,
        })
    }

    /// s7, from a terminal.
    ///
    /// # Errors
    /// [`ParamError`]: core-only, missing, or no mechanism list.
    pub fn s7(&self, idc: Idc<'m>) -> Result<S7<'m>, ParamError> {
        let own = self.from_terminal()?;
        let mechs = own.mechs.ok_or(missing("mechs"))?;
        Ok(S7 {
            idc,
            idsp: own.idsp,
            n1: own.n1.ok_or(missing("n1"))?,
            n2: own.n2.ok_or(missing("n2"))?,
            ts: own.ts.ok_or(missing("ts"))?,
            rand: own.rand,
            auth_c: own.auth_c.ok_or(missing("authc"))?,
            mechs: MechList::from_text(mechs).map_err(|e| ParamError {
                fault: ParamFault::Value,
                name: "mechs",
                at: e.at,
            })?,
        })
    }

    /// s8, at the softswitch.
    ///
    /// # Errors
    /// [`ParamFault::Missing`].
    pub fn s8(&self, idc: Idc<'m>) -> Result<S8<'m>, ParamError> {
        Ok(S8 {
            idc,
            idsp: self.idsp.ok_or(missing("idsp"))?,
            rand: self.rand.ok_or(missing("rand"))?,
            auth_c: self.auth_c.ok_or(missing("authc"))?,
            ipc: self.ipc.ok_or(missing("ipc"))?,
        })
    }

    /// s9, at the proxy, with the Rand of the registration that it belongs to.
    ///
    /// # Errors
    /// [`ParamFault::Missing`].
    pub fn s9(&self) -> Result<(S9, Rand), ParamError> {
        let s9 = S9 { ekc: self.ekc.ok_or(missing("ekc"))?, eksp: self.eksp.ok_or(missing("eksp"))? };
        Ok((s9, self.rand.ok_or(missing("rand"))?))
    }

    /// s10, at the terminal. Its MAC stands elsewhere in the message.
    ///
    /// # Errors
    /// [`ParamError`]: missing, or an `n2` that is not N2b.
    pub fn s10(&self) -> Result<S10<'m>, ParamError> {
        let n2 = self.n2.ok_or(missing("n2"))?;
        Ok(S10 {
            idsp: self.idsp.ok_or(missing("idsp"))?,
            n1: self.n1.ok_or(missing("n1"))?,
            n2: N1::parse(n2).ok_or(ParamError { fault: ParamFault::Value, name: "n2", at: 0 })?,
            ts: self.ts.ok_or(missing("ts"))?,
            life: self.life.ok_or(missing("life"))?,
            ekc: self.ekc.ok_or(missing("ekc"))?,
            sel: self.sel.ok_or(missing("sel"))?,
            mechs: self.mechs.ok_or(missing("mechs"))?,
        })
    }

    /// A refusal. A stale clock's needs the proxy's.
    ///
    /// # Errors
    /// [`ParamFault::Missing`].
    pub fn refusal(&self) -> Result<Refusal, ParamError> {
        Ok(match self.cause.ok_or(missing("cause"))? {
            Cause::Denied => Refusal::Denied,
            Cause::Stale => Refusal::Stale { ts: self.ts.ok_or(missing("ts"))? },
            Cause::Mechanism => Refusal::Mechanism,
            Cause::Busy => Refusal::Busy { retry_after_s: BUSY_RETRY_S },
        })
    }
}

/// The parameters that this specification knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Idsp,
    N1,
    N2,
    Ts,
    Rand,
    Mechreq,
    Authc,
    Mechs,
    Ekc,
    Eksp,
    Sel,
    Life,
    Ipc,
    Cause,
    Cookie,
}

impl Field {
    const ALL: [(Self, &'static str); 15] = [
        (Self::Idsp, "idsp"),
        (Self::N1, "n1"),
        (Self::N2, "n2"),
        (Self::Ts, "ts"),
        (Self::Rand, "rand"),
        (Self::Mechreq, "mechreq"),
        (Self::Authc, "authc"),
        (Self::Mechs, "mechs"),
        (Self::Ekc, "ekc"),
        (Self::Eksp, "eksp"),
        (Self::Sel, "sel"),
        (Self::Life, "life"),
        (Self::Ipc, "ipc"),
        (Self::Cause, "cause"),
        (Self::Cookie, "cookie"),
    ];

    fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| n.as_bytes().eq_ignore_ascii_case(name)).map(|(field, _)| *field)
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }
}

fn octets<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    (b64_decode(value, &mut out) == Some(N)).then_some(out)
}

/// Printable text without what would end a quoted string.
fn text(value: &[u8], max: usize) -> Option<&str> {
    let good = value.len() <= max && value.iter().all(|c| matches!(c, b' '..=b'~') && *c != b'"');
    if good { core::str::from_utf8(value).ok() } else { None }
}

fn is_cookie(value: &[u8]) -> bool {
    value.len() <= COOKIE_MAX && is_n2(value)
}
