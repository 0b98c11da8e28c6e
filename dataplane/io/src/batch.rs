//! A batch of datagrams with its buffers, and the contract of everything that receives or sends batches.
//!
//! A batch is made once, with a fixed number of slots of a fixed size, and used for ever: receiving and sending
//! allocate nothing. A message is written straight into its slot ([`Batch::push_with`]) and read or edited there.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use std::io;
use std::net::SocketAddr;

/// What one [`Rx::recv`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Messages added to the batch.
    pub messages: usize,
    /// Datagrams that were longer than a slot and thrown away.
    pub oversize: usize,
    /// Datagrams thrown away for another reason: no usable source address.
    pub invalid: usize,
    /// True when nothing is left to receive: the next readiness event will say when there is.
    pub drained: bool,
}

/// What one [`Tx::send`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Messages that left.
    pub messages: usize,
    /// Messages that the link refused as too long (EMSGSIZE), dropped.
    pub oversize: usize,
    /// Messages that could not be sent for another reason (no route, refused by a filter), dropped.
    pub failed: usize,
    /// True when the link takes no more at present; what did not leave stays in the batch.
    pub blocked: bool,
}

/// A source of datagrams.
pub trait Rx {
    /// Appends what has arrived to `batch`, as much as it has free slots for, without waiting.
    ///
    /// # Errors
    /// What the system reports, "nothing there" excepted: that is `drained`.
    fn recv(&mut self, batch: &mut Batch) -> io::Result<Received>;
}

/// A sink of datagrams.
pub trait Tx {
    /// Sends what `batch` holds, in order, without waiting, and removes what was sent or cannot be sent.
    ///
    /// # Errors
    /// What the system reports about the socket itself; what concerns one datagram is counted in [`Sent`].
    fn send(&mut self, batch: &mut Batch) -> io::Result<Sent>;
}

/// Both directions of one place: what a backend offers, and what middleware wraps.
pub trait Link: Rx + Tx + Send {}

impl<L: Rx + Tx + Send> Link for L {}

impl<R: Rx + ?Sized> Rx for Box<R> {
    fn recv(&mut self, batch: &mut Batch) -> io::Result<Received> {
        (**self).recv(batch)
    }
}

impl<T: Tx + ?Sized> Tx for Box<T> {
    fn send(&mut self, batch: &mut Batch) -> io::Result<Sent> {
        (**self).send(batch)
    }
}

/// What became of a message that was to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the batch.
    Written,
    /// The writer gave none, or more than the slot holds.
    Declined,
    /// No slot is free.
    Full,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) slot: usize,
    /// Offset of its first octet in the slot; 0 but for the later segments of a coalesced datagram.
    at: usize,
    pub(crate) len: usize,
    pub(crate) peer: SocketAddr,
    /// Others lie in the same slot: it is free again when the batch is cleared, not before.
    shared: bool,
}

/// What was received into one slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filled {
    pub(crate) peer: SocketAddr,
    pub(crate) len: usize,
    /// Length of each message but the last, where the system has joined several.
    pub(crate) segment: Option<usize>,
}

/// Messages that the system joins at most into one (linux/udp.h, UDP_MAX_SEGMENTS).
const SEGMENTS_MAX: usize = 128;

/// Up to `capacity` datagrams of up to `message_max` octets, each with the address of its peer.
#[derive(Debug)]
pub struct Batch {
    octets: Box<[u8]>,
    stride: usize,
    message_max: usize,
    items: Vec<Item>,
    free: Vec<usize>,
}

impl Batch {
    /// An empty batch. Both limits are at least 1; a batch holds at most 1024 messages (the kernel's UIO_MAXIOV) of
    /// at most 65535 octets; other values are brought into that range.
    pub fn new(capacity: usize, message_max: usize) -> Self {
        Self::sized(capacity, message_max, 1)
    }

    /// An empty batch for receiving from a port that coalesces ([`crate::UdpPort::coalesce`]): `capacity` slots of
    /// the largest datagram there is, each of which may bring many messages.
    pub fn coalescing(capacity: usize) -> Self {
        Self::sized(capacity, 65_535, SEGMENTS_MAX)
    }

    fn sized(capacity: usize, message_max: usize, segments: usize) -> Self {
        let capacity = capacity.clamp(1, 1024);
        let message_max = message_max.clamp(1, 65_535);
        // One cache line more than the size, so that the slots' beginnings do not all fall into the same cache set.
        let stride = message_max.next_multiple_of(64) + 64;
        let mut batch = Self {
            octets: vec![0; capacity * stride].into_boxed_slice(),
            stride,
            message_max,
            items: Vec::with_capacity(capacity * segments),
            free: Vec::with_capacity(capacity),
        };
        batch.clear();
        batch
    }

    /// How many messages fit.
    pub fn capacity(&self) -> usize {
        self.octets.len() / self.stride
    }

    /// Octets of the longest message that fits.
    pub fn message_max(&self) -> usize {
        self.message_max
    }

    /// Messages held.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when none is held.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True when no slot is free.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Drops all messages.
    pub fn clear(&mut self) {
        self.items.clear();
        self.free.clear();
        // Taken from the end, so the first message gets the first slot.
        self.free.extend((0..self.octets.len() / self.stride).rev());
    }

    /// The peer of message `index`.
    pub fn peer(&self, index: usize) -> Option<SocketAddr> {
        Some(self.items.get(index)?.peer)
    }

    /// The octets of message `index`.
    pub fn message(&self, index: usize) -> Option<&[u8]> {
        let item = self.items.get(index)?;
        let from = item.slot * self.stride + item.at;
        self.octets.get(from..from + item.len)
    }

    /// As [`Batch::message`], to be edited in place.
    pub fn message_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let item = self.items.get(index)?;
        let from = item.slot * self.stride + item.at;
        self.octets.get_mut(from..from + item.len)
    }

    /// All messages with their peers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.items.iter().filter_map(|item| {
            let from = item.slot * self.stride + item.at;
            Some((item.peer, self.octets.get(from..from + item.len)?))
        })
    }

    /// All messages with their peers, in order, to be edited in place.
    pub fn iter_mut(&mut self) -> IterMut<'_> {
        IterMut {
            octets: self.octets.as_mut_ptr(),
            stride: self.stride,
            items: self.items.iter(),
            _octets: PhantomData,
        }
    }

    /// Appends a copy of `message`.
    pub fn push(&mut self, peer: SocketAddr, message: &[u8]) -> Pushed {
        self.push_with(peer, |slot| {
            slot.get_mut(..message.len())?.copy_from_slice(message);
            Some(message.len())
        })
    }

    /// Appends what `write` writes into the slot that it is given, and says how long it is.
    pub fn push_with(&mut self, peer: SocketAddr, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Pushed {
        let Some(&slot) = self.free.last().filter(|_| self.items.len() < self.items.capacity()) else {
            return Pushed::Full;
        };
        let from = slot * self.stride;
        let Some(buffer) = self.octets.get_mut(from..from + self.message_max) else { return Pushed::Full };
        match write(buffer) {
            Some(len) if len <= self.message_max => {
                self.free.pop();
                self.items.push(Item { slot, at: 0, len, peer, shared: false });
                Pushed::Written
            }
            _ => Pushed::Declined,
        }
    }

    /// Takes message `index` out; those behind it move up.
    pub fn remove(&mut self, index: usize) {
        if index < self.items.len() {
            let item = self.items.remove(index);
            if !item.shared {
                self.free.push(item.slot);
            }
        }
    }

    /// Takes the first `count` messages out.
    pub fn remove_first(&mut self, count: usize) {
        if count >= self.items.len() {
            return self.clear();
        }
        for item in self.items.drain(..count).filter(|item| !item.shared) {
            self.free.push(item.slot);
        }
    }

    /// Appends a copy of message `index`; false when there is none or no slot is free.
    pub fn duplicate(&mut self, index: usize) -> bool {
        let Some(&item) = self.items.get(index) else { return false };
        if self.items.len() == self.items.capacity() {
            return false;
        }
        let Some(slot) = self.free.pop() else { return false };
        let from = item.slot * self.stride + item.at;
        self.octets.copy_within(from..from + item.len, slot * self.stride);
        self.items.push(Item { slot, at: 0, shared: false, ..item });
        true
    }

    /// Exchanges the places of two messages; indices that are not there change nothing.
    pub fn swap(&mut self, a: usize, b: usize) {
        if a < self.items.len() && b < self.items.len() {
            self.items.swap(a, b);
        }
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(crate) fn free_slots(&self) -> usize {
        self.free.len()
    }

    /// The buffer of the `nth` free slot, in the order in which [`Batch::accept`] counts them.
    pub(crate) fn free_buffer(&mut self, nth: usize) -> Option<*mut u8> {
        let slot = *self.free.get(self.free.len().checked_sub(nth + 1)?)?;
        Some(self.octets.get_mut(slot * self.stride..)?.as_mut_ptr())
    }

    /// The octets of an item, for a system call that only reads them.
    pub(crate) fn item_buffer(&self, item: &Item) -> Option<*const u8> {
        Some(self.octets.get(item.slot * self.stride + item.at..)?.as_ptr())
    }

    /// Orders the messages by length, the longest first, peer by peer unless all have `one_peer`; those of one length
    /// keep their order.
    pub(crate) fn sort_by_len(&mut self, one_peer: bool) {
        // Slots are taken in ascending order, so they tell the order of arrival; an unstable sort does not allocate.
        let order = |item: &Item| (core::cmp::Reverse(item.len), item.slot, item.at);
        if one_peer {
            self.items.sort_unstable_by_key(order);
        } else {
            self.items.sort_unstable_by_key(|item| (item.peer, order(item)));
        }
    }

    /// Takes over the first `filled` free slots: for each, `outcome(nth)` says what was received there, `None` for
    /// nothing of use. Returns how many messages that makes.
    pub(crate) fn accept(&mut self, filled: usize, mut outcome: impl FnMut(usize) -> Option<Filled>) -> usize {
        const TAKEN: usize = usize::MAX;
        let before = self.items.len();
        let filled = filled.min(self.free.len());
        let base = self.free.len() - filled;
        let mut useless = false;
        for nth in 0..filled {
            let Some(place) = self.free.get_mut(base + filled - nth - 1) else { break };
            match outcome(nth) {
                Some(got) if got.len <= self.message_max => {
                    let slot = core::mem::replace(place, TAKEN);
                    add_items(&mut self.items, slot, &got);
                }
                _ => useless = true,
            }
        }
        if useless {
            self.free.retain(|&slot| slot != TAKEN);
        } else {
            self.free.truncate(base);
        }
        self.items.len() - before
    }
}

/// Enters what was received into one slot as one message or several.
fn add_items(items: &mut Vec<Item>, slot: usize, got: &Filled) {
    let segment = got.segment.filter(|&segment| segment > 0 && segment < got.len);
    let step = segment.unwrap_or(got.len.max(1));
    let mut at = 0;
    loop {
        let len = step.min(got.len - at);
        // Never beyond what was reserved; the system does not join more than there is room for.
        if items.len() == items.capacity() {
            return;
        }
        items.push(Item { slot, at, len, peer: got.peer, shared: segment.is_some() });
        at += len;
        if at >= got.len {
            return;
        }
    }
}

/// See [`Batch::iter_mut`].
#[derive(Debug)]
pub struct IterMut<'b> {
    octets: *mut u8,
    stride: usize,
    items: core::slice::Iter<'b, Item>,
    _octets: PhantomData<&'b mut [u8]>,
}

impl<'b> Iterator for IterMut<'b> {
    type Item = (SocketAddr, &'b mut [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.items.next()?;
        // SAFETY: `octets` points to the batch's buffer, which is borrowed exclusively for 'b. An item lies inside it
        // (`slot` < capacity, `at` + `len` <= `message_max` < stride, checked where items are made), and no two items
        // overlap: a slot is either in `free` or with the items of one datagram, which `add_items` lays side by side.
        let octets =
            unsafe { core::slice::from_raw_parts_mut(self.octets.add(item.slot * self.stride + item.at), item.len) };
        Some((item.peer, octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_message_longer_than_a_slot_is_declined_and_a_full_batch_says_so() {
        let mut batch = Batch::new(2, 4);
        assert_eq!(batch.push(peer(1), b"12345"), Pushed::Declined);
        assert_eq!(batch.push_with(peer(1), |_| Some(5)), Pushed::Declined);
        assert_eq!(batch.push(peer(1), b"1234"), Pushed::Written);
        assert_eq!(batch.push(peer(2), b""), Pushed::Written);
        assert_eq!(batch.push(peer(3), b"x"), Pushed::Full);
        assert!(batch.is_full());
        assert_eq!(batch.iter().collect::<Vec<_>>(), [(peer(1), &b"1234"[..]), (peer(2), &b""[..])]);
    }

    #[test]
    fn received_slots_keep_their_order_and_the_useless_ones_stay_free() {
        let mut batch = Batch::new(4, 8);
        for nth in 0..4 {
            let buffer = batch.free_buffer(nth).unwrap();
            // SAFETY: the buffer of a free slot of 8 octets, and nothing else refers to it.
            unsafe { buffer.write(b'a' + nth as u8) };
        }
        batch.accept(4, |nth| (nth != 1).then_some(Filled { peer: peer(nth as u16), len: 1, segment: None }));
        let seen: Vec<_> = batch.iter().map(|(peer, octets)| (peer.port(), octets[0])).collect();
        assert_eq!(seen, [(0, b'a'), (2, b'c'), (3, b'd')]);
        assert_eq!(batch.free_slots(), 1);
    }

    #[test]
    fn a_coalesced_datagram_is_many_messages() {
        let mut batch = Batch::coalescing(2);
        let buffer = batch.free_buffer(0).unwrap();
        for at in 0..10u8 {
            // SAFETY: the buffer of a free slot of 65535 octets, and nothing else refers to it.
            unsafe { buffer.add(usize::from(at)).write(at) };
        }
        let taken = batch.accept(1, |_| Some(Filled { peer: peer(1), len: 10, segment: Some(4) }));
        assert_eq!(taken, 3);
        for (_, message) in batch.iter_mut() {
            message[0] |= 0x80;
        }
        let held: Vec<_> = batch.iter().map(|(_, message)| message.to_vec()).collect();
        assert_eq!(held, [vec![0x80, 1, 2, 3], vec![0x84, 5, 6, 7], vec![0x88, 9]]);
        assert_eq!(batch.free_slots(), 1);
        batch.remove(0);
        assert!(batch.duplicate(0));
        assert!(batch.is_full());
        assert_eq!(batch.message(2), Some(&[0x84, 5, 6, 7][..]));
        batch.clear();
        assert_eq!(batch.free_slots(), 2);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Push(Vec<u8>),
        Remove(usize),
        First(usize),
        Duplicate(usize),
        Swap(usize, usize),
        Edit(usize, u8),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12).prop_map(Op::Push),
            (0usize..6).prop_map(Op::Remove),
            (0usize..6).prop_map(Op::First),
            (0usize..6).prop_map(Op::Duplicate),
            (0usize..6, 0usize..6).prop_map(|(a, b)| Op::Swap(a, b)),
            (0usize..6, any::<u8>()).prop_map(|(at, octet)| Op::Edit(at, octet)),
        ]
    }

    proptest! {
        /// A batch behaves as a plain vector of messages with the same limits.
        #[test]
        fn a_batch_is_a_bounded_vector(ops in prop::collection::vec(op(), 0..60)) {
            let mut batch = Batch::new(5, 10);
            let mut model: Vec<Vec<u8>> = Vec::new();
            for op in ops {
                match op {
                    Op::Push(message) => {
                        let fits = message.len() <= 10;
                        let room = model.len() < 5;
                        let pushed = batch.push(peer(9), &message);
                        prop_assert_eq!(pushed == Pushed::Written, fits && room);
                        if fits && room {
                            model.push(message);
                        }
                    }
                    Op::Remove(at) => {
                        batch.remove(at);
                        if at < model.len() {
                            model.remove(at);
                        }
                    }
                    Op::First(count) => {
                        batch.remove_first(count);
                        model.drain(..count.min(model.len()));
                    }
                    Op::Duplicate(at) => {
                        let done = batch.duplicate(at);
                        prop_assert_eq!(done, at < model.len() && model.len() < 5);
                        if done {
                            model.push(model[at].clone());
                        }
                    }
                    Op::Swap(a, b) => {
                        batch.swap(a, b);
                        if a < model.len() && b < model.len() {
                            model.swap(a, b);
                        }
                    }
                    Op::Edit(at, octet) => {
                        for (nth, (_, message)) in batch.iter_mut().enumerate() {
                            if nth == at {
                                message.fill(octet);
                            }
                        }
                        if let Some(message) = model.get_mut(at) {
                            message.fill(octet);
                        }
                    }
                }
                let held: Vec<Vec<u8>> = batch.iter().map(|(_, message)| message.to_vec()).collect();
                prop_assert_eq!(&held, &model);
                prop_assert_eq!(batch.free_slots() + batch.len(), 5);
            }
        }
    }
}
