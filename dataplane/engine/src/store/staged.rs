//! Bindings that terminals have asked for in a refresh and that the core has not granted yet. Few at a time: only a
//! refresh that changes the binding leaves one here, until its answer.

use arrayvec::ArrayVec;
use portunus_signalling::BINDING_MAX;

/// Refreshes that may wait at once.
const STAGED: usize = 256;

struct Staged {
    kid: u64,
    binding: ArrayVec<u8, BINDING_MAX>,
}

/// The bindings that wait, oldest first, all of their memory reserved at the start.
pub(crate) struct Stage {
    waiting: Vec<Staged>,
}

impl Stage {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { waiting: Vec::with_capacity(STAGED) }
    }

    /// True when none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The session asked for this binding; what it had asked for before is forgotten. False when another session's had
    /// to make room: the core has been silent about that one for the longest time.
    pub(crate) fn put(&mut self, kid: u64, binding: &[u8]) -> bool {
        self.take(kid);
        let Ok(binding) = ArrayVec::try_from(binding) else { return false };
        let full = self.waiting.len() >= STAGED;
        if full {
            self.waiting.remove(0);
        }
        self.waiting.push(Staged { kid, binding });
        !full
    }

    /// What the session asked for; it no longer waits.
    pub(crate) fn take(&mut self, kid: u64) -> Option<ArrayVec<u8, BINDING_MAX>> {
        let at = self.waiting.iter().position(|staged| staged.kid == kid)?;
        Some(self.waiting.remove(at).binding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_asked_for_and_the_oldest_gives_way() {
        let mut stage = Stage::new();
        assert!(stage.put(1, b"a") && stage.put(1, b"b"));
        assert_eq!(stage.take(1).as_deref(), Some(&b"b"[..]));
        assert!(stage.take(1).is_none() && stage.is_empty());
        let room = (0..STAGED as u64).all(|kid| stage.put(kid, b"x"));
        assert!(room && !stage.put(999, b"y"));
        assert!(stage.take(0).is_none());
        assert_eq!((stage.waiting.len(), stage.waiting.capacity()), (STAGED, STAGED));
    }
}
