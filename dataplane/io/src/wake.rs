//! Waking a consumer that sleeps, for the price of one fence when it does not.
//!
//! Consumer and producer meet in one flag, `asleep`. Each side writes its own word and then reads the other's, with a
//! sequentially consistent fence between, so at least one of them sees the other (Dekker's argument):
//!
//! ```text
//! consumer                              producer
//! asleep = true                         publish messages into the ring
//! fence(SeqCst)                         fence(SeqCst)
//! look into the rings again             asleep? then take the flag and wake
//! empty: sleep;  not empty: go on
//! ```
//!
//! `tests/loom.rs` checks every interleaving of it under loom; an ordinary `cargo test -p portunus-io` runs that.
//!
//! Deliberately absent: what sleeping means. The owner of a [`Doorbell`] sleeps in `epoll_wait`, a model thread in
//! loom's `Notify`.

use crate::sync::{AtomicBool, Ordering, fence};

/// How a sleeping consumer is woken. Waking one that is awake must do no harm: its next sleep ends at once.
pub trait Wake {
    /// Ends the current or the next sleep.
    fn wake(&self);
}

/// One consumer's flag. Shared by the consumer and all its producers.
#[derive(Debug)]
pub struct Doorbell<W> {
    asleep: AtomicBool,
    waker: W,
}

impl<W: Wake> Doorbell<W> {
    /// A doorbell of a consumer that is awake.
    pub fn new(waker: W) -> Self {
        Self { asleep: AtomicBool::new(false), waker }
    }

    /// Consumer: announces sleep. What was published before a producer could see the announcement is in the rings
    /// already, so the consumer must look into all of them after this call and before it sleeps.
    pub fn prepare(&self) {
        // An exchange, not a store: it takes its place behind a producer's exchange that it sees nothing of otherwise.
        self.asleep.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// Consumer: is awake again, or did not go to sleep after all.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Producer: to be called once after a batch of messages was published. Returns whether a wake-up was issued,
    /// which is the system call to count.
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        // The swap lets only one of several producers pay for the wake-up.
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.waker.wake();
            return true;
        }
        false
    }

    /// What wakes the consumer.
    pub fn waker(&self) -> &W {
        &self.waker
    }

    /// Wakes the consumer without looking at the flag: for what does not travel in the rings, such as a stop.
    pub fn force(&self) {
        self.waker.wake();
    }
}
