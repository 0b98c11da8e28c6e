//! Ring and doorbell together under stress, with real threads and a real epoll.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use portunus_io::Doorbell;
use portunus_io::ring::ring;

const MESSAGES: u32 = 60_000;

/// Two producers with pauses of all lengths; the consumer sleeps whenever it can, with a time limit that would show
/// as a delay if a wake-up were lost.
#[test]
fn every_message_arrives_promptly_and_an_awake_consumer_costs_no_wake_up() {
    let mut poll = Poll::new().unwrap();
    let bell = Arc::new(Doorbell::new(Waker::new(poll.registry(), Token(0)).unwrap()));
    let wakes = Arc::new(AtomicU64::new(0));
    let mut consumers = Vec::new();
    let mut threads = Vec::new();
    for producer in 0..2u32 {
        let (mut into, out) = ring(1 << 16);
        consumers.push(out);
        let (bell, wakes) = (Arc::clone(&bell), Arc::clone(&wakes));
        threads.push(std::thread::spawn(move || {
            for nth in 0..MESSAGES {
                while into.push(nth, &nth.to_be_bytes()).is_err() {
                    bell.ring();
                    std::thread::yield_now();
                }
                wakes.fetch_add(u64::from(bell.ring()), Ordering::Relaxed);
                match nth.wrapping_mul(2_654_435_761).wrapping_add(producer) >> 22 {
                    0 => std::thread::sleep(Duration::from_micros(200)),
                    pause => (0..pause % 64).for_each(|_| core::hint::spin_loop()),
                }
            }
        }));
    }
    let mut events = Events::with_capacity(8);
    let mut next = [0u32; 2];
    let (mut prepared, mut sleeps) = (0u64, 0u64);
    let mut longest = Duration::ZERO;
    while next.iter().any(|&count| count < MESSAGES) {
        let mut taken = 0;
        for (out, next) in consumers.iter_mut().zip(&mut next) {
            taken += out.drain(usize::MAX, |tag, octets| {
                assert_eq!((tag, octets), (*next, &next.to_be_bytes()[..]));
                *next += 1;
            });
        }
        if taken > 0 {
            continue;
        }
        prepared += 1;
        bell.prepare();
        if consumers.iter().all(|out| out.is_empty()) {
            sleeps += 1;
            let before = Instant::now();
            poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
            longest = longest.max(before.elapsed());
        }
        bell.awake();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    // A lost wake-up would have cost the five seconds.
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert!(sleeps > 0);
    // At most one wake-up each time that the consumer said it was about to sleep (and then perhaps found something to
    // do): the others were free.
    assert!(wakes.load(Ordering::Relaxed) <= prepared, "{wakes:?} {prepared}");
}
