//! portunus-node
