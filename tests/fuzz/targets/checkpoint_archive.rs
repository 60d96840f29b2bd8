//! Any bytes as an archive: compression, and with luck what is inside.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mneme_fuzz::load(bytes));
