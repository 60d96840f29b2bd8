//! Contexts and tags in the DynamoDB store: their attributes, the index over tags, and what
//! `select` asks for.

use mneme::store::{DynamoDbStore, Entry, Filter, ImportMode, Selection, Store, StoreError};
use mneme_tests::dynamodb::{fill, fresh, open, proxied};
use mneme_tests::dynamodb_wire::{Action, Proxy, call, id, items, refusal};
use mneme_tests::rows::{entry, get, hash, key, put};
use mneme_tests::servers::dynamodb::DynamoDb;
use serde_json::{Value, json};
use std::sync::Arc;

mneme_tests::tests![
    contexts_and_tags_are_laid_out_as_documented,
    the_index_over_tags_goes_with_its_entries,
    tagged_entries_ask_as_little_as_documented,
    what_nobody_looks_at_is_not_read,
    a_selection_reads_a_part_a_call,
    a_selection_by_tag_passes_over_the_rest,
    writes_that_fail_leave_no_entry_behind_a_tag,
    a_tagged_entry_meets_a_delete,
    tags_that_a_replacement_takes_away_are_gone,
    entries_of_the_largest_size_have_contexts_and_tags,
    damaged_labels_are_told,
];

fn tagged(namespace: &str, n: u64, tags: &[&str]) -> Entry {
    Entry {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..entry(namespace, n)
    }
}

fn every() -> Filter {
    Filter {
        namespace: None,
        context: None,
        tags: Vec::new(),
        created_from: None,
        created_before: None,
    }
}

fn by(tags: &[&str]) -> Filter {
    Filter {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..every()
    }
}

fn ids_of(selection: &Selection) -> Vec<u64> {
    selection.entries.iter().map(|entry| entry.id).collect()
}

/// The ids of all entries that meet a filter, in calls of two.
fn walk(store: &mut DynamoDbStore, filter: &Filter) -> Vec<u64> {
    let mut found = Vec::new();
    let mut next = Some(0);
    while let Some(last) = next {
        let selection = store.select(filter, last, 2).unwrap();
        found.extend(ids_of(&selection));
        assert!(selection.next.is_none_or(|next| next > last));
        next = selection.next;
    }
    found
}

/// The items of the index over tags.
fn index(server: &DynamoDb, table: &str) -> Vec<Value> {
    let mut found = items(server.port(), table);
    found.retain(|item| !item["entries"].is_null());
    found
}

/// Stores items as a writer that knows no index over tags does.
fn write(server: &DynamoDb, table: &str, items: Vec<Value>) {
    for part in items.chunks(25) {
        let puts: Vec<Value> = part
            .iter()
            .map(|item| json!({"PutRequest": {"Item": item}}))
            .collect();
        let request = json!({"RequestItems": {table: puts}});
        call(server.port(), "BatchWriteItem", &request);
    }
}

fn skip_to(server: &DynamoDb, table: &str, next: u64) {
    let change = json!({
        "TableName": table, "Key": {"id": {"N": "0"}},
        "UpdateExpression": "SET next_id = :next",
        "ExpressionAttributeValues": {":next": {"N": next.to_string()}},
    });
    call(server.port(), "UpdateItem", &change);
}

fn contexts_and_tags_are_laid_out_as_documented(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "labels");
    let given = Entry {
        context: "model \u{10FFFE}".to_owned(),
        ..tagged("a", 1, &["doc:1", "zoë"])
    };
    put(&mut store, given.clone());
    put(&mut store, entry("a", 2));
    let all = items(server.port(), "labels");
    let stored = |n: i128| all.iter().find(|item| id(item) == n).unwrap();
    assert_eq!(stored(1)["context"], json!({"S": "model \u{10FFFE}"}));
    assert_eq!(
        stored(1)["tags"],
        json!({"L": [{"S": "doc:1"}, {"S": "zoë"}]})
    );
    let plain = stored(2).as_object().unwrap();
    assert!(!plain.contains_key("context") && !plain.contains_key("tags"));
    let index = index(&server, "labels");
    assert_eq!(index.len(), 2);
    for item in &index {
        assert_eq!(*item, json!({"id": item["id"], "entries": {"NS": ["1"]}}));
        assert!(id(item) < -4 * (1 << 120) && id(item) >= -5 * (1 << 120));
    }
    // Item 0, two entries, two pointers and the index.
    assert_eq!(all.len(), 7);
    assert_eq!(get(&mut store, "a", 1), Some(Entry { id: 1, ..given }));
    let page = store.iter_vectors(0, 9).unwrap();
    assert_eq!(page.contexts, ["model \u{10FFFE}", ""]);
    assert!(store.integrity_check().unwrap());
}

fn the_index_over_tags_goes_with_its_entries(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "gone");
    let expiring = Entry {
        ttl: Some(1),
        ..tagged("a", 3, &["t", "u"])
    };
    let list = vec![
        tagged("a", 1, &["t"]),
        tagged("a", 2, &["t", "u"]),
        expiring,
        tagged("b", 4, &["t"]),
        tagged("b", 5, &["u"]),
    ];
    store.insert(list).unwrap();
    assert_eq!(walk(&mut store, &by(&["t"])), [1, 2, 3, 4]);
    assert_eq!(walk(&mut store, &by(&["u", "t", "u"])), [2, 3]);
    let in_b = Filter {
        namespace: Some("b".to_owned()),
        ..by(&["t"])
    };
    assert_eq!(walk(&mut store, &in_b), [4]);
    let recent = Filter {
        created_from: Some(1_002),
        created_before: Some(1_004),
        ..by(&["t"])
    };
    assert_eq!(walk(&mut store, &recent), [2, 3]);
    assert_eq!(index(&server, "gone").len(), 2);
    assert!(store.delete_by_id(1).unwrap());
    let unchanged = store.select(&by(&["u"]), 4, 9).unwrap().entries;
    assert_eq!(store.delete_unchanged(&unchanged).unwrap(), [5]);
    assert_eq!(store.delete_expired(5_000, None, 9).unwrap().len(), 1);
    let index_after = index(&server, "gone");
    let mut left: Vec<&Value> = index_after
        .iter()
        .map(|item| &item["entries"]["NS"])
        .collect();
    left.sort_unstable_by_key(|ids| ids.to_string());
    assert_eq!(left.len(), 2);
    assert!(
        left.iter()
            .all(|ids| ids.as_array().unwrap().contains(&json!("2")))
    );
    assert_eq!(store.clear_namespace(Some("b")).unwrap(), 1);
    assert_eq!(walk(&mut store, &by(&["t"])), [2]);
    // An import deletes what was there, and brings others.
    store.begin_import(ImportMode::Replace).unwrap();
    let given = vec![tagged("a", 7, &["t"]), tagged("a", 8, &["v"])];
    store.write_import(given).unwrap();
    assert_eq!(walk(&mut store, &by(&["v"])), [0_u64; 0]);
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(walk(&mut store, &by(&["t"])), [6]);
    assert_eq!(walk(&mut store, &by(&["v"])), [7]);
    assert_eq!(index(&server, "gone").len(), 2);
    assert_eq!(store.clear_namespace(None).unwrap(), 2);
    assert_eq!(
        items(server.port(), "gone").len(),
        1,
        "item 0 is all that is left"
    );
}

fn tagged_entries_ask_as_little_as_documented(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "asked");
    let expect = |what: &str, expected: &[(&str, usize)]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect();
        assert_eq!(proxy.take_counts(), expected, "{what}");
    };
    let context = Entry {
        context: "c".to_owned(),
        ..entry("a", 0)
    };
    put(&mut store, context);
    expect(
        "insert with a context",
        &[("BatchGetItem", 1), ("Query", 1), ("TransactWriteItems", 1)],
    );
    // Tags that entries share are one request, and all are on their way at once.
    let list = (1..9).map(|n| tagged("a", n, &["t", "u", "v"]));
    store.insert(list.collect()).unwrap();
    expect(
        "insert with tags",
        &[
            ("BatchGetItem", 1),
            ("Query", 8),
            ("TransactWriteItems", 1),
            ("UpdateItem", 3),
        ],
    );
    assert_eq!(ids_of(&store.select(&by(&["t"]), 0, 3).unwrap()), [2, 3, 4]);
    expect("select by tag", &[("BatchGetItem", 2), ("GetItem", 1)]);
    assert_eq!(store.select(&by(&["none"]), 0, 3).unwrap().next, None);
    expect("select by no tag", &[("BatchGetItem", 1), ("GetItem", 1)]);
    assert_eq!(ids_of(&store.select(&every(), 0, 2).unwrap()), [1, 2]);
    expect("select of all", &[("BatchGetItem", 1), ("GetItem", 1)]);
    assert!(store.delete_by_id(2).unwrap());
    expect(
        "delete with tags",
        &[
            ("BatchGetItem", 1),
            ("TransactWriteItems", 1),
            ("UpdateItem", 3),
        ],
    );
    assert!(store.delete_by_id(1).unwrap());
    expect(
        "delete without tags",
        &[("BatchGetItem", 1), ("TransactWriteItems", 1)],
    );
}

fn what_nobody_looks_at_is_not_read(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "unread");
    let given = Entry {
        context: "c".to_owned(),
        ttl: Some(7),
        ..tagged("a", 1, &["t"])
    };
    put(&mut store, given.clone());
    let bare = Entry {
        id: 1,
        embedding: Vec::new(),
        ..given
    };
    proxy.take_seen();
    let by_key = store.get_by_hash(&[key("a", 1)], false).unwrap();
    assert_eq!(by_key, [Some(bare.clone())]);
    assert_eq!(
        store.get_by_ids(&[1, 1], false).unwrap(),
        [bare.clone(), bare]
    );
    assert_eq!(ids_of(&store.select(&by(&["t"]), 0, 9).unwrap()), [1]);
    assert_eq!(ids_of(&store.select(&every(), 0, 9).unwrap()), [1]);
    for request in proxy.take_seen() {
        let body = request.body.to_string();
        assert!(!body.contains("embedding"), "{body}");
        let reads = ["BatchGetItem", "Query"].contains(&request.operation.as_str());
        assert!(!reads || body.contains("ProjectionExpression"), "{body}");
    }
    // An entry that `mneme-cache` wrote has no pointer, and is read in a second wave.
    let theirs = json!({
        "id": {"N": "2"}, "namespace": {"S": "a"}, "query_hash": {"S": hash(2)},
        "query": {"S": "q"}, "response": {"S": "r"}, "embedding": {"B": "AACAPwAAAL8AAIA+"},
        "metadata": {"S": "{}"}, "created_at": {"N": "1"}, "last_accessed_at": {"N": "1"},
        "access_count": {"N": "0"},
    });
    write(&server, "unread", vec![theirs]);
    skip_to(&server, "unread", 3);
    let theirs = store.get_by_hash(&[key("a", 2)], false).unwrap().remove(0);
    let theirs = theirs.unwrap();
    assert_eq!((theirs.id, theirs.context.as_str()), (2, ""));
    assert!(theirs.tags.is_empty() && theirs.embedding.is_empty());
}

fn a_selection_reads_a_part_a_call(server: Arc<DynamoDb>) {
    const ALL: u64 = 2_000;
    let mut store = fresh(&server, "part");
    let theirs = |n: u64| {
        json!({
            "id": {"N": n.to_string()}, "namespace": {"S": "a"}, "query_hash": {"S": hash(n)},
            "created_at": {"N": n.to_string()}, "last_accessed_at": {"N": "1"},
        })
    };
    write(&server, "part", (1..=ALL).map(theirs).collect());
    skip_to(&server, "part", ALL + 1);
    let last = Filter {
        created_from: Some(ALL),
        context: Some(String::new()),
        ..every()
    };
    let selection = store.select(&last, 0, 5).unwrap();
    assert!(selection.entries.is_empty());
    let next = selection.next.expect("there are more");
    assert!((1_600..ALL).contains(&next), "{next}");
    let selection = store.select(&last, next, 5).unwrap();
    assert_eq!((ids_of(&selection), selection.next), (vec![ALL], None));
    assert!(selection.entries[0].namespace == "a" && selection.entries[0].created_at == ALL);
    let all = store.select(&every(), 0, u32::MAX).unwrap();
    assert_eq!(ids_of(&all), (1..=1_600).collect::<Vec<_>>());
    let rest = store.select(&every(), all.next.unwrap(), u32::MAX).unwrap();
    assert_eq!(ids_of(&rest), (1_601..=ALL).collect::<Vec<_>>());
    assert_eq!(rest.next, None);
    let other = Filter {
        context: Some("c".to_owned()),
        ..every()
    };
    assert_eq!(walk(&mut store, &other), [0_u64; 0]);
    assert_eq!(store.select(&every(), ALL, 5).unwrap().next, None);
    assert_eq!(store.select(&every(), u64::MAX, 5).unwrap().next, None);
    assert_eq!(store.select(&by(&["t"]), u64::MAX, 5).unwrap().next, None);
}

fn a_selection_by_tag_passes_over_the_rest(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "far");
    let mut expected = Vec::new();
    for next in [1, 999, 50_000, 999_999, 3_000_000] {
        skip_to(&server, "far", next);
        store
            .insert(vec![
                tagged("a", next, &["t"]),
                tagged("a", next + 1, &["t", "u"]),
                tagged("a", next + 2, &["u"]),
            ])
            .unwrap();
        expected.extend([next, next + 1]);
    }
    assert_eq!(walk(&mut store, &by(&["t"])), expected);
    let both: Vec<u64> = expected.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(walk(&mut store, &by(&["u", "t"])), both);
    // Three million ids are three thousand items of the index, and two calls.
    proxy.take_seen();
    let first = store.select(&by(&["t"]), 0, 100).unwrap();
    assert_eq!(ids_of(&first), expected[..8]);
    let next = first.next.unwrap();
    let second = store.select(&by(&["t"]), next, 100).unwrap();
    assert_eq!(
        (ids_of(&second), second.next),
        (expected[8..].to_vec(), None)
    );
    let requests = proxy.take_seen().len();
    assert!(requests < 60, "{requests} requests");
    // What nobody carries any more costs as little.
    assert_eq!(store.clear_namespace(None).unwrap(), 15);
    assert_eq!(walk(&mut store, &by(&["t"])), [0_u64; 0]);
    assert!(index(&server, "far").is_empty());
}

fn writes_that_fail_leave_no_entry_behind_a_tag(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "failed");
    for (operation, left) in [("UpdateItem", 0), ("TransactWriteItems", 1)] {
        proxy.set_rule(move |request| match request.operation == operation {
            true => refusal(400, "AccessDeniedException"),
            false => Action::Forward,
        });
        let error = store.insert(vec![tagged("a", 1, &["t"])]).unwrap_err();
        assert!(
            matches!(&error, StoreError::Backend(error) if error.message.contains(operation)),
            "{error:?}"
        );
        proxy.clear_rule();
        assert_eq!(index(&server, "failed").len(), left);
        assert_eq!(walk(&mut store, &by(&["t"])), [0_u64; 0]);
        assert_eq!(store.count(None).unwrap(), 0);
        assert_eq!(store.read_version_counter().unwrap(), 0);
    }
    // Another entry gets the id that the index knows.
    assert_eq!(put(&mut store, tagged("a", 2, &["u"])), 1);
    assert_eq!(walk(&mut store, &by(&["t"])), [0_u64; 0]);
    assert_eq!(walk(&mut store, &by(&["u"])), [1]);
    // A delete does not fail for the sake of the index.
    proxy.set_rule(|request| match request.operation.as_str() {
        "UpdateItem" => refusal(400, "AccessDeniedException"),
        _ => Action::Forward,
    });
    assert!(store.delete_by_id(1).unwrap());
    proxy.clear_rule();
    assert_eq!(walk(&mut store, &by(&["u"])), [0_u64; 0]);
}

/// Runs `meanwhile` on another store between what the next write adds to the index and what it
/// stores.
fn meanwhile(
    server: &DynamoDb,
    proxy: &Proxy,
    table: &str,
    meanwhile: impl FnOnce(&mut DynamoDbStore) + Send + 'static,
) {
    let mut other = Some((fresh(server, table), meanwhile));
    proxy.set_rule(move |request| {
        if request.operation == "TransactWriteItems"
            && let Some((mut other, meanwhile)) = other.take()
        {
            meanwhile(&mut other);
        }
        Action::Forward
    });
}

fn a_tagged_entry_meets_a_delete(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "meets");
    put(&mut store, tagged("a", 1, &["t"]));
    // The entry is deleted with its ids in the index while it is about to be replaced.
    meanwhile(&server, &proxy, "meets", |other| {
        assert!(other.delete_by_id(1).unwrap());
    });
    let inserted = store.insert(vec![tagged("a", 1, &["t", "u"])]).unwrap()[0];
    assert_eq!((inserted.id, inserted.replaced), (2, false));
    assert_eq!(walk(&mut store, &by(&["t"])), [2]);
    assert_eq!(walk(&mut store, &by(&["u"])), [2]);
    // Another one takes the id that was expected.
    meanwhile(&server, &proxy, "meets", |other| {
        assert_eq!(put(other, tagged("a", 8, &["u"])), 3);
    });
    assert_eq!(put(&mut store, tagged("a", 9, &["t"])), 4);
    assert_eq!(walk(&mut store, &by(&["t"])), [2, 4]);
    assert_eq!(walk(&mut store, &by(&["u"])), [2, 3]);
    // A replacement that takes a tag away and one that gives it, at the same time.
    meanwhile(&server, &proxy, "meets", |other| {
        assert_eq!(put(other, tagged("a", 9, &["v"])), 4);
    });
    assert_eq!(put(&mut store, tagged("a", 9, &["t"])), 4);
    assert_eq!(walk(&mut store, &by(&["t"])), [2, 4]);
    assert_eq!(walk(&mut store, &by(&["v"])), [0_u64; 0]);
    assert!(store.integrity_check().unwrap());
}

fn tags_that_a_replacement_takes_away_are_gone(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "replaced-labels");
    let context = Entry {
        context: "c".to_owned(),
        ..tagged("a", 1, &["t", "u"])
    };
    put(&mut store, context);
    put(&mut store, tagged("a", 2, &["t"]));
    put(&mut store, tagged("a", 1, &["u", "v"]));
    put(&mut store, entry("a", 2));
    let all = items(server.port(), "replaced-labels");
    let stored = |n: i128| all.iter().find(|item| id(item) == n).unwrap();
    assert!(stored(1)["context"].is_null() && stored(2)["tags"].is_null());
    assert_eq!(walk(&mut store, &by(&["t"])), [0_u64; 0]);
    assert_eq!(walk(&mut store, &by(&["u"])), [1]);
    assert_eq!(walk(&mut store, &by(&["v"])), [1]);
    // A writer that knows no tags replaces an item as a whole.
    let mut bare = stored(1).clone();
    bare.as_object_mut().unwrap().remove("tags");
    write(&server, "replaced-labels", vec![bare]);
    assert_eq!(walk(&mut store, &by(&["u"])), [0_u64; 0]);
    assert_eq!(get(&mut store, "a", 1).unwrap().tags, [""; 0]);
}

fn entries_of_the_largest_size_have_contexts_and_tags(server: Arc<DynamoDb>) {
    let (mut store, proxy) = proxied(&server, "widest");
    let widest = |n: u64| Entry {
        namespace: "n".repeat(1024),
        response: "r".repeat(359_900),
        context: "c".repeat(1024),
        tags: (0..32).map(|tag| format!("{n:064}{tag:064}")).collect(),
        ..entry("", n)
    };
    let most = u64::from(store.capabilities().max_batch);
    store.insert((0..most).map(widest).collect()).unwrap();
    store.begin_import(ImportMode::Merge).unwrap();
    store
        .write_import((2..2 + most).map(widest).collect())
        .unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    for request in proxy.take_seen() {
        let size = request.body.to_string().len();
        assert!(size < 4 << 20, "{}: {size}", request.operation);
    }
    assert_eq!(store.count(None).unwrap(), 2 + most);
    // The ids of the places of those replaced stay unused.
    for (n, id) in [(0, 1), (2, 3), (1 + most, 2 * most)] {
        let stored = get(&mut store, &"n".repeat(1024), n).unwrap();
        assert!(stored == Entry { id, ..widest(n) }, "entry {id}");
        let tags = &widest(n).tags;
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        assert_eq!(walk(&mut store, &by(&tags)), [id]);
    }
    let long = Entry {
        response: "r".repeat(404_000),
        ..widest(99)
    };
    let error = store.insert(vec![long]).unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument(_)), "{error:?}");
    assert_eq!(store.count(None).unwrap(), 2 + most);
}

fn damaged_labels_are_told(server: Arc<DynamoDb>) {
    let mut store = fresh(&server, "damaged-labels");
    fill(&mut store, "a", 0..3);
    put(&mut store, tagged("a", 3, &["t"]));
    let damage = |number: i128, name: &str, value: Value| {
        let all = items(server.port(), "damaged-labels");
        let mut item = all.into_iter().find(|item| id(item) == number).unwrap();
        item[name] = value;
        write(&server, "damaged-labels", vec![item]);
    };
    let corrupt = |error: StoreError, part: &str| match error {
        StoreError::Corrupt(text) => assert!(text.contains(part), "{text}"),
        other => panic!("{other:?}"),
    };
    damage(1, "context", json!({"N": "1"}));
    damage(2, "tags", json!({"SS": ["t"]}));
    assert!(!store.integrity_check().unwrap());
    corrupt(
        store.get_by_ids(&[1], false).unwrap_err(),
        "item 1, attribute context",
    );
    corrupt(
        store.get_by_hash(&[key("a", 1)], true).unwrap_err(),
        "item 2, attribute tags",
    );
    corrupt(
        store.iter_vectors(0, 9).unwrap_err(),
        "item 1, attribute context",
    );
    corrupt(
        store.select(&every(), 1, 9).unwrap_err(),
        "item 2, attribute tags",
    );
    assert_eq!(walk(&mut store, &by(&["t"])), [4]);
    assert!(store.delete_by_id(1).unwrap() && store.delete_by_id(2).unwrap());
    assert!(store.integrity_check().unwrap());
    let index = index(&server, "damaged-labels").remove(0);
    damage(id(&index), "entries", json!({"S": "4"}));
    corrupt(
        store.select(&by(&["t"]), 0, 9).unwrap_err(),
        "attribute entries",
    );
    let mut other = open(&server.url("damaged-labels"));
    assert_eq!(other.get_by_ids(&[4], true).unwrap()[0].tags, ["t"]);
}
