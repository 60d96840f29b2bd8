//! The DynamoDB store and what a table or an item cannot hold, or should not.

use mneme::store::{DynamoDbStore, Entry, Store, StoreError, Touch};
use mneme_tests::dynamodb::{fill, fresh, open};
use mneme_tests::dynamodb_wire::{Action, Proxy, call, id, items};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, ids, key, put};
use mneme_tests::servers::dynamodb::DynamoDb;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

mneme_tests::tests![
    texts_that_a_key_cannot_hold_are_kept,
    what_is_too_large_is_refused_and_nothing_stored,
    tables_are_created_once_and_only_when_asked,
    other_tables_are_refused,
    damaged_items_are_told_and_the_others_readable,
    a_counter_behind_the_ids_is_told,
];

fn texts_that_a_key_cannot_hold_are_kept(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "texts");
    let names = [
        "",
        "\u{10FFFE}e",
        "\u{10FFFE}",
        "\u{10FFFE}\u{10FFFE}e",
        "a.b#c:d",
        "\0",
        "🦀",
        "id",
    ];
    let mut sorted = names.map(str::to_owned).to_vec();
    sorted.sort();
    for (n, name) in names.iter().enumerate() {
        let n = n as u64;
        let given = Entry {
            query: String::new(),
            response: String::new(),
            metadata: String::new(),
            ..entry(name, 1)
        };
        let id = put(&mut store, given.clone());
        assert_eq!(
            get(&mut store, name, 1),
            Some(Entry { id, ..given }),
            "{name:?}"
        );
        assert_eq!(store.count(Some(name)).unwrap(), 1, "{name:?}");
        assert_eq!(
            store.iter_lru_ids(2, Some(name)).unwrap()[0].namespace,
            *name
        );
        store.set_namespace_quota(name, Some(n)).unwrap();
        assert!(store.replace_meta(name, None, Some(name)).unwrap());
        assert!(!store.replace_meta(name, None, Some("x")).unwrap());
        assert_eq!(store.read_meta(name).unwrap().as_deref(), Some(*name));
        assert_eq!(store.get_namespace_quota(name).unwrap(), Some(n));
    }
    assert_eq!(store.list_namespaces(None, 1000).unwrap(), sorted);
    let quotas = store.list_namespace_quotas().unwrap();
    assert_eq!(
        quotas.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
        sorted
    );
    for name in names {
        store.set_namespace_quota(name, None).unwrap();
        assert!(store.replace_meta(name, Some(name), None).unwrap());
        assert_eq!(store.read_meta(name).unwrap(), None);
        assert_eq!(store.clear_namespace(Some(name)).unwrap(), 1, "{name:?}");
    }
    assert!(store.list_namespace_quotas().unwrap().is_empty());
}

fn what_is_too_large_is_refused_and_nothing_stored(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "large");
    let refused = |outcome: Result<(), StoreError>, said: &[&str]| match outcome {
        Err(StoreError::InvalidArgument(text)) => {
            for part in said {
                assert!(text.contains(part), "{text}");
            }
        }
        other => panic!("{other:?}"),
    };
    let long = Entry {
        response: "r".repeat(410_000),
        ..entry("a", 2)
    };
    let both = store.insert(vec![entry("a", 1), long]).map(drop);
    refused(both, &["entry 1 of the list", &hash(2), "410", "409600"]);
    let named = Entry {
        namespace: "n".repeat(2049),
        ..entry("a", 3)
    };
    refused(
        store.insert(vec![named]).map(drop),
        &["2049", "shorter namespace"],
    );
    let much = "m".repeat(410_000);
    refused(
        store.replace_meta("k", None, Some(&much)).map(drop),
        &["400 KB"],
    );
    refused(store.set_namespace_quota(&much, Some(1)), &["64 KB"]);
    let list = (0..=u64::from(store.capabilities().max_batch)).map(|n| entry("a", n));
    refused(
        store.insert(list.collect()).map(drop),
        &["at most", "split it"],
    );
    assert_eq!(
        (
            store.count(None).unwrap(),
            store.read_version_counter().unwrap()
        ),
        (0, 0)
    );
    assert_eq!(store.read_meta("k").unwrap(), None);
    assert_eq!(get(&mut store, &"n".repeat(2049), 3), None);
    assert!(
        store
            .iter_lru_ids(1, Some(&"n".repeat(2049)))
            .unwrap()
            .is_empty()
    );
    let fits = Entry {
        response: "r".repeat(390_000),
        ..entry("a", 4)
    };
    let most = store.capabilities().max_batch as usize;
    let full = (0..most).map(|n| Entry {
        query_hash: hash(n as u64),
        ..fits.clone()
    });
    assert_eq!(store.insert(full.collect()).unwrap().len(), most);
    let widest = Entry {
        namespace: "n".repeat(2048),
        ..entry("a", 5)
    };
    let id = put(&mut store, widest.clone());
    assert_eq!(
        get(&mut store, &widest.namespace, 5),
        Some(Entry {
            id,
            ..widest.clone()
        })
    );
}

fn tables_are_created_once_and_only_when_asked(server: Arc<DynamoDb>) {
    let url = server.url("created");
    let mut cautious =
        DynamoDbStore::from_url(&url.replace("create=true", "create=false")).unwrap();
    let error = cautious.open(FINGERPRINT, DIM).unwrap_err();
    assert!(
        matches!(&error, StoreError::Backend(e) if !e.retryable && e.message.contains("create=true") && e.message.contains("table created")),
        "{error:?}"
    );
    assert!(matches!(cautious.count(None), Err(StoreError::Closed)));
    let openers: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || open(&url).count(None).unwrap())
        })
        .collect();
    for opener in openers {
        assert_eq!(opener.join().unwrap(), 0);
    }
    cautious.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(items(server.port(), "created").len(), 1);
    assert!(matches!(
        cautious.open("other", DIM),
        Err(StoreError::EmbedderMismatch(_))
    ));
    assert!(matches!(
        cautious.open(FINGERPRINT, DIM + 1),
        Err(StoreError::EmbedderDimension(_))
    ));
    // One that is not ready at once is waited for.
    let proxy = Proxy::start(server.port());
    let mut pretences = 3;
    proxy.set_rule(move |request| match request.operation.as_str() {
        "DescribeTable" if pretences > 0 => {
            pretences -= 1;
            let status = if pretences > 0 { "CREATING" } else { "ACTIVE" };
            Action::Rewrite(Box::new(move |mut answer| {
                answer["Table"]["TableStatus"] = json!(status);
                answer["Table"]["GlobalSecondaryIndexes"][1]["IndexStatus"] = json!("CREATING");
                answer
            }))
        }
        _ => Action::Forward,
    });
    open(&proxy.url("created"));
    assert_eq!(
        proxy.take_counts(),
        [("DescribeTable".to_owned(), 4), ("GetItem".to_owned(), 1)]
    );
}

fn other_tables_are_refused(server: Arc<DynamoDb>) {
    let attribute = |name: &str, kind: &str| json!({"AttributeName": name, "AttributeType": kind});
    let plain = json!({
        "TableName": "plain", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [attribute("name", "S")],
        "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    });
    call(server.port(), "CreateTable", &plain);
    let error = DynamoDbStore::from_url(&server.url("plain"))
        .unwrap()
        .open(FINGERPRINT, DIM);
    match error {
        Err(StoreError::Schema(text)) => {
            for part in ["plain", "partition key id", "gsi_hash", "gsi_lru"] {
                assert!(text.contains(part), "{text}");
            }
        }
        other => panic!("{other:?}"),
    }
    let refusal = |change: &str, values: Value| {
        let change = json!({
            "TableName": "changed", "Key": {"id": {"N": "0"}},
            "UpdateExpression": change, "ExpressionAttributeValues": values,
        });
        call(server.port(), "UpdateItem", &change);
        let mut store = DynamoDbStore::from_url(&server.url("changed")).unwrap();
        let error = store.open(FINGERPRINT, DIM).unwrap_err();
        assert!(matches!(store.count(None), Err(StoreError::Closed)));
        error
    };
    let mut store = fresh(&server, "changed");
    put(&mut store, entry("a", 1));
    let newer = refusal("SET schema_version = :v", json!({":v": {"N": "2"}}));
    assert!(
        matches!(&newer, StoreError::Schema(text) if text.contains("schema_version is 2")),
        "{newer:?}"
    );
    let nested = refusal(
        "SET schema_version = :o, meta.schema_version = :v",
        json!({":o": {"N": "1"}, ":v": {"S": "7"}}),
    );
    assert!(
        matches!(&nested, StoreError::Schema(text) if text.contains("7")),
        "{nested:?}"
    );
    let change = json!({
        "TableName": "changed", "Key": {"id": {"N": "0"}},
        "UpdateExpression": "REMOVE schema_version, meta.schema_version",
    });
    call(server.port(), "UpdateItem", &change);
    store.open(FINGERPRINT, DIM).unwrap();
    let counter = refusal("SET next_id = :v", json!({":v": {"S": "x"}}));
    assert!(
        matches!(&counter, StoreError::Corrupt(text) if text.contains("item 0, attribute next_id")),
        "{counter:?}"
    );
    let embedder = refusal(
        "SET next_id = :n, embedder_dim = :v",
        json!({":n": {"N": "2"}, ":v": {"S": "x"}}),
    );
    assert!(
        matches!(&embedder, StoreError::Corrupt(text) if text.contains("embedder_dim")),
        "{embedder:?}"
    );
    // Entries without item 0.
    call(
        server.port(),
        "DeleteItem",
        &json!({"TableName": "changed", "Key": {"id": {"N": "0"}}}),
    );
    for error in [
        store.read_version_counter().unwrap_err(),
        store.insert(vec![entry("a", 2)]).unwrap_err(),
        store.open(FINGERPRINT, DIM).unwrap_err(),
    ] {
        assert!(
            matches!(&error, StoreError::Corrupt(text) if text.contains("item 0")),
            "{error:?}"
        );
    }
    assert_eq!(
        items(server.port(), "changed").len(),
        2,
        "nothing was written"
    );
}

fn damaged_items_are_told_and_the_others_readable(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "damaged");
    fill(&mut store, "a", 0..9);
    assert!(store.integrity_check().unwrap());
    let damage = |number: i128, change: &dyn Fn(&mut Value)| {
        let all = items(server.port(), "damaged");
        let mut item = all.into_iter().find(|item| id(item) == number).unwrap();
        change(&mut item);
        call(
            server.port(),
            "PutItem",
            &json!({"TableName": "damaged", "Item": item}),
        );
    };
    damage(2, &|item| item["embedding"] = json!({"B": "AAAA"}));
    damage(3, &|item| {
        drop(item.as_object_mut().unwrap().remove("response"))
    });
    damage(4, &|item| item["created_at"] = json!({"S": "soon"}));
    assert!(!store.integrity_check().unwrap());
    let corrupt = |error: StoreError, part: &str| match error {
        StoreError::Corrupt(text) => {
            assert!(
                text.contains(part) && text.contains("table damaged"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    };
    corrupt(
        store.get_by_hash(&[key("a", 1)], true).unwrap_err(),
        "item 2, attribute embedding",
    );
    corrupt(
        store.get_by_ids(&[1, 3], true).unwrap_err(),
        "item 3, attribute response",
    );
    corrupt(
        store.iter_stamps(0, 9).unwrap_err(),
        "item 4, attribute created_at",
    );
    corrupt(store.iter_vectors(0, 9).unwrap_err(), "attribute embedding");
    assert_eq!(get(&mut store, "a", 0).unwrap().id, 1);
    assert_eq!(store.iter_since(4, 9).unwrap().len(), 5);
    assert_eq!(store.count(Some("a")).unwrap(), 9);
    store
        .update_access(&[Touch {
            id: 3,
            hits: 1,
            last_accessed_at: 1,
        }])
        .unwrap();
    // Each can be removed, or replaced by a sound one.
    assert!(store.delete_by_id(4).unwrap());
    assert!(store.delete_by_id(3).unwrap());
    assert!(store.insert(vec![entry("a", 1)]).unwrap()[0].replaced);
    assert!(store.integrity_check().unwrap());
    assert_eq!(ids(&mut store), [1, 2, 5, 6, 7, 8, 9]);
    damage(0, &|head| {
        head["meta"]["M"]["k"] = json!({"BOOL": true});
        head["quotas"]["M"]["q"] = json!({"BOOL": true});
    });
    corrupt(store.read_meta("k").unwrap_err(), "meta, key \"k\"");
    corrupt(
        store.get_namespace_quota("q").unwrap_err(),
        "quotas, key \"q\"",
    );
    damage(0, &|head| {
        drop(head.as_object_mut().unwrap().remove("version_counter"))
    });
    corrupt(store.read_version_counter().unwrap_err(), "version_counter");
    assert!(!store.integrity_check().unwrap());
}

fn a_counter_behind_the_ids_is_told(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "behind");
    fill(&mut store, "a", 0..3);
    let set_next = |next: &str| {
        let change = json!({
            "TableName": "behind", "Key": {"id": {"N": "0"}},
            "UpdateExpression": "SET next_id = :next",
            "ExpressionAttributeValues": {":next": {"N": next}},
        });
        call(server.port(), "UpdateItem", &change);
    };
    set_next("2");
    assert!(!store.integrity_check().unwrap());
    let store = DynamoDbStore::from_url(&server.url("behind")).unwrap();
    let mut hasty = store.call_timeout(Duration::from_millis(1500));
    let error = loop {
        match hasty.open(FINGERPRINT, DIM) {
            Ok(()) => match hasty.insert(vec![entry("b", 1)]).unwrap_err() {
                // The machine was busy.
                StoreError::Backend(error) if error.retryable => {}
                error => break error,
            },
            Err(StoreError::Backend(error)) if error.retryable => {}
            Err(error) => panic!("{error:?}"),
        }
    };
    match error {
        StoreError::Corrupt(text) => {
            assert!(text.contains("item 0, attribute next_id is 2"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    // What replaces an entry needs no new id.
    assert!(hasty.insert(vec![entry("a", 1)]).unwrap()[0].replaced);
    set_next("4");
    assert_eq!(put(&mut hasty, entry("b", 1)), 4);
    assert!(hasty.integrity_check().unwrap());
}
