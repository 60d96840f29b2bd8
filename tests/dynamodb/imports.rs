//! Imports into the DynamoDB store: items, indexes, limits and races, which the battery cannot
//! see.

use mneme::store::{DynamoDbStore, Entry, ImportMode, MetaChange, Store, StoreError};
use mneme_tests::dynamodb::{fill, fresh, proxied};
use mneme_tests::dynamodb_wire::{Action, call, id, items};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, ids, put};
use mneme_tests::servers::dynamodb::DynamoDb;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

mneme_tests::tests![
    a_replacement_leaves_no_other_item,
    a_meta_value_that_changes_before_the_decision_is_noticed,
    a_key_that_comes_twice_leaves_no_item,
    what_no_item_can_hold_leaves_no_item,
    what_is_staged_is_in_no_index,
    what_is_forgotten_leaves_nothing,
    what_a_killed_process_leaves_is_removed_in_time,
    an_import_is_not_removed_while_it_is_written_to,
    an_entry_that_comes_before_the_decision_is_noticed,
    a_recorded_schema_version_is_no_meta_value,
    item_0_must_have_room,
    entries_of_the_largest_size_are_imported,
    many_entries_are_imported,
];

fn says(namespace: &str, n: u64, response: &str) -> Entry {
    Entry {
        response: response.to_owned(),
        ..entry(namespace, n)
    }
}

fn stage(store: &mut DynamoDbStore, mode: ImportMode, entries: &[Entry]) {
    store.begin_import(mode).unwrap();
    for part in entries.chunks(store.capabilities().max_batch as usize) {
        store.write_import(part.to_vec()).unwrap();
    }
}

fn change(key: &str, expected: Option<&str>, value: &str) -> MetaChange {
    MetaChange {
        key: key.to_owned(),
        expected: expected.map(str::to_owned),
        value: value.to_owned(),
    }
}

fn quota(namespace: &str, entries: u64) -> (String, u64) {
    (namespace.to_owned(), entries)
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn is_refused(outcome: Result<impl std::fmt::Debug, StoreError>, said: &str) {
    match outcome {
        Err(StoreError::Checkpoint(message)) => assert!(message.contains(said), "{message}"),
        other => panic!("{other:?}"),
    }
}

fn is_invalid(outcome: Result<impl std::fmt::Debug, StoreError>, said: &str) {
    match outcome {
        Err(StoreError::InvalidArgument(message)) => assert!(message.contains(said), "{message}"),
        other => panic!("{other:?}"),
    }
}

/// Two entries, the first deleted since, with quotas and meta values.
fn furnish(store: &mut DynamoDbStore) {
    for (n, response) in [(1, "gone"), (2, "old"), (3, "old")] {
        put(store, says("a", n, response));
    }
    store.delete_by_id(1).unwrap();
    store.set_namespace_quota("a", Some(10)).unwrap();
    store.set_namespace_quota("b", Some(20)).unwrap();
    store.replace_meta("k", None, Some("old")).unwrap();
    store.replace_meta("l", None, Some("old")).unwrap();
}

fn a_replacement_leaves_no_other_item(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "replaced");
    furnish(&mut store);
    let given = [entry("a", 9), entry("a", 3), entry("", 1)];
    stage(&mut store, ImportMode::Replace, &given);
    assert!(store.commit_import(&[quota("c", 3)], &[]).unwrap());
    // Three entries with their pointers, and item 0.
    assert_eq!(items(server.port(), "replaced").len(), 7);
    stage(&mut store, ImportMode::Replace, &[]);
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(items(server.port(), "replaced").len(), 1);
}

fn a_meta_value_that_changes_before_the_decision_is_noticed(server: Arc<DynamoDb>) {
    let mut other = fresh(&server, "expected");
    other.replace_meta("k", None, Some("new")).unwrap();
    let mut other = Some(other);
    let (mut store, proxy) = proxied(&server, "expected");
    stage(&mut store, ImportMode::Merge, &[entry("b", 3)]);
    proxy.set_rule(move |request| {
        if request.operation == "TransactWriteItems"
            && let Some(mut other) = other.take()
        {
            assert!(other.replace_meta("k", Some("new"), Some("newer")).unwrap());
        }
        Action::Forward
    });
    let outdated = [change("k", Some("new"), "newest")];
    assert!(!store.commit_import(&[], &outdated).unwrap());
    let right = [change("k", Some("newer"), "newest")];
    assert!(store.commit_import(&[], &right).unwrap());
    assert_eq!(store.count(Some("b")).unwrap(), 1);
}

fn a_key_that_comes_twice_leaves_no_item(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "twice");
    furnish(&mut store);
    let before = items(server.port(), "twice");
    stage(
        &mut store,
        ImportMode::Merge,
        &[entry("a", 2), entry("b", 2)],
    );
    is_refused(
        store.write_import(vec![entry("c", 2), entry("a", 2)]),
        "already has",
    );
    store.begin_import(ImportMode::Replace).unwrap();
    let twice = vec![says("a", 5, "x"), says("a", 5, "y")];
    is_refused(store.write_import(twice), "already has");
    is_invalid(store.commit_import(&[], &[]), "no import was begun");
    assert_eq!(items(server.port(), "twice"), before);
}

fn what_no_item_can_hold_leaves_no_item(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "bad");
    furnish(&mut store);
    let before = items(server.port(), "bad");
    let entries = |n: u64| (0..n).map(|n| entry("b", n)).collect::<Vec<_>>();
    store.begin_import(ImportMode::Merge).unwrap();
    is_invalid(store.write_import(entries(10)), "at most 9");
    store.begin_import(ImportMode::Merge).unwrap();
    let large = says("b", 1, &"x".repeat(410_000));
    is_invalid(store.write_import(vec![large]), "an item of DynamoDB");
    stage(&mut store, ImportMode::Merge, &entries(3));
    let big = change("big", None, &"x".repeat(410_000));
    let outcome = store.commit_import(&[], &[big]);
    assert!(
        matches!(outcome, Err(StoreError::InvalidArgument(_))),
        "{outcome:?}"
    );
    is_invalid(store.commit_import(&[], &[]), "no import was begun");
    assert_eq!(items(server.port(), "bad"), before);
}

/// The ids of the items that are neither entries nor pointers nor item 0.
fn staged(server: &DynamoDb, table: &str) -> Vec<Value> {
    let mut items = items(server.port(), table);
    items.retain(|item| id(item) < -(1 << 121));
    items
}

fn what_is_staged_is_in_no_index(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "unseen");
    furnish(&mut store);
    let mut other = fresh(&server, "unseen");
    let mut before = items(server.port(), "unseen");
    let given: Vec<_> = (0..20).map(|n| says("a", n, "new")).collect();
    stage(&mut store, ImportMode::Replace, &given);
    assert!(other.integrity_check().unwrap());
    for (index, key) in [("gsi_hash", "query_hash"), ("gsi_lru", "last_accessed_at")] {
        let rows = json!({"TableName": "unseen", "IndexName": index});
        let rows = call(server.port(), "Scan", &rows);
        let rows = rows["Items"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{index} on {key}");
    }
    let mut after = items(server.port(), "unseen");
    assert_eq!(staged(&server, "unseen").len(), 21);
    after.retain(|item| id(item) > -(1 << 121));
    // Item 0 names the import.
    for items in [&mut before, &mut after] {
        let head = items.iter_mut().find(|item| id(item) == 0).unwrap();
        head.as_object_mut().unwrap().remove("imports");
    }
    assert_eq!(after, before);
}

fn what_is_forgotten_leaves_nothing(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "forgotten");
    furnish(&mut store);
    let before = items(server.port(), "forgotten");
    let given: Vec<_> = (0..100).map(|n| says("a", n, "new")).collect();
    let forget: [fn(&mut DynamoDbStore); 4] = [
        |store| store.end_import().unwrap(),
        |store| store.close().unwrap(),
        |store| {
            store.begin_import(ImportMode::Merge).unwrap();
            store.end_import().unwrap();
        },
        |store| is_refused(store.begin_import(ImportMode::Empty), "has entries"),
    ];
    for forget in forget {
        let mut store = fresh(&server, "forgotten");
        stage(&mut store, ImportMode::Merge, &given);
        assert_eq!(items(server.port(), "forgotten").len(), before.len() + 101);
        forget(&mut store);
        assert_eq!(items(server.port(), "forgotten"), before);
    }
    // Opening again, too.
    stage(&mut store, ImportMode::Merge, &given);
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(items(server.port(), "forgotten"), before);
}

/// Makes every import seem not to have been written to for as many seconds.
fn age(server: &DynamoDb, table: &str, seconds: u64) {
    for item in staged(server, table) {
        let Some(renewed_at) = item["renewed_at"]["N"].as_str() else {
            continue;
        };
        let then = renewed_at.parse::<u64>().unwrap() - seconds;
        let change = json!({
            "TableName": table,
            "Key": {"id": item["id"]},
            "UpdateExpression": "SET renewed_at = :then",
            "ExpressionAttributeValues": {":then": {"N": then.to_string()}},
        });
        call(server.port(), "UpdateItem", &change);
    }
}

fn what_a_killed_process_leaves_is_removed_in_time(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "killed");
    furnish(&mut store);
    let before = items(server.port(), "killed");
    let given: Vec<_> = (0..100).map(|n| says("a", n, "new")).collect();
    let find: [fn(&DynamoDb, &mut DynamoDbStore); 2] = [
        |server, _| drop(fresh(server, "killed")),
        |_, store| {
            store.begin_import(ImportMode::Merge).unwrap();
            store.end_import().unwrap();
        },
    ];
    for find in find {
        let mut killed = fresh(&server, "killed");
        stage(&mut killed, ImportMode::Replace, &given);
        age(&server, "killed", 3_500);
        find(&server, &mut store);
        assert_eq!(staged(&server, "killed").len(), 101, "it may yet go on");
        age(&server, "killed", 100);
        find(&server, &mut store);
        assert_eq!(items(server.port(), "killed"), before);
        // Should it go on after all, it does not go on half.
        is_refused(killed.write_import(vec![entry("a", 200)]), "removed it");
        is_invalid(killed.write_import(vec![entry("a", 201)]), "no import");
        assert_eq!(items(server.port(), "killed"), before);
        stage(&mut killed, ImportMode::Replace, &given);
        age(&server, "killed", 4_000);
        find(&server, &mut store);
        is_refused(killed.commit_import(&[], &[]), "removed it");
        assert_eq!(items(server.port(), "killed"), before);
    }
}

fn an_import_is_not_removed_while_it_is_written_to(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "slow");
    store.begin_import(ImportMode::Empty).unwrap();
    for n in 0..3 {
        age(&server, "slow", 3_000);
        fresh(&server, "slow");
        store.write_import(vec![entry("a", n)]).unwrap();
    }
    age(&server, "slow", 3_000);
    let mut other = fresh(&server, "slow");
    other.begin_import(ImportMode::Merge).unwrap();
    other.write_import(vec![entry("b", 1)]).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(ids(&mut other), [1, 2, 3]);
    assert!(other.commit_import(&[], &[]).unwrap());
    assert_eq!(ids(&mut other), [1, 2, 3, 4]);
    assert_eq!(staged(&server, "slow"), Vec::<Value>::new());
}

fn an_entry_that_comes_before_the_decision_is_noticed(server: Arc<DynamoDb>) {
    let other = fresh(&server, "empty");
    let (mut store, proxy) = proxied(&server, "empty");
    stage(&mut store, ImportMode::Empty, &[entry("a", 1)]);
    let mut other = Some(other);
    proxy.set_rule(move |request| {
        if request.operation == "TransactWriteItems"
            && let Some(mut other) = other.take()
        {
            assert_eq!(put(&mut other, entry("a", 7)), 1);
            put(&mut other, entry("a", 7));
        }
        Action::Forward
    });
    is_refused(store.commit_import(&[], &[]), "has entries");
    assert_eq!(ids(&mut store), [1]);
    assert_eq!(items(server.port(), "empty").len(), 3);
}

fn a_recorded_schema_version_is_no_meta_value(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "listed");
    assert!(store.replace_meta("\u{10FFFE}e", None, Some("v")).unwrap());
    let all = [pair("\u{10FFFE}e", "v")];
    let own = json!({
        "TableName": "listed",
        "Key": {"id": {"N": "0"}},
        "UpdateExpression": "SET meta.schema_version = :one",
        "ExpressionAttributeValues": {":one": {"S": "1"}},
    });
    call(server.port(), "UpdateItem", &own);
    assert_eq!(store.list_meta().unwrap(), all);
    stage(&mut store, ImportMode::Replace, &[]);
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(store.list_meta().unwrap(), []);
    let head = &items(server.port(), "listed")[0];
    assert_eq!(head["meta"]["M"]["schema_version"]["S"], "1");
    let damage = json!({
        "TableName": "listed",
        "Key": {"id": {"N": "0"}},
        "UpdateExpression": "SET meta.k = :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    });
    call(server.port(), "UpdateItem", &damage);
    match store.list_meta() {
        Err(StoreError::Corrupt(message)) => assert!(message.contains("\"k\""), "{message}"),
        other => panic!("{other:?}"),
    }
}

fn item_0_must_have_room(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "room");
    let large = "x".repeat(200_000);
    assert!(store.replace_meta("present", None, Some(&large)).unwrap());
    let before = items(server.port(), "room");
    let meta = [change("k", None, &large), change("l", None, &large)];
    stage(&mut store, ImportMode::Merge, &[entry("a", 1)]);
    is_invalid(store.commit_import(&[], &meta), "room for 409600");
    assert_eq!(items(server.port(), "room"), before);
    let quotas: Vec<_> = (0..20_000).map(|n| quota(&format!("n{n}"), n)).collect();
    stage(&mut store, ImportMode::Merge, &[entry("a", 1)]);
    is_invalid(store.commit_import(&quotas, &[]), "room for 409600");
    assert_eq!(items(server.port(), "room"), before);
    // The present value makes room for one of them.
    stage(&mut store, ImportMode::Replace, &[entry("a", 1)]);
    assert!(store.commit_import(&quotas[..100], &meta[..1]).unwrap());
    assert_eq!(store.list_meta().unwrap().len(), 1);
    assert_eq!(store.list_namespace_quotas().unwrap().len(), 100);
}

fn entries_of_the_largest_size_are_imported(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "large");
    let text = "x".repeat(404_000);
    let given: Vec<_> = (0..21).map(|n| says("a", n, &text)).collect();
    stage(&mut store, ImportMode::Empty, &given);
    proxy.take_seen();
    assert!(store.commit_import(&[], &[]).unwrap());
    for request in proxy.take_seen() {
        let size = request.body.to_string().len();
        let limit = match request.operation.as_str() {
            "TransactWriteItems" => 4 << 20,
            _ => 16 << 20,
        };
        assert!(size < limit, "{}: {size}", request.operation);
    }
    assert_eq!(store.count(None).unwrap(), 21);
    let last = get(&mut store, "a", 20).unwrap();
    assert_eq!((last.id, last.response), (21, text));
}

fn many_entries_are_imported(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "many");
    fill(&mut store, "a", 0..20);
    let given: Vec<_> = (10..110).map(|n| says("a", n, "new")).collect();
    let start = Instant::now();
    stage(&mut store, ImportMode::Merge, &given);
    let staging = start.elapsed();
    assert!(store.commit_import(&[], &[]).unwrap());
    println!(
        "100 entries staged in {staging:.1?}, committed in {:.1?}",
        start.elapsed() - staging
    );
    assert_eq!(store.count(None).unwrap(), 110);
    let entries = store.iter_since(0, 2_000).unwrap();
    let hashes = entries.iter().map(|entry| entry.query_hash.clone());
    let written = (0..110).map(hash);
    assert!(hashes.eq(written), "in the order of the ids");
    assert!(entries[10..].iter().all(|entry| entry.response == "new"));
    assert!(entries[..10].iter().all(|entry| entry.response != "new"));
    assert_eq!(items(server.port(), "many").len(), 2 * 110 + 1);
}
