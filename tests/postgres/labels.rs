//! Contexts and tags in Postgres: columns that older schemas lack, and the table that tags are found by.

use mneme::PostgresStore;
use mneme::store::{Entry, EntryRef, Filter, ImportMode, Store, StoreError};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};
use mneme_tests::servers::postgres::{PASSWORD, Postgres, url};
use std::sync::Arc;

mneme_tests::tests![
    a_schema_of_the_first_edition_is_completed,
    a_role_that_only_reads_reads_the_first_edition,
    the_table_of_tags_follows_every_write,
    what_another_program_deletes_is_not_found,
    damaged_labels_are_named,
    a_call_looks_at_a_part_of_many_entries,
];

fn labelled(namespace: &str, n: u64, context: &str, tags: &[&str]) -> Entry {
    Entry {
        context: context.to_owned(),
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

pub(super) fn by_tags(tags: &[&str]) -> Filter {
    Filter {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..every()
    }
}

/// The ids of all entries that meet a filter, and how many calls found them.
fn select(store: &mut dyn Store, filter: &Filter, limit: u32) -> (Vec<u64>, u32) {
    let (mut ids, mut last_id, mut calls) = (Vec::new(), 0, 0);
    loop {
        let part = store.select(filter, last_id, limit).unwrap();
        calls += 1;
        ids.extend(part.entries.iter().map(|entry| entry.id));
        match part.next {
            Some(next) => last_id = next,
            None => return (ids, calls),
        }
    }
}

fn found(store: &mut dyn Store, filter: &Filter) -> Vec<u64> {
    select(store, filter, 2).0
}

fn tag_rows(server: &Postgres, schema: &str) -> String {
    server.sql(&format!(
        "SELECT coalesce(string_agg(tag || ' ' || id, ',' ORDER BY id, tag), '') FROM {schema}.entry_tags"
    ))
}

/// Makes of a schema one of the first edition.
fn make_older(server: &Postgres, schema: &str) {
    server.sql(&format!(
        "DROP TABLE {schema}.entry_tags; DROP TABLE {schema}.changes;
         ALTER TABLE {schema}.entries DROP COLUMN context, DROP COLUMN tags"
    ));
}

fn a_schema_of_the_first_edition_is_completed(server: Arc<Postgres>) {
    put(&mut server.opened("older"), entry("a", 1));
    make_older(&server, "older");
    let mut store = server.opened("older");
    let old = Entry {
        id: 1,
        ..entry("a", 1)
    };
    assert_eq!(get(&mut store, "a", 1), Some(old));
    assert_eq!(store.iter_vectors(0, 9).unwrap().contexts, [""]);
    let given = labelled("a", 1, "c\u{10FFFE}", &["\u{10FFFE}0", "é\"", "t"]);
    assert_eq!(put(&mut store, given.clone()), 1);
    assert_eq!(get(&mut store, "a", 1), Some(Entry { id: 1, ..given }));
    assert_eq!(found(&mut store, &by_tags(&["t", "\u{10FFFE}0"])), [1]);
    assert!(store.integrity_check().unwrap());
    store.close().unwrap();
    // A table that was dropped is made of the entries.
    server.sql("DROP TABLE older.entry_tags");
    let mut store = server.opened("older");
    assert_eq!(found(&mut store, &by_tags(&["é\""])), [1]);
    assert!(store.integrity_check().unwrap());
    server.sql("DELETE FROM older.entry_tags WHERE tag = 't'");
    assert!(!store.integrity_check().unwrap());
}

fn a_role_that_only_reads_reads_the_first_edition(server: Arc<Postgres>) {
    put(
        &mut server.opened("readable"),
        labelled("a", 1, "c", &["t"]),
    );
    server.sql(&format!(
        "CREATE ROLE labels_reader LOGIN PASSWORD '{PASSWORD}'"
    ));
    server.sql(
        "GRANT USAGE ON SCHEMA readable TO labels_reader;
         GRANT SELECT ON ALL TABLES IN SCHEMA readable TO labels_reader;
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA readable TO labels_reader",
    );
    let reader = || {
        let store = PostgresStore::from_url(&url("labels_reader", server.port())).unwrap();
        let mut store = store.schema("readable");
        store.open(FINGERPRINT, DIM).unwrap();
        store
    };
    assert_eq!(found(&mut reader(), &by_tags(&["t"])), [1]);
    make_older(&server, "readable");
    let mut store = reader();
    let old = Entry {
        id: 1,
        ..entry("a", 1)
    };
    assert_eq!(get(&mut store, "a", 1).as_ref(), Some(&old));
    assert_eq!(
        store.get_by_ids(&[1], true).unwrap(),
        std::slice::from_ref(&old)
    );
    assert_eq!(store.iter_since(0, 9).unwrap(), [old]);
    assert_eq!(store.iter_vectors(0, 9).unwrap().contexts, [""]);
    assert!(found(&mut store, &by_tags(&["t"])).is_empty());
    assert_eq!(found(&mut store, &every()), [1]);
    assert!(store.integrity_check().unwrap());
    for outcome in [
        store.insert(vec![entry("a", 2)]).map(drop),
        store.delete_by_id(1).map(drop),
        store.set_namespace_quota("a", Some(1)),
    ] {
        assert!(
            matches!(&outcome, Err(StoreError::Backend(error)) if !error.retryable
                && error.message.contains("lacks column context")
                && error.message.contains("owner")),
            "{outcome:?}"
        );
    }
    // The owner's next opening makes the table, for the reader too.
    let mut owner = server.opened("readable");
    assert_eq!(found(&mut store, &every()), [1]);
    put(&mut owner, labelled("a", 1, "c", &["t"]));
    assert_eq!(found(&mut reader(), &by_tags(&["t"])), [1]);
}

fn the_table_of_tags_follows_every_write(server: Arc<Postgres>) {
    let mut store = server.opened("tagged");
    let rows = || tag_rows(&server, "tagged");
    let reference = |id: u64, n: u64| EntryRef {
        id,
        namespace: "a".to_owned(),
        created_at: 1000 + n,
    };
    put(&mut store, labelled("a", 1, "", &["s", "t"]));
    put(&mut store, entry("a", 2));
    assert_eq!(rows(), "s 1,t 1");
    put(&mut store, labelled("a", 1, "", &["t", "u"]));
    assert_eq!(rows(), "t 1,u 1");
    put(&mut store, entry("a", 1));
    assert_eq!(rows(), "");
    let list = vec![
        labelled("a", 1, "", &["x"]),
        labelled("a", 3, "", &["z"]),
        labelled("a", 1, "", &["y"]),
    ];
    store.insert(list).unwrap();
    assert_eq!(rows(), "y 1,z 3");
    assert!(store.delete_by_id(1).unwrap());
    assert_eq!(rows(), "z 3");
    assert_eq!(store.delete_unchanged(&[reference(3, 3)]).unwrap(), [3]);
    assert_eq!(rows(), "");
    let id = put(
        &mut store,
        Entry {
            ttl: Some(1),
            ..labelled("a", 4, "", &["t"])
        },
    );
    assert_eq!(
        store.delete_expired(9000, None, 9).unwrap(),
        [reference(id, 4)]
    );
    assert_eq!(rows(), "");
    put(&mut store, labelled("a", 5, "", &["t", "u"]));
    let id = put(&mut store, labelled("b", 6, "", &["t"]));
    assert_eq!(store.clear_namespace(Some("a")).unwrap(), 2);
    assert_eq!(rows(), format!("t {id}"));
    for mode in [ImportMode::Merge, ImportMode::Replace] {
        store.begin_import(mode).unwrap();
        let given = vec![labelled("b", 6, "c", &["v"]), labelled("b", 7, "", &["t"])];
        store.write_import(given).unwrap();
        assert!(store.commit_import(&[], &[]).unwrap());
        let kept = store.iter_since(0, 9).unwrap();
        assert_eq!((&*kept[0].context, &*kept[0].tags[0]), ("c", "v"));
        assert_eq!(rows(), format!("v {},t {}", kept[0].id, kept[1].id));
    }
    assert!(store.integrity_check().unwrap());
    assert_eq!(store.clear_namespace(None).unwrap(), 2);
    assert_eq!(rows(), "");
}

fn what_another_program_deletes_is_not_found(server: Arc<Postgres>) {
    let mut store = server.opened("stale");
    let given = (0..9).map(|n| labelled("a", n, "", &["t"])).collect();
    store.insert(given).unwrap();
    server.sql("DELETE FROM stale.entries WHERE id % 3 <> 0");
    assert_eq!(found(&mut store, &by_tags(&["t"])), [3, 6, 9]);
    // A row that lies leads nowhere.
    server.sql("INSERT INTO stale.entry_tags VALUES ('u', 3)");
    assert!(found(&mut store, &by_tags(&["u"])).is_empty());
    assert!(store.integrity_check().unwrap());
}

fn damaged_labels_are_named(server: Arc<Postgres>) {
    let mut store = server.opened("labels_damaged");
    let many = format!("[{}\"t\"]", "\"t\",".repeat(32));
    for (column, value) in [
        ("tags", "{}"),
        ("tags", "[1]"),
        ("tags", "[\"\"]"),
        ("tags", "7"),
        ("tags", &*many),
        ("context", &*"c".repeat(1025)),
    ] {
        put(&mut store, labelled("a", 1, "", &["t"]));
        server.sql(&format!(
            "UPDATE labels_damaged.entries SET {column} = '{value}'"
        ));
        for outcome in [
            store.get_by_ids(&[1], false).map(drop),
            store.iter_since(0, 9).map(drop),
        ] {
            let Err(StoreError::Corrupt(message)) = outcome else {
                panic!("{column} {value}: {outcome:?}");
            };
            let place = format!("table entries, column {column} of the row with id 1");
            assert!(message.contains(&place), "{message}");
        }
        if value == many || value == "{}" || value == "7" {
            assert!(!store.integrity_check().unwrap(), "{value}");
        }
        // It can be replaced.
        put(&mut store, labelled("a", 1, "", &["t"]));
        assert!(store.integrity_check().unwrap());
    }
}

fn a_call_looks_at_a_part_of_many_entries(server: Arc<Postgres>) {
    const MANY: u64 = 50_000;
    let mut store = server.opened("many_labels");
    put(&mut store, entry("a", 1));
    server.sql(&format!(
        "INSERT INTO many_labels.entries (namespace, query_hash, query, response, embedding, metadata,
             created_at, last_accessed_at, tags)
         SELECT 'a', 'h' || i, 'q', 'r', embedding, '{{}}', 5, 5, '[\"t\"]'
         FROM many_labels.entries, generate_series(2, {MANY}) AS i WHERE id = 1;
         INSERT INTO many_labels.entry_tags SELECT 't', id FROM many_labels.entries WHERE id > 1"
    ));
    put(&mut store, labelled("z", 1, "other", &["t", "u"]));
    let last = MANY + 1;
    let other = Some("other".to_owned());
    for (filter, calls, ids) in [
        (
            Filter {
                context: other.clone(),
                ..every()
            },
            3,
            vec![last],
        ),
        (
            Filter {
                context: other.clone(),
                ..by_tags(&["t"])
            },
            3,
            vec![last],
        ),
        // The shortest list is asked.
        (
            Filter {
                context: other,
                ..by_tags(&["t", "u"])
            },
            1,
            vec![last],
        ),
        (
            Filter {
                namespace: Some("z".to_owned()),
                ..by_tags(&["t"])
            },
            1,
            vec![last],
        ),
        (
            Filter {
                created_from: Some(6),
                ..every()
            },
            1,
            vec![1, last],
        ),
        (
            Filter {
                created_before: Some(5),
                ..every()
            },
            1,
            vec![],
        ),
    ] {
        assert_eq!(select(&mut store, &filter, 5), (ids, calls), "{filter:?}");
    }
    let all = select(&mut store, &by_tags(&["t"]), 1000).0;
    assert_eq!(all, (2..=last).collect::<Vec<u64>>());
}
