//! Entries that Redis expires by itself, and what other keys still say of them.

use mneme::RedisStore;
use mneme::store::{Entry, EntryRef, Store};
use mneme_tests::proxy::Proxy;
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, ids, put};
use mneme_tests::servers::redis::{Client, Redis};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mneme_tests::tests![
    redis_expires_entries_and_none_of_them_is_seen,
    a_new_ttl_is_the_one_that_counts,
    ghosts_are_passed_over_everywhere,
    a_pair_whose_entry_has_expired_starts_again,
    inserts_clear_away_what_has_expired,
    evicted_entries_leave_nothing_behind_for_long,
    what_a_late_touch_leaves_is_no_entry,
    ghosts_of_others_are_cleared_away,
    what_expires_during_a_delete_is_made_up_for,
    outdated_times_of_expiry_are_put_right,
    many_expired_entries_are_found_once,
];

fn opened(server: &Redis) -> RedisStore {
    let mut store = server.store("p");
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

/// An entry that was expired before it was stored, so that Redis leaves it alone.
fn mortal(namespace: &str, n: u64) -> Entry {
    Entry {
        ttl: Some(10),
        ..entry(namespace, n)
    }
}

/// What Redis does to an entry that expires: the hash is gone, the other keys stay.
fn expire(client: &mut Client, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        assert_eq!(client.run::<u64>(&["DEL", &format!("p:entry:{id}")]), 1);
    }
}

fn lru(store: &mut RedisStore, n: u32, namespace: Option<&str>) -> Vec<u64> {
    let found = store.iter_lru_ids(n, namespace).unwrap();
    found.into_iter().map(|entry| entry.id).collect()
}

/// The keys that are left when there are no entries.
const EMPTY: [&str; 3] = ["p:meta", "p:next_id", "p:version"];

fn keys(client: &mut Client) -> Vec<String> {
    client.dump().into_keys().collect()
}

fn redis_expires_entries_and_none_of_them_is_seen(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    let created_at = now();
    let short = Entry {
        created_at,
        ttl: Some(1),
        ..entry("gone", 1)
    };
    put(&mut store, short);
    put(&mut store, entry("stays", 2));
    assert_eq!(
        client.run::<u64>(&["EXPIRETIME", "p:entry:1"]),
        created_at + 1
    );
    let start = Instant::now();
    while get(&mut store, "gone", 1).is_some() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "it never expires"
        );
    }
    assert_eq!(store.count(None).unwrap(), 1);
    assert_eq!(store.count(Some("gone")).unwrap(), 0);
    assert_eq!(store.list_namespaces(None, 1000).unwrap(), ["stays"]);
    let counts = store.count_by_namespace(None, 1000).unwrap();
    assert_eq!(counts, [("stays".to_owned(), 1)]);
    assert_eq!(store.get_by_ids(&[1, 2], true).unwrap().len(), 1);
    assert_eq!(ids(&mut store), [2]);
    assert_eq!(lru(&mut store, 9, None), [2]);
    assert!(store.integrity_check().unwrap());
    assert_eq!(store.read_version_counter().unwrap(), 2);
    // It is gone already. What other keys say of it goes now.
    for now in [created_at, created_at + 1] {
        assert!(store.delete_expired(now, None, 9).unwrap().is_empty());
    }
    assert_eq!(store.read_version_counter().unwrap(), 2);
    let hash_key = format!("p:hash:gone:{}", hash(1));
    let left = client.dump();
    for key in [
        &hash_key,
        "p:entry:1",
        "p:lru:gone",
        "p:by_ttl",
        "p:expiring",
    ] {
        assert!(!left.contains_key(key), "{key}");
    }
    assert_eq!(
        (&*left["p:by_id"], &*left["p:namespaces"]),
        ("2=2", "stays")
    );
}

fn a_new_ttl_is_the_one_that_counts(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    let at = now();
    let with = |ttl| Entry {
        created_at: at,
        ttl,
        ..entry("a", 1)
    };
    let mut state = |store: &mut RedisStore, entry: Entry| {
        assert_eq!(put(store, entry), 1);
        let expires: i64 = client.run(&["EXPIRETIME", "p:entry:1"]);
        let score: Option<i64> = client.run(&["ZSCORE", "p:by_ttl", "a|1"]);
        let record: Option<String> = client.run(&["HGET", "p:expiring", "1"]);
        let expected = score.map(|_| format!("{}:a", hash(1)));
        assert_eq!(record, expected);
        (expires, score)
    };
    let sum = |ttl: u64| i64::try_from(at + ttl).unwrap();
    assert_eq!(
        state(&mut store, with(Some(1000))),
        (sum(1000), Some(sum(1000)))
    );
    assert_eq!(
        state(&mut store, with(Some(2000))),
        (sum(2000), Some(sum(2000)))
    );
    assert_eq!(state(&mut store, with(None)), (-1, None));
    assert_eq!(
        state(&mut store, with(Some(500))),
        (sum(500), Some(sum(500)))
    );
    // Already over: Redis would delete it at once.
    assert_eq!(state(&mut store, mortal("a", 1)), (-1, Some(1011)));
    assert_eq!(store.count(None).unwrap(), 1);
    assert!(get(&mut store, "a", 1).is_some());
    // Beyond all times. A score would round an odd number.
    let beyond = (1 << 53) - at % 2;
    assert_eq!(
        state(&mut store, with(Some(beyond - 2))),
        (-1, Some(sum(beyond - 2)))
    );
    // The last time that is set.
    assert_eq!(
        state(&mut store, with(Some((1 << 53) - 1 - at))),
        ((1 << 53) - 1, Some((1 << 53) - 1))
    );
    assert!(store.delete_expired(now(), None, 9).unwrap().is_empty());
}

fn ghosts_are_passed_over_everywhere(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    for from in 0..4 {
        let batch = (from * 1000..from * 1000 + 1000).map(|n| match n {
            0 | 2500 | 3999 => entry("a", n),
            _ if n % 2 == 0 => mortal("a", n),
            _ => mortal("b|c", n),
        });
        store.insert(batch.collect()).unwrap();
    }
    let living = [1, 2501, 4000];
    expire(&mut client, (1..=4000).filter(|id| !living.contains(id)));
    assert_eq!(store.count(None).unwrap(), 3);
    assert_eq!(store.count(Some("a")).unwrap(), 3);
    assert_eq!(store.count(Some("b|c")).unwrap(), 0);
    assert_eq!(store.list_namespaces(None, 1000).unwrap(), ["a"]);
    let counts = store.count_by_namespace(None, 1000).unwrap();
    assert_eq!(counts, [("a".to_owned(), 3)]);
    assert_eq!(ids(&mut store), living);
    assert_eq!(store.iter_stamps(0, 2).unwrap().ids, [1, 2501]);
    assert_eq!(store.iter_vectors(1, 2).unwrap().ids, [2501, 4000]);
    assert_eq!(store.iter_since(2501, 1).unwrap()[0].id, 4000);
    assert!(store.iter_since(4000, 1).unwrap().is_empty());
    assert_eq!(lru(&mut store, 2, None), [1, 2501]);
    assert_eq!(lru(&mut store, 9, Some("b|c")), [0; 0]);
    assert_eq!(store.get_by_ids(&[7, 1, 8], true).unwrap().len(), 1);
    assert!(!store.delete_by_id(9).unwrap());
    let version = store.read_version_counter().unwrap();
    assert_eq!(version, 4);

    assert!(store.delete_expired(u64::MAX, None, 9).unwrap().is_empty());
    assert_eq!(store.read_version_counter().unwrap(), version);
    assert_eq!(store.count(None).unwrap(), 3);
    let left = client.dump();
    assert!(!left.contains_key("p:by_ttl") && !left.contains_key("p:expiring"));
    assert_eq!(left.len(), EMPTY.len() + 3 * 2 + 3);
    assert_eq!(store.clear_namespace(None).unwrap(), 3);
    assert_eq!(keys(&mut client), EMPTY);
}

fn a_pair_whose_entry_has_expired_starts_again(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    assert_eq!(put(&mut store, mortal("a", 1)), 1);
    expire(&mut client, [1]);
    let stored = store.insert(vec![entry("a", 1)]).unwrap();
    assert_eq!((stored[0].id, stored[0].replaced), (2, false));
    assert_eq!(get(&mut store, "a", 1).unwrap().id, 2);
    assert_eq!(store.count(Some("a")).unwrap(), 1);
    assert!(store.delete_expired(u64::MAX, None, 9).unwrap().is_empty());
    assert!(store.delete_by_id(2).unwrap());
    assert_eq!(keys(&mut client), EMPTY);
}

fn inserts_clear_away_what_has_expired(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    store
        .insert((0..600).map(|n| mortal("a", n)).collect())
        .unwrap();
    expire(&mut client, 1..=600);
    for n in 0..40 {
        put(&mut store, entry("b", n));
    }
    assert_eq!(client.run::<u64>(&["ZCARD", "p:by_id"]), 40);
    let left = client.dump();
    assert!(!left.contains_key("p:by_ttl") && !left.contains_key("p:expiring"));
    assert_eq!(left["p:namespaces"], "b");
    assert_eq!(left.len(), 3 + 40 * 2 + 3);
    assert_eq!(store.read_version_counter().unwrap(), 41);
}

fn evicted_entries_leave_nothing_behind_for_long(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    // Without a ttl, as an eviction policy of the server takes them.
    store
        .insert((0..20).map(|n| entry("a", n)).collect())
        .unwrap();
    expire(&mut client, 1..=19);
    assert_eq!(ids(&mut store), [20]);
    assert_eq!(lru(&mut store, 9, None), [20]);
    for n in 100..105 {
        put(&mut store, entry("a", n));
    }
    assert_eq!(store.count(None).unwrap(), 6);
    assert_eq!(store.count(Some("a")).unwrap(), 6);
}

fn what_a_late_touch_leaves_is_no_entry(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    put(&mut store, mortal("a", 1));
    put(&mut store, entry("a", 2));
    expire(&mut client, [1]);
    client.run::<()>(&[
        "HSET",
        "p:entry:1",
        "last_accessed_at",
        "9999",
        "access_count",
        "1",
    ]);
    client.run::<()>(&["ZADD", "p:lru:a", "9999", "1"]);
    assert_eq!(get(&mut store, "a", 1), None);
    assert_eq!(store.count(None).unwrap(), 1);
    assert_eq!(
        (ids(&mut store), lru(&mut store, 9, None)),
        (vec![2], vec![2])
    );
    assert!(store.integrity_check().unwrap());
    assert!(store.delete_expired(u64::MAX, None, 9).unwrap().is_empty());
    let left = client.dump();
    assert!(!left.contains_key("p:entry:1"));
    assert_eq!((&*left["p:by_id"], &*left["p:lru:a"]), ("2=2", "2=2002"));
}

fn ghosts_of_others_are_cleared_away(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    store
        .insert((0..30).map(|n| mortal("a|b", n)).collect())
        .unwrap();
    put(&mut store, mortal("a|b", 50));
    // Another program leaves no record.
    client.run::<()>(&["DEL", "p:expiring"]);
    expire(&mut client, 1..=30);
    assert!(store.delete_expired(2000, Some("a"), 9).unwrap().is_empty());
    assert_eq!(client.run::<u64>(&["ZCARD", "p:by_ttl"]), 31);
    let found = store.delete_expired(2000, None, 9).unwrap();
    assert_eq!(found.iter().map(|entry| entry.id).collect::<Vec<_>>(), [31]);
    assert_eq!(store.read_version_counter().unwrap(), 3);
    let left = keys(&mut client);
    // Nobody knows whose hash keys those are; a new entry of the pair takes them over.
    assert!(
        left.iter()
            .all(|key| EMPTY.contains(&&**key) || key.starts_with("p:hash:a|b:")),
        "{left:?}"
    );
    store
        .insert((0..30).map(|n| entry("a|b", n)).collect())
        .unwrap();
    assert_eq!(store.clear_namespace(None).unwrap(), 30);
    assert_eq!(keys(&mut client), EMPTY);
}

fn what_expires_during_a_delete_is_made_up_for(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    store
        .insert((1..=50).map(|n| mortal("a", n)).collect())
        .unwrap();
    let first = store.delete_expired(2000, None, 10).unwrap();
    assert_eq!(first.len(), 10);
    // The rest is known from the first call.
    expire(&mut client, 15..=30);
    let next = store.delete_expired(2000, None, 10).unwrap();
    let next: Vec<u64> = next.into_iter().map(|entry| entry.id).collect();
    assert_eq!(next, [11, 12, 13, 14, 31, 32, 33, 34, 35, 36]);
    assert_eq!(store.read_version_counter().unwrap(), 3);
    assert_eq!(store.delete_expired(2000, None, 100).unwrap().len(), 14);
    assert_eq!(store.count(None).unwrap(), 0);
    assert!(store.delete_expired(2000, None, 100).unwrap().is_empty());
    assert_eq!(keys(&mut client), EMPTY);
}

fn outdated_times_of_expiry_are_put_right(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    for n in 1..=3 {
        put(&mut store, mortal("a", n));
    }
    // Another program has dropped a ttl, and raised one.
    client.run::<()>(&["HSET", "p:entry:1", "ttl", ""]);
    client.run::<()>(&["HSET", "p:entry:2", "ttl", "5000"]);
    let found = store.delete_expired(2000, None, 9).unwrap();
    assert_eq!(found.iter().map(|entry| entry.id).collect::<Vec<_>>(), [3]);
    let times: Vec<(String, u64)> = client.run(&["ZRANGE", "p:by_ttl", "0", "-1", "WITHSCORES"]);
    assert_eq!(times, [("a|2".to_owned(), 6002)]);
    assert_eq!(store.delete_expired(6002, None, 9).unwrap().len(), 1);

    // Records of entries that another program has deleted go too.
    put(&mut store, mortal("a", 4));
    for n in 5..8 {
        client.run::<()>(&["HSET", "p:expiring", &n.to_string(), "x:a"]);
    }
    assert_eq!(store.delete_expired(2000, None, 9).unwrap().len(), 1);
    assert_eq!(store.count(None).unwrap(), 1);
    assert!(!client.dump().contains_key("p:expiring"));
}

fn many_expired_entries_are_found_once(server: Redis) {
    let proxy = Proxy::start(server.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}?prefix=p", proxy.port());
    let mut store = RedisStore::from_url(&url).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    for from in 0..12 {
        // Later ids expire sooner.
        let batch = (from * 1000..from * 1000 + 1000).map(|n| Entry {
            ttl: Some(20_000 - n),
            created_at: 1000,
            ..entry(["a", "b"][n as usize % 2], n)
        });
        store.insert(batch.collect()).unwrap();
    }
    let collect = |part: Vec<EntryRef>| part.into_iter().map(|entry| entry.id).collect::<Vec<_>>();
    let first = store.delete_expired(u64::MAX, None, 100).unwrap();
    assert_eq!(collect(first), (1..=100).collect::<Vec<_>>());
    let (trips, next) = proxy.count(|| store.delete_expired(u64::MAX, None, 100).unwrap());
    assert_eq!((trips, collect(next)), (1, (101..=200).collect::<Vec<_>>()));
    // Others have written, and so there may be more.
    let mut other = opened(&server);
    let low = Entry {
        ttl: Some(1),
        ..entry("c", 1)
    };
    put(&mut other, low);
    assert!(other.delete_by_id(203).unwrap());
    let (trips, next) = proxy.count(|| store.delete_expired(u64::MAX, Some("a"), 3).unwrap());
    assert!(trips > 1);
    assert_eq!(collect(next), [201, 205, 207]);
    let version = store.read_version_counter().unwrap();
    let rest = store.delete_expired(u64::MAX, None, u32::MAX).unwrap();
    assert_eq!(rest.len(), 12_001 - 200 - 1 - 3);
    assert!(rest.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(
        store.read_version_counter().unwrap(),
        version + 2,
        "two steps"
    );
    assert_eq!(store.count(None).unwrap(), 0);
}
