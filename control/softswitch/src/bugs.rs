//! Bugs, planted on purpose: the simulator must find each of them. Compiled only with the feature `seeded-bugs`, which
//! no production build sets, and inactive until a test switches one on.

use core::cell::Cell;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Verification words are compared by their first octet only.
    PrefixCompare,
}

thread_local! {
    static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Switches one bug on for this thread, or all off.
pub fn set(bug: Option<Bug>) {
    ACTIVE.set(bug);
}

/// True while this bug is switched on.
pub fn active(bug: Bug) -> bool {
    ACTIVE.get() == Some(bug)
}
