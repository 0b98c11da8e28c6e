//! The values of PKD1 as they stand in digest parameters.

use crate::view::{Digest, Field, Message, Name};
use portunus_codec::{b64_decode, hex_decode, parse_u64};
use portunus_keydist::ident::{Idc, Idsp, N1, Rand, Word, Wrap};
use portunus_signalling::{Fault, FaultKind};

/// Rand: 22 characters of base64url.
pub(crate) fn rand(text: &[u8]) -> Option<Rand> {
    octets(text)
}

/// A wrapped key: 64 characters of base64url.
pub(crate) fn wrap(text: &[u8]) -> Option<Wrap> {
    octets(text)
}

/// A verification word or MAC: 64 lower-case hex digits.
pub(crate) fn word(text: &[u8]) -> Option<Word> {
    hex_decode(text)
}

fn octets<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0u8; N];
    (b64_decode(text, &mut out) == Some(N)).then_some(out)
}

/// The credentials of one message, with faults that name the parameter.
#[derive(Debug)]
pub(crate) struct Credentials<'a, 'm> {
    /// Where they stand.
    pub(crate) msg: &'a Message<'m>,
    /// Their parameters.
    pub(crate) digest: &'a Digest<'m>,
}

impl<'m> Credentials<'_, 'm> {
    /// A fault in the parameter that `what` names.
    pub(crate) fn bad(&self, what: &'static str) -> Fault {
        Fault { what, ..self.msg.fault(FaultKind::Malformed, Name::Authorization) }
    }

    /// A parameter that must be there, with no escapes in it.
    pub(crate) fn need(&self, field: Field) -> Result<&'m [u8], Fault> {
        self.digest.plain(field).ok_or_else(|| self.bad("Authorization"))
    }

    /// `username`.
    pub(crate) fn idc(&self) -> Result<Idc<'m>, Fault> {
        Idc::from_octets(self.need(Field::Username)?).ok_or_else(|| self.bad("Authorization username"))
    }

    /// `idsp`.
    pub(crate) fn idsp(&self) -> Result<Idsp<'m>, Fault> {
        Idsp::from_octets(self.need(Field::Idsp)?).ok_or_else(|| self.bad("Authorization idsp"))
    }

    /// `n1`.
    pub(crate) fn n1(&self) -> Result<N1, Fault> {
        N1::parse(self.need(Field::N1)?).ok_or_else(|| self.bad("Authorization n1"))
    }

    /// `ts`.
    pub(crate) fn ts(&self) -> Result<u64, Fault> {
        parse_u64(self.need(Field::Ts)?).ok_or_else(|| self.bad("Authorization ts"))
    }
}
