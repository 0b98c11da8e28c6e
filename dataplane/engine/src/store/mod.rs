//! What the engine remembers, each in a fixed room: sessions and their text, registrations under way, answers for
//! retransmissions, timers. Memory is reserved at once and touched as it is used; nothing here allocates later.

pub(crate) mod answers;
pub(crate) mod asked;
pub(crate) mod index;
pub(crate) mod paces;
pub(crate) mod pendings;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod staged;
pub(crate) mod text;
pub(crate) mod wheel;
