//! States to be echoed (RFC 2865 section 5.24): a server may tie the second challenge of a registration to the first.

use super::{Only, Packet, attr};
use crate::exchange::{AaaRequest, Authenticate, Scheme};
use portunus_keydist::Now;
use std::collections::{BTreeMap, VecDeque};

/// How many are remembered, and for how long.
const STATES_MAX: usize = 4096;
const STATE_LIFE_MS: u64 = 60_000;

struct Known {
    state: Box<[u8]>,
    at: u64,
}

/// States by registration; the oldest go first.
#[derive(Default)]
pub(super) struct States {
    /// State and when it came, by registration.
    known: BTreeMap<Box<[u8]>, Known>,
    order: VecDeque<(u64, Box<[u8]>)>,
}

impl States {
    fn key(request: &AaaRequest) -> Option<Box<[u8]>> {
        let AaaRequest::Authenticate(Authenticate { idc, idsp, scheme: Scheme::Pkd1 { n1 }, .. }) = request else {
            return None;
        };
        // None of the three can hold a zero octet.
        Some([idc.as_bytes(), idsp.as_bytes(), n1.as_bytes()].join(&0).into())
    }

    pub(super) fn find(&self, request: &AaaRequest, now: Now) -> Option<&[u8]> {
        let known = self.known.get(&Self::key(request)?)?;
        (now.mono_ms < known.at + STATE_LIFE_MS).then_some(&known.state)
    }

    pub(super) fn keep(&mut self, request: &AaaRequest, packet: &Packet<'_>, now: Now) {
        let Only::One(state) = packet.only(attr::STATE) else { return };
        let Some(key) = Self::key(request) else { return };
        self.known.insert(key.clone(), Known { state: state.into(), at: now.mono_ms });
        self.order.push_back((now.mono_ms, key));
        while let Some((at, _)) = self.order.front() {
            if self.order.len() <= STATES_MAX && now.mono_ms < at + STATE_LIFE_MS {
                break;
            }
            // A renewed State has a later entry of its own.
            if let Some((at, key)) = self.order.pop_front()
                && self.known.get(&key).is_some_and(|newest| newest.at <= at)
            {
                self.known.remove(&key);
            }
        }
    }
}
