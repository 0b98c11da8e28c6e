//! portunus-channel
