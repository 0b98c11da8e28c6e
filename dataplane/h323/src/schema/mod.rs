//! H.225.0 RAS and the tokens of H.235 as tables, the one function that goes through octets by them ([`walk()`]), and what
//! it notes ([`Places`]).
//!
//! The tables are data: what ASN.1 says, in its order and with its names. Root components are there in full, for what
//! follows them is found only behind them; of the extension additions, which bear their length, those that are read.
//! Nothing in them refers to itself, so depth is bounded by the tables, and every element of a list takes at least one
//! bit, so work is bounded by the octets.

pub(crate) mod common;
mod places;
pub(crate) mod ras;
pub(crate) mod tokens;
mod walk;

pub(crate) use self::places::{Places, WORDS};
pub(crate) use self::walk::{Bad, map_of_additions, plain_element, skip_additions, walk, walk_noting};

use portunus_codec::Range;

/// What is looked for in messages and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(clippy::enum_variant_names, reason = "the names are the Recommendation's")]
pub(crate) enum Id {
    Other,
    Seq,
    ProtocolId,
    RasAddress,
    CallSignal,
    EndpointType,
    Alias,
    GatekeeperId,
    EndpointId,
    Reason,
    Tokens,
    CryptoTokens,
    TimeToLive,
    KeepAlive,
    Destination,
    DestinationAddress,
    AnswerCall,
    ConferenceId,
    CallReference,
    CallId,
    CallModel,
    BandWidth,
    ReplyAddress,
    Delay,
    NeedResponse,
    DiscoveryComplete,
    TokenOid,
    TimeStamp,
    Challenge,
    GeneralId,
    SendersId,
    ProfileInfo,
}

/// How many there are.
const IDS: usize = Id::ProfileInfo as usize + 1;

/// A type of the Recommendations.
pub(crate) enum Type {
    Null,
    Bool,
    /// From and to.
    Int(Range),
    /// Without bounds.
    BigInt,
    /// Octets, from and to how many.
    Octets(Range),
    OctetString,
    /// Bits, from and to how many.
    Bits(Range),
    BitString,
    Oid,
    /// UTF-16, from and to how many units.
    Bmp(Range),
    FreeBmp,
    /// `0123456789#*,` in four bits each, from and to how many.
    Digits(Range),
    /// ASCII, an octet each.
    Ascii,
    /// Whether it is extensible, its root, and what is known of its additions.
    Sequence(bool, &'static [Field], &'static [More]),
    /// Whether it is extensible, and the alternatives of its root.
    Choice(bool, &'static [&'static Type]),
    /// An extensible choice between so many names in its root.
    Nulls(u8),
    List(&'static Type),
    Open,
}

const fn within(low: u32, high: u32) -> Range {
    Range::new(low, high)
}

/// A root component.
pub(crate) struct Field {
    id: Id,
    name: &'static str,
    optional: bool,
    ty: &'static Type,
}

/// An extension addition, by its place among them.
pub(crate) struct More {
    index: u8,
    field: Field,
}

const fn need(id: Id, name: &'static str, ty: &'static Type) -> Field {
    Field { id, name, optional: false, ty }
}

const fn opt(id: Id, name: &'static str, ty: &'static Type) -> Field {
    Field { id, name, optional: true, ty }
}

const fn more(index: u8, id: Id, name: &'static str, ty: &'static Type) -> More {
    More { index, field: need(id, name, ty) }
}

static NULL: Type = Type::Null;
static BOOL: Type = Type::Bool;
static BIG: Type = Type::BigInt;
static OCTETS: Type = Type::OctetString;
static BITS: Type = Type::BitString;
static OID: Type = Type::Oid;
static FREE_BMP: Type = Type::FreeBmp;
static IA5: Type = Type::Ascii;
static OPEN: Type = Type::Open;

impl Type {
    /// Bits in front of a sequence's first component, where that component is requestSeqNum.
    pub(crate) fn preamble(&self) -> Option<u32> {
        let Self::Sequence(extensible, root, _) = self else { return None };
        let first = root.first().is_some_and(|f| f.id == Id::Seq);
        first.then(|| u32::from(*extensible) + root.iter().filter(|f| f.optional).count() as u32)
    }
}
