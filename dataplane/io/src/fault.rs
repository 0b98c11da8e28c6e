//! Middleware that does to datagrams what networks do: loses, doubles, reorders and damages them, reproducibly.

use std::io;

use crate::batch::{Batch, Received, Rx, Sent, Tx};

/// How often each fault strikes, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A datagram is lost.
    pub drop: u16,
    /// A datagram comes twice; where the batch has no room for it, once.
    pub duplicate: u16,
    /// A datagram changes places with another one of its batch.
    pub reorder: u16,
    /// One bit of a datagram is inverted.
    pub corrupt: u16,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Datagrams lost.
    pub dropped: u64,
    /// Datagrams doubled.
    pub duplicated: u64,
    /// Datagrams that changed places.
    pub reordered: u64,
    /// Datagrams damaged.
    pub corrupted: u64,
}

/// Wraps a link and mistreats what passes, both ways.
#[derive(Debug)]
pub struct Fault<L> {
    inner: L,
    faults: Faults,
    state: u64,
    done: Done,
}

impl<L> Fault<L> {
    /// The same seed and the same traffic bring the same faults.
    pub fn new(inner: L, faults: Faults, seed: u64) -> Self {
        Self { inner, faults, state: seed, done: Done::default() }
    }

    /// What was done so far.
    pub fn done(&self) -> Done {
        self.done
    }

    /// The link below.
    pub fn inner(&mut self) -> &mut L {
        &mut self.inner
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): faults need to be reproducible, not unpredictable.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn strikes(&mut self, thousandths: u16) -> bool {
        thousandths > 0 && self.next() % 1000 < u64::from(thousandths)
    }

    /// Mistreats the messages of `batch` from `from` on.
    fn mistreat(&mut self, batch: &mut Batch, from: usize) {
        let mut at = from;
        while at < batch.len() {
            if self.strikes(self.faults.drop) {
                batch.remove(at);
                self.done.dropped += 1;
            } else {
                at += 1;
            }
        }
        let arrived = batch.len();
        for at in from..arrived {
            if self.strikes(self.faults.duplicate) && batch.duplicate(at) {
                self.done.duplicated += 1;
            }
        }
        for at in from..batch.len() {
            if self.strikes(self.faults.corrupt) {
                let (place, bit) = (self.next() as usize, self.next() % 8);
                if let Some(message) = batch.message_mut(at).filter(|message| !message.is_empty()) {
                    let place = place % message.len();
                    if let Some(octet) = message.get_mut(place) {
                        *octet ^= 1 << bit;
                        self.done.corrupted += 1;
                    }
                }
            }
            if self.strikes(self.faults.reorder) {
                let other = from + self.next() as usize % (batch.len() - from);
                batch.swap(at, other);
                self.done.reordered += u64::from(at != other);
            }
        }
    }
}

impl<L: Rx> Rx for Fault<L> {
    fn recv(&mut self, batch: &mut Batch) -> io::Result<Received> {
        let before = batch.len();
        let received = self.inner.recv(batch)?;
        self.mistreat(batch, before);
        Ok(Received { messages: batch.len() - before, ..received })
    }
}

impl<L: Tx> Tx for Fault<L> {
    fn send(&mut self, batch: &mut Batch) -> io::Result<Sent> {
        self.mistreat(batch, 0);
        self.inner.send(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::link;

    fn run(seed: u64, faults: Faults) -> (Vec<Vec<u8>>, Done) {
        let (mut left, right) = link("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap(), 1 << 20);
        for nth in 0..1000u16 {
            left.send_from("192.0.2.1:1".parse().unwrap(), &nth.to_be_bytes());
        }
        let mut lossy = Fault::new(right, faults, seed);
        let mut batch = Batch::new(64, 100);
        let mut out = Vec::new();
        loop {
            let received = lossy.recv(&mut batch).unwrap();
            out.extend(batch.iter().map(|(_, message)| message.to_vec()));
            batch.clear();
            if received.drained {
                return (out, lossy.done());
            }
        }
    }

    #[test]
    fn faults_strike_as_often_as_asked_and_the_same_way_again() {
        let faults = Faults { drop: 100, duplicate: 100, reorder: 100, corrupt: 100 };
        let (out, done) = run(7, faults);
        for count in [done.dropped, done.duplicated, done.reordered, done.corrupted] {
            assert!((40..160).contains(&count), "{done:?}");
        }
        assert_eq!(out.len() as u64, 1000 - done.dropped + done.duplicated);
        assert_eq!(run(7, faults), (out.clone(), done));
        assert_ne!(run(8, faults).0, out);
    }

    #[test]
    fn no_faults_change_nothing() {
        let (out, done) = run(7, Faults::default());
        assert_eq!(done, Done::default());
        assert_eq!(out, (0..1000u16).map(|nth| nth.to_be_bytes().to_vec()).collect::<Vec<_>>());
    }
}
