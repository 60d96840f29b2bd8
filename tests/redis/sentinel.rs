//! The Redis store behind sentinels: the master is found, and found again after a fail-over.

use super::outcomes::fails;
use mneme::RedisStore;
use mneme::store::{BackendError, Result, Store, StoreError};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};
use mneme_tests::servers::redis::sentinel::{MASTER, Sentinel};
use mneme_tests::servers::redis::{Client, Redis};
use mneme_tests::suite::Ran;
use mneme_tests::unless_it_hangs;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::time::{Duration, Instant};

mneme_tests::tests![
    a_killed_master_is_replaced,
    what_was_lost_is_given_to_nobody_else,
    only_a_master_is_read,
    what_leads_to_no_master_is_told,
];

fn store(sentinels: &[u16], more: &str) -> RedisStore {
    let hosts: Vec<_> = sentinels
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let hosts = hosts.join(",");
    RedisStore::from_url(&format!(
        "redis+sentinel://{hosts}?master={MASTER}&prefix=p{more}"
    ))
    .unwrap()
}

fn open(store: &mut RedisStore) -> Result<()> {
    store.open(FINGERPRINT, DIM)
}

/// A server and one that copies it.
fn pair() -> std::result::Result<(Redis, Redis), String> {
    let master = Redis::start()?;
    let port = master.port().to_string();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port])?;
    until(
        || replica.client(),
        &["INFO", "replication"],
        "master_link_status:up",
    );
    Ok((master, replica))
}

/// Waits until a command answers a text with this part. A sentinel cuts connections.
fn until(server: impl Fn() -> Client, command: &[&str], part: &str) {
    let mut client = server();
    loop {
        match client.attempt::<String>(command) {
            Ok(text) if text.contains(part) => return,
            // A server that is asked without a pause seems to be down to a sentinel.
            Ok(_) => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => client = server(),
        }
    }
}

/// A port where nothing answers.
fn nobody() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn a_killed_master_is_replaced() -> Ran {
    let (mut master, replica) = pair()?;
    let sentinel = Sentinel::start(&master)?;
    until(|| sentinel.client(), &["INFO", "sentinel"], "slaves=1,");
    unless_it_hangs(move || {
        let mut store = store(&[nobody(), sentinel.port()], "&connect_timeout_ms=2000");
        open(&mut store).unwrap();
        let before: BTreeSet<u64> = (1..=20).map(|n| put(&mut store, entry("a", n))).collect();
        let version = store.read_version_counter().unwrap();
        assert_eq!(version, 20);
        replica.catch_up(&master);
        master.kill();
        // Whatever fails meanwhile may be called again.
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut failed = 0;
        let id = loop {
            let start = Instant::now();
            match store.insert(vec![entry("a", 21)]) {
                Ok(stored) => break stored[0].id,
                Err(StoreError::Backend(BackendError {
                    retryable: true, ..
                })) => failed += 1,
                Err(error) => panic!("{error:?}"),
            }
            assert!(start.elapsed() < Duration::from_secs(12));
            if let Ok(found) = store.get_by_ids(&[1], true) {
                assert_eq!(found[0].response, "response 1");
            }
            assert!(Instant::now() < deadline, "there is no new master");
        };
        assert!(failed > 0);
        assert!(!before.contains(&id));
        for n in 1..=21 {
            assert_eq!(get(&mut store, "a", n).unwrap().query, format!("query {n}"));
        }
        assert_eq!(store.count(None).unwrap(), 21);
        assert!(store.integrity_check().unwrap());
        // Those that follow compare all.
        assert!(store.read_version_counter().unwrap() > 1_000_000);
        assert_eq!(store.changes_since(version, 99).unwrap(), None);

        // The old master comes back as a replica, which nobody reads.
        master.restart().unwrap();
        until(|| master.client(), &["INFO", "replication"], "role:slave");
        put(&mut store, entry("a", 22));
        let mut other = self::store(&[sentinel.port()], "");
        open(&mut other).unwrap();
        let version = other.read_version_counter().unwrap();
        assert_eq!(other.count(None).unwrap(), 22);
        assert_eq!(
            store.read_version_counter().unwrap(),
            version,
            "nothing else was lost"
        );
        drop(replica);
    });
    Ok(())
}

/// A server that names whatever port it is told as that of the master.
fn says(port: &Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    let port = Arc::clone(port);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut request = [0; 4096];
            while client.read(&mut request).is_ok_and(|length| length > 0) {
                let port = port.load(SeqCst).to_string();
                let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
                // The other side may have gone.
                let _ = client.write_all(answer.as_bytes());
            }
        }
    });
    own
}

fn what_was_lost_is_given_to_nobody_else() -> Ran {
    let (mut master, replica) = pair()?;
    unless_it_hangs(move || {
        let named = Arc::new(AtomicU16::new(master.port()));
        let sentinel = says(&named);
        let (mut store, mut other) = (self::store(&[sentinel], ""), self::store(&[sentinel], ""));
        open(&mut store).unwrap();
        open(&mut other).unwrap();
        let kept = put(&mut store, entry("a", 1));
        replica.catch_up(&master);
        // What follows is answered and never copied.
        replica.client().run::<()>(&["REPLICAOF", "NO", "ONE"]);
        let lost: Vec<u64> = (2..=5).map(|n| put(&mut store, entry("a", n))).collect();
        let seen = store.read_version_counter().unwrap();
        assert_eq!(other.read_version_counter().unwrap(), seen);
        master.kill();
        named.store(replica.port(), SeqCst);
        let outcome = store.insert(vec![entry("b", 1)]);
        let stored = match outcome {
            Ok(stored) => stored,
            // It found that the connection was lost.
            Err(_) => store.insert(vec![entry("b", 1)]).unwrap(),
        };
        assert!(stored[0].id > *lost.iter().max().unwrap());
        for n in 2..=5 {
            assert_eq!(get(&mut store, "a", n), None);
        }
        assert_eq!(get(&mut store, "a", 1).unwrap().id, kept);
        // Each that has seen what was lost knows that it has to compare.
        for store in [&mut store, &mut other] {
            assert!(store.read_version_counter().unwrap() > seen);
            assert_eq!(store.changes_since(seen, 99).unwrap(), None);
            assert!(store.integrity_check().unwrap());
        }
        // Who comes later moves nothing.
        let version = store.read_version_counter().unwrap();
        let mut third = self::store(&[sentinel], "");
        open(&mut third).unwrap();
        assert_eq!(third.read_version_counter().unwrap(), version);
        let since = third.changes_since(version - 1, 9).unwrap().unwrap();
        assert_eq!(since.changes.len(), 1);
    });
    Ok(())
}

fn only_a_master_is_read() -> Ran {
    let (master, replica) = pair()?;
    unless_it_hangs(move || {
        let named = Arc::new(AtomicU16::new(replica.port()));
        let stale = says(&named);
        let mut store = store(&[stale], "");
        fails(open(&mut store), "which is a replica", true);
        // Another sentinel knows better.
        let right = says(&Arc::new(AtomicU16::new(master.port())));
        let mut store = self::store(&[stale, right], "");
        open(&mut store).unwrap();
        put(&mut store, entry("a", 1));
        // The master becomes a replica under an open connection.
        let port = replica.port().to_string();
        replica.client().run::<()>(&["REPLICAOF", "NO", "ONE"]);
        master
            .client()
            .run::<()>(&["REPLICAOF", "127.0.0.1", &port]);
        fails(store.insert(vec![entry("a", 2)]), "READONLY", true);
        put(&mut store, entry("a", 2));
        assert_eq!(self::store(&[stale], "").open(FINGERPRINT, DIM), Ok(()));
    });
    Ok(())
}

fn what_leads_to_no_master_is_told() -> Ran {
    let (master, _replica) = pair()?;
    let sentinel = Sentinel::start(&master)?;
    unless_it_hangs(move || {
        let port = sentinel.port();
        let opens = |url: &str| RedisStore::from_url(url).unwrap().open(FINGERPRINT, DIM);
        let at = |user: &str, more: &str| {
            opens(&format!(
                "redis+sentinel://{user}127.0.0.1:{port}?prefix=p&{more}"
            ))
        };
        at("", &format!("master={MASTER}")).unwrap();
        fails(
            at("", "master=other"),
            "knows no master of this name",
            false,
        );
        let url = format!(
            "redis+sentinel://127.0.0.1:{}?master={MASTER}",
            master.port()
        );
        fails(opens(&url), "is no sentinel", false);
        let (one, two) = (nobody(), nobody());
        let url = format!("redis+sentinel://127.0.0.1:{one},127.0.0.1:{two}?master={MASTER}");
        fails(
            opens(&url),
            &format!("no connection to 127.0.0.1:{one}"),
            true,
        );
        let url = format!("redis://127.0.0.1:{port}?prefix=p");
        fails(opens(&url), "unknown command", false);

        // Passwords of the master, and of the sentinel.
        master
            .client()
            .run::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
        let named = format!("master={MASTER}");
        fails(at("", &named), "asks for a password", false);
        fails(at(":secret1@", &named), "right user and password", false);
        at(":secret@", &named).unwrap();
        let mut client = sentinel.client();
        client.run::<()>(&[
            "ACL",
            "SETUSER",
            "asker",
            "on",
            ">secret",
            "resetchannels",
            "+sentinel|get-master-addr-by-name",
        ]);
        client.run::<()>(&["ACL", "SETUSER", "default", "resetpass"]);
        let asker = format!("{named}&sentinel_user=asker&sentinel_password");
        at(":secret@", &format!("{asker}=secret")).unwrap();
        fails(at(":secret@", &named), "refused: NOAUTH", false);
        fails(
            at(":secret@", &format!("{asker}=secret1")),
            "give sentinel_user and sentinel_password",
            false,
        );
        fails(
            at("", &format!("{asker}=secret")),
            "asks for a password",
            false,
        );
        client.run::<()>(&[
            "ACL",
            "SETUSER",
            "asker",
            "-sentinel|get-master-addr-by-name",
        ]);
        fails(
            at(":secret@", &format!("{asker}=secret")),
            "does not let the user run the command SENTINEL",
            false,
        );
    });
    Ok(())
}
