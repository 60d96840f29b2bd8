//! Dumping one cache and loading another.

use super::{TestCache, new_cache};
use crate::checkpoint::{default_dump_options, default_inspect_options, default_load_options};
use crate::error::Result;
use crate::store::Store;
use crate::testing::{TestArchive, TestStore, ask, at_angle, entry, response};
use crate::types::*;

/// A cache with entries of two namespaces, quotas, counters and a meta value.
pub(super) fn filled(snapshots: bool) -> (TestCache, TestStore) {
    let (mut cache, host, store) = new_cache(|_| {});
    store.snapshots.set(snapshots);
    for n in 0..7 {
        let mut request = response(&format!("Question {n}"), f64::from(n) * 20.0);
        request.namespace = if n % 3 == 0 { "a" } else { "b:c" }.into();
        request.metadata = format!("{{ \"n\": {n}.0 }}");
        if n == 2 {
            request.ttl = TtlChoice::Seconds(500);
        }
        cache.put(request).unwrap();
        host.set(1000 + n as u64);
    }
    cache.delete("question 3", "a", "").unwrap();
    cache.set_namespace_quota("a", Some(50)).unwrap();
    cache.set_namespace_quota("later", Some(3)).unwrap();
    store.replace_meta("mine", None, Some("x\0")).unwrap();
    let mut question = ask("question 1", 0.0);
    question.namespace = "b:c".into();
    cache.get(question).unwrap();
    cache.flush().unwrap();
    (cache, store)
}

pub(super) fn dump_with(
    cache: &mut TestCache,
    change: impl FnOnce(&mut DumpOptions),
) -> TestArchive {
    let mut options = default_dump_options();
    change(&mut options);
    let archive = TestArchive::default();
    cache.dump(&options, &archive).unwrap();
    archive
}

pub(super) fn load_with(
    cache: &mut TestCache,
    archive: &TestArchive,
    change: impl FnOnce(&mut LoadOptions),
) -> Result<LoadReport> {
    let mut options = default_load_options();
    change(&mut options);
    cache.load(options, &TestArchive::of(&archive.bytes.borrow()))
}

fn empty(snapshots: bool) -> (TestCache, TestStore) {
    let (cache, _, store) = new_cache(|_| {});
    store.snapshots.set(snapshots);
    (cache, store)
}

/// What is compared between two stores: everything but the ids and the version.
type Content = (Vec<Entry>, Vec<(String, u64)>, Vec<(String, String)>);

fn content(store: &TestStore) -> Content {
    let (mut entries, quotas, meta, _) = store.content();
    for entry in &mut entries {
        entry.id = 0;
    }
    (
        entries,
        quotas.into_iter().collect(),
        meta.into_iter().collect(),
    )
}

#[test]
fn what_is_dumped_is_loaded() {
    for (snapshots, layout) in [
        (false, None),
        (true, None),
        (true, Some(Layout::Portable)),
        (true, Some(Layout::Native)),
    ] {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let (mut source, store) = filled(snapshots);
            let archive = dump_with(&mut source, |o| {
                o.layout = layout;
                o.compression = compression;
            });
            let (mut target, copy) = empty(snapshots);
            let report = load_with(&mut target, &archive, |_| {}).unwrap();
            assert_eq!((report.entries, report.skipped, report.evicted), (6, 0, 0));
            assert_eq!(content(&copy), content(&store));
            assert!(!copy.has_leftovers() && !store.has_leftovers());
            let native = snapshots && layout != Some(Layout::Portable);
            assert_eq!(report.manifest.layout == Layout::Native, native);
            assert_eq!(report.manifest.store, "test");
            assert_eq!(report.manifest.namespaces, ["a", "b:c"]);
            assert_eq!(report.manifest.created_at, 1006);
            let stats = target.stats(None).unwrap();
            assert_eq!((stats.entries, stats.counters.hits_exact), (6, 1));
            let mut question = ask("something else", 0.5);
            question.namespace = "a".into();
            assert!(
                matches!(target.get(question).unwrap(), Lookup::Hit(hit) if hit.query == "Question 0")
            );
        }
    }
}

#[test]
fn pages_and_batches_are_filled_and_followed_by_others() {
    let store = TestStore::opened(2);
    for id in 1..=200 {
        let mut entry = entry("n", &format!("q{id}"), &at_angle(id as f64), id);
        entry.id = 3 * id;
        if id % 40 == 0 {
            entry.response = "long ".repeat(600_000);
        }
        store.plant(entry);
    }
    let (mut source, _) = crate::testing::cache_on(&store, |_| {});
    let archive = dump_with(&mut source, |o| o.level = Some(9));
    let (mut target, copy) = empty(false);
    assert_eq!(
        load_with(&mut target, &archive, |_| {}).unwrap().entries,
        200
    );
    assert_eq!(content(&copy), content(&store));
}

#[test]
fn an_empty_cache_is_dumped_and_loaded() {
    let (mut source, _) = empty(false);
    let archive = dump_with(&mut source, |_| {});
    let (mut target, copy) = filled(false);
    assert!(load_with(&mut target, &archive, |_| {}).is_err());
    let report = load_with(&mut target, &archive, |o| o.mode = ImportMode::Replace).unwrap();
    assert_eq!(report.entries, 0);
    assert!(copy.entries().is_empty());
}

#[test]
fn data_that_is_there_is_kept_merged_with_or_replaced() {
    for snapshots in [false, true] {
        let (mut source, store) = filled(snapshots);
        let archive = dump_with(&mut source, |_| {});
        let (mut target, copy) = empty(snapshots);
        target.put(response("mine", 45.0)).unwrap();
        let mut same = response("QUESTION 1", 90.0);
        same.namespace = "b:c".into();
        target.put(same).unwrap();
        target.set_namespace_quota("mine", Some(9)).unwrap();
        target.get(ask("mine", 0.0)).unwrap();
        target.flush().unwrap();
        copy.replace_meta("other", None, Some("kept")).unwrap();
        let before = copy.content();

        match load_with(&mut target, &archive, |_| {}).unwrap_err() {
            Error::Checkpoint(message) => {
                assert!(
                    message.contains("merge") && message.contains("replace"),
                    "{message}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(copy.content(), before);

        let merged = load_with(&mut target, &archive, |o| o.mode = ImportMode::Merge).unwrap();
        assert_eq!(merged.entries, 6);
        let (entries, quotas, meta, version) = copy.content();
        assert_eq!((entries.len(), version), (7, before.3 + 1));
        let question = entries.iter().find(|e| e.query == "Question 1").unwrap();
        assert_eq!(question.id, before.0[1].id);
        assert_eq!(quotas.len(), 3);
        assert_eq!(meta["other"], "kept");
        assert_eq!(meta["mine"], "x\0");
        assert_eq!(target.stats(None).unwrap().counters.hits_exact, 2);

        load_with(&mut target, &archive, |o| o.mode = ImportMode::Replace).unwrap();
        assert_eq!(content(&copy), content(&store));
        assert_eq!(target.stats(None).unwrap().counters.hits_exact, 1);
    }
}

#[test]
fn what_an_empty_target_knows_already_stays() {
    for snapshots in [false, true] {
        let (mut source, _) = filled(snapshots);
        let archive = dump_with(&mut source, |_| {});
        let (mut target, copy) = empty(snapshots);
        target.set_namespace_quota("mine", Some(9)).unwrap();
        target.get(ask("nothing", 0.0)).unwrap();
        load_with(&mut target, &archive, |_| {}).unwrap();
        let (entries, quotas, _, _) = copy.content();
        assert_eq!((entries.len(), quotas["mine"], quotas["a"]), (6, 9, 50));
        assert_eq!(target.stats(None).unwrap().counters.misses, 1);
    }
}

#[test]
fn quotas_named_at_opening_are_not_set_over_those_of_the_archive() {
    for snapshots in [false, true] {
        let (mut source, _) = filled(snapshots);
        let archive = dump_with(&mut source, |_| {});
        for mode in [ImportMode::Empty, ImportMode::Merge, ImportMode::Replace] {
            let (mut target, _, copy) = new_cache(|o| {
                o.namespace_quotas = ["a", "changed", "removed"]
                    .map(|name| (name.into(), 100))
                    .into();
            });
            copy.snapshots.set(snapshots);
            target.set_namespace_quota("changed", Some(7)).unwrap();
            target.set_namespace_quota("removed", None).unwrap();
            load_with(&mut target, &archive, |o| o.mode = mode).unwrap();
            let (_, quotas, _, _) = copy.content();
            assert_eq!(
                (quotas["a"], quotas["later"], quotas["changed"]),
                (50, 3, 7)
            );
            assert!(!quotas.contains_key("removed"), "{mode:?}");
        }
    }
}

#[test]
fn entries_are_chosen_renamed_and_limited() {
    for snapshots in [false, true] {
        let (mut source, _) = filled(snapshots);
        let archive = dump_with(&mut source, |_| {});
        let (mut target, copy) = empty(snapshots);
        let report = load_with(&mut target, &archive, |o| {
            o.namespaces = Some(vec!["b:c".into()]);
            o.namespace_prefix = "eu/".into();
            o.ttl = TtlOverride::AtMost(600);
            o.quotas = Some(vec![("eu/b:c".into(), 8)]);
            o.max_entries = Some(2);
            o.vector_dtype = Some(VectorDtype::Int8);
        })
        .unwrap();
        assert_eq!((report.entries, report.skipped, report.evicted), (4, 2, 2));
        let (entries, quotas, meta, _) = copy.content();
        assert!(
            entries
                .iter()
                .all(|e| e.namespace == "eu/b:c" && e.ttl.is_some_and(|t| t <= 600))
        );
        assert_eq!((quotas.len(), quotas["eu/b:c"]), (1, 8));
        assert!(!meta.contains_key("mine"));
        let stats = target.stats(None).unwrap();
        assert_eq!(
            (stats.max_entries, stats.vector_dtype),
            (Some(2), VectorDtype::Int8)
        );
        assert_eq!(
            (stats.counters.hits_exact, stats.counters.evictions),
            (1, 2)
        );
    }
}

#[test]
fn options_out_of_range_are_refused_before_anything_is_read() {
    let (mut target, _) = empty(false);
    let archive = TestArchive::default();
    let broken: [fn(&mut LoadOptions); 3] = [
        |o| o.max_entries = Some(0),
        |o| o.max_expansion = 0,
        |o| o.namespace_prefix = "\0".into(),
    ];
    for break_it in broken {
        assert!(matches!(
            load_with(&mut target, &archive, break_it),
            Err(Error::InvalidArgument(_))
        ));
    }
    let (mut source, _) = filled(false);
    let archive = dump_with(&mut source, |_| {});
    let unknown = load_with(&mut target, &archive, |o| {
        o.namespaces = Some(vec!["z".into()])
    });
    assert!(matches!(unknown, Err(Error::InvalidArgument(m)) if m.contains("\"z\"")));
    let broken: [fn(&mut DumpOptions); 3] = [
        |o| o.level = Some(10),
        |o| {
            o.compression = Compression::Zstd;
            o.level = Some(1);
        },
        |o| o.layout = Some(Layout::Native),
    ];
    for break_it in broken {
        let mut options = default_dump_options();
        break_it(&mut options);
        let archive = TestArchive::default();
        assert!(matches!(
            source.dump(&options, &archive),
            Err(Error::InvalidArgument(_) | Error::Unsupported(_))
        ));
    }
}

#[test]
fn an_archive_that_does_not_fit_is_refused_before_the_store_is_touched() {
    let (mut source, _) = filled(true);
    let native = dump_with(&mut source, |_| {});
    let portable = dump_with(&mut source, |o| o.layout = Some(Layout::Portable));
    let (mut other_model, _, store) = new_cache(|o| o.embedder_fingerprint = "g".into());
    store.snapshots.set(true);
    for archive in [&native, &portable] {
        let calls = store.calls();
        assert!(matches!(
            load_with(&mut other_model, archive, |_| {}),
            Err(Error::EmbedderMismatch(m)) if m.stored == "f" && m.given == "g"
        ));
        assert_eq!(store.calls(), calls);
    }
    let (mut longer, _, store) = new_cache(|o| o.embedder_dim = 3);
    let calls = store.calls();
    assert!(matches!(
        load_with(&mut longer, &portable, |_| {}),
        Err(Error::EmbedderDimension(d)) if d.expected == 3 && d.actual == 2
    ));
    assert_eq!(store.calls(), calls);
    let (mut elsewhere, store) = empty(false);
    let calls = store.calls();
    assert!(matches!(
        load_with(&mut elsewhere, &native, |_| {}),
        Err(Error::Unsupported(m)) if m.contains("portable")
    ));
    assert_eq!(store.calls(), calls);
}

#[test]
fn a_store_that_fails_at_any_call_is_left_as_it_was() {
    for (snapshots, mode) in [
        (false, ImportMode::Merge),
        (false, ImportMode::Replace),
        (true, ImportMode::Merge),
        (true, ImportMode::Replace),
    ] {
        let (mut source, _) = filled(snapshots);
        let archive = dump_with(&mut source, |_| {});
        let mut failures = 0;
        for n in 1.. {
            let (mut target, copy) = empty(snapshots);
            target.put(response("mine", 45.0)).unwrap();
            let before = copy.content();
            copy.fail_at(n);
            let loaded = load_with(&mut target, &archive, |o| o.mode = mode);
            if !copy.has_failed() {
                loaded.unwrap();
                break;
            }
            copy.fail_never();
            if loaded.is_ok() {
                // Tidying up has failed, after the data was there.
                assert_ne!(copy.content(), before);
                continue;
            }
            failures += 1;
            assert_eq!(copy.content(), before, "call {n}");
            load_with(&mut target, &archive, |o| o.mode = mode).unwrap();
            assert!(!copy.has_leftovers());
        }
        assert!(failures > 3, "{failures}");
    }
}

#[test]
fn a_dump_that_fails_leaves_nothing_begun() {
    for snapshots in [false, true] {
        for n in 1.. {
            let (mut source, store) = filled(snapshots);
            store.fail_at(n);
            let dumped = source.dump(&default_dump_options(), &TestArchive::default());
            if !store.has_failed() {
                dumped.unwrap();
                break;
            }
            assert!(dumped.is_err(), "call {n}");
            store.fail_never();
            source
                .dump(&default_dump_options(), &TestArchive::default())
                .unwrap();
            assert!(!store.has_leftovers());
        }
        let (mut source, store) = filled(snapshots);
        let full = TestArchive::default();
        full.fail_at(1);
        assert!(source.dump(&default_dump_options(), &full).is_err());
        assert!(!store.has_leftovers());
    }
}

#[test]
fn an_archive_is_inspected_without_a_cache() {
    for layout in [Layout::Native, Layout::Portable] {
        let (mut source, _) = filled(true);
        let archive = dump_with(&mut source, |o| o.layout = Some(layout));
        assert!(matches!(
            source.inspect(&default_inspect_options(), &archive),
            Err(Error::InvalidArgument(_))
        ));
        archive.position.set(0);
        let store = TestStore::default();
        store.snapshots.set(true);
        let mut closed = crate::cache::Cache::new(store.clone(), crate::testing::TestHost::at(0));
        let summary = closed
            .inspect(&default_inspect_options(), &archive)
            .unwrap();
        assert_eq!(summary.entries, 6);
        assert!(summary.checksummed);
        assert_eq!(summary.compression, Compression::Gzip);
        assert_eq!(summary.meta_keys, ["counters", "mine"]);
        let namespaces: Vec<_> = summary
            .namespaces
            .iter()
            .map(|n| (n.namespace.as_str(), n.entries, n.quota))
            .collect();
        assert_eq!(
            namespaces,
            [("a", 2, Some(50)), ("b:c", 4, None), ("later", 0, Some(3))]
        );
        assert!(store.entries().is_empty() && !store.has_leftovers());
        assert_eq!(
            summary.compressed_bytes,
            archive.bytes.borrow().len() as u64
        );
    }
}

#[test]
fn an_entry_that_could_not_be_loaded_is_not_dumped() {
    let (mut source, store) = filled(false);
    let mut broken = entry("a", "q", &[1.0, f32::NAN], 5);
    broken.id = 77;
    store.plant(broken);
    match source.dump(&default_dump_options(), &TestArchive::default()) {
        Err(Error::Corrupt(message)) => {
            assert!(
                message.contains("entry 77") && message.contains("finite"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
}
