//! portunus-sip
