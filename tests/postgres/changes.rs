//! The log of changes in a schema.

use std::sync::Arc;

use mneme::PostgresStore;
use mneme::store::{Entry, EntryRef, ImportMode, Store};
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

fn opened(server: &Postgres, schema: &str) -> PostgresStore {
    let mut store = server.store(schema);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

/// What is known after a version: the changes as `version id`, with a minus sign for a deletion.
fn since(store: &mut dyn Store, version: u64) -> Option<Vec<String>> {
    let page = store.changes_since(version, u32::MAX).unwrap()?;
    let sign = |deleted| if deleted { "-" } else { "" };
    let changes = page.changes.iter();
    let texts = changes.map(|one| format!("{} {}{}", one.version, sign(one.deleted), one.id));
    Some(texts.collect())
}

fn every_write_of_entries_is_in_the_log(server: Arc<Postgres>) {
    let mut store = opened(&server, "every_write_of_entries_is_in_the_log");
    assert_eq!(since(&mut store, 0), Some(vec![]));
    assert_eq!(since(&mut store, 1), None);
    store
        .insert(vec![entry("a", 1), entry("a", 2), entry("a", 1)])
        .unwrap();
    put(&mut store, entry("a", 1));
    assert!(store.delete_by_id(1).unwrap());
    assert!(!store.delete_by_id(1).unwrap());
    let named = EntryRef {
        id: 2,
        namespace: "a".to_owned(),
        created_at: 1002,
    };
    assert_eq!(store.delete_unchanged(&[named]).unwrap(), [2]);
    let ids: Vec<u64> = (3..6)
        .map(|n| {
            put(
                &mut store,
                Entry {
                    ttl: Some(n),
                    ..entry("b", n)
                },
            )
        })
        .collect();
    assert_eq!(store.delete_expired(1003 + 3, None, 9).unwrap().len(), 1);
    store.set_namespace_quota("a", Some(1)).unwrap();
    assert_eq!(store.clear_namespace(Some("b")).unwrap(), 2);
    assert_eq!(store.clear_namespace(None).unwrap(), 0);
    let [a, b, c] = ids[..] else {
        panic!("{ids:?}")
    };
    let mut expected: Vec<String> = ["1 1", "1 2", "2 1", "3 -1", "4 -2"]
        .map(str::to_owned)
        .to_vec();
    for (version, change) in (5..).zip([
        a.to_string(),
        b.to_string(),
        c.to_string(),
        format!("-{a}"),
        format!("-{b}"),
    ]) {
        expected.push(format!("{version} {change}"));
    }
    expected.push(format!("9 -{c}"));
    assert_eq!(since(&mut store, 0), Some(expected.clone()));
    let mut other = opened(&server, "every_write_of_entries_is_in_the_log");
    assert_eq!(since(&mut other, 8), Some(expected[9..].to_vec()));
    assert_eq!(since(&mut other, 9), Some(vec![]));
    assert_eq!(since(&mut other, 10), None);
}

fn whole_versions_come_in_parts(server: Arc<Postgres>) {
    let mut store = opened(&server, "whole_versions_come_in_parts");
    for first in [1, 4, 5] {
        store
            .insert((first..first + 3).map(|n| entry("a", n)).collect())
            .unwrap();
    }
    for (after, limit, count, version) in [
        (0, 1, 3, 1),
        (0, 3, 3, 1),
        (0, 5, 3, 1),
        (0, 6, 6, 2),
        (1, 4, 3, 2),
        (2, 0, 3, 3),
        (0, 9, 9, 3),
    ] {
        let page = store.changes_since(after, limit).unwrap().unwrap();
        assert_eq!(
            (page.changes.len(), page.version),
            (count, version),
            "{after} {limit}"
        );
    }
}

fn what_is_not_in_the_log_is_not_known(server: Arc<Postgres>) {
    let mut store = opened(&server, "what_is_not_in_the_log_is_not_known");
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
    let mut store = opened(&server, "the_log_keeps_what_it_says_and_little_more");
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
    let mut store = opened(&server, "unlogged");
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
    put(&mut opened(&server, "unlogged"), entry("a", 2));
    assert_eq!(since(&mut early, 1), None);
    // Making the table gives the rights that there are on the entries.
    assert_eq!(since(&mut reader(), 1), Some(vec!["2 2".to_owned()]));
}

fn a_cache_that_is_gone_is_not_followed(server: Arc<Postgres>) {
    let mut store = opened(&server, "left_log");
    put(&mut store, entry("a", 1));
    server.sql("DROP SCHEMA left_log CASCADE");
    put(&mut opened(&server, "left_log"), entry("a", 1));
    assert!(store.changes_since(0, 9).is_err());
}
