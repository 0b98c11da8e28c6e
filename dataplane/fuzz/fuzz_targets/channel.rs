//! Protected datagrams of every mechanism.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_fuzz::channel::channel(octets));
