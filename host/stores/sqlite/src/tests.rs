//! What needs to see the connection.

use super::*;
use mneme_store::Entry;
use rusqlite::Connection;

fn on_connection<T>(store: &mut SqliteStore, work: impl FnOnce(&Connection) -> T) -> T {
    let run = |session: &mut Session| Ok(work(session.conn()?));
    store.opened.run("test", run).unwrap()
}

fn entry(n: u64) -> Entry {
    Entry {
        context: String::new(),
        tags: Vec::new(),
        id: 0,
        namespace: "a".to_owned(),
        query_hash: format!("{n:064x}"),
        query: "q".to_owned(),
        response: "r".repeat(3000),
        embedding: vec![1.0, 0.0],
        metadata: "{}".to_owned(),
        created_at: 1,
        last_accessed_at: 1,
        ttl: None,
        access_count: 0,
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::new(dir.path().join("cache.db"));
    store.open("fp", 2).unwrap();
    store.insert(vec![entry(1)]).unwrap();
    let limit = |store: &mut SqliteStore, pages: u32| {
        on_connection(store, |conn| {
            conn.execute_batch(&format!("PRAGMA max_page_count = {pages}"))
        })
        .unwrap();
    };
    limit(&mut store, 1);
    match store.insert((2..50).map(entry).collect()) {
        Err(StoreError::Backend(error)) => {
            assert!(!error.retryable);
            assert!(error.message.contains("free space"), "{}", error.message);
            assert!(error.message.contains("cache.db"), "{}", error.message);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.count(None).unwrap(), 1);
    assert_eq!(store.read_version_counter().unwrap(), 1);
    limit(&mut store, 100_000);
    assert_eq!(
        store.insert((2..50).map(entry).collect()).unwrap().len(),
        48
    );
}

#[test]
fn every_look_up_goes_by_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::new(dir.path().join("cache.db"));
    store.open("fp", 2).unwrap();
    let mut plan = |sql: &str| {
        on_connection(&mut store, |conn| {
            let mut query = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let steps = query.raw_query().mapped(|row| row.get::<_, String>(3));
            steps.collect::<rusqlite::Result<Vec<_>>>()
        })
        .unwrap()
    };
    for (sql, walks) in reads::PLANNED {
        let rows = plan(sql);
        let table_walk = rows
            .iter()
            .any(|step| step.starts_with("SCAN entries") && !step.contains("COVERING INDEX"));
        assert_eq!(table_walk, *walks, "{sql}: {rows:?}");
    }
    for sql in reads::BY_EXPIRY {
        let rows = plan(sql);
        let by_expiry = |step: &String| step.contains("idx_entries_expiry (<expr><?)");
        assert!(rows.iter().any(by_expiry), "{sql}: {rows:?}");
    }
}
