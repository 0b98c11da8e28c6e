//! portunus-terminal
