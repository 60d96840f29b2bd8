//! Contexts and tags in archives: they come back from each layout, archives without them load,
//! and those that no cache stores are refused.

use crate::parts::Parts;
use crate::support::{MODEL, builder, entries, load, memory};
use mneme::checkpoint::{self, DumpOptions, ImportMode, InspectOptions, Layout, LoadOptions};
use mneme::migration::Migration;
use mneme::store::{Entry, Store};
use mneme::{EntryFilter, Error, GetRequest, MemoryStore, PutRequest, SemanticCache, SqliteStore};
use serde_json::{Value, json};
use std::io::Cursor;
use tempfile::TempDir;

mneme_tests::tests![
    they_come_back_from_each_layout,
    they_are_copied_between_stores,
    archives_without_them_load,
    those_that_no_cache_stores_are_refused,
];

const LINES: &str = "entries/00000001.jsonl";
const CONTEXT: &str = "model \"é\\\n\u{10ffff}";

/// A cache in a file: an entry without labels, two of one query, and one with the most.
fn filled() -> (TempDir, SemanticCache) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::new(folder.path().join("a.db"));
    let cache = builder(store).open().unwrap();
    let most = (0..32).map(|n| format!("{n:0128}")).collect();
    let rows: [(&str, &str, String, Vec<String>); 4] = [
        ("plain", "0", String::new(), vec![]),
        (
            "one",
            "1",
            String::new(),
            vec!["z".into(), "a\u{1f600}".into()],
        ),
        ("one", "2", CONTEXT.to_owned(), vec!["b".into()]),
        ("most", "3", "c".repeat(1024), most),
    ];
    for (query, says, context, tags) in rows {
        let request = PutRequest::new(query, says).embedding(vec![1.0, 0.0]);
        cache.put(request.context(context).tags(tags)).unwrap();
    }
    (folder, cache)
}

/// All entries, without ids and vectors.
fn listed(cache: &SemanticCache) -> Vec<Entry> {
    let page = cache.list_entries(&EntryFilter::new(), 0, 100).unwrap();
    let entries = page.entries.into_iter();
    entries.map(|entry| Entry { id: 0, ..entry }).collect()
}

/// The version counter of its store.
fn version(cache: &SemanticCache) -> u64 {
    let nothing = EntryFilter::new().tag("nothing");
    cache.erase(&nothing, true).unwrap().version_after
}

fn portable(cache: &SemanticCache) -> Parts {
    let options = DumpOptions::new().layout(Layout::Portable);
    Parts::of(&cache.dump(Vec::new(), options).unwrap().1)
}

/// The rows of the only page.
fn rows(archive: &Parts) -> Vec<Value> {
    let lines = &archive.members[archive.member(LINES).unwrap()].1;
    let lines = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The archive with other rows.
fn with_rows(archive: &Parts, rows: &[Value]) -> Vec<u8> {
    let mut archive = archive.clone();
    let place = archive.member(LINES).unwrap();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    archive.members[place].1 = lines.into_bytes();
    archive.archive()
}

fn they_come_back_from_each_layout() {
    let (folder, cache) = filled();
    let expected = listed(&cache);
    assert_eq!(expected[2].context, CONTEXT);
    assert_eq!(expected[1].tags, ["a\u{1f600}", "z"]);
    assert_eq!(
        (expected[3].context.len(), expected[3].tags.len()),
        (1024, 32)
    );
    for layout in [Layout::Native, Layout::Portable] {
        let options = DumpOptions::new().layout(layout);
        let archive = cache.dump(Vec::new(), options).unwrap().1;
        let file = folder.path().join(format!("{layout:?}.db"));
        // A native archive is converted for a store of another kind.
        for target in [builder(SqliteStore::new(file)), builder(MemoryStore::new())] {
            let target = target.open().unwrap();
            assert_eq!(load(&target, &archive).unwrap().entries, 4);
            assert_eq!(listed(&target), expected, "{layout:?}");
            let asked = GetRequest::new("one").context(CONTEXT).tag("b");
            assert_eq!(target.get(asked).unwrap().hit().unwrap().response, "2");
            let plain = GetRequest::new("one");
            assert_eq!(target.get(plain).unwrap().hit().unwrap().response, "1");
            // Their index over tags finds them.
            let by_tag = EntryFilter::new().tag("z");
            assert_eq!(target.list_entries(&by_tag, 0, 9).unwrap().entries.len(), 1);
        }
        // Into one that has them with other labels.
        let target = memory();
        let other = PutRequest::new("plain", "x").embedding(vec![0.0, 1.0]);
        target.put(other.tags(["gone"])).unwrap();
        let merge = LoadOptions::new().mode(ImportMode::Merge);
        target.load(Cursor::new(archive), merge).unwrap();
        assert_eq!(listed(&target)[0].tags, [""; 0]);
        let by_tag = EntryFilter::new().tag("gone");
        assert!(
            target
                .list_entries(&by_tag, 0, 9)
                .unwrap()
                .entries
                .is_empty()
        );
    }
    let rows = rows(&portable(&cache));
    let plain = rows[0].as_object().unwrap();
    assert!(!plain.contains_key("context") && !plain.contains_key("tags"));
    assert_eq!(rows[2]["context"], CONTEXT);
    assert_eq!(rows[1]["tags"], json!(["a\u{1f600}", "z"]));
}

fn they_are_copied_between_stores() {
    let (folder, cache) = filled();
    let expected = listed(&cache);
    cache.close().unwrap();
    let file = |name: &str| SqliteStore::new(folder.path().join(name));
    let mut between = MemoryStore::new();
    Migration::new()
        .copy(&mut file("a.db"), &mut between)
        .unwrap();
    Migration::new()
        .copy(&mut between, &mut file("b.db"))
        .unwrap();
    assert_eq!(listed(&builder(file("b.db")).open().unwrap()), expected);
    between.open(MODEL, 2).unwrap();
    assert_eq!(between.iter_vectors(0, 9).unwrap().contexts[2], CONTEXT);
}

fn archives_without_them_load() {
    let (_folder, cache) = filled();
    let archive = portable(&cache);
    let mut first_edition = rows(&archive);
    first_edition.remove(2);
    first_edition.pop();
    for row in &mut first_edition {
        let row = row.as_object_mut().unwrap();
        row.remove("tags");
        assert!(!row.contains_key("context"));
    }
    let mut archive = archive;
    let vectors = archive.member("vectors/00000001.f32").unwrap();
    archive.members[vectors].1.truncate(2 * 2 * 4);
    let archive = with_rows(&archive, &first_edition);
    let target = memory();
    assert_eq!(load(&target, &archive).unwrap().entries, 2);
    for entry in listed(&target) {
        assert!(entry.context.is_empty() && entry.tags.is_empty());
    }
    assert!(target.get("one").unwrap().is_hit());
}

fn those_that_no_cache_stores_are_refused() {
    let (_folder, cache) = filled();
    let archive = portable(&cache);
    let sound = rows(&archive);
    assert!(load(&memory(), &with_rows(&archive, &sound)).is_ok());
    let many: Vec<String> = (0..33).map(|n| format!("{n:03}")).collect();
    let cases = [
        ("context", json!("c".repeat(1025)), "context"),
        ("context", json!("a\u{0}b"), "context"),
        ("context", json!("another"), "query_hash"),
        ("context", Value::Null, "null"),
        ("context", json!(["a"]), "sequence"),
        ("context", json!(7), "integer"),
        ("tags", json!(many), "33 tags"),
        ("tags", json!([""]), "a tag is empty"),
        ("tags", json!(["a", "a"]), "comes twice"),
        ("tags", json!(["b", "a"]), "not sorted"),
        ("tags", json!(["t".repeat(129)]), "129 bytes"),
        ("tags", json!(["t".repeat(10_240)]), "10240 bytes"),
        ("tags", json!(["a\u{0}"]), "U+0000"),
        ("tags", json!("a"), "string"),
        ("tags", json!([1]), "integer"),
        ("tags", json!([["a"]]), "sequence"),
        ("tags", json!({"a": "b"}), "map"),
        ("tags", Value::Null, "null"),
    ];
    for (field, value, said) in cases {
        let mut broken = sound.clone();
        broken[2][field] = value;
        let broken = with_rows(&archive, &broken);
        let target = memory();
        target
            .put(PutRequest::new("mine", "x").embedding(vec![0.0, 1.0]))
            .unwrap();
        let before = version(&target);
        let options = || LoadOptions::new().mode(ImportMode::Merge);
        let replace = LoadOptions::new().mode(ImportMode::Replace);
        for error in [
            checkpoint::inspect(Cursor::new(broken.clone()), InspectOptions::new()).unwrap_err(),
            target
                .load(Cursor::new(broken.clone()), options())
                .unwrap_err(),
            target
                .load(Cursor::new(broken.clone()), replace)
                .unwrap_err(),
        ] {
            assert!(matches!(error, Error::Checkpoint(_)), "{field}: {error:?}");
            let message = error.to_string();
            for part in [LINES, "line 3", said] {
                assert!(message.contains(part), "{field}, {said}: {message}");
            }
        }
        assert_eq!(entries(&target), 1);
        assert_eq!(version(&target), before);
        assert!(target.get("mine").unwrap().is_hit());
    }
}
