//! Diameter: messages as both ends of a connection hear them, and what they answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_aaa::fuzz::diameter(octets));
