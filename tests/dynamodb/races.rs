//! The DynamoDB store while others write the same entries.

use mneme::store::{DynamoDbStore, Entry, EntryRef, Store, Touch};
use mneme_tests::dynamodb::{fresh, open, proxied};
use mneme_tests::dynamodb_wire::{Action, Proxy, call, items};
use mneme_tests::rows::{entry, get, ids, put};
use mneme_tests::servers::dynamodb::DynamoDb;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

mneme_tests::tests![
    an_insert_meets_another_one,
    an_insert_meets_a_delete,
    a_touch_meets_a_delete_and_a_touch,
    deletes_meet_replacements,
    a_meta_value_meets_another,
    writers_at_the_same_time_lose_nothing,
];

/// Runs `meanwhile` on another store between what the next write reads and what it writes.
fn meanwhile(
    server: &DynamoDb,
    proxy: &Proxy,
    table: &str,
    meanwhile: impl FnOnce(&mut DynamoDbStore) + Send + 'static,
) {
    let mut other = Some((fresh(server, table), meanwhile));
    proxy.set_rule(move |request| {
        if request.operation == "TransactWriteItems"
            && let Some((mut other, meanwhile)) = other.take()
        {
            meanwhile(&mut other);
        }
        Action::Forward
    });
}

fn says(namespace: &str, n: u64, response: &str) -> Entry {
    Entry {
        response: response.to_owned(),
        ..entry(namespace, n)
    }
}

fn an_insert_meets_another_one(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "insert-insert");
    meanwhile(&server, &proxy, "insert-insert", |other| {
        assert_eq!(put(other, says("a", 1, "first")), 1);
        assert_eq!(put(other, says("a", 2, "other")), 2);
    });
    let list = vec![says("a", 1, "second"), says("a", 3, "third")];
    let inserted = store.insert(list).unwrap();
    let results: Vec<_> = inserted.iter().map(|one| (one.id, one.replaced)).collect();
    assert_eq!(results, [(1, true), (3, false)]);
    assert_eq!(get(&mut store, "a", 1).unwrap().response, "second");
    assert_eq!(ids(&mut store), [1, 2, 3]);
    assert_eq!(store.read_version_counter().unwrap(), 3);
    assert_eq!(items(server.port(), "insert-insert").len(), 7);
}

fn an_insert_meets_a_delete(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "insert-delete");
    put(&mut store, says("a", 1, "old"));
    meanwhile(&server, &proxy, "insert-delete", |other| {
        assert!(other.delete_by_id(1).unwrap());
    });
    let inserted = store.insert(vec![says("a", 1, "new")]).unwrap()[0];
    assert_eq!(
        (inserted.id, inserted.replaced),
        (2, false),
        "an id is not used again"
    );
    assert_eq!(ids(&mut store), [2]);
    // A delete and an insert of the same key: the new id is the one replaced.
    meanwhile(&server, &proxy, "insert-delete", |other| {
        assert!(other.delete_by_id(2).unwrap());
        assert_eq!(put(other, says("a", 1, "between")), 3);
    });
    let inserted = store.insert(vec![says("a", 1, "last")]).unwrap()[0];
    assert_eq!((inserted.id, inserted.replaced), (3, true));
    assert_eq!(get(&mut store, "a", 1).unwrap().response, "last");
    assert_eq!(items(server.port(), "insert-delete").len(), 3);
    // As a writer without pointers deletes.
    let port = server.port();
    meanwhile(&server, &proxy, "insert-delete", move |_| {
        let name = json!({"TableName": "insert-delete", "Key": {"id": {"N": "3"}}});
        call(port, "DeleteItem", &name);
    });
    let inserted = store.insert(vec![says("a", 1, "again")]).unwrap()[0];
    assert_eq!((inserted.id, inserted.replaced), (4, false));
    assert_eq!(ids(&mut store), [4]);
}

fn a_touch_meets_a_delete_and_a_touch(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "touch");
    put(&mut store, entry("a", 1));
    put(&mut store, entry("a", 2));
    let touch = |id, hits, last_accessed_at| Touch {
        id,
        hits,
        last_accessed_at,
    };
    meanwhile(&server, &proxy, "touch", move |other| {
        assert!(other.delete_by_id(1).unwrap());
        other.update_access(&[touch(2, 5, 9_000)]).unwrap();
    });
    store
        .update_access(&[touch(1, 1, 8_000), touch(2, 2, 8_000)])
        .unwrap();
    assert_eq!(ids(&mut store), [2], "a touch brings nothing back");
    let touched = get(&mut store, "a", 2).unwrap();
    assert_eq!((touched.access_count, touched.last_accessed_at), (7, 9_000));
    assert_eq!(items(server.port(), "touch").len(), 3);
}

fn deletes_meet_replacements(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "delete");
    let old = |n| Entry {
        ttl: Some(1),
        ..entry("a", n)
    };
    for n in 1..=6 {
        put(&mut store, old(n));
    }
    let renew = |id: u64| {
        move |other: &mut DynamoDbStore| {
            let new = Entry {
                created_at: 5_000,
                ..entry("a", id)
            };
            assert_eq!(put(other, new), id);
        }
    };
    let named = |id: u64| EntryRef {
        id,
        namespace: "a".to_owned(),
        created_at: 1_000 + id,
    };
    meanwhile(&server, &proxy, "delete", renew(1));
    let deleted = store.delete_unchanged(&[named(1), named(2)]).unwrap();
    assert_eq!(deleted, [2]);
    // The expired ones after it take the place of the one that lives again.
    meanwhile(&server, &proxy, "delete", renew(3));
    let expired = store.delete_expired(4_000, Some("a"), 2).unwrap();
    assert_eq!(
        expired.iter().map(|entry| entry.id).collect::<Vec<_>>(),
        [4, 5]
    );
    meanwhile(&server, &proxy, "delete", |other| {
        assert!(other.delete_by_id(6).unwrap());
    });
    assert!(!store.delete_by_id(6).unwrap(), "somebody else was faster");
    meanwhile(&server, &proxy, "delete", |other| {
        assert!(other.delete_by_id(1).unwrap());
    });
    assert_eq!(store.clear_namespace(None).unwrap(), 1);
    assert_eq!(items(server.port(), "delete").len(), 1);
    // Six puts, two replacements, and and seven deletes; two of these took one entry each.
    assert_eq!(store.read_version_counter().unwrap(), 14);
}

fn a_meta_value_meets_another(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "meta");
    meanwhile(&server, &proxy, "meta", |other| {
        assert!(other.replace_meta("k", None, Some("theirs")).unwrap());
    });
    assert!(!store.replace_meta("k", None, Some("ours")).unwrap());
    meanwhile(&server, &proxy, "meta", |other| {
        assert!(other.replace_meta("k", Some("theirs"), None).unwrap());
        other.set_namespace_quota("k", Some(1)).unwrap();
    });
    assert!(
        !store
            .replace_meta("k", Some("theirs"), Some("ours"))
            .unwrap()
    );
    assert_eq!(store.read_meta("k").unwrap(), None);
    assert_eq!(store.get_namespace_quota("k").unwrap(), Some(1));
}

fn writers_at_the_same_time_lose_nothing(server: Arc<DynamoDb>) {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 12;
    let proxy = Proxy::start(server.port());
    open(&proxy.url("together"));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let mut store = open(&proxy.url("together"));
            std::thread::spawn(move || {
                let mut given = Vec::new();
                for round in 0..ROUNDS {
                    // One that all write, and one that only this one writes.
                    let own = Entry {
                        created_at: writer,
                        ..entry("own", writer * ROUNDS + round)
                    };
                    let shared = Entry {
                        created_at: writer,
                        ..entry("shared", round)
                    };
                    let inserted = store.insert(vec![shared, own]).unwrap();
                    let hit = Touch {
                        id: inserted[0].id,
                        hits: 1,
                        last_accessed_at: 9_000 + writer,
                    };
                    store.update_access(&[hit]).unwrap();
                    given.push((round, inserted[0].id, inserted[1].id));
                }
                given
            })
        })
        .collect();
    let mut shared = BTreeSet::new();
    let mut own = BTreeSet::new();
    for writer in writers {
        for (round, shared_id, own_id) in writer.join().unwrap() {
            shared.insert((round, shared_id));
            assert!(own.insert(own_id), "id {own_id} was given twice");
        }
    }
    assert_eq!(shared.len() as u64, ROUNDS, "a key has one id for good");
    let mut store = open(&proxy.url("together"));
    assert_eq!(store.read_version_counter().unwrap(), WRITERS * ROUNDS);
    assert_eq!(store.count(Some("shared")).unwrap(), ROUNDS);
    assert_eq!(store.count(Some("own")).unwrap(), WRITERS * ROUNDS);
    assert!(store.integrity_check().unwrap());
    for (round, id) in shared {
        assert_eq!(get(&mut store, "shared", round).unwrap().id, id);
    }
}
