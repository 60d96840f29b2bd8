//! Imports into the DynamoDB store that are stopped at any point, and others at work
//! meanwhile.

use mneme::store::{DynamoDbStore, Entry, Filter, ImportMode, MetaChange, Store, StoreError};
use mneme_tests::dynamodb::{fresh, open, proxied};
use mneme_tests::dynamodb_wire::{Action, Proxy, Request, call, items, refusal};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids, key, put};
use mneme_tests::servers::dynamodb::DynamoDb;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

mneme_tests::tests![
    a_merge_is_stopped_at_every_request,
    a_replacement_is_stopped_at_every_request,
    every_kind_of_write_completes_an_import,
    an_open_completes_an_import,
    several_complete_an_import_at_once,
    a_writer_without_pointers_goes_on_meanwhile,
    an_import_that_cannot_be_completed_is_told,
    staging_that_fails_ends_the_import,
];

/// More than one step stores.
const GIVEN: u64 = 47;

fn says(n: u64, response: &str) -> Entry {
    Entry {
        response: response.to_owned(),
        tags: vec![response.to_owned()],
        ..entry("a", n)
    }
}

fn by_tag(tag: &str) -> Filter {
    Filter {
        namespace: None,
        context: None,
        tags: vec![tag.to_owned()],
        created_from: None,
        created_before: None,
    }
}

/// All items but those of the index over tags, which may know entries that are gone.
fn but_the_index(server: &DynamoDb, table: &str) -> Vec<Value> {
    let mut all = items(server.port(), table);
    all.retain(|item| item["entries"].is_null());
    all
}

/// Entries 0 and 1, and a meta value.
fn furnish(store: &mut DynamoDbStore) {
    store.insert(vec![says(0, "old"), says(1, "old")]).unwrap();
    assert!(store.replace_meta("k", None, Some("old")).unwrap());
    store.set_namespace_quota("old", Some(1)).unwrap();
}

/// Stages new entries from 1 upwards.
fn stage(store: &mut DynamoDbStore, mode: ImportMode) {
    store.begin_import(mode).unwrap();
    let given: Vec<_> = (1..=GIVEN).map(|n| says(n, "new")).collect();
    for part in given.chunks(9) {
        store.write_import(part.to_vec()).unwrap();
    }
}

fn commit(store: &mut DynamoDbStore) -> Result<bool, StoreError> {
    let change = MetaChange {
        key: "k".to_owned(),
        expected: Some("old".to_owned()),
        value: "new".to_owned(),
    };
    store.commit_import(&[("new".to_owned(), 2)], &[change])
}

/// The data before an import or after it.
#[derive(Debug, PartialEq)]
struct Data {
    /// Ids, numbers of the hashes, and responses.
    entries: Vec<(u64, u64, String)>,
    meta: Vec<(String, String)>,
    quotas: Vec<String>,
    version: u64,
}

impl Data {
    fn of(store: &mut DynamoDbStore) -> Self {
        let entries = store.iter_since(0, 1_000).unwrap();
        let by_key: Vec<_> = entries
            .iter()
            .map(|entry| entry.created_at - 1_000)
            .collect();
        let keys: Vec<_> = by_key.iter().map(|n| key("a", *n)).collect();
        let found = store.get_by_hash(&keys, true).unwrap();
        let same = found.iter().flatten().eq(&entries);
        assert!(same, "look-ups by key and by id agree");
        for tag in ["old", "new"] {
            let found = store.select(&by_tag(tag), 0, 1_000).unwrap().entries;
            let carry = entries.iter().filter(|entry| entry.tags == [tag]);
            let same = found
                .iter()
                .map(|entry| entry.id)
                .eq(carry.map(|entry| entry.id));
            assert!(same, "the index over tags knows {tag}");
        }
        Data {
            entries: entries
                .into_iter()
                .zip(by_key)
                .map(|(entry, n)| (entry.id, n, entry.response))
                .collect(),
            meta: store.list_meta().unwrap(),
            quotas: store
                .list_namespace_quotas()
                .unwrap()
                .into_iter()
                .map(|(namespace, _)| namespace)
                .collect(),
            version: store.read_version_counter().unwrap(),
        }
    }

    fn new(
        entries: impl IntoIterator<Item = (u64, u64, &'static str)>,
        meta: &str,
        quotas: &[&str],
        version: u64,
    ) -> Self {
        let entries = entries.into_iter();
        Data {
            entries: entries
                .map(|(id, n, response)| (id, n, response.to_owned()))
                .collect(),
            meta: vec![("k".to_owned(), meta.to_owned())],
            quotas: quotas.iter().map(|&name| name.to_owned()).collect(),
            version,
        }
    }

    fn before() -> Self {
        Data::new([(1, 0, "old"), (2, 1, "old")], "old", &["old"], 1)
    }

    fn after(mode: ImportMode) -> Self {
        // The place in the import tells the id of a new entry.
        let new = |n: u64| (2 + n, n, "new");
        match mode {
            ImportMode::Replace => Data::new((1..=GIVEN).map(new), "new", &["new"], 2),
            _ => {
                let kept = [(1, 0, "old"), (2, 1, "new")];
                let all = kept.into_iter().chain((2..=GIVEN).map(new));
                Data::new(all, "new", &["new", "old"], 2)
            }
        }
    }

    /// With one more entry.
    fn with(mut self, id: u64, n: u64, response: &str) -> Self {
        self.entries.push((id, n, response.to_owned()));
        self.version += 1;
        self
    }
}

/// Ends a process, as far as the server can tell, at one of its requests: that one is lost
/// on the way there or back, and nothing comes after it. Queries are not counted.
fn die_at(number: usize, answered: bool) -> impl FnMut(&Request) -> Action {
    let mut count = 0;
    move |request| {
        if request.operation != "Query" {
            count += 1;
        }
        match count {
            _ if count < number => Action::Forward,
            _ if count == number && answered && request.operation == "TransactWriteItems" => {
                Action::LoseAnswer
            }
            _ => refusal(400, "AccessDeniedException"),
        }
    }
}

fn stopped_at_every_request(server: &DynamoDb, name: &str, mode: ImportMode) {
    let mut decided = 0;
    let mut undecided = 0;
    for number in 1.. {
        let answered = number % 2 == 0;
        let table = format!("{name}-{answered}-{number}");
        let mut writer = fresh(server, &table);
        furnish(&mut writer);
        let (mut store, proxy) = proxied(server, &table);
        stage(&mut store, mode);
        proxy.take_seen();
        proxy.set_rule(die_at(number, answered));
        let outcome = commit(&mut store);
        let requests = proxy.take_seen();
        drop(store);
        let of_import = |request: &Request| {
            let text = request.body.to_string();
            request.operation == "TransactWriteItems" && text.contains(":seen_meta")
                || text.contains("#import = :import")
        };
        let was_decided = items(server.port(), &table)
            .iter()
            .any(|item| item["meta"]["M"]["k"]["S"] == "new");
        let wanted = match was_decided {
            true => Data::after(mode),
            false => Data::before(),
        };
        let at = format!("{table}: {outcome:?}");
        match &outcome {
            Ok(true) => assert!(was_decided, "{at}"),
            Err(StoreError::Backend(error)) => {
                assert!(!error.retryable, "{at}");
                let told = ["next write or open", "unknown whether it was stored"];
                let told = told.iter().any(|told| error.message.contains(told));
                assert_eq!(told, was_decided, "{at}");
            }
            _ => panic!("{at}"),
        }
        decided += usize::from(was_decided);
        undecided += usize::from(!was_decided);
        // One that was open all the time writes, or a new one opens.
        match number / 2 % 2 {
            0 => {
                let id = put(&mut writer, says(500, "own"));
                let next = match was_decided {
                    true => 3 + GIVEN,
                    false => 3,
                };
                assert_eq!(id, next, "{at}");
                assert_eq!(Data::of(&mut writer), wanted.with(id, 500, "own"), "{at}");
            }
            _ => assert_eq!(Data::of(&mut fresh(server, &table)), wanted, "{at}"),
        }
        assert!(writer.integrity_check().unwrap(), "{at}");
        let head = &items(server.port(), &table);
        let head = head.iter().find(|item| item["id"]["N"] == "0").unwrap();
        assert!(head["import"].is_null(), "{at}");
        let reached_end = requests
            .iter()
            .filter(|one| one.operation != "Query")
            .count();
        if reached_end < number {
            assert!(requests.iter().any(of_import), "{at}");
            break;
        }
    }
    assert!(undecided >= 4 && decided >= 8, "{undecided}, {decided}");
}

fn a_merge_is_stopped_at_every_request(server: Arc<DynamoDb>) {
    stopped_at_every_request(&server, "merge", ImportMode::Merge);
}

fn a_replacement_is_stopped_at_every_request(server: Arc<DynamoDb>) {
    stopped_at_every_request(&server, "replace", ImportMode::Replace);
}

/// Leaves an import that is decided but not begun.
fn leave_decided(server: &DynamoDb, table: &str, mode: ImportMode) {
    let proxy = Proxy::start(server.port());
    let mut store = open(&proxy.url(table));
    stage(&mut store, mode);
    let mut decided = false;
    proxy.set_rule(move |request| {
        if decided {
            return refusal(400, "AccessDeniedException");
        }
        decided = request.operation == "TransactWriteItems";
        Action::Forward
    });
    match commit(&mut store) {
        Err(StoreError::Backend(error)) => assert!(
            !error.retryable && error.message.contains("next write or open"),
            "{}",
            error.message
        ),
        other => panic!("{other:?}"),
    }
    let items = items(server.port(), table);
    assert!(items.iter().any(|item| !item["import"].is_null()));
}

fn every_kind_of_write_completes_an_import(server: Arc<DynamoDb>) {
    type Write = (&'static str, fn(&mut DynamoDbStore), fn(Data) -> Data);
    let writes: [Write; 9] = [
        (
            "insert",
            |store| assert_eq!(put(store, says(600, "own")), 3 + GIVEN),
            |after| after.with(3 + GIVEN, 600, "own"),
        ),
        (
            "replace",
            |store| assert_eq!(put(store, says(1, "own")), 2),
            |mut after| {
                after.entries[1].2 = "own".to_owned();
                after.version += 1;
                after
            },
        ),
        (
            "delete-by-id",
            |store| assert!(store.delete_by_id(1).unwrap()),
            |mut after| {
                after.entries.remove(0);
                after.version += 1;
                after
            },
        ),
        (
            "delete-unchanged",
            |store| {
                let oldest = store.iter_lru_ids(1, None).unwrap();
                assert_eq!(store.delete_unchanged(&oldest).unwrap(), [1]);
            },
            |mut after| {
                after.entries.remove(0);
                after.version += 1;
                after
            },
        ),
        (
            "delete-expired",
            |store| assert_eq!(store.delete_expired(9_999, None, 9).unwrap(), []),
            |after| after,
        ),
        (
            "clear",
            |store| assert_eq!(store.clear_namespace(None).unwrap(), GIVEN + 1),
            |mut after| {
                after.entries.clear();
                after.version += 1;
                after
            },
        ),
        (
            "quota",
            |store| store.set_namespace_quota("z", Some(1)).unwrap(),
            |mut after| {
                after.quotas.push("z".to_owned());
                after
            },
        ),
        (
            "meta",
            |store| {
                let newer = store.replace_meta("k", Some("new"), Some("newer"));
                assert!(newer.unwrap());
            },
            |mut after| {
                after.meta[0].1 = "newer".to_owned();
                after
            },
        ),
        (
            "import",
            |store| {
                stage(store, ImportMode::Merge);
                let outcome = commit(store).unwrap();
                assert!(!outcome, "the first import has changed the meta value");
                store.end_import().unwrap();
            },
            |after| after,
        ),
    ];
    for (name, write, change) in writes {
        let table = format!("write-{name}");
        let mut store = fresh(&server, &table);
        furnish(&mut store);
        leave_decided(&server, &table, ImportMode::Merge);
        write(&mut store);
        let wanted = change(Data::after(ImportMode::Merge));
        assert_eq!(Data::of(&mut store), wanted, "{name}");
        let items = but_the_index(&server, &table);
        assert_eq!(items.len(), 2 * wanted.entries.len() + 1, "{name}");
    }
}

fn an_open_completes_an_import(server: Arc<DynamoDb>) {
    furnish(&mut fresh(&server, "opened"));
    leave_decided(&server, "opened", ImportMode::Replace);
    let wanted = Data::after(ImportMode::Replace);
    assert_eq!(Data::of(&mut fresh(&server, "opened")), wanted);
    let items = but_the_index(&server, "opened");
    assert_eq!(items.len() as u64, 2 * GIVEN + 1);
}

fn several_complete_an_import_at_once(server: Arc<DynamoDb>) {
    const WRITERS: u64 = 3;
    furnish(&mut fresh(&server, "at-once"));
    // The server is not made for writers at the same time; the proxy lets one through at once.
    let proxy = Proxy::start(server.port());
    let writers: Vec<_> = (0..WRITERS).map(|_| open(&proxy.url("at-once"))).collect();
    leave_decided(&server, "at-once", ImportMode::Replace);
    let writing = writers
        .into_iter()
        .zip(0..)
        .map(|(mut store, n)| std::thread::spawn(move || put(&mut store, says(700 + n, "own"))));
    let writing: Vec<_> = writing.collect();
    let mut given: Vec<u64> = writing
        .into_iter()
        .map(|writer| writer.join().unwrap())
        .collect();
    given.sort_unstable();
    let next = 3 + GIVEN;
    assert!(given.into_iter().eq(next..next + WRITERS));
    let mut store = fresh(&server, "at-once");
    let mut data = Data::of(&mut store);
    assert_eq!(data.version, 2 + WRITERS);
    data.entries.truncate(GIVEN as usize);
    data.version = 2;
    assert_eq!(data, Data::after(ImportMode::Replace));
    let entries = GIVEN + WRITERS;
    let items = but_the_index(&server, "at-once");
    assert_eq!(items.len() as u64, 2 * entries + 1);
}

/// Such as mneme-cache, which does not wait for an import.
fn a_writer_without_pointers_goes_on_meanwhile(server: Arc<DynamoDb>) {
    let port = server.port();
    furnish(&mut fresh(&server, "python"));
    let (mut store, proxy) = proxied(&server, "python");
    stage(&mut store, ImportMode::Merge);
    let wrote = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&wrote);
    proxy.set_rule(move |request| {
        let stores = request.body.to_string().contains("#import.#stored = :next");
        if stores && !seen.swap(true, SeqCst) {
            // It inserts one of the keys that are just being stored, and a new one.
            for (id, n) in [(3 + GIVEN, 5), (4 + GIVEN, 800)] {
                let entry = entry("a", n);
                let item = json!({
                    "id": {"N": id.to_string()},
                    "namespace": {"S": "a"},
                    "query_hash": {"S": entry.query_hash},
                    "query": {"S": entry.query},
                    "response": {"S": "python"},
                    "embedding": {"B": "AAAAAAAAAAAAAAAA"},
                    "metadata": {"S": "{}"},
                    "created_at": {"N": entry.created_at.to_string()},
                    "last_accessed_at": {"N": "1"},
                    "access_count": {"N": "0"},
                });
                let head = json!({
                    "TableName": "python",
                    "Key": {"id": {"N": "0"}},
                    "UpdateExpression": "SET next_id = next_id + :one, version_counter = version_counter + :one",
                    "ExpressionAttributeValues": {":one": {"N": "1"}},
                });
                let put = json!({"TableName": "python", "Item": item});
                let both = json!({"TransactItems": [{"Put": put}, {"Update": head}]});
                call(port, "TransactWriteItems", &both);
            }
        }
        Action::Forward
    });
    assert!(commit(&mut store).unwrap());
    assert!(wrote.load(SeqCst));
    assert_eq!(store.read_version_counter().unwrap(), 4);
    assert_eq!(get(&mut store, "a", 800).unwrap().response, "python");
    assert_eq!(store.count(None).unwrap(), 3 + GIVEN);
    // Both stored that one in the same moment; storing it again leaves one.
    let twice = store.iter_since(0, 1_000).unwrap();
    let twice = twice.iter().filter(|entry| entry.created_at == 1_005);
    assert_eq!(twice.count(), 2);
    put(&mut store, says(5, "again"));
    assert_eq!(get(&mut store, "a", 5).unwrap().response, "again");
    assert_eq!(store.count(None).unwrap(), 2 + GIVEN);
}

fn an_import_that_cannot_be_completed_is_told(server: Arc<DynamoDb>) {
    let port = server.port();
    let told = |table: &str, said: &str| {
        let url = server.url(table);
        let store = DynamoDbStore::from_url(&url).unwrap();
        let mut store = store.call_timeout(Duration::from_secs(10));
        match store.open(FINGERPRINT, DIM) {
            Err(StoreError::Corrupt(message)) => assert!(message.contains(said), "{message}"),
            other => panic!("{other:?}"),
        }
    };
    furnish(&mut fresh(&server, "missing"));
    leave_decided(&server, "missing", ImportMode::Merge);
    let all = items(port, "missing");
    // The first is the last of the import, and the header has the greatest id.
    let last = all.iter().find(|item| !item["space"].is_null()).unwrap();
    let lost = json!({"TableName": "missing", "Key": {"id": last["id"]}});
    call(port, "DeleteItem", &lost);
    told("missing", "is missing or damaged");
    call(
        port,
        "PutItem",
        &json!({"TableName": "missing", "Item": last}),
    );
    let wanted = Data::after(ImportMode::Merge);
    assert_eq!(Data::of(&mut fresh(&server, "missing")), wanted);

    furnish(&mut fresh(&server, "taken"));
    leave_decided(&server, "taken", ImportMode::Merge);
    let taken = json!({"id": {"N": "10"}});
    call(
        port,
        "PutItem",
        &json!({"TableName": "taken", "Item": taken}),
    );
    told("taken", "item 10 has an id that is reserved");
    call(
        port,
        "DeleteItem",
        &json!({"TableName": "taken", "Key": taken}),
    );
    assert_eq!(Data::of(&mut fresh(&server, "taken")), wanted);
}

fn staging_that_fails_ends_the_import(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "staging");
    furnish(&mut store);
    for denied in [false, true] {
        stage(&mut store, ImportMode::Merge);
        proxy.set_rule(move |request| match request.operation.as_str() {
            "TransactWriteItems" if denied => refusal(400, "AccessDeniedException"),
            "TransactWriteItems" => refusal(500, "InternalServerError"),
            _ => Action::Forward,
        });
        let outcome = store.write_import(vec![says(900, "new")]);
        assert!(
            matches!(outcome, Err(StoreError::Backend(_))),
            "{outcome:?}"
        );
        proxy.clear_rule();
        let outcome = store.write_import(vec![says(901, "new")]);
        assert!(matches!(outcome, Err(StoreError::InvalidArgument(_))));
        let outcome = commit(&mut store);
        assert!(matches!(outcome, Err(StoreError::InvalidArgument(_))));
        assert_eq!(Data::of(&mut store), Data::before());
    }
    // A lost answer does no harm.
    let mut lost = false;
    proxy.set_rule(move |request| {
        if request.operation != "TransactWriteItems" {
            return Action::Forward;
        }
        lost = !lost;
        match lost {
            true => Action::LoseAnswer,
            // As DynamoDB answers a token that it knows.
            false => Action::Answer(200, json!({})),
        }
    });
    stage(&mut store, ImportMode::Merge);
    assert!(commit(&mut store).unwrap());
    assert_eq!(Data::of(&mut store), Data::after(ImportMode::Merge));
    assert_eq!(ids(&mut store).len() as u64, GIVEN + 1);
}
