//! SIP: view, framing, carriage and relaying.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_fuzz::sip::sip(octets));
