//! portunus-tidy
