//! What stands between a connection's octets and its messages, through real sockets: a toy that asks for a secret, and
//! adds it to every octet.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use portunus_io::listen;
use portunus_io::stream::{
    Departing, Frame, Framing, Layer, LayerEnd, Passed, Scratch, StreamLimits, Streams, Turn, Undeliverable,
};

fn lines(octets: &[u8]) -> Frame {
    octets.iter().position(|&octet| octet == b'\n').map_or(Frame::Incomplete, |at| Frame::Message(at + 1))
}

/// The first octet of a connection is the name; a wrong secret shows as `!` after decoding and ends it.
#[derive(Default)]
struct Toy {
    name: Option<u8>,
    secret: Option<u8>,
    kept: Vec<u8>,
}

impl Layer for Toy {
    fn take(&mut self, octets: &[u8], room: &mut [u8], out: &mut Vec<u8>) -> Result<Passed, LayerEnd> {
        self.kept.extend_from_slice(octets);
        if self.name.is_none() && !self.kept.is_empty() {
            self.name = Some(self.kept.remove(0));
        }
        let Some(secret) = self.secret else { return Ok(Passed { octets: 0, more: false }) };
        // Little at a time, so that there is more behind.
        let count = self.kept.len().min(room.len()).min(7);
        for (place, octet) in room.iter_mut().zip(self.kept.drain(..count)) {
            *place = octet.wrapping_sub(secret);
            if *place == b'!' {
                out.extend_from_slice(b"last words");
                return Err(LayerEnd(3));
            }
        }
        Ok(Passed { octets: count, more: !self.kept.is_empty() })
    }

    fn put(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), LayerEnd> {
        let secret = self.secret.ok_or(LayerEnd(4))?;
        out.extend(octets.iter().map(|octet| octet.wrapping_add(secret)));
        Ok(())
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        out.push(0);
    }

    fn asks(&self) -> Option<u128> {
        self.name.filter(|_| self.secret.is_none()).map(u128::from)
    }

    fn answer(&mut self, secret: Option<&[u8; 32]>) {
        self.secret = Some(secret.map_or(0, |secret| secret[0]));
    }

    fn is_open(&self) -> bool {
        self.secret.is_some_and(|secret| secret != 0)
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
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let mut streams = Streams::new(StreamLimits { opening_ms: 500, ..StreamLimits::default() }, 100);
        let listener = listen::tcp_group("127.0.0.1:0".parse().unwrap(), 1, 64).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let layer = Box::new(|| Box::<Toy>::default() as Box<dyn Layer>);
        streams.listen_behind(poll.registry(), listener, 7, (Framing::plain(lines), Some(layer))).unwrap();
        let scratch = streams.scratch();
        Self { poll, events: Events::with_capacity(64), streams, scratch, address, now_ms: 0 }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        stream
    }

    /// Serves until `each` turn, with its messages, says that it is enough.
    fn until(&mut self, mut each: impl FnMut(&mut Streams, &Poll, Turn, Vec<Vec<u8>>) -> bool) {
        let end = Instant::now() + Duration::from_secs(2);
        loop {
            assert!(Instant::now() < end, "nothing of the kind came");
            let wait = if self.streams.hungry() { Duration::ZERO } else { Duration::from_millis(10) };
            self.poll.poll(&mut self.events, Some(wait)).unwrap();
            self.events.iter().for_each(|event| self.streams.on_event(event));
            self.streams.accept(self.poll.registry(), self.now_ms, 100);
            while let Some(turn) = self.streams.turn(self.now_ms, &mut self.scratch) {
                let messages = self.scratch.messages().map(|message| message.to_vec()).collect();
                if each(&mut self.streams, &self.poll, turn, messages) {
                    self.streams.flush();
                    return;
                }
            }
            self.streams.flush();
        }
    }

    /// The connection that asks next.
    fn asked(&mut self) -> Turn {
        let mut found = None;
        self.until(|_, _, turn, _| {
            found = turn.asks.map(|_| turn);
            found.is_some()
        });
        found.unwrap()
    }
}

fn said(secret: u8, text: &[u8]) -> Vec<u8> {
    text.iter().map(|octet| octet.wrapping_add(secret)).collect()
}

const SECRET: [u8; 32] = [5; 32];

#[test]
fn messages_pass_once_the_owner_has_answered() {
    let mut server = Server::new();
    let mut client = server.connect();
    client.write_all(&[42]).unwrap();
    client.write_all(&said(5, b"one\na longer message\ntw")).unwrap();
    let asked = server.asked();
    assert_eq!((asked.asks, asked.opened, asked.mark), (Some(42), false, 0));
    let write = |streams: &mut Streams, text: &'static [u8]| {
        streams.write_with(asked.conn, 100, |place| {
            place[..text.len()].copy_from_slice(text);
            Some(text.len())
        })
    };
    assert_eq!(write(&mut server.streams, b"too early\n"), Err(Undeliverable::Declined), "nothing in the clear");
    server.streams.mark(asked.conn, 99);
    server.streams.answer(asked.conn, Some(&SECRET));
    let (mut seen, mut opened) = (Vec::new(), 0);
    server.until(|_, _, turn, messages| {
        assert_eq!((turn.conn, turn.mark, turn.asks), (asked.conn, 99, None));
        opened += u32::from(turn.opened);
        seen.extend(messages);
        seen.len() == 2
    });
    assert_eq!((seen, opened), (vec![b"one\n".to_vec(), b"a longer message\n".to_vec()], 1));
    client.write_all(&said(5, b"o\n")).unwrap();
    server.until(|_, _, _, messages| messages == [b"two\n"]);
    assert_eq!(write(&mut server.streams, b"answer\n"), Ok(()));
    server.streams.finish(asked.conn);
    server.streams.flush();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, [&said(5, b"answer\n")[..], &[0]].concat());
    assert_eq!((server.streams.take_ended(), server.streams.take_ended()), (Some((99, asked.conn)), None));
    assert_eq!((server.streams.counters().finished, server.streams.open()), (1, 0));
}

#[test]
fn an_end_has_last_words_and_a_name() {
    let mut server = Server::new();
    let mut client = server.connect();
    client.write_all(&[1]).unwrap();
    let asked = server.asked();
    server.streams.answer(asked.conn, Some(&SECRET));
    client.write_all(&said(5, b"x!\n")).unwrap();
    server.until(|_, _, turn, _| turn.conn == 0);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"last words");
    assert_eq!((server.streams.counters().layer[3], server.streams.take_ended()), (1, None), "it had no number");
}

#[test]
fn what_does_not_open_in_time_is_closed_and_what_has_opened_is_not() {
    let mut server = Server::new();
    let (mut good, mut slow) = (server.connect(), server.connect());
    let _silent = server.connect();
    good.write_all(&[1]).unwrap();
    let asked = server.asked();
    server.streams.answer(asked.conn, Some(&SECRET));
    good.write_all(&said(5, b"x\n")).unwrap();
    server.until(|_, _, turn, _| turn.opened);
    slow.write_all(&[2]).unwrap();
    let asked = server.asked();
    server.streams.answer(asked.conn, None);
    assert_eq!((server.streams.open(), server.streams.next_deadline()), (3, Some(500)));
    server.streams.on_timer(499);
    assert_eq!(server.streams.open(), 3);
    server.streams.on_timer(500);
    assert_eq!((server.streams.open(), server.streams.counters().opening_late), (1, 2));
    assert_eq!(server.streams.next_deadline(), Some(StreamLimits::default().idle_ms));
    assert_eq!(server.streams.counters().idle, 0);
}

#[test]
fn a_connection_changes_hands_before_its_first_message() {
    let (mut first, mut second) = (Server::new(), Server::new());
    let mut client = first.connect();
    client.write_all(&[42]).unwrap();
    let asked = first.asked();
    let departing: Departing = first.streams.release(first.poll.registry(), asked.conn).expect("there");
    assert_eq!((departing.asks(), first.streams.open(), first.streams.take_ended()), (Some(42), 0, None));
    // What comes meanwhile waits in the socket.
    client.write_all(&said(5, b"hello\n")).unwrap();
    let conn = second.streams.adopt(second.poll.registry(), departing, 0).expect("room");
    second.streams.answer(conn, Some(&SECRET));
    second.until(|_, _, turn, messages| turn.conn == conn && messages == [b"hello\n"]);
    client.shutdown(Shutdown::Both).unwrap();
    second.until(|_, _, turn, _| turn.conn == 0);
    assert_eq!((second.streams.counters().closed, second.streams.open()), (1, 0));
}
