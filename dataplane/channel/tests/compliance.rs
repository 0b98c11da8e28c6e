//! What every mechanism for datagrams must do, whatever it looks like on the wire. A mechanism joins by one line in
//! the list at the end.

use portunus_channel::esp::Esp;
use portunus_channel::sealed::Sealed;
use portunus_channel::{
    Dropped, End, Flow, Handles, Keys, Mechanism, OpenJob, Replay, ReplayWindow, Said, SealError, SealJob, Sequence,
    TABLE, TrafficKey, datagrams,
};
use portunus_codec::Writer;
use portunus_keydist::mech::{MechList, Sel};
use portunus_keydist::schedule::TrafficCtx;
use portunus_keydist::{Idc, Idsp, N1, SessionKey};

type M = dyn Mechanism;

/// The keys of a session; `tag` makes sessions differ.
fn keys(m: &M, tag: u8, token: &str) -> Keys {
    let secret = SessionKey::new([tag; 32]).secret(&[tag; 16]);
    let (n1b, n2b) = (N1::from_bits(1), N1::from_bits(2));
    let (idc, idsp) = (Idc::new("alice@example.test"), Idsp::new("sp1.example.test"));
    let (idc, idsp) = (idc.expect("an IDc"), idsp.expect("an IDsp"));
    m.derive(&secret, &TrafficCtx { idc, idsp, n1b: &n1b, n2b: &n2b, token })
}

fn own(m: &M) -> Keys {
    keys(m, 1, m.mech().token())
}

fn handle(m: &M) -> u64 {
    match m.format().handles {
        Handles::Wide => 0x0100_0000_0000_0001,
        Handles::Narrow => 0x0102_0304,
    }
}

fn flow(m: &M, protocol: u8) -> Flow {
    Flow { handle: handle(m), protocol, ports: (5070, 5060) }
}

fn seal(m: &M, key: &TrafficKey, protocol: u8, seq: u64, content: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; 70_000];
    let mut w = Writer::new(&mut buf);
    w.text("before");
    m.seal(key, &flow(m, protocol), seq, content, &mut w).expect("seals");
    let n = w.finish().expect("fits");
    buf[6..n].to_vec()
}

fn open(m: &M, key: &TrafficKey, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
    let mut copy = datagram.to_vec();
    m.open(key, &flow(m, 1), &mut copy).map(|opened| opened.content.to_vec())
}

fn round_trips(m: &M) {
    let keys = own(m);
    for key in [&keys.c2s, &keys.s2c] {
        for (protocol, len) in [(1, 0), (1, 1), (1, 15), (2, 16), (3, 17), (4, 1400), (1, 65_000), (0, 0)] {
            let content: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut datagram = seal(m, key, protocol, 5, &content);
            assert_eq!(datagram.len(), m.sealed_len(len));
            assert!(datagram.len() >= m.format().shortest && datagram.len() <= m.format().head + len + m.format().tail);
            let peek = m.peek(&datagram).expect("a header");
            assert_eq!((peek.handle, peek.seq), (handle(m), 5));
            if (15..2000).contains(&len) {
                let shows = datagram.windows(8).any(|w| content.windows(8).any(|c| c == w));
                assert!(!shows, "nothing in the clear");
            }
            let opened = m.open(key, &flow(m, protocol), &mut datagram).expect("opens");
            let said = if len == 0 { Said::Confirmation } else { Said::Message };
            assert_eq!((opened.said, &*opened.content), (said, &content[..]));
        }
    }
}

/// What the two ends tell each other makes the same directions at both.
fn both_ends_agree(m: &M) {
    let list = MechList::from_text("ipsec-man;q=0.4;spi-c=3221225729;port-c=5062 x-pkd-sealed tls").expect("a list");
    let entry = list.get(m.mech()).expect("offered");
    let (terminal, own) = (m.offered(&entry).expect("complete"), End { handle: handle(m), port: 0 });
    let own = if terminal.port == 0 { own } else { End { port: 5060, ..own } };
    let sel = m.answer(own, 4711);
    assert!(sel.is_complete() && sel.mech() == m.mech());
    assert_eq!(m.answered(&Sel::parse(sel.as_str()).expect("reads")), Some((own, 4711)));
    let (up, down) = (Flow::c2s(terminal, own, 1), Flow::s2c(terminal, own, 1));
    assert_eq!((up.handle, up.ports), (handle(m), (terminal.port, own.port)));
    assert_eq!((down.ports, down.handle != 0), ((own.port, terminal.port), true));
}

fn the_same_content_never_looks_the_same(m: &M) {
    let own = own(m);
    let body = |key: &TrafficKey, seq| seal(m, key, 1, seq, b"REGISTER sip:example.test")[m.format().head..].to_vec();
    let first = body(&own.c2s, 1);
    assert_eq!(first, body(&own.c2s, 1), "the same in everything");
    assert_ne!(first, body(&own.c2s, 2), "another sequence number");
    assert_ne!(first, body(&own.s2c, 1), "the other direction");
    assert_ne!(first, body(&keys(m, 2, m.mech().token()).c2s, 1), "another session");
    assert_ne!(first, body(&keys(m, 1, "x-other").c2s, 1), "another mechanism's token");
}

fn truncation_at_every_octet(m: &M) {
    let key = own(m).c2s;
    let datagram = seal(m, &key, 1, 1, b"OPTIONS sip:example.test SIP/2.0");
    for n in 0..datagram.len() {
        assert!(open(m, &key, &datagram[..n]).is_err(), "{n} octets");
        if n < m.format().shortest {
            assert_eq!(m.peek(&datagram[..n]), Err(Dropped::Short), "{n} octets");
        }
    }
    let mut longer = datagram;
    longer.push(0);
    assert!(open(m, &key, &longer).is_err());
}

fn every_bit_counts(m: &M) {
    let key = own(m).c2s;
    let datagram = seal(m, &key, 1, 1, b"OPTIONS sip:example.test SIP/2.0");
    for bit in 0..datagram.len() * 8 {
        let mut altered = datagram.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(open(m, &key, &altered).is_err(), "bit {bit}");
    }
}

fn reflection_and_strangers(m: &M) {
    let own = own(m);
    let from_terminal = seal(m, &own.c2s, 1, 1, b"hello");
    assert_eq!(open(m, &own.s2c, &from_terminal), Err(Dropped::Unverified), "sent back to its sender");
    for stranger in [keys(m, 2, m.mech().token()), keys(m, 1, "x-other")] {
        assert_eq!(open(m, &stranger.c2s, &from_terminal), Err(Dropped::Unverified));
    }
    assert_eq!(open(m, &own.c2s, &from_terminal).as_deref(), Ok(&b"hello"[..]));
}

/// A receiver as the engine is one: check, open, commit.
struct Receiver<'m> {
    mechanism: &'m M,
    key: TrafficKey,
    window: ReplayWindow,
}

#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Dropped(Dropped),
    Replay(Replay),
}

impl Receiver<'_> {
    fn take(&mut self, datagram: &[u8]) -> Result<(), Refused> {
        let peek = self.mechanism.peek(datagram).map_err(Refused::Dropped)?;
        self.window.check(peek.seq).map_err(Refused::Replay)?;
        open(self.mechanism, &self.key, datagram).map_err(Refused::Dropped)?;
        self.window.commit(peek.seq).map_err(Refused::Replay)
    }
}

fn replay_and_reordering(m: &M) {
    let key = own(m).c2s;
    let mut receiver = Receiver { mechanism: m, key: key.clone(), window: ReplayWindow::new() };
    let message = |seq| seal(m, &key, 1, seq, b"x");
    // In order, backwards inside the window, and with gaps.
    for seq in [1, 2, 3, 1027, 1026, 5, 4, 2000, 977, 978] {
        assert_eq!(receiver.take(&message(seq)), Ok(()), "{seq}");
        assert_eq!(receiver.take(&message(seq)), Err(Refused::Replay(Replay::Seen)), "{seq} again");
    }
    assert_eq!(receiver.take(&message(976)), Err(Refused::Replay(Replay::TooOld)), "just outside");
    // What does not verify moves nothing, however high it claims to be.
    let mut forged = message(1 << 20);
    *forged.last_mut().expect("not empty") ^= 1;
    assert_eq!(receiver.take(&forged), Err(Refused::Dropped(Dropped::Unverified)));
    assert_eq!(receiver.window.top(), 2000);
    assert_eq!(receiver.take(&message(1500)), Ok(()));
}

fn senders_are_held_to_the_rules(m: &M) {
    const CONTENT: &[u8] = b"content that shows";
    let key = own(m).c2s;
    let mut buf = vec![0; 4096];
    let mut attempt = |protocol, seq, room: usize| {
        let mut w = Writer::new(&mut buf[..room]);
        w.text("before");
        let result = m.seal(&key, &flow(m, protocol), seq, CONTENT, &mut w);
        assert!(w.finish().is_ok() && (result.is_ok() || w.written() == b"before"), "an attempt undone");
        assert!(!buf.windows(CONTENT.len()).any(|w| w == CONTENT), "nothing in the clear");
        result
    };
    assert_eq!(attempt(1, 0, 4096), Err(SealError::Sequence), "0 is never used");
    assert_eq!(attempt(1, m.format().seq_max + 1, 4096), Err(SealError::Sequence));
    assert_eq!(attempt(1, m.format().seq_max, 4096), Ok(()));
    assert_eq!(attempt(0, 1, 4096), Err(SealError::Content), "protocol 0 is empty");
    assert_eq!(attempt(5, 1, 4096), Err(SealError::Content), "no such protocol");
    let exact = 6 + m.sealed_len(CONTENT.len());
    assert_eq!(attempt(1, 1, exact), Ok(()));
    assert_eq!(attempt(1, 1, exact - 1), Err(SealError::Full));
    for room in 0..m.sealed_len(0) {
        let full = m.seal_in_place(&key, &flow(m, 1), 1, 0, &mut buf[..room]);
        assert_eq!(full, Err(SealError::Full), "{room}");
    }
}

fn numbers_are_handed_out_once(m: &M) {
    let mut seq = Sequence::new();
    assert_eq!((seq.take(3), seq.take(3), seq.take(3)), (Some(1), Some(2), Some(3)));
    assert_eq!((seq.take(3), seq.take(3), seq.last()), (None, None, 3));
    let mut seq = Sequence::new();
    let first = seq.take(m.format().seq_max);
    assert!(first == Some(1) && !seq.runs_low(m.format().seq_max));
    assert!(seq.runs_low(1));
}

fn batches_do_what_single_calls_do(m: &M) {
    let sessions: Vec<Keys> = (0..20).map(|i| keys(m, i, m.mech().token())).collect();
    let mut buffers: Vec<Vec<u8>> = (0..20).map(|i| vec![i as u8; m.sealed_len(3 * i)]).collect();
    let mut jobs: Vec<SealJob<'_>> = buffers
        .iter_mut()
        .zip(&sessions)
        .enumerate()
        .map(|(i, (buffer, keys))| SealJob {
            key: &keys.c2s,
            flow: flow(m, 1),
            seq: u64::from(i != 7),
            len: 3 * i,
            buffer,
            result: Err(SealError::Full),
        })
        .collect();
    m.seal_batch(&mut jobs);
    for (i, job) in jobs.iter().enumerate() {
        assert_eq!(job.result, if i == 7 { Err(SealError::Sequence) } else { Ok(m.sealed_len(3 * i)) });
    }
    buffers[9][m.format().head] ^= 1;
    let singles: Vec<_> = buffers.iter().zip(&sessions).map(|(d, k)| open(m, &k.c2s, d)).collect();
    let mut jobs: Vec<OpenJob<'_>> = buffers
        .iter_mut()
        .zip(&sessions)
        .map(|(datagram, keys)| OpenJob { key: &keys.c2s, flow: flow(m, 1), datagram, result: Err(Dropped::Short) })
        .collect();
    m.open_batch(&mut jobs);
    for (i, (job, single)) in jobs.iter().zip(&singles).enumerate() {
        let content = job.result.clone().map(|(_, range)| job.datagram[range].to_vec());
        assert_eq!(&content, single);
        match i {
            7 | 9 => assert!(content.is_err()),
            _ => assert_eq!(content, Ok(vec![i as u8; 3 * i])),
        }
    }
}

fn nothing_is_allocated(m: &M) {
    let (keys, flow) = (own(m), flow(m, 1));
    let mut buf = vec![0; 2048];
    let mut window = ReplayWindow::new();
    let mut sequence = Sequence::new();
    let content = [b'x'; 600];
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            let mut w = Writer::new(&mut buf);
            let seq = sequence.take(m.format().seq_max).expect("left");
            m.seal(&keys.c2s, &flow, seq, &content, &mut w).expect("seals");
            let n = w.len();
            let peek = m.peek(&buf[..n]).expect("a header");
            window.check(peek.seq).expect("new");
            assert_eq!(m.open(&keys.c2s, &flow, &mut buf[..n]).expect("opens").content.len(), 600);
            window.commit(peek.seq).expect("new");
            let mut jobs = [OpenJob { key: &keys.s2c, flow, datagram: &mut buf[..n], result: Err(Dropped::Short) }];
            m.open_batch(&mut jobs);
        }
    });
    assert_eq!(counted.count_total, 0);
}

macro_rules! mechanisms {
    ($($name:ident: $mechanism:expr),* $(,)?) => {
        /// Each of them, so that none of the table is left out.
        const ALL: &[&M] = &[$(&$mechanism),*];

        $(mod $name {
            mechanisms!(@tests $mechanism => round_trips, both_ends_agree, the_same_content_never_looks_the_same,
                truncation_at_every_octet, every_bit_counts, reflection_and_strangers, replay_and_reordering,
                senders_are_held_to_the_rules, numbers_are_handed_out_once, batches_do_what_single_calls_do,
                nothing_is_allocated);
        })*
    };
    (@tests $mechanism:expr => $($test:ident),*) => {$(
        #[test]
        fn $test() {
            use super::*;
            super::$test(&$mechanism);
        }
    )*};
}

mechanisms! {
    sealed: Sealed,
    esp: Esp,
}

#[test]
fn every_line_of_the_table_is_held_to_it() {
    let held: Vec<_> = ALL.iter().map(|m| m.mech()).collect();
    let lines: Vec<_> = TABLE.iter().map(|room| room.mech).filter(|mech| datagrams(*mech).is_some()).collect();
    assert_eq!(held, lines);
}
