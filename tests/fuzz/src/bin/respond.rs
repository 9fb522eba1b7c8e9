//! See `spacedns_fuzz::respond::run`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| spacedns_fuzz::respond::run(input));
