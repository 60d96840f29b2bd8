//! Any bytes as the tar file inside an archive: members, manifest, rows, checksums.

#![no_main]

use mneme_guest::testing::compressed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mneme_fuzz::load(&compressed(bytes)));
