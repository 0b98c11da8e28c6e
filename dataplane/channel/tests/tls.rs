//! `tls` from both ends in memory, what each refuses, and against a TLS of somebody else's.

mod ssl;

use portunus_channel::tls::{Client, Connection, Ended, ID_LEN, Identity, Limits, Psk, Server, Taken, derive, hello};
use portunus_channel::{Carrier, Keys, room};
use portunus_keydist::mech::Mech;
use portunus_keydist::schedule::TrafficCtx;
use portunus_keydist::{Idc, Idsp, N1, SessionKey};
use proptest::prelude::*;

const ID: Identity = Identity([0x5a; ID_LEN]);

fn psk(tag: u8) -> Psk {
    Psk::new([tag; 32])
}

fn server(limits: Limits) -> Server {
    Server::new(limits).expect("an OpenSSL with TLS 1.3")
}

/// The proxy's side as its holder drives it: the identity first, then the connection.
struct Proxy<'s> {
    server: &'s Server,
    /// The session table: the one identity that there is.
    known: (Identity, Psk),
    first: Vec<u8>,
    connection: Option<Connection>,
}

impl<'s> Proxy<'s> {
    fn new(server: &'s Server) -> Self {
        Self { server, known: (ID, psk(1)), first: Vec::new(), connection: None }
    }

    /// Plaintext and octets for the peer.
    fn take(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<Vec<u8>, Ended> {
        let mut beginning = Vec::new();
        let octets = match &self.connection {
            Some(_) => octets,
            None => {
                self.first.extend_from_slice(octets);
                let Some(offer) = hello::read(&self.first)? else { return Ok(Vec::new()) };
                let psk = offer.id.filter(|id| *id == self.known.0).map(|_| self.known.1.clone());
                self.connection = Some(self.server.connection(offer.id, psk)?);
                beginning.append(&mut self.first);
                &beginning
            }
        };
        let mut room = vec![0; 100_000];
        let connection = self.connection.as_mut().expect("made above");
        let taken = connection.take(octets, &mut room, out)?;
        assert!(!taken.more, "the room is large");
        room.truncate(taken.plain);
        Ok(room)
    }
}

fn client(id: Identity, psk: Psk) -> (Connection, Vec<u8>) {
    let mut client = Client::new(Limits::default()).expect("a client").connection(id, psk).expect("a connection");
    let mut out = Vec::new();
    client.start(&mut out).expect("a ClientHello");
    (client, out)
}

/// Lets both ends talk until neither has anything to say; the first end of either.
fn talk(proxy: &mut Proxy<'_>, terminal: &mut Connection, first: Vec<u8>) -> (Option<Ended>, Option<Ended>, Vec<u8>) {
    let (mut up, mut down, mut said) = (first, Vec::new(), Vec::new());
    let (mut at_proxy, mut at_terminal) = (None, None);
    while !(up.is_empty() && down.is_empty()) {
        let octets = core::mem::take(&mut up);
        if !octets.is_empty() && at_proxy.is_none() {
            at_proxy = proxy.take(&octets, &mut down).err();
        }
        said.extend_from_slice(&down);
        let octets = core::mem::take(&mut down);
        if !octets.is_empty() && at_terminal.is_none() {
            at_terminal = terminal.take(&octets, &mut [0; 4096], &mut up).err();
        }
    }
    (at_proxy, at_terminal, said)
}

#[test]
fn identity_and_psk_are_the_labels_of_the_schedule() {
    let secret = SessionKey::new([1; 32]).secret(&[2; 16]);
    let (n1b, n2b) = (N1::from_bits(3), N1::from_bits(4));
    let (idc, idsp) = (Idc::new("alice@example.test"), Idsp::new("sp1.example.test"));
    let token = Mech::Tls.token();
    let ctx = TrafficCtx { idc: idc.expect("IDc"), idsp: idsp.expect("IDsp"), n1b: &n1b, n2b: &n2b, token };
    let (id, key) = derive(&secret, &ctx);
    let (mut wanted_id, mut wanted_key) = ([0; 16], [0; 32]);
    secret.traffic("tls id", &ctx, &mut wanted_id);
    secret.traffic("tls psk", &ctx, &mut wanted_key);
    assert_eq!((id.0, key.expose()), (wanted_id, &wanted_key));
    assert_eq!(Identity::from_text(&id.text()), Some(id));
    let kept = Keys::from((id, key.clone()));
    let (again, same) = <(Identity, Psk)>::from(&kept);
    assert_eq!((again, same.expose()), (id, key.expose()));
    assert_eq!(format!("{key:?}"), "Psk(..)");
    assert!(matches!(room(Mech::Tls).map(|room| room.carrier), Some(Carrier::Stream)));
}

#[test]
fn a_handshake_confirms_and_messages_pass_both_ways() {
    let server = server(Limits::default());
    let (mut proxy, (mut terminal, first)) = (Proxy::new(&server), client(ID, psk(1)));
    assert!(terminal.put(b"too early", &mut Vec::new()).is_err(), "no early data");
    let (at_proxy, at_terminal, _) = talk(&mut proxy, &mut terminal, first);
    assert_eq!((at_proxy, at_terminal), (None, None));
    let inside = proxy.connection.as_mut().expect("a connection");
    assert!(inside.is_established() && terminal.is_established());
    for len in [1, 100, 16_384, 16_385, 50_000] {
        let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut wire = Vec::new();
        terminal.put(&message, &mut wire).expect("goes out");
        assert!(len < 16 || !wire.windows(16).any(|w| message.windows(16).any(|m| m == w)), "nothing in the clear");
        assert_eq!(proxy.take(&wire, &mut Vec::new()), Ok(message.clone()));
        let mut wire = Vec::new();
        proxy.connection.as_mut().expect("there").put(&message, &mut wire).expect("goes out");
        // Octet by octet, into a small room.
        let (mut room, mut seen) = ([0; 512], Vec::new());
        for octets in wire.chunks(997) {
            let mut taken = terminal.take(octets, &mut room, &mut Vec::new()).expect("verifies");
            seen.extend_from_slice(&room[..taken.plain]);
            while taken.more {
                taken = terminal.take(&[], &mut room, &mut Vec::new()).expect("verifies");
                seen.extend_from_slice(&room[..taken.plain]);
            }
        }
        assert_eq!(seen, message);
    }
    let mut wire = Vec::new();
    terminal.close(&mut wire);
    assert_eq!(proxy.take(&wire, &mut Vec::new()), Err(Ended::Closed));
}

#[test]
fn an_unknown_identity_ends_as_a_wrong_key_does() {
    let server = server(Limits::default());
    let end = |id: Identity, key: Psk| {
        let (mut proxy, (mut terminal, first)) = (Proxy::new(&server), client(id, key));
        let (at_proxy, at_terminal, said) = talk(&mut proxy, &mut terminal, first);
        assert_eq!(at_proxy, Some(Ended::Unproven));
        assert!(matches!(at_terminal, Some(Ended::Alert(_))), "{at_terminal:?}");
        // An alert record: type 21, length 2, fatal.
        assert!(matches!(said[..], [21, 3, _, 0, 2, 2, _]), "{said:?}");
        said
    };
    assert_eq!(end(ID, psk(2)), end(Identity([1; ID_LEN]), psk(1)));
}

#[test]
fn what_is_not_offered_as_agreed_is_refused() {
    let server = server(Limits::default());
    let (id, key) = (ID.text(), [1; 32]);
    let end = |peer: ssl::Peer| {
        let mut proxy = Proxy::new(&server);
        let mut end = None;
        let done = peer.shake(|octets, out| {
            end = proxy.take(octets, out).err();
            end.is_none()
        });
        assert_eq!(done, end.is_none());
        assert_eq!(done, proxy.connection.as_ref().is_some_and(Connection::is_established));
        end
    };
    let peer = || ssl::Peer::new(&id, &key);
    assert_eq!(end(peer()), None, "the peer itself is good");
    assert_eq!(end(peer().groups("P-256")), None);
    assert_eq!(end(peer().groups("P-384:X25519")), None, "by a HelloRetryRequest");
    assert_eq!(end(peer().suites("TLS_CHACHA20_POLY1305_SHA256")), None);
    assert_eq!(end(peer().groups("P-384")), Some(Ended::Refused));
    assert_eq!(end(peer().suites("TLS_AES_256_GCM_SHA384")), Some(Ended::Refused));
    assert_eq!(end(peer().without_dhe()), Some(Ended::Refused), "psk_ke alone");
    assert_eq!(end(peer().tls12()), Some(Ended::Refused));
    assert_eq!(end(ssl::Peer::without_psk()), Some(Ended::Refused));
}

#[test]
fn a_server_with_a_certificate_is_none() {
    let (mut terminal, first) = client(ID, psk(1));
    let mut down = ssl::certified(&first);
    assert!(down.len() > 500, "a certificate came");
    let mut up = Vec::new();
    let end = terminal.take(&core::mem::take(&mut down), &mut [0; 4096], &mut up);
    assert!(end.is_err() && !terminal.is_established(), "{end:?}");
}

#[test]
fn truncated_handshakes_and_records_wait_and_altered_ones_end() {
    let server = server(Limits::default());
    let (mut proxy, (mut terminal, first)) = (Proxy::new(&server), client(ID, psk(1)));
    for octet in &first[..first.len() - 1] {
        let mut out = Vec::new();
        assert_eq!(proxy.take(&[*octet], &mut out), Ok(Vec::new()));
        assert!(out.is_empty(), "nothing is said to half a ClientHello");
    }
    let mut down = Vec::new();
    assert_eq!(proxy.take(&first[first.len() - 1..], &mut down), Ok(Vec::new()));
    let mut up = Vec::new();
    terminal.take(&down, &mut [0; 4096], &mut up).expect("the server's flight");
    let mut altered = up.clone();
    *altered.last_mut().expect("a Finished") ^= 1;
    assert!(proxy.take(&altered, &mut Vec::new()).is_err());
    assert!(!proxy.connection.as_ref().expect("there").is_established(), "the Finished does not verify");

    let (mut proxy, (mut terminal, first)) = (Proxy::new(&server), client(ID, psk(1)));
    assert_eq!(talk(&mut proxy, &mut terminal, first).0, None);
    let mut wire = Vec::new();
    terminal.put(b"OPTIONS", &mut wire).expect("goes out");
    let (but_one, last) = wire.split_at(wire.len() - 1);
    assert_eq!(proxy.take(but_one, &mut Vec::new()), Ok(Vec::new()));
    assert_eq!(proxy.take(&[last[0] ^ 1], &mut Vec::new()), Err(Ended::Broken));
}

#[test]
fn a_record_seen_before_ends_the_connection() {
    let server = server(Limits::default());
    let (mut proxy, (mut terminal, first)) = (Proxy::new(&server), client(ID, psk(1)));
    assert_eq!(talk(&mut proxy, &mut terminal, first).0, None);
    let mut wire = Vec::new();
    terminal.put(b"INVITE", &mut wire).expect("goes out");
    assert_eq!(proxy.take(&wire, &mut Vec::new()).as_deref(), Ok(&b"INVITE"[..]));
    assert_eq!(proxy.take(&wire, &mut Vec::new()), Err(Ended::Broken), "no replay");
}

#[test]
fn limits_hold() {
    let tight = Limits { handshake: 100, incoming: 4096, outgoing: 2000 };
    let narrow = server(tight);
    let (mut proxy, (mut terminal, first)) = (Proxy::new(&narrow), client(ID, psk(1)));
    assert_eq!(talk(&mut proxy, &mut terminal, first).0, Some(Ended::Long));

    let narrow = server(Limits { handshake: 16 << 10, ..tight });
    let (mut proxy, (mut terminal, first)) = (Proxy::new(&narrow), client(ID, psk(1)));
    assert_eq!(talk(&mut proxy, &mut terminal, first).0, None);
    let inside = proxy.connection.as_mut().expect("there");
    let mut out = Vec::new();
    inside.put(&[b'x'; 1500], &mut out).expect("fits");
    assert_eq!(inside.put(&[b'x'; 1500], &mut out), Err(Ended::Slow), "nobody fetches it");
    let mut wire = Vec::new();
    terminal.put(&[b'y'; 6000], &mut wire).expect("goes out");
    let mut room = [0; 16];
    let half = wire.len() / 2;
    let taken = inside.take(&wire[..half], &mut room, &mut Vec::new());
    assert_eq!(taken, Ok(Taken { plain: 0, more: false }), "a record is whole or nothing");
    let taken = inside.take(&wire[half..], &mut room, &mut Vec::new());
    assert_eq!(taken, Ok(Taken { plain: 16, more: true }));
    assert_eq!(inside.take(&[23; 5000], &mut room, &mut Vec::new()), Err(Ended::Flood), "its plaintext is not taken");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever comes, there is an end or a wait, and nothing but an alert is said.
    #[test]
    fn arbitrary_octets(mut octets in proptest::collection::vec(any::<u8>(), 0..600), lead in 0usize..4, cut in any::<usize>()) {
        let server = server(Limits::default());
        let mut proxy = Proxy::new(&server);
        let (_, good) = client(ID, psk(1));
        // Noise, noise in a record, a good ClientHello altered in places, one cut short and gone on with noise.
        let wire = match lead {
            0 => octets,
            1 => { let len = (octets.len() as u16).to_be_bytes(); octets.splice(0..0, [22, 3, 1, len[0], len[1]]); octets }
            2 => {
                let mut wire = good;
                for octet in octets.chunks(50).filter_map(<[u8]>::first_chunk::<3>) {
                    let at = (usize::from(octet[0]) << 8 | usize::from(octet[1])) % wire.len();
                    wire[at] = octet[2];
                }
                wire
            }
            _ => [&good[..cut % good.len()], &octets].concat(),
        };
        let mut out = Vec::new();
        let _ = proxy.take(&wire, &mut out);
        prop_assert!(!proxy.connection.is_some_and(|c| c.is_established()));
        // An alert about the version stands in a record of the version that the peer named, whatever that is.
        prop_assert!(out.is_empty() || matches!(out[..], [21, _, _, 0, 2, ..] | [22, 3, ..]), "{out:?}");
    }
}
