//! The log of changes: what it knows, and what ends that.

use crate::tags::tagged;
use mneme::RedisStore;
use mneme::store::changes::MAX_CHANGES;
use mneme::store::{Change, Entry, ImportMode, Store, StoreError};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, put};
use mneme_tests::servers::redis::Redis;

mneme_tests::tests![
    each_write_is_logged,
    a_page_has_whole_versions,
    long_writes_and_imports_end_what_is_known,
    what_moves_the_counter_alone_ends_what_is_known,
    a_log_that_is_damaged_begins_again,
    the_last_changes_are_kept_and_others_go,
];

fn opened(server: &Redis) -> RedisStore {
    let mut store = server.store("p");
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

fn change(version: u64, id: i64) -> Change {
    Change {
        version,
        id: id.unsigned_abs(),
        deleted: id < 0,
    }
}

/// All changes after a version, read in pages.
fn since(store: &mut RedisStore, mut version: u64, limit: u32) -> Option<Vec<Change>> {
    let now = store.read_version_counter().unwrap();
    let mut all = Vec::new();
    loop {
        let page = store.changes_since(version, limit).unwrap()?;
        if page.changes.is_empty() {
            assert_eq!((version, page.version), (now, now));
            return Some(all);
        }
        assert!(page.version > version);
        assert!(page.changes.iter().all(|change| change.version > version));
        assert_eq!(page.changes.last().unwrap().version, page.version);
        assert!(page.changes.is_sorted_by_key(|change| change.version));
        version = page.version;
        all.extend(page.changes);
    }
}

fn each_write_is_logged(server: Redis) {
    let mut store = opened(&server);
    assert_eq!(store.capabilities().max_changes, MAX_CHANGES);
    assert_eq!(since(&mut store, 0, 9), Some(Vec::new()));
    assert_eq!(store.changes_since(1, 9).unwrap(), None);
    let mortal = |n| Entry {
        ttl: Some(10),
        ..tagged("a", n, &["t"])
    };
    store.insert(vec![mortal(1), mortal(2), mortal(2)]).unwrap();
    store.insert(vec![entry("b", 3), mortal(1)]).unwrap();
    assert!(store.delete_by_id(2).unwrap());
    assert!(!store.delete_by_id(2).unwrap());
    put(&mut store, entry("b", 4));
    let old = store.iter_lru_ids(9, Some("b")).unwrap();
    store.delete_unchanged(&old[..1]).unwrap();
    assert_eq!(store.delete_expired(u64::MAX, None, 9).unwrap().len(), 1);
    store.clear_namespace(Some("b")).unwrap();
    store.clear_namespace(None).unwrap();
    let expected = [
        change(1, 1),
        change(1, 2),
        change(2, 3),
        change(2, 1),
        change(3, -2),
        change(4, 4),
        change(5, -3),
        change(6, -1),
        change(7, -4),
    ];
    for limit in [0, 1, 2, 3, u32::MAX] {
        for after in 0..=7 {
            let rest: Vec<Change> = expected
                .iter()
                .filter(|change| change.version > after)
                .cloned()
                .collect();
            assert_eq!(
                since(&mut store, after, limit),
                Some(rest),
                "{after} {limit}"
            );
        }
    }
    for never in [8, u64::MAX] {
        assert_eq!(store.changes_since(never, 9).unwrap(), None);
    }
    // It is the same for everybody, and after a restart of the store.
    assert_eq!(since(&mut opened(&server), 0, 4), Some(expected.to_vec()));
}

fn a_page_has_whole_versions(server: Redis) {
    let mut store = opened(&server);
    let mut next = 0;
    let mut batch = |count: u64| {
        next += count;
        (next - count..next)
            .map(|n| entry("a", n))
            .collect::<Vec<_>>()
    };
    for count in [1, 2, 1000, 3] {
        store.insert(batch(count)).unwrap();
    }
    let mut sizes = |limit: u32| {
        let (mut version, mut sizes) = (0, Vec::new());
        while version < 4 {
            let page = store.changes_since(version, limit).unwrap().unwrap();
            version = page.version;
            sizes.push(page.changes.len());
        }
        sizes
    };
    assert_eq!(sizes(1), [1, 2, 1000, 3]);
    assert_eq!(sizes(2), [1, 2, 1000, 3]);
    assert_eq!(sizes(3), [3, 1000, 3]);
    assert_eq!(sizes(1002), [3, 1000, 3]);
    assert_eq!(sizes(1003), [1003, 3]);
    assert_eq!(sizes(1006), [1006]);
    let all = since(&mut store, 0, 1).unwrap();
    let ids: Vec<u64> = all.iter().map(|change| change.id).collect();
    assert_eq!(ids, (1..=1006).collect::<Vec<_>>());
}

fn long_writes_and_imports_end_what_is_known(server: Redis) {
    let mut store = opened(&server);
    for from in [0, 1000] {
        store
            .insert((from..from + 1000).map(|n| entry("a", n)).collect())
            .unwrap();
    }
    let long = store.iter_lru_ids(1001, None).unwrap();
    assert_eq!(since(&mut store, 0, 500).unwrap().len(), 2000);
    store.delete_unchanged(&long).unwrap();
    for unknown in 0..3 {
        assert_eq!(store.changes_since(unknown, 9).unwrap(), None);
    }
    assert_eq!(since(&mut store, 3, 9), Some(Vec::new()));
    put(&mut store, entry("a", 1));
    assert_eq!(since(&mut store, 3, 9), Some(vec![change(4, 2001)]));
    for (at, mode) in (5..)
        .step_by(2)
        .zip([ImportMode::Merge, ImportMode::Replace])
    {
        store.begin_import(mode).unwrap();
        store.write_import(vec![entry("a", 2)]).unwrap();
        assert!(store.commit_import(&[], &[]).unwrap());
        assert_eq!(store.changes_since(at - 1, 9).unwrap(), None);
        assert_eq!(since(&mut store, at, 9), Some(Vec::new()));
        let id = put(&mut store, entry("a", at)) as i64;
        assert_eq!(since(&mut store, at, 9), Some(vec![change(at + 1, id)]));
    }
    assert_eq!(store.changes_since(4, 9).unwrap(), None);
}

fn what_moves_the_counter_alone_ends_what_is_known(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    put(&mut store, entry("a", 1));
    client.run::<()>(&["INCR", "p:version"]);
    for unknown in [0, 1] {
        assert_eq!(store.changes_since(unknown, 9).unwrap(), None);
    }
    assert_eq!(since(&mut store, 2, 9), Some(Vec::new()));
    put(&mut store, entry("a", 2));
    for unknown in [0, 1] {
        assert_eq!(store.changes_since(unknown, 1).unwrap(), None);
    }
    assert_eq!(since(&mut store, 2, 9), Some(vec![change(3, 2)]));
    // A counter that was set back, as by a backup.
    client.run::<()>(&["SET", "p:version", "1"]);
    assert_eq!(store.changes_since(0, 9).unwrap(), None);
    put(&mut store, entry("a", 3));
    assert_eq!(since(&mut store, 1, 9), Some(vec![change(2, 3)]));
    assert_eq!(store.changes_since(0, 9).unwrap(), None);
    // Redis has dropped the log.
    client.run::<()>(&["DEL", "p:changes"]);
    assert_eq!(store.changes_since(1, 9).unwrap(), None);
    put(&mut store, entry("a", 4));
    assert_eq!(store.changes_since(1, 9).unwrap(), None);
    assert_eq!(since(&mut store, 2, 9), Some(vec![change(3, 4)]));
}

fn a_log_that_is_damaged_begins_again(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    put(&mut store, entry("a", 1));
    client.run::<()>(&["DEL", "p:changes"]);
    client.run::<()>(&["SET", "p:changes", "x"]);
    let corrupt = |outcome: Result<_, StoreError>| {
        assert!(
            matches!(&outcome, Err(StoreError::Corrupt(text)) if text.contains("p:changes")),
            "{outcome:?}"
        );
    };
    corrupt(store.changes_since(0, 9));
    assert!(store.integrity_check().unwrap());
    put(&mut store, entry("a", 2));
    assert_eq!(since(&mut store, 1, 9), Some(vec![change(2, 2)]));
    // Another program has written to it.
    client.run::<()>(&["XADD", "p:changes", "2-7", "id", "x"]);
    corrupt(store.changes_since(1, 9));
    client.run::<()>(&["XADD", "p:changes", "3-7", "id", "3"]);
    client.run::<()>(&["XDEL", "p:changes", "3-7", "2-7"]);
    put(&mut store, entry("a", 3));
    assert_eq!(store.read_version_counter().unwrap(), 3);
    assert_eq!(store.changes_since(2, 9).unwrap(), None);
    put(&mut store, entry("a", 4));
    assert_eq!(since(&mut store, 3, 9), Some(vec![change(4, 4)]));
}

fn the_last_changes_are_kept_and_others_go(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    // Each replaces the entries of the one before.
    let batch: Vec<Entry> = (0..1000).map(|n| entry("a", n)).collect();
    let kept = u64::from(MAX_CHANGES) / 1000;
    for _ in 0..kept + 10 {
        store.insert(batch.clone()).unwrap();
    }
    let now = kept + 10;
    let length: u64 = client.run(&["XLEN", "p:changes"]);
    assert!(length >= u64::from(MAX_CHANGES), "{length}");
    assert!(length < u64::from(MAX_CHANGES) + 2000, "{length}");
    assert_eq!(store.changes_since(0, 9).unwrap(), None);
    let first_known = (0..now).find(|after| store.changes_since(*after, 1).unwrap().is_some());
    let first_known = first_known.unwrap();
    let all = since(&mut store, first_known, 10_000).unwrap();
    assert!(all.len() >= MAX_CHANGES as usize, "{}", all.len());
    assert_eq!(all.len() as u64, (now - first_known) * 1000);
    for version in all.chunks(1000) {
        let ids: Vec<u64> = version.iter().map(|change| change.id).collect();
        assert_eq!(ids, (1..=1000).collect::<Vec<_>>());
    }
    let one = store.changes_since(first_known, u32::MAX).unwrap().unwrap();
    assert_eq!((one.changes.len(), one.version), (all.len(), now));
}
