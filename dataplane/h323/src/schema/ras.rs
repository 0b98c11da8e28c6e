//! The messages of H.225.0 RAS, in its order: root components all of them, extension additions those that are read here.

use super::Id::*;
use super::Type::{self, *};
use super::common::{
    ADDRESSES, ALIASES, ENDPOINT_TYPE, NON_STANDARD, NON_STANDARD_PARAMETER, QSERIES_OPTIONS, SEQ, SUPPORTED_PROTOCOLS,
    TRANSPORT_ADDRESS, VENDOR_IDENTIFIER,
};
use super::tokens::{CRYPTO_TOKENS, ICV, TOKENS};
use super::{BOOL, IA5, NULL, OID, more, need, opt, within};

pub(crate) static GATEKEEPER_REQUEST: Type = Sequence(
    true,
    &[
        SEQ,
        need(ProtocolId, "protocolIdentifier", &OID),
        NON_STANDARD,
        need(RasAddress, "rasAddress", &TRANSPORT_ADDRESS),
        need(EndpointType, "endpointType", &ENDPOINT_TYPE),
        opt(GatekeeperId, "gatekeeperIdentifier", &Bmp(within(1, 128))),
        opt(Other, "callServices", &QSERIES_OPTIONS),
        opt(Alias, "endpointAlias", &ALIASES),
    ],
    &[more(1, Tokens, "tokens", &TOKENS), more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static GATEKEEPER_CONFIRM: Type = Sequence(
    true,
    &[
        SEQ,
        need(ProtocolId, "protocolIdentifier", &OID),
        NON_STANDARD,
        opt(GatekeeperId, "gatekeeperIdentifier", &Bmp(within(1, 128))),
        need(RasAddress, "rasAddress", &TRANSPORT_ADDRESS),
    ],
    &[more(2, Tokens, "tokens", &TOKENS), more(3, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static GATEKEEPER_REJECT: Type = Sequence(
    true,
    &[
        SEQ,
        need(ProtocolId, "protocolIdentifier", &OID),
        NON_STANDARD,
        opt(GatekeeperId, "gatekeeperIdentifier", &Bmp(within(1, 128))),
        need(Reason, "rejectReason", &Nulls(4)),
    ],
    &[more(1, Tokens, "tokens", &TOKENS), more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static REGISTRATION_REQUEST: Type = Sequence(
    true,
    &[
        SEQ,
        need(ProtocolId, "protocolIdentifier", &OID),
        NON_STANDARD,
        need(DiscoveryComplete, "discoveryComplete", &BOOL),
        need(CallSignal, "callSignalAddress", &ADDRESSES),
        need(RasAddress, "rasAddress", &ADDRESSES),
        need(EndpointType, "terminalType", &ENDPOINT_TYPE),
        opt(Alias, "terminalAlias", &ALIASES),
        opt(GatekeeperId, "gatekeeperIdentifier", &Bmp(within(1, 128))),
        need(Other, "endpointVendor", &VENDOR_IDENTIFIER),
    ],
    &[
        more(1, TimeToLive, "timeToLive", &Int(within(1, u32::MAX))),
        more(2, Tokens, "tokens", &TOKENS),
        more(3, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        more(5, KeepAlive, "keepAlive", &BOOL),
        more(6, EndpointId, "endpointIdentifier", &Bmp(within(1, 128))),
    ],
);

pub(crate) static REGISTRATION_CONFIRM: Type = Sequence(
    true,
    &[
        SEQ,
        need(ProtocolId, "protocolIdentifier", &OID),
        NON_STANDARD,
        need(CallSignal, "callSignalAddress", &ADDRESSES),
        opt(Alias, "terminalAlias", &ALIASES),
        opt(GatekeeperId, "gatekeeperIdentifier", &Bmp(within(1, 128))),
        need(EndpointId, "endpointIdentifier", &Bmp(within(1, 128))),
    ],
    &[
        more(1, TimeToLive, "timeToLive", &Int(within(1, u32::MAX))),
        more(2, Tokens, "tokens", &TOKENS),
        more(3, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        more(5, Other, "willRespondToIRR", &BOOL),
    ],
);

pub(crate) static REGISTRATION_REJECT: Type = Sequence(
    true,
    &[
        SEQ,
        need(ProtocolId, "protocolIdentifier", &OID),
        NON_STANDARD,
        need(Reason, "rejectReason", &REGISTRATION_REJECT_REASON),
        opt(GatekeeperId, "gatekeeperIdentifier", &Bmp(within(1, 128))),
    ],
    &[more(1, Tokens, "tokens", &TOKENS), more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static REGISTRATION_REJECT_REASON: Type =
    Choice(true, &[&NULL, &NULL, &NULL, &NULL, &ALIASES, &NULL, &NULL, &NULL]);

pub(crate) static UNREGISTRATION_REQUEST: Type = Sequence(
    true,
    &[
        SEQ,
        need(CallSignal, "callSignalAddress", &ADDRESSES),
        opt(Alias, "endpointAlias", &ALIASES),
        NON_STANDARD,
        opt(EndpointId, "endpointIdentifier", &Bmp(within(1, 128))),
    ],
    &[
        more(2, Tokens, "tokens", &TOKENS),
        more(3, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        more(5, Other, "reason", &Nulls(4)),
    ],
);

pub(crate) static UNREGISTRATION_CONFIRM: Type = Sequence(
    true,
    &[SEQ, NON_STANDARD],
    &[more(0, Tokens, "tokens", &TOKENS), more(1, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static UNREGISTRATION_REJECT: Type = Sequence(
    true,
    &[SEQ, need(Reason, "rejectReason", &Nulls(3)), NON_STANDARD],
    &[more(1, Tokens, "tokens", &TOKENS), more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static ADMISSION_REQUEST: Type = Sequence(
    true,
    &[
        SEQ,
        need(Other, "callType", &Nulls(4)),
        opt(CallModel, "callModel", &Nulls(2)),
        need(EndpointId, "endpointIdentifier", &Bmp(within(1, 128))),
        opt(Destination, "destinationInfo", &ALIASES),
        opt(DestinationAddress, "destCallSignalAddress", &TRANSPORT_ADDRESS),
        opt(Other, "destExtraCallInfo", &ALIASES),
        need(Alias, "srcInfo", &ALIASES),
        opt(Other, "srcCallSignalAddress", &TRANSPORT_ADDRESS),
        need(BandWidth, "bandWidth", &Int(within(0, u32::MAX))),
        need(CallReference, "callReferenceValue", &Int(within(0, 65_535))),
        NON_STANDARD,
        opt(Other, "callServices", &QSERIES_OPTIONS),
        need(ConferenceId, "conferenceID", &Octets(within(16, 16))),
        need(Other, "activeMC", &BOOL),
        need(AnswerCall, "answerCall", &BOOL),
    ],
    &[
        more(1, CallId, "callIdentifier", &CALL_IDENTIFIER),
        more(5, Tokens, "tokens", &TOKENS),
        more(6, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
    ],
);

pub(crate) static CALL_IDENTIFIER: Type = Sequence(true, &[need(Other, "guid", &Octets(within(16, 16)))], &[]);

pub(crate) static ADMISSION_CONFIRM: Type = Sequence(
    true,
    &[
        SEQ,
        need(BandWidth, "bandWidth", &Int(within(0, u32::MAX))),
        need(CallModel, "callModel", &Nulls(2)),
        need(DestinationAddress, "destCallSignalAddress", &TRANSPORT_ADDRESS),
        opt(Other, "irrFrequency", &Int(within(1, 65_535))),
        NON_STANDARD,
    ],
    &[
        more(0, Destination, "destinationInfo", &ALIASES),
        more(5, Tokens, "tokens", &TOKENS),
        more(6, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        more(9, Other, "willRespondToIRR", &BOOL),
    ],
);

pub(crate) static ADMISSION_REJECT: Type = Sequence(
    true,
    &[SEQ, need(Reason, "rejectReason", &Nulls(8)), NON_STANDARD],
    &[more(1, Tokens, "tokens", &TOKENS), more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static BANDWIDTH_REQUEST: Type = Sequence(
    true,
    &[
        SEQ,
        need(EndpointId, "endpointIdentifier", &Bmp(within(1, 128))),
        need(ConferenceId, "conferenceID", &Octets(within(16, 16))),
        need(CallReference, "callReferenceValue", &Int(within(0, 65_535))),
        opt(Other, "callType", &Nulls(4)),
        need(BandWidth, "bandWidth", &Int(within(0, u32::MAX))),
        NON_STANDARD,
    ],
    &[
        more(0, CallId, "callIdentifier", &CALL_IDENTIFIER),
        more(2, Tokens, "tokens", &TOKENS),
        more(3, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
    ],
);

pub(crate) static BANDWIDTH_CONFIRM: Type = Sequence(
    true,
    &[SEQ, need(BandWidth, "bandWidth", &Int(within(0, u32::MAX))), NON_STANDARD],
    &[more(0, Tokens, "tokens", &TOKENS), more(1, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static BANDWIDTH_REJECT: Type = Sequence(
    true,
    &[
        SEQ,
        need(Reason, "rejectReason", &Nulls(6)),
        need(Other, "allowedBandWidth", &Int(within(0, u32::MAX))),
        NON_STANDARD,
    ],
    &[more(1, Tokens, "tokens", &TOKENS), more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static DISENGAGE_REQUEST: Type = Sequence(
    true,
    &[
        SEQ,
        need(EndpointId, "endpointIdentifier", &Bmp(within(1, 128))),
        need(ConferenceId, "conferenceID", &Octets(within(16, 16))),
        need(CallReference, "callReferenceValue", &Int(within(0, 65_535))),
        need(Other, "disengageReason", &Nulls(3)),
        NON_STANDARD,
    ],
    &[
        more(0, CallId, "callIdentifier", &CALL_IDENTIFIER),
        more(2, Tokens, "tokens", &TOKENS),
        more(3, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
    ],
);

pub(crate) static DISENGAGE_CONFIRM: Type = Sequence(
    true,
    &[SEQ, NON_STANDARD],
    &[more(0, Tokens, "tokens", &TOKENS), more(1, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static DISENGAGE_REJECT: Type = Sequence(
    true,
    &[SEQ, need(Reason, "rejectReason", &Nulls(2)), NON_STANDARD],
    &[more(1, Tokens, "tokens", &TOKENS), more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static LOCATION_REQUEST: Type = Sequence(
    true,
    &[
        SEQ,
        opt(EndpointId, "endpointIdentifier", &Bmp(within(1, 128))),
        need(Destination, "destinationInfo", &ALIASES),
        NON_STANDARD,
        need(ReplyAddress, "replyAddress", &TRANSPORT_ADDRESS),
    ],
    &[
        more(0, Alias, "sourceInfo", &ALIASES),
        more(3, Tokens, "tokens", &TOKENS),
        more(4, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        more(12, CallId, "callIdentifier", &CALL_IDENTIFIER),
    ],
);

pub(crate) static LOCATION_CONFIRM: Type = Sequence(
    true,
    &[
        SEQ,
        need(CallSignal, "callSignalAddress", &TRANSPORT_ADDRESS),
        need(RasAddress, "rasAddress", &TRANSPORT_ADDRESS),
        NON_STANDARD,
    ],
    &[
        more(0, Destination, "destinationInfo", &ALIASES),
        more(5, Tokens, "tokens", &TOKENS),
        more(6, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
    ],
);

pub(crate) static LOCATION_REJECT: Type = Sequence(
    true,
    &[SEQ, need(Reason, "rejectReason", &Nulls(4)), NON_STANDARD],
    &[more(1, Tokens, "tokens", &TOKENS), more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static INFO_REQUEST: Type = Sequence(
    true,
    &[
        SEQ,
        need(CallReference, "callReferenceValue", &Int(within(0, 65_535))),
        NON_STANDARD,
        opt(ReplyAddress, "replyAddress", &TRANSPORT_ADDRESS),
    ],
    &[
        more(0, CallId, "callIdentifier", &CALL_IDENTIFIER),
        more(1, Tokens, "tokens", &TOKENS),
        more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
    ],
);

pub(crate) static INFO_REQUEST_RESPONSE: Type = Sequence(
    true,
    &[
        NON_STANDARD,
        SEQ,
        need(EndpointType, "endpointType", &ENDPOINT_TYPE),
        need(EndpointId, "endpointIdentifier", &Bmp(within(1, 128))),
        need(RasAddress, "rasAddress", &TRANSPORT_ADDRESS),
        need(CallSignal, "callSignalAddress", &ADDRESSES),
        opt(Alias, "endpointAlias", &ALIASES),
        opt(Other, "perCallInfo", &List(&PER_CALL_INFO)),
    ],
    &[
        more(0, Tokens, "tokens", &TOKENS),
        more(1, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        more(3, NeedResponse, "needResponse", &BOOL),
        more(6, Other, "unsolicited", &BOOL),
    ],
);

pub(crate) static PER_CALL_INFO: Type = Sequence(
    true,
    &[
        NON_STANDARD,
        need(CallReference, "callReferenceValue", &Int(within(0, 65_535))),
        need(ConferenceId, "conferenceID", &Octets(within(16, 16))),
        opt(Other, "originator", &BOOL),
        opt(Other, "audio", &List(&RTP_SESSION)),
        opt(Other, "video", &List(&RTP_SESSION)),
        opt(Other, "data", &List(&TRANSPORT_CHANNEL_INFO)),
        need(Other, "h245", &TRANSPORT_CHANNEL_INFO),
        need(Other, "callSignalling", &TRANSPORT_CHANNEL_INFO),
        need(Other, "callType", &Nulls(4)),
        need(BandWidth, "bandWidth", &Int(within(0, u32::MAX))),
        need(CallModel, "callModel", &Nulls(2)),
    ],
    &[
        more(0, CallId, "callIdentifier", &CALL_IDENTIFIER),
        more(1, Tokens, "tokens", &TOKENS),
        more(2, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
    ],
);

pub(crate) static RTP_SESSION: Type = Sequence(
    true,
    &[
        need(Other, "rtpAddress", &TRANSPORT_CHANNEL_INFO),
        need(Other, "rtcpAddress", &TRANSPORT_CHANNEL_INFO),
        need(Other, "cname", &IA5),
        need(Other, "ssrc", &Int(within(1, u32::MAX))),
        need(Other, "sessionId", &Int(within(1, 255))),
        need(Other, "associatedSessionIds", &List(&Int(within(1, 255)))),
    ],
    &[],
);

pub(crate) static TRANSPORT_CHANNEL_INFO: Type = Sequence(
    true,
    &[opt(Other, "sendAddress", &TRANSPORT_ADDRESS), opt(Other, "recvAddress", &TRANSPORT_ADDRESS)],
    &[],
);

pub(crate) static NON_STANDARD_MESSAGE: Type = Sequence(
    true,
    &[SEQ, need(Other, "nonStandardData", &NON_STANDARD_PARAMETER)],
    &[more(0, Tokens, "tokens", &TOKENS), more(1, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static UNKNOWN_MESSAGE_RESPONSE: Type = Sequence(
    true,
    &[SEQ],
    &[more(0, Tokens, "tokens", &TOKENS), more(1, CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS)],
);

pub(crate) static REQUEST_IN_PROGRESS: Type = Sequence(
    true,
    &[
        SEQ,
        NON_STANDARD,
        opt(Tokens, "tokens", &TOKENS),
        opt(CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        opt(Other, "integrityCheckValue", &ICV),
        need(Delay, "delay", &Int(within(1, 65_535))),
    ],
    &[],
);

pub(crate) static RESOURCES_AVAILABLE_INDICATE: Type = Sequence(
    true,
    &[
        SEQ,
        need(ProtocolId, "protocolIdentifier", &OID),
        NON_STANDARD,
        need(EndpointId, "endpointIdentifier", &Bmp(within(1, 128))),
        need(Other, "protocols", &List(&SUPPORTED_PROTOCOLS)),
        need(Other, "almostOutOfResources", &BOOL),
        opt(Tokens, "tokens", &TOKENS),
        opt(CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        opt(Other, "integrityCheckValue", &ICV),
    ],
    &[],
);

pub(crate) static RESOURCES_AVAILABLE_CONFIRM: Type = Sequence(
    true,
    &[
        SEQ,
        need(ProtocolId, "protocolIdentifier", &OID),
        NON_STANDARD,
        opt(Tokens, "tokens", &TOKENS),
        opt(CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        opt(Other, "integrityCheckValue", &ICV),
    ],
    &[],
);

pub(crate) static INFO_REQUEST_ACK: Type = Sequence(
    true,
    &[
        SEQ,
        NON_STANDARD,
        opt(Tokens, "tokens", &TOKENS),
        opt(CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        opt(Other, "integrityCheckValue", &ICV),
    ],
    &[],
);

pub(crate) static INFO_REQUEST_NAK: Type = Sequence(
    true,
    &[
        SEQ,
        NON_STANDARD,
        need(Other, "nakReason", &Nulls(3)),
        opt(Other, "altGKInfo", &ALT_GK_INFO),
        opt(Tokens, "tokens", &TOKENS),
        opt(CryptoTokens, "cryptoTokens", &CRYPTO_TOKENS),
        opt(Other, "integrityCheckValue", &ICV),
    ],
    &[],
);

pub(crate) static ALT_GK_INFO: Type = Sequence(
    true,
    &[need(Other, "alternateGatekeeper", &List(&ALTERNATE_GK)), need(Other, "altGKisPermanent", &BOOL)],
    &[],
);

pub(crate) static ALTERNATE_GK: Type = Sequence(
    true,
    &[
        need(RasAddress, "rasAddress", &TRANSPORT_ADDRESS),
        opt(GatekeeperId, "gatekeeperIdentifier", &Bmp(within(1, 128))),
        need(Other, "needToRegister", &BOOL),
        need(Other, "priority", &Int(within(0, 127))),
    ],
    &[],
);
