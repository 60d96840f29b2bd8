//! Cases of a log of changes that are the same for several stores.

use mneme::store::{Entry, EntryRef, Store};

use crate::rows::{entry, put};

/// What is known after a version: the changes as `version id`, with a minus sign for a deletion.
///
/// # Panics
///
/// Where the store fails.
pub fn since(store: &mut dyn Store, version: u64) -> Option<Vec<String>> {
    let page = store.changes_since(version, u32::MAX).unwrap()?;
    let sign = |deleted| if deleted { "-" } else { "" };
    let changes = page.changes.iter();
    let texts = changes.map(|one| format!("{} {}{}", one.version, sign(one.deleted), one.id));
    Some(texts.collect())
}

/// Every write of entries is in the log, seen through the store and another handle of it.
///
/// # Panics
///
/// Where one is not.
pub fn every_write_of_entries_is_in_the_log<S: Store>(open: impl Fn() -> S) {
    let mut store = open();
    assert_eq!(since(&mut store, 0), Some(vec![]));
    assert_eq!(since(&mut store, 1), None);
    store
        .insert(vec![entry("a", 1), entry("a", 2), entry("a", 1)])
        .unwrap();
    put(&mut store, entry("a", 1));
    assert!(store.delete_by_id(1).unwrap());
    assert!(!store.delete_by_id(1).unwrap());
    let named = EntryRef {
        id: 2,
        namespace: "a".to_owned(),
        created_at: 1002,
    };
    assert_eq!(store.delete_unchanged(&[named]).unwrap(), [2]);
    let ids: Vec<u64> = (3..6)
        .map(|n| {
            put(
                &mut store,
                Entry {
                    ttl: Some(n),
                    ..entry("b", n)
                },
            )
        })
        .collect();
    assert_eq!(store.delete_expired(1003 + 3, None, 9).unwrap().len(), 1);
    store.set_namespace_quota("a", Some(1)).unwrap();
    assert_eq!(store.clear_namespace(Some("b")).unwrap(), 2);
    assert_eq!(store.clear_namespace(None).unwrap(), 0);
    let [a, b, c] = ids[..] else {
        panic!("{ids:?}")
    };
    let mut expected: Vec<String> = ["1 1", "1 2", "2 1", "3 -1", "4 -2"]
        .map(str::to_owned)
        .to_vec();
    for (version, change) in (5..).zip([
        a.to_string(),
        b.to_string(),
        c.to_string(),
        format!("-{a}"),
        format!("-{b}"),
    ]) {
        expected.push(format!("{version} {change}"));
    }
    expected.push(format!("9 -{c}"));
    assert_eq!(since(&mut store, 0), Some(expected.clone()));
    let mut other = open();
    assert_eq!(since(&mut other, 8), Some(expected[9..].to_vec()));
    assert_eq!(since(&mut other, 9), Some(vec![]));
    assert_eq!(since(&mut other, 10), None);
}

/// A page of the log has whole versions.
///
/// # Panics
///
/// Where it has not.
pub fn whole_versions_come_in_parts(store: &mut dyn Store) {
    for first in [1, 4, 5] {
        store
            .insert((first..first + 3).map(|n| entry("a", n)).collect())
            .unwrap();
    }
    for (after, limit, count, version) in [
        (0, 1, 3, 1),
        (0, 3, 3, 1),
        (0, 5, 3, 1),
        (0, 6, 6, 2),
        (1, 4, 3, 2),
        (2, 0, 3, 3),
        (0, 9, 9, 3),
    ] {
        let page = store.changes_since(after, limit).unwrap().unwrap();
        assert_eq!(
            (page.changes.len(), page.version),
            (count, version),
            "{after} {limit}"
        );
    }
}
