//! portunus-aaa
