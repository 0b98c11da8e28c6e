//! The ASN.1 runtime pycrate as a peer: it decodes every message of the project's flows and encodes it to the same octets,
//! the project reads what it encodes, and both say the same of what a message holds. The test command installs it.

mod common;
mod peer;

use common::*;
use peer::outline::{hex, is_pkd1, outline, peer_outline};
use peer::{Ask, Pycrate};
use portunus_h323::Ras;
use portunus_h323::view::{Kind, Message, Reason};
use portunus_h323::write as ras;
use portunus_signalling::{FromTerminal, Signalling, Text, Up};
use serde_json::{Value, json};

#[test]
fn every_message_of_the_flows_is_encoded_to_the_same_octets_and_means_the_same() {
    let mut peer = Pycrate::shared();
    let (mut same, mut mended, mut wide) = (0, 0, 0);
    for sent in World::all().iter().flat_map(everything) {
        let again = peer.again(&sent.octets).unwrap_or_else(|e| panic!("{}: {e}\n{}", sent.name, hex(&sent.octets)));
        let here = outline(&Message::parse(&sent.octets).unwrap());
        assert_eq!(here, peer_outline(&again.value), "{}", sent.name);
        // Two things differ, both the peer's: it counts a character outside the first plane as one unit where it is two,
        // and loses what is behind; and its padding in front of additions, which it cannot read itself.
        if again.value.to_string().chars().any(|c| c > '\u{ffff}') {
            wide += 1;
            continue;
        }
        assert_eq!(hex(&again.mended), hex(&sent.octets), "{}", sent.name);
        if again.plain == sent.octets {
            same += 1;
        } else {
            assert!(again.plain.len() == sent.octets.len() + 1, "{}", sent.name);
            assert!(peer.decode(&again.plain).is_err(), "{}: what it wrote, it cannot read", sent.name);
            mended += 1;
        }
        // From the value alone it comes to the same octets.
        assert_eq!(hex(&peer.encode(&again.value)), hex(&sent.octets), "{}", sent.name);
    }
    println!("{same} as they are, {mended} with the padding mended, {wide} with a character of two units");
    assert!(same > 350 && mended < same / 10 && wide < same / 5, "{same} {mended} {wide}");
}

#[test]
fn every_reason_has_its_name() {
    let mut peer = Pycrate::shared();
    let mut n = 0;
    let kinds = [
        Kind::GatekeeperReject,
        Kind::RegistrationReject,
        Kind::UnregistrationReject,
        Kind::AdmissionReject,
        Kind::BandwidthReject,
        Kind::DisengageReject,
        Kind::LocationReject,
    ];
    for kind in kinds {
        for (reason, name) in [
            (Reason::security_denial(kind), "securityDenial"),
            (Reason::security_error(kind, 0), "securityError securityWrongSyncTime"),
            (Reason::security_error(kind, 3), "securityError securityWrongSendersID"),
            (Reason::security_error(kind, 5), "securityError securityWrongOID"),
            (Reason::needed_feature(kind), "neededFeatureNotSupported"),
            (Reason::resource_unavailable(kind), "resourceUnavailable"),
            (Reason::undefined(kind), "undefinedReason"),
        ] {
            let msg = write(|o| ras::reject(kind, 5, reason, None, o));
            let told = peer_outline(&peer.decode(&msg).unwrap())["rejects"].as_str().unwrap().to_owned();
            let nearest = match (kind, name) {
                (Kind::BandwidthReject, "resourceUnavailable") => "insufficientResources",
                (Kind::DisengageReject, "undefinedReason" | "resourceUnavailable" | "neededFeatureNotSupported") => {
                    "notRegistered"
                }
                (Kind::UnregistrationReject, "resourceUnavailable") => "undefinedReason",
                (Kind::GatekeeperReject | Kind::RegistrationReject, name) => name,
                (_, "neededFeatureNotSupported") => "undefinedReason",
                (_, name) => name,
            };
            assert_eq!(told, nearest, "{kind:?} {name}");
            n += 1;
        }
    }
    assert_eq!(n, 49);
}

fn terminal() -> Value {
    json!({
        "nonStandardData": { "nonStandardIdentifier": { "object": "1.3.6.1.4.1.32473.99" }, "data": "c0ffee" },
        "vendor": {
            "vendor": { "t35CountryCode": 181, "t35Extension": 0, "manufacturerCode": 9 },
            "productId": hex(b"some product"),
            "versionId": hex(b"1.0"),
            "enterpriseNumber": "1.3.6.1.4.1.32473",
        },
        "terminal": {},
        "mc": false,
        "undefinedNode": false,
        "set": "80000000",
    })
}

fn address(port: u16) -> Value {
    json!({ "ipAddress": { "ip": "c0000207", "port": port } })
}

fn feature() -> Value {
    json!({
        "replacementFeatureSet": false,
        "supportedFeatures": [{
            "id": { "standard": 18 },
            "parameters": [{ "id": { "standard": 1 }, "content": { "raw": "00112233" } }],
        }],
    })
}

/// Tokens of others: with everything that a ClearToken can have.
fn foreign_tokens() -> [Value; 3] {
    let dh = json!({
        "halfkey": { "value": "abcde0", "length": 19 },
        "modSize": { "value": "ff00", "length": 16 },
        "generator": { "value": "80", "length": 1 },
    });
    [
        json!({ "tokenOID": "0.0.8.235.0.2.6", "timeStamp": 1_700_000_000, "password": "pässword", "random": -77 }),
        json!({ "tokenOID": "1.2.3", "dhkey": dh, "generalID": "someone" }),
        json!({
            "tokenOID": "1.3.6.1.4.1.32473.8",
            "challenge": "0001020304050607",
            "certificate": { "type": "1.2.840", "certificate": "3000" },
            "nonStandard": { "nonStandardIdentifier": "1.2", "data": "00" },
            "sendersID": "them",
            "profileInfo": [
                { "elementID": 0, "paramS": { "ranInt": 300, "iv8": "0011223344556677" }, "element": { "flag": true } },
                { "elementID": 0, "element": { "name": "größe" } },
                { "elementID": 255, "element": { "bits": { "value": "a0", "length": 3 } } },
                { "elementID": 3 },
                { "elementID": 3, "element": { "integer": 70_000 } },
            ],
        }),
    ]
}

fn own_token() -> Value {
    json!({
        "tokenOID": "1.3.6.1.4.1.32473.7.1",
        "timeStamp": NOW / 1000,
        "generalID": "sp1.example.test",
        "sendersID": "studio-3",
        "profileInfo": [
            { "elementID": 1, "element": { "octets": hex(n1a().as_bytes()) } },
            { "elementID": 3, "element": { "octets": hex(&NOW.to_be_bytes()) } },
            { "elementID": 77, "element": { "name": "of a later version" } },
        ],
    })
}

/// A GatekeeperRequest with these tokens and much else.
fn full_grq(tokens: &[Value]) -> Value {
    json!({ "gatekeeperRequest": {
        "requestSeqNum": 1,
        "protocolIdentifier": "0.0.8.2250.0.7",
        "nonStandardData": { "nonStandardIdentifier": {
            "h221NonStandard": { "t35CountryCode": 181, "t35Extension": 1, "manufacturerCode": 21324 } }, "data": "00ff" },
        "rasAddress": address(1719),
        "endpointType": terminal(),
        "gatekeeperIdentifier": "gk",
        "callServices": {
            "q932Full": true, "q951Full": false, "q952Full": true, "q953Full": false, "q955Full": true,
            "q956Full": false, "q957Full": true, "q954Info": { "conferenceCalling": true, "threePartyService": false },
        },
        "endpointAlias": [
            { "h323-ID": "studio-3" }, { "dialledDigits": "0*#,9" }, { "url-ID": "h323:studio@example.test" },
            { "email-ID": "a@b" }, { "transportID": address(1) },
            { "partyNumber": { "e164Number": { "publicTypeOfNumber": { "unknown": null }, "publicNumberDigits": "42" } } },
        ],
        "alternateEndpoints": [{ "callSignalAddress": [address(1720)], "priority": 7, "alternateTransportAddresses": {} }],
        "tokens": tokens,
        "cryptoTokens": [
            { "cryptoEPPwdHash": { "alias": { "dialledDigits": "123" }, "timeStamp": 1, "token": {
                "algorithmOID": "1.2.840.113549.2.5", "paramS": {}, "hash": { "value": "ab".repeat(16), "length": 128 } } } },
            { "cryptoEPPwdEncr": { "algorithmOID": "1.2", "paramS": { "ranInt": 5 }, "encryptedData": "0102" } },
        ],
        "authenticationCapability": [{ "pwdHash": null }],
        "algorithmOIDs": ["1.2.840.113549.2.5", "1.3.14.3.2.26"],
        "integrity": [{ "digSig": null }],
        "supportsAltGK": null,
        "featureSet": feature(),
        "genericData": [{ "id": { "oid": "1.2.3" }, "parameters": [{ "id": { "standard": 1 }, "content": { "bool": true } }] }],
        "supportsAssignedGK": true,
    }})
}

#[test]
fn what_the_peer_encodes_is_read() {
    let mut peer = Pycrate::shared();
    for (name, value) in more_kinds() {
        let octets = peer.encode(&value);
        let msg = Message::parse(&octets).unwrap_or_else(|e| panic!("{name}: {e:?}\n{}", hex(&octets)));
        assert_eq!(outline(&msg), peer_outline(&peer.decode(&octets).unwrap()), "{name}");
        // In a session it passes as it is, where the kind names no sender that is not there.
        let mut how = Up::Drop;
        let w = World::v4();
        let out = write(|o| Ras.relay_up(&w.hop(), &w.session(), &octets, o).map(|up| how = up));
        assert!(matches!(how, Up::Forward | Up::Refresh | Up::Deregister), "{name}");
        assert_eq!(hex(&out), hex(&octets), "{name}");
        assert_eq!(hex(&write(|o| Ras.relay_down(&w.hop(), &w.session(), &octets, o))), hex(&octets), "{name}");
    }
}

#[test]
fn what_the_proxy_makes_of_the_peer_s_messages_holds_all_but_pkd1_s_token() {
    let mut peer = Pycrate::shared();
    let w = World::v4();
    let theirs = foreign_tokens();
    let expected = peer.encode(&full_grq(&theirs));
    let expected_value = peer.decode(&expected).unwrap();
    for at in 0..=theirs.len() {
        let mut tokens = theirs.to_vec();
        tokens.insert(at, own_token());
        let octets = peer.encode(&full_grq(&tokens));
        let mut text = Text::new();
        let read = Ras.read_terminal(&octets, &mut text);
        assert!(matches!(read, Ok(FromTerminal::S1(got)) if got == s1(&w)), "{read:?}");
        // In a session: without it.
        let out = write(|o| Ras.relay_up(&w.hop(), &w.session(), &octets, o).map(|_| ()));
        assert_eq!(peer.decode(&out).unwrap(), expected_value);
        assert_eq!(hex(&out), hex(&expected), "to the bit");
        // As s2: the proxy's at the end, and the number changed.
        let out = write(|o| Ras.write_s2(&w.hop(), &octets, &s1(&w), o));
        let mut value = peer.decode(&out).unwrap();
        let own = value["gatekeeperRequest"]["tokens"].as_array_mut().unwrap().pop().unwrap();
        assert!(is_pkd1(own["tokenOID"].as_str().unwrap()) && own["timeStamp"].is_null());
        value["gatekeeperRequest"]["requestSeqNum"] = json!(1);
        assert_eq!(value, expected_value);
    }
}

/// Messages that the peer makes up, of all kinds.
const MADE_UP: usize = 4000;

#[test]
fn whatever_the_peer_makes_up_is_read_and_means_the_same() {
    let mut peer = Pycrate::shared();
    let mut kinds = std::collections::HashSet::new();
    for seed in 0..MADE_UP {
        let octets = peer.made_up(seed);
        let value = peer.decode(&octets).unwrap();
        let msg = Message::parse(&octets).unwrap_or_else(|e| panic!("{e:?}\n{}\n{value}", hex(&octets)));
        assert_eq!(outline(&msg), peer_outline(&value), "{}\n{value}", hex(&octets));
        kinds.insert(msg.kind());
    }
    assert_eq!(kinds.len(), 33, "{kinds:?}");
}

#[test]
fn the_peer_s_fault_is_still_there() {
    // When it is gone the script need not mend it any more.
    let mut peer = Pycrate::shared();
    let w = World::v4();
    let e = w.endpoint();
    let msg = write(|o| ras::admission_request(7, ENDPOINT_ID, e.aliases, &["bob"], &CALL, false, 640, o));
    let value = peer.decode(&msg).unwrap();
    let plain = peer.ask(Ask::EncodePlain, value.to_string().as_bytes()).unwrap();
    assert!(plain != msg && peer.decode(&plain).is_err());
}

/// Kinds and components that the project writes none of.
fn more_kinds() -> Vec<(&'static str, Value)> {
    let theirs = foreign_tokens();
    let call = json!({ "guid": "1d".repeat(16) });
    let channel = json!({ "sendAddress": address(5000), "recvAddress": address(5002) });
    let session = json!({
        "rtpAddress": channel, "rtcpAddress": channel, "cname": "studio", "ssrc": 77_000, "sessionId": 1,
        "associatedSessionIds": [2, 3],
    });
    let info = json!({
        "callReferenceValue": 17, "conferenceID": "c0".repeat(16), "originator": true, "audio": [session],
        "video": [session, session], "data": [channel], "h245": channel, "callSignalling": {},
        "callType": { "pointToPoint": null }, "bandWidth": 640, "callModel": { "direct": null },
        "callIdentifier": call, "tokens": theirs, "substituteConfIDs": ["c1".repeat(16)],
    });
    let vendor = terminal()["vendor"].clone();
    vec![
        ("GRQ", full_grq(&theirs)),
        (
            "RRQ",
            json!({ "registrationRequest": {
                "requestSeqNum": 65_535, "protocolIdentifier": "0.0.8.2250.0.5", "discoveryComplete": true,
                "callSignalAddress": [address(1720), { "ip6Address": { "ip": "20".repeat(16), "port": 1720 } }],
                "rasAddress": [], "terminalType": terminal(), "terminalAlias": [{ "h323-ID": "studio-3" }],
                "gatekeeperIdentifier": "gk", "endpointVendor": vendor, "timeToLive": 4_294_967_295u32, "tokens": theirs,
                "keepAlive": false, "willSupplyUUIEs": true, "maintainConnection": true,
                "terminalAliasPattern": [{ "wildcard": { "dialledDigits": "12" } }], "featureSet": feature(), "restart": null,
                "language": ["en"],
            }}),
        ),
        (
            "RRQ additive",
            json!({ "registrationRequest": {
                "requestSeqNum": 9, "protocolIdentifier": "0.0.8.2250.0.5", "discoveryComplete": true,
                "callSignalAddress": [], "rasAddress": [address(1719)], "terminalType": terminal(), "endpointVendor": vendor,
                "keepAlive": true, "endpointIdentifier": "4711", "additiveRegistration": null,
            }}),
        ),
        (
            "RRJ",
            json!({ "registrationReject": {
                "requestSeqNum": 3, "protocolIdentifier": "0.0.8.2250.0.7", "gatekeeperIdentifier": "gk",
                "rejectReason": { "duplicateAlias": [{ "h323-ID": "studio-3" }] },
                "altGKInfo": { "alternateGatekeeper": [{ "rasAddress": address(1719), "gatekeeperIdentifier": "gk2",
                    "needToRegister": true, "priority": 3 }], "altGKisPermanent": false },
            }}),
        ),
        (
            "RRJ of pattern",
            json!({ "registrationReject": {
                "requestSeqNum": 3, "protocolIdentifier": "0.0.8.2250.0.7",
                "rejectReason": { "invalidTerminalAliases": { "terminalAlias": [{ "dialledDigits": "1" }] } },
            }}),
        ),
        (
            "ARQ",
            json!({ "admissionRequest": {
                "requestSeqNum": 10, "callType": { "oneToN": null }, "callModel": { "gatekeeperRouted": null },
                "endpointIdentifier": "4711", "destinationInfo": [{ "h323-ID": "bob" }],
                "destCallSignalAddress": { "ipSourceRoute": { "ip": "c0000201", "port": 1, "route": ["c0000202", "c0000203"],
                    "routing": { "strict": null } } },
                "destExtraCallInfo": [{ "dialledDigits": "1" }], "srcInfo": [{ "h323-ID": "studio-3" }],
                "srcCallSignalAddress": { "nsap": "4700" }, "bandWidth": 100_000, "callReferenceValue": 0,
                "conferenceID": "00".repeat(16), "activeMC": true, "answerCall": false, "canMapAlias": true,
                "callIdentifier": call, "tokens": theirs, "capacity": {}, "featureSet": feature(),
            }}),
        ),
        (
            "ACF",
            json!({ "admissionConfirm": {
                "requestSeqNum": 10, "bandWidth": 4_294_967_295u32, "callModel": { "direct": null },
                "destCallSignalAddress": { "ipxAddress": { "node": "010203040506", "netnum": "00000001", "port": "0451" } },
                "irrFrequency": 65_535, "destinationInfo": [{ "h323-ID": "bob" }], "tokens": theirs, "willRespondToIRR": true,
                "uuiesRequested": { "setup": true, "callProceeding": false, "connect": true, "alerting": false,
                    "information": false, "releaseComplete": true, "facility": false, "progress": false, "empty": false },
            }}),
        ),
        (
            "BRQ",
            json!({ "bandwidthRequest": {
                "requestSeqNum": 11, "endpointIdentifier": "4711", "conferenceID": "c0".repeat(16), "callReferenceValue": 17,
                "callType": { "nToN": null }, "bandWidth": 1, "callIdentifier": call, "tokens": theirs, "answeredCall": true,
            }}),
        ),
        ("BCF", json!({ "bandwidthConfirm": { "requestSeqNum": 11, "bandWidth": 256, "tokens": theirs } })),
        (
            "DRQ",
            json!({ "disengageRequest": {
                "requestSeqNum": 12, "endpointIdentifier": "4711", "conferenceID": "c0".repeat(16), "callReferenceValue": 17,
                "disengageReason": { "undefinedReason": null }, "callIdentifier": call,
                "terminationCause": { "releaseCompleteReason": { "noBandwidth": null } },
            }}),
        ),
        (
            "LRQ",
            json!({ "locationRequest": {
                "requestSeqNum": 13, "destinationInfo": [{ "dialledDigits": "123" }], "replyAddress": address(1719),
                "sourceInfo": [{ "h323-ID": "studio-3" }], "canMapAlias": true, "tokens": theirs, "hopCount": 255,
                "callIdentifier": call, "bandWidth": 5,
            }}),
        ),
        (
            "IRQ",
            json!({ "infoRequest": {
                "requestSeqNum": 14, "callReferenceValue": 17, "replyAddress": { "netBios": "41".repeat(16) },
                "callIdentifier": call, "tokens": theirs, "segmentedResponseSupported": null, "nextSegmentRequested": 3,
            }}),
        ),
        (
            "IRR",
            json!({ "infoRequestResponse": {
                "requestSeqNum": 14, "endpointType": terminal(), "endpointIdentifier": "4711", "rasAddress": address(1719),
                "callSignalAddress": [address(1720)], "endpointAlias": [{ "h323-ID": "studio-3" }],
                "perCallInfo": [info, info], "needResponse": true, "irrStatus": { "segment": 3 }, "unsolicited": true,
            }}),
        ),
        ("IACK", json!({ "infoRequestAck": { "requestSeqNum": 15, "tokens": theirs } })),
        (
            "INAK",
            json!({ "infoRequestNak": { "requestSeqNum": 15, "nakReason": { "notRegistered": null },
            "altGKInfo": { "alternateGatekeeper": [], "altGKisPermanent": true } } }),
        ),
        ("RIP", json!({ "requestInProgress": { "requestSeqNum": 16, "delay": 65_535, "tokens": theirs } })),
        (
            "RAI",
            json!({ "resourcesAvailableIndicate": {
                "requestSeqNum": 17, "protocolIdentifier": "0.0.8.2250.0.7", "endpointIdentifier": "4711",
                "protocols": [{ "h323": {} }, { "voice": { "supportedPrefixes": [] } }], "almostOutOfResources": true,
                "tokens": theirs, "capacity": {},
            }}),
        ),
        (
            "RAC",
            json!({ "resourcesAvailableConfirm": { "requestSeqNum": 17, "protocolIdentifier": "0.0.8.2250.0.7" } }),
        ),
        (
            "NSM",
            json!({ "nonStandardMessage": { "requestSeqNum": 18, "nonStandardData": {
            "nonStandardIdentifier": { "object": "1.2.3" }, "data": "01".repeat(300) }, "featureSet": feature() } }),
        ),
        (
            "SCI",
            json!({ "serviceControlIndication": { "requestSeqNum": 19, "serviceControl": [],
            "endpointIdentifier": "4711" } }),
        ),
        ("SCR", json!({ "serviceControlResponse": { "requestSeqNum": 20, "result": { "started": null } } })),
    ]
}
