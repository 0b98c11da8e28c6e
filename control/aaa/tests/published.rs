//! Packets that others published, read and checked by this codec; and what it must say of attributes that are cut.
//!
//! RFC 2865 section 7 and RFC 5997 section 6 print packets with the secret that they are made with. FreeRADIUS's wire
//! tests (src/tests/unit/protocols/radius/packet_radius.txt, copyright 2019 Network RADIUS SARL, CC BY 4.0) have four
//! packets of an EAP conversation from tcpdump's RADIUS.pcap, whose secret is nobody's; two of them stand here, with what
//! that test says is in them.

use portunus_aaa::radius::{
    Builder, Code, Distrust, HEADER_LEN, Only, Packet, PacketErrorKind, attr, check_answer, check_request, frame,
};
use portunus_aaa::secret::SharedSecret;

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

/// The secret of both RFCs' examples.
fn secret() -> SharedSecret {
    SharedSecret::new(*b"xyzzy5461")
}

/// RFC 2865 section 7.1: Telnet to a host; the request and the answer to it.
const LOGIN: [&str; 2] = [
    "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a801100506 00000003",
    "0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103",
];
/// Section 7.2: a framed user with CHAP.
const FRAMED: [&str; 2] = [
    "010100472aee86f08d0d55969ca5978e0d3367a20108666c6f707379031316e97557c316185895f293ff63440772750406c0a801100506
     00000014060600000002070600000001",
    "0201003815efbc7dab26cfa3dc34d9c03c8601a40606000000020706000000010806fffffffe0a06000000020d06000000010c06000005dc",
];
/// RFC 5997 section 6.1: a probe of the authentication port and its answer.
const PROBE: [&str; 2] = [
    "0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3",
    "02da0014ef0d552a4bf2d693ec2b6fe8b5411d66",
];
/// Section 6.2: a probe of the accounting port.
const PROBE_ACCT: &str = "0cb30026925f6b66dd5fed571fcb1db7ad3882605012e8d6eabda910875cd91fdade26367858";

#[test]
fn probes_of_rfc_5997_are_believed_and_only_with_their_secret() {
    for hex in [PROBE[0], PROBE_ACCT] {
        let probe = octets(hex);
        let packet = Packet::parse(&probe).unwrap();
        assert_eq!((packet.code(), frame(&probe)), (Code::StatusServer, Ok(Some(38))));
        check_request(&packet, &secret()).unwrap();
        let other = check_request(&packet, &SharedSecret::new(*b"xyzzy5462"));
        assert_eq!(other, Err(Distrust::MessageAuthenticator));
        // The same probe made here has the same octets.
        let made = Builder::new(Vec::new(), Code::StatusServer, packet.id());
        assert_eq!(made.finish_request(&packet.authenticator(), &secret()).unwrap(), probe);
        for bit in 0..probe.len() * 8 {
            let mut bad = probe.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!Packet::parse(&bad).is_ok_and(|p| check_request(&p, &secret()).is_ok()), "bit {bit}");
        }
    }
}

/// The answers of the RFCs have a right Response Authenticator and no Message-Authenticator, which this product asks
/// for (RFC 5080 section 2.2.2 let servers leave it out; Blast-RADIUS showed why they must not).
#[test]
fn answers_of_the_rfcs_have_right_authenticators_and_lack_the_one_that_is_asked_for() {
    for [request, answer] in [LOGIN, FRAMED, PROBE] {
        let (request, answer) = (octets(request), octets(answer));
        let asked = Packet::parse(&request).unwrap();
        let packet = Packet::parse(&answer).unwrap();
        let to = (asked.code(), &asked.authenticator());
        assert_eq!(check_answer(&packet, to, &secret()), Err(Distrust::Missing), "only that is wrong with it");
        assert_eq!(check_answer(&packet, to, &SharedSecret::new(*b"another")), Err(Distrust::Authenticator));
        // Another request's: that comes first.
        assert_eq!(check_answer(&packet, (asked.code(), &[9; 16]), &secret()), Err(Distrust::Authenticator));
        if asked.code() == Code::AccessRequest {
            assert_eq!(check_request(&asked, &secret()), Err(Distrust::Missing));
        }
    }
}

/// Types and values of a packet.
fn attributes(packet: &Packet<'_>) -> Vec<(u8, Vec<u8>)> {
    packet.attributes().map(|a| (a.kind, a.value.to_vec())).collect()
}

#[test]
fn attributes_of_published_packets_are_where_they_are_said_to_be() {
    let login = octets(LOGIN[1]);
    let accepted = attributes(&Packet::parse(&login).unwrap());
    // Service-Type Login, Login-Service Telnet, Login-IP-Host 192.168.1.3.
    assert_eq!(accepted, [(6, vec![0, 0, 0, 1]), (15, vec![0, 0, 0, 0]), (14, vec![192, 168, 1, 3])]);
    let framed = octets(FRAMED[0]);
    let kinds: Vec<_> = Packet::parse(&framed).unwrap().attributes().map(|a| (a.kind, a.value.len())).collect();
    assert_eq!(kinds, [(1, 6), (3, 17), (4, 4), (5, 4), (6, 4), (7, 4)]);

    let request = octets(
        "0105008becfe3d2fe4473ec6299095ee46aedf7704060a00000105060000c35c3d060000000f010e4a6f686e2e4d634775697 26b
         1e1330302d31392d30362d45412d42382d38431f1330302d31342d32322d45392d35342d354506060000000 20c06000005dc
         4f1302000011014a6f686e2e4d634775697 26b501228c5beb8842486da70db51316f9d7889",
    );
    let packet = Packet::parse(&request).unwrap();
    assert_eq!((packet.code(), packet.id(), packet.octets().len()), (Code::AccessRequest, 5, 139));
    assert_eq!(packet.authenticator().to_vec(), octets("ecfe3d2fe4473ec6299095ee46aedf77"));
    assert_eq!(packet.only(attr::USER_NAME), Only::One(b"John.McGuirk"));
    assert_eq!(packet.only(attr::CALLED_STATION_ID), Only::One(b"00-19-06-EA-B8-8C"));
    let kinds: Vec<_> = packet.attributes().map(|a| a.kind).collect();
    assert_eq!(kinds, [4, 5, 61, 1, 30, 31, 6, 12, 79, 80]);
    assert_eq!(check_request(&packet, &secret()), Err(Distrust::MessageAuthenticator));

    let challenge = octets(
        "0b05006df050649184625d36f14c9075b7a48b830806fffffffe0c0600000240060600000002120b48656c6c6f2c202575
         4f180101001604 10266b0e9a58322f4d01ab25b35f879464501211b5043c8a288758173133a5e07434cf
         1812c6d195032fdc30240f7313b231ef1d77",
    );
    let packet = Packet::parse(&challenge).unwrap();
    assert_eq!((packet.code(), packet.octets().len()), (Code::AccessChallenge, 109));
    let state = octets("c6d195032fdc30240f7313b231ef1d77");
    assert_eq!(packet.only(attr::STATE), Only::One(&state));
    let mac = octets("11b5043c8a288758173133a5e07434cf");
    assert_eq!(packet.only(attr::MESSAGE_AUTHENTICATOR), Only::One(&mac));
    let asked = (Code::AccessRequest, &[0; 16]);
    assert_eq!(check_answer(&packet, asked, &secret()), Err(Distrust::Authenticator));
}

/// As FreeRADIUS's errors.txt has it: a length that reaches beyond the packet, and one below the attribute's own header,
/// are errors, wherever they stand.
#[test]
fn an_attribute_that_is_cut_is_refused_with_its_place() {
    for (attribute, whole) in [("010400", false), ("010100", false), ("0100", false), ("01", false), ("010300", true)] {
        let attribute = octets(attribute);
        let mut packet = vec![0x01, 0x07, 0, (HEADER_LEN + 4 + attribute.len()) as u8];
        packet.extend([0x5a; 16]);
        // A good one before it.
        packet.extend([0x20, 0x04, b's', b's']);
        packet.extend(&attribute);
        match Packet::parse(&packet) {
            Ok(_) => assert!(whole, "{attribute:?}"),
            Err(e) => assert_eq!((whole, e.kind, e.at), (false, PacketErrorKind::Attribute, HEADER_LEN + 4)),
        }
    }
}
