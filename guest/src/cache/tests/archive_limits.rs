//! What a cache accepts can be dumped and loaded, and what an archive may hold is what a cache
//! accepts.

use super::checkpoints::{dump_with, filled, load_with};
use super::new_cache;
use crate::checkpoint::{
    default_dump_options, default_inspect_options, default_load_options, page_names,
};
use crate::index::block::block_rows;
use crate::range;
use crate::store::Store;
use crate::testing::{
    TestArchive, TestHost, TestStore, ask, at_angle, cache_on, entry, plain, response,
};
use crate::types::*;
use proptest::prelude::*;

/// A put in which every field may be at its end.
fn puts() -> impl Strategy<Value = (PutRequest, u64)> {
    let numbers = prop_oneof![Just(0), Just(1), Just(range::MAX), 0..=range::MAX];
    let ttl = prop_oneof![
        Just(TtlChoice::Unlimited),
        numbers.clone().prop_map(TtlChoice::Seconds)
    ];
    let text = |most: usize| {
        prop_oneof![
            any::<String>(),
            Just(String::new()),
            Just("\u{1}".repeat(most)),
            Just("\"".repeat(most)),
            Just("\u{10ffff}".repeat(most / 4)),
        ]
    };
    let namespace = prop_oneof![
        "[^\\x00]{1,30}",
        Just("n".repeat(1024)),
        Just("\u{1}".repeat(1024))
    ];
    let metadata = prop_oneof![
        Just("{}".to_owned()),
        Just(format!("{{\"a\":\"{}\"}}", "\\\"".repeat(32_000))),
        Just(format!("{{\"a\":[{}1]}}", "1,".repeat(32_000))),
        Just(format!("{{\"a\":{}1{}}}", "[".repeat(120), "]".repeat(120))),
    ];
    let clock = prop_oneof![Just(0), Just(1000), Just(range::MAX)];
    (
        text(32 << 10),
        text(200 << 10),
        namespace,
        metadata,
        ttl,
        clock,
    )
        .prop_map(|(query, response, namespace, metadata, ttl, clock)| {
            let request = PutRequest {
                query,
                response,
                namespace,
                metadata,
                ttl,
                ..self::response("", 30.0)
            };
            (request, clock)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_is_accepted_is_dumped_inspected_and_loaded(
        puts in prop::collection::vec(puts(), 1..4),
        quota in prop_oneof![Just(0), Just(range::MAX), 0..=range::MAX],
        count in prop_oneof![Just(0), Just(range::MAX)],
        native: bool,
    ) {
        let (mut source, host, store) = new_cache(|_| {});
        store.snapshots.set(true);
        for (request, clock) in puts {
            host.millis.set(clock.saturating_mul(1000));
            // What is refused is not there.
            let _ = source.put(request);
        }
        source.set_namespace_quota("quota", Some(quota)).unwrap();
        for mut entry in store.entries() {
            entry.access_count = count;
            entry.last_accessed_at = count;
            store.plant(entry);
        }
        let layout = if native { Layout::Native } else { Layout::Portable };
        let archive = dump_with(&mut source, |o| o.layout = Some(layout));

        let other = TestStore::default();
        other.snapshots.set(true);
        let mut closed = crate::cache::Cache::new(other, TestHost::at(0));
        let inspected = TestArchive::of(&archive.bytes.borrow());
        let summary = closed.inspect(&default_inspect_options(), &inspected).unwrap();
        prop_assert_eq!(summary.entries, store.entries().len() as u64);

        for mode in [ImportMode::Empty, ImportMode::Replace, ImportMode::Merge] {
            let (mut target, _, copy) = new_cache(|_| {});
            copy.snapshots.set(true);
            let report = load_with(&mut target, &archive, |o| o.mode = mode).unwrap();
            prop_assert_eq!(report.entries, summary.entries);
            let without_ids = |store: &TestStore| {
                let (mut entries, quotas, meta, _) = store.content();
                for entry in &mut entries {
                    entry.id = 0;
                }
                (entries, quotas, meta)
            };
            prop_assert_eq!(without_ids(&copy), without_ids(&store));
        }
    }
}

/// The limits of a cache are those of its archives, also where they are not the defaults.
#[test]
fn an_archive_obeys_the_limits_of_the_cache_that_loads_it() {
    let open = |response: u32| {
        let (cache, _, store) = new_cache(|o| o.max_response_bytes = response);
        store.snapshots.set(true);
        (cache, store)
    };
    let (mut large, _) = open(8 << 20);
    let mut request = response("long", 10.0);
    request.response = "r".repeat(5 << 20);
    large.put(request).unwrap();
    for layout in [Layout::Native, Layout::Portable] {
        let archive = dump_with(&mut large, |o| o.layout = Some(layout));
        let (mut small, store) = open(4 << 20);
        match load_with(&mut small, &archive, |_| {}) {
            Err(Error::Checkpoint(message)) => {
                for part in [
                    "5242880",
                    "4194304",
                    "max-response-bytes",
                    "nothing was loaded",
                ] {
                    assert!(message.contains(part), "{message}");
                }
            }
            other => panic!("{other:?}"),
        }
        assert!(store.entries().is_empty() && !store.has_leftovers());
        load_with(&mut open(5 << 20).0, &archive, |_| {}).unwrap();

        for (limit, fits) in [(5 << 20, true), (4 << 20, false)] {
            let other = TestStore::default();
            other.snapshots.set(true);
            let mut closed = crate::cache::Cache::new(other, TestHost::at(0));
            let mut options = default_inspect_options();
            options.max_response_bytes = limit;
            let archive = TestArchive::of(&archive.bytes.borrow());
            assert_eq!(closed.inspect(&options, &archive).is_ok(), fits);
        }
    }
    // A cache with smaller limits than its data makes no archive that it could not load.
    let store = open(8 << 20).1;
    store.plant(Entry {
        id: 5,
        response: "r".repeat(5 << 20),
        ..entry("n", "long", &at_angle(1.0), 1000)
    });
    let (mut small, _) = cache_on(&store, |_| {});
    let mut portable = default_dump_options();
    portable.layout = Some(Layout::Portable);
    match small.dump(&portable, &TestArchive::default()) {
        Err(Error::Corrupt(message)) => {
            assert!(message.contains("entry 5") && message.contains("max-response-bytes"));
        }
        other => panic!("{other:?}"),
    }
}

/// JSON writes a control character as six bytes.
#[test]
fn a_page_with_one_entry_of_the_largest_size_is_loaded() {
    let limit = 12 << 20;
    let (mut source, _, _) = new_cache(|o| o.max_response_bytes = limit);
    let mut random = 1_u32;
    let controls = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(14 + (random >> 28) as u8)
    });
    let mut request = response("large", 10.0);
    request.response = controls.take(limit as usize).collect();
    source.put(request.clone()).unwrap();
    let archive = dump_with(&mut source, |o| o.layout = Some(Layout::Portable));
    let (mut target, _, store) = new_cache(|o| o.max_response_bytes = limit);
    load_with(&mut target, &archive, |_| {}).unwrap();
    assert!(store.entries()[0].response == request.response);
}

/// A line is refused before it is kept.
#[test]
fn a_line_without_end_is_refused() {
    let (mut source, _) = filled(false);
    let archive = dump_with(&mut source, |_| {});
    let mut tar = plain(&archive);
    let name = page_names(1).1;
    let header = tar
        .windows(name.len())
        .position(|at| at == name.as_bytes())
        .unwrap();
    // The header of a member of 40 MiB without a line end, with a new checksum.
    let mut block = tar::Header::new_ustar();
    block.set_path(&name).unwrap();
    block.set_size(40 << 20);
    block.set_mode(0o600);
    block.set_cksum();
    tar.truncate(header);
    tar.extend_from_slice(block.as_bytes());
    tar.extend(std::iter::repeat_n(b' ', 40 << 20));
    tar.extend([0; 1024]);
    let archive = TestArchive::of(&crate::testing::compressed(&tar));
    let (mut target, _, _) = new_cache(|_| {});
    match target.load(default_load_options(), &archive) {
        Err(Error::Checkpoint(message)) => {
            assert!(
                message.contains(&name) && message.contains("too many for an entry"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Wherever pages are read, one that does not ascend is an error and the end.
#[test]
fn pages_that_start_over_end_every_walk() {
    let expect_corrupt = |what: &str, outcome: Result<(), Error>| match outcome {
        Err(Error::Corrupt(message)) => {
            assert!(message.contains("ascend"), "{what}: {message}");
        }
        Err(Error::Checkpoint(message)) if what.starts_with("restore") => {
            assert!(message.contains("ascend"), "{what}: {message}");
        }
        other => panic!("{what}: {other:?}"),
    };
    let (mut cache, _, store) = new_cache(|_| {});
    store.snapshots.set(true);
    for n in 0..200 {
        cache
            .put(response(&format!("q{n}"), f64::from(n) / 3.0))
            .unwrap();
    }
    let mut portable = default_dump_options();
    portable.layout = Some(Layout::Portable);
    store.starts_over.set(true);
    expect_corrupt(
        "dump",
        cache.dump(&portable, &TestArchive::default()).map(drop),
    );
    assert!(!store.has_leftovers());

    store.starts_over.set(false);
    let archive = dump_with(&mut cache, |o| o.layout = Some(Layout::Native));
    for mode in [ImportMode::Replace, ImportMode::Merge] {
        let (mut target, _, copy) = new_cache(|_| {});
        copy.snapshots.set(true);
        copy.starts_over.set(true);
        let loaded = load_with(&mut target, &archive, |o| o.mode = mode);
        expect_corrupt("restore", loaded.map(drop));
        assert!(copy.entries().is_empty() && !copy.has_leftovers());
    }

    // Building an index, of more rows than one page has.
    let store = TestStore::default();
    let rows = block_rows(2) as u64 + 1;
    for id in 1..=rows {
        store.plant(Entry {
            id,
            ..entry("n", &format!("q{id}"), &at_angle(id as f64 / 50.0), 1000)
        });
    }
    store.starts_over.set(true);
    let (mut reader, _) = cache_on(&store, |o| o.persist_index = IndexKeeping::None);
    expect_corrupt("index", reader.get(ask("unknown", 3.0)).map(drop));
    store.starts_over.set(false);
    reader.get(ask("unknown", 3.0)).unwrap();
}

/// A name that no cache has is not dumped, whatever the layout.
#[test]
fn a_namespace_that_could_not_be_loaded_is_not_dumped() {
    for namespace in ["", "a\0b", &"n".repeat(1025)] {
        for layout in [Layout::Native, Layout::Portable] {
            let (mut source, store) = filled(true);
            store.plant(Entry {
                id: 70,
                ..entry(namespace, "q", &at_angle(3.0), 5)
            });
            let mut options = default_dump_options();
            options.layout = Some(layout);
            match source.dump(&options, &TestArchive::default()) {
                Err(Error::Corrupt(message)) => assert!(message.contains("namespace")),
                other => panic!("{other:?}"),
            }
            assert!(!store.has_leftovers());
        }
    }
}

/// A store that counts more than it shows is damaged.
#[test]
fn rows_that_are_missing_from_pages_are_missed() {
    let (mut cache, _, store) = new_cache(|_| {});
    for n in 0..3 {
        cache.put(response(&format!("q{n}"), f64::from(n))).unwrap();
    }
    let lost = entry("n", "lost", &at_angle(1.0), 1000);
    store.plant(lost);
    assert_eq!(store.count(None).unwrap(), 4);
    match cache.dump(&default_dump_options(), &TestArchive::default()) {
        Err(Error::Corrupt(message)) => {
            assert!(message.contains("4 entries, and 3"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

/// Quotas named at opening are kept in the step that loads, or nothing is loaded.
#[test]
fn a_named_quota_outlives_a_load_that_fails_anywhere() {
    for snapshots in [false, true] {
        let (mut source, _) = filled(snapshots);
        let archive = dump_with(&mut source, |_| {});
        for n in 1.. {
            let (mut target, _, copy) =
                new_cache(|o| o.namespace_quotas = vec![("mine".into(), 9)]);
            copy.snapshots.set(snapshots);
            copy.fail_at(n);
            let loaded = load_with(&mut target, &archive, |o| o.mode = ImportMode::Replace);
            let failed = copy.has_failed();
            copy.fail_never();
            let (entries, quotas, _, _) = copy.content();
            assert_eq!(quotas.get("mine"), Some(&9), "call {n}: {loaded:?}");
            assert_eq!(entries.is_empty(), loaded.is_err(), "call {n}: {loaded:?}");
            if !failed {
                break;
            }
        }
    }
}
