//! H.248: view, framing, carriage and relaying.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_fuzz::h248::h248(octets));
