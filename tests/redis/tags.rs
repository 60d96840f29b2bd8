//! Contexts and tags in the Redis store: which keys they have, and what leaves them behind.

use mneme::RedisStore;
use mneme::store::{Entry, Filter, ImportMode, Store, StoreError};
use mneme_tests::proxy::Proxy;
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, key, put};
use mneme_tests::servers::redis::{Client, Redis};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

mneme_tests::tests![
    contexts_and_tags_have_fields_and_an_index,
    entries_without_them_cost_no_command_more,
    tags_are_told_apart,
    an_import_keeps_the_index,
    what_redis_has_expired_leaves_no_tag,
    what_others_have_deleted_is_passed_over_and_swept,
    a_tag_is_found_in_one_step,
    a_selection_looks_at_a_part_at_a_time,
    no_vector_is_read_where_none_is_wanted,
    damaged_tags_are_named,
];

fn opened(server: &Redis) -> RedisStore {
    let mut store = server.store("p");
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

pub fn tagged(namespace: &str, n: u64, tags: &[&str]) -> Entry {
    Entry {
        tags: tags.iter().map(ToString::to_string).collect(),
        ..entry(namespace, n)
    }
}

fn by_tags(tags: &[&str]) -> Filter {
    Filter {
        tags: tags.iter().map(ToString::to_string).collect(),
        ..everything()
    }
}

fn everything() -> Filter {
    Filter {
        namespace: None,
        context: None,
        tags: Vec::new(),
        created_from: None,
        created_before: None,
    }
}

/// The ids of all entries that meet a filter, and in how many calls.
fn selected(store: &mut RedisStore, filter: &Filter, limit: u32) -> (Vec<u64>, usize) {
    let (mut ids, mut last, mut calls) = (Vec::new(), 0, 0);
    loop {
        let part = store.select(filter, last, limit).unwrap();
        calls += 1;
        assert!(part.entries.len() <= limit as usize);
        for found in part.entries {
            assert!(found.id > last, "{} after {last}", found.id);
            last = found.id;
            ids.push(last);
        }
        match part.next {
            Some(next) => {
                assert!(next >= last && next > 0);
                last = next;
            }
            None => return (ids, calls),
        }
    }
}

fn found(store: &mut RedisStore, tags: &[&str]) -> Vec<u64> {
    selected(store, &by_tags(tags), 100).0
}

fn members(client: &mut Client) -> Vec<String> {
    client.run(&["ZRANGE", "p:by_tag", "0", "-1"])
}

fn contexts_and_tags_have_fields_and_an_index(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    let full = Entry {
        context: "model:x é".into(),
        ttl: Some(10),
        ..tagged("a", 1, &["doc:1", "é\"\\"])
    };
    put(&mut store, full.clone());
    let fields: Vec<String> = client.run(&["HMGET", "p:entry:1", "context", "tags"]);
    let json = r#"["doc:1","é\"\\"]"#;
    assert_eq!(fields, ["model:x é", json]);
    let member = |tag: &str, id: u64| format!("{tag}\0{id:016}");
    assert_eq!(
        members(&mut client),
        [member("doc:1", 1), member("é\"\\", 1)]
    );
    let record: String = client.run(&["HGET", "p:tagged", "1"]);
    assert_eq!(record, json);
    let full = Entry { id: 1, ..full };
    assert_eq!(get(&mut store, "a", 1), Some(full.clone()));
    assert_eq!(store.iter_since(0, 9).unwrap(), [full]);
    assert_eq!(store.iter_vectors(0, 9).unwrap().contexts, ["model:x é"]);
    assert!(store.integrity_check().unwrap());

    // A replacement has what it was given and no more.
    put(&mut store, tagged("a", 1, &["doc:2"]));
    let plain = Entry {
        id: 1,
        ..tagged("a", 1, &["doc:2"])
    };
    assert_eq!(get(&mut store, "a", 1), Some(plain));
    assert_eq!(members(&mut client), [member("doc:2", 1)]);
    assert!(!client.dump().contains_key("p:tagged"));
    put(&mut store, entry("a", 1));
    let left = client.dump();
    assert!(!left.contains_key("p:by_tag"));
    let fields = &left["p:entry:1"];
    assert!(
        !fields.contains("tags") && !fields.contains("context"),
        "{fields}"
    );

    // What is deleted is deleted everywhere.
    let both = |n, namespace| Entry {
        ttl: Some(10),
        ..tagged(namespace, n, &["t", "u"])
    };
    let batch = (2..8).map(|n| both(n, ["a", "b"][n as usize % 2]));
    store.insert(batch.collect()).unwrap();
    assert!(store.delete_by_id(2).unwrap());
    let named = store.select(&by_tags(&["t"]), 0, 1).unwrap().entries;
    assert_eq!(store.delete_unchanged(&named).unwrap(), [3]);
    assert_eq!(store.delete_expired(u64::MAX, None, 1).unwrap().len(), 1);
    assert_eq!(found(&mut store, &["t", "u"]).len(), 3);
    let cards = |client: &mut Client| -> [u64; 2] {
        [
            client.run(&["ZCARD", "p:by_tag"]),
            client.run(&["HLEN", "p:tagged"]),
        ]
    };
    assert_eq!(cards(&mut client), [6, 3]);
    store.clear_namespace(Some("b")).unwrap();
    let rest = store.count(Some("a")).unwrap() - 1;
    assert_eq!(cards(&mut client), [2 * rest, rest]);
    assert!(store.integrity_check().unwrap());
    store.clear_namespace(None).unwrap();
    let keys: Vec<String> = client.dump().into_keys().collect();
    assert_eq!(keys, ["p:meta", "p:next_id", "p:version"]);
}

/// What the first edition ran, which knew neither, and two commands for the log of changes: to
/// store an entry, to replace and to delete it.
const NEW: &[(&str, u64)] = &[
    ("del", 1),
    ("evalsha", 1),
    ("get", 5),
    ("hlen", 1),
    ("hmget", 2),
    ("hset", 1),
    ("incr", 1),
    ("sadd", 1),
    ("scard", 1),
    ("set", 2),
    ("time", 1),
    ("zadd", 2),
    ("zcard", 3),
    ("zrange", 1),
    ("zrangebyscore", 1),
    ("zrevrange", 1),
    ("xadd", 1),
    ("xrevrange", 1),
];
const REPLACED: &[(&str, u64)] = &[
    ("evalsha", 1),
    ("get", 5),
    ("hdel", 1),
    ("hlen", 1),
    ("hmget", 3),
    ("hset", 1),
    ("incr", 1),
    ("persist", 1),
    ("sadd", 1),
    ("scard", 1),
    ("set", 1),
    ("time", 1),
    ("zadd", 2),
    ("zcard", 3),
    ("zrange", 1),
    ("zrangebyscore", 1),
    ("zrem", 1),
    ("zrevrange", 1),
    ("xadd", 1),
    ("xrevrange", 1),
];
const DELETED: &[(&str, u64)] = &[
    ("del", 2),
    ("evalsha", 1),
    ("exists", 1),
    ("get", 4),
    ("hdel", 1),
    ("hlen", 1),
    ("hmget", 1),
    ("incr", 1),
    ("scard", 1),
    ("zcard", 2),
    ("zrem", 3),
    ("xadd", 1),
    ("xrevrange", 1),
];

/// How often the server has run each command during some work.
fn commands(client: &mut Client, work: impl FnOnce()) -> BTreeMap<String, u64> {
    client.run::<()>(&["CONFIG", "RESETSTAT"]);
    work();
    let info: String = client.run(&["INFO", "commandstats"]);
    let lines = info
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_"));
    lines
        .filter_map(|line| {
            let (name, rest) = line.split_once(":calls=")?;
            let calls = rest.split_once(',')?.0.parse().ok()?;
            (!name.starts_with("config")).then(|| (name.to_owned(), calls))
        })
        .collect()
}

fn entries_without_them_cost_no_command_more(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    // The server knows the scripts, and the namespace has an entry to look at.
    put(&mut store, entry("a", 1));
    put(&mut store, entry("a", 2));
    assert!(store.delete_by_id(2).unwrap());
    let expected = |counts: &[(&str, u64)]| -> BTreeMap<String, u64> {
        counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    };
    let new = commands(&mut client, || _ = put(&mut store, entry("a", 3)));
    assert_eq!(new, expected(NEW));
    let replaced = commands(&mut client, || _ = put(&mut store, entry("a", 3)));
    assert_eq!(replaced, expected(REPLACED));
    let deleted = commands(&mut client, || assert!(store.delete_by_id(3).unwrap()));
    assert_eq!(deleted, expected(DELETED));

    let both = || Entry {
        context: "c".into(),
        ..tagged("a", 3, &["t"])
    };
    let more = commands(&mut client, || _ = put(&mut store, both()));
    let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    assert!(
        sum(&more) > sum(&new) && more.contains_key("evalsha"),
        "{more:?}"
    );
}

fn tags_are_told_apart(server: Redis) {
    let mut store = opened(&server);
    let names = [
        "a",
        "a\u{1}",
        "a:",
        "a:b",
        "a0000000000000001",
        "aa",
        "A",
        "é",
        "e\u{301}",
        "[",
        "(",
        "-",
        "+",
        "\u{10ffff}",
        "0",
        "null",
        "\u{1}",
    ];
    for (n, name) in (1..).zip(names) {
        put(&mut store, tagged(["x", "y"][n as usize % 2], n, &[name]));
    }
    for (n, name) in (1..).zip(names) {
        assert_eq!(found(&mut store, &[name]), [n], "{name:?}");
    }
    for none in ["", "b", "a:b:", "\u{2}"] {
        assert!(found(&mut store, &[none]).is_empty(), "{none:?}");
    }
    // Several conditions at once.
    let one = Entry {
        context: "c".into(),
        ..tagged("x", 100, &["a", "rare"])
    };
    let id = put(&mut store, one);
    assert_eq!(found(&mut store, &["a"]), [1, id]);
    assert_eq!(found(&mut store, &["a", "rare"]), [id]);
    assert!(found(&mut store, &["rare", "é"]).is_empty());
    for (filter, expected) in [
        (
            Filter {
                namespace: Some("x".into()),
                ..by_tags(&["a"])
            },
            vec![id],
        ),
        (
            Filter {
                namespace: Some("y".into()),
                ..by_tags(&["a"])
            },
            vec![1],
        ),
        (
            Filter {
                context: Some("c".into()),
                ..everything()
            },
            vec![id],
        ),
        (
            Filter {
                context: Some(String::new()),
                ..by_tags(&["a"])
            },
            vec![1],
        ),
        (
            Filter {
                created_from: Some(1100),
                ..everything()
            },
            vec![id],
        ),
        (
            Filter {
                created_before: Some(1002),
                ..everything()
            },
            vec![1],
        ),
        (
            Filter {
                created_from: Some(1002),
                created_before: Some(1003),
                ..everything()
            },
            vec![2],
        ),
        (
            Filter {
                created_from: Some(u64::MAX),
                ..everything()
            },
            vec![],
        ),
        (
            Filter {
                created_before: Some(u64::MAX),
                ..by_tags(&["a"])
            },
            vec![1, id],
        ),
        (
            Filter {
                created_before: Some(0),
                ..everything()
            },
            vec![],
        ),
    ] {
        for limit in [1, 2, u32::MAX] {
            assert_eq!(
                selected(&mut store, &filter, limit).0,
                expected,
                "{filter:?}"
            );
        }
    }
    assert!(
        store
            .select(&by_tags(&["a"]), u64::MAX, 9)
            .unwrap()
            .entries
            .is_empty()
    );
    let none = store.select(&everything(), 0, 0).unwrap();
    assert_eq!((none.entries.len(), none.next), (0, None));
}

fn an_import_keeps_the_index(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    let mut twin = server.store("q");
    twin.open(FINGERPRINT, DIM).unwrap();
    let old = [
        tagged("a", 1, &["old", "t"]),
        Entry {
            context: "c".into(),
            ttl: Some(9),
            ..tagged("a", 2, &["old"])
        },
        tagged("a", 3, &["old"]),
    ];
    let new = [
        tagged("a", 1, &["new", "t"]),
        entry("a", 2),
        Entry {
            context: "d".into(),
            ttl: Some(9),
            ..tagged("b", 4, &["new"])
        },
    ];
    store.insert(old.to_vec()).unwrap();
    twin.insert(old.to_vec()).unwrap();
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(new.to_vec()).unwrap();
    assert!(found(&mut store, &["new"]).is_empty());
    assert!(store.commit_import(&[], &[]).unwrap());
    twin.insert(new.to_vec()).unwrap();
    let all = client.dump();
    let under = |prefix: &str| -> BTreeMap<String, String> {
        let keys = all
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value)));
        keys.map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    };
    assert_eq!(under("p:"), under("q:"));
    assert!(under("p:").contains_key("tagged"));
    assert_eq!(found(&mut store, &["new"]), [1, 4]);
    assert_eq!(found(&mut store, &["old"]), [3]);
    assert!(store.integrity_check().unwrap());

    store.begin_import(ImportMode::Replace).unwrap();
    store.write_import(vec![tagged("a", 9, &["only"])]).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    let id = found(&mut store, &["only"])[0];
    assert_eq!(members(&mut client), [format!("only\0{id:016}")]);
    assert!(!client.dump().contains_key("p:tagged"));
    // Not a thing stays of an import that is given up.
    let before = client.dump();
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(new.to_vec()).unwrap();
    store.end_import().unwrap();
    assert_eq!(client.dump(), before);
}

fn what_redis_has_expired_leaves_no_tag(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    // Expired before it was stored, so that Redis leaves it alone until the test deletes the hash.
    let mortal = |n: u64| Entry {
        ttl: Some(10),
        ..tagged("a", n, &["t", &format!("user:{n}")])
    };
    store.insert((1..=50).map(mortal).collect()).unwrap();
    put(&mut store, tagged("a", 99, &["t"]));
    let expire = |client: &mut Client, ids: std::ops::RangeInclusive<u64>| {
        for id in ids {
            client.run::<()>(&["DEL", &format!("p:entry:{id}")]);
        }
    };
    expire(&mut client, 1..=20);
    assert_eq!(found(&mut store, &["t"]), (21..=51).collect::<Vec<_>>());
    assert!(found(&mut store, &["user:3"]).is_empty());
    assert!(store.integrity_check().unwrap());
    // A write without tags clears away too.
    put(&mut store, entry("b", 1));
    put(&mut store, entry("b", 2));
    assert_eq!(client.run::<u64>(&["ZCARD", "p:by_tag"]), 61);
    assert_eq!(client.run::<u64>(&["HLEN", "p:tagged"]), 30);
    expire(&mut client, 21..=50);
    assert!(store.delete_expired(0, None, 9).unwrap().is_empty());
    assert!(store.delete_expired(u64::MAX, None, 9).unwrap().is_empty());
    assert_eq!(members(&mut client), [format!("t\0{:016}", 51)]);
    assert!(!client.dump().contains_key("p:tagged"));

    // So it is where Redis itself expires the entry.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let short = Entry {
        created_at: now,
        ttl: Some(1),
        ..tagged("c", 1, &["short"])
    };
    put(&mut store, short);
    while get(&mut store, "c", 1).is_some() {
        let time: (u64, u64) = client.run(&["TIME"]);
        assert!(time.0 < now + 30, "it never expires");
    }
    assert!(found(&mut store, &["short"]).is_empty());
    assert!(store.delete_expired(now + 2, None, 9).unwrap().is_empty());
    assert_eq!(members(&mut client), [format!("t\0{:016}", 51)]);
}

fn what_others_have_deleted_is_passed_over_and_swept(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    store
        .insert((1..=40).map(|n| tagged("a", n, &["t", "u"])).collect())
        .unwrap();
    // As mneme-cache deletes, which knows nothing of tags.
    for n in 2..=40_u64 {
        client.run::<()>(&[
            "DEL",
            &format!("p:entry:{n}"),
            &format!("p:hash:a:{}", hash(n)),
        ]);
        client.run::<()>(&["ZREM", "p:lru:a", &n.to_string()]);
        client.run::<()>(&["ZREM", "p:by_id", &n.to_string()]);
    }
    assert_eq!(found(&mut store, &["t"]), [1]);
    assert_eq!(found(&mut store, &["t", "u"]), [1]);
    assert!(store.integrity_check().unwrap());
    for n in 0..400 {
        put(&mut store, tagged("a", 100 + n % 3, &["v"]));
    }
    let left = members(&mut client);
    assert_eq!(left.len(), 2 + 3, "{left:?}");
    // The members of an entry with a ttl are found by the records of it.
    let mortal = Entry {
        ttl: Some(10),
        ..tagged("m", 1, &["m"])
    };
    let id = put(&mut store, mortal);
    client.run::<()>(&[
        "DEL",
        &format!("p:entry:{id}"),
        &format!("p:hash:m:{}", hash(1)),
    ]);
    client.run::<()>(&["ZREM", "p:by_ttl", &format!("m|{id}")]);
    client.run::<()>(&["ZREM", "p:lru:m", &id.to_string()]);
    client.run::<()>(&["ZREM", "p:by_id", &id.to_string()]);
    assert!(store.delete_expired(u64::MAX, None, 9).unwrap().is_empty());
    assert_eq!(members(&mut client), left);
    assert_eq!(client.run::<u64>(&["EXISTS", "p:tagged", "p:expiring"]), 0);
    store.clear_namespace(None).unwrap();
    assert!(members(&mut client).is_empty());
}

fn filled(store: &mut RedisStore, count: u64) {
    for from in (0..count).step_by(1000) {
        let batch = (from..from + 1000).map(|n| match n % 1000 {
            500 => tagged("b", n, &["common", "rare"]),
            _ => tagged("a", n, &["common"]),
        });
        store.insert(batch.collect()).unwrap();
    }
}

fn a_tag_is_found_in_one_step(server: Redis) {
    let proxy = Proxy::start(server.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}?prefix=p", proxy.port());
    let mut store = RedisStore::from_url(&url).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    filled(&mut store, 10_000);
    let rare: Vec<u64> = (0..10).map(|n| n * 1000 + 501).collect();
    let mut client = server.client();
    for tags in [&["rare"][..], &["common", "rare"], &["rare", "common"]] {
        found(&mut store, tags);
        let mut taken = Default::default();
        let counts = commands(&mut client, || {
            taken = proxy.count(|| found(&mut store, tags))
        });
        assert_eq!(taken, (1, rare.clone()));
        // It has looked at no entry without the tag.
        assert_eq!(counts["hmget"], 10, "{counts:?}");
    }
    // So are the entries of a small namespace.
    let filter = Filter {
        namespace: Some("b".into()),
        ..everything()
    };
    let mut taken = Default::default();
    let counts = commands(&mut client, || taken = selected(&mut store, &filter, 100));
    assert_eq!((taken, counts["hmget"]), ((rare, 1), 10));
}

fn a_selection_looks_at_a_part_at_a_time(server: Redis) {
    let mut store = opened(&server);
    filled(&mut store, 10_000);
    let all: Vec<u64> = (1..=10_000).collect();
    let mut client = server.client();
    let late = Filter {
        created_from: Some(1000 + 9_990),
        ..everything()
    };
    let counts = commands(&mut client, || {
        let part = store.select(&late, 0, 1000).unwrap();
        assert!(part.entries.is_empty() && part.next.is_some());
    });
    assert!((1000..=2000).contains(&counts["hmget"]), "{counts:?}");
    for limit in [1, 7, 1000, u32::MAX] {
        let (ids, calls) = selected(&mut store, &late, limit);
        assert_eq!(ids, all[9_990..], "{limit}");
        assert!(calls >= 5, "{calls}");
    }
    for filter in [everything(), by_tags(&["common"])] {
        let (ids, calls) = selected(&mut store, &filter, u32::MAX);
        assert_eq!(ids, all);
        assert!(calls >= 5, "{calls}");
    }
    // What is deleted during a walk is missed, and nothing else.
    let first = store.select(&by_tags(&["common"]), 0, 10).unwrap();
    assert_eq!(first.next, Some(10));
    assert!(store.delete_by_id(11).unwrap() && store.delete_by_id(10).unwrap());
    let next = store.select(&by_tags(&["common"]), 10, 3).unwrap();
    let ids: Vec<u64> = next.entries.iter().map(|found| found.id).collect();
    assert_eq!(ids, [12, 13, 14]);
}

fn no_vector_is_read_where_none_is_wanted(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    let given = Entry {
        context: "c".into(),
        ..tagged("a", 1, &["t"])
    };
    put(&mut store, given.clone());
    client.run::<()>(&["HDEL", "p:entry:1", "embedding"]);
    let bare = Entry {
        id: 1,
        embedding: Vec::new(),
        ..given
    };
    let found = store
        .get_by_hash(&[key("a", 1), key("a", 2)], false)
        .unwrap();
    assert_eq!(found, [Some(bare.clone()), None]);
    assert_eq!(store.get_by_ids(&[2, 1], false).unwrap(), [bare]);
    for outcome in [
        store.get_by_hash(&[key("a", 1)], true).map(drop),
        store.get_by_ids(&[1], true).map(drop),
    ] {
        assert!(
            matches!(&outcome, Err(StoreError::Corrupt(text)) if text.contains("field embedding is missing")),
            "{outcome:?}"
        );
    }
}

fn damaged_tags_are_named(server: Redis) {
    let mut client = server.client();
    let corrupt = |outcome: Result<(), StoreError>, part: &str| {
        assert!(
            matches!(&outcome, Err(StoreError::Corrupt(text)) if text.contains(part)),
            "{outcome:?} lacks {part}"
        );
    };
    for damage in ["", "x", "{}x", "[1]", r#"{"a":"t"}"#, "7", "[[\"t\"]]"] {
        client.run::<()>(&["FLUSHALL"]);
        let mut store = opened(&server);
        store
            .insert(vec![tagged("a", 1, &["t"]), entry("a", 2)])
            .unwrap();
        client.run::<()>(&["HSET", "p:entry:1", "tags", damage]);
        corrupt(store.get_by_ids(&[1], false).map(drop), "field tags");
        corrupt(store.select(&by_tags(&["t"]), 0, 9).map(drop), "field tags");
        assert!(!store.integrity_check().unwrap(), "{damage}");
        assert!(store.delete_by_id(1).unwrap());
        assert!(store.integrity_check().unwrap());
        assert!(found(&mut store, &["t"]).is_empty());
    }
    for (key, kind) in [("p:by_tag", "zset"), ("p:tagged", "hash")] {
        client.run::<()>(&["FLUSHALL"]);
        let mut store = opened(&server);
        put(
            &mut store,
            Entry {
                ttl: Some(10),
                ..tagged("a", 1, &["t"])
            },
        );
        client.run::<()>(&["DEL", key]);
        client.run::<()>(&["SET", key, "x"]);
        let before = client.dump();
        corrupt(store.insert(vec![tagged("a", 2, &["t"])]).map(drop), key);
        corrupt(store.open(FINGERPRINT, DIM), kind);
        client.run::<()>(&["RENAME", key, "kept"]);
        store.open(FINGERPRINT, DIM).unwrap();
        client.run::<()>(&["RENAME", "kept", key]);
        assert_eq!(client.dump(), before);
        assert!(!store.integrity_check().unwrap());
        // What has no tags does not need them, and a delete gets by.
        put(&mut store, entry("a", 3));
        assert!(store.delete_by_id(1).unwrap());
        assert_eq!(store.count(None).unwrap(), 1);
    }
    // A tag that the index lacks.
    client.run::<()>(&["FLUSHALL"]);
    let mut store = opened(&server);
    put(&mut store, tagged("a", 1, &["t", "u"]));
    client.run::<()>(&["ZREM", "p:by_tag", &format!("u\0{:016}", 1)]);
    assert!(!store.integrity_check().unwrap());
    put(&mut store, tagged("a", 1, &["t", "u"]));
    assert!(store.integrity_check().unwrap());
    // A member that is none of ours.
    client.run::<()>(&["ZADD", "p:by_tag", "0", "t\0x"]);
    corrupt(
        store.select(&by_tags(&["t"]), 0, 9).map(drop),
        "p:by_tag has a member",
    );
    for n in 0..20 {
        put(&mut store, tagged("a", 1, &["t", &n.to_string()]));
    }
    assert_eq!(found(&mut store, &["t"]), [1]);
}
