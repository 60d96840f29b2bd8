//! Rows of one library through the store of the other, at a place of any kind.

use crate::place::{Kind, Named, ODD, Place, now};
use mneme::store::{Entry, Touch};
use mneme_tests::embedders::axis;
use mneme_tests::rows::{get, hash, put};
use serde_json::{Value, json};

/// The tests of this module.
pub const TESTS: &[Named] = &[
    (
        "their_rows_are_read_and_changed",
        their_rows_are_read_and_changed,
    ),
    (
        "our_rows_are_read_and_changed",
        our_rows_are_read_and_changed,
    ),
];

/// Namespaces that both libraries can hold, in the order of their bytes.
fn names(kind: Kind) -> Vec<&'static str> {
    let mut names = ODD.to_vec();
    names.extend(["a", "a.b#c:d/e%_", "\u{feff}\u{10ffff}\n", "id"]);
    if kind == Kind::DynamoDb {
        names.push("\0");
    }
    names.sort_unstable();
    names
}

pub fn entry(namespace: &str, n: u64) -> Entry {
    Entry {
        embedding: axis(n as usize),
        ..mneme_tests::rows::entry(namespace, n)
    }
}

/// An entry that has just been stored: Redis itself drops what has expired.
fn recent(namespace: &str, n: u64) -> Entry {
    Entry {
        created_at: now(),
        ..entry(namespace, n)
    }
}

/// An entry in the fields of the Python library.
pub fn fields(entry: &Entry) -> Value {
    json!({
        "id": entry.id, "namespace": entry.namespace, "query_hash": entry.query_hash,
        "query": entry.query, "response": entry.response, "embedding": entry.embedding,
        "metadata": serde_json::from_str::<Value>(&entry.metadata).unwrap(),
        "created_at": entry.created_at, "last_accessed_at": entry.last_accessed_at,
        "ttl": entry.ttl, "access_count": entry.access_count,
    })
}

fn their_rows_are_read_and_changed(place: Place) {
    let mut peer = place.theirs(json!({}));
    let mut stored = Vec::new();
    for (n, name) in (1..).zip(names(place.kind)) {
        let given = Entry {
            ttl: (n % 2 == 0).then_some(5000),
            query: "'\"\\ %_:/| 🦀".to_owned(),
            response: if n == 1 { "" } else { "theirs" }.to_owned(),
            metadata: r#"{"k": 1}"#.to_owned(),
            ..recent(name, n)
        };
        let id = peer.call("store.insert", fields(&given));
        stored.push(Entry {
            id: id.as_u64().unwrap(),
            ..given
        });
        let quota = json!({"namespace": name, "max_entries": n});
        peer.call("store.set_namespace_quota", quota);
        peer.call("store.write_meta", json!({"key": name, "value": name}));
    }
    peer.call("store.update_access", json!({"id": 1, "now": 7_000}));
    stored[0].access_count += 1;
    stored[0].last_accessed_at = 7_000;

    let mut store = place.opened();
    let count = stored.len() as u64;
    assert_eq!(store.iter_since(0, 100).unwrap(), stored);
    let some = [stored[5].clone(), stored[0].clone()];
    assert_eq!(store.get_by_ids(&[6, 1], true).unwrap(), some);
    assert_eq!(
        store.list_namespaces(None, 1000).unwrap(),
        names(place.kind)
    );
    let version = peer.call("store.read_version_counter", json!({}));
    assert_eq!(store.read_version_counter().unwrap(), version);
    for (n, entry) in (1..).zip(&stored) {
        let name = &*entry.namespace;
        assert_eq!(get(&mut *store, name, n).as_ref(), Some(entry));
        assert_eq!(store.count(Some(name)).unwrap(), 1);
        let oldest = store.iter_lru_ids(9, Some(name)).unwrap();
        assert_eq!(oldest[0].id, entry.id);
        assert_eq!(store.get_namespace_quota(name).unwrap(), Some(n));
        assert_eq!(store.read_meta(name).unwrap().as_deref(), Some(name));
    }

    // Replaced by us, then by them.
    let mine = Entry {
        metadata: r#"{ "mine":  1.50 }"#.to_owned(),
        ..entry(&stored[0].namespace, 1)
    };
    let inserted = store.insert(vec![mine.clone()]).unwrap();
    assert_eq!((inserted[0].id, inserted[0].replaced), (1, true));
    let theirs = peer.call("store.get_by_id", json!({"id": 1}));
    assert_eq!(
        theirs,
        fields(&Entry {
            id: 1,
            ..mine.clone()
        })
    );
    assert_eq!(
        store.get_by_ids(&[1], true).unwrap()[0].metadata,
        mine.metadata
    );
    let again = Entry {
        metadata: r#"{"theirs": 1}"#.to_owned(),
        ..mine
    };
    assert_eq!(peer.call("store.insert", fields(&again)), 1);
    assert_eq!(
        store.get_by_ids(&[1], true).unwrap(),
        [Entry { id: 1, ..again }]
    );
    let touch = Touch {
        id: 1,
        hits: 2,
        last_accessed_at: 8_000,
    };
    store.update_access(&[touch]).unwrap();
    let theirs = peer.call("store.get_by_id", json!({"id": 1}));
    assert_eq!(
        (&theirs["access_count"], &theirs["last_accessed_at"]),
        (&json!(2), &json!(8_000))
    );

    let expired = store.delete_expired(now() + 9_000, None, 99).unwrap();
    assert_eq!(expired.len() as u64, count / 2);
    assert_eq!(peer.call("store.count", json!({})), count - count / 2);
    assert_eq!(peer.call("store.delete_by_id", json!({"id": 1})), true);
    assert_eq!(store.get_by_ids(&[1], true).unwrap(), []);
    assert_eq!(peer.call("store.integrity_check", json!({})), true);
    assert!(store.integrity_check().unwrap());
    assert_eq!(store.clear_namespace(None).unwrap(), count - count / 2 - 1);
    assert_eq!(peer.call("store.iter_all", json!({})), json!([]));
    peer.close();
}

fn our_rows_are_read_and_changed(place: Place) {
    let mut store = place.opened();
    let mut stored = Vec::new();
    for (n, name) in (1..).zip(names(place.kind)) {
        let given = Entry {
            ttl: (n % 2 == 0).then_some(5000),
            query: "'\"\\ %_:/| 🦀".to_owned(),
            access_count: n,
            metadata: r#"{ "k":[1.0,"é"] }"#.to_owned(),
            ..recent(name, n)
        };
        let id = put(&mut *store, given.clone());
        stored.push(Entry { id, ..given });
        store.set_namespace_quota(name, Some(n)).unwrap();
        assert!(store.replace_meta(name, None, Some(name)).unwrap());
    }
    let touch = Touch {
        id: 1,
        hits: 2,
        last_accessed_at: 7_000,
    };
    store.update_access(&[touch]).unwrap();
    stored[0].access_count += 2;
    stored[0].last_accessed_at = 7_000;

    let mut peer = place.theirs(json!({}));
    let count = stored.len();
    let all: Vec<Value> = stored.iter().map(fields).collect();
    assert_eq!(peer.call("store.iter_all", json!({})), json!(all));
    let rest = peer.call("store.iter_since", json!({"last_id": 2}));
    assert_eq!(rest, json!(all[2..]));
    let seen = peer.call("store.list_namespaces", json!({}));
    let mut seen: Vec<String> = serde_json::from_value(seen).unwrap();
    seen.sort_unstable();
    assert_eq!(seen, names(place.kind));
    let oldest = peer.call("store.iter_lru_ids", json!({"n": count + 5}));
    assert_eq!(oldest.as_array().unwrap().len(), count);
    for (n, entry) in (1..).zip(&stored) {
        let name = &entry.namespace;
        let key = json!({"namespace": name, "query_hash": hash(n)});
        assert_eq!(peer.call("store.get_by_hash", key), fields(entry));
        let by_id = peer.call("store.get_by_id", json!({"id": entry.id}));
        assert_eq!(by_id, fields(entry));
        let named = json!({"namespace": name});
        assert_eq!(peer.call("store.count", named.clone()), 1);
        assert_eq!(peer.call("store.get_namespace_quota", named), n);
        let oldest = peer.call("store.iter_lru_ids", json!({"n": 9, "namespace": name}));
        assert_eq!(oldest, json!([entry.id]));
        assert_eq!(
            peer.call("store.read_meta", json!({"key": name})),
            name.as_str()
        );
    }
    assert_eq!(peer.call("store.read_version_counter", json!({})), count);
    assert_eq!(peer.call("store.integrity_check", json!({})), true);
    let expired = peer.call("store.delete_expired", json!({"now": now() + 9_000}));
    assert_eq!(expired, count / 2);
    assert_eq!(store.count(None).unwrap(), (count - count / 2) as u64);
    let (id, namespace) = (stored[0].id, &stored[0].namespace);
    let cleared = peer.call("store.clear_namespace", json!({"namespace": namespace}));
    assert_eq!(cleared, 1);
    assert_eq!(store.get_by_ids(&[id], true).unwrap(), []);
    // Neither uses an id again.
    let last = stored.last().unwrap().id;
    let next = peer.call("store.insert", fields(&entry("next", 1)));
    let next = next.as_u64().unwrap();
    assert!(next > last);
    assert!(put(&mut *store, entry("next", 2)) > next);
    peer.close();
}
