//! The Redis store when the server, or what is between, fails.

use super::outcomes::{fails, failure};
use mneme::RedisStore;
use mneme::store::{Entry, ImportMode, Result, Store, StoreError, Touch};
use mneme_tests::proxy::{Fault, Proxy};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};
use mneme_tests::servers::redis::Redis;
use mneme_tests::suite::Ran;
use mneme_tests::unless_it_hangs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

mneme_tests::tests![
    a_server_that_is_away_is_waited_for_by_calling_again,
    reads_are_repeated_and_writes_are_not,
    a_request_that_is_cut_is_not_done,
    an_answer_that_comes_too_late_is_nobodys,
    after_one_that_waited_in_vain_all_fail_at_once_until_the_server_answers,
    bookkeeping_gives_up_early_and_refuses_nobody_else,
    a_right_that_is_missing_is_named,
    what_is_no_redis_server_is_told,
    passwords_and_rights_are_the_callers_to_mend,
    a_full_memory_stores_nothing_and_still_deletes,
    a_replica_reads_and_does_not_write,
    a_server_that_cannot_save_stores_nothing,
    a_busy_server_is_asked_again_later,
    a_server_with_too_many_clients_is_asked_again_later,
    in_a_cluster_a_prefix_with_a_tag_works,
    tls_is_verified,
];

const HIT: Touch = Touch {
    id: 1,
    hits: 1,
    last_accessed_at: 3000,
};

fn store(port: u16, more: &str) -> RedisStore {
    RedisStore::from_url(&format!("redis://127.0.0.1:{port}?prefix=p{more}")).unwrap()
}

fn open(store: &mut RedisStore) -> Result<()> {
    store.open(FINGERPRINT, DIM)
}

/// A store behind a proxy that has seen every script the tests use.
fn behind(server: &Redis, more: &str) -> (Proxy, RedisStore) {
    let proxy = Proxy::start(server.port()).unwrap();
    let mut store = store(proxy.port(), more);
    open(&mut store).unwrap();
    put(&mut store, entry("a", 1));
    assert!(get(&mut store, "a", 1).is_some());
    store.update_access(&[HIT]).unwrap();
    store.replace_meta("k", None, Some("1")).unwrap();
    store.delete_by_id(99).unwrap();
    (proxy, store)
}

fn a_server_that_is_away_is_waited_for_by_calling_again(mut server: Redis) {
    unless_it_hangs(move || {
        let mut store = server.store("p");
        server.kill();
        fails(open(&mut store), "no connection", true);
        assert!(matches!(store.count(None), Err(StoreError::Closed)));
        server.restart().unwrap();
        open(&mut store).unwrap();
        put(&mut store, entry("a", 1));
        for _ in 0..2 {
            server.kill();
            // The first call finds the connection lost, the second finds no server.
            failure(store.insert(vec![entry("a", 2)]));
            fails(store.insert(vec![entry("a", 2)]), "no connection", true);
            fails(store.get_by_ids(&[1], true), "no connection", true);
            server.restart().unwrap();
            assert!(get(&mut store, "a", 1).is_some());
        }
        // A read notices by itself that the server was restarted.
        server.restart().unwrap();
        assert_eq!(store.count(None).unwrap(), 1);
        server.restart().unwrap();
        let outcome = store.insert(vec![entry("a", 2)]);
        if outcome.is_err() {
            assert!(failure(outcome).retryable);
            put(&mut store, entry("a", 2));
        }
        assert_eq!(store.count(None).unwrap(), 2);
    });
}

fn reads_are_repeated_and_writes_are_not(server: Redis) {
    unless_it_hangs(move || {
        let (proxy, mut store) = behind(&server, "");
        for bytes in [0, 1, 5, 100] {
            proxy.set(Fault::CutReply(bytes));
            assert!(get(&mut store, "a", 1).is_some());
            assert!(!proxy.is_armed());
        }
        proxy.cut();
        assert_eq!(store.count(None).unwrap(), 1);

        proxy.set(Fault::CutReply(1));
        fails(store.insert(vec![entry("a", 2)]), "call again", true);
        assert_eq!(store.read_version_counter().unwrap(), 2, "it was done once");
        let stored = store.insert(vec![entry("a", 2)]).unwrap();
        assert_eq!((stored[0].id, stored[0].replaced), (2, true));

        proxy.set(Fault::CutReply(1));
        fails(store.delete_by_id(2), "call again", true);
        assert!(!store.delete_by_id(2).unwrap());

        // These would do it twice, or say that somebody else has done it.
        proxy.set(Fault::CutReply(1));
        fails(store.update_access(&[HIT]), "unknown whether", false);
        assert_eq!(get(&mut store, "a", 1).unwrap().access_count, 2);
        proxy.set(Fault::CutReply(1));
        fails(
            store.replace_meta("k", Some("1"), Some("2")),
            "unknown whether",
            false,
        );
        assert_eq!(store.read_meta("k").unwrap().as_deref(), Some("2"));
        assert_eq!(proxy.connections(), 10);
    });
}

fn a_request_that_is_cut_is_not_done(server: Redis) {
    unless_it_hangs(move || {
        let (proxy, mut store) = behind(&server, "");
        let large = Entry {
            response: "r".repeat(3_000_000),
            ..entry("a", 2)
        };
        let mut rows = 1;
        for bytes in [10, 1_000_000] {
            proxy.set(Fault::CutRequest(bytes));
            let outcome = store.insert(vec![large.clone()]);
            match outcome.is_err() {
                true => assert!(failure(outcome).retryable),
                // It was noticed before anything was sent, and sent once more.
                false => rows = 2,
            }
            assert_eq!(store.count(None).unwrap(), rows);
        }
        let stored = store.insert(vec![large.clone()]).unwrap();
        assert_eq!(
            get(&mut store, "a", 2),
            Some(Entry {
                id: stored[0].id,
                ..large
            })
        );
        // A large answer too.
        for bytes in [10, 1_000_000] {
            proxy.set(Fault::CutReply(bytes));
            assert_eq!(store.iter_since(0, 9).unwrap().len(), 2);
        }
    });
}

fn an_answer_that_comes_too_late_is_nobodys(server: Redis) {
    unless_it_hangs(move || {
        let (proxy, mut store) = behind(&server, "&call_timeout_ms=300&connect_timeout_ms=300");
        proxy.set(Fault::Stall);
        fails(store.count(None), "did not answer within 300 ms", true);
        fails(store.read_meta("k"), "calls fail at once", true);
        proxy.set(Fault::None);
        let meta = when_it_answers(|| store.read_meta("k"));
        assert_eq!(meta.as_deref(), Some("1"));
        proxy.set(Fault::Stall);
        fails(store.update_access(&[HIT]), "unknown whether", false);
        proxy.set(Fault::None);
        assert_eq!(store.read_version_counter().unwrap(), 1);
        assert!(get(&mut store, "a", 1).is_some());

        let url = format!("redis://127.0.0.1:{}", proxy.port());
        let mut store = RedisStore::from_url(&url)
            .unwrap()
            .connect_timeout(Duration::from_millis(200))
            .call_timeout(Duration::from_millis(200));
        proxy.set(Fault::Stall);
        fails(open(&mut store), "within the connect timeout", true);
        proxy.set(Fault::None);
    });
}

/// The result of a call, when the server answers again.
fn when_it_answers<T>(mut call: impl FnMut() -> Result<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match call() {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        std::thread::yield_now();
    }
}

fn after_one_that_waited_in_vain_all_fail_at_once_until_the_server_answers(server: Redis) {
    unless_it_hangs(move || {
        let (proxy, mut store) = behind(&server, "&call_timeout_ms=1500&connect_timeout_ms=1500");
        proxy.set(Fault::Stall);
        fails(store.count(None), "did not answer within 1500 ms", true);
        let start = Instant::now();
        for _ in 0..100 {
            fails(store.count(None), "calls fail at once", true);
            fails(store.insert(vec![entry("a", 2)]), "this insert", true);
        }
        // Each would have waited for a second and a half.
        assert!(start.elapsed() < Duration::from_secs(10));
        proxy.set(Fault::None);
        assert_eq!(when_it_answers(|| store.count(None)), 1);
        put(&mut store, entry("a", 2));
        // A closed store says so, and an open one starts afresh.
        proxy.set(Fault::Stall);
        fails(store.count(None), "did not answer", true);
        store.close().unwrap();
        assert!(matches!(store.count(None), Err(StoreError::Closed)));
        proxy.set(Fault::None);
        open(&mut store).unwrap();
        assert_eq!(store.count(None).unwrap(), 2);
    });
}

fn bookkeeping_gives_up_early_and_refuses_nobody_else(server: Redis) {
    unless_it_hangs(move || {
        let (proxy, mut store) = behind(&server, "&call_timeout_ms=60000");
        proxy.set(Fault::Stall);
        fails(store.update_access(&[HIT]), "within 1000 ms", false);
        fails(
            store.replace_meta("k", None, None),
            "within the connect",
            true,
        );
        proxy.set(Fault::None);
        assert_eq!(store.count(None).unwrap(), 1);
    });
}

fn a_right_that_is_missing_is_named(server: Redis) {
    let mut store = server.store("p");
    open(&mut store).unwrap();
    put(&mut store, entry("a", 1));
    let mut client = server.client();
    let mut rules = |rules: &[&str]| {
        let all = [&["ACL", "SETUSER", "some", "on", ">secret", "~p:*"], rules].concat();
        client.run::<()>(&all);
    };
    rules(&["+@read", "+@write", "+@scripting", "+@connection", "+time"]);
    let url = server.url().replace("//", "//some:secret@");
    let mut store = RedisStore::from_url(&url).unwrap().prefix("p");
    open(&mut store).unwrap();
    put(&mut store, entry("a", 2));
    assert!(store.integrity_check().unwrap());
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("a", 3)]).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    store.list_namespace_quotas().unwrap();
    rules(&["-time"]);
    for named in ["may not run the command TIME", "ACL SETUSER and +time"] {
        fails(store.insert(vec![entry("a", 4)]), named, false);
        fails(store.count(None), named, false);
        // It could not look, which is no damage.
        fails(store.integrity_check(), named, false);
    }
    rules(&["+time", "-hmget"]);
    fails(store.get_by_ids(&[1], true), "the command HMGET", false);
    rules(&["+hmget", "-evalsha"]);
    fails(store.get_by_ids(&[1], true), "the command EVALSHA", false);
    rules(&["+evalsha"]);
    assert_eq!(store.count(None).unwrap(), 3);
}

fn what_is_no_redis_server_is_told() {
    unless_it_hangs(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = [
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "*1\r\n$-5\r\nx",
            "+PONG\r\n",
        ];
        let server = std::thread::spawn(move || {
            for answer in answers {
                let (mut client, _) = listener.accept().unwrap();
                let mut request = [0; 65_536];
                while client.read(&mut request).is_ok_and(|length| length > 0) {
                    // The other side may have gone.
                    let _ = client.write_all(answer.as_bytes());
                }
            }
        });
        for _ in answers {
            let mut store = store(port, "&call_timeout_ms=2000&connect_timeout_ms=2000");
            let error = failure(open(&mut store));
            assert!(!error.retryable, "{}", error.message);
            assert!(
                error.message.contains("check that the address"),
                "{}",
                error.message
            );
        }
        server.join().unwrap();
    });
}

fn passwords_and_rights_are_the_callers_to_mend() -> Ran {
    let server = Redis::with(&["--requirepass", "secret"])?;
    let url = |user: &str| format!("redis://{user}127.0.0.1:{}?prefix=p", server.port());
    let open = |user: &str| {
        let mut store = RedisStore::from_url(&url(user)).unwrap();
        assert!(!format!("{store:?}").contains("secret"));
        store.open(FINGERPRINT, DIM).map(|()| store)
    };
    fails(open("").map(drop), "asks for a password", false);
    for wrong in [":wrong@", ":secret1@", "nobody:secret@"] {
        fails(open(wrong).map(drop), "right user and password", false);
    }
    open("default:secret@").unwrap();
    let mut store = open(":secret@").unwrap();
    put(&mut store, entry("a", 1));

    let admin = redis::Client::open(url(":secret@")).unwrap();
    let mut admin = admin.get_connection().unwrap();
    let mut set = |rules: &[&str]| {
        let mut command = redis::cmd("ACL");
        command
            .arg("SETUSER")
            .arg("some")
            .arg("on")
            .arg(">secret")
            .arg(rules);
        command.query::<()>(&mut admin).unwrap();
    };
    set(&["~other:*", "+@all"]);
    fails(open("some:secret@").map(drop), "~PREFIX:*", false);
    set(&["~p:*", "+@all", "-incr"]);
    let mut store = open("some:secret@").unwrap();
    assert!(get(&mut store, "a", 1).is_some());
    set(&["-@all"]);
    fails(store.count(None), "may not run the command EVALSHA", false);
    set(&["+@all"]);
    assert_eq!(store.count(None).unwrap(), 1);
    Ok(())
}

fn a_full_memory_stores_nothing_and_still_deletes(server: Redis) {
    let mut client = server.client();
    let mut store = server.store("p");
    open(&mut store).unwrap();
    store
        .insert((1..=50).map(|n| entry("a", n)).collect())
        .unwrap();
    store.write_blob("a", vec![1]).unwrap();
    client.run::<()>(&["CONFIG", "SET", "maxmemory", "100kb"]);
    let before = client.dump();
    fails(
        store.insert(vec![entry("a", 99), entry("a", 1)]),
        "maxmemory",
        false,
    );
    fails(
        store.insert(vec![entry("a", 1)]),
        "nothing was stored",
        false,
    );
    fails(store.update_access(&[HIT]), "maxmemory", false);
    fails(store.replace_meta("k", None, Some("v")), "maxmemory", false);
    fails(store.write_blob("a", vec![2]), "maxmemory", false);
    fails(store.write_blob("b", vec![2]), "maxmemory", false);
    assert_eq!(client.dump(), before);
    assert_eq!(store.read_blob("a").unwrap(), Some(vec![1]));
    assert_eq!(store.count(None).unwrap(), 50);
    assert!(get(&mut store, "a", 1).is_some());
    assert!(store.delete_by_id(1).unwrap());
    assert_eq!(store.clear_namespace(None).unwrap(), 49);
    assert_eq!(store.read_version_counter().unwrap(), 3);
    client.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(put(&mut store, entry("a", 99)), 51);
}

fn a_replica_reads_and_does_not_write(server: Redis) {
    let mut client = server.client();
    let mut store = server.store("p");
    open(&mut store).unwrap();
    put(&mut store, entry("a", 1));
    // Of a primary that is not there.
    client.run::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let mut second = server.store("p");
    open(&mut second).unwrap();
    for store in [&mut store, &mut second] {
        assert!(get(store, "a", 1).is_some());
        assert_eq!(store.count(None).unwrap(), 1);
        fails(store.insert(vec![entry("a", 2)]), "replica", true);
        fails(store.delete_by_id(1), "replica", true);
        fails(store.set_namespace_quota("a", Some(1)), "replica", true);
    }
    client.run::<()>(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    fails(store.count(None), "lost its primary", true);
    client.run::<()>(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(put(&mut store, entry("a", 2)), 2);
}

fn a_server_that_cannot_save_stores_nothing() -> Ran {
    let gone = tempfile::tempdir().unwrap();
    let options = [
        "--enable-protected-configs",
        "yes",
        "--appendonly",
        "no",
        "--save",
        "3600 1",
    ];
    let server = Redis::with(&options)?;
    let mut client = server.client();
    let mut store = server.store("p");
    open(&mut store).unwrap();
    client.run::<()>(&["CONFIG", "SET", "dir", &gone.path().to_string_lossy()]);
    drop(gone);
    client.run::<String>(&["BGSAVE"]);
    while !client
        .run::<String>(&["INFO", "persistence"])
        .contains("rdb_last_bgsave_status:err")
    {
        std::thread::yield_now();
    }
    fails(
        store.insert(vec![entry("a", 1)]),
        "cannot save its data",
        false,
    );
    assert_eq!(store.count(None).unwrap(), 0);
    Ok(())
}

fn a_busy_server_is_asked_again_later() -> Ran {
    let server = Redis::with(&["--lua-time-limit", "5"])?;
    unless_it_hangs(move || {
        let mut store = server.store("p");
        open(&mut store).unwrap();
        store.insert(vec![entry("a", 1), entry("a", 2)]).unwrap();
        let mut client = server.client();
        let endless = std::thread::spawn(move || {
            let _ = client.attempt::<()>(&["EVAL", "while true do end", "0"]);
        });
        // It may not have begun.
        let outcome = loop {
            match store.insert(vec![entry("a", 2)]) {
                Ok(_) => {}
                Err(error) => break Err::<(), _>(error),
            }
        };
        fails(outcome, "keeps the server busy", true);
        fails(store.count(None), "call again", true);
        let mut killer = server.client();
        killer.run::<()>(&["SCRIPT", "KILL"]);
        endless.join().unwrap();
        assert_eq!(store.count(Some("a")).unwrap(), 2);
    });
    Ok(())
}

fn a_server_with_too_many_clients_is_asked_again_later() -> Ran {
    let server = Redis::with(&["--maxclients", "1"])?;
    let client = loop {
        // The fixture's own connection takes a moment to go.
        let mut client = server.client();
        if client.attempt::<String>(&["PING"]).is_ok() {
            break client;
        }
    };
    let mut store = server.store("p");
    fails(open(&mut store), "call again", true);
    drop(client);
    while open(&mut store).is_err() {}
    put(&mut store, entry("a", 1));
    Ok(())
}

fn in_a_cluster_a_prefix_with_a_tag_works() -> Ran {
    let options = [
        "--cluster-enabled",
        "yes",
        "--cluster-require-full-coverage",
        "no",
    ];
    let server = Redis::with(&options)?;
    let mut client = server.client();
    let mut store = server.store("{p}");
    fails(open(&mut store), "cluster lacks nodes", true);
    // Not all slots, as if other nodes had the rest.
    for key in ["{p}", "p:by_id"] {
        let slot: u16 = client.run(&["CLUSTER", "KEYSLOT", key]);
        client.run::<()>(&["CLUSTER", "ADDSLOTS", &slot.to_string()]);
    }
    while !client
        .run::<String>(&["CLUSTER", "INFO"])
        .contains("cluster_state:ok")
    {
        std::thread::yield_now();
    }
    open(&mut store).unwrap();
    store
        .insert(vec![entry("a{x}", 1), entry("{y}", 2)])
        .unwrap();
    assert!(get(&mut store, "a{x}", 1).is_some());
    assert_eq!(store.iter_lru_ids(9, None).unwrap().len(), 2);
    store.set_namespace_quota("a", Some(3)).unwrap();
    assert_eq!(
        store.list_namespace_quotas().unwrap(),
        [("a".to_owned(), 3)]
    );
    store.write_blob("a", vec![1]).unwrap();
    assert_eq!(store.list_blobs().unwrap(), ["a"]);
    assert!(store.integrity_check().unwrap());
    assert_eq!(store.clear_namespace(None).unwrap(), 2);
    assert_eq!(store.read_blob("a").unwrap(), Some(vec![1]));
    fails(open(&mut server.store("p")), "hash tag", false);
    fails(open(&mut server.store("q")), "cluster lacks nodes", true);
    Ok(())
}

fn tls_is_verified() -> Ran {
    let server = Redis::with_tls()?;
    let store = |host: &str, port: u16, more: &str| {
        let url = format!("rediss://:secret@{host}:{port}?prefix=p&{more}");
        RedisStore::from_url(&url).unwrap()
    };
    let ca = format!("cafile={}", server.authority().display());
    server
        .client()
        .run::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    let (plain, tls) = (server.port(), server.tls_port());
    let mut good = store("127.0.0.1", tls, &ca);
    open(&mut good).unwrap();
    let large = Entry {
        response: "r".repeat(3_000_000),
        ..entry("a", 1)
    };
    let id = put(&mut good, large.clone());
    assert_eq!(get(&mut good, "a", 1), Some(Entry { id, ..large }));
    // An authority that the system does not know.
    fails(open(&mut store("127.0.0.1", tls, "")), "TLS", false);
    // A server that speaks no TLS waits for the end of the line, or says so.
    let brief = format!("{ca}&connect_timeout_ms=500");
    let error = failure(open(&mut store("127.0.0.1", plain, &brief)));
    assert!(error.message.contains("TLS"), "{}", error.message);
    // A client that speaks no TLS.
    let url = format!("redis://:secret@127.0.0.1:{tls}?prefix=p");
    failure(open(&mut RedisStore::from_url(&url).unwrap()));
    fails(
        open(&mut store("127.0.0.1", tls, "cafile=/none")),
        "cafile /none cannot be read",
        false,
    );
    let key = format!(
        "cafile={}",
        server.authority().with_extension("key").display()
    );
    fails(open(&mut store("127.0.0.1", tls, &key)), "", false);
    // A certificate for another name.
    match open(&mut store("localhost", tls, &ca)) {
        Err(StoreError::Backend(error)) => {
            assert!(
                !error.retryable && error.message.contains("certificate"),
                "{}",
                error.message
            );
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}
