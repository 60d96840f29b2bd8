//! The Postgres store on a real server: what it writes, what it refuses, and many writers.

use mneme::PostgresStore;
use mneme::store::{Entry, EntryKey, Store, StoreError, Touch};
use mneme_tests::proxy::Proxy;
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, ids, key, put};
use mneme_tests::servers::postgres::{Postgres, url};
use mneme_tests::suite::Ran;
use mneme_tests::unless_it_hangs;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Barrier;
use std::thread;

mneme_tests::tests![
    the_rows_are_those_of_the_shared_layout,
    metadata_are_the_text_given_until_another_program_replaces_them,
    metadata_that_postgres_cannot_hold_are_refused,
    what_a_column_cannot_hold_is_refused,
    replacing_takes_no_new_id,
    an_operation_takes_as_many_round_trips_as_it_must,
    many_writers_lose_nothing_and_ids_appear_in_order,
    an_empty_schema_may_be_opened_by_many_at_once,
    a_store_works_inside_of_a_runtime,
    closing_gives_the_connection_back,
];

fn version(store: &mut dyn Store) -> u64 {
    store.read_version_counter().unwrap()
}

/// The text of an `invalid-argument`, where everything else fails the test.
#[track_caller]
fn invalid<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(StoreError::InvalidArgument(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn the_rows_are_those_of_the_shared_layout(server: Arc<Postgres>) {
    let mut store = server.opened("rows");
    let given = Entry {
        query: "nul \0 and é".into(),
        response: "\u{10FFFE}0".into(),
        metadata: r#"{"b":1.50,"a":"\u0000"}"#.into(),
        ttl: Some(9),
        ..entry("a\0b", 1)
    };
    put(&mut store, given.clone());
    put(
        &mut store,
        Entry {
            metadata: r#"{"a": [1, "é"]}"#.into(),
            ..entry("b", 2)
        },
    );
    store.set_namespace_quota("q\0", Some(7)).unwrap();
    assert!(store.replace_meta("k", None, Some("v\0")).unwrap());

    // psql swallows the character that escapes U+0000, so it gets another one.
    let rows = |columns: &str, table: &str| {
        let shown = columns
            .split(' ')
            .map(|column| format!("replace({column}::text, chr(1114110), '~')"));
        let shown: Vec<String> = shown.collect();
        server.sql(&format!(
            "SELECT {} FROM rows.{table} ORDER BY 1",
            shown.join(", ")
        ))
    };
    let (one, two) = (hash(1), hash(2));
    assert_eq!(
        rows(
            "id namespace query_hash query response embedding metadata created_at \
             last_accessed_at ttl access_count metadata_text",
            "entries"
        ),
        format!(
            "1|a~0b|{one}|nul ~0 and é|~10|\\x0000803f000000bf0000803e|\
             {{\"a\": \"~0\", \"b\": 1.50}}|1001|2001|9|0|{}\n\
             2|b|{two}|query 2|response 2|\\x00000040000000bf0000803e|\
             {{\"a\": [1, \"é\"]}}|1002|2002||0|",
            given.metadata
        )
    );
    assert_eq!(
        rows("key value", "schema_meta"),
        format!("embedder_dim|3\nembedder_fingerprint|{FINGERPRINT}\nk|v~0\nschema_version|1")
    );
    assert_eq!(rows("namespace max_entries", "namespace_quotas"), "q~0|7");
    assert_eq!(
        rows("key value", "multi_process_state"),
        "version_counter|2"
    );
    assert_eq!(get(&mut store, "a\0b", 1), Some(Entry { id: 1, ..given }));
    assert_eq!(store.read_meta("k").unwrap().as_deref(), Some("v\0"));
    assert_eq!(
        store.list_namespace_quotas().unwrap(),
        [("q\0".to_owned(), 7)]
    );
}

fn metadata_are_the_text_given_until_another_program_replaces_them(server: Arc<Postgres>) {
    let mut store = server.opened("metadata");
    let texts = [
        r#"{"a":1,"a":2}"#,
        r#"{"b":1.0,  "a":1e2}"#,
        r#"{"x\u0000":"\ud800 \u00e9"}"#,
        "\n{}",
        r#"{"c": 1}"#,
    ];
    for (n, text) in texts.iter().enumerate() {
        let metadata = (*text).to_owned();
        put(
            &mut store,
            Entry {
                metadata,
                ..entry("a", n as u64)
            },
        );
        assert_eq!(get(&mut store, "a", n as u64).unwrap().metadata, *text);
    }
    // Only what differs from Postgres's own text is kept beside it.
    let beside = "SELECT count(metadata_text), count(metadata_text_of) FROM metadata.entries";
    assert_eq!(server.sql(beside), "4|4");

    // The same JSON in other words is no replacement, another one is.
    server.sql(r#"UPDATE metadata.entries SET metadata = '{"a": 2}' WHERE id = 1"#);
    assert_eq!(get(&mut store, "a", 0).unwrap().metadata, texts[0]);
    server.sql(r#"UPDATE metadata.entries SET metadata = '{"a":3,"b":0}' WHERE id = 2"#);
    assert_eq!(
        get(&mut store, "a", 1).unwrap().metadata,
        r#"{"a": 3, "b": 0}"#
    );

    // Ours replaces both again.
    put(
        &mut store,
        Entry {
            metadata: "{ }".into(),
            ..entry("a", 1)
        },
    );
    assert_eq!(get(&mut store, "a", 1).unwrap().metadata, "{ }");
    put(
        &mut store,
        Entry {
            metadata: "{}".into(),
            ..entry("a", 1)
        },
    );
    assert_eq!(get(&mut store, "a", 1).unwrap().metadata, "{}");
    assert_eq!(server.sql(beside), "3|3");
}

fn metadata_that_postgres_cannot_hold_are_refused(server: Arc<Postgres>) {
    let mut store = server.opened("unfit_metadata");
    put(&mut store, entry("a", 1));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [
        "",
        "{",
        "{\"a\":NaN}",
        "{\"a\":\"\0\"}",
        "{\"a\":1e200000}",
        "{\"a\":\"\\u00\"}",
        &deep,
    ] {
        let metadata = text.to_owned();
        // As a new row and as a replacement, each beside a good one.
        for n in [1, 2] {
            let wrong = Entry {
                metadata: metadata.clone(),
                ..entry("a", n)
            };
            let message = invalid(store.insert(vec![entry("a", 3), wrong]));
            assert!(message.contains("metadata"), "{message}");
        }
    }
    assert_eq!((ids(&mut store), version(&mut store)), (vec![1], 1));
    assert_eq!(put(&mut store, entry("a", 1)), 1);
}

fn what_a_column_cannot_hold_is_refused(server: Arc<Postgres>) {
    let mut store = server.opened("unfit");
    let beyond = 1 << 53;
    let wrong: [fn(&mut Entry, u64); 4] = [
        |entry, n| entry.created_at = n,
        |entry, n| entry.last_accessed_at = n,
        |entry, n| entry.ttl = Some(n),
        |entry, n| entry.access_count = n,
    ];
    for (set, field) in wrong
        .iter()
        .zip(["created_at", "last_accessed_at", "ttl", "access_count"])
    {
        let mut unfit = entry("a", 1);
        set(&mut unfit, beyond);
        assert!(invalid(store.insert(vec![unfit])).contains(field));
        let mut fit = entry("a", 1);
        set(&mut fit, beyond - 1);
        put(&mut store, fit);
    }
    let touch = Touch {
        id: 1,
        hits: 1,
        last_accessed_at: beyond,
    };
    assert!(invalid(store.update_access(&[touch])).contains("last_accessed_at"));
    assert!(invalid(store.set_namespace_quota("a", Some(beyond))).contains("the quota"));
    // Counts stop at the end instead of failing there.
    let touch = Touch {
        id: 1,
        hits: u32::MAX,
        last_accessed_at: 0,
    };
    store.update_access(&[touch, touch]).unwrap();
    assert_eq!(get(&mut store, "a", 1).unwrap().access_count, beyond - 1);

    // An index row has 2,700 bytes, after compression.
    let long: String = (0..2_000)
        .map(|n| char::from_u32(0x4E00 + n * 7).unwrap())
        .collect();
    assert!(invalid(store.insert(vec![entry(&long, 1)])).contains("namespace"));
    assert!(invalid(store.set_namespace_quota(&long, Some(1))).contains("namespace"));
    assert!(invalid(store.replace_meta(&long, None, Some("v"))).contains("key"));
    let repetitive = "long ".repeat(2_000);
    put(&mut store, entry(&repetitive, 1));
    assert!(get(&mut store, &repetitive, 1).is_some());
    assert_eq!(store.get_by_hash(&[key(&long, 1)], true).unwrap(), [None]);
    assert_eq!(store.count(Some(&long)).unwrap(), 0);
    // Numbers that no row can have are nobody's.
    assert!(
        store
            .get_by_ids(&[beyond, u64::MAX], true)
            .unwrap()
            .is_empty()
    );
    assert!(!store.delete_by_id(u64::MAX).unwrap());
    assert!(store.iter_since(u64::MAX, 10).unwrap().is_empty());
}

fn replacing_takes_no_new_id(server: Arc<Postgres>) {
    let mut store = server.opened("no_new_id");
    for _ in 0..5 {
        assert_eq!(put(&mut store, entry("a", 1)), 1);
    }
    let mixed = store.insert(vec![
        entry("a", 2),
        entry("a", 1),
        entry("a", 3),
        entry("a", 2),
    ]);
    let mixed: Vec<_> = mixed
        .unwrap()
        .iter()
        .map(|one| (one.id, one.replaced))
        .collect();
    assert_eq!(mixed, [(2, false), (1, true), (3, false), (2, true)]);
    store.clear_namespace(None).unwrap();
    assert_eq!(put(&mut store, entry("a", 1)), 4);
}

/// What it is called, how many round trips it takes, and the calls.
type Operation<'a> = (&'a str, u64, &'a dyn Fn(&mut PostgresStore));

fn an_operation_takes_as_many_round_trips_as_it_must(server: Arc<Postgres>) {
    // Whether statements are prepared, or bring their transactions.
    count_round_trips(&server, "auto");
    count_round_trips(&server, "transaction");
}

fn count_round_trips(server: &Postgres, pooler: &str) {
    let proxy = Proxy::start(server.port()).unwrap();
    let parameters = format!("?schema=trips_{pooler}&pooler={pooler}");
    let store = PostgresStore::from_url(&(url("mneme", proxy.port()) + &parameters));
    let mut store = store.unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    let many: Vec<Entry> = (0..1000).map(|n| entry("a", n)).collect();
    let keys: Vec<EntryKey> = (0..100).map(|n| key("a", n)).collect();
    let touches: Vec<Touch> = (1..=100)
        .map(|id| Touch {
            id,
            hits: 1,
            last_accessed_at: 9,
        })
        .collect();
    let all: Vec<u64> = (1..=100).collect();
    // A request of more than 8 kB may be answered in parts while it goes out.
    let operations: &[Operation<'_>] = &[
        ("insert of one", 2, &|store| {
            assert!(put(store, entry("b", 1)) > 0);
        }),
        ("get_by_hash of one", 1, &|store| {
            assert!(get(store, "b", 1).is_some());
        }),
        ("get_by_hash and delete_by_id", 1 + 2, &|store| {
            let id = get(store, "b", 1).unwrap().id;
            assert!(store.delete_by_id(id).unwrap());
        }),
        ("delete_by_id of none", 2, &|store| {
            assert!(!store.delete_by_id(1_000_000).unwrap());
        }),
        ("get_by_hash of 100", 1, &|store| {
            assert_eq!(store.get_by_hash(&keys, true).unwrap().len(), 100);
        }),
        ("get_by_ids of 100", 1, &|store| {
            assert_eq!(store.get_by_ids(&all, true).unwrap().len(), 100);
        }),
        ("update_access of 100", 1, &|store| {
            store.update_access(&touches).unwrap();
        }),
        ("iter_since", 1, &|store| {
            assert_eq!(store.iter_since(0, 1000).unwrap().len(), 1000);
        }),
        ("iter_vectors", 1, &|store| {
            assert_eq!(store.iter_vectors(0, 1000).unwrap().ids.len(), 1000);
        }),
        ("iter_stamps", 1, &|store| {
            assert_eq!(store.iter_stamps(0, 1000).unwrap().ids.len(), 1000);
        }),
        ("iter_lru_ids", 1, &|store| {
            assert_eq!(store.iter_lru_ids(10, Some("a")).unwrap().len(), 10);
        }),
        ("list_namespaces", 1, &|store| {
            assert_eq!(store.list_namespaces(None, 1000).unwrap(), ["a"]);
        }),
        ("count_by_namespace", 1, &|store| {
            let counts = store.count_by_namespace(None, 1000).unwrap();
            assert!(matches!(&counts[..], [(name, _)] if name == "a"));
        }),
        ("read_version_counter", 1, &|store| {
            assert!(version(store) > 0);
        }),
        ("replace_meta", 1, &|store| {
            assert!(store.replace_meta("k", None, None).unwrap());
        }),
        ("set_namespace_quota", 1, &|store| {
            store.set_namespace_quota("a", Some(1)).unwrap();
        }),
        ("delete_expired of none", 1, &|store| {
            assert!(store.delete_expired(9, None, 10).unwrap().is_empty());
        }),
        ("clear_namespace", 3, &|store| {
            assert_eq!(store.clear_namespace(Some("b")).unwrap(), 0);
        }),
    ];
    store.insert(many.clone()).unwrap();
    // The first time each statement is prepared too.
    for (_, _, work) in operations {
        work(&mut store);
    }
    for (what, expected, work) in operations {
        let (counted, ()) = proxy.count(|| work(&mut store));
        assert_eq!(counted, *expected, "{pooler}: {what}");
    }
    store.insert(many.clone()).unwrap();
    let (counted, _) = proxy.count(|| store.insert(many.clone()).unwrap());
    assert!(
        counted <= 3,
        "{pooler}: insert of 1000: {counted} round trips"
    );
    assert_eq!(proxy.connections(), 1);
}

/// Writers of several stores, and one who follows them by ids.
fn many_writers_lose_nothing_and_ids_appear_in_order() -> Ran {
    const WRITERS: u64 = 4;
    const WRITES: u64 = 40;
    let server = Postgres::shared()?;
    server.opened("writers");
    let seen: Vec<u64> = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let server = &server;
            scope.spawn(move || {
                let mut store = server.opened("writers");
                for n in 0..WRITES {
                    put(&mut store, entry("a", 1000 * writer + n));
                    // One row that all of them replace, and one that they delete.
                    put(&mut store, entry("shared", 1));
                    let gone = put(&mut store, entry("gone", writer));
                    assert!(store.delete_by_id(gone).unwrap());
                    let touches = [2, 1].map(|id| Touch {
                        id,
                        hits: 1,
                        last_accessed_at: 1,
                    });
                    store.update_access(&touches).unwrap();
                }
            });
        }
        let mut store = server.opened("writers");
        let (mut seen, mut last) = (Vec::new(), 0);
        while version(&mut store) < WRITERS * WRITES * 4 {
            for entry in store.iter_since(last, 7).unwrap() {
                last = entry.id;
                if entry.namespace == "a" {
                    seen.push(entry.id);
                }
            }
        }
        seen.extend(ids(&mut store).into_iter().filter(|id| *id > last));
        seen
    });
    let mut store = server.opened("writers");
    assert_eq!(version(&mut store), WRITERS * WRITES * 4);
    assert_eq!(store.count(Some("a")).unwrap(), WRITERS * WRITES);
    assert_eq!(store.count(None).unwrap(), WRITERS * WRITES + 1);
    let all = store.iter_since(0, 10_000).unwrap();
    let there: BTreeSet<u64> = all.iter().map(|entry| entry.id).collect();
    let seen: BTreeSet<u64> = seen.into_iter().collect();
    let missed: Vec<_> = all
        .iter()
        .filter(|entry| entry.namespace == "a" && !seen.contains(&entry.id))
        .collect();
    assert!(missed.is_empty(), "{missed:?} of {there:?}");
    assert!(store.integrity_check().unwrap());
    Ok(())
}

fn an_empty_schema_may_be_opened_by_many_at_once(server: Arc<Postgres>) {
    for round in 0..5 {
        let schema = format!("together {round}");
        let start = Barrier::new(6);
        thread::scope(|scope| {
            for n in 0..6 {
                let (server, schema, start) = (&server, &schema, &start);
                scope.spawn(move || {
                    let mut store = server.store(schema);
                    start.wait();
                    store.open(FINGERPRINT, DIM).unwrap();
                    put(&mut store, entry("a", n));
                });
            }
        });
        let mut store = server.opened(&schema);
        assert_eq!(store.count(None).unwrap(), 6);
        assert_eq!(version(&mut store), 6);
    }
}

fn a_store_works_inside_of_a_runtime(server: Arc<Postgres>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut store = server.opened("runtime");
        for n in 0..300 {
            put(&mut store, entry("a", n));
            assert!(get(&mut store, "a", n).is_some());
        }
        store.close().unwrap();
        drop(store);
    });
}

fn closing_gives_the_connection_back(server: Arc<Postgres>) {
    unless_it_hangs(move || closing(&server));
}

fn closing(server: &Postgres) {
    let count =
        || server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'closing'");
    let url = format!("{}?application_name=closing&schema=closing", server.url());
    let mut store = PostgresStore::from_url(&url).unwrap();
    for _ in 0..3 {
        store.open(FINGERPRINT, DIM).unwrap();
        assert_eq!(count(), "1");
    }
    store.close().unwrap();
    store.close().unwrap();
    // The server takes a moment to notice.
    while count() != "0" {}
    assert!(matches!(store.count(None), Err(StoreError::Closed)));
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(store.count(None).unwrap(), 0);
}
