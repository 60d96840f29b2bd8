//! Any bytes as an index that is kept in a store.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mneme_fuzz::read_index(bytes));
