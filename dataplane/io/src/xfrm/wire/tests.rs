use super::*;
use proptest::prelude::*;

fn sa(key: &[u8; 36], to: &str, from: &str, window: u32) -> (SaId, Association<'static>) {
    let id = SaId { to: to.parse().unwrap(), spi: 0x0102_0304 };
    let key: &'static [u8; 36] = Box::leak(Box::new(*key));
    let from = from.parse().unwrap();
    (id, Association { id, from, ports: (5066, 5070), encapsulation: (4500, 4501), key, reqid: 77, window })
}

/// The attributes behind `fixed` octets of a message's body: kind and content.
fn attributes(message: &[u8], fixed: usize) -> Vec<(u16, Vec<u8>)> {
    let mut rest = &message[HEADER + fixed..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let len = usize::from(u16_at(rest, 0).unwrap());
        found.push((u16_at(rest, 2).unwrap(), rest[4..len].to_vec()));
        rest = &rest[len.next_multiple_of(ALIGN).min(rest.len())..];
    }
    found
}

#[test]
fn every_request_says_its_own_length_and_fits() {
    let key = [7; 36];
    for (to, from) in [("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "2001:db8::2")] {
        let (id, sa) = sa(&key, to, from, 4096);
        let policy = Policy { direction: Direction::Out, local: SocketAddr::new(id.to, 5066), reqid: 77 };
        for request in [
            Request::Add(sa),
            Request::Update(sa),
            Request::Remove(id),
            Request::List,
            Request::Demand(policy),
            Request::Release(policy),
        ] {
            let mut room = [0xaa; REQUEST_MAX];
            let octets = write(9, &request, &mut room);
            assert_eq!(u32_at(octets, 0), Some(octets.len() as u32), "{request:?}");
            assert_eq!(u32_at(octets, 8), Some(9));
            assert!(octets.len() < REQUEST_MAX && octets.len().is_multiple_of(ALIGN), "{}", octets.len());
        }
    }
}

/// The places of everything in the kernel's structures (linux/xfrm.h, x86-64), read back one by one.
#[test]
fn an_association_stands_where_the_kernel_reads_it() {
    let mut key = [0; 36];
    key.iter_mut().zip(1..).for_each(|(place, n)| *place = n);
    let (_, sa) = sa(&key, "192.0.2.1", "198.51.100.2", 1024);
    let mut room = [0; REQUEST_MAX];
    let octets = write(1, &Request::Add(sa), &mut room).to_vec();
    let body = &octets[HEADER..];
    assert_eq!((u16_at(&octets, 4), u16_at(&octets, 6)), (Some(NEWSA), Some(NLM_F_REQUEST | NLM_F_ACK | NLM_F_NEW)));
    // Selector: destination port and mask, source port and mask, family, no prefixes, UDP.
    assert_eq!(body[32..40], [0x13, 0xce, 0xff, 0xff, 0x13, 0xca, 0xff, 0xff]);
    assert_eq!((u16_at(body, 40), &body[42..45]), (Some(2), &[0, 0, 17][..]));
    // Destination, SPI, ESP, source.
    assert_eq!(
        (&body[56..60], &body[72..77], &body[80..84]),
        (&[192, 0, 2, 1][..], &[1, 2, 3, 4, 50][..], &[198, 51, 100, 2][..])
    );
    assert_eq!((u32_at(body, 208), u16_at(body, 212), &body[214..217]), (Some(77), Some(2), &[0, 0, 0][..]));
    let attributes = attributes(&octets, SA_INFO);
    let kinds: Vec<u16> = attributes.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [ATTR_AEAD, ATTR_ENCAP, ATTR_REPLAY_ESN]);
    let aead = &attributes[0].1;
    assert_eq!((&aead[..AEAD.len()], aead[AEAD.len()]), (AEAD, 0));
    assert_eq!((u32_at(aead, 64), u32_at(aead, 68), &aead[72..]), (Some(288), Some(128), &key[..]));
    assert_eq!(attributes[1].1[..6], [2u16.to_ne_bytes(), 4500u16.to_be_bytes(), 4501u16.to_be_bytes()].concat());
    let replay = &attributes[2].1;
    assert_eq!((u32_at(replay, 0), u32_at(replay, 20), replay.len()), (Some(32), Some(1024), 24 + 4 * 32));
}

#[test]
fn a_policy_demands_esp_of_one_port_whoever_the_peer_is() {
    for (direction, ours, theirs) in [(Direction::In, 32, 36), (Direction::Out, 36, 32)] {
        let policy = Policy { direction, local: "192.0.2.1:5066".parse().unwrap(), reqid: 77 };
        let mut room = [0; REQUEST_MAX];
        let octets = write(1, &Request::Demand(policy), &mut room).to_vec();
        let body = &octets[HEADER..];
        assert_eq!((&body[ours..ours + 4], &body[theirs..theirs + 4]), (&[0x13, 0xca, 0xff, 0xff][..], &[0; 4][..]));
        assert_eq!((body[160], body[161]), (direction as u8, 0));
        let attributes = attributes(&octets, 168);
        let (kind, template) = &attributes[0];
        assert_eq!((*kind, template.len(), template[20], u32_at(template, 44)), (ATTR_TMPL, 64, 50, Some(77)));
        // Transport, any share, demanded.
        assert_eq!(template[48..51], [0, 0, 0]);
    }
}

/// What the kernel would send of what we have written: an association in a list, an error, a mapping.
#[test]
fn answers_are_read() {
    let key = [7; 36];
    for (to, from) in [("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "2001:db8::2")] {
        let (id, sa) = sa(&key, to, from, 64);
        let mut room = [0; REQUEST_MAX];
        let listed = write(3, &Request::Add(sa), &mut room).to_vec();
        let mut datagram = listed;
        let mut message = |kind: u16, number: u32, body: &[u8]| {
            datagram.extend(((HEADER + body.len()) as u32).to_ne_bytes());
            datagram.extend(kind.to_ne_bytes());
            datagram.extend([0; 2]);
            datagram.extend(number.to_ne_bytes());
            datagram.extend([0; 4]);
            datagram.extend(body);
        };
        let mut mapping = vec![0; 64];
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let moved: SocketAddr = SocketAddr::new(sa.from, 40_000);
        mapping[..octets(id.to).len()].copy_from_slice(&octets(id.to));
        mapping[16..20].copy_from_slice(&id.spi.to_be_bytes());
        mapping[20..22].copy_from_slice(&family(id.to).to_ne_bytes());
        mapping[24..28].copy_from_slice(&77u32.to_ne_bytes());
        mapping[44..44 + octets(moved.ip()).len()].copy_from_slice(&octets(moved.ip()));
        mapping[62..64].copy_from_slice(&40_000u16.to_be_bytes());
        message(MAPPING, 0, &mapping);
        message(NLMSG_ERROR, 5, &[(-93i32).to_ne_bytes().to_vec(), vec![0; 16]].concat());
        message(0x20, 0, &[1, 2, 3, 4]);
        message(NLMSG_DONE, 6, &[0; 4]);
        let read: Vec<_> = read(&datagram).collect();
        assert_eq!(
            read,
            [
                Answer::Found { id, reqid: 77 },
                Answer::Moved { id, reqid: 77, to: moved },
                Answer::Done { number: 5, error: 93 },
                Answer::Other,
                Answer::End { number: 6 },
            ]
        );
    }
}

proptest! {
    #[test]
    fn any_octets_are_read_to_an_end(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read(&octets).count() <= octets.len() / HEADER);
    }

    #[test]
    fn a_message_cut_anywhere_is_none(cut in 0usize..400) {
        let (_, sa) = sa(&[7; 36], "192.0.2.1", "198.51.100.2", 32);
        let mut room = [0; REQUEST_MAX];
        let octets = write(3, &Request::Add(sa), &mut room);
        let cut = cut.min(octets.len() - 1);
        prop_assert_eq!(read(&octets[..cut]).count(), 0);
    }
}
