//! The dictionary as data: the AVPs and commands that are used here, of the base protocol (RFC 6733 section 4.5), of
//! RADIUS's range (RFC 7155, RFC 4740) and of Cx (3GPP TS 29.229 section 6), and what each command must hold.

/// 3GPP, the vendor of Cx.
pub const TGPP: u32 = 10_415;
/// The application of base messages.
pub const BASE: u32 = 0;
/// The Cx application (TS 29.229 section 5.1).
pub const CX: u32 = 16_777_216;
/// What relays say that they serve (RFC 6733 section 2.4).
pub const RELAY: u32 = 0xffff_ffff;

/// How an AVP's value is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any octets.
    Octets,
    /// UTF-8.
    Text,
    /// Four octets.
    Unsigned32,
    /// A family (two octets, 1 or 2) and an address.
    Address,
    /// AVPs.
    Grouped,
}

/// One AVP of the dictionary.
#[derive(Debug, PartialEq, Eq)]
pub struct AvpDef {
    /// Its name in its specification.
    pub name: &'static str,
    /// Its code.
    pub code: u32,
    /// Whose it is; 0: IETF's, without the V flag.
    pub vendor: u32,
    /// Sent with the M flag.
    pub mandatory: bool,
    /// Its value.
    pub kind: Kind,
}

macro_rules! avps {
    ($($id:ident $name:literal $code:literal $vendor:ident $flag:ident $kind:ident;)*) => {
        $(#[doc = concat!("`", $name, "`.")]
        pub static $id: AvpDef = AvpDef {
            name: $name, code: $code, vendor: vendor::$vendor, mandatory: flag::$flag, kind: Kind::$kind,
        };)*
        /// All of them.
        pub static AVPS: &[&AvpDef] = &[$(&$id),*];
    };
}

mod vendor {
    pub(super) const IETF: u32 = 0;
    pub(super) const TGPP: u32 = super::TGPP;
}

mod flag {
    pub(super) const MUST: bool = true;
    pub(super) const MAY: bool = false;
}

avps! {
    USER_NAME "User-Name" 1 IETF MUST Text;
    FRAMED_IP_ADDRESS "Framed-IP-Address" 8 IETF MUST Octets;
    PROXY_STATE "Proxy-State" 33 IETF MUST Octets;
    ACCT_SESSION_ID "Acct-Session-Id" 44 IETF MUST Octets;
    FRAMED_IPV6_PREFIX "Framed-IPv6-Prefix" 97 IETF MUST Octets;
    DIGEST_URI "Digest-URI" 109 IETF MUST Text;
    DIGEST_AUTH_PARAM "Digest-Auth-Param" 117 IETF MUST Text;
    HOST_IP_ADDRESS "Host-IP-Address" 257 IETF MUST Address;
    AUTH_APPLICATION_ID "Auth-Application-Id" 258 IETF MUST Unsigned32;
    ACCT_APPLICATION_ID "Acct-Application-Id" 259 IETF MUST Unsigned32;
    VENDOR_SPECIFIC_APPLICATION_ID "Vendor-Specific-Application-Id" 260 IETF MUST Grouped;
    REDIRECT_HOST_USAGE "Redirect-Host-Usage" 261 IETF MUST Unsigned32;
    REDIRECT_MAX_CACHE_TIME "Redirect-Max-Cache-Time" 262 IETF MUST Unsigned32;
    SESSION_ID "Session-Id" 263 IETF MUST Text;
    ORIGIN_HOST "Origin-Host" 264 IETF MUST Text;
    SUPPORTED_VENDOR_ID "Supported-Vendor-Id" 265 IETF MUST Unsigned32;
    VENDOR_ID "Vendor-Id" 266 IETF MUST Unsigned32;
    FIRMWARE_REVISION "Firmware-Revision" 267 IETF MAY Unsigned32;
    RESULT_CODE "Result-Code" 268 IETF MUST Unsigned32;
    PRODUCT_NAME "Product-Name" 269 IETF MAY Text;
    DISCONNECT_CAUSE "Disconnect-Cause" 273 IETF MUST Unsigned32;
    AUTH_SESSION_STATE "Auth-Session-State" 277 IETF MUST Unsigned32;
    ORIGIN_STATE_ID "Origin-State-Id" 278 IETF MUST Unsigned32;
    FAILED_AVP "Failed-AVP" 279 IETF MUST Octets;
    PROXY_HOST "Proxy-Host" 280 IETF MUST Text;
    ERROR_MESSAGE "Error-Message" 281 IETF MAY Text;
    ROUTE_RECORD "Route-Record" 282 IETF MUST Text;
    DESTINATION_REALM "Destination-Realm" 283 IETF MUST Text;
    PROXY_INFO "Proxy-Info" 284 IETF MUST Grouped;
    REDIRECT_HOST "Redirect-Host" 292 IETF MUST Text;
    DESTINATION_HOST "Destination-Host" 293 IETF MUST Text;
    ERROR_REPORTING_HOST "Error-Reporting-Host" 294 IETF MAY Text;
    ORIGIN_REALM "Origin-Realm" 296 IETF MUST Text;
    EXPERIMENTAL_RESULT "Experimental-Result" 297 IETF MUST Grouped;
    EXPERIMENTAL_RESULT_CODE "Experimental-Result-Code" 298 IETF MUST Unsigned32;
    INBAND_SECURITY_ID "Inband-Security-Id" 299 IETF MUST Unsigned32;
    PUBLIC_IDENTITY "Public-Identity" 601 TGPP MUST Text;
    SERVER_NAME "Server-Name" 602 TGPP MUST Text;
    USER_DATA "User-Data" 606 TGPP MUST Octets;
    SIP_NUMBER_AUTH_ITEMS "SIP-Number-Auth-Items" 607 TGPP MUST Unsigned32;
    SIP_AUTH_SCHEME "SIP-Authentication-Scheme" 608 TGPP MUST Text;
    SIP_AUTHENTICATE "SIP-Authenticate" 609 TGPP MUST Octets;
    SIP_AUTHORIZATION "SIP-Authorization" 610 TGPP MUST Octets;
    SIP_AUTH_DATA_ITEM "SIP-Auth-Data-Item" 612 TGPP MUST Grouped;
    SIP_ITEM_NUMBER "SIP-Item-Number" 613 TGPP MUST Unsigned32;
    SERVER_ASSIGNMENT_TYPE "Server-Assignment-Type" 614 TGPP MUST Unsigned32;
    CHARGING_INFORMATION "Charging-Information" 618 TGPP MUST Octets;
    USER_DATA_ALREADY_AVAILABLE "User-Data-Already-Available" 624 TGPP MUST Unsigned32;
    SUPPORTED_FEATURES "Supported-Features" 628 TGPP MAY Octets;
}

/// The entry of a code and vendor.
pub fn avp(code: u32, vendor: u32) -> Option<&'static AvpDef> {
    AVPS.iter().find(|d| d.code == code && d.vendor == vendor).copied()
}

/// How often an AVP may stand in a command.
#[derive(Debug)]
pub struct Rule {
    /// The AVP.
    pub avp: &'static AvpDef,
    /// At least so often.
    pub least: u8,
    /// At most so often.
    pub most: u8,
}

const fn one(avp: &'static AvpDef) -> Rule {
    Rule { avp, least: 1, most: 1 }
}

const fn maybe(avp: &'static AvpDef) -> Rule {
    Rule { avp, least: 0, most: 1 }
}

/// Takes part in what a command must be.
#[derive(Debug)]
pub struct Command {
    /// Its name, request and answer together.
    pub name: &'static str,
    /// Its code.
    pub code: u32,
    /// Its application.
    pub application: u32,
    /// What a request holds beside AVPs that nobody forbids.
    pub request: &'static [Rule],
    /// The same for an answer without the E flag.
    pub answer: &'static [Rule],
}

/// Capabilities-Exchange.
pub const CAPABILITIES: u32 = 257;
/// Device-Watchdog.
pub const WATCHDOG: u32 = 280;
/// Disconnect-Peer.
pub const DISCONNECT: u32 = 282;
/// Server-Assignment (Cx): s11.
pub const SERVER_ASSIGNMENT: u32 = 301;
/// Multimedia-Auth (Cx): s3 and s4.
pub const MULTIMEDIA_AUTH: u32 = 303;

static FROM: [Rule; 2] = [one(&ORIGIN_HOST), one(&ORIGIN_REALM)];
/// What every answer holds.
pub static ANSWER: [Rule; 3] = [one(&ORIGIN_HOST), one(&ORIGIN_REALM), maybe(&RESULT_CODE)];

/// All commands.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "Capabilities-Exchange",
        code: CAPABILITIES,
        application: BASE,
        request: &[
            one(&ORIGIN_HOST),
            one(&ORIGIN_REALM),
            Rule { avp: &HOST_IP_ADDRESS, least: 1, most: u8::MAX },
            one(&VENDOR_ID),
            one(&PRODUCT_NAME),
            maybe(&ORIGIN_STATE_ID),
        ],
        answer: &[
            one(&RESULT_CODE),
            one(&ORIGIN_HOST),
            one(&ORIGIN_REALM),
            Rule { avp: &HOST_IP_ADDRESS, least: 1, most: u8::MAX },
            one(&VENDOR_ID),
            one(&PRODUCT_NAME),
        ],
    },
    Command { name: "Device-Watchdog", code: WATCHDOG, application: BASE, request: &FROM, answer: &ANSWER },
    Command {
        name: "Disconnect-Peer",
        code: DISCONNECT,
        application: BASE,
        request: &[one(&ORIGIN_HOST), one(&ORIGIN_REALM), one(&DISCONNECT_CAUSE)],
        answer: &ANSWER,
    },
    Command {
        name: "Multimedia-Auth",
        code: MULTIMEDIA_AUTH,
        application: CX,
        request: &[
            one(&SESSION_ID),
            maybe(&VENDOR_SPECIFIC_APPLICATION_ID),
            one(&AUTH_SESSION_STATE),
            one(&ORIGIN_HOST),
            one(&ORIGIN_REALM),
            one(&DESTINATION_REALM),
            maybe(&DESTINATION_HOST),
            one(&USER_NAME),
            one(&PUBLIC_IDENTITY),
            one(&SIP_AUTH_DATA_ITEM),
            one(&SIP_NUMBER_AUTH_ITEMS),
            one(&SERVER_NAME),
        ],
        answer: &ANSWER,
    },
    Command {
        name: "Server-Assignment",
        code: SERVER_ASSIGNMENT,
        application: CX,
        request: &[
            one(&SESSION_ID),
            maybe(&VENDOR_SPECIFIC_APPLICATION_ID),
            one(&AUTH_SESSION_STATE),
            one(&ORIGIN_HOST),
            one(&ORIGIN_REALM),
            one(&DESTINATION_REALM),
            maybe(&DESTINATION_HOST),
            one(&USER_NAME),
            one(&SERVER_NAME),
            one(&SERVER_ASSIGNMENT_TYPE),
            one(&USER_DATA_ALREADY_AVAILABLE),
        ],
        answer: &ANSWER,
    },
];

/// The command of a code.
pub fn command(code: u32) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.code == code)
}

/// Result-Codes (RFC 6733 section 7.1).
pub mod result {
    /// DIAMETER_SUCCESS.
    pub const SUCCESS: u32 = 2_001;
    /// DIAMETER_COMMAND_UNSUPPORTED.
    pub const COMMAND_UNSUPPORTED: u32 = 3_001;
    /// DIAMETER_UNABLE_TO_DELIVER.
    pub const UNABLE_TO_DELIVER: u32 = 3_002;
    /// DIAMETER_REALM_NOT_SERVED.
    pub const REALM_NOT_SERVED: u32 = 3_003;
    /// DIAMETER_TOO_BUSY.
    pub const TOO_BUSY: u32 = 3_004;
    /// DIAMETER_LOOP_DETECTED.
    pub const LOOP_DETECTED: u32 = 3_005;
    /// DIAMETER_APPLICATION_UNSUPPORTED.
    pub const APPLICATION_UNSUPPORTED: u32 = 3_007;
    /// DIAMETER_INVALID_HDR_BITS.
    pub const INVALID_HDR_BITS: u32 = 3_008;
    /// DIAMETER_INVALID_AVP_BITS.
    pub const INVALID_AVP_BITS: u32 = 3_009;
    /// DIAMETER_UNKNOWN_PEER.
    pub const UNKNOWN_PEER: u32 = 3_010;
    /// DIAMETER_ELECTION_LOST.
    pub const ELECTION_LOST: u32 = 4_003;
    /// DIAMETER_AVP_UNSUPPORTED.
    pub const AVP_UNSUPPORTED: u32 = 5_001;
    /// DIAMETER_AUTHORIZATION_REJECTED.
    pub const AUTHORIZATION_REJECTED: u32 = 5_003;
    /// DIAMETER_INVALID_AVP_VALUE.
    pub const INVALID_AVP_VALUE: u32 = 5_004;
    /// DIAMETER_MISSING_AVP.
    pub const MISSING_AVP: u32 = 5_005;
    /// DIAMETER_AVP_OCCURS_TOO_MANY_TIMES.
    pub const AVP_OCCURS_TOO_MANY_TIMES: u32 = 5_009;
    /// DIAMETER_NO_COMMON_APPLICATION.
    pub const NO_COMMON_APPLICATION: u32 = 5_010;
    /// DIAMETER_UNSUPPORTED_VERSION.
    pub const UNSUPPORTED_VERSION: u32 = 5_011;
    /// DIAMETER_INVALID_AVP_LENGTH.
    pub const INVALID_AVP_LENGTH: u32 = 5_014;
    /// DIAMETER_INVALID_MESSAGE_LENGTH.
    pub const INVALID_MESSAGE_LENGTH: u32 = 5_015;
    /// DIAMETER_NO_COMMON_SECURITY.
    pub const NO_COMMON_SECURITY: u32 = 5_017;
}
