//! What the messages of H.225.0 RAS share: addresses, aliases, endpoints.

use super::Id::{Other, Seq};
use super::Type::{self, *};
use super::{BOOL, Field, OCTETS, OID, need, opt, within};

/// Of nearly every type.
pub(super) const NON_STANDARD: Field = opt(Other, "nonStandardData", &NON_STANDARD_PARAMETER);
/// Of every message.
pub(super) const SEQ: Field = need(Seq, "requestSeqNum", &Int(within(1, 65_535)));
/// Extensible types that hold nothing but it.
pub(super) static ONLY_NON_STANDARD: Type = Sequence(true, &[NON_STANDARD], &[]);
pub(crate) static ALIASES: Type = List(&ALIAS_ADDRESS);
pub(crate) static ADDRESSES: Type = List(&TRANSPORT_ADDRESS);

pub(crate) static NON_STANDARD_PARAMETER: Type = Sequence(
    false,
    &[need(Other, "nonStandardIdentifier", &NON_STANDARD_IDENTIFIER), need(Other, "data", &OCTETS)],
    &[],
);

pub(crate) static NON_STANDARD_IDENTIFIER: Type = Choice(true, &[&OID, &H221_NON_STANDARD]);

pub(crate) static H221_NON_STANDARD: Type = Sequence(
    true,
    &[
        need(Other, "t35CountryCode", &Int(within(0, 255))),
        need(Other, "t35Extension", &Int(within(0, 255))),
        need(Other, "manufacturerCode", &Int(within(0, 65_535))),
    ],
    &[],
);

pub(crate) static TRANSPORT_ADDRESS: Type = Choice(
    true,
    &[
        &IP_ADDRESS,
        &IP_SOURCE_ROUTE,
        &IPX_ADDRESS,
        &IP6_ADDRESS,
        &Octets(within(16, 16)),
        &Octets(within(1, 20)),
        &NON_STANDARD_PARAMETER,
    ],
);

pub(crate) static IP_ADDRESS: Type =
    Sequence(false, &[need(Other, "ip", &Octets(within(4, 4))), need(Other, "port", &Int(within(0, 65_535)))], &[]);

pub(crate) static IP_SOURCE_ROUTE: Type = Sequence(
    true,
    &[
        need(Other, "ip", &Octets(within(4, 4))),
        need(Other, "port", &Int(within(0, 65_535))),
        need(Other, "route", &List(&Octets(within(4, 4)))),
        need(Other, "routing", &Nulls(2)),
    ],
    &[],
);

pub(crate) static IPX_ADDRESS: Type = Sequence(
    false,
    &[
        need(Other, "node", &Octets(within(6, 6))),
        need(Other, "netnum", &Octets(within(4, 4))),
        need(Other, "port", &Octets(within(2, 2))),
    ],
    &[],
);

pub(crate) static IP6_ADDRESS: Type =
    Sequence(true, &[need(Other, "ip", &Octets(within(16, 16))), need(Other, "port", &Int(within(0, 65_535)))], &[]);

pub(crate) static ENDPOINT_TYPE: Type = Sequence(
    true,
    &[
        NON_STANDARD,
        opt(Other, "vendor", &VENDOR_IDENTIFIER),
        opt(Other, "gatekeeper", &ONLY_NON_STANDARD),
        opt(Other, "gateway", &GATEWAY_INFO),
        opt(Other, "mcu", &ONLY_NON_STANDARD),
        opt(Other, "terminal", &ONLY_NON_STANDARD),
        need(Other, "mc", &BOOL),
        need(Other, "undefinedNode", &BOOL),
    ],
    &[],
);

pub(crate) static VENDOR_IDENTIFIER: Type = Sequence(
    true,
    &[
        need(Other, "vendor", &H221_NON_STANDARD),
        opt(Other, "productId", &Octets(within(1, 256))),
        opt(Other, "versionId", &Octets(within(1, 256))),
    ],
    &[],
);

pub(crate) static GATEWAY_INFO: Type =
    Sequence(true, &[opt(Other, "protocol", &List(&SUPPORTED_PROTOCOLS)), NON_STANDARD], &[]);

pub(crate) static SUPPORTED_PROTOCOLS: Type = Choice(
    true,
    &[
        &NON_STANDARD_PARAMETER,
        &ONLY_NON_STANDARD,
        &ONLY_NON_STANDARD,
        &ONLY_NON_STANDARD,
        &ONLY_NON_STANDARD,
        &ONLY_NON_STANDARD,
        &ONLY_NON_STANDARD,
        &ONLY_NON_STANDARD,
        &ONLY_NON_STANDARD,
    ],
);

pub(crate) static QSERIES_OPTIONS: Type = Sequence(
    true,
    &[
        need(Other, "q932Full", &BOOL),
        need(Other, "q951Full", &BOOL),
        need(Other, "q952Full", &BOOL),
        need(Other, "q953Full", &BOOL),
        need(Other, "q955Full", &BOOL),
        need(Other, "q956Full", &BOOL),
        need(Other, "q957Full", &BOOL),
        need(Other, "q954Info", &Q954_DETAILS),
    ],
    &[],
);

pub(crate) static Q954_DETAILS: Type =
    Sequence(true, &[need(Other, "conferenceCalling", &BOOL), need(Other, "threePartyService", &BOOL)], &[]);

pub(crate) static ALIAS_ADDRESS: Type = Choice(true, &[&Digits(within(1, 128)), &Bmp(within(1, 256))]);
