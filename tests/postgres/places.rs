//! Where a Postgres store may lie: other programs' tables, damaged data, odd names, few
//! rights, other encodings, TLS.

use mneme::PostgresStore;
use mneme::store::{BackendError, Entry, Store, StoreError};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids, put};
use mneme_tests::servers::postgres::{PASSWORD, Postgres, url};
use mneme_tests::suite::Ran;
use std::sync::Arc;

mneme_tests::tests![
    any_name_of_a_schema_is_taken_as_it_is,
    data_of_another_embedder_or_version_is_refused_and_left,
    tables_of_another_program_are_refused_and_left,
    a_damaged_row_is_told_and_others_are_read,
    damage_that_a_look_finds,
    a_counter_that_is_none_is_told_and_nothing_is_written,
    ids_that_lag_behind_are_told,
    a_role_needs_only_the_rights_it_uses,
    order_and_equality_are_those_of_bytes_in_any_collation,
    a_database_that_cannot_hold_any_text_is_refused,
    certificates_are_checked_as_asked,
];

fn open_error(mut store: PostgresStore) -> StoreError {
    let error = store.open(FINGERPRINT, DIM).unwrap_err();
    assert!(matches!(store.count(None), Err(StoreError::Closed)));
    assert!(!format!("{error:?} {store:?}").contains(PASSWORD));
    error
}

/// The text of a `backend` error that no repetition helps against.
fn final_error(error: StoreError) -> String {
    match error {
        StoreError::Backend(BackendError {
            message,
            retryable: false,
        }) => message,
        other => panic!("{other:?}"),
    }
}

/// The URL of another database of the server.
fn database(server: &Postgres, name: &str) -> String {
    format!("{}/{name}", server.url().trim_end_matches("/postgres"))
}

fn any_name_of_a_schema_is_taken_as_it_is(server: Arc<Postgres>) {
    let names = [
        "Mixed Case",
        "mixed case",
        "a.b",
        "\"",
        "x\"; DROP SCHEMA \"a.b\" CASCADE; --",
        "'; SELECT 1; --",
        "{schema}",
        "$1 %s \\",
        "ünï 🦀",
        " ",
        &"x".repeat(63),
    ];
    for (n, name) in names.iter().enumerate() {
        let mut store = server.opened(name);
        assert_eq!(put(&mut store, entry("a", n as u64)), 1, "{name}");
        assert!(store.integrity_check().unwrap(), "{name}");
    }
    for (n, name) in names.iter().enumerate() {
        let mut store = server.opened(name);
        assert_eq!(store.count(None).unwrap(), 1, "{name}");
        assert!(get(&mut store, "a", n as u64).is_some(), "{name}");
    }
    assert_eq!(
        server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "0"
    );
    for name in ["", "\0", "a\0b", &"x".repeat(64)] {
        let error = open_error(server.store(name));
        assert!(matches!(error, StoreError::InvalidArgument(what) if what.contains("schema")));
    }
}

fn data_of_another_embedder_or_version_is_refused_and_left(server: Arc<Postgres>) {
    put(&mut server.opened("embedders"), entry("a", 1));
    let dump = || {
        server.sql("SELECT * FROM embedders.schema_meta ORDER BY key")
            + &server.sql("SELECT * FROM embedders.entries")
    };
    let before = dump();
    let mut store = server.store("embedders");
    match store.open("another", DIM) {
        Err(StoreError::EmbedderMismatch(names)) => {
            assert_eq!((&*names.stored, &*names.given), (FINGERPRINT, "another"));
        }
        other => panic!("{other:?}"),
    }
    match store.open(FINGERPRINT, 4) {
        Err(StoreError::EmbedderDimension(dims)) => {
            assert_eq!((dims.expected, dims.actual), (3, 4))
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(store.count(None), Err(StoreError::Closed)));
    assert_eq!(dump(), before);

    for (version, newer) in [("2", true), ("0", false), ("x", false)] {
        server.sql(&format!(
            "UPDATE embedders.schema_meta SET value = '{version}' WHERE key = 'schema_version'"
        ));
        let error = open_error(server.store("embedders"));
        assert!(
            matches!(&error, StoreError::Schema(what) if what.contains("schema_version") && what.contains("later") == newer),
            "{error:?}"
        );
    }
    server.sql("UPDATE embedders.schema_meta SET value = '1' WHERE key = 'schema_version'");
    server.sql("UPDATE embedders.schema_meta SET value = 'x' WHERE key = 'embedder_dim'");
    let error = open_error(server.store("embedders"));
    assert!(
        matches!(&error, StoreError::Corrupt(what) if what.contains("embedder_dim")),
        "{error:?}"
    );
    for key in ["embedder_fingerprint", "schema_version"] {
        server.sql(&format!(
            "DELETE FROM embedders.schema_meta WHERE key = '{key}'"
        ));
        let error = open_error(server.store("embedders"));
        assert!(
            matches!(&error, StoreError::Corrupt(what) if what.contains(key)),
            "{error:?}"
        );
    }
    // Without entries there is nothing to protect.
    server.sql("DELETE FROM embedders.entries; DELETE FROM embedders.schema_meta");
    let mut store = server.opened("embedders");
    assert_eq!(
        store.read_meta("schema_version").unwrap().as_deref(),
        Some("1")
    );
    assert_eq!(put(&mut store, entry("a", 1)), 2);
}

fn tables_of_another_program_are_refused_and_left(server: Arc<Postgres>) {
    for (n, table) in [
        "entries (id bigint PRIMARY KEY, title text)",
        "entries (id integer PRIMARY KEY, namespace text, query_hash text, query text, response text, embedding bytea, metadata jsonb, created_at bigint, last_accessed_at bigint, ttl bigint, access_count bigint)",
        "schema_meta (key text PRIMARY KEY, value jsonb)",
        "multi_process_state (key text)",
    ]
    .iter()
    .enumerate()
    {
        let schema = format!("foreign_{n}");
        server.sql(&format!("CREATE SCHEMA {schema} CREATE TABLE {table}"));
        let error = open_error(server.store(&schema));
        assert!(matches!(&error, StoreError::Schema(what) if what.contains("column")), "{error:?}");
        let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'");
        assert_eq!(server.sql(&tables), "1");
    }
    // Tables that have other names do not matter.
    server.sql("CREATE SCHEMA shared_schema CREATE TABLE people (name text)");
    put(&mut server.opened("shared_schema"), entry("a", 1));
}

fn a_damaged_row_is_told_and_others_are_read(server: Arc<Postgres>) {
    let mut store = server.opened("damaged_row");
    store
        .insert((0..4).map(|n| entry("a", n)).collect())
        .unwrap();
    assert!(store.integrity_check().unwrap());
    server.sql("UPDATE damaged_row.entries SET embedding = '\\x00' WHERE id = 2");
    let corrupt = |outcome: Result<(), StoreError>| match outcome {
        Err(StoreError::Corrupt(what)) => {
            assert!(
                what.contains("id 2")
                    && what.contains("embedding")
                    && what.contains("schema damaged_row"),
                "{what}"
            );
        }
        other => panic!("{other:?}"),
    };
    corrupt(store.get_by_ids(&[2], true).map(drop));
    corrupt(store.iter_vectors(0, 10).map(drop));
    corrupt(store.iter_since(0, 10).map(drop));
    assert_eq!(store.get_by_ids(&[1, 3], true).unwrap().len(), 2);
    assert_eq!(store.iter_vectors(2, 10).unwrap().ids, [3, 4]);
    assert_eq!(ids(&mut store), [1, 2, 3, 4]);
    assert!(!store.integrity_check().unwrap());
    assert!(store.delete_by_id(2).unwrap());
    assert!(store.integrity_check().unwrap());
    // What other writers of the layout may leave behind reads as none.
    server.sql("UPDATE damaged_row.entries SET access_count = -1, last_accessed_at = -5, created_at = -7, ttl = -1 WHERE id = 1");
    let found = get(&mut store, "a", 0).unwrap();
    assert_eq!(
        (
            found.access_count,
            found.last_accessed_at,
            found.created_at,
            found.ttl
        ),
        (0, 0, 0, Some(0))
    );
    assert_eq!(store.delete_expired(0, None, 10).unwrap().len(), 1);
}

fn damage_that_a_look_finds(server: Arc<Postgres>) {
    let damage = [
        "UPDATE damage.multi_process_state SET value = 'x'",
        "UPDATE damage.multi_process_state SET value = '-1'",
        "UPDATE damage.schema_meta SET value = '4' WHERE key = 'embedder_dim'",
        "UPDATE damage.schema_meta SET value = '9' WHERE key = 'schema_version'",
        "DELETE FROM damage.schema_meta",
        "ALTER TABLE damage.entries DROP CONSTRAINT entries_namespace_query_hash_key",
        "ALTER TABLE damage.entries DROP CONSTRAINT entries_pkey",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'damage.idx_entries_ns_lru'::regclass",
        "SELECT setval('damage.entries_id_seq', 1)",
        "UPDATE damage.entries SET id = -1 WHERE id = 1",
        "DROP TABLE damage.entries",
        "ALTER TABLE damage.entries DROP COLUMN embedding",
        "DROP SCHEMA damage CASCADE",
    ];
    for sql in damage {
        let mut store = server.opened("damage");
        store
            .insert((0..3).map(|n| entry("a", n)).collect())
            .unwrap();
        assert!(store.integrity_check().unwrap());
        server.sql(sql);
        assert_eq!(store.integrity_check(), Ok(false), "{sql}");
        assert_eq!(store.integrity_check(), Ok(false), "{sql}");
        server.sql("SET client_min_messages = error; DROP SCHEMA IF EXISTS damage CASCADE");
    }
}

fn a_counter_that_is_none_is_told_and_nothing_is_written(server: Arc<Postgres>) {
    let mut store = server.opened("no_counter");
    put(&mut store, entry("a", 1));
    server.sql("UPDATE no_counter.multi_process_state SET value = 'many'");
    for error in [
        store.read_version_counter().map(drop),
        store.insert(vec![entry("a", 2)]).map(drop),
        store.delete_by_id(1).map(drop),
        store.clear_namespace(None).map(drop),
    ] {
        assert!(
            matches!(&error, Err(StoreError::Corrupt(what)) if what.contains("version_counter")),
            "{error:?}"
        );
    }
    assert_eq!(ids(&mut store), [1]);
    // If it is missing, it starts again.
    server.sql("DELETE FROM no_counter.multi_process_state");
    assert_eq!(store.read_version_counter().unwrap(), 0);
    put(&mut store, entry("a", 2));
    assert_eq!(store.read_version_counter().unwrap(), 1);
}

fn ids_that_lag_behind_are_told(server: Arc<Postgres>) {
    let mut store = server.opened("lagging");
    store
        .insert((0..500).map(|n| entry("a", n)).collect())
        .unwrap();
    server.sql("SELECT setval('lagging.entries_id_seq', 1)");
    let error = store.insert(vec![entry("b", 1)]).unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(what) if what.contains("setval")),
        "{error:?}"
    );
    server.sql("SELECT setval('lagging.entries_id_seq', 500)");
    assert_eq!(put(&mut store, entry("b", 1)), 501);
}

fn a_role_needs_only_the_rights_it_uses(server: Arc<Postgres>) {
    let role = |name: &str| server.sql(&format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"));
    let store = |name: &str| PostgresStore::from_url(&url(name, server.port())).unwrap();
    role("user_only");
    let message = final_error(open_error(store("user_only").schema("rights")));
    assert!(
        message.contains("42501") && message.contains("CREATE"),
        "{message}"
    );

    // A schema as the Python library makes it lacks two columns that only the owner may add.
    server.opened("rights");
    server
        .sql("ALTER TABLE rights.entries DROP COLUMN metadata_text, DROP COLUMN metadata_text_of");
    let message = final_error(open_error(store("user_only").schema("rights")));
    assert!(message.contains("42501"), "{message}");
    server.sql(
        "GRANT USAGE, CREATE ON SCHEMA rights TO user_only;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rights TO user_only;
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA rights TO user_only",
    );
    let message = final_error(open_error(store("user_only").schema("rights")));
    let (_, remedy) = message
        .split_once("let its owner run: ")
        .unwrap_or_else(|| panic!("{message}"));
    server.sql(remedy);
    server.sql("REVOKE CREATE ON SCHEMA rights FROM user_only");

    let mut store = store("user_only").schema("rights");
    store.open(FINGERPRINT, DIM).unwrap();
    put(
        &mut store,
        Entry {
            metadata: "{ }".into(),
            ..entry("a", 1)
        },
    );
    assert_eq!(get(&mut store, "a", 1).unwrap().metadata, "{ }");
    assert!(store.delete_by_id(1).unwrap());
    store.write_blob("a", vec![1]).unwrap();
    assert_eq!(store.read_blob("a").unwrap(), Some(vec![1]));
    // Without the table there are no blobs, and all else works.
    server.sql("DROP TABLE rights.derived_blobs");
    assert_eq!(store.read_blob("a").unwrap(), None);
    assert!(store.list_blobs().unwrap().is_empty());
    store.delete_blobs(&["a".to_owned()]).unwrap();
    let message = final_error(store.write_blob("a", vec![1]).unwrap_err());
    assert!(
        message.contains("42501") && message.contains("CREATE"),
        "{message}"
    );
    store.open(FINGERPRINT, DIM).unwrap();
    assert!(store.integrity_check().unwrap());
    server.sql("REVOKE DELETE ON rights.entries FROM user_only");
    put(&mut store, entry("a", 2));
    assert!(final_error(store.delete_by_id(2).unwrap_err()).contains("DELETE"));
    assert_eq!(store.count(None).unwrap(), 1);
}

fn order_and_equality_are_those_of_bytes_in_any_collation(server: Arc<Postgres>) {
    server
        .sql("CREATE DATABASE collated TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'");
    let mut store = PostgresStore::from_url(&database(&server, "collated")).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    let mut names = [
        "a",
        "B",
        "b",
        "A",
        "é",
        "e\u{301}",
        "z",
        "ä",
        "\0",
        "\0a",
        "a\0",
        "a\0\0",
        "a\u{1}",
        "a\u{1}\u{1}",
        "a\u{2}",
        "\u{1}",
        "\u{10FFFE}",
        "\u{10FFFE}0",
        "\u{10FFFE}\0",
        "\u{10FFFF}",
        "-",
        "a b",
        "ab",
        "",
    ];
    for name in names {
        put(&mut store, entry(name, 1));
        store.set_namespace_quota(name, Some(1)).unwrap();
    }
    names.sort_unstable();
    assert_eq!(store.list_namespaces(None, 1000).unwrap(), names);
    assert_eq!(
        store.count_by_namespace(None, 1000).unwrap(),
        names.map(|name| (name.to_owned(), 1))
    );
    for limit in [1, 4, 100] {
        let mut after: Option<&str> = None;
        for wanted in names.chunks(limit as usize) {
            let page = store.list_namespaces(after, limit).unwrap();
            assert_eq!(page, wanted, "{limit} after {after:?}");
            let counts = store.count_by_namespace(after, limit).unwrap();
            assert!(counts.iter().map(|(name, _)| name).eq(&page));
            after = wanted.last().copied();
        }
        assert!(store.list_namespaces(after, limit).unwrap().is_empty());
    }
    let quotas = store.list_namespace_quotas().unwrap();
    assert_eq!(
        quotas.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
        names
    );
    for name in names {
        assert_eq!(store.count(Some(name)).unwrap(), 1, "{name:?}");
    }
    assert!(!store.replace_meta("K", Some("v"), None).unwrap());
    assert!(store.replace_meta("K", None, Some("é")).unwrap());
    assert!(!store.replace_meta("K", Some("e\u{301}"), None).unwrap());
    assert_eq!(store.read_meta("k").unwrap(), None);
}

fn a_database_that_cannot_hold_any_text_is_refused(server: Arc<Postgres>) {
    server.sql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
    let latin = PostgresStore::from_url(&database(&server, "latin")).unwrap();
    let message = final_error(open_error(latin));
    assert!(
        message.contains("LATIN1") && message.contains("UTF8"),
        "{message}"
    );
}

fn certificates_are_checked_as_asked() -> Ran {
    let (server, authority) = Postgres::with_tls()?;
    let roots = format!("sslrootcert={}", authority.display());
    let store = |host: &str, parameters: &str| {
        let url = server.url().replace("127.0.0.1", host);
        PostgresStore::from_url(&format!("{url}?{parameters}")).unwrap()
    };
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE ssl AND application_name = 'mneme'";
    for (host, parameters, tls) in [
        ("localhost", format!("sslmode=verify-full&{roots}"), "1"),
        ("localhost", format!("sslmode=require&{roots}"), "1"),
        ("localhost", "sslmode=prefer".to_owned(), "1"),
        ("127.0.0.1", "sslmode=prefer".to_owned(), "1"),
        ("127.0.0.1", String::new(), "1"),
        ("127.0.0.1", "sslmode=disable".to_owned(), "0"),
    ] {
        let mut store = store(host, &parameters);
        store
            .open(FINGERPRINT, DIM)
            .unwrap_or_else(|error| panic!("{host} {parameters}: {error:?}"));
        put(&mut store, entry("a", 1));
        assert_eq!(server.sql(encrypted), tls, "{host} {parameters}");
        // Whatever lies between, it is no pooler.
        assert_eq!(store.count(None).unwrap(), 1);
        let last = "SELECT query FROM pg_stat_activity WHERE application_name = 'mneme'";
        let last = server.sql(last);
        assert!(last.starts_with("SELECT"), "{host} {parameters}: {last}");
        store.close().unwrap();
    }
    for (host, parameters, expected) in [
        // The name is not in the certificate.
        (
            "127.0.0.1",
            format!("sslmode=verify-full&{roots}"),
            "certificate",
        ),
        (
            "127.0.0.1",
            format!("sslmode=require&{roots}"),
            "certificate",
        ),
        // The system does not know the authority.
        ("localhost", "sslmode=verify-full".to_owned(), "certificate"),
        (
            "localhost",
            "sslmode=require&sslrootcert=/nowhere/ca.pem".to_owned(),
            "/nowhere/ca.pem",
        ),
        (
            "localhost",
            "sslmode=require&sslrootcert=/dev/null".to_owned(),
            "/dev/null",
        ),
    ] {
        let message = final_error(open_error(store(host, &parameters)));
        assert!(message.contains(expected), "{host} {parameters}: {message}");
    }
    let plain = Postgres::shared()?;
    let url = plain.url().replace("127.0.0.1", "localhost");
    let message = final_error(open_error(
        PostgresStore::from_url(&format!("{url}?sslmode=require&{roots}")).unwrap(),
    ));
    assert!(
        message.contains("TLS") && message.contains("sslmode"),
        "{message}"
    );
    Ok(())
}
