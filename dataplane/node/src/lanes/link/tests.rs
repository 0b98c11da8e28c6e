use super::*;
use mio::Poll;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: mono_ms }
}

/// A link of at most `lanes` lanes to a core.
fn link(lanes: usize) -> (LanesLink, UdpSocket, Poll) {
    let core = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    core.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let peers = vec![core.local_addr().unwrap()];
    let config = LanesConfig { lanes, ..LanesConfig::new(Protocol::Ras, Ipv4Addr::LOCALHOST.into(), peers) };
    let (mut link, poll) = (LanesLink::new(config), Poll::new().unwrap());
    link.open(poll.registry(), 16).unwrap();
    (link, core, poll)
}

fn push(link: &mut LanesLink, now: Now, name: u64, octets: &[u8]) -> Pushed {
    link.push_with(now, 0, (Lane::Of(name), 0), &mut |place| {
        place.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(octets.len())
    })
}

/// The next message at the core, and the port that it came from.
fn heard(core: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 64];
    let (len, from) = core.recv_from(&mut buffer).unwrap();
    (buffer[..len].to_vec(), from)
}

/// Everything that comes in by this lane until nothing is left.
fn drain(link: &mut LanesLink, slot: usize) -> Vec<Vec<u8>> {
    let (mut rx, mut got) = (link.room(), Vec::new());
    link.set_ready(WORKERS + slot);
    while link.waiting() > 0 {
        assert!(link.recv(at(1), &mut rx));
        for (from, sender, octets) in rx.iter() {
            assert_eq!(from.slot as usize, slot);
            assert!(link.admit(&from, sender, octets).is_some());
            got.push(octets.to_vec());
        }
        rx.clear();
    }
    assert!(!link.recv(at(1), &mut rx));
    got
}

#[test]
fn a_lane_that_makes_room_has_sent_what_waited() {
    let (mut link, core, _poll) = link(1);
    assert_eq!(push(&mut link, at(1), 7, b"first"), Pushed::Written);
    assert_eq!(push(&mut link, at(2), 8, b"second"), Pushed::Written);
    link.flush();
    let (first, second) = (heard(&core), heard(&core));
    assert_eq!((&first.0[..], &second.0[..]), (&b"first"[..], &b"second"[..]));
    assert_ne!(first.1, second.1, "each by its own lane");
    assert_eq!((link.counters.lane_sent, link.counters.lane_reused, link.counters.lane_open), (2, 1, 1));
    // One that has an active session makes none.
    link.on_session(at(3), (8, 0), true);
    assert_eq!((push(&mut link, at(3), 7, b"third"), link.counters.lane_none_free), (Pushed::Full, 1));
}

#[test]
fn many_messages_at_one_lane_come_in_their_order_and_none_stays() {
    let (mut link, core, _poll) = link(4);
    push(&mut link, at(1), 7, b"up");
    push(&mut link, at(1), 8, b"up");
    link.flush();
    let (lane, other) = (heard(&core).1, heard(&core).1);
    let sent: Vec<Vec<u8>> = (0..50u8).map(|n| vec![n; 1 + usize::from(n % 3)]).collect();
    sent.iter().for_each(|octets| _ = core.send_to(octets, lane).unwrap());
    core.send_to(b"other", other).unwrap();
    assert_eq!(drain(&mut link, 0), sent);
    assert_eq!(drain(&mut link, 1), [b"other"]);
    // A stranger's is counted and not admitted.
    let strange = UdpSocket::bind("127.0.0.2:0").unwrap();
    strange.send_to(b"strange", lane).unwrap();
    let mut rx = link.room();
    link.set_ready(WORKERS);
    link.recv(at(1), &mut rx);
    let (from, sender, octets) = rx.iter().next().unwrap();
    assert_eq!((link.admit(&from, sender, octets), link.counters.lane_foreign), (None, 1));
}

#[test]
fn lanes_without_a_session_are_closed_in_time_and_those_with_one_stay() {
    let (mut link, core, _poll) = link(4);
    for (now, name) in [(1, 7), (5, 8), (9, 9)] {
        push(&mut link, at(now), name, b"up");
    }
    link.flush();
    let lanes = [heard(&core).1, heard(&core).1, heard(&core).1];
    link.on_session(at(10), (8, 0), true);
    assert_eq!(link.next_look(), Some(1 + LINGER_MS));
    link.look(at(LINGER_MS));
    assert_eq!(link.counters.lane_closed, 0);
    link.look(at(1 + LINGER_MS));
    assert_eq!((link.counters.lane_closed, link.next_look()), (1, Some(9 + LINGER_MS)));
    // Something passed: the time begins anew.
    core.send_to(b"down", lanes[2]).unwrap();
    link.set_ready(WORKERS + 2);
    link.recv(at(2 + LINGER_MS), &mut link.room());
    link.look(at(9 + LINGER_MS));
    assert_eq!((link.counters.lane_closed, link.next_look()), (1, Some(2 + 2 * LINGER_MS)));
    // The session's end: its lane lingers as the others did.
    link.on_session(at(3 + LINGER_MS), (8, 0), false);
    link.look(at(2 + 2 * LINGER_MS));
    assert_eq!((link.counters.lane_closed, link.next_look()), (2, Some(3 + 2 * LINGER_MS)));
    link.look(at(3 + 2 * LINGER_MS));
    assert_eq!((link.counters.lane_closed, link.counters.lane_open, link.next_look()), (3, 0, None));
    // What an event says of a lane that was closed meanwhile concerns nobody.
    link.set_ready(WORKERS);
    assert_eq!(link.waiting(), 0);
}
