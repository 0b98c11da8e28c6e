//! The atomics of this crate, in one place, so that the model checker's can stand in for them: the loom test compiles
//! [`crate::wake`] against a module of this name that re-exports loom's.

pub(crate) use core::sync::atomic::{AtomicBool, Ordering, fence};
