//! portunus-softswitch
