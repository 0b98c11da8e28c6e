//! What a fuzzer does with octets from anywhere: read them as a packet, as both ends would, and hold the codec to its
//! word. Panics on a broken promise.

use crate::exchange::{AaaRequest, Authenticate, Scheme};
use crate::radius::server::RadiusEnd;
use crate::radius::{Builder, Code, HEADER_LEN, Packet, attr, carriage, check_answer, check_request, frame};
use crate::secret::SharedSecret;
use crate::server::{ClientEntry, End, EndConfig, Origin, Port, Received};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use portunus_keydist::ident::N1;
use portunus_keydist::{Now, Random};

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
        assert_eq!(carriage::read_request(&view).as_ref(), Ok(&request));
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
