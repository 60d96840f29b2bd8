//! Texts that are not UTF-8: whoever comes across one is told where it is.

use mneme::store::{Store, StoreError};
use rusqlite::Connection;

use super::place::{Place, open, place};
use mneme_tests::rows::{entry, put};

mneme_tests::tests![
    a_damaged_text_of_an_entry_is_named,
    a_damaged_text_of_another_table_is_named,
];

/// No text, though SQLite has it as one.
const DAMAGED: &str = "CAST(x'61ff62' AS TEXT)";

type Call = fn(&mut dyn Store) -> Result<(), StoreError>;

fn filled(namespaces: u32) -> Place {
    let place = place();
    let mut store = open(&place.path);
    for n in 0..namespaces {
        put(&mut store, entry(&format!("n{n}"), u64::from(n)));
    }
    store.set_namespace_quota("n0", Some(7)).unwrap();
    store.replace_meta("k", None, Some("v")).unwrap();
    store.write_blob("blob", vec![1]).unwrap();
    store.close().unwrap();
    place
}

fn damage(place: &Place, sql: &str) {
    let conn = Connection::open(&place.path).unwrap();
    assert_eq!(conn.execute(sql, []).unwrap(), 1, "{sql}");
}

#[track_caller]
fn assert_named(place: &Place, calls: &[(&str, Call)], parts: &[&str]) {
    let mut store = open(&place.path);
    for (name, call) in calls {
        let outcome = call(&mut store);
        let Err(StoreError::Corrupt(message)) = outcome else {
            panic!("{name}: {outcome:?}");
        };
        for part in parts {
            assert!(message.contains(part), "{name}: {message}");
        }
    }
    assert!(!store.integrity_check().unwrap());
}

fn a_damaged_text_of_an_entry_is_named() {
    let rows: &[(&str, Call)] = &[
        ("get_by_ids", |store| store.get_by_ids(&[3], true).map(drop)),
        ("iter_since", |store| store.iter_since(0, 10).map(drop)),
    ];
    let keys: &[(&str, Call)] = &[
        ("list_namespaces", |store| {
            store.list_namespaces(None, 1000).map(drop)
        }),
        ("count_by_namespace", |store| {
            store.count_by_namespace(None, 1000).map(drop)
        }),
        ("iter_vectors", |store| store.iter_vectors(0, 10).map(drop)),
        ("iter_lru_ids", |store| {
            store.iter_lru_ids(10, None).map(drop)
        }),
    ];
    // Few namespaces and many are counted in different ways.
    for (column, namespaces) in [
        ("namespace", 5),
        ("namespace", 150),
        ("query_hash", 5),
        ("query", 5),
        ("response", 5),
        ("metadata", 5),
    ] {
        let place = filled(namespaces);
        damage(
            &place,
            &format!("UPDATE entries SET {column} = {DAMAGED} WHERE id = 3"),
        );
        let says = format!(
            "table entries, column {column} of the row with id 3 is not valid UTF-8; delete that row"
        );
        assert_named(&place, rows, &[&says]);
        if column == "namespace" {
            assert_named(&place, keys, &[&says]);
        }
        // What it says to do is enough.
        damage(&place, "DELETE FROM entries WHERE id = 3");
        let mut store = open(&place.path);
        for (name, call) in rows.iter().chain(keys) {
            call(&mut store).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        assert!(store.integrity_check().unwrap());
    }
}

fn a_damaged_text_of_another_table_is_named() {
    let quotas: &[(&str, Call)] = &[("list_namespace_quotas", |store| {
        store.list_namespace_quotas().map(drop)
    })];
    let list: (&str, Call) = ("list_meta", |store| store.list_meta().map(drop));
    let read: (&str, Call) = ("read_meta", |store| store.read_meta("k").map(drop));
    let version: &[(&str, Call)] = &[("read_version_counter", |store| {
        store.read_version_counter().map(drop)
    })];
    let blobs: &[(&str, Call)] = &[("list_blobs", |store| store.list_blobs().map(drop))];
    for (sql, calls, says) in [
        (
            "namespace_quotas SET namespace",
            quotas,
            "table namespace_quotas, column namespace of the row with rowid 1 is not valid UTF-8",
        ),
        (
            "schema_meta SET key",
            &[list],
            "table schema_meta, column key of the row with rowid 4 is not valid UTF-8",
        ),
        (
            "schema_meta SET value",
            &[list, read],
            "table schema_meta, column value of the row with key \"k\" is not valid UTF-8",
        ),
        (
            "multi_process_state SET value",
            version,
            "table multi_process_state, key version_counter",
        ),
        ("derived_blobs SET name", blobs, "table derived_blobs"),
    ] {
        let place = filled(2);
        let of = match sql.starts_with("schema_meta") {
            true => " WHERE key = 'k'",
            false => "",
        };
        damage(&place, &format!("UPDATE {sql} = {DAMAGED}{of}"));
        assert_named(&place, calls, &[says]);
    }

    // What the store itself keeps is read as it is opened.
    for key in ["schema_version", "embedder_fingerprint", "embedder_dim"] {
        let place = filled(2);
        damage(
            &place,
            &format!("UPDATE schema_meta SET value = {DAMAGED} WHERE key = '{key}'"),
        );
        let mut store = mneme::store::SqliteStore::new(&place.path);
        let outcome = store.open(mneme_tests::rows::FINGERPRINT, mneme_tests::rows::DIM);
        let Err(StoreError::Corrupt(message)) = outcome else {
            panic!("{key}: {outcome:?}");
        };
        let says =
            format!("column value of the row with key \"{key}\" is not valid UTF-8; restore");
        assert!(message.contains(&says), "{message}");
    }
}
