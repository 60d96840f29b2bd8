//! The Redis store when its data is gone, or another cache's is in its place, while it is open.

use mneme::RedisStore;
use mneme::store::{ImportMode, Store, StoreError};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};
use mneme_tests::servers::redis::Redis;
use mneme_tests::vanishing::{is_gone, refuses_changes};

mneme_tests::tests![
    a_server_that_was_emptied_takes_no_writes_until_the_store_is_opened_again,
    another_cache_in_its_place_is_left_alone,
    a_cache_that_came_back_is_used_again,
];

fn opened(server: &Redis) -> RedisStore {
    let mut store = server.store("p");
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

/// Fails unless no operation takes what is there for its own.
fn refuses_everything(store: &mut RedisStore) {
    refuses_changes(store);
    is_gone(store.get_by_ids(&[1], true));
    is_gone(store.count(None));
}

fn a_server_that_was_emptied_takes_no_writes_until_the_store_is_opened_again(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    put(&mut store, entry("a", 1));
    client.run::<()>(&["FLUSHALL"]);
    refuses_everything(&mut store);
    let keys = client.run::<usize>(&["DBSIZE"]);
    assert_eq!(keys, 0, "nothing was written");
    // An import that was begun before ends like any other that was lost.
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(store.count(None).unwrap(), 0);
    assert_eq!(put(&mut store, entry("a", 1)), 1);
    assert!(store.integrity_check().unwrap());
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    client.run::<()>(&["FLUSHALL"]);
    is_gone(store.write_import(vec![entry("a", 3)]));
    is_gone(store.insert(vec![entry("a", 3)]));
    assert!(client.dump().is_empty(), "nothing was written");
}

fn another_cache_in_its_place_is_left_alone(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    put(&mut store, entry("a", 1));
    client.run::<()>(&["FLUSHALL"]);
    // Of the same embedder, and even with the same ids.
    let mut other = opened(&server);
    let theirs = mneme::store::Entry {
        response: "theirs".to_owned(),
        ..entry("a", 1)
    };
    put(&mut other, theirs.clone());
    let before = client.dump();
    refuses_everything(&mut store);
    assert_eq!(client.dump(), before);
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(get(&mut store, "a", 1).unwrap().response, "theirs");
    // Of another embedder.
    client.run::<()>(&["FLUSHALL"]);
    let mut other = server.store("p");
    other.open("another@1", DIM).unwrap();
    refuses_everything(&mut store);
    let refused = store.open(FINGERPRINT, DIM);
    assert!(
        matches!(refused, Err(StoreError::EmbedderMismatch(_))),
        "{refused:?}"
    );
}

fn a_cache_that_came_back_is_used_again(mut server: Redis) {
    let mut store = opened(&server);
    put(&mut store, entry("a", 1));
    server.kill();
    server.restart().unwrap();
    assert!(get(&mut store, "a", 1).is_some());
    put(&mut store, entry("a", 2));
    // One that an earlier release has made gets its mark at the next open.
    server.client().run::<()>(&["DEL", "p:incarnation"]);
    is_gone(store.count(None));
    let mut store = opened(&server);
    assert_eq!(store.count(None).unwrap(), 2);
    put(&mut store, entry("a", 3));
}
