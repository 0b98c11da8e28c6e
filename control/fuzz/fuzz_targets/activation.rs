//! Activation codes: what people type, what arrives at the AuC, and who gets a key.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| portunus_auc::activation::fuzz::activation(octets));
