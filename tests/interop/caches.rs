//! Caches of both libraries at one place, of any kind.

use crate::place::{Kind, Named, ODD, Place, ask, now, put};
use mneme::embedder::Precomputed;
use mneme::store::{ImportMode, Store};
use mneme::{Coordination, Embedder, EntryFilter, Error, Layer, ManualClock, PutRequest, Ttl};
use mneme_tests::embedders::{DIM, FINGERPRINT};
use mneme_tests::peer::Peer;
use mneme_tests::served::until;
use serde_json::{Value, json};
use std::time::Duration;

/// The tests of this module.
pub const TESTS: &[Named] = &[
    (
        "their_data_answers_through_ours",
        their_data_answers_through_ours,
    ),
    (
        "our_data_answers_through_theirs",
        our_data_answers_through_theirs,
    ),
    ("both_work_at_the_same_time", both_work_at_the_same_time),
    (
        "their_cache_passes_over_blobs",
        their_cache_passes_over_blobs,
    ),
    (
        "an_import_is_nothing_to_theirs_until_it_is_data",
        an_import_is_nothing_to_theirs_until_it_is_data,
    ),
    (
        "an_erasure_takes_what_they_wrote",
        an_erasure_takes_what_they_wrote,
    ),
    (
        "another_embedder_is_refused_by_both",
        another_embedder_is_refused_by_both,
    ),
];

const UNICODE: &str = "Straße  nach\u{3000}ΌΔΟΣ 😀 café";
const ANSWER: &str = "second \u{1f600}\n\"'\\";

fn their_data_answers_through_ours(place: Place) {
    let mut peer = place.theirs(json!({"namespace_quotas": {"small": 2}}));
    let metadata = json!({"a": [1, {"ü": null}]});
    let more = json!({"metadata": metadata});
    peer.put("default", "one two three", "first", more);
    peer.put("default", UNICODE, ANSWER, json!({}));
    peer.put("default", "soon to be gone", "old", json!({"ttl": 100}));
    for n in 0..2 {
        peer.put("small", &format!("alpha{n} beta{n}"), "r", json!({}));
    }
    for namespace in ODD {
        peer.put(namespace, "alpha beta", namespace, json!({}));
    }
    for query in ["ONE two three", "one two three", "three one two"] {
        assert_eq!(peer.get("default", query)["response"], "first");
    }
    assert!(peer.get("default", "nothing like that").is_null());
    peer.close();

    let clock = ManualClock::at(now() + 50);
    let cache = place.ours().clock(clock.clone()).open().unwrap();
    let counters = cache.stats(Some("default")).unwrap().counters;
    assert_eq!(
        (counters.hits_exact, counters.hits_semantic, counters.misses),
        (2, 1, 1)
    );
    let hit = ask(&cache, "default", " One\tTWO three ").unwrap();
    assert_eq!((hit.layer, &*hit.response), (Layer::Exact, "first"));
    assert!((50..90).contains(&hit.age_seconds));
    let given: Value = serde_json::from_str(&hit.metadata).unwrap();
    assert_eq!(given, metadata);
    let hit = ask(&cache, "default", "three two one").unwrap();
    assert_eq!((hit.layer, &*hit.response), (Layer::Semantic, "first"));
    assert!(hit.similarity > 0.9999);
    let hit = ask(&cache, "default", "STRASSE nach όδος 😀 CAFÉ").unwrap();
    assert_eq!(
        (hit.layer, &*hit.response, &*hit.query),
        (Layer::Exact, ANSWER, UNICODE)
    );
    assert!(ask(&cache, "small", "one two three").is_none());
    for namespace in ODD {
        let hit = ask(&cache, namespace, "beta alpha").unwrap();
        assert_eq!(hit.response, namespace);
    }

    let hit = ask(&cache, "default", "soon to be gone").unwrap();
    assert_eq!(hit.response, "old");
    clock.advance(Duration::from_secs(60));
    assert!(ask(&cache, "default", "soon to be gone").is_none());

    assert_eq!(cache.namespace_quota("small").unwrap(), Some(2));
    assert!(ask(&cache, "small", "alpha0 beta0").is_some());
    put(&cache, "small", "one more", "r");
    let used_last = ask(&cache, "small", "alpha0 beta0");
    assert!(used_last.is_some());
    let used_least = ask(&cache, "small", "alpha1 beta1");
    assert!(used_least.is_none());

    let stats = cache.stats(None).unwrap();
    assert_eq!(stats.entries, 4 + ODD.len() as u64);
    let counters = stats.counters;
    assert_eq!(
        (counters.hits_exact, counters.hits_semantic),
        (2 + 5, 1 + 1 + ODD.len() as u64)
    );
    assert_eq!((counters.expirations, counters.evictions), (1, 1));
    assert!(cache.health(true).unwrap().healthy);
    cache.close().unwrap();
}

fn our_data_answers_through_theirs(place: Place) {
    // So long ago that what lives for a minute is gone, and no server takes the clock for wrong.
    let past = ManualClock::at(now() - 200);
    let past = place.ours().clock(past).open().unwrap();
    past.put(PutRequest::new("soon to be gone", "old").ttl(Ttl::Seconds(60)))
        .unwrap();
    past.put(PutRequest::new("one two three", "first").metadata(r#"{"a": [1, {"ü": null}]}"#))
        .unwrap();
    past.close().unwrap();
    let cache = place.ours().namespace_quota("small", 2).open().unwrap();
    cache
        .put(PutRequest::new(UNICODE, ANSWER).ttl(Ttl::Seconds(1000)))
        .unwrap();
    for n in 0..2 {
        put(&cache, "small", &format!("alpha{n} beta{n}"), "r");
    }
    for namespace in ODD {
        let request = PutRequest::new("alpha beta", namespace).namespace(namespace);
        cache.put(request.ttl(Ttl::Seconds(1000))).unwrap();
    }
    for query in ["One two three", "three two one", "unlike everything else"] {
        cache.get(query).unwrap();
    }
    cache.close().unwrap();
    let mut store = place.opened();
    let version = store.read_version_counter().unwrap();
    assert_eq!(version, 5 + ODD.len() as u64);

    // It enforces the quotas that it was opened with, not those that are stored.
    let mut peer = place.theirs(json!({"namespace_quotas": {"small": 2}}));
    let quota = peer.call("store.get_namespace_quota", json!({"namespace": "small"}));
    assert_eq!(quota, 2);
    let found = |peer: &mut Peer, namespace: &str, query: &str| {
        let hit = peer.get(namespace, query);
        let part = |name: &str| hit[name].as_str().unwrap_or_default().to_owned();
        (part("layer"), part("response"))
    };
    let is = |layer: &str, response: &str| (layer.to_owned(), response.to_owned());
    let hit = peer.get("default", " ONE two\tthree");
    assert_eq!(hit["layer"], "exact");
    assert_eq!(hit["metadata"], json!({"a": [1, {"ü": null}]}));
    assert!((200..300).contains(&hit["age_seconds"].as_u64().unwrap()));
    let hit = found(&mut peer, "default", "three two one");
    assert_eq!(hit, is("semantic", "first"));
    let hit = found(&mut peer, "default", "STRASSE nach όδος 😀 CAFÉ");
    assert_eq!(hit, is("exact", ANSWER));
    for namespace in ODD {
        let hit = found(&mut peer, namespace, "beta alpha");
        assert_eq!(hit, is("semantic", namespace));
        let hit = found(&mut peer, namespace, "alpha beta");
        assert_eq!(hit, is("exact", namespace));
    }
    assert!(peer.get("default", "soon to be gone").is_null());
    assert!(!peer.get("small", "alpha0 beta0").is_null());
    peer.put("small", "one more", "r", json!({}));
    let stats = peer.call("stats", json!({}));
    for (counter, count) in [
        ("entries", 4 + ODD.len()),
        ("hits_exact", 1 + 3 + ODD.len()),
        ("hits_semantic", 1 + 1 + ODD.len()),
        ("misses", 1 + 1),
        ("expirations", 1),
        ("evictions", 1),
    ] {
        assert_eq!(stats[counter], count, "{counter}");
    }
    let health = peer.call("health", json!({}));
    assert_eq!(health["healthy"], true);
    assert_eq!(health["schema_version"], 1);
    let mut expected = ODD.to_vec();
    expected.extend(["default", "small"]);
    expected.sort_unstable();
    let names = peer.call("list_namespaces", json!({}));
    let mut names: Vec<String> = serde_json::from_value(names).unwrap();
    names.sort_unstable();
    assert_eq!(names, expected);
    peer.close();
    assert!(store.read_version_counter().unwrap() > version);
    assert!(store.integrity_check().unwrap());
}

fn both_work_at_the_same_time(place: Place) {
    let mut peer = place.theirs(json!({"multi_process_mode": "stale-tolerant"}));
    let cache = place.ours().coordination(Coordination::StaleTolerant(0));
    let cache = cache.open().unwrap();
    for n in 0..20 {
        let namespace = ODD[n % ODD.len()];
        let (theirs, mine) = (
            format!("their{n} alpha beta{n}"),
            format!("mine{n} gamma delta{n}"),
        );
        let (turned, mine_turned) = (
            format!("beta{n} their{n} alpha"),
            format!("delta{n} mine{n} gamma"),
        );
        let more = json!({"ttl": 1000});
        peer.put(namespace, &theirs, &format!("theirs {n}"), more);
        put(&cache, namespace, &mine, &format!("mine {n}"));
        for (query, layer) in [(&theirs, Layer::Exact), (&turned, Layer::Semantic)] {
            // The index follows at once, unless its last look at the store took long.
            let mut found = None;
            until("what the other stored is found", || {
                found = ask(&cache, namespace, query);
                found.is_some()
            });
            let hit = found.unwrap();
            assert_eq!((hit.layer, hit.response), (layer, format!("theirs {n}")));
        }
        for query in [&mine, &mine_turned] {
            assert_eq!(peer.get(namespace, query)["response"], format!("mine {n}"));
        }
        // Replaced and deleted by the other side.
        peer.put(namespace, &mine, &format!("replaced {n}"), json!({}));
        put(&cache, namespace, &theirs, &format!("taken {n}"));
        for query in [&mine, &mine_turned] {
            until("what the other replaced is found", || {
                ask(&cache, namespace, query)
                    .is_some_and(|hit| hit.response == format!("replaced {n}"))
            });
        }
        let hit = peer.get(namespace, &theirs);
        assert_eq!(hit["response"], format!("taken {n}"));
        assert_eq!(peer.delete(namespace, &theirs), json!(true));
        for query in [&theirs, &turned] {
            let deleted = ask(&cache, namespace, query);
            assert!(deleted.is_none(), "{query}: {deleted:?}");
        }
        assert!(cache.delete(&mine, namespace).unwrap());
        assert!(peer.get(namespace, &mine).is_null(), "{mine} was deleted");
    }
    assert_eq!(cache.stats(None).unwrap().entries, 0);
    assert!(cache.health(true).unwrap().healthy);
    assert_eq!(peer.call("health", json!({}))["healthy"], true);
    peer.close();
    cache.close().unwrap();
}

fn their_cache_passes_over_blobs(place: Place) {
    let mut peer = place.theirs(json!({}));
    peer.put("default", "one two three", "first", json!({}));
    peer.close();
    let mut store = place.opened();
    let size = store.capabilities().max_blob.min(1 << 20);
    let index: Vec<u8> = (0..size).map(|n| (n % 253) as u8).collect();
    store.write_blob("index/1", index.clone()).unwrap();
    store.write_blob("index/empty", Vec::new()).unwrap();
    let version = store.read_version_counter().unwrap();

    let mut peer = place.theirs(json!({}));
    assert_eq!(peer.get("default", "three two one")["response"], "first");
    peer.put("other", "alpha beta", "second", json!({}));
    assert_eq!(peer.call("health", json!({}))["healthy"], true);
    assert_eq!(peer.call("stats", json!({}))["entries"], 2);
    let names = peer.call("list_namespaces", json!({}));
    assert_eq!(names, json!(["default", "other"]));
    assert_eq!(peer.delete("default", "one two three"), json!(true));
    peer.close();

    // On DynamoDB theirs counts a hit as a change, too.
    let changes = if place.kind == Kind::DynamoDb { 3 } else { 2 };
    let moved = store.read_version_counter().unwrap() - version;
    assert_eq!(moved, changes);
    assert_eq!(store.count(None).unwrap(), 1);
    assert_eq!(store.list_blobs().unwrap(), ["index/1", "index/empty"]);
    assert_eq!(store.read_blob("index/1").unwrap(), Some(index));
    assert_eq!(store.read_blob("index/empty").unwrap(), Some(Vec::new()));
    assert!(store.integrity_check().unwrap());
}

fn an_import_is_nothing_to_theirs_until_it_is_data(place: Place) {
    let source = place.beside("source");
    let cache = source.ours().open().unwrap();
    for namespace in ODD {
        let request = PutRequest::new("alpha beta", namespace).namespace(namespace);
        cache.put(request.ttl(Ttl::Seconds(1000))).unwrap();
    }
    cache.close().unwrap();
    let entries = source.opened().iter_since(0, 99).unwrap();

    let mut peer = place.theirs(json!({}));
    peer.put("default", "one two three", "first", json!({}));
    peer.put(ODD[0], "alpha beta", "theirs", json!({"ttl": 10_000}));
    let mut store = place.opened();
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(entries).unwrap();
    assert_eq!(peer.call("stats", json!({}))["entries"], 2);
    assert_eq!(peer.get(ODD[0], "alpha beta")["response"], "theirs");
    assert!(peer.get(ODD[1], "alpha beta").is_null());
    assert_eq!(peer.delete("default", "one two three"), json!(true));
    let quotas = [("small".to_owned(), 2)];
    assert!(store.commit_import(&quotas, &[]).unwrap());
    peer.close();

    let mut peer = place.theirs(json!({}));
    for namespace in ODD {
        assert_eq!(peer.get(namespace, "beta alpha")["response"], namespace);
        assert_eq!(peer.get(namespace, "alpha beta")["layer"], "exact");
    }
    assert_eq!(peer.call("stats", json!({}))["entries"], ODD.len());
    assert_eq!(peer.call("health", json!({}))["healthy"], true);
    let quota = peer.call("store.get_namespace_quota", json!({"namespace": "small"}));
    assert_eq!(quota, 2);
    peer.put("default", "another one", "later", json!({}));
    assert_eq!(peer.delete(ODD[0], "alpha beta"), json!(true));
    peer.close();
    assert_eq!(store.count(None).unwrap(), ODD.len() as u64);
    let last = store.iter_since(0, 9).unwrap().pop().unwrap();
    assert_eq!(last.response, "later", "the greatest id is the last");
    assert!(store.integrity_check().unwrap());
}

fn an_erasure_takes_what_they_wrote(place: Place) {
    let mut peer = place.theirs(json!({}));
    for n in 0..6 {
        peer.put("a", &format!("alpha{n} beta{n}"), "theirs", json!({}));
    }
    peer.put("b", "alpha0 beta0", "theirs", json!({}));
    peer.close();
    let builder = place.ours().coordination(Coordination::StaleTolerant(0));
    let cache = builder.open().unwrap();
    let tagged = PutRequest::new("alpha9 beta9", "ours").namespace("a");
    cache.put(tagged.tag("t").context("c")).unwrap();
    // The index holds them all.
    assert!(ask(&cache, "a", "beta5 alpha5").is_some());
    let listed = cache.list_entries(&EntryFilter::new().namespace("a"), 0, 9);
    let listed = listed.unwrap().entries;
    let id_of = |query: &str| {
        let found = listed.iter().find(|entry| entry.query == query);
        found.unwrap().id
    };
    assert_eq!(listed.len(), 7);
    let (one, two) = (id_of("alpha1 beta1"), id_of("alpha2 beta2"));

    let erase = |filter: EntryFilter| {
        let dry = cache.erase(&filter, true).unwrap();
        let receipt = cache.erase(&filter, false).unwrap();
        assert_eq!(receipt.ids, dry.ids, "{filter:?}");
        assert!(receipt.version_after > receipt.version_before, "{filter:?}");
        assert_eq!(cache.erase(&filter, false).unwrap().ids, [0_u64; 0]);
        receipt.ids
    };
    // Their entries carry no tag and have the empty context.
    assert_eq!(erase(EntryFilter::new().tag("t")), [id_of("alpha9 beta9")]);
    assert_eq!(erase(EntryFilter::new().ids([one])), [one]);
    assert_eq!(erase(EntryFilter::new().query("ALPHA2  beta2")), [two]);
    let left = erase(EntryFilter::new().namespace("a").context("").max_age(3600));
    assert_eq!(left.len(), 4);
    for n in 0..6 {
        for query in [format!("alpha{n} beta{n}"), format!("beta{n} alpha{n}")] {
            assert!(ask(&cache, "a", &query).is_none(), "{query}");
        }
    }
    assert!(ask(&cache, "b", "beta0 alpha0").is_some());
    cache.close().unwrap();

    let mut peer = place.theirs(json!({}));
    for query in ["alpha0 beta0", "beta5 alpha5"] {
        assert!(peer.get("a", query).is_null(), "{query}");
    }
    assert_eq!(peer.get("b", "alpha0 beta0")["response"], "theirs");
    assert_eq!(peer.call("store.integrity_check", json!({})), true);
    peer.close();
}

fn another_embedder_is_refused_by_both(place: Place) {
    let mut peer = place.theirs(json!({}));
    peer.put("default", "question", "answer", json!({}));
    peer.close();
    let picture = |store: &mut dyn Store| {
        let entries = store.iter_since(0, 9).unwrap();
        (
            entries,
            store.list_meta().unwrap(),
            store.read_version_counter().unwrap(),
        )
    };
    let before = picture(&mut *place.opened());
    let open = |embedder: Box<dyn Embedder>| {
        let builder = mneme_tests::builder().boxed_store(place.store());
        builder.boxed_embedder(embedder).open().unwrap_err()
    };
    let error = open(Box::new(Precomputed::new("another-1", DIM)));
    assert!(
        matches!(&error, Error::EmbedderMismatch { stored, .. } if stored == FINGERPRINT),
        "{error:?}"
    );
    let error = open(Box::new(Precomputed::new(FINGERPRINT, 8)));
    assert!(
        matches!(
            error,
            Error::EmbedderDimension {
                expected: DIM,
                actual: 8
            }
        ),
        "{error:?}"
    );
    assert_eq!(picture(&mut *place.opened()), before);

    let place = place.beside("ours");
    let cache = place.ours().open().unwrap();
    put(&cache, "default", "question", "answer");
    cache.close().unwrap();
    let mut peer = Peer::start(place.python);
    let arguments = json!({"place": place.json(), "fingerprint": "another-1", "dim": DIM});
    let error = peer.attempt("open", arguments).unwrap_err();
    assert!(error.starts_with("EmbedderMismatchError"), "{error}");
}
