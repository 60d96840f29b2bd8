//! How a Postgres store finds its server: sockets, several hosts, and what it needs there.

use super::outcomes::passing;
use mneme::PostgresStore;
use mneme::store::{ImportMode, Store, StoreError, from_url};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids, put};
use mneme_tests::servers::postgres::{PASSWORD, Postgres, url};
use mneme_tests::suite::Ran;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

mneme_tests::tests![
    a_socket_is_named_in_every_way,
    the_first_host_that_answers_is_taken,
    a_silent_host_leaves_time_for_the_others,
    a_standby_takes_over,
    too_many_connections_name_the_limit,
    the_documented_rights_are_enough,
];

/// A port that nobody listens on.
fn closed_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap().port()
}

/// A store whose URL names several ports of this machine.
fn store(ports: &[u16], more: &str) -> PostgresStore {
    let hosts: Vec<_> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let hosts = hosts.join(",");
    PostgresStore::from_url(&format!(
        "postgres://mneme:{PASSWORD}@{hosts}/postgres{more}"
    ))
    .unwrap()
}

#[cfg(unix)]
fn a_socket_is_named_in_every_way() -> Ran {
    let server = Postgres::with(&["unix_socket_directories=.", "listen_addresses="])?;
    let folder = server.socket_folder();
    let (folder, port) = (folder.to_str().unwrap(), server.port());
    let coded = folder.replace('/', "%2F");
    let login = format!("mneme:{PASSWORD}");
    let down = closed_port();
    for (n, url) in [
        format!("postgres://{login}@{coded}:{port}/postgres"),
        format!("postgres://{login}@/postgres?host={folder}&port={port}"),
        format!("postgresql:///postgres?host={coded}&port={port}&user=mneme&password={PASSWORD}"),
        format!("postgres://{login}@{coded}:{port}/postgres?sslmode=verify-full"),
        format!("postgres://{login}@{coded}:{port}/postgres?target_session_attrs=read-write"),
        // A host that would be encrypted, and the socket, which never is.
        format!("postgres://{login}@localhost:{down},{coded}:{port}/postgres?sslmode=require"),
    ]
    .iter()
    .enumerate()
    {
        let mut store = from_url(url).unwrap();
        let opened = store.open(FINGERPRINT, DIM);
        opened.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        put(&mut *store, entry("a", n as u64));
        assert_eq!(store.count(None).unwrap(), n as u64 + 1);
    }
    let nobody = format!("postgres://{login}@%2Fnowhere:{port}/postgres");
    let message = passing(
        PostgresStore::from_url(&nobody)
            .unwrap()
            .open(FINGERPRINT, DIM),
    );
    assert!(message.contains("/nowhere"), "{message}");
    Ok(())
}

fn the_first_host_that_answers_is_taken(server: Arc<Postgres>) {
    let (down, closed) = (closed_port(), closed_port());
    for more in [
        "?schema=first",
        "?schema=first&target_session_attrs=read-write",
    ] {
        let mut store = store(&[down, server.port(), closed], more);
        store.open(FINGERPRINT, DIM).unwrap();
        put(&mut store, entry("a", 1));
    }
    let message = passing(store(&[down, closed], "").open(FINGERPRINT, DIM));
    for port in [down, closed] {
        let name = format!(". 127.0.0.1:{port}: error connecting to server");
        assert!(message.contains(&name), "{message}");
    }
    // Where one may come back, it is worth to call again.
    let wrong = format!(
        "postgres://mneme:wrong@127.0.0.1:{down},127.0.0.1:{}/postgres",
        server.port()
    );
    let message = passing(
        PostgresStore::from_url(&wrong)
            .unwrap()
            .open(FINGERPRINT, DIM),
    );
    assert!(
        message.contains("refused") && message.contains("28P01"),
        "{message}"
    );
}

fn a_silent_host_leaves_time_for_the_others(server: Arc<Postgres>) {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let limit = Duration::from_secs(4);
    let mut one = store(&[port, server.port()], "?schema=silent").connect_timeout(limit);
    one.open(FINGERPRINT, DIM).unwrap();
    put(&mut one, entry("a", 1));
    let mut none = store(&[port, port], "").connect_timeout(Duration::from_millis(400));
    let message = passing(none.open(FINGERPRINT, DIM));
    let told = format!("127.0.0.1:{port}: no answer for ");
    assert_eq!(message.matches(&told).count(), 2, "{message}");
}

fn a_standby_takes_over() -> Ran {
    let mut primary = Postgres::start()?;
    let more = "?schema=moving&target_session_attrs=read-write";
    let mut past = primary.opened("moving");
    put(&mut past, entry("a", 1));
    let standby = Postgres::standby(&primary)?;
    let ports = [standby.port(), primary.port()];
    let mut moving = store(&ports, more);
    moving.open(FINGERPRINT, DIM).unwrap();
    put(&mut moving, entry("a", 2));
    let caught_up = "SELECT count(*) FROM moving.entries";
    while standby.sql(caught_up) != "2" {}

    // The standby itself is read.
    let mut reader = store(&ports[..1], "?schema=moving");
    reader.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(ids(&mut reader), [1, 2]);
    assert!(get(&mut reader, "a", 2).is_some());
    assert!(reader.begin_view().unwrap());
    assert_eq!(reader.count(None).unwrap(), 2);
    reader.end_view().unwrap();
    match reader.insert(vec![entry("a", 3)]) {
        Err(StoreError::Backend(error)) => {
            assert!(error.message.contains("target_session_attrs"), "{error:?}");
        }
        other => panic!("{other:?}"),
    }

    assert!(moving.begin_view().unwrap());
    assert_eq!(moving.count(None).unwrap(), 2);
    primary.kill();
    assert!(passing(moving.count(None)).contains("the view is over"));
    moving.end_view().unwrap();
    // Nobody writes now.
    let message = passing(moving.insert(vec![entry("a", 3)]));
    assert!(
        message.contains("database does not allow writes") && message.contains("promoted"),
        "{message}"
    );
    let message = passing(store(&ports[..1], more).open(FINGERPRINT, DIM));
    assert!(message.contains("promoted"), "{message}");
    standby.promote();
    let id = put(&mut moving, entry("a", 3));
    assert_eq!(ids(&mut moving), [1, 2, id]);
    moving.begin_import(ImportMode::Merge).unwrap();
    moving.write_import(vec![entry("a", 4)]).unwrap();
    assert!(moving.commit_import(&[], &[]).unwrap());
    // The same session has been a standby's.
    put(&mut reader, entry("a", 5));
    assert_eq!(moving.count(None).unwrap(), 5);
    Ok(())
}

fn too_many_connections_name_the_limit() -> Ran {
    let settings = ["max_connections=4", "superuser_reserved_connections=1"];
    let server = Postgres::with(&settings)?;
    for sql in [
        &format!("CREATE ROLE tester LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 1"),
        "GRANT CREATE ON DATABASE postgres TO tester",
        &format!("CREATE ROLE other LOGIN PASSWORD '{PASSWORD}'"),
        "GRANT CREATE ON DATABASE postgres TO other",
        "CREATE DATABASE small CONNECTION LIMIT 1",
        "GRANT CREATE ON DATABASE small TO other",
    ] {
        server.sql(sql);
    }
    let open = |url: &str| {
        let mut store = PostgresStore::from_url(url).unwrap();
        store.open(FINGERPRINT, DIM).map(|()| store)
    };
    let small = url("other", server.port()).replace("/postgres", "/small");
    let role = url("tester", server.port()) + "?schema=of_tester";
    for (url, limit) in [
        (&role, "ALTER ROLE ... CONNECTION LIMIT"),
        (&small, "ALTER DATABASE ... CONNECTION LIMIT"),
    ] {
        let _first = open(url).unwrap();
        let message = passing(open(url).map(drop));
        assert!(
            message.contains("53300") && message.contains(limit),
            "{message}"
        );
    }
    let other = url("other", server.port());
    let mut open_ones = Vec::new();
    let message = loop {
        match open(&other) {
            Ok(store) => open_ones.push(store),
            refused => break passing(refused.map(drop)),
        }
        assert!(open_ones.len() < 5);
    };
    assert!(
        message.contains("53300") && message.contains("max_connections of the server"),
        "{message}"
    );
    Ok(())
}

/// The statements of the documentation under a heading, one after the other.
fn documented(heading: &str) -> Vec<String> {
    let text = include_str!("../../host/stores/postgres/src/production.md");
    let (_, section) = text.split_once(heading).expect("the heading is there");
    let (_, block) = section.split_once("```sql\n").expect("a block of SQL");
    let (block, _) = block.split_once("```").expect("its end");
    let statements = block.split_terminator(";\n").map(str::trim);
    statements.map(str::to_owned).collect()
}

fn the_documented_rights_are_enough() -> Ran {
    let server = Postgres::start()?;
    server.sql("CREATE DATABASE app");
    let run = |heading: &str| {
        for sql in documented(heading) {
            let ran = server.attempt_in("app", &sql);
            ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    };
    let store = |role: &str| {
        let port = server.port();
        PostgresStore::from_url(&format!("postgres://{role}:secret@127.0.0.1:{port}/app")).unwrap()
    };
    let everything = |store: &mut PostgresStore, first: u64| {
        let version = store.read_version_counter().unwrap();
        put(store, entry("a", first));
        let log = store.changes_since(version, 10).unwrap().unwrap();
        assert_eq!(log.changes.len(), 1);
        store.write_blob("blob", vec![1]).unwrap();
        assert!(store.replace_meta("k", None, Some("v")).unwrap());
        assert!(store.replace_meta("k", Some("v"), None).unwrap());
        store.set_namespace_quota("a", Some(9)).unwrap();
        store.begin_import(ImportMode::Merge).unwrap();
        store.write_import(vec![entry("a", first + 1)]).unwrap();
        assert!(store.commit_import(&[], &[]).unwrap());
        assert!(store.integrity_check().unwrap());
        let id = ids(store)[0];
        assert!(store.delete_by_id(id).unwrap());
        store.delete_blobs(&["blob".to_owned()]).unwrap();
    };
    run("# Rights");
    let mut owner = store("cache_owner");
    owner.open(FINGERPRINT, DIM).unwrap();
    everything(&mut owner, 1);
    run("## Roles that use the cache");
    let mut user = store("cache_user");
    user.open(FINGERPRINT, DIM).unwrap();
    everything(&mut user, 11);
    let mut reader = store("cache_reader");
    reader.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(reader.count(None).unwrap(), 2);
    assert!(get(&mut reader, "a", 12).is_some());
    assert!(reader.integrity_check().unwrap());
    match reader.insert(vec![entry("a", 3)]) {
        Err(StoreError::Backend(error)) => assert!(error.message.contains("42501"), "{error:?}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}
