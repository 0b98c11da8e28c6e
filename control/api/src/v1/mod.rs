//! What each request does, version 1.

pub(crate) mod codes;
pub(crate) mod identities;
pub(crate) mod imports;
pub(crate) mod registrations;
pub(crate) mod secret;
pub(crate) mod status;
