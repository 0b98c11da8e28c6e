//! What attackers try on protected datagrams: again, from elsewhere, back to where they came from, shortened, longer,
//! changed by a bit or a number, in another session's name, at another mechanism's port.

use super::Attackers;
use crate::net::{Datagram, addr};

/// How far back among what was heard they look.
const RECENT: u64 = 12;

/// Where handle and number stand in a datagram to or from this address.
fn places(datagram: &Datagram) -> Option<[core::ops::Range<usize>; 2]> {
    let mechanism = addr::mechanism(datagram.to).or_else(|| addr::mechanism(datagram.from))?;
    let sealed = mechanism.mech() == portunus_keydist::mech::Mech::Sealed;
    Some(if sealed { [4..12, 12..20] } else { [0..4, 4..8] })
}

impl Attackers {
    /// One of the newest protected datagrams.
    fn recent(&mut self) -> Option<Datagram> {
        let back = self.rng.between(0, RECENT) as usize;
        let protected = |d: &&Datagram| places(d).is_some();
        self.heard.iter().rev().filter(protected).nth(back).cloned()
    }

    /// Does one of these things.
    pub(super) fn tamper(&mut self) -> Vec<Datagram> {
        let Some(mut d) = self.recent() else { return Vec::new() };
        let len = d.bytes.len().max(1) as u64;
        match self.rng.between(0, 8) {
            0 => {}
            1 => d.from = addr::attacker(self.rng.between(2, 9) as u16),
            // Reflected.
            2 => core::mem::swap(&mut d.from, &mut d.to),
            3 => d.bytes.truncate(self.rng.between(0, len - 1) as usize),
            4 => d.bytes.extend(vec![self.rng.bits() as u8; self.rng.between(1, 40) as usize]),
            5 => {
                let (at, bit) = (self.rng.between(0, len - 1), self.rng.between(0, 7));
                if let Some(octet) = d.bytes.get_mut(at as usize) {
                    *octet ^= 1 << bit;
                }
                if self.rng.chance(500) {
                    d.from = addr::attacker(self.rng.between(2, 9) as u16);
                }
            }
            // The number after it, which nobody has seen.
            6 => {
                let number = places(&d).and_then(|[_, number]| d.bytes.get_mut(number)?.last_mut());
                if let Some(octet) = number {
                    *octet = octet.wrapping_add(1);
                }
                d.from = addr::attacker(self.rng.between(2, 9) as u16);
            }
            7 => self.in_another_name(&mut d),
            _ => {
                let other = addr::PROTECTED.get(self.rng.between(0, 1) as usize);
                if let (Some((mechanism, _)), Some(p)) = (other, addr::proxy_of(d.to)) {
                    d.to = addr::protected(p, *mechanism);
                }
            }
        }
        vec![d]
    }

    /// Puts the handle of another session there.
    fn in_another_name(&mut self, d: &mut Datagram) {
        let Some(other) = self.recent() else { return };
        if let (Some([own, _]), Some([theirs, _])) = (places(d), places(&other))
            && let (Some(place), Some(handle)) = (d.bytes.get_mut(own), other.bytes.get(theirs))
            && place.len() == handle.len()
        {
            place.copy_from_slice(handle);
        }
    }
}
