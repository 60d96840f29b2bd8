//! The log of changes in a schema.

use std::sync::Arc;

use mneme::PostgresStore;
use mneme::store::{ImportMode, Store};
use mneme_tests::changes::{self, since};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, put};
use mneme_tests::servers::postgres::{PASSWORD, Postgres, url};

mneme_tests::tests![
    every_write_of_entries_is_in_the_log,
    whole_versions_come_in_parts,
    what_is_not_in_the_log_is_not_known,
    the_log_keeps_what_it_says_and_little_more,
    a_schema_without_the_table_knows_nothing,
    a_cache_that_is_gone_is_not_followed,
];

fn every_write_of_entries_is_in_the_log(server: Arc<Postgres>) {
    changes::every_write_of_entries_is_in_the_log(|| server.opened("every_write"));
}

fn whole_versions_come_in_parts(server: Arc<Postgres>) {
    changes::whole_versions_come_in_parts(&mut server.opened("whole_versions"));
}

fn what_is_not_in_the_log_is_not_known(server: Arc<Postgres>) {
    let mut store = server.opened("what_is_not_in_the_log_is_not_known");
    put(&mut store, entry("a", 1));
    // As mneme-cache does.
    server.sql(
        "UPDATE what_is_not_in_the_log_is_not_known.multi_process_state
         SET value = (value::bigint + 1)::text",
    );
    assert_eq!(since(&mut store, 0), None);
    assert_eq!(since(&mut store, 1), None);
    assert_eq!(since(&mut store, 2), Some(vec![]));
    put(&mut store, entry("a", 1));
    assert_eq!(since(&mut store, 1), None);
    assert_eq!(since(&mut store, 2), Some(vec!["3 1".to_owned()]));
    // A write that is too long, an import.
    store
        .insert((1..1001).map(|n| entry("a", n)).collect())
        .unwrap();
    put(&mut store, entry("a", 2000));
    assert_eq!(since(&mut store, 3).unwrap().len(), 1001);
    store.clear_namespace(Some("a")).unwrap();
    let now = store.read_version_counter().unwrap();
    assert_eq!(since(&mut store, now - 1), None);
    put(&mut store, entry("a", 1));
    assert_eq!(since(&mut store, now).unwrap().len(), 1);
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(since(&mut store, now), None);
    assert_eq!(since(&mut store, now + 2), Some(vec![]));
    server.sql("UPDATE what_is_not_in_the_log_is_not_known.changes SET id = -1");
    put(&mut store, entry("a", 4));
    assert_eq!(since(&mut store, now + 2).unwrap().len(), 1);
    server.sql("UPDATE what_is_not_in_the_log_is_not_known.changes SET id = -1");
    assert!(store.changes_since(now + 2, 9).is_err());
}

fn the_log_keeps_what_it_says_and_little_more(server: Arc<Postgres>) {
    let mut store = server.opened("the_log_keeps_what_it_says_and_little_more");
    let most = u64::from(store.capabilities().max_changes);
    for n in 0..100 {
        let rows = (0..1000).map(|k| entry("a", n % 2 * 1000 + k)).collect();
        store.insert(rows).unwrap();
    }
    let rows: u64 = server
        .sql("SELECT count(*)::text FROM the_log_keeps_what_it_says_and_little_more.changes")
        .trim()
        .parse()
        .unwrap();
    assert!((most..most + 10_000).contains(&rows), "{rows}");
    let kept = since(&mut store, 100 - rows / 1000).unwrap();
    assert_eq!(kept.len() as u64, rows);
    assert_eq!(since(&mut store, 100 - rows / 1000 - 1), None);
}

fn a_schema_without_the_table_knows_nothing(server: Arc<Postgres>) {
    let mut store = server.opened("unlogged");
    put(&mut store, entry("a", 1));
    store.close().unwrap();
    server.sql(&format!(
        "DROP TABLE unlogged.changes;
         CREATE ROLE log_reader LOGIN PASSWORD '{PASSWORD}';
         GRANT USAGE ON SCHEMA unlogged TO log_reader;
         GRANT SELECT ON ALL TABLES IN SCHEMA unlogged TO log_reader"
    ));
    let reader = || {
        let store = PostgresStore::from_url(&url("log_reader", server.port())).unwrap();
        let mut store = store.schema("unlogged");
        store.open(FINGERPRINT, DIM).unwrap();
        store
    };
    let mut early = reader();
    assert_eq!(since(&mut early, 0), None);
    put(&mut server.opened("unlogged"), entry("a", 2));
    assert_eq!(since(&mut early, 1), None);
    // Making the table gives the rights that there are on the entries.
    assert_eq!(since(&mut reader(), 1), Some(vec!["2 2".to_owned()]));
}

fn a_cache_that_is_gone_is_not_followed(server: Arc<Postgres>) {
    let mut store = server.opened("left_log");
    put(&mut store, entry("a", 1));
    server.sql("DROP SCHEMA left_log CASCADE");
    put(&mut server.opened("left_log"), entry("a", 1));
    assert!(store.changes_since(0, 9).is_err());
}
