//! See `spacedns_fuzz::changes::run`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| spacedns_fuzz::changes::run(input));
