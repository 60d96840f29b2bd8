//! Imports into the Postgres store when the server, the network or another program is in
//! the way.

use super::outcomes::backend;
use mneme::PostgresStore;
use mneme::store::{Entry, ImportMode, MetaChange, Store, StoreError};
use mneme_tests::proxy::{Fault, Proxy};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids, put};
use mneme_tests::servers::postgres::{PASSWORD, Postgres, url};
use mneme_tests::unless_it_hangs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

mneme_tests::tests![
    a_session_that_ends_takes_the_import_with_it,
    a_cut_commit_leaves_all_or_nothing,
    of_two_that_wait_for_each_other_the_import_gives_way,
    a_lock_that_is_never_given_back_ends_the_commit_in_time,
    it_may_take_longer_than_a_call,
    the_error_names_the_right_that_is_missing,
    a_server_that_fails_in_the_commit_stores_nothing,
];

/// A failure that has ended the import, and after which another may succeed.
#[track_caller]
fn passing<T: std::fmt::Debug>(store: &mut PostgresStore, outcome: Result<T, StoreError>) {
    let error = backend(outcome);
    assert!(error.retryable, "{error:?}");
    assert!(error.message.contains("begin it again"), "{error:?}");
    let over = store.write_import(Vec::new());
    assert!(
        matches!(over, Err(StoreError::InvalidArgument(_))),
        "{over:?}"
    );
}

/// Ends the session of an import, and waits until it is gone.
fn end_import_session(server: &Postgres, schema: &str) {
    let ended = server.sql(&format!(
        "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity
         WHERE application_name = '{schema}' AND state LIKE 'idle in transaction%'"
    ));
    assert_eq!(ended, "1");
}

/// Waits until a store in a schema waits for a lock.
fn wait_for_lock(server: &Postgres, schema: &str) {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = '{schema}' AND wait_event_type = 'Lock'"
    );
    while server.sql(&waiting) == "0" {}
}

fn change(key: &str, expected: Option<&str>, value: &str) -> MetaChange {
    MetaChange {
        key: key.to_owned(),
        expected: expected.map(str::to_owned),
        value: value.to_owned(),
    }
}

fn a_session_that_ends_takes_the_import_with_it(server: Arc<Postgres>) {
    let mut store = server.opened("import_ended");
    put(&mut store, entry("a", 1));
    for mode in [ImportMode::Merge, ImportMode::Replace] {
        store.begin_import(mode).unwrap();
        store
            .write_import(vec![entry("a", 1), entry("a", 2)])
            .unwrap();
        end_import_session(&server, "import_ended");
        let outcome = store.write_import(vec![entry("a", 3)]);
        passing(&mut store, outcome);

        store.begin_import(mode).unwrap();
        store
            .write_import(vec![entry("a", 1), entry("a", 2)])
            .unwrap();
        end_import_session(&server, "import_ended");
        let outcome = store.commit_import(&[("a".into(), 1)], &[change("k", None, "v")]);
        passing(&mut store, outcome);
    }
    assert_eq!(ids(&mut store), [1]);
    assert_eq!(store.read_version_counter().unwrap(), 1);
    assert_eq!(store.list_namespace_quotas().unwrap(), []);
    assert_eq!(store.list_meta().unwrap(), []);
    put(&mut store, entry("a", 2));
    // The session of everything else is not that of the import.
    store.begin_import(ImportMode::Replace).unwrap();
    store.write_import(vec![entry("a", 9)]).unwrap();
    server.sql(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
         WHERE application_name = 'import_ended' AND state = 'idle'",
    );
    assert_eq!(store.count(None).unwrap(), 2);
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(store.count(None).unwrap(), 1);
    assert!(store.integrity_check().unwrap());
}

fn a_cut_commit_leaves_all_or_nothing(server: Arc<Postgres>) {
    unless_it_hangs(move || cut_commits(&server));
}

fn cut_commits(server: &Postgres) {
    let proxy = Proxy::start(server.port()).unwrap();
    let name = "?schema=import_cut&application_name=through_import_cut";
    let mut store = PostgresStore::from_url(&(url("mneme", proxy.port()) + name)).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    let mut past = server.opened("import_cut");
    past.insert(vec![entry("old", 0), entry("old", 1)]).unwrap();
    let (mut nothing, mut unknown) = (0, 0);
    let mut n = 0;
    let mut attempt = |fault: Fault| {
        n += 1;
        store.begin_import(ImportMode::Replace).unwrap();
        let entries = vec![entry("a", n), entry("b", n)];
        store.write_import(entries).unwrap();
        let before = past.read_version_counter().unwrap();
        proxy.set(fault);
        let quotas = [("q".to_owned(), n)];
        let outcome = store.commit_import(&quotas, &[change("k", None, &n.to_string())]);
        proxy.set(Fault::None);
        let importing = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'through_import_cut' AND state <> 'idle'";
        // The server may still be at it.
        while server.sql(importing) != "0" {}
        let stored = get(&mut past, "a", n).is_some();
        assert_eq!(get(&mut past, "b", n).is_some(), stored);
        assert_eq!(past.count(None).unwrap(), 2, "{outcome:?}");
        let moved = past.read_version_counter().unwrap() - before;
        assert_eq!(moved, u64::from(stored), "{outcome:?}");
        assert_eq!(past.get_namespace_quota("q").unwrap() == Some(n), stored);
        assert_eq!(past.read_meta("k").unwrap() == Some(n.to_string()), stored);
        if let Ok(done) = outcome {
            assert!(done && stored);
            return true;
        }
        let error = backend(outcome);
        let is_unknown = error.message.contains("unknown");
        assert_eq!(error.retryable, !is_unknown, "{error:?}");
        assert!(is_unknown || !stored, "{error:?}");
        *(if is_unknown {
            &mut unknown
        } else {
            &mut nothing
        }) += 1;
        false
    };
    for fault in [Fault::CutRequest, Fault::CutReply] {
        let mut bytes = 0;
        while !attempt(fault(bytes)) {
            bytes += 60;
        }
        // The commit itself is short.
        bytes = bytes.saturating_sub(60);
        while !attempt(fault(bytes)) {
            bytes += 4;
        }
    }
    assert!(
        nothing > 5 && unknown > 0,
        "{nothing} without effect, {unknown} unknown"
    );
}

fn of_two_that_wait_for_each_other_the_import_gives_way(server: Arc<Postgres>) {
    unless_it_hangs(move || wait_for_each_other(&server));
}

fn wait_for_each_other(server: &Postgres) {
    let mut store = server.opened("import_deadlock");
    let id = put(&mut store, entry("a", 1));
    store.begin_import(ImportMode::Merge).unwrap();
    store
        .write_import(vec![entry("a", 1), entry("a", 2)])
        .unwrap();
    let mut other = server.other();
    // As the Python library does it: first the row, then the counter.
    other.run(&format!(
        "BEGIN; UPDATE import_deadlock.entries SET response = 'theirs' WHERE id = {id}"
    ));
    let ours = thread::spawn(move || (store.commit_import(&[], &[]), store));
    // Until ours has the lock on the counter, and waits for the row.
    wait_for_lock(server, "import_deadlock");
    other.run("UPDATE import_deadlock.multi_process_state SET value = (value::bigint + 1)::text");
    other.run("COMMIT");
    let (committed, mut store) = ours.join().unwrap();
    assert!(committed.unwrap());
    assert_eq!(
        get(&mut store, "a", 1).unwrap(),
        Entry {
            id,
            ..entry("a", 1)
        }
    );
    assert_eq!(store.read_version_counter().unwrap(), 3);
    assert_eq!(store.count(None).unwrap(), 2);
}

fn a_lock_that_is_never_given_back_ends_the_commit_in_time(server: Arc<Postgres>) {
    unless_it_hangs(move || locked_counter(&server));
}

fn locked_counter(server: &Postgres) {
    let mut store = server
        .named_store("import_held")
        .call_timeout(Duration::from_millis(1500));
    store.open(FINGERPRINT, DIM).unwrap();
    put(&mut store, entry("a", 1));
    store.begin_import(ImportMode::Replace).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    let mut other = server.other();
    other.run("BEGIN; SELECT * FROM import_held.multi_process_state FOR UPDATE");
    // Gathering goes on.
    store.write_import(vec![entry("a", 3)]).unwrap();
    let outcome = store.commit_import(&[], &[]);
    passing(&mut store, outcome);
    other.run("COMMIT");
    assert_eq!(ids(&mut store), [1]);
    put(&mut store, entry("a", 2));
}

fn it_may_take_longer_than_a_call(server: Postgres) {
    server.sql("ALTER SYSTEM SET idle_in_transaction_session_timeout = 100");
    server.sql("SELECT pg_reload_conf()");
    let mut store = server
        .named_store("import_slow")
        .call_timeout(Duration::from_millis(400));
    store.open(FINGERPRINT, DIM).unwrap();
    store.begin_import(ImportMode::Empty).unwrap();
    store.write_import(vec![entry("a", 1)]).unwrap();
    server.sql("SELECT pg_sleep(1)");
    store.write_import(vec![entry("a", 2)]).unwrap();
    // An attempt that was given up leaves the import as patient as it was.
    assert!(
        !store
            .commit_import(&[], &[change("k", Some("v"), "w")])
            .unwrap()
    );
    server.sql("SELECT pg_sleep(1)");
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(ids(&mut store), [1, 2]);
}

fn the_error_names_the_right_that_is_missing(server: Arc<Postgres>) {
    server.sql("CREATE DATABASE without_temp");
    server.sql("REVOKE TEMPORARY ON DATABASE without_temp FROM PUBLIC");
    server.sql(&format!("CREATE ROLE importer LOGIN PASSWORD '{PASSWORD}'"));
    server.sql("GRANT CREATE ON DATABASE without_temp TO importer");
    let url = url("importer", server.port());
    let url = format!("{}/without_temp", url.trim_end_matches("/postgres"));
    let mut store = PostgresStore::from_url(&url).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    let error = backend(store.begin_import(ImportMode::Merge));
    assert!(
        !error.retryable && error.message.contains("TEMPORARY"),
        "{error:?}"
    );
    assert!(
        error.message.contains("42501") && error.message.contains("without_temp"),
        "{error:?}"
    );
    put(&mut store, entry("a", 1));
    server.sql("GRANT TEMPORARY ON DATABASE without_temp TO importer");
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    assert!(
        store
            .commit_import(&[("a".into(), 1)], &[change("k", None, "v")])
            .unwrap()
    );
    assert_eq!(ids(&mut store), [1, 2]);
}

fn a_server_that_fails_in_the_commit_stores_nothing(server: Arc<Postgres>) {
    let mut store = server.opened("import_middle");
    put(&mut store, entry("a", 1));
    server.sql(
        "CREATE FUNCTION import_middle.fail() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '53100'; END $$",
    );
    for trigger in [
        "TRIGGER fail AFTER INSERT ON import_middle.entries",
        "TRIGGER fail AFTER UPDATE ON import_middle.multi_process_state",
        "CONSTRAINT TRIGGER fail AFTER INSERT ON import_middle.entries INITIALLY DEFERRED",
    ] {
        server.sql(&format!(
            "CREATE {trigger} FOR EACH ROW EXECUTE FUNCTION import_middle.fail()"
        ));
        store.begin_import(ImportMode::Replace).unwrap();
        store
            .write_import(vec![entry("a", 1), entry("a", 2)])
            .unwrap();
        let error = backend(store.commit_import(&[("a".into(), 1)], &[change("k", None, "v")]));
        assert!(
            !error.retryable && error.message.contains("made up"),
            "{error:?}"
        );
        assert!(
            error.message.contains("nothing of it is stored"),
            "{error:?}"
        );
        let table = if trigger.contains("entries") {
            "entries"
        } else {
            "multi_process_state"
        };
        server.sql(&format!("DROP TRIGGER fail ON import_middle.{table}"));
        assert_eq!(ids(&mut store), [1]);
        assert_eq!(store.read_version_counter().unwrap(), 1);
        assert_eq!(store.list_meta().unwrap(), []);
        assert_eq!(store.list_namespace_quotas().unwrap(), []);
    }
    // Rows that a rule or trigger holds back are missed.
    server.sql(
        "CREATE FUNCTION import_middle.pass_over() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER pass_over BEFORE INSERT ON import_middle.entries
            FOR EACH ROW EXECUTE FUNCTION import_middle.pass_over()",
    );
    store.begin_import(ImportMode::Replace).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    assert!(
        backend(store.commit_import(&[], &[]))
            .message
            .contains("trigger")
    );
    assert_eq!(ids(&mut store), [1]);
}
