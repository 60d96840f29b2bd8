//! An erasure that stops half way, and the cap of all bytes, through the component.

use mneme::{EntryFilter, Error, GetRequest, MemoryStore, PutRequest, SemanticCache, Store};
use mneme_tests::embedders::{Words, axis};
use mneme_tests::stores::{Hooked, fault};

mneme_tests::tests![
    an_erasure_that_fails_half_way_tells_what_it_has_erased,
    an_erasure_that_fails_at_once_has_erased_nothing,
    all_entries_together_have_no_more_bytes_than_are_allowed,
];

/// More than one step of an erasure finds.
const ENTRIES: u64 = 2_500;

fn filled() -> (Hooked, SemanticCache) {
    let store = Hooked::new(|_| Ok(()));
    let cache = mneme_tests::builder().store(store.clone());
    let cache = cache.embedder(Words).open().unwrap();
    let puts = (0..ENTRIES).map(|n| {
        let put = PutRequest::new(format!("question {n}"), "r").embedding(axis(n as usize));
        put.tag("t")
    });
    cache.put_many(puts.collect()).unwrap();
    (store, cache)
}

/// The call number `at` of this operation fails, and all after it.
fn fails_from(store: &Hooked, failing: &'static str, at: usize) {
    let mut calls = 0;
    store.set_hook(move |operation| {
        calls += usize::from(operation == failing);
        match calls >= at && operation == failing {
            true => Err(fault(operation)),
            false => Ok(()),
        }
    });
}

fn an_erasure_that_fails_half_way_tells_what_it_has_erased() {
    let tagged = EntryFilter::new().tag("t");
    for (failing, at) in [
        ("delete_unchanged", 2),
        ("delete_unchanged", 4),
        ("select", 3),
    ] {
        let (store, cache) = filled();
        fails_from(&store, failing, at);
        let error = cache.erase(&tagged, false).unwrap_err();
        let says = error.to_string();
        assert!(says.contains("erase again for the rest"), "{says}");
        assert!(
            says.contains(&format!("injected fault in {failing}")),
            "{says}"
        );
        assert_eq!((error.kind(), error.is_retryable()), ("backend", true));
        let Error::Unfinished { receipt, source } = error else {
            panic!("{error:?}");
        };
        assert!(matches!(*source, Error::Backend { .. }), "{source:?}");
        let erased = receipt.ids.len() as u64;
        assert!(says.contains(&format!("after {erased} entries")), "{says}");
        assert!(receipt.version_after > receipt.version_before);
        store.set_hook(|_| Ok(()));
        let mut left = store.inner();
        assert_eq!(
            left.count(None).unwrap(),
            ENTRIES - erased,
            "{failing} {at}"
        );
        assert_eq!(left.get_by_ids(&receipt.ids, false).unwrap(), []);
        assert_eq!(left.read_version_counter().unwrap(), receipt.version_after);
        drop(left);
        assert!((1..ENTRIES).contains(&erased), "{failing} {at}: {erased}");

        let rest = cache.erase(&tagged, false).unwrap();
        assert_eq!(rest.ids.len() as u64, ENTRIES - erased);
        assert_eq!(rest.version_before, receipt.version_after);
        assert!(receipt.ids.iter().all(|id| !rest.ids.contains(id)));
        assert!(!cache.get("question 0").unwrap().is_hit());
    }
}

fn an_erasure_that_fails_at_once_has_erased_nothing() {
    let tagged = EntryFilter::new().tag("t");
    for (failing, dry_run) in [
        ("select", false),
        ("delete_unchanged", false),
        ("read_version_counter", false),
        // Whatever a dry run has found by then, it has erased nothing.
        ("select", true),
    ] {
        let (store, cache) = filled();
        fails_from(&store, failing, if dry_run { 2 } else { 1 });
        let error = cache.erase(&tagged, dry_run).unwrap_err();
        assert!(
            matches!(error, Error::Backend { .. }),
            "{failing}: {error:?}"
        );
        store.set_hook(|_| Ok(()));
        assert_eq!(cache.stats(None).unwrap().entries, ENTRIES, "{failing}");
    }
}

fn all_entries_together_have_no_more_bytes_than_are_allowed() {
    const MOST: u64 = 100_000;
    let open = |most| {
        let builder = mneme_tests::builder().store(MemoryStore::new());
        builder.embedder(Words).max_total_bytes(most).open()
    };
    assert!(matches!(open(0), Err(Error::InvalidArgument(_))));
    let cache = open(MOST).unwrap();
    let response = "r".repeat(1_000);
    for n in 0..500 {
        // The first one is used all the time.
        let put = PutRequest::new(format!("question {n}"), &*response);
        cache.put(put.embedding(axis(n))).unwrap();
        let first = GetRequest::new("question 0").exact_only();
        assert!(cache.get(first).unwrap().is_hit(), "{n}");
        let stats = cache.stats(None).unwrap();
        let bytes = stats.bytes.unwrap();
        assert!(bytes <= MOST, "{bytes} after {n}");
        assert_eq!(stats.max_bytes, Some(MOST));
    }
    let stats = cache.stats(None).unwrap();
    assert!(stats.counters.evictions > 400, "{:?}", stats.counters);
    // Ninety or so have room, with a tenth to spare after an eviction.
    assert!((70..100).contains(&stats.entries), "{}", stats.entries);
    assert!(cache.get("question 499").unwrap().is_hit());
    assert!(!cache.get("question 1").unwrap().is_hit());
}
