//! Imports into the Postgres store: rows, locks, sessions and limits, which the battery cannot
//! see.

use mneme::PostgresStore;
use mneme::store::{Entry, ImportMode, MetaChange, Store, StoreError};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, ids, put};
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::suite::Ran;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

mneme_tests::tests![
    an_import_stores_the_rows_that_inserting_stores,
    a_refusal_names_the_store_and_the_remedy,
    an_unexpected_meta_value_leaves_no_lock,
    a_key_that_comes_twice_is_named,
    what_postgres_cannot_hold_ends_the_import,
    until_the_commit_nobody_waits_for_it,
    writers_go_on_during_an_import,
    an_import_that_is_not_committed_is_forgotten,
    twenty_thousand_entries,
];

const MODES: [ImportMode; 3] = [ImportMode::Empty, ImportMode::Merge, ImportMode::Replace];

fn version(store: &mut dyn Store) -> u64 {
    store.read_version_counter().unwrap()
}

/// Imports entries in one part, and commits them.
fn import(store: &mut dyn Store, mode: ImportMode, entries: Vec<Entry>) {
    store.begin_import(mode).unwrap();
    store.write_import(entries).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
}

fn change(key: &str, expected: Option<&str>, value: &str) -> MetaChange {
    MetaChange {
        key: key.to_owned(),
        expected: expected.map(str::to_owned),
        value: value.to_owned(),
    }
}

fn pair<V>(name: &str, value: impl Into<V>) -> (String, V) {
    (name.to_owned(), value.into())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(StoreError::Checkpoint(message)) => {
            assert!(message.contains("Postgres store"), "{message}");
            message
        }
        other => panic!("{other:?}"),
    }
}

/// There is no import, and so nothing to add to or to commit.
#[track_caller]
fn is_over(store: &mut dyn Store) {
    let none =
        |error| matches!(error, StoreError::InvalidArgument(what) if what.contains("begin_import"));
    assert!(store.write_import(Vec::new()).is_err_and(none));
    assert!(store.commit_import(&[], &[]).is_err_and(none));
}

/// Entries with what a text or a JSONB does not hold as it is, and with extreme numbers.
fn odd() -> Vec<Entry> {
    let metadata = [
        r#"{"b":1.50,"a":"\u0000"}"#,
        r#"{"a": "\ud800", "a":1}"#,
        " [ ] ",
        r#"{"a": 1}"#,
        "123456789012345678901234567890.0",
    ];
    let of = |(n, metadata): (u64, &str)| Entry {
        query: format!("nul \0 and é {n}"),
        response: "\u{10FFFE}0".repeat(n as usize),
        metadata: metadata.to_owned(),
        ttl: [None, Some(0), Some((1 << 53) - 1)][n as usize % 3],
        access_count: n * 1_000_000_007,
        created_at: [0, (1 << 53) - 1][n as usize % 2],
        last_accessed_at: n,
        embedding: vec![f32::MIN_POSITIVE, -0.0, f32::MAX],
        ..entry("a\0b", n)
    };
    (0..).zip(metadata).map(of).collect()
}

fn an_import_stores_the_rows_that_inserting_stores(server: Arc<Postgres>) {
    let mut inserted = server.opened("odd_inserted");
    inserted.insert(odd()).unwrap();
    let rows = |schema: &str| {
        let rows = "string_agg(e::text, '|' ORDER BY e.id)";
        server.sql(&format!("SELECT md5({rows}) FROM {schema}.entries AS e"))
    };
    for (n, mode) in MODES.into_iter().enumerate() {
        let schema = format!("odd_{n}");
        let mut store = server.opened(&schema);
        import(&mut store, mode, odd());
        assert_eq!(rows(&schema), rows("odd_inserted"));
        let given = (1..).zip(odd()).map(|(id, entry)| Entry { id, ..entry });
        assert_eq!(store.iter_since(0, 99).unwrap(), given.collect::<Vec<_>>());
        assert_eq!(version(&mut store), 1);
        assert!(store.integrity_check().unwrap());
        is_over(&mut store);
    }
}

fn a_refusal_names_the_store_and_the_remedy(server: Arc<Postgres>) {
    let mut store = server.opened("must_be_empty");
    let mut other = server.opened("must_be_empty");
    store.begin_import(ImportMode::Empty).unwrap();
    store.write_import(vec![entry("a", 1)]).unwrap();
    put(&mut other, entry("a", 2));
    let message = refused(store.commit_import(&[], &[]));
    assert!(message.contains("merge"), "{message}");
    let message = refused(store.begin_import(ImportMode::Empty));
    assert!(message.contains("merge"), "{message}");
    is_over(&mut store);
}

fn an_unexpected_meta_value_leaves_no_lock(server: Arc<Postgres>) {
    let mut store = server.opened("other_meta");
    let mut other = server.opened("other_meta");
    put(&mut store, entry("a", 1));
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    assert!(other.replace_meta("k", None, Some("theirs")).unwrap());
    let changes = [change("first", None, "ours"), change("k", None, "ours")];
    assert!(!store.commit_import(&[pair("a", 1_u64)], &changes).unwrap());
    let again = other.replace_meta("k", Some("theirs"), Some("theirs"));
    assert!(again.unwrap());
    assert!(!other.delete_by_id(99).unwrap());
    let right = [change("k", Some("theirs"), "ours")];
    assert!(store.commit_import(&[], &right).unwrap());
    assert_eq!((other.count(None).unwrap(), version(&mut other)), (2, 2));
}

/// A text that does not compress.
fn random_text(length: u32) -> String {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let states = std::iter::successors(Some(7), next).take(length as usize);
    states
        .filter_map(|state| char::from_u32(0x4E00 + (state >> 16) % 20_000))
        .collect()
}

fn a_key_that_comes_twice_is_named(server: Arc<Postgres>) {
    let mut store = server.opened("twice");
    for parts in [
        vec![vec![entry("a", 1), entry("a", 2), entry("a", 1)]],
        vec![vec![entry("a", 1)], vec![entry("c", 1), entry("a", 1)]],
    ] {
        store.begin_import(ImportMode::Merge).unwrap();
        let outcomes = parts.into_iter().map(|part| store.write_import(part));
        let message = refused(outcomes.last().unwrap());
        assert!(
            message.contains("\"a\"") && message.contains(&entry("a", 1).query_hash),
            "{message}"
        );
        is_over(&mut store);
    }
}

fn what_postgres_cannot_hold_ends_the_import(server: Arc<Postgres>) {
    let mut store = server.opened("cannot_hold");
    put(&mut store, entry("a", 1));
    for wrong in [
        Entry {
            ttl: Some(1 << 63),
            ..entry("a", 2)
        },
        Entry {
            metadata: "{".into(),
            ..entry("a", 2)
        },
        Entry {
            namespace: random_text(3000),
            ..entry("a", 2)
        },
    ] {
        store.begin_import(ImportMode::Merge).unwrap();
        store.write_import(vec![entry("a", 3)]).unwrap();
        let expected = store.insert(vec![wrong.clone()]).unwrap_err();
        let error = store.write_import(vec![wrong]).unwrap_err();
        assert_eq!(
            std::mem::discriminant(&error),
            std::mem::discriminant(&expected),
            "{error:?}"
        );
        assert!(!matches!(error, StoreError::Backend(_)), "{error:?}");
        is_over(&mut store);
    }
    store.begin_import(ImportMode::Replace).unwrap();
    let long = change(&random_text(3000), None, "v");
    let outcome = store.commit_import(&[], &[long]);
    assert!(
        matches!(outcome, Err(StoreError::InvalidArgument(_))),
        "{outcome:?}"
    );
    is_over(&mut store);
    assert_eq!((ids(&mut store), version(&mut store)), (vec![1], 1));
}

fn until_the_commit_nobody_waits_for_it(server: Arc<Postgres>) {
    let mut store = server.opened("unseen");
    let mut other = server.opened("unseen");
    store.insert(vec![entry("a", 1), entry("a", 2)]).unwrap();
    store.begin_import(ImportMode::Merge).unwrap();
    store
        .write_import(vec![entry("a", 1), entry("a", 3)])
        .unwrap();
    let locks = "SELECT count(*) FROM pg_locks JOIN pg_class AS c ON c.oid = relation
        WHERE c.relnamespace = 'unseen'::regnamespace";
    assert_eq!(server.sql(locks), "0");
    put(&mut other, entry("a", 3));
    assert!(other.delete_by_id(2).unwrap());
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!((ids(&mut other), version(&mut other)), (vec![1, 3], 4));
}

fn writers_go_on_during_an_import() -> Ran {
    const WRITERS: u64 = 3;
    let server = Postgres::shared()?;
    let mut store = server.opened("busy");
    let is_over = AtomicBool::new(false);
    let (store, is_over, server) = (&mut store, &is_over, &server);
    let writes: u64 = thread::scope(|scope| {
        let write = move |writer: u64| {
            let mut store = server.opened("busy");
            let namespace = format!("writer {writer}");
            for n in 0.. {
                // Their own rows, and one that all write and the import has.
                store
                    .insert(vec![entry(&namespace, n), entry("all", 7)])
                    .unwrap();
                if is_over.load(SeqCst) {
                    return n + 1;
                }
            }
            0
        };
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| scope.spawn(move || write(n)))
            .collect();
        for _ in 0..3 {
            store.begin_import(ImportMode::Merge).unwrap();
            for part in 0..4 {
                let rows = part * 500..(part + 1) * 500;
                store
                    .write_import(rows.map(|n| entry("all", n)).collect())
                    .unwrap();
            }
            assert!(store.commit_import(&[], &[]).unwrap());
        }
        is_over.store(true, SeqCst);
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    assert_eq!(version(store), writes + 3);
    assert_eq!(store.count(Some("all")).unwrap(), 2000);
    assert_eq!(store.count(None).unwrap(), 2000 + writes);
    assert!(store.integrity_check().unwrap());
    Ok(())
}

fn an_import_that_is_not_committed_is_forgotten(server: Arc<Postgres>) {
    let mut store = server.opened("forgotten");
    put(&mut store, entry("a", 1));
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'forgotten'";
    let forget: [fn(&mut PostgresStore); 4] = [
        |store| store.end_import().unwrap(),
        |store| store.close().unwrap(),
        |store| store.open(FINGERPRINT, DIM).unwrap(),
        |store| {
            drop(std::mem::replace(
                store,
                PostgresStore::from_url("postgres://h").unwrap(),
            ))
        },
    ];
    for forget in forget {
        store = server.opened("forgotten");
        while server.sql(sessions) != "1" {}
        for mode in [ImportMode::Merge, ImportMode::Replace] {
            store.begin_import(mode).unwrap();
            store
                .write_import(vec![entry("a", 1), entry("a", 2)])
                .unwrap();
        }
        while server.sql(sessions) != "2" {}
        forget(&mut store);
        // The server takes a moment to see that its client has gone.
        while server.sql(sessions).parse::<u32>().unwrap() > 1 {}
        store = server.opened("forgotten");
        is_over(&mut store);
        store.end_import().unwrap();
        assert_eq!((ids(&mut store), version(&mut store)), (vec![1], 1));
    }
}

fn twenty_thousand_entries() -> Ran {
    const COUNT: u64 = 20_000;
    const WIDE: u32 = 384;
    let server = Postgres::shared()?;
    let mut store = server.store("many");
    store.open(FINGERPRINT, WIDE).unwrap();
    // In another order than that of their hashes.
    let numbers: Vec<u64> = (0..COUNT).map(|n| n * 7919 % COUNT).collect();
    let start = Instant::now();
    store.begin_import(ImportMode::Empty).unwrap();
    for part in numbers.chunks(1000) {
        let wide = |n: &u64| Entry {
            embedding: (0..WIDE)
                .map(|at| (n * 31 + u64::from(at)) as f32)
                .collect(),
            ..entry("a", *n)
        };
        store.write_import(part.iter().map(wide).collect()).unwrap();
    }
    let written = start.elapsed();
    assert!(store.commit_import(&[], &[]).unwrap());
    println!(
        "{COUNT} entries: {written:?} to write, {:?} with the commit",
        start.elapsed()
    );
    let stamps = store.iter_stamps(0, u32::MAX).unwrap();
    assert_eq!(stamps.ids, (1..=COUNT).collect::<Vec<_>>());
    assert!(
        stamps
            .created_at
            .iter()
            .zip(&numbers)
            .all(|(at, n)| *at == 1000 + n)
    );
    assert_eq!(version(&mut store), 1);
    Ok(())
}
