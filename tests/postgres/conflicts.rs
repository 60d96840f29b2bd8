//! The Postgres store and other transactions: conflicts, locks, and what takes too long.

use super::outcomes::passing;
use mneme::store::{Entry, Store, Touch};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, ids, put};
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::unless_it_hangs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

mneme_tests::tests![
    conflicts_are_repeated_while_there_is_time,
    of_two_that_wait_for_each_other_ours_gives_way,
    a_row_that_another_program_inserts_meanwhile_is_replaced,
    a_lock_that_is_never_given_back_ends_the_call_in_time,
    a_statement_that_takes_too_long_is_ended,
];

/// Waits until a store in a schema waits for a lock.
fn wait_for_lock(server: &Postgres, schema: &str) {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = '{schema}' AND wait_event_type = 'Lock'"
    );
    while server.sql(&waiting) == "0" {}
}

fn conflicts_are_repeated_while_there_is_time(server: Arc<Postgres>) {
    let mut store = server.opened("conflicts");
    // What a sequence gave out stays so when its transaction is rolled back.
    server.sql(
        "CREATE SEQUENCE conflicts.tries;
         CREATE FUNCTION conflicts.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('conflicts.tries') % 4 <> 0 THEN
                RAISE EXCEPTION 'made up' USING ERRCODE = '40001';
            END IF;
            RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON conflicts.entries
            INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION conflicts.fail()",
    );
    put(&mut store, entry("a", 1));
    assert_eq!(server.sql("SELECT last_value FROM conflicts.tries"), "4");
    let touch = Touch {
        id: ids(&mut store)[0],
        hits: 1,
        last_accessed_at: 9_999,
    };
    store.update_access(&[touch]).unwrap();
    assert_eq!(get(&mut store, "a", 1).unwrap().access_count, 1);
    assert_eq!(store.read_version_counter().unwrap(), 1);
    server.sql("ALTER SEQUENCE conflicts.tries INCREMENT BY 4 RESTART WITH 1");
    let message = passing(store.insert(vec![entry("a", 2)]));
    assert!(message.contains("40001"), "{message}");
    assert_eq!(store.count(None).unwrap(), 1);
}

fn of_two_that_wait_for_each_other_ours_gives_way(server: Arc<Postgres>) {
    unless_it_hangs(move || wait_for_each_other(&server));
}

fn wait_for_each_other(server: &Postgres) {
    let mut store = server.opened("deadlock");
    let id = put(&mut store, entry("a", 1));
    let mut other = server.other();
    // As the Python library does it: first the row, then the counter.
    other.run(&format!(
        "BEGIN; UPDATE deadlock.entries SET response = 'theirs' WHERE id = {id}"
    ));
    let ours = thread::spawn(move || {
        let inserted = store.insert(vec![Entry {
            response: "ours".into(),
            ..entry("a", 1)
        }]);
        (inserted, store)
    });
    // Until ours has the lock on the counter, and waits for the row.
    wait_for_lock(server, "deadlock");
    other.run("UPDATE deadlock.multi_process_state SET value = (value::bigint + 1)::text");
    other.run("COMMIT");
    let (inserted, mut store) = ours.join().unwrap();
    assert_eq!(inserted.unwrap()[0].id, id);
    assert_eq!(get(&mut store, "a", 1).unwrap().response, "ours");
    assert_eq!(store.read_version_counter().unwrap(), 3);
}

fn a_row_that_another_program_inserts_meanwhile_is_replaced(server: Arc<Postgres>) {
    unless_it_hangs(move || insert_meanwhile(&server));
}

fn insert_meanwhile(server: &Postgres) {
    let mut store = server.opened("meanwhile");
    let mut other = server.other();
    other.run(&format!(
        "BEGIN; INSERT INTO meanwhile.entries (namespace, query_hash, query, response, embedding, metadata, created_at, last_accessed_at)
         VALUES ('a', '{}', 'q', 'theirs', '\\x', '{{}}', 1, 1)",
        hash(1)
    ));
    let ours = thread::spawn(move || (store.insert(vec![entry("a", 1)]), store));
    wait_for_lock(server, "meanwhile");
    other.run("UPDATE meanwhile.multi_process_state SET value = (value::bigint + 1)::text; COMMIT");
    let (inserted, mut store) = ours.join().unwrap();
    let inserted = &inserted.unwrap()[0];
    assert_eq!((inserted.id, inserted.replaced), (1, true));
    assert_eq!(get(&mut store, "a", 1).unwrap().response, "response 1");
    assert_eq!(store.read_version_counter().unwrap(), 2);
}

fn a_lock_that_is_never_given_back_ends_the_call_in_time(server: Arc<Postgres>) {
    let mut store = server
        .named_store("held")
        .call_timeout(Duration::from_millis(1500));
    store.open(FINGERPRINT, DIM).unwrap();
    put(&mut store, entry("a", 1));
    let mut other = server.other();
    other.run("BEGIN; SELECT * FROM held.multi_process_state FOR UPDATE");
    passing(store.insert(vec![entry("a", 2)]));
    passing(store.delete_by_id(1));
    // Who changes no entries waits for nobody.
    assert!(store.replace_meta("k", None, Some("v")).unwrap());
    store.set_namespace_quota("a", Some(1)).unwrap();
    store
        .update_access(&[Touch {
            id: 1,
            hits: 1,
            last_accessed_at: 9,
        }])
        .unwrap();
    assert_eq!(ids(&mut store), [1]);
    drop(other);
    assert!(store.delete_by_id(1).unwrap());
    assert_eq!(store.read_version_counter().unwrap(), 2);
}

fn a_statement_that_takes_too_long_is_ended(server: Arc<Postgres>) {
    let mut store = server
        .named_store("slow")
        .call_timeout(Duration::from_millis(600));
    store.open(FINGERPRINT, DIM).unwrap();
    server.sql(
        "CREATE FUNCTION slow.wait() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
         CREATE TRIGGER wait BEFORE INSERT ON slow.entries
            FOR EACH STATEMENT EXECUTE FUNCTION slow.wait()",
    );
    passing(store.insert(vec![entry("a", 1)]));
    server.sql("DROP TRIGGER wait ON slow.entries");
    put(&mut store, entry("a", 2));
    assert_eq!(store.count(None).unwrap(), 1);
    assert_eq!(store.read_version_counter().unwrap(), 1);
}
