//! See `spacedns_fuzz::framing::run`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| spacedns_fuzz::framing::run(input));
