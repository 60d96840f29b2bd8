//! Tables that both libraries use: pointers, items and races.

use crate::place::table;
use crate::rows::fields;
use mneme::store::{DynamoDbStore, Entry, EntryRef, Filter, Store, Touch};
use mneme_tests::dynamodb::{fresh, open};
use mneme_tests::dynamodb_wire::{Proxy, items};
use mneme_tests::peer::Peer;
use mneme_tests::python::Python;
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, ids, put};
use mneme_tests::servers::dynamodb::DynamoDb;
use serde_json::{Value, json};
use std::sync::Arc;

mneme_tests::tests![
    it_reads_labelled_entries_and_loses_labels_when_it_replaces_them,
    each_replaces_and_deletes_what_the_other_stored,
    its_table_is_opened_and_ours_by_it,
    both_write_at_the_same_time,
];

fn insert(peer: &mut Peer, entry: &Entry) -> u64 {
    let id = peer.call("store.insert", fields(entry));
    id.as_u64().unwrap()
}

fn find(peer: &mut Peer, namespace: &str, n: u64) -> Value {
    let key = json!({"namespace": namespace, "query_hash": hash(n)});
    peer.call("store.get_by_hash", key)
}

fn theirs(python: Python, port: u16, name: &str) -> Peer {
    let embedder = json!({"fingerprint": FINGERPRINT, "dim": DIM});
    Peer::open(python, &table(port, name), embedder)
}

fn each_replaces_and_deletes_what_the_other_stored(python: Python, server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "turns");
    let mut peer = theirs(python, server.port(), "turns");
    let says = |response: &str| Entry {
        response: response.to_owned(),
        ..entry("a", 1)
    };
    let answers = |store: &mut DynamoDbStore, peer: &mut Peer, id: u64, response: &str| {
        let entry = get(store, "a", 1).unwrap();
        assert_eq!((entry.id, entry.response.as_str()), (id, response));
        let theirs = find(peer, "a", 1);
        assert_eq!(
            (&theirs["id"], &theirs["response"]),
            (&json!(id), &json!(response))
        );
        assert_eq!(store.count(None).unwrap(), 1);
    };
    let mut version = 0;
    let mut moved = |store: &mut DynamoDbStore, by: u64| {
        version += by;
        assert_eq!(store.read_version_counter().unwrap(), version);
    };
    let id = put(&mut store, says("ours"));
    answers(&mut store, &mut peer, id, "ours");
    assert_eq!(insert(&mut peer, &says("theirs")), id);
    answers(&mut store, &mut peer, id, "theirs");
    let again = store.insert(vec![says("ours again")]).unwrap()[0];
    assert!(again.replaced && again.id == id);
    answers(&mut store, &mut peer, id, "ours again");
    moved(&mut store, 3);
    // It deletes, and its next one has another id, which our pointer does not know.
    assert_eq!(peer.call("store.delete_by_id", json!({"id": id})), true);
    assert_eq!(get(&mut store, "a", 1), None);
    let next = insert(&mut peer, &says("theirs again"));
    assert!(next > id);
    answers(&mut store, &mut peer, next, "theirs again");
    moved(&mut store, 2);
    store
        .update_access(&[Touch {
            id: next,
            hits: 1,
            last_accessed_at: 8_000,
        }])
        .unwrap();
    assert_eq!(find(&mut peer, "a", 1)["access_count"], 1);
    assert!(store.insert(vec![says("ours")]).unwrap()[0].replaced);
    answers(&mut store, &mut peer, next, "ours");
    // It deletes, and we store.
    assert_eq!(peer.call("store.delete_by_id", json!({"id": next})), true);
    let last = store.insert(vec![says("ours at last")]).unwrap()[0];
    assert!(!last.replaced && last.id > next);
    answers(&mut store, &mut peer, last.id, "ours at last");
    assert!(store.delete_by_id(last.id).unwrap());
    assert_eq!(find(&mut peer, "a", 1), Value::Null);
    moved(&mut store, 4);
    assert_eq!(items(server.port(), "turns").len(), 1, "no pointer is left");
    let mine = insert(&mut peer, &says("theirs"));
    assert!(mine > last.id);
    let named = EntryRef {
        id: mine,
        namespace: "a".to_owned(),
        created_at: 1_001,
    };
    assert_eq!(store.delete_unchanged(&[named]).unwrap(), [mine]);
    assert_eq!(find(&mut peer, "a", 1), Value::Null);
    assert!(store.integrity_check().unwrap());
}

fn it_reads_labelled_entries_and_loses_labels_when_it_replaces_them(
    python: Python,
    server: Arc<DynamoDb>,
) {
    let mut store = fresh(&server, "labels");
    let mut peer = theirs(python, server.port(), "labels");
    let labelled = |n: u64| Entry {
        context: "model a".to_owned(),
        tags: vec!["doc:1".to_owned(), "user:2".to_owned()],
        ..entry("a", n)
    };
    let by_tag = Filter {
        namespace: None,
        context: None,
        tags: vec!["doc:1".to_owned()],
        created_from: None,
        created_before: None,
    };
    let tagged = |store: &mut DynamoDbStore| {
        let found = store.select(&by_tag, 0, 9).unwrap().entries;
        found.iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    store.insert((1..=4).map(labelled).collect()).unwrap();
    for n in 1..=4 {
        assert_eq!(find(&mut peer, "a", n)["response"], format!("response {n}"));
    }
    let seen = peer.call("store.iter_all", json!({}));
    assert_eq!(seen.as_array().unwrap().len(), 4, "the index is no entry");
    assert_eq!(peer.call("store.count", json!({})), 4);
    // A touch of it keeps context and tags, a replacement loses both.
    peer.call("store.update_access", json!({"id": 1, "now": 7_000}));
    assert_eq!(insert(&mut peer, &entry("a", 2)), 2);
    assert_eq!(peer.call("store.delete_by_id", json!({"id": 3})), true);
    let kept = Entry {
        id: 1,
        access_count: 1,
        last_accessed_at: 7_000,
        ..labelled(1)
    };
    assert_eq!(get(&mut store, "a", 1), Some(kept));
    let bare = get(&mut store, "a", 2).unwrap();
    assert_eq!((bare.context.as_str(), bare.tags.len()), ("", 0));
    assert_eq!(tagged(&mut store), [1, 4]);
    // What it stores has neither, and ours brings them back.
    assert_eq!(insert(&mut peer, &entry("a", 5)), 5);
    assert!(store.insert(vec![labelled(2), labelled(5)]).unwrap()[1].replaced);
    assert_eq!(tagged(&mut store), [1, 2, 4, 5]);
    assert_eq!(find(&mut peer, "a", 5)["id"], 5);
    assert_eq!(store.clear_namespace(None).unwrap(), 4);
    assert_eq!(peer.call("store.integrity_check", json!({})), true);
}

fn its_table_is_opened_and_ours_by_it(python: Python, server: Arc<DynamoDb>) {
    let _peer = theirs(python, server.port(), "made-by-it");
    let url = server
        .url("made-by-it")
        .replace("create=true", "create=false");
    let mut store = open(&url);
    assert_eq!(
        (
            store.count(None).unwrap(),
            store.read_version_counter().unwrap()
        ),
        (0, 0)
    );
    let made = |table: &str| {
        let name = json!({"TableName": table});
        let mut made = mneme_tests::dynamodb_wire::call(server.port(), "DescribeTable", &name);
        let table = made["Table"].as_object_mut().unwrap();
        table.retain(|key, _| {
            [
                "AttributeDefinitions",
                "KeySchema",
                "BillingModeSummary",
                "GlobalSecondaryIndexes",
            ]
            .contains(&key.as_str())
        });
        let mut items = items(server.port(), name["TableName"].as_str().unwrap());
        // Each cache has another.
        for item in &mut items {
            let incarnation = item.as_object_mut().unwrap().remove("incarnation");
            assert!(incarnation.is_some(), "{item}");
        }
        (json!(table), items)
    };
    fresh(&server, "made-by-us");
    assert_eq!(made("made-by-it"), made("made-by-us"));
    let mut other = DynamoDbStore::from_url(&url).unwrap();
    assert!(other.open("another", DIM).is_err());
}

fn both_write_at_the_same_time(python: Python, server: Arc<DynamoDb>) {
    const ROUNDS: u64 = 25;
    // The server is not made for writers at the same time; the proxy lets one through at once.
    let proxy = Proxy::start(server.port());
    let mut store = open(&proxy.url("both"));
    let mut peer = theirs(python, proxy.port(), "both");
    let theirs = std::thread::spawn(move || {
        let mut insert = |n: u64| {
            // It gives up where another writer was faster; its callers try again.
            let entry = fields(&entry("theirs", n));
            let mut attempts = (0..1000).map(|_| peer.attempt("store.insert", entry.clone()));
            let id = attempts.find_map(Result::ok).expect("it gets a turn");
            id.as_u64().unwrap()
        };
        (0..ROUNDS).map(&mut insert).collect::<Vec<_>>()
    });
    let mut given: Vec<u64> = (0..ROUNDS)
        .map(|n| put(&mut store, entry("ours", n)))
        .collect();
    given.extend(theirs.join().unwrap());
    given.sort_unstable();
    assert_eq!(given, (1..=2 * ROUNDS).collect::<Vec<_>>(), "every id once");
    assert_eq!(ids(&mut store), given);
    assert_eq!(store.read_version_counter().unwrap(), 2 * ROUNDS);
    for n in 0..ROUNDS {
        assert_eq!(
            get(&mut store, "theirs", n).unwrap().query,
            format!("query {n}")
        );
    }
    assert!(store.integrity_check().unwrap());
}
