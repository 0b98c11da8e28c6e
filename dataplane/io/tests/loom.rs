//! The doorbell under the loom model checker: every interleaving of one consumer and two producers that loom's
//! bounded exploration reaches, on loom's memory model. `src/wake.rs` itself is compiled against loom's atomics, so an
//! ordinary `cargo test -p portunus-io --test loom` checks the code that runs.
//!
//! For a longer exploration: `LOOM_MAX_PREEMPTIONS=4 cargo test -p portunus-io --release --test loom`.

/// Stands in for `crate::sync`.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../src/wake.rs"]
#[allow(dead_code, unreachable_pub)]
mod wake;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use wake::{Doorbell, Wake};

/// A sleep that, like an eventfd in epoll, remembers one wake-up that came early.
struct Bed(loom::sync::Notify);

// loom keeps its `Notify` in `loom::sync`; waking it sets a flag that the next `wait` consumes.
impl Wake for Bed {
    fn wake(&self) {
        self.0.notify();
    }
}

fn explore(producers: usize, messages: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(move || {
        let bell = Arc::new(Doorbell::new(Bed(loom::sync::Notify::new())));
        let rings: Vec<_> = (0..producers).map(|_| Arc::new(AtomicUsize::new(0))).collect();
        let threads: Vec<_> = rings
            .iter()
            .map(|ring| {
                let (ring, bell) = (Arc::clone(ring), Arc::clone(&bell));
                loom::thread::spawn(move || {
                    for nth in 1..=messages {
                        // As a ring publishes: with release, which is weaker than what the protocol's fences add.
                        ring.store(nth, Ordering::Release);
                        bell.ring();
                    }
                })
            })
            .collect();
        let all = |rings: &[Arc<AtomicUsize>]| rings.iter().all(|ring| ring.load(Ordering::Acquire) == messages);
        let mut seen = vec![0; producers];
        while !seen.iter().all(|&count| count == messages) {
            bell.prepare();
            let now: Vec<_> = rings.iter().map(|ring| ring.load(Ordering::Acquire)).collect();
            if now == seen {
                // Nothing new: sleep. If a wake-up were lost, loom would report the deadlock.
                bell_wait(&bell);
            }
            bell.awake();
            seen = now;
        }
        assert!(all(&rings));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

fn bell_wait(bell: &Doorbell<Bed>) {
    bell.waker().0.wait();
}

#[test]
fn no_wake_up_is_lost_with_one_producer() {
    explore(1, 2);
}

#[test]
fn no_wake_up_is_lost_with_two_producers() {
    explore(2, 1);
}

/// The check can fail: a protocol without the second look loses a wake-up, and loom finds it. loom's report of a
/// deadlock ends the process, so the broken model runs in a child.
#[test]
fn a_consumer_that_does_not_look_again_is_caught() {
    const BROKEN: &str = "PORTUNUS_LOOM_BROKEN";
    if std::env::var_os(BROKEN).is_some() {
        return broken();
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_consumer_that_does_not_look_again_is_caught", "--nocapture"])
        .env(BROKEN, "1")
        .output()
        .unwrap();
    assert!(!child.status.success());
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(said.contains("deadlock"), "{said}");
}

fn broken() {
    loom::model(|| {
        let bell = Arc::new(Doorbell::new(Bed(loom::sync::Notify::new())));
        let ring = Arc::new(AtomicUsize::new(0));
        let producer = {
            let (ring, bell) = (Arc::clone(&ring), Arc::clone(&bell));
            loom::thread::spawn(move || {
                ring.store(1, Ordering::Release);
                bell.ring();
            })
        };
        if ring.load(Ordering::Acquire) == 0 {
            bell.prepare();
            bell_wait(&bell);
        }
        producer.join().unwrap();
    });
}
