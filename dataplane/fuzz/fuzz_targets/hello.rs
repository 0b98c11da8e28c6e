//! The beginning of a connection of `tls`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_fuzz::hello::hello(octets));
