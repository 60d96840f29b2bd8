//! Any two texts as a query and an entry, with a zero byte between them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mneme_fuzz::judge(bytes));
