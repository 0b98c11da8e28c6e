//! Streams through real sockets on the loopback interface.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use portunus_io::listen;
use portunus_io::stream::{Frame, Framing, HEADER, Scratch, StreamLimits, Streams, Undeliverable};

/// Lines as messages; an empty line is passed over, a zero octet is garbage.
fn lines(octets: &[u8]) -> Frame {
    if octets.first() == Some(&0) {
        return Frame::Broken;
    }
    match octets.iter().position(|&octet| octet == b'\n') {
        Some(0) => Frame::Skip(1),
        Some(at) => Frame::Message(at + 1),
        None => Frame::Incomplete,
    }
}

struct Server {
    poll: Poll,
    events: Events,
    streams: Streams,
    scratch: Scratch,
    address: SocketAddr,
    now_ms: u64,
}

impl Server {
    fn new(limits: StreamLimits) -> Self {
        Self::framed(limits, Framing::plain(lines))
    }

    fn framed(limits: StreamLimits, framing: Framing) -> Self {
        let poll = Poll::new().unwrap();
        let mut streams = Streams::new(limits, 100);
        let listener = listen::tcp_group("127.0.0.1:0".parse().unwrap(), 1, 64).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        streams.listen(poll.registry(), listener, 7, framing).unwrap();
        let scratch = streams.scratch();
        Self { poll, events: Events::with_capacity(64), streams, scratch, address, now_ms: 0 }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        stream
    }

    /// Serves until `done` or for two seconds; `serve` gets connection and message and may give an answer.
    fn run(
        &mut self,
        mut serve: impl FnMut(u32, &[u8]) -> Option<Vec<u8>>,
        mut done: impl FnMut(&Streams) -> bool,
    ) -> bool {
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let wait = if self.streams.hungry() { Duration::ZERO } else { Duration::from_millis(10) };
            self.poll.poll(&mut self.events, Some(wait)).unwrap();
            for event in &self.events {
                self.streams.on_event(event);
            }
            self.streams.accept(self.poll.registry(), self.now_ms, 100);
            let mut answers = Vec::new();
            while let Some(turn) = self.streams.turn(self.now_ms, &mut self.scratch) {
                for message in self.scratch.messages() {
                    assert_eq!(turn.listener, 7);
                    answers.extend(serve(turn.conn, message).map(|answer| (turn.conn, answer)));
                }
            }
            for (conn, answer) in answers {
                let _ = self.streams.write_with(conn, answer.len(), |place| {
                    place.copy_from_slice(&answer);
                    Some(answer.len())
                });
            }
            self.streams.flush();
            self.streams.on_timer(self.now_ms);
            if done(&self.streams) {
                return true;
            }
        }
        false
    }
}

/// A header of TPKT's kind: three octets of no meaning and the message's length.
fn packet(octets: &[u8]) -> Frame {
    match octets {
        [3, _, _, 0, ..] => Frame::Broken,
        [3, _, _, len, rest @ ..] if rest.len() >= usize::from(*len) => Frame::Message((*len).into()),
        [] | [3, ..] => Frame::Incomplete,
        _ => Frame::Broken,
    }
}

fn header(len: usize) -> Option<[u8; HEADER]> {
    Some([3, 0, 0, u8::try_from(len).ok()?])
}

#[test]
fn headers_are_taken_off_and_put_on() {
    let framing = Framing::behind(packet, header);
    let mut server = Server::framed(StreamLimits { message_max: 200, ..StreamLimits::default() }, framing);
    let mut client = server.connect();
    // The longest message, in pieces, and two in one piece behind it.
    let long = [7u8; 200];
    let mut octets = header(200).unwrap().to_vec();
    octets.extend(long);
    octets.extend(*b"\x03\0\0\x01a\x03\0\0\x02bc");
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for piece in octets.chunks(67) {
        client.write_all(piece).unwrap();
        let before = server.streams.counters().calls;
        let mut serve = |_, message: &[u8]| {
            seen.push(message.to_vec());
            // One that no header can announce is declined; the others come back.
            Some(if message == b"a" { vec![0; 300] } else { message.to_vec() })
        };
        assert!(server.run(&mut serve, |streams| streams.counters().calls > before));
    }
    assert_eq!(seen, [&long[..], b"a", b"bc"]);
    let mut back = vec![0; 4 + 200 + 4 + 2];
    client.read_exact(&mut back).unwrap();
    assert_eq!((&back[..4], &back[204..]), (&header(200).unwrap()[..], &b"\x03\0\0\x02bc"[..]));
    client.write_all(b"\x03\0\0\0").unwrap();
    assert!(server.run(|_, _| None, |streams| streams.counters().broken == 1));
}

#[test]
fn messages_are_cut_however_they_arrive() {
    let mut server = Server::new(StreamLimits::default());
    let address = server.address;
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        // Octet by octet, then 3000 lines at once, more than one turn takes.
        for octet in b"first\n\nsecond\n" {
            stream.write_all(&[*octet]).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        let many: String = (0..3000).map(|nth| format!("line {nth}\n")).collect();
        stream.write_all(many.as_bytes()).unwrap();
        let mut wanted = String::from("first\nsecond\n");
        wanted.push_str(&many);
        let mut got = vec![0; wanted.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), wanted);
    });
    let mut count = 0;
    let echo = |_: u32, message: &[u8]| {
        count += 1;
        Some(message.to_vec())
    };
    assert!(server.run(echo, |streams| streams.counters().closed == 1));
    client.join().unwrap();
    assert_eq!(count, 3002);
    assert_eq!(server.streams.open(), 0);
    // Far fewer calls than messages: answers of a loop leave together.
    assert!(server.streams.counters().calls < 1500, "{:?}", server.streams.counters());
}

#[test]
fn garbage_and_messages_without_end_close_the_connection() {
    let mut server = Server::new(StreamLimits { message_max: 1000, ..StreamLimits::default() });
    let mut garbage = server.connect();
    garbage.write_all(b"\0\0").unwrap();
    let mut endless = server.connect();
    endless.write_all(&[b'x'; 1000]).unwrap();
    assert!(server.run(|_, _| None, |streams| streams.counters().broken == 2));
    assert_eq!(garbage.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(endless.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let mut server = Server::new(StreamLimits { write_max: 100_000, ..StreamLimits::default() });
    let mut peer = server.connect();
    peer.write_all(b"go\n").unwrap();
    let mut conn = 0;
    let remember = |from: u32, _: &[u8]| {
        conn = from;
        None
    };
    server.run(remember, |streams| streams.counters().calls > 0 && streams.open() == 1);
    assert_ne!(conn, 0);
    let mut outcome = Ok(());
    for _ in 0..1000 {
        outcome = server.streams.write_with(conn, 50_000, |place| Some(place.len()));
        server.streams.flush();
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(outcome, Err(Undeliverable::Slow));
    assert_eq!(server.streams.open(), 0);
    // The handle is dead now, and stays so when the slot is used again.
    assert_eq!(server.streams.write_with(conn, 1, |_| Some(1)), Err(Undeliverable::Gone));
    let _next = server.connect();
    assert!(server.run(|_, _| None, |streams| streams.open() == 1));
    assert_eq!(server.streams.write_with(conn, 1, |_| Some(1)), Err(Undeliverable::Gone));
}

#[test]
fn a_peer_that_is_silent_or_dribbles_is_given_up_and_an_active_one_is_not() {
    let mut server = Server::new(StreamLimits { idle_ms: 1000, ..StreamLimits::default() });
    let _silent = server.connect();
    let mut dribbling = server.connect();
    let mut active = server.connect();
    assert!(server.run(|_, _| None, |streams| streams.open() == 3));
    assert_eq!(server.streams.next_deadline(), Some(1000));
    server.now_ms = 900;
    dribbling.write_all(b"half a li").unwrap();
    active.write_all(b"a line\n").unwrap();
    let mut seen = false;
    let note = |_: u32, message: &[u8]| {
        seen |= message == b"a line\n";
        None
    };
    server.run(note, |streams| streams.next_deadline() == Some(1000) && streams.counters().calls >= 2);
    assert!(seen);
    server.now_ms = 1500;
    assert!(server.run(|_, _| None, |streams| streams.counters().idle == 2));
    assert_eq!((server.streams.open(), server.streams.next_deadline()), (1, Some(1900)));
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    let mut server = Server::new(StreamLimits { connections: 2, ..StreamLimits::default() });
    let _first = server.connect();
    let _second = server.connect();
    let mut third = server.connect();
    assert!(server.run(|_, _| None, |streams| streams.counters().refused == 1));
    assert_eq!(server.streams.open(), 2);
    assert_eq!(third.read(&mut [0; 1]).unwrap_or(0), 0);
}
