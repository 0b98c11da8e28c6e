//! The tokens of H.235.

use super::Id::*;
use super::Type::{self, *};
use super::common::ALIAS_ADDRESS;
use super::{BIG, BITS, BOOL, FREE_BMP, OCTETS, OID, OPEN, more, need, opt, within};

pub(crate) static TOKENS: Type = List(&CLEAR_TOKEN);
pub(crate) static CRYPTO_TOKENS: Type = List(&CRYPTO_H323_TOKEN);

pub(crate) static CLEAR_TOKEN: Type = Sequence(
    true,
    &[
        need(TokenOid, "tokenOID", &OID),
        opt(TimeStamp, "timeStamp", &Int(within(1, u32::MAX))),
        opt(Other, "password", &Bmp(within(1, 128))),
        opt(Other, "dhkey", &DH_SET),
        opt(Challenge, "challenge", &Octets(within(8, 128))),
        opt(Other, "random", &BIG),
        opt(Other, "certificate", &TYPED_CERTIFICATE),
        opt(GeneralId, "generalID", &Bmp(within(1, 128))),
        opt(Other, "nonStandard", &NON_STANDARD_PARAMETER),
    ],
    &[
        more(1, SendersId, "sendersID", &Bmp(within(1, 128))),
        more(3, ProfileInfo, "profileInfo", &List(&PROFILE_ELEMENT)),
    ],
);

/// H.235 has one of its own, whose identifier is no choice.
pub(crate) static NON_STANDARD_PARAMETER: Type =
    Sequence(false, &[need(Other, "nonStandardIdentifier", &OID), need(Other, "data", &OCTETS)], &[]);

pub(crate) static DH_SET: Type = Sequence(
    true,
    &[
        need(Other, "halfkey", &Bits(within(0, 2048))),
        need(Other, "modSize", &Bits(within(0, 2048))),
        need(Other, "generator", &Bits(within(0, 2048))),
    ],
    &[],
);

pub(crate) static TYPED_CERTIFICATE: Type =
    Sequence(true, &[need(Other, "type", &OID), need(Other, "certificate", &OCTETS)], &[]);

pub(crate) static PROFILE_ELEMENT: Type = Sequence(
    true,
    &[need(Other, "elementID", &Int(within(0, 255))), opt(Other, "paramS", &PARAMS), opt(Other, "element", &ELEMENT)],
    &[],
);

pub(crate) static PARAMS: Type =
    Sequence(true, &[opt(Other, "ranInt", &BIG), opt(Other, "iv8", &Octets(within(8, 8)))], &[]);

pub(crate) static ELEMENT: Type = Choice(true, &[&OCTETS, &BIG, &BITS, &FREE_BMP, &BOOL]);

pub(crate) static CRYPTO_H323_TOKEN: Type =
    Choice(true, &[&EP_PWD_HASH, &GK_PWD_HASH, &ENCRYPTED, &ENCRYPTED, &SIGNED, &SIGNED, &SIGNED, &CRYPTO_TOKEN]);

pub(crate) static EP_PWD_HASH: Type = Sequence(
    false,
    &[
        need(Other, "alias", &ALIAS_ADDRESS),
        need(TimeStamp, "timeStamp", &Int(within(1, u32::MAX))),
        need(Other, "token", &HASHED),
    ],
    &[],
);

pub(crate) static HASHED: Type = Sequence(
    false,
    &[need(Other, "algorithmOID", &OID), need(Other, "paramS", &PARAMS), need(Other, "hash", &BITS)],
    &[],
);

pub(crate) static GK_PWD_HASH: Type = Sequence(
    false,
    &[
        need(Other, "gatekeeperId", &Bmp(within(1, 128))),
        need(TimeStamp, "timeStamp", &Int(within(1, u32::MAX))),
        need(Other, "token", &HASHED),
    ],
    &[],
);

pub(crate) static ENCRYPTED: Type = Sequence(
    false,
    &[need(Other, "algorithmOID", &OID), need(Other, "paramS", &PARAMS), need(Other, "encryptedData", &OCTETS)],
    &[],
);

pub(crate) static SIGNED: Type = Sequence(
    false,
    &[
        need(Other, "toBeSigned", &OPEN),
        need(Other, "algorithmOID", &OID),
        need(Other, "paramS", &PARAMS),
        need(Other, "signature", &BITS),
    ],
    &[],
);

pub(crate) static CRYPTO_TOKEN: Type =
    Choice(true, &[&CRYPTO_ENCRYPTED_TOKEN, &CRYPTO_SIGNED_TOKEN, &CRYPTO_HASHED_TOKEN, &ENCRYPTED]);

pub(crate) static CRYPTO_ENCRYPTED_TOKEN: Type =
    Sequence(false, &[need(TokenOid, "tokenOID", &OID), need(Other, "token", &ENCRYPTED)], &[]);

pub(crate) static CRYPTO_SIGNED_TOKEN: Type =
    Sequence(false, &[need(TokenOid, "tokenOID", &OID), need(Other, "token", &SIGNED)], &[]);

pub(crate) static CRYPTO_HASHED_TOKEN: Type = Sequence(
    false,
    &[need(TokenOid, "tokenOID", &OID), need(Other, "hashedVals", &CLEAR_TOKEN), need(Other, "token", &HASHED)],
    &[],
);

pub(crate) static ICV: Type = Sequence(false, &[need(Other, "algorithmOID", &OID), need(Other, "icv", &BITS)], &[]);
