//! portunus-config
