//! See `spacedns_fuzz::decode::run`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| spacedns_fuzz::decode::run(input));
