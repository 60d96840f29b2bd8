//! What needs to see the connection.

use super::*;

fn entry(n: u64) -> Entry {
    Entry {
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
    let conn = &store.session.as_ref().unwrap().conn;
    conn.execute_batch("PRAGMA max_page_count = 1").unwrap();
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
    let conn = &store.session.as_ref().unwrap().conn;
    conn.execute_batch("PRAGMA max_page_count = 100000")
        .unwrap();
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
    let conn = &store.session.as_ref().unwrap().conn;
    for (sql, walks) in reads::PLANNED {
        let mut query = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = query
            .raw_query()
            .mapped(|row| row.get::<_, String>(3))
            .collect::<rusqlite::Result<Vec<_>>>()
            .unwrap();
        let table_walk = rows
            .iter()
            .any(|step| step.starts_with("SCAN entries") && !step.contains("COVERING INDEX"));
        assert_eq!(table_walk, *walks, "{sql}: {rows:?}");
    }
}
