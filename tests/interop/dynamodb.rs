//! Tables that the Python library mneme-cache and the DynamoDB store use at the same time.

use mneme::store::{DynamoDbStore, Entry, EntryRef, Store, Touch};
use mneme_tests::children::Running;
use mneme_tests::dynamodb::{NOTHING_ELSE, fresh, open};
use mneme_tests::dynamodb_wire::{Proxy, items};
use mneme_tests::python;
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, ids, put};
use mneme_tests::servers::dynamodb::{DynamoDb, credentials};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

mneme_tests::tests![
    it_reads_all_that_we_write,
    we_read_all_that_it_writes,
    each_replaces_and_deletes_what_the_other_stored,
    its_table_is_opened_and_ours_by_it,
    it_passes_over_blobs,
    both_write_at_the_same_time,
];

/// The Python library, with a store open.
struct Peer(Running);

impl Peer {
    /// Starts it on a table behind a port, unless there is none, which skips the test.
    fn open(port: u16, table: &str) -> Option<Peer> {
        let python = python::peer().ok()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dynamodb_interop.py");
        let mut command = Command::new(python);
        command.arg(script).envs(credentials()).envs(NOTHING_ELSE);
        let mut peer = Peer(Running::start(&mut command));
        let endpoint = format!("http://127.0.0.1:{port}");
        peer.call("open", json!([table, endpoint, FINGERPRINT, DIM]));
        Some(peer)
    }

    fn call(&mut self, name: &str, arguments: Value) -> Value {
        self.0.tell(&json!([name, arguments]).to_string());
        let line = self.0.line().expect("the peer answers");
        let mut outcome: Value = serde_json::from_str(&line).unwrap();
        assert!(outcome["error"].is_null(), "{name}: {outcome}");
        outcome["ok"].take()
    }

    fn insert(&mut self, entry: &Entry) -> u64 {
        self.call("insert", json!([fields(entry)]))
            .as_u64()
            .unwrap()
    }

    fn get(&mut self, namespace: &str, n: u64) -> Value {
        self.call("get_by_hash", json!([namespace, hash(n)]))
    }
}

/// An entry in the peer's fields.
fn fields(entry: &Entry) -> Value {
    json!({
        "id": entry.id,
        "namespace": entry.namespace,
        "query_hash": entry.query_hash,
        "query": entry.query,
        "response": entry.response,
        "embedding": entry.embedding,
        "metadata": serde_json::from_str::<Value>(&entry.metadata).unwrap(),
        "created_at": entry.created_at,
        "last_accessed_at": entry.last_accessed_at,
        "ttl": entry.ttl,
        "access_count": entry.access_count,
    })
}

/// Namespaces that both libraries can hold.
const NAMES: [&str; 6] = ["a", "a.b#c:d|e/f", "\0", "🦀 é", "' \"", "id"];

fn it_reads_all_that_we_write(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "ours");
    let Some(mut peer) = Peer::open(server.port(), "ours") else {
        return;
    };
    let mut stored = Vec::new();
    for (n, name) in NAMES.iter().enumerate() {
        let given = Entry {
            ttl: (n % 2 == 0).then_some(60),
            access_count: n as u64,
            metadata: r#"{"k":[1,"é"]}"#.to_owned(),
            ..entry(name, n as u64)
        };
        let id = put(&mut store, given.clone());
        stored.push(Entry { id, ..given });
        store.set_namespace_quota(name, Some(n as u64 + 1)).unwrap();
        assert!(store.replace_meta(name, None, Some(name)).unwrap());
    }
    store
        .update_access(&[Touch {
            id: 1,
            hits: 2,
            last_accessed_at: 7_000,
        }])
        .unwrap();
    stored[0].access_count += 2;
    stored[0].last_accessed_at = 7_000;
    let count = stored.len();
    assert_eq!(
        peer.call("count", json!([])),
        count,
        "pointers are not entries"
    );
    let all: Vec<Value> = stored.iter().map(fields).collect();
    assert_eq!(peer.call("iter_all", json!([])), json!(all));
    assert_eq!(peer.call("iter_since", json!([2])), json!(all[2..]));
    let mut names = NAMES.map(str::to_owned).to_vec();
    names.sort();
    let mut seen: Vec<String> =
        serde_json::from_value(peer.call("list_namespaces", json!([]))).unwrap();
    seen.sort();
    assert_eq!(seen, names);
    assert_eq!(
        peer.call("iter_lru_ids", json!([count + 5]))
            .as_array()
            .unwrap()
            .len(),
        count
    );
    for (n, entry) in stored.iter().enumerate() {
        assert_eq!(peer.get(&entry.namespace, n as u64), fields(entry));
        assert_eq!(peer.call("get_by_id", json!([entry.id])), fields(entry));
        assert_eq!(peer.call("count", json!([entry.namespace])), 1);
        assert_eq!(
            peer.call("iter_lru_ids", json!([9, entry.namespace])),
            json!([entry.id])
        );
        assert_eq!(
            peer.call("get_namespace_quota", json!([entry.namespace])),
            n + 1
        );
        assert_eq!(
            peer.call("read_meta", json!([entry.namespace])),
            entry.namespace
        );
    }
    assert_eq!(peer.call("read_version_counter", json!([])), count);
    assert_eq!(peer.call("integrity_check", json!([])), true);
    // Of the six, three live for a minute.
    assert_eq!(peer.call("delete_expired", json!([999_999])), 3);
    assert_eq!(store.count(None).unwrap(), 3);
    assert_eq!(peer.call("clear_namespace", json!(["id"])), 1);
    assert_eq!(get(&mut store, "id", 5), None);
    assert_eq!(get(&mut store, "a", 0), None);
}

fn we_read_all_that_it_writes(server: Arc<DynamoDb>) {
    let Some(mut peer) = Peer::open(server.port(), "theirs") else {
        return;
    };
    let mut store = fresh(&server, "theirs");
    let mut stored = Vec::new();
    for (n, name) in NAMES.iter().enumerate() {
        let given = Entry {
            ttl: (n % 2 == 0).then_some(60),
            metadata: r#"{"k": 1}"#.to_owned(),
            ..entry(name, n as u64)
        };
        let id = peer.insert(&given);
        stored.push(Entry { id, ..given });
        peer.call("set_namespace_quota", json!([name, n]));
        peer.call("write_meta", json!([name, name]));
    }
    peer.call("update_access", json!([1, 7_000]));
    stored[0].access_count += 1;
    stored[0].last_accessed_at = 7_000;
    assert_eq!(store.iter_since(0, 100).unwrap(), stored);
    assert_eq!(
        store.get_by_ids(&[6, 1]).unwrap(),
        [stored[5].clone(), stored[0].clone()]
    );
    let mut names = NAMES.map(str::to_owned).to_vec();
    names.sort();
    assert_eq!(store.list_namespaces().unwrap(), names);
    for (n, entry) in stored.iter().enumerate() {
        assert_eq!(
            get(&mut store, &entry.namespace, n as u64).as_ref(),
            Some(entry)
        );
        assert_eq!(store.count(Some(&entry.namespace)).unwrap(), 1);
        let oldest: Vec<EntryRef> = store.iter_lru_ids(9, Some(&entry.namespace)).unwrap();
        assert_eq!(oldest[0].id, entry.id);
        assert_eq!(
            store.get_namespace_quota(&entry.namespace).unwrap(),
            Some(n as u64)
        );
        let meta = store.read_meta(&entry.namespace).unwrap();
        assert_eq!(meta.as_deref(), Some(entry.namespace.as_str()));
    }
    let counter = peer.call("read_version_counter", json!([]));
    assert_eq!(store.read_version_counter().unwrap(), counter);
    assert!(store.integrity_check().unwrap());
    let expired = store.delete_expired(999_999, None, 10).unwrap();
    assert_eq!(expired.len(), 3);
    assert_eq!(peer.call("count", json!([])), 3);
    assert_eq!(store.clear_namespace(None).unwrap(), 3);
    assert_eq!(peer.call("iter_all", json!([])), json!([]));
}

fn each_replaces_and_deletes_what_the_other_stored(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "turns");
    let Some(mut peer) = Peer::open(server.port(), "turns") else {
        return;
    };
    let says = |response: &str| Entry {
        response: response.to_owned(),
        ..entry("a", 1)
    };
    let answers = |store: &mut DynamoDbStore, peer: &mut Peer, id: u64, response: &str| {
        let entry = get(store, "a", 1).unwrap();
        assert_eq!((entry.id, entry.response.as_str()), (id, response));
        let theirs = peer.get("a", 1);
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
    assert_eq!(peer.insert(&says("theirs")), id);
    answers(&mut store, &mut peer, id, "theirs");
    let again = store.insert(vec![says("ours again")]).unwrap()[0];
    assert!(again.replaced && again.id == id);
    answers(&mut store, &mut peer, id, "ours again");
    moved(&mut store, 3);
    // It deletes, and its next one has another id, of which our pointer does not know.
    assert_eq!(peer.call("delete_by_id", json!([id])), true);
    assert_eq!(get(&mut store, "a", 1), None);
    let next = peer.insert(&says("theirs anew"));
    assert!(next > id);
    answers(&mut store, &mut peer, next, "theirs anew");
    moved(&mut store, 2);
    store
        .update_access(&[Touch {
            id: next,
            hits: 1,
            last_accessed_at: 8_000,
        }])
        .unwrap();
    assert_eq!(peer.get("a", 1)["access_count"], 1);
    assert!(store.insert(vec![says("ours")]).unwrap()[0].replaced);
    answers(&mut store, &mut peer, next, "ours");
    // It deletes, and we store.
    assert_eq!(peer.call("delete_by_id", json!([next])), true);
    let last = store.insert(vec![says("ours at last")]).unwrap()[0];
    assert!(!last.replaced && last.id > next);
    answers(&mut store, &mut peer, last.id, "ours at last");
    assert!(store.delete_by_id(last.id).unwrap());
    assert_eq!(peer.get("a", 1), Value::Null);
    moved(&mut store, 4);
    assert_eq!(items(server.port(), "turns").len(), 1, "no pointer is left");
    let mine = peer.insert(&says("theirs"));
    assert!(mine > last.id);
    let named = EntryRef {
        id: mine,
        namespace: "a".to_owned(),
        created_at: 1_001,
    };
    assert_eq!(store.delete_unchanged(&[named]).unwrap(), [mine]);
    assert_eq!(peer.get("a", 1), Value::Null);
    assert!(store.integrity_check().unwrap());
}

fn its_table_is_opened_and_ours_by_it(server: Arc<DynamoDb>) {
    let Some(_peer) = Peer::open(server.port(), "made-by-it") else {
        return;
    };
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
        (
            json!(table),
            items(server.port(), name["TableName"].as_str().unwrap()),
        )
    };
    fresh(&server, "made-by-us");
    assert_eq!(made("made-by-it"), made("made-by-us"));
    let mut other = DynamoDbStore::from_url(&url).unwrap();
    assert!(other.open("another", DIM).is_err());
}

fn it_passes_over_blobs(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "blobs");
    let bytes = vec![7; store.capabilities().max_blob as usize];
    store.write_blob("index/1", bytes.clone()).unwrap();
    store.write_blob("index/2", Vec::new()).unwrap();
    let Some(mut peer) = Peer::open(server.port(), "blobs") else {
        return;
    };
    assert_eq!(peer.insert(&entry("a", 1)), 1);
    assert_eq!(put(&mut store, entry("b", 2)), 2);
    assert_eq!(peer.get("b", 2)["query"], "query 2");
    assert_eq!(peer.call("count", json!([null])), 2);
    assert_eq!(peer.call("list_namespaces", json!([])), json!(["a", "b"]));
    assert_eq!(ids(&mut store), [1, 2]);
    assert_eq!(store.count(None).unwrap(), 2);
    assert!(store.integrity_check().unwrap());
    assert_eq!(store.clear_namespace(None).unwrap(), 2);
    assert_eq!(peer.call("count", json!([null])), 0);
    assert_eq!(store.list_blobs().unwrap(), ["index/1", "index/2"]);
    assert_eq!(store.read_blob("index/1").unwrap(), Some(bytes));
    assert_eq!(store.read_blob("index/2").unwrap(), Some(Vec::new()));
}

fn both_write_at_the_same_time(server: Arc<DynamoDb>) {
    const ROUNDS: u64 = 25;
    // The server is not made for writers at the same time; the proxy lets one through at once.
    let proxy = Proxy::start(server.port());
    let mut store = open(&proxy.url("both"));
    let Some(mut peer) = Peer::open(proxy.port(), "both") else {
        return;
    };
    let theirs = std::thread::spawn(move || {
        (0..ROUNDS)
            .map(|n| {
                let id = peer.call("insert_patiently", json!([fields(&entry("theirs", n))]));
                id.as_u64().unwrap()
            })
            .collect::<Vec<_>>()
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
