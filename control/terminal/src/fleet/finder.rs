//! Which terminal of a fleet a datagram is for.

use crate::agent::{Tag, tag_of};
use crate::{AnyTerminal, handles};
use portunus_keydist::N1;
use portunus_signalling::Protocol;
use std::collections::HashMap;

/// What the answer to a terminal's s1 or s7 bears.
pub(super) type Awaited = Option<(N1, Option<u32>)>;

/// Finds terminals of one protocol.
pub(super) struct Finder {
    protocol: Protocol,
    pub(super) by_kid: HashMap<u64, u32>,
    /// Whom an answer is for, where no number of ours stands in it.
    by_n1: HashMap<N1, u32>,
    by_transaction: HashMap<u32, u32>,
}

impl Finder {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, by_kid: HashMap::new(), by_n1: HashMap::new(), by_transaction: HashMap::new() }
    }

    /// Whom a datagram is for; `None`: it is nobody's.
    pub(super) fn find(&self, octets: &[u8]) -> Option<u32> {
        if let Some(index) = handles(octets).find_map(|handle| self.by_kid.get(&handle)) {
            return Some(*index);
        }
        match tag_of(self.protocol, octets)? {
            Tag::Owner(index) => Some(index),
            Tag::N1(n1) => self.by_n1.get(&n1).copied(),
            Tag::Transaction(id) => self.by_transaction.get(&id).copied(),
        }
    }

    /// Notes what the answer to what a terminal sends will bear; `before` is what was noted for it last.
    pub(super) fn expect(&mut self, index: u32, member: Option<(&AnyTerminal, &mut Awaited)>) {
        // SIP's answers bear the terminal's own number.
        let Some((terminal, before)) = member.filter(|_| self.protocol != Protocol::Sip) else { return };
        let awaited = terminal.awaited();
        if awaited == *before {
            return;
        }
        if let Some((n1, transaction)) = core::mem::replace(before, awaited) {
            self.by_n1.remove(&n1);
            // Another terminal may have the same id by now.
            if let Some(id) = transaction.filter(|id| self.by_transaction.get(id) == Some(&index)) {
                self.by_transaction.remove(&id);
            }
        }
        if let Some((n1, transaction)) = awaited {
            self.by_n1.insert(n1, index);
            self.by_transaction.extend(transaction.map(|id| (id, index)));
        }
    }
}
