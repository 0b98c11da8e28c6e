//! Registrations that wait for the core, each with the octets of the message that is to be answered.

use super::index::Index;
use crate::api::Meta;
use crate::routes::Heading;
use crate::site::{TicketKind, TicketParts};
use portunus_keydist::Idc;
use portunus_keydist::ident::IdcBuf;
use portunus_keydist::mech::MechList;
use portunus_keydist::proxy::Exchange;
use portunus_signalling::{Marks, Ticket};

/// What the core is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// A PKD1 registration.
    Pkd(Exchange),
    /// A stock phone's registration.
    Stock {
        /// It carried a digest response.
        answered: bool,
        /// It asks to end the registration.
        ends: bool,
    },
}

impl Task {
    /// True while nothing has shown that the source receives what is sent to it.
    pub(crate) const fn is_unproven(&self) -> bool {
        match self {
            Self::Pkd(exchange) => exchange.is_unproven(),
            Self::Stock { .. } => true,
        }
    }
}

/// What is to be done, and for whom: what was read once and need not be read again when the core answers.
#[derive(Clone, Copy)]
pub(crate) struct Work<'m> {
    pub(crate) task: Task,
    pub(crate) idc: Idc<'m>,
    /// The mechanisms that an s7 offers.
    pub(crate) mechs: Option<&'m MechList>,
    /// The softswitch that an s7's challenge is of.
    pub(crate) home: u8,
}

/// Names that a registration has at most, besides its message and its handle: its N1a, its Rand, its transaction.
pub(crate) const NAMES: usize = 3;

/// One of them.
pub(crate) struct Pending {
    pub(crate) task: Task,
    pub(crate) idc: IdcBuf,
    pub(crate) mechs: Option<MechList>,
    /// What its protocol noted of the message.
    marks: Marks,
    pub(crate) meta: Meta,
    /// Digest of source and octets: names the message.
    pub(crate) of: u128,
    /// The name of its terminal's lane, by which its session is found too.
    pub(crate) lane: u64,
    /// Its route, and the softswitch that it has come to.
    pub(crate) heading: Heading,
    /// Octets that may be sent to the source while it is unproven.
    pub(crate) budget: usize,
    /// What answers that bear no handle name it by, keyed hashes; 0 where there is none.
    names: [u64; NAMES],
    /// Told apart from earlier users of the slot by this, 20 bits.
    pub(crate) generation: u32,
    len: u32,
    used: bool,
    /// Neighbours in the order of arrival among the unproven, plus one; `older` also links free slots.
    older: u32,
    newer: u32,
}

impl Pending {
    /// The handle that goes to the core.
    pub(crate) const fn ticket(&self, slot: u32, worker: u8) -> Ticket {
        TicketParts { kind: TicketKind::Pending, generation: self.generation, slot }.ticket(worker)
    }
}

/// Bits of a generation that travel in a ticket.
pub(crate) const GENERATION: u32 = (1 << 20) - 1;

/// The table.
pub(crate) struct Pendings {
    slots: Vec<Pending>,
    octets: Vec<u8>,
    capacity: usize,
    request: usize,
    index: Index,
    named: Index,
    free: u32,
    used: usize,
    oldest: u32,
    newest: u32,
    seed: u32,
}

impl Pendings {
    /// Room for `capacity` registrations of up to `request` octets each; `seed` starts the generations.
    pub(crate) fn new(capacity: usize, request: usize, seed: u32) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            octets: vec![0; capacity * request],
            capacity,
            request,
            index: Index::new(capacity),
            named: Index::new(capacity * NAMES),
            free: 0,
            used: 0,
            oldest: 0,
            newest: 0,
            seed,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Share in use, percent.
    pub(crate) fn percent(&self) -> usize {
        self.used * 100 / self.capacity
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used >= self.capacity
    }

    pub(crate) fn fits(&self, request: &[u8]) -> bool {
        request.len() <= self.request
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Pending> {
        self.slots.get(slot as usize).filter(|pending| pending.used)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Pending> {
        self.slots.get_mut(slot as usize).filter(|pending| pending.used)
    }

    /// The message that waits for its answer, and what its protocol noted of it.
    pub(crate) fn request(&self, slot: u32) -> (&[u8], &Marks) {
        let from = slot as usize * self.request;
        let octets = |pending: &Pending| self.octets.get(from..from + pending.len as usize);
        match self.get(slot).and_then(|pending| Some((octets(pending)?, &pending.marks))) {
            Some(request) => request,
            None => (&[], &Marks::NONE),
        }
    }

    /// Reads where the message with this digest is looked for, so that the misses of several overlap.
    #[inline]
    pub(crate) fn touch(&self, of: u128) -> u64 {
        self.index.touch(of as u32)
    }

    /// The registration whose message has this digest.
    pub(crate) fn find(&self, of: u128) -> Option<u32> {
        self.index.find(of as u32, |slot| self.get(slot).is_some_and(|pending| pending.of == of))
    }

    /// The registration that has this name.
    pub(crate) fn find_named(&self, name: u64) -> Option<u32> {
        self.named.find(name as u32, |slot| self.get(slot).is_some_and(|pending| pending.names.contains(&name)))
    }

    /// Gives a registration its `nth` name (of [`NAMES`]), in the place of the one before. The hash is keyed, and 0
    /// is no name.
    pub(crate) fn name(&mut self, slot: u32, nth: usize, name: u64) {
        let place = self.slots.get_mut(slot as usize).filter(|pending| pending.used);
        let Some(place) = place.and_then(|pending| pending.names.get_mut(nth)) else { return };
        let before = core::mem::replace(place, name);
        if before != name {
            self.forget(slot, before);
            if name != 0 {
                self.named.insert(name as u32, slot);
            }
        }
    }

    fn forget(&mut self, slot: u32, name: u64) {
        if name != 0 {
            self.named.remove(name as u32, slot);
        }
    }

    /// The oldest registration whose source is unproven.
    pub(crate) fn oldest_unproven(&self) -> Option<u32> {
        self.oldest.checked_sub(1)
    }

    /// Takes a registration in, with its message and what was noted of that; `None` when the table is full or the
    /// message too long.
    pub(crate) fn insert(
        &mut self,
        work: &Work<'_>,
        meta: Meta,
        (of, lane): (u128, u64),
        (request, marks): (&[u8], &Marks),
    ) -> Option<u32> {
        if self.is_full() || !self.fits(request) {
            return None;
        }
        let pending = |generation: u32| Pending {
            task: work.task,
            idc: work.idc.into(),
            mechs: work.mechs.copied(),
            marks: *marks,
            meta,
            of,
            lane,
            heading: Heading { route: 0, home: work.home },
            budget: 0,
            names: [0; NAMES],
            generation: generation & GENERATION,
            len: request.len() as u32,
            used: true,
            older: 0,
            newer: 0,
        };
        let slot = match self.free.checked_sub(1) {
            Some(slot) => {
                let place = self.slots.get_mut(slot as usize)?;
                self.free = place.older;
                *place = pending(place.generation.wrapping_add(1));
                slot
            }
            None => {
                self.slots.push(pending(self.seed));
                self.slots.len() as u32 - 1
            }
        };
        let from = slot as usize * self.request;
        if let Some(room) = self.octets.get_mut(from..from + request.len()) {
            room.copy_from_slice(request);
        }
        self.index.insert(of as u32, slot);
        self.used += 1;
        if work.task.is_unproven() {
            self.queue(slot);
        }
        Some(slot)
    }

    fn queue(&mut self, slot: u32) {
        let before = core::mem::replace(&mut self.newest, slot + 1);
        match before.checked_sub(1).and_then(|other| self.slots.get_mut(other as usize)) {
            Some(other) => other.newer = slot + 1,
            None => self.oldest = slot + 1,
        }
        if let Some(pending) = self.slots.get_mut(slot as usize) {
            pending.older = before;
        }
    }

    /// Lets a registration go; false when there is none.
    pub(crate) fn remove(&mut self, slot: u32) -> bool {
        let Some(pending) = self.get(slot) else { return false };
        let (of, unproven, older, newer) = (pending.of, pending.task.is_unproven(), pending.older, pending.newer);
        let names = pending.names;
        self.index.remove(of as u32, slot);
        names.into_iter().for_each(|name| self.forget(slot, name));
        if unproven {
            match older.checked_sub(1).and_then(|other| self.slots.get_mut(other as usize)) {
                Some(other) => other.newer = newer,
                None => self.oldest = newer,
            }
            match newer.checked_sub(1).and_then(|other| self.slots.get_mut(other as usize)) {
                Some(other) => other.older = older,
                None => self.newest = older,
            }
        }
        let free = core::mem::replace(&mut self.free, slot + 1);
        if let Some(place) = self.slots.get_mut(slot as usize) {
            place.used = false;
            place.older = free;
        }
        self.used -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keydist::N1;

    fn meta() -> Meta {
        Meta { source: "192.0.2.1:5060".parse().unwrap(), listener: 0, conn: 0 }
    }

    fn work(task: Task) -> Work<'static> {
        Work { task, idc: Idc::new("a").unwrap(), mechs: None, home: 0 }
    }

    fn s1() -> Work<'static> {
        work(Task::Pkd(Exchange::AwaitS5 { n1a: N1::from_bits(1) }))
    }

    fn s7() -> Work<'static> {
        work(Task::Pkd(Exchange::AwaitS9 { n1a: N1::from_bits(1), n1b: N1::from_bits(2), rand: [0; 16] }))
    }

    #[test]
    fn the_oldest_unproven_is_known_whatever_leaves() {
        let mut pendings = Pendings::new(6, 64, 9);
        let a = pendings.insert(&s1(), meta(), (1, 0), (b"a", &Marks::NONE)).unwrap();
        let b = pendings.insert(&s7(), meta(), (2, 0), (b"b", &Marks::NONE)).unwrap();
        let c = pendings.insert(&s1(), meta(), (3, 0), (b"c", &Marks::NONE)).unwrap();
        let d = pendings.insert(&s1(), meta(), (4, 0), (b"d", &Marks::NONE)).unwrap();
        assert_eq!(pendings.oldest_unproven(), Some(a));
        pendings.remove(c);
        pendings.remove(a);
        assert_eq!(pendings.oldest_unproven(), Some(d));
        let e = pendings.insert(&s1(), meta(), (5, 0), (b"e", &Marks::NONE)).unwrap();
        pendings.remove(d);
        assert_eq!(pendings.oldest_unproven(), Some(e));
        pendings.remove(e);
        assert_eq!(pendings.oldest_unproven(), None);
        assert_eq!((pendings.request(b).0, pendings.used()), (&b"b"[..], 1));
        assert_eq!((pendings.find(2), pendings.find(1)), (Some(b), None));
    }

    #[test]
    fn names_are_found_until_they_change_or_leave() {
        let mut pendings = Pendings::new(2, 4, 0);
        let a = pendings.insert(&s1(), meta(), (1, 0), (b"1", &Marks::NONE)).unwrap();
        let b = pendings.insert(&s7(), meta(), (2, 0), (b"2", &Marks::NONE)).unwrap();
        // Two names that share a place, one of another registration.
        let (x, y, z) = (7, 7 | 1 << 40, 9);
        pendings.name(a, 0, x);
        pendings.name(b, 0, y);
        pendings.name(b, 2, z);
        assert_eq!([x, y, z].map(|name| pendings.find_named(name)), [Some(a), Some(b), Some(b)]);
        pendings.name(b, 2, z + 1);
        assert_eq!([z, z + 1].map(|name| pendings.find_named(name)), [None, Some(b)]);
        pendings.remove(b);
        assert_eq!([x, y, z + 1].map(|name| pendings.find_named(name)), [Some(a), None, None]);
        pendings.name(b, 0, y);
        assert_eq!(pendings.find_named(y), None, "nobody is there");
        for round in 0..100 {
            let b = pendings.insert(&s7(), meta(), (2, 0), (b"2", &Marks::NONE)).unwrap();
            (0..NAMES).for_each(|nth| pendings.name(b, nth, 100 + round * 8 + nth as u64));
            assert_eq!(pendings.find_named(102 + round * 8), Some(b));
            pendings.remove(b);
        }
    }

    #[test]
    fn bounded_and_generations_differ() {
        let mut pendings = Pendings::new(2, 4, u32::MAX);
        assert!(pendings.insert(&s1(), meta(), (1, 0), (b"12345", &Marks::NONE)).is_none());
        let a = pendings.insert(&s1(), meta(), (1, 0), (b"1", &Marks::NONE)).unwrap();
        pendings.insert(&s1(), meta(), (2, 0), (b"2", &Marks::NONE)).unwrap();
        assert!(pendings.insert(&s1(), meta(), (3, 0), (b"3", &Marks::NONE)).is_none());
        let before = pendings.get(a).unwrap().generation;
        pendings.remove(a);
        assert!(pendings.get(a).is_none() && !pendings.remove(a));
        assert_eq!(pendings.insert(&s1(), meta(), (3, 0), (b"3", &Marks::NONE)), Some(a));
        assert_ne!(pendings.get(a).unwrap().generation, before);
        assert!(pendings.get(a).unwrap().generation <= GENERATION);
    }
}
