//! Datagrams through real sockets on the loopback interface.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use portunus_io::listen::{self, Buffers};
use portunus_io::steer::{Steer, socket_of};
use portunus_io::{Batch, Pushed, Rx, Tx, UdpPort};

fn local(v6: bool) -> SocketAddr {
    if v6 { "[::1]:0".parse().unwrap() } else { "127.0.0.1:0".parse().unwrap() }
}

/// Receives until `want` messages are there or two seconds are over.
fn collect(port: &mut UdpPort, want: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut batch = Batch::new(32, 2048);
    let mut out = Vec::new();
    let end = Instant::now() + Duration::from_secs(2);
    while out.len() < want && Instant::now() < end {
        port.recv(&mut batch).unwrap();
        out.extend(batch.iter().map(|(peer, message)| (peer, message.to_vec())));
        batch.clear();
    }
    out
}

#[test]
fn batches_cross_in_order_over_both_families() {
    for v6 in [false, true] {
        let mut left = UdpPort::new(listen::udp(local(v6), Buffers::default()).unwrap(), 32);
        let mut right = UdpPort::new(listen::udp(local(v6), Buffers::default()).unwrap(), 32);
        let (from, to) = (left.local_addr().unwrap(), right.local_addr().unwrap());
        let mut batch = Batch::new(100, 2048);
        let mut got = Vec::new();
        for round in 0..20usize {
            for nth in 0..100usize {
                assert_eq!(batch.push(to, format!("{} {}", round, nth).repeat(nth % 50).as_bytes()), Pushed::Written);
            }
            let sent = left.send(&mut batch).unwrap();
            assert_eq!((sent.messages, sent.oversize, sent.failed, sent.blocked), (100, 0, 0, false));
            assert!(batch.is_empty());
            got.extend(collect(&mut right, 100));
        }
        assert_eq!(got.len(), 2000);
        for (at, (peer, message)) in got.iter().enumerate() {
            assert_eq!(*peer, from);
            assert_eq!(message, format!("{} {}", at / 100, at % 100).repeat(at % 100 % 50).as_bytes());
        }
        // 2000 messages in batches of 32: far fewer calls than messages.
        assert!(left.calls() <= 20 * 4, "{}", left.calls());
    }
}

#[test]
fn what_is_too_long_is_counted_both_ways() {
    let mut port = UdpPort::new(listen::udp(local(false), Buffers::default()).unwrap(), 8);
    let to = port.local_addr().unwrap();
    let peer = UdpSocket::bind(local(false)).unwrap();
    peer.send_to(&[1; 600], to).unwrap();
    peer.send_to(&[2; 500], to).unwrap();
    peer.send_to(&[3; 512], to).unwrap();
    let mut batch = Batch::new(8, 512);
    let received = port.recv(&mut batch).unwrap();
    assert_eq!((received.messages, received.oversize, received.drained), (2, 1, true));
    assert_eq!(batch.iter().map(|(_, message)| message.len()).collect::<Vec<_>>(), [500, 512]);

    // 65,535 octets are more than an IPv4 datagram's payload can be: the link refuses this one and sends the others.
    let mut batch = Batch::new(4, 65_535);
    let peer = peer.local_addr().unwrap();
    batch.push(peer, b"before");
    batch.push(peer, &[0; 65_535]);
    batch.push(peer, b"after");
    let sent = port.send(&mut batch).unwrap();
    assert_eq!((sent.messages, sent.oversize, sent.failed), (2, 1, 0));
}

#[test]
fn a_refused_datagram_does_not_take_others_with_it() {
    let mut port = UdpPort::new(listen::udp("0.0.0.0:0".parse().unwrap(), Buffers::default()).unwrap(), 8);
    let good = UdpSocket::bind(local(false)).unwrap();
    good.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut batch = Batch::new(8, 512);
    // Port 0 cannot be sent to (EINVAL).
    batch.push(SocketAddr::from(([127, 0, 0, 1], 0)), b"nowhere");
    batch.push(good.local_addr().unwrap(), b"here");
    let sent = port.send(&mut batch).unwrap();
    assert_eq!((sent.messages, sent.failed), (1, 1));
    let mut buffer = [0; 64];
    assert_eq!(good.recv(&mut buffer).unwrap(), 4);
}

#[test]
fn a_source_always_meets_the_socket_that_the_arithmetic_names() {
    for v6 in [false, true] {
        let seed = 0xDEAD_BEEF;
        let group = listen::udp_group(local(v6), 3, Steer::Source { seed }, Buffers::default()).unwrap();
        let to = group[0].local_addr().unwrap();
        let peers: Vec<_> = (0..60).map(|_| UdpSocket::bind(local(v6)).unwrap()).collect();
        for round in 0..3u8 {
            for peer in &peers {
                peer.send_to(&[round; 100], to).unwrap();
            }
        }
        let mut ports: Vec<_> = group.into_iter().map(|socket| UdpPort::new(socket, 64)).collect();
        let mut seen: HashMap<SocketAddr, (usize, usize)> = HashMap::new();
        let mut used = [0; 3];
        for (nth, port) in ports.iter_mut().enumerate() {
            let mut batch = Batch::new(256, 256);
            while port.recv(&mut batch).unwrap().messages > 0 {}
            for (peer, _) in batch.iter() {
                let entry = seen.entry(peer).or_insert((nth, 0));
                assert_eq!(entry.0, nth, "{peer} met two sockets");
                entry.1 += 1;
                used[nth] += 1;
            }
        }
        assert_eq!(used.iter().sum::<usize>(), 180);
        assert!(used.iter().all(|&count| count > 0), "{used:?}");
        for peer in &peers {
            let peer = peer.local_addr().unwrap();
            assert_eq!(seen.get(&peer), Some(&(socket_of(peer, 3, seed) as usize, 3)), "{peer}");
        }
    }
}

#[test]
fn a_payload_octet_names_the_socket() {
    let group = listen::udp_group(local(false), 4, Steer::Octet { at: 4 }, Buffers::default()).unwrap();
    let to = group[0].local_addr().unwrap();
    let peer = UdpSocket::bind(local(false)).unwrap();
    for worker in 0..8u8 {
        peer.send_to(&[0x50, 1, 1, 0, worker, 9, 9, 9, 9, 9], to).unwrap();
    }
    peer.send_to(&[0x50, 1], to).unwrap();
    for (nth, socket) in group.into_iter().enumerate() {
        let got = collect_now(&mut UdpPort::new(socket, 64));
        let workers: Vec<u8> = got.iter().filter_map(|message| message.get(4).copied()).collect();
        assert_eq!(workers, [nth as u8, nth as u8 + 4]);
        // Too short to name one: the first.
        assert_eq!(got.len(), if nth == 0 { 3 } else { 2 });
    }
}

fn collect_now(port: &mut UdpPort) -> Vec<Vec<u8>> {
    let mut batch = Batch::new(64, 256);
    port.recv(&mut batch).unwrap();
    batch.iter().map(|(_, message)| message.to_vec()).collect()
}

#[test]
fn a_connected_socket_stands_beside_the_main_one() {
    let main = listen::udp_shared(local(false), Buffers::default()).unwrap();
    let peer = UdpSocket::bind(local(false)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let stranger = UdpSocket::bind(local(false)).unwrap();
    let connected = listen::udp_connected(&main, peer.local_addr().unwrap(), Buffers::default()).unwrap();
    let address = main.local_addr().unwrap();
    let (mut main, mut connected) = (UdpPort::new(main, 8), UdpPort::new(connected, 8));
    let mut batch = Batch::new(8, 256);
    // The destination of a connected socket is fixed.
    batch.push("127.0.0.1:9".parse().unwrap(), b"hello");
    assert_eq!(connected.send(&mut batch).unwrap().messages, 1);
    let mut buffer = [0; 64];
    let (len, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..len], from), (&b"hello"[..], address));
    peer.send_to(b"from the peer", address).unwrap();
    stranger.send_to(b"from a stranger", address).unwrap();
    assert_eq!(collect_now(&mut connected), [b"from the peer".to_vec()]);
    assert_eq!(collect_now(&mut main), [b"from a stranger".to_vec()]);
}

/// Sends messages of these lengths through a coalescing port; whether the receiver coalesces or not, each arrives as it
/// was, and those of one length in their order.
fn joined(lengths: &[usize], receiver_joins: bool) -> (u64, u64) {
    let mut right = UdpPort::new(listen::udp(local(false), Buffers::default()).unwrap(), 64);
    if receiver_joins {
        right.coalesce();
    }
    let main = listen::udp_shared(local(false), Buffers::default()).unwrap();
    let left = listen::udp_connected(&main, right.local_addr().unwrap(), Buffers::default()).unwrap();
    let from = left.local_addr().unwrap();
    let mut left = UdpPort::new(left, 64);
    left.coalesce();
    let mut batch = Batch::new(128, 9000);
    let mut wanted: Vec<Vec<u8>> = Vec::new();
    for (nth, &len) in lengths.iter().enumerate() {
        let message: Vec<u8> = (0..len).map(|at| (at + nth * 31) as u8).collect();
        assert_eq!(batch.push(from, &message), Pushed::Written);
        wanted.push(message);
    }
    let sent = left.send(&mut batch).unwrap();
    assert_eq!((sent.messages, sent.oversize, sent.failed), (lengths.len(), 0, 0));
    let mut batch = Batch::coalescing(64);
    let mut got: Vec<Vec<u8>> = Vec::new();
    while got.len() < wanted.len() {
        let received = right.recv(&mut batch).unwrap();
        assert_eq!(received.messages, batch.len());
        assert!(received.messages > 0, "{} of {}", got.len(), wanted.len());
        for (peer, message) in batch.iter() {
            assert_eq!(peer, from);
            got.push(message.to_vec());
        }
        batch.clear();
    }
    wanted.sort_by_key(|message| std::cmp::Reverse(message.len()));
    assert_eq!(got, wanted);
    (left.calls(), right.calls())
}

#[test]
fn joined_messages_arrive_as_they_were() {
    let mixed: Vec<usize> = (0..100).map(|nth| [700, 650, 1, 1400, 700, 8000][nth % 6] + nth / 50).collect();
    for receiver_joins in [false, true] {
        joined(&[700; 100], receiver_joins);
        joined(&mixed, receiver_joins);
        joined(&[0, 5, 5, 0, 7], receiver_joins);
        joined(&(1..100).collect::<Vec<_>>(), receiver_joins);
        joined(&[9], receiver_joins);
    }
    // Both sides joining: one call each way moves a hundred messages.
    assert_eq!(joined(&[600; 64], true), (1, 1));
}

#[test]
fn joined_messages_find_their_own_peers() {
    let peers: Vec<_> =
        (0..3).map(|_| UdpPort::new(listen::udp(local(true), Buffers::default()).unwrap(), 64)).collect();
    let mut port = UdpPort::new(listen::udp(local(true), Buffers::default()).unwrap(), 64);
    port.coalesce();
    let mut batch = Batch::new(90, 500);
    for nth in 0..90usize {
        let to = peers[nth % 3].local_addr().unwrap();
        assert_eq!(batch.push(to, &[nth as u8; 200]), Pushed::Written);
    }
    let sent = port.send(&mut batch).unwrap();
    assert_eq!((sent.messages, sent.failed), (90, 0));
    // One call loads at most 64 messages.
    assert_eq!(port.calls(), 2);
    for (at, mut peer) in peers.into_iter().enumerate() {
        let got: Vec<usize> = collect(&mut peer, 30).iter().map(|(_, message)| usize::from(message[0])).collect();
        assert_eq!(got, (0..30).map(|nth| nth * 3 + at).collect::<Vec<_>>());
    }
}
