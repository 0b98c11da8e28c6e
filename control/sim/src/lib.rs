//! portunus-sim
