//! A space of 256 identifiers: a source port over UDP, a connection over TLS.

const FREE: u32 = u32::MAX;

/// Which exchange holds which identifier, and how the lane lives.
pub(super) struct Lane {
    /// It can send.
    pub(super) up: bool,
    /// When something was last heard on it, monotonic milliseconds.
    pub(super) last_rx: u64,
    /// Answers that arrived on it.
    pub(super) heard: u64,
    /// A probe is out.
    pub(super) probing: bool,
    ids: Box<[u32; 256]>,
    next_id: u8,
    used: u16,
}

impl Lane {
    pub(super) fn new(up: bool) -> Self {
        Self { up, last_rx: 0, heard: 0, probing: false, ids: Box::new([FREE; 256]), next_id: 0, used: 0 }
    }

    /// True when a request could leave by it now.
    pub(super) fn has_room(&self) -> bool {
        self.up && self.used < 256
    }

    /// The exchange that holds an identifier.
    pub(super) fn holder(&self, id: u8) -> Option<u32> {
        Some(self.ids[usize::from(id)]).filter(|slot| *slot != FREE)
    }

    /// All exchanges that hold one.
    pub(super) fn holders(&self) -> Vec<u32> {
        self.ids.iter().copied().filter(|slot| *slot != FREE).collect()
    }

    /// The next free identifier. Turns through all 256, so that a late answer finds its identifier resting.
    pub(super) fn free_id(&self) -> Option<u8> {
        (0..=255u8).map(|i| self.next_id.wrapping_add(i)).find(|id| self.ids[usize::from(*id)] == FREE)
    }

    pub(super) fn take(&mut self, id: u8, slot: u32) {
        self.ids[usize::from(id)] = slot;
        self.next_id = id.wrapping_add(1);
        self.used += 1;
    }

    pub(super) fn give_back(&mut self, id: u8) {
        self.ids[usize::from(id)] = FREE;
        self.used -= 1;
    }
}
