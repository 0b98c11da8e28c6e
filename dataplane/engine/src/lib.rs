//! portunus-engine
