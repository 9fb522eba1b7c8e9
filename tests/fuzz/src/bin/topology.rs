//! See `spacedns_fuzz::files::run_topology`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| spacedns_fuzz::files::run_topology(input));
