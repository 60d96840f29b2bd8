//! The DynamoDB store on a server: its layout, what it asks for, and its walks.

use mneme::store::{Entry, EntryRef, Store, StoreError, Touch};
use mneme_tests::dynamodb::{fill, fresh, proxied};
use mneme_tests::dynamodb_wire::{Action, call, id, items};
use mneme_tests::rows::{FINGERPRINT, entry, get, hash, ids, key, put};
use mneme_tests::servers::dynamodb::DynamoDb;
use serde_json::{Value, json};
use std::sync::Arc;

mneme_tests::tests![
    the_table_is_laid_out_as_documented,
    every_operation_asks_as_little_as_documented,
    walks_pass_over_large_gaps,
    long_answers_come_in_several_parts,
    many_deletes_take_several_steps,
    it_works_inside_of_a_runtime,
];

fn the_table_is_laid_out_as_documented(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "layout");
    let given = Entry {
        ttl: Some(60),
        access_count: 3,
        metadata: r#"{"a":1}"#.to_owned(),
        ..entry("a", 1)
    };
    put(&mut store, given);
    store.set_namespace_quota("a", Some(5)).unwrap();
    store.replace_meta("k.x", None, Some("v")).unwrap();
    let table = call(
        server.port(),
        "DescribeTable",
        &json!({"TableName": "layout"}),
    );
    let table = &table["Table"];
    assert_eq!(
        table["BillingModeSummary"]["BillingMode"],
        "PAY_PER_REQUEST"
    );
    assert_eq!(
        table["KeySchema"],
        json!([{"AttributeName": "id", "KeyType": "HASH"}])
    );
    for (place, name, sort, kind) in [
        (0, "gsi_hash", "query_hash", "S"),
        (1, "gsi_lru", "last_accessed_at", "N"),
    ] {
        let index = &table["GlobalSecondaryIndexes"][place];
        assert_eq!(index["IndexName"], name);
        assert_eq!(index["Projection"]["ProjectionType"], "ALL");
        assert_eq!(
            index["KeySchema"],
            json!([
                {"AttributeName": "namespace", "KeyType": "HASH"},
                {"AttributeName": sort, "KeyType": "RANGE"},
            ])
        );
        let definition = json!({"AttributeName": sort, "AttributeType": kind});
        assert!(
            table["AttributeDefinitions"]
                .as_array()
                .unwrap()
                .contains(&definition)
        );
    }
    let items = items(server.port(), "layout");
    let [pointer, head, stored] = items.as_slice() else {
        panic!("{items:?}");
    };
    let mut head = head.clone();
    let mark = head.as_object_mut().unwrap().remove("incarnation").unwrap();
    assert_eq!(mark["S"].as_str().unwrap().len(), 32);
    assert_eq!(
        head,
        json!({
            "id": {"N": "0"},
            "next_id": {"N": "2"},
            "version_counter": {"N": "1"},
            "embedder_fingerprint": {"S": FINGERPRINT},
            "embedder_dim": {"N": "3"},
            "meta": {"M": {"k.x": {"S": "v"}}},
            "quotas": {"M": {"a": {"N": "5"}}},
        })
    );
    assert_eq!(
        *stored,
        json!({
            "id": {"N": "1"},
            "namespace": {"S": "a"},
            "query_hash": {"S": hash(1)},
            "query": {"S": "query 1"},
            "response": {"S": "response 1"},
            // 1.0, -0.5 and 0.25 in little-endian.
            "embedding": {"B": "AACAPwAAAL8AAIA+"},
            "metadata": {"S": r#"{"a":1}"#},
            "created_at": {"N": "1001"},
            "last_accessed_at": {"N": "2001"},
            "ttl": {"N": "60"},
            "access_count": {"N": "3"},
            "stamp": stored["stamp"],
        })
    );
    assert!(id(pointer) < 0);
    assert_eq!(pointer["entry_id"]["N"], "1");
    assert_eq!(pointer["stamp"], stored["stamp"]);
    assert_eq!(
        pointer.as_object().unwrap().len(),
        3,
        "the indexes must not have it"
    );
    assert!(store.insert(vec![entry("a", 1)]).unwrap()[0].replaced);
    assert!(store.delete_by_id(1).unwrap());
    assert_eq!(
        self::items(server.port(), "layout").len(),
        1,
        "the pointer is gone too"
    );
    store.write_blob("index/1", vec![1, 2, 3]).unwrap();
    let items = self::items(server.port(), "layout");
    let [blob, names, head] = items.as_slice() else {
        panic!("{items:?}");
    };
    assert_eq!(*blob, json!({"id": blob["id"], "bytes": {"B": "AQID"}}));
    assert_eq!(
        *names,
        json!({"id": {"N": "-3987683987354747618711421180841033728"}, "names": {"SS": ["index/1"]}})
    );
    assert!(id(blob) < id(names) && id(head) == 0);
    assert_eq!(head["version_counter"]["N"], "3");
    store.delete_blobs(&["index/1".to_owned()]).unwrap();
    assert_eq!(self::items(server.port(), "layout").len(), 2);
}

fn every_operation_asks_as_little_as_documented(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "requests");
    let expect = |what: &str, expected: &[(&str, usize)]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect();
        assert_eq!(proxy.take_counts(), expected, "{what}");
    };
    proxy.gather(4);
    store
        .insert((0..3).map(|n| entry("a", n)).collect())
        .unwrap();
    expect(
        "insert",
        &[("BatchGetItem", 1), ("Query", 3), ("TransactWriteItems", 1)],
    );
    fill(&mut store, "a", 3..250);
    proxy.take_seen();

    proxy.gather(2);
    assert!(get(&mut store, "a", 7).is_some());
    expect("get_by_hash of one", &[("BatchGetItem", 1), ("Query", 1)]);
    proxy.gather(2);
    assert!(get(&mut store, "a", 7_000).is_none());
    expect("get_by_hash of none", &[("BatchGetItem", 1), ("Query", 1)]);
    proxy.gather(6);
    let keys: Vec<_> = (0..5).map(|n| key("a", n)).collect();
    assert!(
        store
            .get_by_hash(&keys, true)
            .unwrap()
            .iter()
            .all(Option::is_some)
    );
    expect("get_by_hash of five", &[("BatchGetItem", 1), ("Query", 5)]);

    let all: Vec<u64> = (1..=250).collect();
    proxy.gather(3);
    assert_eq!(store.get_by_ids(&all, true).unwrap().len(), 250);
    expect("get_by_ids", &[("BatchGetItem", 3)]);
    proxy.gather(4);
    assert_eq!(store.iter_vectors(0, 1600).unwrap().ids, all);
    expect(
        "iter_vectors of all",
        &[("BatchGetItem", 3), ("GetItem", 1)],
    );
    proxy.gather(2);
    assert_eq!(store.iter_stamps(10, 5).unwrap().ids, [11, 12, 13, 14, 15]);
    expect(
        "iter_stamps of five",
        &[("BatchGetItem", 1), ("GetItem", 1)],
    );
    assert!(store.iter_since(250, 100).unwrap().is_empty());
    expect("iter_since at the end", &[("GetItem", 1)]);

    let touches: Vec<_> = (1..=50)
        .map(|id| Touch {
            id,
            hits: 1,
            last_accessed_at: 9_000,
        })
        .collect();
    store.update_access(&touches).unwrap();
    expect(
        "update_access",
        &[("BatchGetItem", 1), ("TransactWriteItems", 1)],
    );
    let more: Vec<_> = (101..=151)
        .map(|id| Touch {
            id,
            hits: 1,
            last_accessed_at: 9_000,
        })
        .collect();
    proxy.gather(2);
    store.update_access(&more).unwrap();
    expect(
        "update_access of many",
        &[("BatchGetItem", 2), ("TransactWriteItems", 2)],
    );
    proxy.gather(2);
    assert_eq!(get(&mut store, "a", 7).unwrap().access_count, 1);
    expect(
        "get_by_hash after a touch",
        &[("BatchGetItem", 1), ("Query", 1)],
    );

    let old = store.iter_lru_ids(20, Some("a")).unwrap();
    assert_eq!(
        old.iter().map(|entry| entry.id).collect::<Vec<_>>(),
        (51..=70).collect::<Vec<_>>()
    );
    expect("iter_lru_ids", &[("BatchGetItem", 1), ("Query", 1)]);
    assert_eq!(store.delete_unchanged(&old).unwrap().len(), 20);
    expect(
        "delete_unchanged",
        &[("BatchGetItem", 1), ("TransactWriteItems", 1)],
    );
    proxy.gather(4);
    assert_eq!(store.count(None).unwrap(), 230);
    expect("count", &[("Scan", 4)]);
    store.read_version_counter().unwrap();
    store.read_meta("k").unwrap();
    store.get_namespace_quota("a").unwrap();
    store.list_namespace_quotas().unwrap();
    expect("head", &[("GetItem", 4)]);
    store.replace_meta("k", None, Some("v")).unwrap();
    store.set_namespace_quota("a", Some(1)).unwrap();
    expect("meta and quota", &[("TransactWriteItems", 2)]);
    let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for name in &names {
        store.write_blob(name, vec![7]).unwrap();
    }
    expect("write_blob, 50 times", &[("TransactWriteItems", 50)]);
    assert_eq!(store.read_blob("7").unwrap(), Some(vec![7]));
    assert_eq!(store.list_blobs().unwrap().len(), 50);
    expect("read_blob and list_blobs", &[("GetItem", 2)]);
    store.delete_blobs(&names).unwrap();
    expect("delete_blobs", &[("TransactWriteItems", 2)]);
    assert_eq!(store.iter_stamps(0, 10).unwrap().ids.len(), 10);
}

fn walks_pass_over_large_gaps(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "gaps");
    fill(&mut store, "a", 0..3);
    let skip_to = |next: &str| {
        let change = json!({
            "TableName": "gaps", "Key": {"id": {"N": "0"}},
            "UpdateExpression": "SET next_id = :next",
            "ExpressionAttributeValues": {":next": {"N": next}},
        });
        call(server.port(), "UpdateItem", &change);
    };
    skip_to("1000000");
    fill(&mut store, "a", 3..6);
    skip_to("5000000000");
    fill(&mut store, "a", 6..9);
    let expected = [
        1,
        2,
        3,
        1_000_000,
        1_000_001,
        1_000_002,
        5_000_000_000,
        5_000_000_001,
        5_000_000_002,
    ];
    proxy.take_seen();
    assert_eq!(ids(&mut store), expected);
    let requests = proxy.take_seen().len();
    assert!(requests < 40, "{requests} requests for nine entries");

    // A walk in small pages, while others write.
    let mut other = fresh(&server, "gaps");
    let mut seen = Vec::new();
    while let Some(&last) = store
        .iter_stamps(*seen.last().unwrap_or(&0), 2)
        .unwrap()
        .ids
        .last()
    {
        let page = store
            .iter_stamps(*seen.last().unwrap_or(&0), 2)
            .unwrap()
            .ids;
        seen.extend(page);
        if last == 1_000_000 {
            other.delete_by_id(5_000_000_001).unwrap();
            fill(&mut other, "b", 0..2);
        }
    }
    let expected = [
        1,
        2,
        3,
        1_000_000,
        1_000_001,
        1_000_002,
        5_000_000_000,
        5_000_000_002,
        5_000_000_003,
        5_000_000_004,
    ];
    assert_eq!(seen, expected);
    assert_eq!(store.iter_since(1_000_001, 2).unwrap()[1].id, 5_000_000_000);
    assert_eq!(
        store.iter_vectors(5_000_000_003, 9).unwrap().ids,
        [5_000_000_004]
    );
    assert!(store.iter_stamps(u64::MAX - 1, 9).unwrap().ids.is_empty());
}

fn long_answers_come_in_several_parts(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "long");
    for n in 0..12 {
        let long = Entry {
            response: "r".repeat(350_000),
            ..entry("a", n)
        };
        put(&mut store, long);
    }
    // BatchGetItem, too, may leave out what does not fit.
    proxy.set_rule(|request| {
        if request.operation != "BatchGetItem" {
            return Action::Forward;
        }
        let asked = request.body["RequestItems"]["long"].clone();
        Action::Rewrite(Box::new(move |mut answer| {
            let found = answer["Responses"]["long"].as_array_mut().unwrap();
            let keys = asked["Keys"].as_array().unwrap();
            if found.len() > 5 && keys.len() == found.len() {
                let left: Vec<Value> = found
                    .drain(5..)
                    .map(|item| json!({"id": item["id"]}))
                    .collect();
                let mut rest = asked.clone();
                rest["Keys"] = json!(left);
                answer["UnprocessedKeys"] = json!({"long": rest});
            }
            answer
        }))
    });
    assert_eq!(store.iter_since(0, 12).unwrap().len(), 12);
    assert_eq!(
        store
            .get_by_ids(&[12, 3, 1, 2, 9, 8, 7], true)
            .unwrap()
            .iter()
            .map(|entry| entry.id)
            .collect::<Vec<_>>(),
        [12, 3, 1, 2, 9, 8, 7]
    );
    proxy.take_seen();
    assert_eq!(store.count(Some("a")).unwrap(), 12);
    let scans = proxy.take_seen().len();
    assert!(
        scans > 4,
        "{scans} scans: the answer was to have several parts"
    );
    assert_eq!(store.clear_namespace(Some("a")).unwrap(), 12);
    assert_eq!(items(server.port(), "long").len(), 1);
}

fn many_deletes_take_several_steps(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "steps");
    fill(&mut store, "a", 0..120);
    let most = u64::from(store.capabilities().max_delete);
    let before = store.read_version_counter().unwrap();
    let all: Vec<EntryRef> = store.iter_lru_ids(110, None).unwrap();
    assert_eq!(store.delete_unchanged(&all).unwrap().len(), 110);
    assert_eq!(
        store.read_version_counter().unwrap(),
        before + 110_u64.div_ceil(most)
    );
    assert_eq!(store.clear_namespace(None).unwrap(), 10);
    assert_eq!(
        store.read_version_counter().unwrap(),
        before + 110_u64.div_ceil(most) + 1
    );
}

fn it_works_inside_of_a_runtime(server: Arc<DynamoDb>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut store = fresh(&server, "runtime");
        let id = put(&mut store, entry("a", 1));
        assert_eq!(get(&mut store, "a", 1).unwrap().id, id);
        store.close().unwrap();
        assert!(matches!(store.count(None), Err(StoreError::Closed)));
    });
}
