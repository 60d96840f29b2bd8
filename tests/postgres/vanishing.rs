//! The Postgres store when its data is gone, or another cache's is in its place, while it is open.

use mneme::PostgresStore;
use mneme::store::{ImportMode, Store, StoreError, Touch};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids, put};
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::vanishing::refuses_changes;
use std::sync::Arc;

mneme_tests::tests![
    tables_that_were_emptied_take_no_writes_until_the_store_is_opened_again,
    another_cache_in_its_place_is_left_alone,
    dropped_tables_are_told,
    a_role_that_only_reads_opens_and_answers,
];

const TABLES: [&str; 5] = [
    "schema_meta",
    "entries",
    "cache_counters",
    "namespace_quotas",
    "multi_process_state",
];

fn tables_that_were_emptied_take_no_writes_until_the_store_is_opened_again(server: Arc<Postgres>) {
    let mut store = server.opened("emptied");
    put(&mut store, entry("a", 1));
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("a", 3)]).unwrap();
    for table in TABLES {
        server.sql(&format!("DELETE FROM emptied.{table}"));
    }
    let outcome = store.commit_import(&[], &[]);
    assert!(outcome.is_err(), "{outcome:?}");
    refuses_changes(&mut store);
    for table in TABLES {
        let rows = server.sql(&format!("SELECT count(*) FROM emptied.{table}"));
        assert_eq!(rows, "0", "{table}");
    }
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(store.count(None).unwrap(), 0);
    put(&mut store, entry("a", 1));
    assert!(store.integrity_check().unwrap());
}

fn another_cache_in_its_place_is_left_alone(server: Arc<Postgres>) {
    let mut store = server.opened("replaced");
    put(&mut store, entry("a", 1));
    server.sql("SET client_min_messages = error; DROP SCHEMA replaced CASCADE");
    let mut other = server.opened("replaced");
    put(&mut other, entry("a", 1));
    let version = other.read_version_counter().unwrap();
    refuses_changes(&mut store);
    assert_eq!(ids(&mut other), [1]);
    assert_eq!(other.read_version_counter().unwrap(), version);
    store.open(FINGERPRINT, DIM).unwrap();
    assert!(get(&mut store, "a", 1).is_some());
    put(&mut store, entry("a", 2));
}

fn dropped_tables_are_told(server: Arc<Postgres>) {
    let mut store = server.opened("dropped");
    put(&mut store, entry("a", 1));
    server.sql("SET client_min_messages = error; DROP SCHEMA dropped CASCADE");
    for outcome in [
        store.insert(vec![entry("a", 2)]).map(drop),
        store.get_by_ids(&[1], true).map(drop),
    ] {
        assert!(
            matches!(&outcome, Err(StoreError::Schema(text)) if text.contains("open the store again")),
            "{outcome:?}"
        );
    }
    store.open(FINGERPRINT, DIM).unwrap();
    put(&mut store, entry("a", 1));
}

fn a_role_that_only_reads_opens_and_answers(server: Arc<Postgres>) {
    let mut store = server.opened("reading");
    put(&mut store, entry("a", 1));
    server.sql("DELETE FROM reading.cache_counters");
    server.sql(
        "CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT USAGE ON SCHEMA reading TO reader;
         GRANT SELECT ON ALL TABLES IN SCHEMA reading TO reader",
    );
    let url = format!(
        "postgres://reader:reader@127.0.0.1:{}/postgres?schema=reading",
        server.port()
    );
    let mut reader = PostgresStore::from_url(&url).unwrap();
    reader.open(FINGERPRINT, DIM).unwrap();
    assert!(get(&mut reader, "a", 1).is_some());
    let touched = reader.update_access(&[Touch {
        id: 1,
        hits: 1,
        last_accessed_at: 5,
    }]);
    let Err(StoreError::Backend(error)) = touched else {
        panic!("{touched:?}");
    };
    assert!(
        error.message.contains("grant the role"),
        "{}",
        error.message
    );
    // A right that is missing is no damage.
    let sound = reader.integrity_check();
    assert!(!matches!(sound, Ok(false)), "{sound:?}");
}
