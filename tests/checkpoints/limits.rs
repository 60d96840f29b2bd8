//! Limits on the component, and what they leave.

use super::support::{assert_serves, builder, dumped, entries, entry, fill, load, memory};
use mneme::checkpoint::{DumpOptions, ImportMode, LoadOptions};
use mneme::{Error, Limit, MemoryStore, SemanticCache, VectorDtype};
use std::io::{Cursor, Read};
use std::time::{Duration, Instant};

mneme_tests::tests![
    a_slow_reader_may_take_longer_than_a_call,
    a_checkpoint_that_is_stopped_leaves_the_cache_as_it_was,
    a_component_that_takes_over_sets_no_quota_again,
    a_component_that_takes_over_knows_the_quotas_named_at_opening,
    a_load_keeps_the_archives_quotas,
    what_a_load_has_set_outlives_a_component_that_is_stopped,
];

/// Takes its time for every piece.
struct Slow<R> {
    reader: R,
    piece: usize,
    pause: Duration,
}

impl<R: Read> Read for Slow<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(self.pause);
        let length = bytes.len().min(self.piece);
        self.reader.read(&mut bytes[..length])
    }
}

fn a_slow_reader_may_take_longer_than_a_call() {
    let full = memory();
    fill(&full, 40);
    let archive = dumped(&full);
    let timeout = Duration::from_millis(100);
    for (pieces, pause) in [(60, timeout / 4), (3, timeout * 4)] {
        let cache = builder(MemoryStore::new())
            .call_timeout(timeout)
            .open()
            .unwrap();
        let reader = Slow {
            piece: archive.len() / pieces,
            reader: Cursor::new(archive.clone()),
            pause,
        };
        let started = Instant::now();
        cache.load(reader, LoadOptions::new()).unwrap();
        assert!(started.elapsed() > timeout * 5, "it was not slow");
        assert_eq!(entries(&cache), 40);
    }
}

fn a_checkpoint_that_is_stopped_leaves_the_cache_as_it_was() {
    let limited = || {
        builder(MemoryStore::new())
            .host_call_bytes(12 << 10)
            .open()
            .unwrap()
    };
    let stopped = |error: Error| {
        assert!(
            matches!(error, Error::Limit(Limit::HostCall { .. })),
            "{error:?}"
        );
    };
    // Four of these in one call are too much.
    let full = memory();
    fill(&full, 20);
    let archive = dumped(&full);
    let cache = limited();
    cache.put(entry(0)).unwrap();
    for mode in [ImportMode::Merge, ImportMode::Replace] {
        let options = LoadOptions::new().mode(mode);
        stopped(
            cache
                .load(Cursor::new(archive.clone()), options)
                .unwrap_err(),
        );
        assert_eq!(entries(&cache), 1);
        assert_serves(&cache);
    }
    for n in 1..20 {
        cache.put(entry(n)).unwrap();
    }
    stopped(cache.dump(Vec::new(), DumpOptions::new()).err().unwrap());
    assert_serves(&cache);
    assert_eq!(entries(&cache), 20);
}

/// Makes the next call start a new component.
fn stop(cache: &SemanticCache) {
    let too_much = mneme::PutRequest::new("q", "x".repeat(300 << 10)).embedding(vec![1.0, 0.0]);
    let error = cache.put(too_much).unwrap_err();
    assert!(matches!(error, Error::Limit(_)), "{error:?}");
}

fn a_component_that_takes_over_sets_no_quota_again() {
    let cache = builder(MemoryStore::new())
        .host_call_bytes(256 << 10)
        .namespace_quota("changed", 100)
        .namespace_quota("removed", 100)
        .namespace_quota("kept", 100)
        .open()
        .unwrap();
    cache.set_namespace_quota("changed", Some(7)).unwrap();
    cache.set_namespace_quota("removed", None).unwrap();
    stop(&cache);
    for (namespace, quota) in [("changed", Some(7)), ("removed", None), ("kept", Some(100))] {
        assert_eq!(
            cache.namespace_quota(namespace).unwrap(),
            quota,
            "{namespace}"
        );
    }
}

fn a_component_that_takes_over_knows_the_quotas_named_at_opening() {
    let full = memory();
    fill(&full, 1);
    let archive = dumped(&full);
    let cache = builder(MemoryStore::new())
        .host_call_bytes(256 << 10)
        .namespace_quota("changed", 100)
        .namespace_quota("kept", 100)
        .open()
        .unwrap();
    cache.set_namespace_quota("changed", Some(7)).unwrap();
    cache.set_namespace_quota("unnamed", Some(9)).unwrap();
    stop(&cache);
    let options = LoadOptions::new().mode(ImportMode::Replace);
    cache.load(Cursor::new(archive), options).unwrap();
    for (namespace, quota) in [("changed", Some(7)), ("kept", Some(100)), ("unnamed", None)] {
        let now = cache.namespace_quota(namespace).unwrap();
        assert_eq!(now, quota, "{namespace}");
    }
}

fn a_load_keeps_the_archives_quotas() {
    let full = memory();
    fill(&full, 1);
    full.set_namespace_quota("archived", Some(5)).unwrap();
    let archive = dumped(&full);
    for mode in [ImportMode::Empty, ImportMode::Merge, ImportMode::Replace] {
        let cache = builder(MemoryStore::new())
            .namespace_quota("archived", 100)
            .namespace_quota("changed", 100)
            .namespace_quota("removed", 100)
            .open()
            .unwrap();
        cache.set_namespace_quota("changed", Some(7)).unwrap();
        cache.set_namespace_quota("removed", None).unwrap();
        let options = LoadOptions::new().mode(mode);
        cache.load(Cursor::new(archive.clone()), options).unwrap();
        for (namespace, quota) in [
            ("archived", Some(5)),
            ("changed", Some(7)),
            ("removed", None),
        ] {
            let now = cache.namespace_quota(namespace).unwrap();
            assert_eq!(now, quota, "{mode:?} {namespace}");
        }
    }
}

fn what_a_load_has_set_outlives_a_component_that_is_stopped() {
    let full = memory();
    fill(&full, 10);
    let archive = dumped(&full);
    let cache = builder(MemoryStore::new())
        .host_call_bytes(256 << 10)
        .namespace_quota("default", 100)
        .open()
        .unwrap();
    let options = LoadOptions::new()
        .mode(ImportMode::Replace)
        .max_entries(4)
        .vector_dtype(VectorDtype::Int8);
    let report = cache.load(Cursor::new(archive), options).unwrap();
    assert_eq!((report.entries, report.evicted), (10, 6));
    let settings = || {
        let stats = cache.stats(None).unwrap();
        let quota = cache.namespace_quota("default").unwrap();
        (stats.max_entries, stats.vector_dtype, quota)
    };
    let expected = (Some(4), VectorDtype::Int8, Some(100));
    assert_eq!(settings(), expected);
    stop(&cache);
    assert_eq!(settings(), expected);
    assert_eq!(entries(&cache), 4);
    assert_eq!(load(&cache, b"").unwrap_err().kind(), "checkpoint");
}
