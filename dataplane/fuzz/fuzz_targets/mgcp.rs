//! MGCP: view, carriage and relaying.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_fuzz::mgcp::mgcp(octets));
