//! The RAS view, timed.

fn main() {}
