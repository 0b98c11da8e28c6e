//! What a fuzzer does with octets from anywhere: read them as a packet, as both ends would, and hold the codec to its
//! word. Panics on a broken promise.

use crate::client::link::{Link, LinkConfig, LinkEffect, Timing};
use crate::diameter;
use crate::diameter::end::DiameterEnd;
use crate::diameter::link::DiameterLink;
use crate::exchange::{AaaRequest, Authenticate, Scheme};
use crate::node::Node;
use crate::radius::server::RadiusEnd;
use crate::radius::{Builder, Code, HEADER_LEN, Packet, attr, carriage, check_answer, check_request, frame};
use crate::secret::SharedSecret;
use crate::server::{ClientEntry, End, EndConfig, Origin, Port, Received};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use portunus_keydist::ident::N1;
use portunus_keydist::{Now, Random};
use std::sync::Arc;

/// Draws nothing but zeros: a fuzzer's findings must repeat.
struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(0);
    }
}

/// The body of the fuzz target `radius`.
pub fn radius(octets: &[u8]) {
    let secret = SharedSecret::new(*b"sixteen octets!!");
    let packet = match Packet::parse(octets) {
        Ok(packet) => packet,
        Err(_) => {
            // What is no packet is refused by the server too, and never answered.
            assert_eq!(serve(octets, &secret), None);
            return;
        }
    };
    let covered: usize = packet.attributes().map(|a| a.value.len() + 2).sum();
    assert_eq!(covered + HEADER_LEN, packet.octets().len(), "attributes cover the packet");
    assert_eq!(frame(octets), Ok(Some(packet.octets().len())), "stream and datagram agree");
    let _ = check_request(&packet, &secret);
    let _ = check_answer(&packet, (Code::AccessRequest, &[0; 16]), &secret);
    let _ = carriage::read_answer(&packet, &question());
    // What is read is written and read again to the same.
    if let Ok(request) = carriage::read_request(&packet) {
        assert!(request.is_well_formed());
        let again = seal(&packet, &request, &secret);
        let view = Packet::parse(&again).expect("what is written is readable");
        check_request(&view, &secret).expect("what is written is believed");
        assert_eq!(carriage::read_request(&view).map(AaaRequest::as_asked), Ok(request.as_asked()));
    }
    // The same attributes with right authenticators get past the door.
    if packet.attributes().all(|a| !a.value.is_empty() && a.kind != attr::MESSAGE_AUTHENTICATOR) {
        let mut b = Builder::new(Vec::new(), packet.code(), packet.id());
        for a in packet.attributes() {
            b.put(a.kind, a.value);
        }
        if let Ok(proven) = b.finish_request(&packet.authenticator(), &secret)
            && let Some(answer) = serve(&proven, &secret)
        {
            assert!(Packet::parse(&answer).is_ok_and(|a| a.id() == packet.id()));
        }
    }
}

/// The body of the fuzz target `diameter`.
pub fn diameter(octets: &[u8]) {
    let message = match diameter::Message::parse(octets) {
        Ok(message) => message,
        Err(fault) => {
            assert!(matches!(fault.code, 3_000..6_000));
            diameter_ends(octets);
            return;
        }
    };
    assert_eq!(diameter::frame(octets), Ok(Some(octets.len())), "stream and message agree");
    let covered: usize = message.avps().map(|a| a.octets.len().next_multiple_of(4)).sum();
    assert_eq!(covered + diameter::HEADER_LEN, octets.len(), "AVPs cover the message");
    let _ = diameter::cx::read_answer(&message, &question());
    // What is read is written and read again to the same.
    if message.check().is_ok()
        && message.header.is_request()
        && message.header.application == diameter::dict::CX
        && let Ok(request) = diameter::cx::read_request(&message)
    {
        assert!(request.is_well_formed());
        let names = diameter::cx::Names { hop_by_hop: 1, end_to_end: 2, session: "fuzz;1;1", again: false };
        let again = diameter::cx::write_request(&request, &Node::default(), names);
        let view = diameter::Message::parse(&again).expect("what is written is readable");
        view.check().expect("what is written is whole");
        assert_eq!(diameter::cx::read_request(&view).map(AaaRequest::as_asked), Ok(request.as_asked()));
    }
    diameter_ends(octets);
}

/// Both ends of a Diameter connection hear these octets, before and after its capabilities were exchanged.
fn diameter_ends(octets: &[u8]) {
    let node = Node { host: "auc.fuzz".into(), realm: "example.test".into(), ..Node::default() };
    let realms = vec!["example.test".into()];
    let config = EndConfig { node: node.clone(), realms, ..EndConfig::default() };
    let mut end = DiameterEnd::new(config, Box::new(Zeros));
    let now = Now::default();
    let origin = |connection| Origin::Stream { connection, name: "fuzz".into() };
    let local = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for connection in [1, 2] {
        end.on_connection(now, connection, local);
    }
    let link_node = Node { host: "ss.fuzz".into(), ..node };
    let at = SocketAddr::from(([127, 0, 0, 1], 3_868));
    let mut link = DiameterLink::new(LinkConfig {
        auth: at,
        acct: at,
        secret: SharedSecret::new([]),
        nas_identifier: "ss.fuzz".into(),
        lanes: 1,
        window: 4,
        stream: true,
        node: link_node,
        realms: vec![],
        timing: Timing::default(),
    });
    link.on_lane(now, 0, true, &mut Zeros);
    let Some(LinkEffect::Send { bytes, .. }) = link.poll_effect() else { panic!("a CER") };
    let cer = bytes.to_vec();
    let Received::Answer(cea) = end.on_packet(now, &origin(1), &cer) else { panic!("a CEA") };
    let cea = cea.to_vec();
    link.on_packet(now, 0, at, &cea, &mut Zeros);
    assert!(link.submit(now, 1, &Arc::new(question()), false, &mut Zeros), "capabilities were exchanged");
    for connection in [2, 1, 1] {
        if let Received::Answer(answer) = end.on_packet(now, &origin(connection), octets) {
            let answer = diameter::Message::parse(answer).expect("what is answered is readable");
            assert!(!answer.header.is_request());
        }
    }
    link.on_packet(now, 0, at, octets, &mut Zeros);
    while let Some(effect) = link.poll_effect() {
        if let LinkEffect::Send { bytes, .. } = effect {
            assert!(diameter::Message::parse(bytes).is_ok(), "what is sent is readable");
        }
    }
}

fn question() -> AaaRequest {
    AaaRequest::Authenticate(Authenticate {
        idc: "alice@example.test".into(),
        idsp: "sp1.example.test".into(),
        scheme: Scheme::Pkd1 { n1: N1::from_bits(1) },
        realm: "example.test".into(),
        uri: None,
        source: None,
    })
}

fn seal(packet: &Packet<'_>, request: &AaaRequest, secret: &SharedSecret) -> Vec<u8> {
    let mut b = Builder::new(Vec::new(), carriage::code_of(request), packet.id());
    carriage::write_request(&mut b, request, "ss1.example.test", None);
    b.finish_request(&packet.authenticator(), secret).expect("a request that was read fits a packet")
}

/// What a server says to these octets at once.
fn serve(octets: &[u8], secret: &SharedSecret) -> Option<Vec<u8>> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let config = EndConfig { clients: vec![ClientEntry::host("fuzz", ip, secret.clone())], ..EndConfig::default() };
    let mut end = RadiusEnd::new(config, Box::new(Zeros));
    let port = if octets.first() == Some(&(Code::AccountingRequest as u8)) { Port::Acct } else { Port::Auth };
    let origin = Origin::Datagram { peer: SocketAddr::new(ip, 1), port };
    match end.on_packet(Now::default(), &origin, octets) {
        Received::Answer(octets) => Some(octets.to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Account;
    use portunus_keydist::steps::Registration;
    use proptest::prelude::*;

    fn seeds() -> Vec<Vec<u8>> {
        let secret = SharedSecret::new(*b"sixteen octets!!");
        let account = AaaRequest::Account(Account {
            idc: "alice@example.test".into(),
            idsp: "sp1.example.test".into(),
            rand: [1; 16],
            ip: "2001:db8::1".parse().unwrap(),
            event: Registration::Start,
            softswitch: None,
        });
        let probe = Builder::new(Vec::new(), Code::StatusServer, 1).finish_request(&[1; 16], &secret).unwrap();
        let view = Packet::parse(&probe).unwrap();
        vec![seal(&view, &question(), &secret), seal(&view, &account, &secret), probe]
    }

    #[test]
    fn good_packets_hold() {
        for seed in seeds() {
            radius(&seed);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn altered_packets_hold(
            which in 0..3usize, edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6), cut in 0..400usize,
        ) {
            let mut octets = seeds()[which].clone();
            for (at, value) in edits {
                let at = at % octets.len();
                octets[at] = value;
            }
            octets.truncate(octets.len().saturating_sub(cut.saturating_sub(300)));
            radius(&octets);
        }

        #[test]
        fn arbitrary_octets_hold(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            radius(&octets);
        }
    }
}
