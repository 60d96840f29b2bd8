//! Caches that would shrink to hardly anything: their archives are read by the default limits.

use super::support::{builder, dumped, entries, load};
use mneme::checkpoint::{self, Compression, DumpOptions, InspectOptions, Layout, LoadOptions};
use mneme::{MemoryStore, PutRequest, SqliteStore};
use std::io::{Seek, SeekFrom};

mneme_tests::tests![
    what_shrinks_to_nothing_is_dumped_inspected_and_loaded,
    what_shrinks_to_nothing_on_other_stores_too,
];

/// More than any archive may become, and what would shrink to a thousandth.
const ENTRIES: u64 = 30;
const BYTES: usize = 3_000_000;

fn flat(n: u64) -> PutRequest {
    PutRequest::new(format!("question {n}"), "x".repeat(BYTES)).embedding(vec![1.0, 0.0])
}

fn what_shrinks_to_nothing_is_dumped_inspected_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let cache = builder(SqliteStore::new(folder.path().join("flat.db")))
        .open()
        .unwrap();
    for n in 0..ENTRIES {
        cache.put(flat(n)).unwrap();
    }
    for layout in [Layout::Native, Layout::Portable] {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let options = DumpOptions::new().layout(layout).compression(compression);
            let file = tempfile::tempfile().unwrap();
            let (report, mut file) = cache.dump_verified(file, options).unwrap();
            let times = report.bytes / report.compressed_bytes;
            assert!(
                (60..=100).contains(&times),
                "{layout:?} {compression:?}: {times} times"
            );

            file.seek(SeekFrom::Start(0)).unwrap();
            let again = file.try_clone().unwrap();
            let summary = checkpoint::inspect(again, InspectOptions::new()).unwrap();
            assert_eq!(summary.entries, ENTRIES);

            file.seek(SeekFrom::Start(0)).unwrap();
            let name = format!("{layout:?}-{compression:?}.db");
            let target = builder(SqliteStore::new(folder.path().join(name)))
                .open()
                .unwrap();
            let loaded = target.load(file, LoadOptions::new()).unwrap();
            assert_eq!((loaded.entries, entries(&target)), (ENTRIES, ENTRIES));
            let hit = target.get("question 29").unwrap().hit().unwrap();
            assert!(hit.response.len() == BYTES && hit.response.bytes().all(|byte| byte == b'x'));
        }
    }
}

fn what_shrinks_to_nothing_on_other_stores_too() {
    let cache = builder(MemoryStore::new()).open().unwrap();
    for n in 0..ENTRIES {
        cache.put(flat(n)).unwrap();
    }
    let archive = dumped(&cache);
    let target = builder(MemoryStore::new()).open().unwrap();
    assert_eq!(load(&target, &archive).unwrap().entries, ENTRIES);
}
