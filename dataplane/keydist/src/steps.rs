//! The eleven steps as plain types (spec section 2). A carriage reads a message into one of these and writes one of
//! these into a message; a role's state machine takes and returns them; neither knows the other.

use crate::ident::{Idc, Idsp, N1, Rand, Word, Wrap};
use crate::mech::MechList;

/// s1, terminal to proxy: a plain registration that names who registers with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S1<'a> {
    /// Who registers.
    pub idc: Idc<'a>,
    /// The proxy that the terminal means to register through.
    pub idsp: Idsp<'a>,
    /// N1a.
    pub n1: N1,
    /// The terminal's clock, milliseconds since 1970 UTC.
    pub ts: u64,
    /// The stateless cookie, repeated from the proxy's first answer (spec section 6).
    pub cookie: Option<&'a [u8]>,
}

/// s2, proxy to softswitch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S2<'a> {
    /// Who registers.
    pub idc: Idc<'a>,
    /// Through whom.
    pub idsp: Idsp<'a>,
    /// N1a.
    pub n1: N1,
}

/// s3, softswitch to AuC: the same three.
pub type S3<'a> = S2<'a>;

/// s4, AuC to softswitch: everything needed to authenticate one registration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct S4 {
    /// The challenge.
    pub rand: Rand,
    /// The first verification word.
    pub auth_c: Word,
    /// The session key under Kc.
    pub ekc: Wrap,
    /// The session key under Ksp.
    pub eksp: Wrap,
}

impl core::fmt::Debug for S4 {
    /// Without the word: who reads it in time can answer the challenge.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("S4").field("rand", &self.rand).finish_non_exhaustive()
    }
}

/// s5, softswitch to proxy: challenge this terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S5<'a> {
    /// Who registers; absent where the carriage's message does not name it twice.
    pub idc: Idc<'a>,
    /// Through whom.
    pub idsp: Idsp<'a>,
    /// The challenge.
    pub rand: Rand,
}

/// s6, proxy to terminal: the challenge, and the request for the mechanism list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S6<'a> {
    /// The proxy.
    pub idsp: Idsp<'a>,
    /// The N1 of the message that this answers.
    pub n1: N1,
    /// N2a: an opaque token that the terminal repeats octet by octet.
    pub n2: &'a [u8],
    /// The proxy's clock, milliseconds since 1970 UTC.
    pub ts: u64,
    /// The challenge.
    pub rand: Rand,
}

/// s7, terminal to proxy: the answer and the mechanism list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S7<'a> {
    /// Who registers.
    pub idc: Idc<'a>,
    /// The proxy, where the carriage repeats it (SIP, RAS); the word and N2a are bound to it in any case.
    pub idsp: Option<Idsp<'a>>,
    /// N1b.
    pub n1: N1,
    /// N2a, as it stood in s6.
    pub n2: &'a [u8],
    /// The terminal's clock.
    pub ts: u64,
    /// The challenge answered, where the carriage repeats it (SIP's nonce); checked against the one N2a seals.
    pub rand: Option<Rand>,
    /// The second verification word.
    pub auth_c: Word,
    /// The mechanisms offered, in canonical form.
    pub mechs: MechList,
}

/// s8, proxy to softswitch: the answer, without the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S8<'a> {
    /// Who registers.
    pub idc: Idc<'a>,
    /// Through whom.
    pub idsp: Idsp<'a>,
    /// The challenge answered.
    pub rand: Rand,
    /// The second verification word.
    pub auth_c: Word,
    /// The terminal's address as the proxy sees it.
    pub ipc: core::net::SocketAddr,
}

/// s9, softswitch to proxy: authenticated; both wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S9 {
    /// The session key under Kc, for the terminal.
    pub ekc: Wrap,
    /// The session key under Ksp, for the proxy alone.
    pub eksp: Wrap,
}

/// s10, proxy to terminal: the key, the mechanism, the terminal's own list, under a MAC over the whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S10<'a> {
    /// The proxy.
    pub idsp: Idsp<'a>,
    /// N1b.
    pub n1: N1,
    /// N2b.
    pub n2: N1,
    /// The proxy's clock.
    pub ts: u64,
    /// The key's lifetime in seconds.
    pub life: u32,
    /// The session key under Kc.
    pub ekc: Wrap,
    /// The chosen mechanism with the proxy's parameters, e.g. `x-pkd-sealed;kid=0000000100000001;port=5065`.
    pub sel: &'a str,
    /// The terminal's list, echoed in canonical form.
    pub mechs: &'a str,
}

/// s11, softswitch to AuC: authenticated, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S11<'a> {
    /// Who registered.
    pub idc: Idc<'a>,
    /// Through whom.
    pub idsp: Idsp<'a>,
    /// The challenge that authenticated it: names the registration record.
    pub rand: Rand,
    /// The address registered.
    pub ipc: core::net::SocketAddr,
    /// What happened to the registration.
    pub event: Registration,
}

/// The life of a registration as the AuC records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Authenticated and registered.
    Start,
    /// Refreshed.
    Refresh,
    /// De-registered, expired or ended by the network.
    Stop,
}

/// Why a registration was not granted, as the terminal may hear it (spec sections 2 and 4). Whoever fails to prove
/// itself always gets `Denied`, whatever the cause and in the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The one refusal for every cause that an attacker could learn from.
    Denied,
    /// The terminal's clock is off; the answer carries the proxy's, in milliseconds since 1970 UTC.
    Stale {
        /// The proxy's clock.
        ts: u64,
    },
    /// None of the offered mechanisms is acceptable; said only after the word verified.
    Mechanism,
    /// Overload, or the core cannot be reached.
    Busy {
        /// Seconds to wait, jittered.
        retry_after_s: u32,
    },
    /// The message could not be read.
    Malformed,
}
