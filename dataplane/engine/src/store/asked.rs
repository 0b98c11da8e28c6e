//! What terminals have asked of the core inside their sessions on a lane, where only the number of the transaction
//! shows which of its answers is the one that ends or renews a registration. Few at a time: one for each session at most.

/// Requests that may wait at once.
const ASKED: usize = 256;

/// What becomes of the session when the core grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Its registration goes on, with the binding that was staged.
    Refresh,
    /// It ends.
    Deregister,
}

struct Request {
    kid: u64,
    transaction: u32,
    wish: Wish,
}

/// The requests that wait, oldest first, all of their memory reserved at the start.
pub(crate) struct Asked {
    waiting: Vec<Request>,
}

impl Asked {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { waiting: Vec::with_capacity(ASKED) }
    }

    /// The session asked for this in this transaction; what it had asked for before is forgotten. False when another
    /// session's had to make room: the core has been silent about that one for the longest time.
    pub(crate) fn put(&mut self, kid: u64, transaction: u32, wish: Wish) -> bool {
        self.forget(kid);
        let full = self.waiting.len() >= ASKED;
        if full {
            self.waiting.remove(0);
        }
        self.waiting.push(Request { kid, transaction, wish });
        !full
    }

    /// What this transaction of the session's asks for.
    pub(crate) fn find(&self, kid: u64, transaction: u32) -> Option<Wish> {
        let own = |request: &&Request| request.kid == kid && request.transaction == transaction;
        self.waiting.iter().find(own).map(|request| request.wish)
    }

    /// The session no longer asks for anything.
    pub(crate) fn forget(&mut self, kid: u64) {
        self.waiting.retain(|request| request.kid != kid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_asked_for_and_the_oldest_gives_way() {
        let mut asked = Asked::new();
        assert!(asked.put(1, 7, Wish::Refresh) && asked.put(1, 8, Wish::Deregister));
        assert_eq!([asked.find(1, 7), asked.find(1, 8)], [None, Some(Wish::Deregister)]);
        assert_eq!(asked.find(2, 8), None, "another session's transaction of the same number");
        asked.forget(1);
        assert_eq!(asked.find(1, 8), None);
        assert!((0..ASKED as u64).all(|kid| asked.put(kid, 1, Wish::Refresh)));
        assert!(!asked.put(999, 1, Wish::Refresh));
        assert_eq!((asked.find(0, 1), asked.find(1, 1)), (None, Some(Wish::Refresh)));
        assert_eq!((asked.waiting.len(), asked.waiting.capacity()), (ASKED, ASKED));
    }
}
