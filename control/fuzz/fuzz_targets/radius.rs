//! RADIUS: packets as both ends read them, and what the server answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_aaa::fuzz::radius(octets));
