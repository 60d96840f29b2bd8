//! Native archives in stores of another kind.

use super::support::{MODEL, builder, dumped, entries, entry, fill, load, memory};
use mneme::checkpoint::{
    self, DumpOptions, ImportMode, InspectOptions, Layout, LoadOptions, TtlOverride,
};
use mneme::embedder::Precomputed;
use mneme::{
    Builder, EntryFilter, ManualClock, MemoryStore, PutRequest, SemanticCache, SqliteStore,
};
use std::io::Cursor;
use tempfile::TempDir;

mneme_tests::tests![
    a_snapshot_of_sqlite_goes_into_another_store,
    every_option_holds_for_a_converted_archive,
    a_conversion_adds_no_quota_to_the_archive,
    a_snapshot_that_does_not_fit_is_refused,
    a_portable_archive_goes_from_anywhere_to_anywhere,
    a_portable_archive_keeps_the_order_within_a_second,
];

fn sqlite() -> (TempDir, SemanticCache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = builder(SqliteStore::new(folder.path().join("a.db")))
        .open()
        .unwrap();
    (folder, cache)
}

/// A native archive of ten entries, three of them of a tenant that has a quota.
fn native() -> Vec<u8> {
    let (_folder, cache) = sqlite();
    fill(&cache, 7);
    for n in 0..3 {
        cache.put(entry(n).namespace("tenant")).unwrap();
    }
    cache.set_namespace_quota("tenant", Some(50)).unwrap();
    assert!(cache.get("question 1").unwrap().is_hit());
    let (report, archive) = cache.dump(Vec::new(), DumpOptions::new()).unwrap();
    assert_eq!((report.layout, report.entries), (Layout::Native, None));
    archive
}

fn a_snapshot_of_sqlite_goes_into_another_store() {
    let archive = native();
    let inspected =
        checkpoint::inspect(Cursor::new(archive.clone()), InspectOptions::new()).unwrap();
    assert_eq!(
        (inspected.entries, inspected.manifest.store.as_str()),
        (10, "sqlite")
    );
    let cache = memory();
    let report = load(&cache, &archive).unwrap();
    assert_eq!((report.entries, report.skipped), (10, 0));
    // What was given is reported, not what it became on the way.
    assert_eq!(report.manifest, inspected.manifest);
    let stats = cache.stats(None).unwrap();
    assert_eq!((stats.entries, stats.counters.hits_exact), (10, 1));
    assert_eq!(cache.namespace_quota("tenant").unwrap(), Some(50));
    let error = load(&cache, &archive).unwrap_err();
    assert_eq!(error.kind(), "checkpoint", "{error}");
}

fn every_option_holds_for_a_converted_archive() {
    let cache = memory();
    cache
        .put(PutRequest::new("mine", "stays").embedding(vec![0.0, 1.0]))
        .unwrap();
    let told = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let watch = std::sync::Arc::clone(&told);
    let options = LoadOptions::new()
        .mode(ImportMode::Merge)
        .namespaces(["tenant"])
        .namespace_prefix("eu-")
        .ttl(TtlOverride::Seconds(0))
        .quotas([("eu-tenant", 5)])
        .on_progress(move |_| {
            watch.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        });
    let report = cache.load(Cursor::new(native()), options).unwrap();
    assert_eq!((report.entries, report.skipped), (3, 7));
    assert_eq!(report.manifest.layout, Layout::Native);
    assert!(told.load(std::sync::atomic::Ordering::SeqCst) > 0);
    assert_eq!(cache.list_namespaces().unwrap(), ["default", "eu-tenant"]);
    assert_eq!(cache.namespace_quota("eu-tenant").unwrap(), Some(5));
    assert_eq!(cache.vacuum(None, false).unwrap(), 3);

    let unknown = LoadOptions::new()
        .mode(ImportMode::Merge)
        .namespaces(["nobody"]);
    let error = cache.load(Cursor::new(native()), unknown).unwrap_err();
    assert_eq!(error.kind(), "invalid_argument", "{error}");
    assert_eq!(entries(&cache), 1);
}

fn a_conversion_adds_no_quota_to_the_archive() {
    let cache = builder(MemoryStore::new())
        .namespace_quota("tenant", 100)
        .namespace_quota("changed", 100)
        .open()
        .unwrap();
    cache.set_namespace_quota("changed", Some(7)).unwrap();
    load(&cache, &native()).unwrap();
    assert_eq!(cache.namespace_quota("tenant").unwrap(), Some(50));
    assert_eq!(cache.namespace_quota("changed").unwrap(), Some(7));
}

fn a_snapshot_that_does_not_fit_is_refused() {
    let archive = native();
    let other = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Precomputed::new("another", 2))
        .open()
        .unwrap();
    assert_eq!(
        load(&other, &archive).unwrap_err().kind(),
        "embedder_mismatch"
    );
    let cache = memory();
    for cut in [archive.len() / 2, archive.len() - 1] {
        let error = load(&cache, &archive[..cut]).unwrap_err();
        assert_eq!(error.kind(), "checkpoint", "{cut}: {error}");
    }
    assert_eq!(entries(&cache), 0);
    assert_eq!(cache.stats(None).unwrap().embedder_fingerprint, MODEL);
}

fn a_portable_archive_goes_from_anywhere_to_anywhere() {
    let full = memory();
    fill(&full, 5);
    let (_folder, cache) = sqlite();
    assert_eq!(load(&cache, &dumped(&full)).unwrap().entries, 5);
    let options = DumpOptions::new().layout(Layout::Portable);
    let archive = cache.dump(Vec::new(), options).unwrap().1;
    let again = memory();
    assert_eq!(load(&again, &archive).unwrap().entries, 5);
    let native = DumpOptions::new().layout(Layout::Native);
    let error = again.dump(Vec::new(), native).err().unwrap();
    assert_eq!(error.kind(), "unsupported", "{error}");
}

/// The queries of a cache with a cap of four, after so many more were put.
fn left_after(cache: &SemanticCache, more: u32) -> Vec<String> {
    for n in 0..more {
        cache.put(entry(100 + n)).unwrap();
    }
    let listed = cache.list_entries(&EntryFilter::new(), 0, 100).unwrap();
    let mut queries: Vec<_> = listed.entries.into_iter().map(|one| one.query).collect();
    queries.sort();
    queries
}

fn a_portable_archive_keeps_the_order_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let capped = |builder: Builder| {
        let clock = ManualClock::at(1000);
        builder.max_entries(4).clock(clock).open().unwrap()
    };
    let file = |name: &str| builder(SqliteStore::new(folder.path().join(name)));
    let source = capped(file("source.db"));
    fill(&source, 4);
    for n in [1, 0, 2] {
        let hit = source.get(format!("question {n}").as_str()).unwrap();
        assert!(hit.is_hit());
    }
    let options = DumpOptions::new().layout(Layout::Portable);
    let (_, archive) = source.dump(Vec::new(), options).unwrap();
    let copy = capped(file("copy.db"));
    load(&copy, &archive).unwrap();
    copy.close().unwrap();
    // The store keeps it, whoever opens it next.
    let copies = [capped(file("copy.db")), capped(builder(MemoryStore::new()))];
    load(&copies[1], &archive).unwrap();
    let mut gone: Vec<String> = Vec::new();
    for n in [3, 1, 0, 2] {
        gone.push(format!("question {n}"));
        for cache in [&source, &copies[0], &copies[1]] {
            let left = left_after(cache, gone.len() as u32);
            assert!(
                gone.iter().all(|query| !left.contains(query)),
                "{gone:?}: {left:?}"
            );
            assert_eq!(left.len(), 4);
            let old = left
                .iter()
                .filter(|query| query.len() == "question n".len());
            assert_eq!(old.count(), 4 - gone.len(), "{gone:?}: {left:?}");
        }
    }
}
