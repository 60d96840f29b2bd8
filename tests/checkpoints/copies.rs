//! Copies that are killed at every step, again and again.

use mneme::migration::{META_KEY, Migration, Report};
use mneme::store::{Entry, Store};
use mneme::{ManualClock, MemoryStore};
use mneme_tests::broken::{self, Broken};
use mneme_tests::stores::{Hooked, fault};
use std::path::Path;

mneme_tests::tests![
    a_copy_killed_at_any_two_steps_goes_on,
    a_refused_copy_killed_at_any_step_spoils_neither_store,
    a_source_whose_pages_start_over_ends_the_copy,
];

const ENTRIES: u64 = 70;

fn entry(n: u64) -> Entry {
    Entry {
        id: 0,
        namespace: ["a", "b"][n as usize % 2].into(),
        context: ["", "model", "c"][n as usize % 3].into(),
        tags: (0..n % 4).map(|tag| format!("tag:{tag}")).collect(),
        query_hash: format!("{n:064x}"),
        query: format!("question {n}"),
        response: "r".into(),
        embedding: vec![1.0, n as f32],
        metadata: "{}".into(),
        created_at: 5,
        last_accessed_at: 5,
        ttl: None,
        access_count: 0,
    }
}

fn filled(entries: u64) -> MemoryStore {
    let mut store = MemoryStore::new();
    store.open("model", 2).unwrap();
    store.insert((1..=entries).map(entry).collect()).unwrap();
    store.set_namespace_quota("a", Some(500)).unwrap();
    store.close().unwrap();
    store
}

fn copy(source: &mut dyn Store, target: &mut dyn Store) -> mneme::Result<Report> {
    Migration::new()
        .clock(ManualClock::at(10))
        .source_name("source")
        .copy(source, target)
}

/// From its `n`-th call on, the store is out of reach, as for a process that was killed there.
/// False if there were fewer calls.
fn killed_at(
    n: u32,
    store: &Hooked,
    run: impl FnOnce(&mut Hooked) -> mneme::Result<Report>,
) -> bool {
    let mut left = n;
    store.set_hook(move |operation| {
        left = left.saturating_sub(1);
        if left == 0 {
            Err(fault(operation))
        } else {
            Ok(())
        }
    });
    let outcome = run(&mut store.clone());
    store.set_hook(|_| Ok(()));
    // Whoever is killed closes nothing, and leaves nothing open.
    let _ = store.inner().close();
    outcome.is_err()
}

/// Entries, quotas and meta.
type Content = (Vec<Entry>, Vec<(String, u64)>, Vec<(String, String)>);

fn content(store: &Hooked) -> Content {
    let mut store = store.inner();
    store.open("model", 2).unwrap();
    let mut entries = store.iter_since(0, 10_000).unwrap();
    for entry in &mut entries {
        entry.id = 0;
    }
    let content = (
        entries,
        store.list_namespace_quotas().unwrap(),
        store.list_meta().unwrap(),
    );
    store.close().unwrap();
    content
}

fn a_copy_killed_at_any_two_steps_goes_on() {
    let mut source = filled(ENTRIES);
    let whole = Hooked::new(|_| Ok(()));
    copy(&mut source, &mut whole.clone()).unwrap();
    let expected = content(&whole);
    assert_eq!(expected.0.len() as u64, ENTRIES);
    // The kills of copies whose first run ends at this step; none if it does not.
    let mut kills_after = |first: u32| -> Option<u32> {
        let mut kills = 0;
        for second in 1.. {
            let target = Hooked::new(|_| Ok(()));
            if !killed_at(first, &target, |target| copy(&mut source, target)) {
                return None;
            }
            if content(&target) == expected {
                // It had ended: only closing was not told any more.
                return Some(kills);
            }
            let again = killed_at(second, &target, |target| copy(&mut source, target));
            if !again {
                assert_eq!(content(&target), expected, "{first}");
                break;
            }
            kills += 2;
            if content(&target) == expected {
                // It had ended: only closing was not told any more.
                continue;
            }
            let last = copy(&mut source, &mut target.clone());
            let last = last.unwrap_or_else(|error| panic!("{first}, {second}: {error}"));
            assert_eq!(last.written + last.present, ENTRIES, "{first}, {second}");
            assert_eq!(content(&target), expected, "{first}, {second}");
        }
        Some(kills)
    };
    let kills: Vec<u32> = (1..).map_while(&mut kills_after).collect();
    assert!(
        kills.len() > 8 && kills.iter().sum::<u32>() > 100,
        "{kills:?}"
    );
}

/// A target that already has entries is refused, wherever the copy is killed. It can still be a
/// target or a source.
fn a_refused_copy_killed_at_any_step_spoils_neither_store() {
    for n in 1.. {
        let mut source = filled(ENTRIES);
        let target = Hooked::new(|_| Ok(()));
        copy(&mut filled(3), &mut target.clone()).unwrap();
        let before = content(&target);
        // One that is refused is an error too.
        assert!(killed_at(n, &target, |target| copy(&mut source, target)));
        let (entries, quotas, meta) = content(&target);
        assert_eq!((&entries, &quotas), (&before.0, &before.1), "{n}");
        let onward = Hooked::new(|_| Ok(()));
        copy(&mut target.clone(), &mut onward.clone())
            .unwrap_or_else(|error| panic!("{n}: {error}, {meta:?}"));
        let refused = copy(&mut source, &mut target.clone()).unwrap_err();
        assert!(
            refused.to_string().contains("has 3 entries"),
            "{n}: {refused}"
        );
        assert!(
            content(&target).2.iter().all(|(key, _)| key != META_KEY),
            "{n}"
        );
        if n > 12 {
            break;
        }
    }
}

/// A damaged source whose second page is its first would be copied for ever.
fn a_source_whose_pages_start_over_ends_the_copy() {
    let starts_over = broken::memory("every page is the first")
        .iter_since(|store, _, limit| store.iter_since(0, limit));
    let mut source = Broken::new(starts_over, Path::new(""));
    source.open("model", 2).unwrap();
    source.insert((1..=ENTRIES).map(entry).collect()).unwrap();
    source.close().unwrap();
    let error = copy(&mut source, &mut MemoryStore::new()).unwrap_err();
    assert_eq!(error.kind(), "corrupt", "{error}");
    assert!(error.to_string().contains("ids ascend"), "{error}");
}
