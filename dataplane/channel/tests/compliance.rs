//! What every mechanism for datagrams must do, whatever it looks like on the wire. A mechanism joins by one line in
//! the list at the end.

use portunus_channel::{Dropped, Keys, Mechanism, OpenJob, Replay, ReplayWindow, SealError, SealJob, Sequence};
use portunus_codec::Writer;
use portunus_keydist::schedule::TrafficCtx;
use portunus_keydist::{Idc, Idsp, N1, SessionKey};

const HANDLE: u64 = 0x0100_0000_0000_0001;

/// The keys of a session; `tag` makes sessions differ.
fn keys<M: Mechanism>(tag: u8, token: &str) -> Keys<M::Key> {
    let secret = SessionKey::new([tag; 32]).secret(&[tag; 16]);
    let (n1b, n2b) = (N1::from_bits(1), N1::from_bits(2));
    let (idc, idsp) = (Idc::new("alice@example.test"), Idsp::new("sp1.example.test"));
    let (idc, idsp) = (idc.expect("an IDc"), idsp.expect("an IDsp"));
    M::derive(&secret, &TrafficCtx { idc, idsp, n1b: &n1b, n2b: &n2b, token })
}

fn own<M: Mechanism>() -> Keys<M::Key> {
    keys::<M>(1, M::MECH.token())
}

fn seal<M: Mechanism>(key: &M::Key, protocol: u8, seq: u64, content: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; 70_000];
    let mut w = Writer::new(&mut buf);
    w.text("before");
    M::seal(key, HANDLE, protocol, seq, content, &mut w).expect("seals");
    let n = w.finish().expect("fits");
    buf[6..n].to_vec()
}

fn open<M: Mechanism>(key: &M::Key, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
    let mut copy = datagram.to_vec();
    M::open(key, &mut copy).map(|opened| opened.content.to_vec())
}

fn round_trips<M: Mechanism>() {
    let keys = own::<M>();
    for key in [&keys.c2s, &keys.s2c] {
        for (protocol, len) in [(0, 0), (1, 1), (1, 15), (2, 16), (3, 17), (4, 1400), (1, 65_000), (1, 0)] {
            let content: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let datagram = seal::<M>(key, protocol, 5, &content);
            assert_eq!(datagram.len(), M::HEAD + len + M::TAIL);
            let peek = M::peek(&datagram).expect("a header");
            assert_eq!((peek.handle, peek.seq, peek.protocol), (HANDLE, 5, protocol));
            let mut copy = datagram.clone();
            let opened = M::open(key, &mut copy).expect("opens");
            assert_eq!((opened.peek, &*opened.content), (peek, &content[..]));
            if (15..2000).contains(&len) {
                let shows = datagram.windows(8).any(|w| content.windows(8).any(|c| c == w));
                assert!(!shows, "nothing in the clear");
            }
        }
    }
}

fn the_same_content_never_looks_the_same<M: Mechanism>() {
    let own = own::<M>();
    let body = |key: &M::Key, seq| seal::<M>(key, 1, seq, b"REGISTER sip:example.test")[M::HEAD..].to_vec();
    let first = body(&own.c2s, 1);
    assert_eq!(first, body(&own.c2s, 1), "the same in everything");
    assert_ne!(first, body(&own.c2s, 2), "another sequence number");
    assert_ne!(first, body(&own.s2c, 1), "the other direction");
    assert_ne!(first, body(&keys::<M>(2, M::MECH.token()).c2s, 1), "another session");
    assert_ne!(first, body(&keys::<M>(1, "x-other").c2s, 1), "another mechanism's token");
}

fn truncation_at_every_octet<M: Mechanism>() {
    let key = own::<M>().c2s;
    let datagram = seal::<M>(&key, 1, 1, b"OPTIONS sip:example.test SIP/2.0");
    for n in 0..datagram.len() {
        assert!(open::<M>(&key, &datagram[..n]).is_err(), "{n} octets");
        if n < M::HEAD + M::TAIL {
            assert_eq!(M::peek(&datagram[..n]), Err(Dropped::Short), "{n} octets");
        }
    }
    let mut longer = datagram;
    longer.push(0);
    assert!(open::<M>(&key, &longer).is_err());
}

fn every_bit_counts<M: Mechanism>() {
    let key = own::<M>().c2s;
    let datagram = seal::<M>(&key, 1, 1, b"OPTIONS sip:example.test SIP/2.0");
    for bit in 0..datagram.len() * 8 {
        let mut altered = datagram.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(open::<M>(&key, &altered).is_err(), "bit {bit}");
    }
}

fn reflection_and_strangers<M: Mechanism>() {
    let own = own::<M>();
    let from_terminal = seal::<M>(&own.c2s, 1, 1, b"hello");
    assert_eq!(open::<M>(&own.s2c, &from_terminal), Err(Dropped::Unverified), "sent back to its sender");
    for stranger in [keys::<M>(2, M::MECH.token()), keys::<M>(1, "x-other")] {
        assert_eq!(open::<M>(&stranger.c2s, &from_terminal), Err(Dropped::Unverified));
    }
    assert_eq!(open::<M>(&own.c2s, &from_terminal).as_deref(), Ok(&b"hello"[..]));
}

/// A receiver as the engine is one: check, open, commit.
struct Receiver<M: Mechanism> {
    key: M::Key,
    window: ReplayWindow,
}

#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Dropped(Dropped),
    Replay(Replay),
}

impl<M: Mechanism> Receiver<M> {
    fn take(&mut self, datagram: &[u8]) -> Result<(), Refused> {
        let peek = M::peek(datagram).map_err(Refused::Dropped)?;
        self.window.check(peek.seq).map_err(Refused::Replay)?;
        open::<M>(&self.key, datagram).map_err(Refused::Dropped)?;
        self.window.commit(peek.seq).map_err(Refused::Replay)
    }
}

fn replay_and_reordering<M: Mechanism>() {
    let key = own::<M>().c2s;
    let mut receiver = Receiver::<M> { key: key.clone(), window: ReplayWindow::new() };
    let message = |seq| seal::<M>(&key, 1, seq, b"x");
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

fn senders_are_held_to_the_rules<M: Mechanism>() {
    const CONTENT: &[u8] = b"content that shows";
    let key = own::<M>().c2s;
    let mut buf = vec![0; 4096];
    let mut attempt = |protocol, seq, room: usize| {
        let mut w = Writer::new(&mut buf[..room]);
        w.text("before");
        let result = M::seal(&key, HANDLE, protocol, seq, CONTENT, &mut w);
        assert!(w.finish().is_ok() && (result.is_ok() || w.written() == b"before"), "an attempt undone");
        assert!(!buf.windows(CONTENT.len()).any(|w| w == CONTENT), "nothing in the clear");
        result
    };
    assert_eq!(attempt(1, 0, 4096), Err(SealError::Sequence), "0 is never used");
    assert_eq!(attempt(1, M::SEQ_MAX + 1, 4096), Err(SealError::Sequence));
    assert_eq!(attempt(1, M::SEQ_MAX, 4096), Ok(()));
    assert_eq!(attempt(0, 1, 4096), Err(SealError::Content), "protocol 0 is empty");
    assert_eq!(attempt(5, 1, 4096), Err(SealError::Content), "no such protocol");
    let exact = 6 + M::HEAD + CONTENT.len() + M::TAIL;
    assert_eq!(attempt(1, 1, exact), Ok(()));
    assert_eq!(attempt(1, 1, exact - 1), Err(SealError::Full));
    for room in 0..M::HEAD + M::TAIL {
        assert_eq!(M::seal_in_place(&key, HANDLE, 0, 1, &mut buf[..room]), Err(SealError::Full), "{room}");
    }
}

fn numbers_are_handed_out_once<M: Mechanism>() {
    let mut seq = Sequence::new();
    assert_eq!((seq.take(3), seq.take(3), seq.take(3)), (Some(1), Some(2), Some(3)));
    assert_eq!((seq.take(3), seq.take(3), seq.last()), (None, None, 3));
    let mut seq = Sequence::new();
    let first = seq.take(M::SEQ_MAX);
    assert!(first == Some(1) && !seq.runs_low(M::SEQ_MAX));
    assert!(seq.runs_low(1));
}

fn batches_do_what_single_calls_do<M: Mechanism>() {
    let sessions: Vec<Keys<M::Key>> = (0..20).map(|i| keys::<M>(i, M::MECH.token())).collect();
    let mut buffers: Vec<Vec<u8>> = (0..20).map(|i| vec![i as u8; M::HEAD + 3 * i + M::TAIL]).collect();
    let mut jobs: Vec<SealJob<'_, M::Key>> = buffers
        .iter_mut()
        .zip(&sessions)
        .enumerate()
        .map(|(i, (datagram, keys))| SealJob {
            key: &keys.c2s,
            handle: i as u64,
            protocol: u8::from(i > 0),
            seq: u64::from(i != 7),
            datagram,
            result: Err(SealError::Full),
        })
        .collect();
    M::seal_batch(&mut jobs);
    for (i, job) in jobs.iter().enumerate() {
        assert_eq!(job.result, if i == 7 { Err(SealError::Sequence) } else { Ok(()) });
    }
    buffers[9][M::HEAD] ^= 1;
    let singles: Vec<_> = buffers.iter().zip(&sessions).map(|(d, k)| open::<M>(&k.c2s, d)).collect();
    let mut jobs: Vec<OpenJob<'_, M::Key>> = buffers
        .iter_mut()
        .zip(&sessions)
        .map(|(datagram, keys)| OpenJob { key: &keys.c2s, datagram, result: Err(Dropped::Short) })
        .collect();
    M::open_batch(&mut jobs);
    for (i, (job, single)) in jobs.iter().zip(&singles).enumerate() {
        let content = job.result.clone().map(|(_, range)| job.datagram[range].to_vec());
        assert_eq!(&content, single);
        match i {
            7 | 9 => assert!(content.is_err()),
            _ => assert_eq!(content, Ok(vec![i as u8; 3 * i])),
        }
    }
}

fn nothing_is_allocated<M: Mechanism>() {
    let keys = own::<M>();
    let mut buf = vec![0; 2048];
    let mut window = ReplayWindow::new();
    let mut sequence = Sequence::new();
    let content = [b'x'; 600];
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            let mut w = Writer::new(&mut buf);
            let seq = sequence.take(M::SEQ_MAX).expect("left");
            M::seal(&keys.c2s, HANDLE, 1, seq, &content, &mut w).expect("seals");
            let n = w.len();
            let peek = M::peek(&buf[..n]).expect("a header");
            window.check(peek.seq).expect("new");
            assert_eq!(M::open(&keys.c2s, &mut buf[..n]).expect("opens").content.len(), 600);
            window.commit(peek.seq).expect("new");
            let mut jobs = [OpenJob::<M::Key> { key: &keys.s2c, datagram: &mut buf[..n], result: Err(Dropped::Short) }];
            M::open_batch(&mut jobs);
        }
    });
    assert_eq!(counted.count_total, 0);
}

macro_rules! mechanisms {
    ($($name:ident: $mechanism:ty),* $(,)?) => {$(
        mod $name {
            mechanisms!(@tests $mechanism: round_trips, the_same_content_never_looks_the_same,
                truncation_at_every_octet, every_bit_counts, reflection_and_strangers, replay_and_reordering,
                senders_are_held_to_the_rules, numbers_are_handed_out_once, batches_do_what_single_calls_do,
                nothing_is_allocated);
        }
    )*};
    (@tests $mechanism:ty: $($test:ident),*) => {$(
        #[test]
        fn $test() {
            super::$test::<$mechanism>();
        }
    )*};
}

mechanisms! {
    sealed: portunus_channel::sealed::Sealed,
}
