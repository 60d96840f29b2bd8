//! The Postgres store when the server, the network or another program is in the way.

use super::outcomes::{backend, lasting, passing};
use mneme::PostgresStore;
use mneme::store::{Entry, Store, StoreError, Touch};
use mneme_tests::proxy::{Fault, Proxy};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids, key, put};
use mneme_tests::servers::postgres::{PASSWORD, Postgres, url};
use mneme_tests::unless_it_hangs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

mneme_tests::tests![
    no_server,
    a_server_that_says_nothing_or_nonsense,
    who_may_not_come_in,
    a_restarted_server_is_found_again,
    a_cache_that_was_replaced_meanwhile_is_not_taken_for_the_old_one,
    a_session_that_the_server_ends_is_replaced,
    a_reply_that_comes_too_late_is_nobodys,
    a_cut_connection_leaves_all_or_nothing,
    what_would_count_twice_is_not_called_repeatable,
    a_server_that_only_reads,
    a_server_that_fails_in_the_middle_stores_nothing,
];

/// Ends the sessions of the stores in a schema, and waits until they are gone.
fn end_sessions(server: &Postgres, schema: &str) {
    let ended = server.sql(&format!(
        "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity
         WHERE application_name = '{schema}'"
    ));
    assert_ne!(ended, "0");
}

/// An open store that reaches the server through a proxy.
fn through(proxy: &Proxy, schema: &str, timeout: Duration) -> PostgresStore {
    let name = format!("?schema={schema}&application_name=through_{schema}");
    let store = PostgresStore::from_url(&(url("mneme", proxy.port()) + &name));
    let mut store = store.unwrap().call_timeout(timeout);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

const SHORT: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(30);

fn no_server() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut store = PostgresStore::from_url(&url("mneme", port)).unwrap();
    let message = passing(store.open(FINGERPRINT, DIM));
    assert!(
        message.contains(&format!("127.0.0.1:{port}")) && message.contains("refused"),
        "{message}"
    );
    assert!(matches!(store.count(None), Err(StoreError::Closed)));
    assert!(!format!("{store:?}").contains(PASSWORD) && !format!("{store:?}").contains("mneme:"));
    let mut store =
        PostgresStore::from_url("postgres://u:secret-of-the-tests@nowhere.invalid/d").unwrap();
    assert!(passing(store.open(FINGERPRINT, DIM)).contains("nowhere.invalid"));
}

fn a_server_that_says_nothing_or_nonsense() {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let store = |listener: &TcpListener| {
        let port = listener.local_addr().unwrap().port();
        PostgresStore::from_url(&url("mneme", port)).unwrap()
    };
    let silent = listen();
    let outcome = store(&silent).connect_timeout(SHORT).open(FINGERPRINT, DIM);
    let message = passing(outcome);
    assert!(message.contains("600 ms"), "{message}");
    for said in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"NE\0\0\0\x05!",
        b"N\0\0\0\0\0\0\0\0",
        b"NR\0\0\0\x08\0\0\0\x63",
        b"N",
        b"",
    ] {
        let listener = listen();
        let mut store = store(&listener).connect_timeout(LONG);
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.read_exact(&mut [0; 8]).unwrap();
            client.write_all(said).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            // Until the client has had enough.
            let _ = client.read_to_end(&mut Vec::new());
        });
        let message = backend(store.open(FINGERPRINT, DIM)).message;
        assert!(!message.contains("30000 ms"), "{said:?}: {message}");
        server.join().unwrap();
    }
}

fn who_may_not_come_in(server: Arc<Postgres>) {
    let open = |url: &str| PostgresStore::from_url(url).unwrap().open(FINGERPRINT, DIM);
    let wrong = server.url().replace(PASSWORD, "wrong-and-secret");
    let message = lasting(open(&wrong));
    assert!(
        message.contains("28P01") && !message.contains("wrong-and-secret"),
        "{message}"
    );
    let none = server.url().replace(&format!(":{PASSWORD}"), "");
    assert!(lasting(open(&none)).contains("password"));
    let nowhere = format!("{}/nowhere", server.url().trim_end_matches("/postgres"));
    let message = lasting(open(&nowhere));
    assert!(
        message.contains("3D000") && message.contains("create the database"),
        "{message}"
    );
    server.sql(&format!(
        "CREATE ROLE one_at_a_time LOGIN SUPERUSER PASSWORD '{PASSWORD}' CONNECTION LIMIT 1"
    ));
    server.sql(
        "ALTER ROLE one_at_a_time NOSUPERUSER; GRANT CREATE ON DATABASE postgres TO one_at_a_time",
    );
    let one = format!("{}?schema=crowd", url("one_at_a_time", server.port()));
    let mut first = PostgresStore::from_url(&one).unwrap();
    first.open(FINGERPRINT, DIM).unwrap();
    let message = passing(open(&one));
    assert!(message.contains("53300"), "{message}");
    first.close().unwrap();
    // The server takes a moment to see that the first one has gone.
    loop {
        match open(&one) {
            Ok(()) => break,
            refused => assert!(passing(refused).contains("53300")),
        }
    }
}

fn a_restarted_server_is_found_again(mut server: Postgres) {
    let mut store = server.opened("restarted");
    let mut idle = server.opened("restarted");
    put(&mut store, entry("a", 1));
    server.kill();
    for _ in 0..3 {
        passing(store.insert(vec![entry("a", 2)]));
        passing(store.count(None));
        passing(store.integrity_check());
    }
    server.restart().unwrap();
    // After a crash Postgres leaves out some ids.
    let id = put(&mut store, entry("a", 2));
    assert_eq!(ids(&mut store), [1, id]);
    assert_eq!(store.read_version_counter().unwrap(), 2);
    // One that slept through it all, and begins with each kind of write.
    let touch = Touch {
        id: 1,
        hits: 1,
        last_accessed_at: 9,
    };
    idle.update_access(&[touch]).unwrap();
    assert_eq!(get(&mut idle, "a", 1).unwrap().access_count, 1);
    server.restart().unwrap();
    assert!(idle.delete_by_id(1).unwrap());
    server.restart().unwrap();
    assert!(idle.replace_meta("k", None, Some("v")).unwrap());
}

fn a_cache_that_was_replaced_meanwhile_is_not_taken_for_the_old_one(server: Arc<Postgres>) {
    let mut store = server.opened("replaced");
    put(&mut store, entry("a", 1));
    server.sql(
        "UPDATE replaced.schema_meta SET value = 'another' WHERE key = 'embedder_fingerprint'",
    );
    end_sessions(&server, "replaced");
    assert!(matches!(
        store.count(None),
        Err(StoreError::EmbedderMismatch(_))
    ));
    server.sql(
        "UPDATE replaced.schema_meta SET value = 'test-rows-1' WHERE key = 'embedder_fingerprint'",
    );
    assert_eq!(store.count(None).unwrap(), 1);
    server.sql("SET client_min_messages = error; DROP SCHEMA replaced CASCADE");
    assert!(matches!(store.count(None), Err(StoreError::Schema(_))));
    assert!(matches!(
        store.insert(vec![entry("a", 1)]),
        Err(StoreError::Schema(_))
    ));
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(put(&mut store, entry("a", 1)), 1);
}

fn a_session_that_the_server_ends_is_replaced(server: Arc<Postgres>) {
    let mut store = server.opened("ended");
    for n in 1..=5 {
        assert_eq!(put(&mut store, entry("a", n)), n);
        end_sessions(&server, "ended");
    }
    assert_eq!(store.read_version_counter().unwrap(), 5);
}

/// The result of a call, when the server answers again.
fn when_it_answers<T>(mut call: impl FnMut() -> Result<T, StoreError>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match call() {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        thread::yield_now();
    }
}

fn a_reply_that_comes_too_late_is_nobodys(server: Arc<Postgres>) {
    let proxy = Proxy::start(server.port()).unwrap();
    let mut store = through(&proxy, "late", SHORT);
    store.insert(vec![entry("a", 1), entry("b", 2)]).unwrap();
    get(&mut store, "a", 1).unwrap();
    proxy.set(Fault::Stall);
    let message = passing(store.get_by_ids(&[1], true));
    assert!(message.contains("600 ms"), "{message}");
    proxy.set(Fault::None);
    // Until a probe has seen that it answers again, calls fail at once.
    let found = when_it_answers(|| store.get_by_ids(&[2], true));
    assert_eq!(found[0].namespace, "b");
    assert_eq!(store.count(Some("a")).unwrap(), 1);

    // A writer that hears nothing any more does not keep the lock.
    proxy.set(Fault::Stall);
    passing(store.insert(vec![entry("a", 3)]));
    let mut other = server.opened("late");
    put(&mut other, entry("a", 4));
    let start = Instant::now();
    for _ in 0..100 {
        let message = passing(store.count(None));
        assert!(message.contains("calls fail at once"), "{message}");
    }
    // Each would have waited for 600 ms.
    assert!(start.elapsed() < Duration::from_secs(10));
    proxy.set(Fault::None);
    assert_eq!(when_it_answers(|| store.count(None)), 3);
    assert_eq!(store.read_version_counter().unwrap(), 2);
}

/// Cuts the connection after every so many bytes of a request or reply, through a write and a read.
fn a_cut_connection_leaves_all_or_nothing(server: Arc<Postgres>) {
    unless_it_hangs(move || cut_connections(&server));
}

fn cut_connections(server: &Postgres) {
    let proxy = Proxy::start(server.port()).unwrap();
    let mut store = through(&proxy, "cut", LONG);
    let mut past = server.opened("cut");
    put(&mut store, entry("a", 0));
    let (mut failed, mut done) = (0, 0);
    for step in 0..120 {
        let bytes = step / 2 * 11;
        proxy.set(match step % 2 {
            0 => Fault::CutRequest(bytes),
            _ => Fault::CutReply(bytes),
        });
        let n = step as u64 + 1;
        let before = past.read_version_counter().unwrap();
        let outcome = store.insert(vec![entry("a", n), entry("b", n)]);
        proxy.set(Fault::None);
        if outcome.is_err() {
            // The server may still be at it.
            let sessions = "SELECT count(*) FROM pg_stat_activity
                WHERE application_name = 'through_cut'";
            while server.sql(sessions) != "0" {}
        }
        let there = past.get_by_hash(&[key("a", n), key("b", n)], true).unwrap();
        let there: Vec<bool> = there.iter().map(Option::is_some).collect();
        assert_eq!(there[0], there[1], "half a batch, {outcome:?}");
        let moved = past.read_version_counter().unwrap() - before;
        assert_eq!(moved, u64::from(there[0]), "{outcome:?}");
        match outcome {
            Ok(_) => {
                done += 1;
                assert!(there[0], "an insert that has returned is there");
            }
            Err(_) => {
                failed += 1;
                let message = passing(outcome);
                assert!(
                    message.contains("calling again is safe") || !there[0],
                    "{message}"
                );
            }
        }
        // A read is repeated.
        assert!(store.count(None).unwrap() > 0);
        proxy.set(Fault::CutReply(bytes));
        assert!(store.get_by_ids(&[1], true).unwrap().len() == 1);
        proxy.set(Fault::None);
    }
    assert!(failed > 0 && done > 0, "{failed} failed, {done} done");
}

fn what_would_count_twice_is_not_called_repeatable(server: Arc<Postgres>) {
    let proxy = Proxy::start(server.port()).unwrap();
    let mut store = through(&proxy, "twice", LONG);
    put(&mut store, entry("a", 1));
    let touch = Touch {
        id: 1,
        hits: 1,
        last_accessed_at: 9_999,
    };
    // Each is called before, so that the reply which is cut is not that to its preparation.
    store.update_access(&[touch]).unwrap();
    proxy.set(Fault::CutReply(0));
    assert!(lasting(store.update_access(&[touch])).contains("twice"));
    assert_eq!(get(&mut store, "a", 1).unwrap().access_count, 2);

    assert!(store.replace_meta("k", None, Some("0")).unwrap());
    assert!(store.replace_meta("k", Some("0"), Some("1")).unwrap());
    proxy.set(Fault::CutReply(0));
    assert!(lasting(store.replace_meta("k", Some("1"), Some("2"))).contains("twice"));
    assert_eq!(store.read_meta("k").unwrap().as_deref(), Some("2"));

    store.set_namespace_quota("a", Some(2)).unwrap();
    proxy.set(Fault::CutReply(0));
    assert!(passing(store.set_namespace_quota("a", Some(1))).contains("safe"));
    assert_eq!(store.get_namespace_quota("a").unwrap(), Some(1));
}

fn a_server_that_only_reads(server: Arc<Postgres>) {
    server.sql("CREATE DATABASE standby");
    let url = format!("{}/standby", server.url().trim_end_matches("/postgres"));
    let mut store = PostgresStore::from_url(&url).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    put(&mut store, entry("a", 1));
    server.sql("ALTER DATABASE standby SET default_transaction_read_only = on");
    store.open(FINGERPRINT, DIM).unwrap();
    assert!(get(&mut store, "a", 1).is_some());
    let touch = Touch {
        id: 1,
        hits: 1,
        last_accessed_at: 9,
    };
    for outcome in [
        store.insert(vec![entry("a", 2)]).map(drop),
        store.update_access(&[touch]),
        store.delete_by_id(1).map(drop),
        store.set_namespace_quota("a", None),
    ] {
        let message = lasting(outcome);
        assert!(
            message.contains("25006") && message.contains("primary"),
            "{message}"
        );
    }
    let mut empty = PostgresStore::from_url(&url).unwrap().schema("none");
    assert!(lasting(empty.open(FINGERPRINT, DIM)).contains("25006"));
    // After a switch it becomes the primary, which the next call finds out by itself.
    server.sql("ALTER DATABASE standby RESET default_transaction_read_only");
    assert_eq!(put(&mut store, entry("a", 2)), 2);
}

/// Failures in the middle of a transaction, made by a trigger.
fn a_server_that_fails_in_the_middle_stores_nothing(server: Arc<Postgres>) {
    let mut store = server.opened("middle");
    put(&mut store, entry("a", 1));
    for (code, retryable) in [
        ("53100", false),
        ("53200", true),
        ("58030", false),
        ("XX000", false),
        ("57014", true),
        ("P0001", false),
    ] {
        server.sql(&format!(
            "CREATE OR REPLACE FUNCTION middle.fail() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '{code}'; END $$;
             CREATE OR REPLACE TRIGGER fail BEFORE INSERT OR DELETE ON middle.entries
                FOR EACH STATEMENT EXECUTE FUNCTION middle.fail()"
        ));
        let replaced = Entry {
            response: "new".into(),
            ..entry("a", 1)
        };
        for error in [
            backend(store.insert(vec![replaced, entry("a", 2)])),
            backend(store.delete_by_id(1)),
            backend(store.clear_namespace(None)),
        ] {
            assert_eq!(error.retryable, retryable, "{error:?}");
            assert!(
                error.message.contains("made up") && error.message.contains(code),
                "{error:?}"
            );
        }
    }
    server.sql("DROP TRIGGER fail ON middle.entries");
    assert_eq!(ids(&mut store), [1]);
    assert_eq!(get(&mut store, "a", 1).unwrap().response, "response 1");
    assert_eq!(store.read_version_counter().unwrap(), 1);
    put(&mut store, entry("a", 2));
    assert_eq!(store.read_version_counter().unwrap(), 2);
}
