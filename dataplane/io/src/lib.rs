//! portunus-io
