//! The configuration: whatever the text, reading ends and every mistake has a place.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    portunus_config::fuzz(octets);
});
