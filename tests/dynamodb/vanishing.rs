//! The DynamoDB store when its data is gone, or another cache's is in its place, while it is open.

use mneme::DynamoDbStore;
use mneme::store::Store;
use mneme_tests::dynamodb_wire::{call, items};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};
use mneme_tests::servers::dynamodb::DynamoDb;
use mneme_tests::vanishing::{is_gone, refuses_writes};
use serde_json::json;
use std::sync::Arc;

mneme_tests::tests![
    a_table_that_was_created_again_takes_no_writes_until_the_store_is_opened_again,
    a_table_that_was_emptied_takes_no_writes,
];

fn opened(server: &DynamoDb, table: &str) -> DynamoDbStore {
    let mut store = DynamoDbStore::from_url(&server.url(table))
        .unwrap()
        .create(true);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

fn refuses_everything(store: &mut DynamoDbStore) {
    refuses_writes(store);
    is_gone(store.list_meta());
}

fn a_table_that_was_created_again_takes_no_writes_until_the_store_is_opened_again(
    server: Arc<DynamoDb>,
) {
    let mut store = opened(&server, "again");
    put(&mut store, entry("a", 1));
    call(server.port(), "DeleteTable", &json!({"TableName": "again"}));
    let mut other = opened(&server, "again");
    put(
        &mut other,
        mneme::store::Entry {
            response: "theirs".to_owned(),
            ..entry("a", 1)
        },
    );
    let before = items(server.port(), "again");
    refuses_everything(&mut store);
    is_gone(store.delete_by_id(1));
    assert_eq!(items(server.port(), "again"), before, "nothing was written");
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(get(&mut store, "a", 1).unwrap().response, "theirs");
    put(&mut store, entry("a", 2));
}

fn a_table_that_was_emptied_takes_no_writes(server: Arc<DynamoDb>) {
    let mut store = opened(&server, "emptied");
    put(&mut store, entry("a", 1));
    for item in items(server.port(), "emptied") {
        let key = json!({"TableName": "emptied", "Key": {"id": item["id"]}});
        call(server.port(), "DeleteItem", &key);
    }
    refuses_everything(&mut store);
    assert_eq!(
        items(server.port(), "emptied").len(),
        0,
        "nothing was written"
    );
    store.open(FINGERPRINT, DIM).unwrap();
    put(&mut store, entry("a", 1));
    assert!(store.integrity_check().unwrap());
}
