//! The whole engine, under an attacker's script.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_fuzz::engine::engine(octets));
