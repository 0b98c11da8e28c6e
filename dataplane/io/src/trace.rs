//! Middleware that remembers what passed last: the ring that one reads when something went wrong.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use crate::batch::{Batch, Received, Rx, Sent, Tx};

/// Which way a datagram went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Received.
    In,
    /// Handed to the link below; whether that could send it, its own counters say.
    Out,
}

/// What is kept of a datagram: never its octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Counts all datagrams from 0.
    pub nth: u64,
    /// Its way.
    pub way: Way,
    /// The other side.
    pub peer: SocketAddr,
    /// Its length in octets.
    pub len: usize,
}

/// Wraps a link and keeps the last entries.
#[derive(Debug)]
pub struct Trace<L> {
    inner: L,
    entries: VecDeque<Entry>,
    keep: usize,
    next: u64,
}

impl<L> Trace<L> {
    /// Keeps the last `keep` entries, at least one.
    pub fn new(inner: L, keep: usize) -> Self {
        let keep = keep.max(1);
        Self { inner, entries: VecDeque::with_capacity(keep), keep, next: 0 }
    }

    /// What passed last, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The link below.
    pub fn inner(&mut self) -> &mut L {
        &mut self.inner
    }

    fn note(&mut self, way: Way, peer: SocketAddr, len: usize) {
        if self.entries.len() == self.keep {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { nth: self.next, way, peer, len });
        self.next += 1;
    }
}

impl<L: Rx> Rx for Trace<L> {
    fn recv(&mut self, batch: &mut Batch) -> io::Result<Received> {
        let before = batch.len();
        let received = self.inner.recv(batch)?;
        for (peer, message) in batch.iter().skip(before) {
            self.note(Way::In, peer, message.len());
        }
        Ok(received)
    }
}

impl<L: Tx> Tx for Trace<L> {
    fn send(&mut self, batch: &mut Batch) -> io::Result<Sent> {
        for (peer, message) in batch.iter() {
            self.note(Way::Out, peer, message.len());
        }
        self.inner.send(batch)
    }
}
