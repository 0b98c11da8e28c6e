//! H.323 RAS: view, carriage and relaying.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_fuzz::h323::h323(octets));
