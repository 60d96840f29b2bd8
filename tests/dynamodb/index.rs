//! The DynamoDB store is exact though the indexes of its table lag behind.

use mneme::store::{DynamoDbStore, Entry, EntryRef, Store, Touch};
use mneme_tests::dynamodb::{fresh, open, proxied};
use mneme_tests::dynamodb_wire::{Action, call, items};
use mneme_tests::rows::{entry, get, hash, ids, put};
use mneme_tests::servers::dynamodb::DynamoDb;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

mneme_tests::tests![
    look_ups_are_exact_while_the_index_knows_nothing,
    look_ups_are_exact_while_the_index_knows_an_older_state,
    the_oldest_are_found_while_the_index_lags,
    entries_stored_twice_are_mended,
];

fn look_ups_are_exact_while_the_index_knows_nothing(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "blind");
    proxy.set_rule(|request| match request.operation.as_str() {
        "Query" => Action::Answer(200, json!({"Items": [], "Count": 0, "ScannedCount": 0})),
        _ => Action::Forward,
    });
    let id = put(&mut store, entry("a", 1));
    assert_eq!(
        get(&mut store, "a", 1),
        Some(Entry {
            id,
            ..entry("a", 1)
        })
    );
    let mut other = open(&proxy.url("blind"));
    assert_eq!(get(&mut other, "a", 1).unwrap().id, id);
    let newer = Entry {
        response: "newer".to_owned(),
        ..entry("a", 1)
    };
    let inserted = other.insert(vec![newer]).unwrap();
    assert_eq!((inserted[0].id, inserted[0].replaced), (id, true));
    assert_eq!(get(&mut store, "a", 1).unwrap().response, "newer");
    assert_eq!(store.count(None).unwrap(), 1);
    assert!(other.delete_by_id(id).unwrap());
    assert_eq!(get(&mut store, "a", 1), None);
    let next = put(&mut store, entry("a", 1));
    assert!(next > id);
}

fn look_ups_are_exact_while_the_index_knows_an_older_state(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "stale");
    let id = put(&mut store, entry("a", 1));
    // From now on the index answers as it did at first.
    let remembered: Arc<Mutex<Option<Value>>> = Arc::default();
    let memory = Arc::clone(&remembered);
    proxy.set_rule(move |request| {
        let memory = Arc::clone(&memory);
        match (request.operation.as_str(), memory.lock().unwrap().clone()) {
            ("Query", Some(answer)) => Action::Answer(200, answer),
            ("Query", None) => {
                let memory = Arc::clone(&memory);
                Action::Rewrite(Box::new(move |answer| {
                    *memory.lock().unwrap() = Some(answer.clone());
                    answer
                }))
            }
            _ => Action::Forward,
        }
    });
    assert_eq!(get(&mut store, "a", 1).unwrap().access_count, 0);
    assert!(remembered.lock().unwrap().is_some());

    let touch = Touch {
        id,
        hits: 2,
        last_accessed_at: 7_000,
    };
    store.update_access(&[touch]).unwrap();
    let touched = get(&mut store, "a", 1).unwrap();
    assert_eq!((touched.access_count, touched.last_accessed_at), (2, 7_000));
    let newer = Entry {
        response: "newer".to_owned(),
        ..entry("a", 1)
    };
    assert!(store.insert(vec![newer]).unwrap()[0].replaced);
    assert_eq!(get(&mut store, "a", 1).unwrap().response, "newer");
    assert!(store.delete_by_id(id).unwrap());
    assert_eq!(get(&mut store, "a", 1), None);
    let again = store.insert(vec![entry("a", 1)]).unwrap()[0];
    assert!(!again.replaced && again.id > id, "an id is not used again");
    assert_eq!(get(&mut store, "a", 1).unwrap().id, again.id);
}

fn the_oldest_are_found_while_the_index_lags(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "oldest");
    // Three of each age, the later ids the older.
    let aged = |n: u64| Entry {
        last_accessed_at: 5_000 - n / 3,
        ..entry("a", n)
    };
    for n in (0..60).step_by(6) {
        store.insert((n..n + 6).map(aged).collect()).unwrap();
    }
    put(
        &mut store,
        Entry {
            last_accessed_at: 1,
            ..entry("b", 1)
        },
    );
    let oldest = |store: &mut DynamoDbStore, n, namespace| {
        let list: Vec<EntryRef> = store.iter_lru_ids(n, namespace).unwrap();
        list.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    // Ids are one above the numbers.
    let expected = [58, 59, 60, 55, 56, 57, 52, 53];
    assert_eq!(oldest(&mut store, 8, Some("a")), expected);
    assert_eq!(oldest(&mut store, 9, None)[..3], [61, 58, 59]);
    assert_eq!(oldest(&mut store, 100, Some("a")).len(), 60);
    assert!(oldest(&mut store, 5, Some("c")).is_empty());

    // The index knows neither of a touch nor of a delete.
    let answers: Arc<Mutex<Vec<(Value, Value)>>> = Arc::default();
    let memory = Arc::clone(&answers);
    proxy.set_rule(move |request| {
        if request.operation != "Query" {
            return Action::Forward;
        }
        let known = memory.lock().unwrap();
        let body = request.body.clone();
        if let Some((_, answer)) = known.iter().find(|(asked, _)| *asked == body) {
            return Action::Answer(200, answer.clone());
        }
        let memory = Arc::clone(&memory);
        Action::Rewrite(Box::new(move |answer| {
            memory.lock().unwrap().push((body, answer.clone()));
            answer
        }))
    });
    assert_eq!(oldest(&mut store, 3, Some("a")), [58, 59, 60]);
    store
        .update_access(&[Touch {
            id: 58,
            hits: 1,
            last_accessed_at: 9_000,
        }])
        .unwrap();
    store.delete_by_id(60).unwrap();
    assert_eq!(oldest(&mut store, 3, Some("a")), [59, 55, 56]);
    // Where it knows too few, the table is asked.
    proxy.set_rule(|request| match request.operation.as_str() {
        "Query" => Action::Answer(200, json!({"Items": [], "Count": 0, "ScannedCount": 0})),
        _ => Action::Forward,
    });
    assert_eq!(oldest(&mut store, 3, Some("a")), [59, 55, 56]);
}

fn entries_stored_twice_are_mended(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "twice");
    put(&mut store, entry("a", 1));
    let mut item = items(server.port(), "twice").pop().unwrap();
    // As two writers without pointers leave it, who do not see each other's entries.
    for id in ["5", "6", "7"] {
        item["id"] = json!({"N": id});
        item["query_hash"] = json!({"S": hash(2)});
        item["response"] = json!({"S": id});
        item.as_object_mut().unwrap().remove("stamp");
        call(
            server.port(),
            "PutItem",
            &json!({"TableName": "twice", "Item": item}),
        );
    }
    let change = json!({
        "TableName": "twice", "Key": {"id": {"N": "0"}},
        "UpdateExpression": "SET next_id = :next",
        "ExpressionAttributeValues": {":next": {"N": "8"}},
    });
    call(server.port(), "UpdateItem", &change);
    assert!(!store.integrity_check().unwrap());
    assert_eq!(get(&mut store, "a", 2).unwrap().id, 5);
    store
        .update_access(&[Touch {
            id: 6,
            hits: 1,
            last_accessed_at: 1,
        }])
        .unwrap();
    let inserted = store.insert(vec![entry("a", 2)]).unwrap()[0];
    assert!(inserted.replaced && inserted.id == 6, "{inserted:?}");
    assert_eq!(ids(&mut store), [1, 6]);
    assert!(store.integrity_check().unwrap());
    assert_eq!(get(&mut store, "a", 2).unwrap().response, "response 2");
}
