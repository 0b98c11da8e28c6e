//! What a message says, told alike of the project's view and of the peer's JSON.
#![allow(dead_code, unreachable_pub)]

use portunus_h323::view::{Alias, Element, Kind, Message, Reason, Token};
use serde_json::{Value, json};

pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|o| format!("{o:02x}")).collect()
}

/// The name that H.225.0 gives a kind.
pub fn kind_name(kind: Kind) -> String {
    let name = match kind {
        Kind::Unknown(5) => "serviceControlIndication".to_owned(),
        Kind::Unknown(6) => "serviceControlResponse".to_owned(),
        Kind::Unknown(7) => "admissionConfirmSequence".to_owned(),
        known => format!("{known:?}"),
    };
    name[..1].to_ascii_lowercase() + &name[1..]
}

/// What a message says, in the words of the peer's JSON: of all its components those that are read here.
pub fn outline(msg: &Message<'_>) -> Value {
    let mut room = [0u8; 1024];
    let mut text = |put: &dyn Fn(&mut [u8]) -> Option<usize>| {
        put(&mut room).map(|len| String::from_utf8(room[..len].to_vec()).unwrap())
    };
    let aliases: Vec<_> = msg
        .aliases()
        .map(|alias| {
            let name = match alias {
                Alias::Digits(..) => "dialledDigits",
                Alias::H323Id(_) => "h323-ID",
                Alias::Url(_) => "url-ID",
                Alias::Other => return json!("another"),
            };
            json!({ name: text(&|room| alias.put(room)) })
        })
        .collect();
    json!({
        "kind": kind_name(msg.kind()),
        "requestSeqNum": (msg.seq() > 0).then_some(msg.seq()),
        "aliases": msg.has_aliases().then_some(aliases),
        "endpointIdentifier": msg.endpoint_id().map(|id| text(&|room| id.put(room))),
        "gatekeeperIdentifier": msg.gatekeeper_id().map(|id| text(&|room| id.put(room))),
        "timeToLive": msg.time_to_live(),
        "keepAlive": msg.keep_alive(),
        "delay": msg.delay_ms(),
        "bandWidth": msg.bandwidth(),
        "callReferenceValue": msg.call_reference(),
        "conferenceID": msg.conference_id().map(hex),
        "rejects": msg.reason().map(|reason| reason_name(msg.kind(), reason)),
        "token": msg.token().ok().flatten().map(|token| token_outline(&token)),
    })
}

/// The same of the peer's JSON.
pub fn peer_outline(value: &Value) -> Value {
    let (kind, body) = value.as_object().unwrap().iter().next().unwrap();
    // Of kinds that are not read here the number is all that is.
    let number = json!({ "requestSeqNum": body["requestSeqNum"] });
    let body = if kind.starts_with("serviceControl") { &number } else { body };
    let aliases = match kind.as_str() {
        "registrationRequest" | "registrationConfirm" => "terminalAlias",
        "admissionRequest" => "srcInfo",
        "locationRequest" => "sourceInfo",
        _ => "endpointAlias",
    };
    let own = |token: &&Value| token["tokenOID"].as_str().is_some_and(is_pkd1);
    let named = |name: &str| if body[name].is_null() { Value::Null } else { body[name].clone() };
    let alias = |one: &Value| match one.as_object().unwrap().iter().next().unwrap() {
        (name, text) if ["dialledDigits", "h323-ID"].contains(&name.as_str()) => json!({ name: text }),
        (name, text) if ["url-ID", "email-ID"].contains(&name.as_str()) => json!({ "url-ID": text }),
        _ => json!("another"),
    };
    // Elsewhere it stands deeper, or among the additions.
    let bandwidth = ["admissionRequest", "admissionConfirm", "bandwidthRequest", "bandwidthConfirm"];
    json!({
        "kind": kind,
        "requestSeqNum": body["requestSeqNum"],
        "aliases": body[aliases].as_array().map(|all| all.iter().map(alias).collect::<Vec<_>>()),
        "endpointIdentifier": named("endpointIdentifier"),
        "gatekeeperIdentifier": if GATEKEEPER_ID.contains(&kind.as_str()) { named("gatekeeperIdentifier") } else { Value::Null },
        "timeToLive": named("timeToLive"),
        "keepAlive": body["keepAlive"].as_bool().unwrap_or(false),
        "delay": named("delay"),
        "bandWidth": if bandwidth.contains(&kind.as_str()) { named("bandWidth") } else { Value::Null },
        "callReferenceValue": named("callReferenceValue"),
        "conferenceID": named("conferenceID"),
        "rejects": body["rejectReason"].as_object().map(|reason| {
            let (name, detail) = reason.iter().next().unwrap();
            match detail.as_object().and_then(|d| d.keys().next()) {
                Some(detail) if name == "securityError" => format!("{name} {detail}"),
                _ => name.clone(),
            }
        }),
        "token": body["tokens"].as_array().and_then(|all| all.iter().find(own)).map(peer_token),
    })
}

/// The kinds of which gatekeeperIdentifier is read: those that have it in their root.
const GATEKEEPER_ID: [&str; 6] = [
    "gatekeeperRequest",
    "gatekeeperConfirm",
    "gatekeeperReject",
    "registrationRequest",
    "registrationConfirm",
    "registrationReject",
];

pub fn is_pkd1(oid: &str) -> bool {
    oid.strip_prefix("1.3.6.1.4.1.32473.7.").is_some_and(|n| matches!(n, "1" | "2" | "3" | "4" | "5"))
}

const ELEMENTS: [Element; 13] = [
    Element::N1,
    Element::N2,
    Element::Ts,
    Element::AuthC,
    Element::Mechs,
    Element::Ekc,
    Element::Sel,
    Element::Eksp,
    Element::MechReq,
    Element::Cookie,
    Element::Life,
    Element::IpC,
    Element::Rand,
];

fn token_outline(token: &Token<'_>) -> Value {
    let mut room = [0u8; 512];
    let mut name = |id: Option<portunus_h323::view::Utf16<'_>>| {
        id.map(|id| id.put(&mut room).map(|len| String::from_utf8(room[..len].to_vec()).unwrap()))
    };
    json!({
        "tokenOID": format!("1.3.6.1.4.1.32473.7.{}", token.n),
        "timeStamp": token.time_stamp,
        "challenge": token.challenge.map(hex),
        "generalID": name(token.general_id),
        "sendersID": name(token.senders_id),
        "elements": ELEMENTS.map(|e| token.get(e).map(hex)),
    })
}

fn peer_token(token: &Value) -> Value {
    let element = |e: Element| {
        let all = token["profileInfo"].as_array()?;
        all.iter().find(|v| v["elementID"] == json!(e as u8)).and_then(|v| v["element"]["octets"].as_str())
    };
    json!({
        "tokenOID": token["tokenOID"],
        "timeStamp": token["timeStamp"],
        "challenge": token["challenge"],
        "generalID": token["generalID"],
        "sendersID": token["sendersID"],
        "elements": ELEMENTS.map(element),
    })
}

/// Names of reasons, as H.225.0 has them: roots and additions.
fn reason_name(kind: Kind, reason: Reason) -> String {
    const SECURITY: [&str; 16] = [
        "securityWrongSyncTime",
        "securityReplay",
        "securityWrongGeneralID",
        "securityWrongSendersID",
        "securityIntegrityFailed",
        "securityWrongOID",
        "securityDHmismatch",
        "securityCertificateExpired",
        "securityCertificateDateInvalid",
        "securityCertificateRevoked",
        "securityCertificateNotReadable",
        "securityCertificateSignatureInvalid",
        "securityCertificateMissing",
        "securityCertificateIncomplete",
        "securityUnsupportedCertificateAlgOID",
        "securityUnknownCA",
    ];
    let (root, added): (&[&str], &[&str]) = reasons(kind);
    match reason {
        Reason::Root(n) => root[usize::from(n)].to_owned(),
        Reason::Added(n, None) => added.get(usize::from(n)).map_or(format!("_ext_{n}"), |name| (*name).to_owned()),
        Reason::Added(n, Some(detail)) => {
            let name = SECURITY.get(usize::from(detail)).map_or(format!("{detail}"), |name| (*name).to_owned());
            format!("{} {name}", added[usize::from(n)])
        }
    }
}

/// The names of a kind's rejectReason: its root, and its additions.
fn reasons(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::GatekeeperReject => (
            &["resourceUnavailable", "terminalExcluded", "invalidRevision", "undefinedReason"],
            &["securityDenial", "genericDataReason", "neededFeatureNotSupported", "securityError"],
        ),
        Kind::RegistrationReject => (
            &[
                "discoveryRequired",
                "invalidRevision",
                "invalidCallSignalAddress",
                "invalidRASAddress",
                "duplicateAlias",
                "invalidTerminalType",
                "undefinedReason",
                "transportNotSupported",
            ],
            &[
                "transportQOSNotSupported",
                "resourceUnavailable",
                "invalidAlias",
                "securityDenial",
                "fullRegistrationRequired",
                "additiveRegistrationNotSupported",
                "invalidTerminalAliases",
                "genericDataReason",
                "neededFeatureNotSupported",
                "securityError",
                "registerWithAssignedGK",
            ],
        ),
        Kind::UnregistrationReject => (
            &["notCurrentlyRegistered", "callInProgress", "undefinedReason"],
            &["permissionDenied", "securityDenial", "securityError"],
        ),
        Kind::AdmissionReject => (
            &[
                "calledPartyNotRegistered",
                "invalidPermission",
                "requestDenied",
                "undefinedReason",
                "callerNotRegistered",
                "routeCallToGatekeeper",
                "invalidEndpointIdentifier",
                "resourceUnavailable",
            ],
            &[
                "securityDenial",
                "qosControlNotSupported",
                "incompleteAddress",
                "aliasesInconsistent",
                "routeCallToSCN",
                "exceedsCallCapacity",
                "collectDestination",
                "collectPIN",
                "genericDataReason",
                "neededFeatureNotSupported",
                "securityError",
                "securityDHmismatch",
                "noRouteToDestination",
                "unallocatedNumber",
                "registerWithAssignedGK",
            ],
        ),
        Kind::BandwidthReject => (
            &[
                "notBound",
                "invalidConferenceID",
                "invalidPermission",
                "insufficientResources",
                "invalidRevision",
                "undefinedReason",
            ],
            &["securityDenial", "securityError"],
        ),
        Kind::DisengageReject => (&["notRegistered", "requestToDropOther"], &["securityDenial", "securityError"]),
        Kind::LocationReject => (
            &["notRegistered", "invalidPermission", "requestDenied", "undefinedReason"],
            &[
                "securityDenial",
                "aliasesInconsistent",
                "routeCalltoSCN",
                "resourceUnavailable",
                "genericDataReason",
                "neededFeatureNotSupported",
                "hopCountExceeded",
                "incompleteAddress",
                "securityError",
                "securityDHmismatch",
                "noRouteToDestination",
                "unallocatedNumber",
            ],
        ),
        other => panic!("{other:?} rejects nothing"),
    }
}
