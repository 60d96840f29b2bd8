//! Contexts and tags in a file: columns that older files lack, and the table that tags are found by.

use std::fs;

use mneme::store::sqlite::Mode;
use mneme::store::{
    Entry, EntryRef, Filter, ImportMode, Selection, SqliteStore, Store, StoreError,
};

use super::place::{Place, open, place};
use super::snapshots::{altered, restore, snapshot};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};
use mneme_tests::sqlite;

mneme_tests::tests![
    a_file_of_the_first_edition_is_completed,
    a_file_of_the_first_edition_is_read,
    a_snapshot_of_the_first_edition_is_restored,
    the_table_of_tags_follows_every_write,
    what_another_program_deletes_is_not_found,
    a_table_that_lies_leads_to_no_wrong_entry,
    a_table_of_tags_is_made_of_the_entries,
    damaged_labels_are_named,
    a_call_looks_at_a_part_of_many_entries,
];

/// Makes of a file one of the first edition, and of mneme-cache.
const OLDER: &str =
    "DROP TABLE entry_tags; DROP TABLE changes; ALTER TABLE entries DROP COLUMN tags;
    ALTER TABLE entries DROP COLUMN context";

fn labelled(namespace: &str, n: u64, context: &str, tags: &[&str]) -> Entry {
    Entry {
        context: context.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..entry(namespace, n)
    }
}

fn by_tags(tags: &[&str]) -> Filter {
    Filter {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..every()
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

/// The ids of all entries that meet a filter.
fn select(store: &mut dyn Store, filter: &Filter) -> Vec<u64> {
    let (mut ids, mut last_id) = (Vec::new(), 0);
    loop {
        let Selection { entries, next } = store.select(filter, last_id, 2).unwrap();
        ids.extend(entries.iter().map(|entry| entry.id));
        match next {
            Some(next) => last_id = next,
            None => return ids,
        }
    }
}

fn tag_rows(place: &Place) -> Vec<String> {
    let rows: String = sqlite::value(
        &place.path,
        "SELECT ifnull(group_concat(tag || ' ' || id, ','), '')
         FROM (SELECT tag, id FROM entry_tags ORDER BY id, tag)",
    );
    let rows = rows.split(',').filter(|row| !row.is_empty());
    rows.map(str::to_owned).collect()
}

/// A closed file of the first edition, with two entries.
fn older() -> Place {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    put(&mut store, entry("b", 2));
    store.close().unwrap();
    sqlite::execute(&place.path, OLDER);
    place
}

fn columns(place: &Place) -> i64 {
    sqlite::value(
        &place.path,
        "SELECT count(*) FROM pragma_table_info('entries') WHERE name IN ('context', 'tags')",
    )
}

fn a_file_of_the_first_edition_is_completed() {
    let place = older();
    assert_eq!(columns(&place), 0);
    let mut store = open(&place.path);
    assert_eq!(columns(&place), 2);
    assert!(store.integrity_check().unwrap());
    let found = get(&mut store, "a", 1).unwrap();
    assert_eq!(
        found,
        Entry {
            id: 1,
            ..entry("a", 1)
        }
    );
    assert_eq!(store.iter_vectors(0, 9).unwrap().contexts, ["", ""]);
    assert_eq!(select(&mut store, &every()), [1, 2]);
    assert!(select(&mut store, &by_tags(&["t"])).is_empty());
    let given = labelled("a", 1, "c", &["é\"", "t"]);
    assert_eq!(put(&mut store, given.clone()), 1);
    assert_eq!(get(&mut store, "a", 1), Some(Entry { id: 1, ..given }));
    assert_eq!(select(&mut store, &by_tags(&["t", "é\""])), [1]);
    let kept: String = sqlite::value(&place.path, "SELECT tags FROM entries WHERE id = 1");
    assert_eq!(kept, r#"["é\"","t"]"#);
    assert!(store.integrity_check().unwrap());
}

fn a_file_of_the_first_edition_is_read() {
    let place = older();
    let before = fs::read(&place.path).unwrap();
    let mut store = SqliteStore::new(&place.path).mode(Mode::ReadOnly);
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(
        get(&mut store, "b", 2),
        Some(Entry {
            id: 2,
            ..entry("b", 2)
        })
    );
    assert_eq!(store.iter_since(0, 9).unwrap().len(), 2);
    assert_eq!(store.iter_vectors(0, 9).unwrap().contexts, ["", ""]);
    assert_eq!(store.iter_stamps(0, 9).unwrap().ids, [1, 2]);
    assert_eq!(store.iter_lru_ids(9, Some("b")).unwrap().len(), 1);
    assert_eq!(store.count_by_namespace(None, 1000).unwrap().len(), 2);
    assert_eq!(select(&mut store, &every()), [1, 2]);
    let in_b = Filter {
        namespace: Some("b".to_owned()),
        context: Some(String::new()),
        created_from: Some(1002),
        ..every()
    };
    assert_eq!(select(&mut store, &in_b), [2]);
    assert!(select(&mut store, &by_tags(&["t"])).is_empty());
    assert!(store.begin_view().unwrap());
    assert_eq!(select(&mut store, &every()), [1, 2]);
    store.end_view().unwrap();
    assert!(store.integrity_check().unwrap());
    assert!(snapshot(&mut store).starts_with(b"SQLite format 3\0"));
    assert_eq!(fs::read(&place.path).unwrap(), before);

    // Once another process has added the columns, they are read.
    let mut writer = open(&place.path);
    let given = labelled("b", 2, "c", &["t"]);
    put(&mut writer, given.clone());
    assert_eq!(get(&mut store, "b", 2), Some(Entry { id: 2, ..given }));
    assert_eq!(select(&mut store, &by_tags(&["t"])), [2]);
    assert!(store.integrity_check().unwrap());
}

fn a_snapshot_of_the_first_edition_is_restored() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let bytes = altered(&snapshot(&mut store), OLDER);
    put(&mut store, labelled("b", 2, "c", &["t"]));
    store.begin_restore().unwrap();
    store.write_restore(&bytes).unwrap();
    assert_eq!(store.check_restore().unwrap().entries, 1);
    let page = store.read_restore(0, 9).unwrap();
    assert_eq!(
        page,
        [Entry {
            id: 1,
            ..entry("a", 1)
        }]
    );
    store.commit_restore(false).unwrap();
    assert_eq!(store.iter_since(0, 9).unwrap(), page);
    assert!(select(&mut store, &by_tags(&["t"])).is_empty());
    assert!(tag_rows(&place).is_empty());
    put(&mut store, labelled("b", 2, "c", &["t"]));
    assert!(store.integrity_check().unwrap());

    // The table of a snapshot is not believed.
    let lying = altered(
        &snapshot(&mut store),
        "DELETE FROM entry_tags; INSERT INTO entry_tags VALUES ('other', 1)",
    );
    restore(&mut store, &lying).unwrap();
    assert_eq!(tag_rows(&place), ["t 3"]);
    assert!(store.integrity_check().unwrap());
}

fn the_table_of_tags_follows_every_write() {
    let place = place();
    let mut store = open(&place.path);
    let reference = |id: u64, n: u64| EntryRef {
        id,
        namespace: "a".to_owned(),
        created_at: 1000 + n,
    };
    put(&mut store, labelled("a", 1, "", &["s", "t"]));
    put(&mut store, entry("a", 2));
    assert_eq!(tag_rows(&place), ["s 1", "t 1"]);
    // Replaced with the same tags, others, none, and some again; twice in a list too.
    put(&mut store, labelled("a", 1, "", &["s", "t"]));
    assert_eq!(tag_rows(&place), ["s 1", "t 1"]);
    put(&mut store, labelled("a", 1, "", &["t", "u"]));
    assert_eq!(tag_rows(&place), ["t 1", "u 1"]);
    put(&mut store, entry("a", 1));
    assert!(tag_rows(&place).is_empty());
    let list = vec![labelled("a", 1, "", &["x"]), labelled("a", 1, "", &["y"])];
    store.insert(list).unwrap();
    assert_eq!(tag_rows(&place), ["y 1"]);
    assert!(select(&mut store, &by_tags(&["x"])).is_empty());

    assert!(store.delete_by_id(1).unwrap());
    assert!(tag_rows(&place).is_empty());
    let id = put(&mut store, labelled("a", 3, "", &["t"]));
    assert_eq!(store.delete_unchanged(&[reference(id, 3)]).unwrap(), [id]);
    assert!(tag_rows(&place).is_empty());
    let expired = Entry {
        ttl: Some(1),
        ..labelled("a", 4, "", &["t"])
    };
    let id = put(&mut store, expired);
    let gone = store.delete_expired(9000, None, 9).unwrap();
    assert_eq!(gone, [reference(id, 4)]);
    assert!(tag_rows(&place).is_empty());
    put(&mut store, labelled("a", 5, "", &["t", "u"]));
    let id = put(&mut store, labelled("b", 6, "", &["t"]));
    assert_eq!(store.clear_namespace(Some("a")).unwrap(), 2);
    assert_eq!(tag_rows(&place), [format!("t {id}")]);
    for mode in [ImportMode::Merge, ImportMode::Replace] {
        store.begin_import(mode).unwrap();
        let given = vec![labelled("b", 6, "c", &["v"]), labelled("b", 7, "", &["t"])];
        store.write_import(given).unwrap();
        assert!(store.commit_import(&[], &[]).unwrap());
        let found = store.iter_since(0, 9).unwrap();
        assert_eq!(
            (&*found[0].context, &found[0].tags[..]),
            ("c", &["v".to_owned()][..])
        );
        let rows = [format!("v {}", found[0].id), format!("t {}", found[1].id)];
        assert_eq!(tag_rows(&place), rows);
    }
    assert!(store.integrity_check().unwrap());
    assert_eq!(store.clear_namespace(None).unwrap(), 2);
    assert!(tag_rows(&place).is_empty());
}

fn what_another_program_deletes_is_not_found() {
    let place = place();
    let mut store = open(&place.path);
    let given = (0..9).map(|n| labelled("a", n, "", &["t"])).collect();
    store.insert(given).unwrap();
    sqlite::execute(&place.path, "DELETE FROM entries WHERE id % 3 <> 0");
    assert_eq!(select(&mut store, &by_tags(&["t"])), [3, 6, 9]);
    assert!(store.integrity_check().unwrap());
    assert_eq!(tag_rows(&place).len(), 9);
    put(&mut store, labelled("a", 20, "", &["t"]));
    assert_eq!(select(&mut store, &by_tags(&["t"])), [3, 6, 9, 10]);
    store.clear_namespace(None).unwrap();
    assert!(tag_rows(&place).is_empty());
}

fn a_table_that_lies_leads_to_no_wrong_entry() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, labelled("a", 1, "", &["t"]));
    put(&mut store, labelled("b", 2, "", &["u"]));
    sqlite::execute(
        &place.path,
        "INSERT INTO entry_tags VALUES ('t', 2), ('t', 77)",
    );
    assert_eq!(select(&mut store, &by_tags(&["t"])), [1]);
    assert!(store.integrity_check().unwrap());
    for wrong in ["'x'", "x'00'", "1.5", "9007199254740992"] {
        sqlite::execute(
            &place.path,
            &format!("INSERT INTO entry_tags VALUES ('t', {wrong})"),
        );
        assert!(!store.integrity_check().unwrap(), "{wrong}");
        let outcome = store.select(&by_tags(&["t"]), 0, 9);
        if wrong != "1.5" {
            assert!(
                matches!(&outcome, Err(StoreError::Corrupt(what)) if what.contains("entry_tags")),
                "{wrong}: {outcome:?}"
            );
        }
        sqlite::execute(
            &place.path,
            &format!("DELETE FROM entry_tags WHERE id = {wrong}"),
        );
    }
    sqlite::execute(&place.path, "DELETE FROM entry_tags WHERE tag = 'u'");
    assert!(!store.integrity_check().unwrap());
}

fn a_table_of_tags_is_made_of_the_entries() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, labelled("a", 1, "", &["s", "t"]));
    put(&mut store, labelled("a", 2, "", &["t"]));
    put(&mut store, entry("a", 3));
    store.close().unwrap();
    sqlite::execute(
        &place.path,
        "UPDATE entries SET tags = '[broken' WHERE id = 2; DROP TABLE entry_tags",
    );
    let mut store = open(&place.path);
    assert_eq!(tag_rows(&place), ["s 1", "t 1"]);
    assert_eq!(select(&mut store, &by_tags(&["t"])), [1]);
}

fn damaged_labels_are_named() {
    let many = format!("[{}\"t\"]", "\"t\",".repeat(32));
    let long = "c".repeat(1025);
    for (column, value) in [
        ("tags", "'{}'"),
        ("tags", "'[1]'"),
        ("tags", "'[\"\"]'"),
        ("tags", "'[\"t\"'"),
        ("tags", "''"),
        ("tags", "7"),
        ("tags", "x'5b5d'"),
        ("tags", "CAST(x'5bff5d' AS TEXT)"),
        ("tags", &*format!("'{many}'")),
        ("tags", "'[' || hex(zeroblob(100000)) || ']'"),
        ("context", "x'00'"),
        ("context", "CAST(x'61ff' AS TEXT)"),
        ("context", "'a' || char(0)"),
        ("context", &*format!("'{long}'")),
    ] {
        let place = place();
        let mut store = open(&place.path);
        store
            .insert((1..4).map(|n| labelled("a", n, "", &["t"])).collect())
            .unwrap();
        let good = snapshot(&mut store);
        let sql = format!("UPDATE entries SET {column} = {value} WHERE id = 2");
        let refused = restore(&mut store, &altered(&good, &sql));
        sqlite::execute(&place.path, &sql);
        let outcomes = [
            store.get_by_ids(&[2], false).map(drop),
            store.iter_since(0, 9).map(drop),
            store.select(&every(), 0, 9).map(drop),
            store.select(&by_tags(&["t"]), 0, 9).map(drop),
            refused,
        ];
        for outcome in outcomes {
            let Err(StoreError::Corrupt(message)) = outcome else {
                panic!("{column} {value}: {outcome:?}");
            };
            let place = format!("table entries, column {column} of the row with id 2 ");
            assert!(message.contains(&place), "{message}");
        }
        assert_eq!(store.iter_vectors(0, 9).is_err(), column == "context");
        assert!(!store.integrity_check().unwrap(), "{value}");
        // It can be replaced and deleted.
        assert_eq!(put(&mut store, labelled("a", 2, "", &["t"])), 2);
        assert!(store.integrity_check().unwrap());
        sqlite::execute(&place.path, &sql);
        assert_eq!(store.clear_namespace(Some("a")).unwrap(), 3);
        assert!(select(&mut store, &by_tags(&["t"])).is_empty());
    }
}

fn a_call_looks_at_a_part_of_many_entries() {
    const MANY: u64 = 50_000;
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    sqlite::execute(
        &place.path,
        &format!(
            "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
             INSERT INTO entries (id, namespace, query_hash, query, response, embedding, metadata,
                 created_at, last_accessed_at, tags)
             SELECT i, 'a', i, 'q', 'r', (SELECT embedding FROM entries WHERE id = 1), '{{}}', 5, 5,
                 '[\"t\"]' FROM n;
             INSERT INTO entry_tags SELECT 't', id FROM entries WHERE tags <> '[]'"
        ),
    );
    put(&mut store, labelled("z", 1, "other", &["t", "u"]));
    let last = MANY + 1;
    let other = Some("other".to_owned());
    for (filter, calls) in [
        (
            Filter {
                context: other.clone(),
                ..every()
            },
            3,
        ),
        (
            Filter {
                context: other.clone(),
                ..by_tags(&["t"])
            },
            3,
        ),
        // The shortest list is asked.
        (
            Filter {
                context: other,
                ..by_tags(&["t", "u"])
            },
            1,
        ),
        (
            Filter {
                namespace: Some("z".to_owned()),
                ..by_tags(&["t"])
            },
            1,
        ),
        (
            Filter {
                created_from: Some(6),
                ..every()
            },
            1,
        ),
    ] {
        let (mut made, mut last_id, mut found) = (0, 0, Vec::new());
        loop {
            let part = store.select(&filter, last_id, 5).unwrap();
            made += 1;
            found.extend(part.entries.iter().map(|entry| entry.id));
            let Some(next) = part.next else { break };
            assert!(next > last_id);
            last_id = next;
        }
        let expected: &[u64] = match filter.created_from {
            Some(_) => &[1, last],
            None => &[last],
        };
        assert_eq!((&found[..], made), (expected, calls), "{filter:?}");
    }
}
