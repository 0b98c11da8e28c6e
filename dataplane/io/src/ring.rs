//! A bounded single-producer single-consumer ring of messages of octets, over `rtrb`.
//!
//! A message is written in place by the producer and read in place by the consumer, always in one piece: where it
//! would wrap around the end of the ring, the end is skipped. Layout, everything aligned to 8 octets:
//!
//! ```text
//! | len u32 | tag u32 | octets ... padding | len | tag | octets | SKIP |   (SKIP: the rest of this lap is unused)
//! ```
//!
//! Deliberately absent: waiting. A full ring refuses, and the producer counts; the consumer is woken by
//! [`crate::wake::Doorbell`].
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

const HEAD: usize = 8;
const SKIP: u32 = u32::MAX;

/// The ring has no room for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingFull;

impl core::fmt::Display for RingFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the ring is full")
    }
}

impl std::error::Error for RingFull {}

/// A ring of about `capacity` octets (rounded up, at least 4096), headers of 8 octets a message included.
pub fn ring(capacity: usize) -> (Producer, Consumer) {
    let capacity = capacity.clamp(4096, 1 << 30).next_multiple_of(HEAD);
    let (mut producer, mut consumer) = rtrb::RingBuffer::new(capacity);
    // Every octet is written once here, so the memory is initialised for good (and its pages are present): see
    // `octets_of`.
    while !producer.is_full() {
        // What did not fit fits in the next round, or the ring is full.
        let _ = producer.push_partial_slice(&[0u8; 4096]);
    }
    let all = consumer.slots();
    if let Ok(chunk) = consumer.read_chunk(all) {
        chunk.commit_all();
    }
    (Producer { inner: producer, longest: capacity / 2 - HEAD }, Consumer { inner: consumer })
}

/// The writing end.
#[derive(Debug)]
pub struct Producer {
    inner: rtrb::Producer<u8>,
    longest: usize,
}

/// Octets that a ring's chunk covers.
fn octets_of(slots: &mut [MaybeUninit<u8>]) -> &mut [u8] {
    // SAFETY: `ring` initialised every slot of the buffer. Octets are only ever overwritten by octets afterwards, and
    // reading a message does not take anything out, so all slots stay initialised.
    unsafe { &mut *(core::ptr::from_mut(slots) as *mut [u8]) }
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(HEAD)
}

fn put_head(at: &mut [u8], len: u32, tag: u32) {
    if let Some(head) = at.first_chunk_mut::<HEAD>() {
        *head = ((u64::from(tag) << 32) | u64::from(len)).to_le_bytes();
    }
}

fn head(at: &[u8]) -> Option<(u32, u32)> {
    let word = u64::from_le_bytes(*at.first_chunk::<HEAD>()?);
    Some((word as u32, (word >> 32) as u32))
}

impl Producer {
    /// Lets `write` write a message of at most `max` octets straight into the ring, under `tag`. `Ok(false)` when it
    /// wrote none.
    ///
    /// # Errors
    /// [`RingFull`] when `max` octets do not fit; `write` is not called then.
    pub fn push_with(
        &mut self,
        tag: u32,
        max: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<bool, RingFull> {
        if max > self.longest {
            return Err(RingFull);
        }
        let need = HEAD + padded(max);
        let gap = self.inner.write_chunk_uninit(need).map_err(|_| RingFull)?.as_mut_slices().0.len();
        // A message that would wrap skips to the beginning, all in one step for the consumer.
        let reach = if gap < need { gap + need } else { need };
        let mut chunk = self.inner.write_chunk_uninit(reach).map_err(|_| RingFull)?;
        let (first, second) = chunk.as_mut_slices();
        let skipped = if gap < need { gap } else { 0 };
        let (before, place) = if skipped == 0 { (None, first) } else { (Some(first), second) };
        let Some(place) = octets_of(place).get_mut(..need) else { return Err(RingFull) };
        let (front, body) = place.split_at_mut(HEAD);
        let Some(body) = body.get_mut(..max) else { return Err(RingFull) };
        let len = match write(body) {
            Some(len) if len <= max => len,
            _ => return Ok(false),
        };
        put_head(front, len as u32, tag);
        if let Some(before) = before {
            put_head(octets_of(before), SKIP, 0);
        }
        // SAFETY: all slots of the chunk are initialised, see `octets_of`; the count is at most the chunk's length,
        // since `len` <= `max`.
        unsafe { chunk.commit(skipped + HEAD + padded(len)) };
        Ok(true)
    }

    /// Copies `message` into the ring under `tag`.
    ///
    /// # Errors
    /// [`RingFull`].
    pub fn push(&mut self, tag: u32, message: &[u8]) -> Result<(), RingFull> {
        self.push_with(tag, message.len(), |place| {
            place.copy_from_slice(message);
            Some(message.len())
        })
        .map(|_| ())
    }

    /// True when the consumer is gone.
    pub fn is_abandoned(&self) -> bool {
        self.inner.is_abandoned()
    }
}

/// The reading end.
#[derive(Debug)]
pub struct Consumer {
    inner: rtrb::Consumer<u8>,
}

impl Consumer {
    /// True when no message waits. Cheap enough for a busy loop, and exact when a producer's publication has
    /// happened before.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Everything that waits, to be read in place; `None` when nothing does.
    pub fn read(&mut self) -> Option<Read<'_>> {
        let waiting = self.inner.slots();
        if waiting == 0 {
            return None;
        }
        Some(Read { chunk: self.inner.read_chunk(waiting).ok()? })
    }

    /// Hands up to `limit` messages to `take`, oldest first, and returns how many there were.
    pub fn drain(&mut self, limit: usize, mut take: impl FnMut(u32, &[u8])) -> usize {
        let Some(read) = self.read() else { return 0 };
        let mut messages = read.messages();
        let mut taken = 0;
        while taken < limit {
            let Some((tag, octets)) = messages.next() else { break };
            take(tag, octets);
            taken += 1;
        }
        let consumed = messages.consumed();
        read.release(consumed);
        taken
    }
}

/// Messages that wait in a ring; they stay there until [`Read::release`].
#[derive(Debug)]
pub struct Read<'r> {
    chunk: rtrb::chunks::ReadChunk<'r, u8>,
}

impl Read<'_> {
    /// The messages, oldest first.
    pub fn messages(&self) -> Messages<'_> {
        let (first, second) = self.chunk.as_slices();
        Messages { rest: first, second, consumed: 0 }
    }

    /// Gives the first `consumed` octets (see [`Messages::consumed`]) back to the producer.
    pub fn release(self, consumed: usize) {
        let consumed = consumed.min(self.chunk.len());
        self.chunk.commit(consumed);
    }
}

/// See [`Read::messages`].
#[derive(Debug, Clone)]
pub struct Messages<'c> {
    rest: &'c [u8],
    second: &'c [u8],
    consumed: usize,
}

impl Messages<'_> {
    /// Octets of the ring that the messages returned so far take up.
    pub fn consumed(&self) -> usize {
        self.consumed
    }
}

impl<'c> Iterator for Messages<'c> {
    type Item = (u32, &'c [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            self.rest = core::mem::take(&mut self.second);
        }
        let (mut len, mut tag) = head(self.rest)?;
        if len == SKIP {
            self.consumed += self.rest.len();
            self.rest = core::mem::take(&mut self.second);
            (len, tag) = head(self.rest)?;
        }
        let len = len as usize;
        let octets = self.rest.get(HEAD..HEAD + len)?;
        let step = HEAD + padded(len);
        self.rest = self.rest.get(step..)?;
        self.consumed += step;
        Some((tag, octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Whatever is pushed comes out once, in order and in one piece; only a full ring refuses.
        #[test]
        fn a_ring_is_a_bounded_queue(steps in prop::collection::vec((0usize..1500, 0usize..4, any::<bool>()), 1..400)) {
            let (mut producer, mut consumer) = ring(4096);
            let mut model: VecDeque<(u32, Vec<u8>)> = VecDeque::new();
            for (nth, (len, take, slack)) in steps.into_iter().enumerate() {
                let message: Vec<u8> = (0..len).map(|at| (at * 7 + nth) as u8).collect();
                let max = if slack { len + 100 } else { len };
                let pushed = producer.push_with(nth as u32, max, |place| {
                    assert_eq!(place.len(), max);
                    place[..len].copy_from_slice(&message);
                    Some(len)
                });
                match pushed {
                    Ok(written) => {
                        prop_assert!(written);
                        model.push_back((nth as u32, message));
                    }
                    Err(RingFull) => prop_assert!(!model.is_empty(), "an empty ring refused {max}"),
                }
                let mut out = Vec::new();
                consumer.drain(take, |tag, octets| out.push((tag, octets.to_vec())));
                prop_assert_eq!(out.len(), take.min(model.len()));
                for got in out {
                    prop_assert_eq!(Some(got), model.pop_front());
                }
                prop_assert_eq!(consumer.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn a_message_that_its_writer_gives_up_leaves_no_trace() {
        let (mut producer, mut consumer) = ring(4096);
        for _ in 0..1000 {
            assert_eq!(producer.push_with(1, 100, |_| None), Ok(false));
        }
        assert!(consumer.is_empty());
        producer.push(2, b"kept").unwrap();
        let mut seen = Vec::new();
        consumer.drain(9, |tag, octets| seen.push((tag, octets.to_vec())));
        assert_eq!(seen, [(2, b"kept".to_vec())]);
    }

    #[test]
    fn two_threads_agree() {
        let (mut producer, mut consumer) = ring(8192);
        let writer = std::thread::spawn(move || {
            for nth in 0..200_000u32 {
                let len = (nth % 700) as usize;
                while producer
                    .push_with(nth, len, |place| {
                        place.fill(nth as u8);
                        Some(len)
                    })
                    .is_err()
                {
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0u32;
        while expected < 200_000 {
            let taken = consumer.drain(usize::MAX, |tag, octets| {
                assert_eq!(tag, expected);
                assert_eq!(octets.len(), (expected % 700) as usize);
                assert!(octets.iter().all(|&octet| octet == expected as u8));
                expected += 1;
            });
            if taken == 0 {
                std::thread::yield_now();
            }
        }
        writer.join().unwrap();
    }
}
