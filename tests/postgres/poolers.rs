//! The Postgres store behind PgBouncer, which gives each transaction another session.

use super::labels::by_tags;
use super::outcomes::{backend, passing};
use mneme::PostgresStore;
use mneme::store::{Entry, ImportMode, Store, Touch};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids, put};
use mneme_tests::servers::pgbouncer::PgBouncer;
use mneme_tests::servers::postgres::{Postgres, sql_by, url};
use mneme_tests::suite::Ran;
use std::sync::Arc;
use std::time::Duration;

mneme_tests::tests![
    nothing_is_left_in_a_session,
    a_transaction_brings_its_limits,
    a_pooler_is_noticed_and_the_server_itself_too,
    a_session_that_is_taken_for_ours_is_told,
    a_restarted_pooler_is_found_again,
    a_pooler_without_a_free_session_says_which_limit_to_raise,
];

/// A closed store in a schema, by way of a pooler.
fn store(pooler: &PgBouncer, schema: &str, more: &str) -> PostgresStore {
    let url = format!("{}?schema={schema}{more}", pooler.url());
    PostgresStore::from_url(&url).unwrap()
}

fn opened(pooler: &PgBouncer, schema: &str) -> PostgresStore {
    let mut store = store(pooler, schema, "");
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

fn nothing_is_left_in_a_session(server: Arc<Postgres>) -> Ran {
    let pooler = PgBouncer::before(&server, &["default_pool_size = 4"])?;
    let mut stores: Vec<_> = (0..4).map(|_| opened(&pooler, "swapped")).collect();
    let tagged = |n: u64| Entry {
        tags: vec!["t".to_owned()],
        ..entry("a", n)
    };
    let by_tag = by_tags(&["t"]);
    // More stores at a time than sessions, and each transaction has another one.
    for round in 0..5 {
        for (n, store) in stores.iter_mut().enumerate() {
            let n = round * 4 + n as u64;
            let version = store.read_version_counter().unwrap();
            put(store, tagged(n));
            let log = store.changes_since(version, 10).unwrap().unwrap();
            assert_eq!((log.version, log.changes.len()), (version + 1, 1));
            store.insert(vec![entry("b", n), tagged(n)]).unwrap();
            assert_eq!(get(store, "a", n).unwrap().tags, ["t"]);
            let at = store.select(&by_tag, 0, 100).unwrap();
            assert_eq!(at.entries.len() as u64, n + 1);
            let touch = Touch {
                id: at.entries[0].id,
                hits: 1,
                last_accessed_at: 9_000,
            };
            store.update_access(&[touch]).unwrap();
            let key = format!("k{n}");
            assert!(store.replace_meta(&key, None, Some("v")).unwrap());
            assert_eq!(store.read_meta(&key).unwrap().as_deref(), Some("v"));
            store.set_namespace_quota("a", Some(n)).unwrap();
            assert_eq!(store.get_namespace_quota("a").unwrap(), Some(n));
            store.write_blob("blob", vec![n as u8]).unwrap();
            assert_eq!(store.read_blob("blob").unwrap(), Some(vec![n as u8]));
            assert_eq!(store.count(Some("b")).unwrap(), n + 1);
            assert!(store.integrity_check().unwrap());
        }
        let (one, others) = stores.split_first_mut().unwrap();
        assert!(one.begin_view().unwrap());
        let before = one.count(None).unwrap();
        others[0].begin_import(ImportMode::Merge).unwrap();
        others[0].write_import(vec![entry("c", round)]).unwrap();
        put(&mut others[1], entry("c", 100 + round));
        assert_eq!(one.count(None).unwrap(), before);
        assert!(others[0].commit_import(&[], &[]).unwrap());
        assert_eq!(one.count(None).unwrap(), before);
        one.end_view().unwrap();
        assert_eq!(one.count(None).unwrap(), before + 2);
    }
    assert_eq!(get(&mut stores[1], "a", 0).unwrap().access_count, 20);
    assert!(stores[0].delete_by_id(1).unwrap());
    assert_eq!(stores[1].clear_namespace(Some("b")).unwrap(), 20);
    assert_eq!(stores[2].delete_expired(u64::MAX, None, 100).unwrap(), []);

    // What others find in the sessions, one after the other.
    let left = "SELECT (SELECT count(*) FROM pg_prepared_statements),
        (SELECT count(*) FROM pg_tables WHERE tablename = 'mneme_import'),
        current_setting('statement_timeout'), current_setting('lock_timeout'),
        current_setting('idle_in_transaction_session_timeout')";
    let mut sessions = Vec::new();
    for _ in 0..8 {
        assert_eq!(sql_by(&pooler, left), "0|0|0|0|0");
        sessions.push(sql_by(&pooler, "SELECT pg_backend_pid()"));
    }
    sessions.sort();
    sessions.dedup();
    assert!(sessions.len() > 1, "{sessions:?}");
    Ok(())
}

fn a_transaction_brings_its_limits(server: Arc<Postgres>) -> Ran {
    let pooler = PgBouncer::before(&server, &[])?;
    let mut store = opened(&pooler, "limited").call_timeout(Duration::from_secs(2));
    put(&mut store, entry("a", 1));
    store.open(FINGERPRINT, DIM).unwrap();
    let mut other = server.other();
    other.run("BEGIN; LOCK TABLE limited.entries IN ACCESS EXCLUSIVE MODE");
    // The server has given up, and not only this side.
    for outcome in [
        store.count(None).map(drop),
        store.insert(vec![entry("a", 2)]).map(drop),
        store.delete_by_id(1).map(drop),
    ] {
        let message = passing(outcome);
        assert!(
            message.contains("other transactions were in the way"),
            "{message}"
        );
    }
    other.run("ROLLBACK");
    assert_eq!(ids(&mut store), [1]);
    Ok(())
}

/// What a store's session did last.
fn last(server: &Postgres, name: &str) -> String {
    server.sql(&format!(
        "SELECT query FROM pg_stat_activity WHERE application_name = '{name}'"
    ))
}

fn a_pooler_is_noticed_and_the_server_itself_too(server: Arc<Postgres>) -> Ran {
    let pooler = PgBouncer::before(&server, &[])?;
    for (mode, port, expected) in [
        ("auto", server.port(), "SELECT"),
        ("session", server.port(), "SELECT"),
        ("transaction", server.port(), "COMMIT"),
        ("auto", pooler.port(), "COMMIT"),
        ("transaction", pooler.port(), "COMMIT"),
    ] {
        let name = format!("noticed_{mode}_{port}");
        let more = format!("?schema=noticed&pooler={mode}&application_name={name}");
        let mut store = PostgresStore::from_url(&(url("mneme", port) + &more)).unwrap();
        store.open(FINGERPRINT, DIM).unwrap();
        assert_eq!(store.count(None).unwrap(), 0);
        let last = last(&server, &name);
        assert!(last.starts_with(expected), "{mode} {port}: {last}");
    }
    Ok(())
}

fn a_session_that_is_taken_for_ours_is_told(server: Arc<Postgres>) -> Ran {
    let pooler = PgBouncer::before(&server, &["default_pool_size = 2"])?;
    put(&mut opened(&pooler, "taken"), entry("a", 1));
    // One session is busy in the meantime, and the other one knows no statement of it.
    let mut one = store(&pooler, "taken", "&pooler=session");
    let mut other = store(&pooler, "taken", "&pooler=session");
    let error = (0..20).find_map(|_| {
        let opened = one.open(FINGERPRINT, DIM).and_then(|()| one.begin_view());
        let asked = opened.and_then(|_| other.open(FINGERPRINT, DIM));
        let counted = asked.and_then(|()| one.end_view().and_then(|()| other.count(None)));
        counted.err()
    });
    let message = backend::<()>(Err(error.expect("sessions were swapped"))).message;
    assert!(message.contains("pooler=transaction"), "{message}");
    Ok(())
}

fn a_restarted_pooler_is_found_again(server: Arc<Postgres>) -> Ran {
    let mut pooler = PgBouncer::before(&server, &[])?;
    let mut store = opened(&pooler, "again");
    let mut idle = opened(&pooler, "again");
    let mut reader = opened(&pooler, "again");
    let mut importer = opened(&pooler, "again");
    put(&mut store, entry("a", 1));
    assert!(reader.begin_view().unwrap());
    assert_eq!(reader.count(None).unwrap(), 1);
    importer.begin_import(ImportMode::Merge).unwrap();
    importer.write_import(vec![entry("a", 9)]).unwrap();
    pooler.kill();
    for _ in 0..3 {
        passing(store.insert(vec![entry("a", 2)]));
        passing(store.count(None));
        passing(store.update_access(&[Touch {
            id: 1,
            hits: 1,
            last_accessed_at: 9,
        }]));
    }
    let mut late = self::store(&pooler, "again", "");
    passing(late.open(FINGERPRINT, DIM));
    pooler.restart()?;
    late.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(ids(&mut store), [1]);
    put(&mut store, entry("a", 2));
    assert!(passing(reader.count(None)).contains("the view is over"));
    reader.end_view().unwrap();
    assert_eq!(reader.count(None).unwrap(), 2);
    let over = passing(importer.write_import(vec![entry("a", 8)]));
    assert!(over.contains("begin it again"), "{over}");
    importer.begin_import(ImportMode::Merge).unwrap();
    importer.write_import(vec![entry("a", 9)]).unwrap();
    assert!(importer.commit_import(&[], &[]).unwrap());
    // One that slept through it all, and begins with a write.
    assert!(idle.replace_meta("k", None, Some("v")).unwrap());
    // It came and went, and nobody noticed.
    pooler.restart()?;
    assert!(idle.replace_meta("k", Some("v"), Some("w")).unwrap());
    assert_eq!(store.count(None).unwrap(), 3);
    assert_eq!(store.read_version_counter().unwrap(), 3);
    Ok(())
}

fn a_pooler_without_a_free_session_says_which_limit_to_raise(server: Arc<Postgres>) -> Ran {
    let settings = [
        "max_client_conn = 2",
        "default_pool_size = 1",
        "query_wait_timeout = 1",
    ];
    let pooler = PgBouncer::before(&server, &settings)?;
    let mut one = opened(&pooler, "few");
    let mut two = opened(&pooler, "few");
    let message = passing(store(&pooler, "few", "").open(FINGERPRINT, DIM));
    assert!(
        message.contains("max_client_conn of PgBouncer") && message.contains("raise it"),
        "{message}"
    );
    // A view keeps the only session.
    assert!(one.begin_view().unwrap());
    assert_eq!(one.count(None).unwrap(), 0);
    let message = passing(two.insert(vec![entry("a", 1)]));
    assert!(
        message.contains("query_wait_timeout") && message.contains("default_pool_size"),
        "{message}"
    );
    one.end_view().unwrap();
    assert_eq!(put(&mut two, entry("a", 1)), 1);
    assert_eq!(one.count(None).unwrap(), 1);
    Ok(())
}
