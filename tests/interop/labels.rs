//! What becomes of contexts and tags, which mneme-cache does not know.

use crate::place::{Named, Place};
use crate::rows::{entry, fields};
use mneme::store::{Entry, Filter, Store};
use mneme_tests::rows::put;
use serde_json::json;

/// The tests of this module, of the stores over SQL.
pub const TESTS: &[Named] = &[(
    "what_they_replace_keeps_its_tags",
    what_they_replace_keeps_its_tags,
)];

fn tagged(store: &mut dyn Store) -> Vec<u64> {
    let filter = Filter {
        namespace: None,
        context: None,
        tags: vec!["t".to_owned()],
        created_from: None,
        created_before: None,
    };
    let found = store.select(&filter, 0, 9).unwrap();
    found.entries.iter().map(|entry| entry.id).collect()
}

fn what_they_replace_keeps_its_tags(place: Place) {
    let mut store = place.opened();
    let given = |n: u64| Entry {
        context: "a model".to_owned(),
        tags: vec!["s".to_owned(), "t".to_owned()],
        ..entry("a", n)
    };
    for n in 1..4 {
        put(&mut *store, given(n));
    }
    let mut peer = place.theirs(json!({}));
    let theirs = peer.call("store.get_by_id", json!({"id": 1}));
    assert_eq!(theirs, fields(&Entry { id: 1, ..given(1) }));
    let again = Entry {
        id: 1,
        response: "theirs".to_owned(),
        created_at: 77,
        ..given(1)
    };
    assert_eq!(peer.call("store.insert", fields(&again)), 1);
    assert_eq!(store.get_by_ids(&[1], true).unwrap(), [again]);
    assert_eq!(peer.call("store.delete_by_id", json!({"id": 2})), true);
    let plain = peer.call("store.insert", fields(&entry("a", 9)));
    assert_eq!(tagged(&mut *store), [1, 3]);
    let plain = store.get_by_ids(&[plain.as_u64().unwrap()], true).unwrap();
    assert_eq!((&*plain[0].context, plain[0].tags.len()), ("", 0));
    assert_eq!(peer.call("store.integrity_check", json!({})), true);
    assert!(store.integrity_check().unwrap());
    peer.close();
}
