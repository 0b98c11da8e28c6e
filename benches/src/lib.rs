//! portunus-benches
