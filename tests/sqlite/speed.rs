//! What one call costs in a large file.
//!
//! `MNEME_SQLITE_ROWS` gives the number of entries, and prints the times; with a million it takes
//! minutes and 2.5 GB. `MNEME_SQLITE_FILE` keeps the file, and uses the one that is there.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mneme::store::{Entry, EntryRef, SqliteStore, Store, Touch};

use super::place::place;
use mneme_tests::rows::{hash, key};

mneme_tests::tests![no_call_takes_long_where_there_is_little_to_do];

const FINGERPRINT: &str = "speed-1";
const DIM: u32 = 384;
/// Before any entry of [`row`] with a TTL expires.
const NOW: u64 = 1_000_000;

/// Spread over 100 namespaces; every second one has a TTL.
fn row(n: u64) -> Entry {
    Entry {
        id: 0,
        namespace: format!("namespace {}", n % 100),
        query_hash: hash(n),
        query: format!("what is the answer to question {n}?"),
        response: format!("the answer to question {n} is {n}").repeat(8),
        embedding: vec![n as f32; DIM as usize],
        metadata: "{}".to_owned(),
        created_at: NOW + n / 1000,
        last_accessed_at: NOW + n * 7919 % 100_000,
        ttl: n.is_multiple_of(2).then_some(1_000_000),
        access_count: 0,
    }
}

fn fill(store: &mut SqliteStore, rows: u64) {
    let have = store.count(None).unwrap();
    for first in (have..rows).step_by(1000) {
        let page = first..rows.min(first + 1000);
        store.insert(page.map(row).collect()).unwrap();
    }
}

/// The longest of several calls.
fn worst<T>(times: u64, mut call: impl FnMut(u64) -> T) -> Duration {
    let one = |n| {
        let start = Instant::now();
        call(n);
        start.elapsed()
    };
    (0..times).map(one).max().unwrap()
}

fn no_call_takes_long_where_there_is_little_to_do() {
    let asked = env::var("MNEME_SQLITE_ROWS").ok();
    let rows: u64 = asked.as_deref().map_or(3000, |n| n.parse().unwrap());
    let place = place();
    let kept = env::var_os("MNEME_SQLITE_FILE").map(PathBuf::from);
    let path = kept.unwrap_or_else(|| place.path.clone());
    let mut store = SqliteStore::new(&path);
    let mut times = Vec::new();
    times.push(("open", worst(1, |_| store.open(FINGERPRINT, DIM).unwrap())));
    fill(&mut store, rows);
    times.push((
        "open again",
        worst(3, |_| store.open(FINGERPRINT, DIM).unwrap()),
    ));
    let any = |n: u64| n * 7919 % rows;
    let name = |n: u64| format!("namespace {}", n % 100);
    let store = &mut store;
    let mut measure = |what, times_each, call: &mut dyn FnMut(&mut SqliteStore, u64)| {
        times.push((what, worst(times_each, |n| call(store, n))));
    };
    measure("get_by_hash", 200, &mut |store, n| {
        let n = any(n);
        assert!(store.get_by_hash(&[key(&name(n), n)]).unwrap()[0].is_some());
    });
    measure("get_by_ids of 512", 5, &mut |store, n| {
        let ids: Vec<u64> = (0..512).map(|k| 1 + any(n * 512 + k)).collect();
        store.get_by_ids(&ids).unwrap();
    });
    measure("count", 5, &mut |store, _| {
        store.count(None).unwrap();
    });
    measure("count in a namespace", 5, &mut |store, n| {
        store.count(Some(&name(n))).unwrap();
    });
    measure("list_namespaces", 5, &mut |store, _| {
        drop(store.list_namespaces().unwrap())
    });
    measure("count_by_namespace", 5, &mut |store, _| {
        drop(store.count_by_namespace().unwrap())
    });
    measure("iter_lru_ids of 512", 5, &mut |store, _| {
        store.iter_lru_ids(512, None).unwrap();
    });
    measure("iter_lru_ids of 512 in a namespace", 5, &mut |store, n| {
        store.iter_lru_ids(512, Some(&name(n))).unwrap();
    });
    measure("iter_since of 512", 5, &mut |store, n| {
        store.iter_since(any(n), 512).unwrap();
    });
    measure("iter_vectors of 4096", 5, &mut |store, n| {
        store.iter_vectors(any(n), 4096).unwrap();
    });
    measure("iter_stamps of all", 3, &mut |store, _| {
        store.iter_stamps(0, u32::MAX).unwrap();
    });
    measure("iter_stamps of 65536", 3, &mut |store, _| {
        store.iter_stamps(0, 65536).unwrap();
    });
    measure("read_version_counter", 50, &mut |store, _| {
        store.read_version_counter().unwrap();
    });
    measure("insert of 1", 200, &mut |store, n| {
        store.insert(vec![row(rows + n)]).unwrap();
    });
    measure("insert of 512", 5, &mut |store, n| {
        let first = rows + 200 + n * 512;
        store
            .insert((first..first + 512).map(row).collect())
            .unwrap();
    });
    measure("replace 1", 50, &mut |store, n| {
        store.insert(vec![row(any(n))]).unwrap();
    });
    measure("update_access of 512", 5, &mut |store, n| {
        let touch = |k| Touch {
            id: 1 + any(n * 512 + k),
            hits: 1,
            last_accessed_at: NOW + k,
        };
        store
            .update_access(&(0..512).map(touch).collect::<Vec<_>>())
            .unwrap();
    });
    measure("delete_unchanged of 512", 5, &mut |store, n| {
        let more: Vec<EntryRef> = store
            .iter_since(rows + 200 + n * 400, 512)
            .unwrap()
            .iter()
            .map(|entry| EntryRef {
                id: entry.id,
                namespace: entry.namespace.clone(),
                created_at: entry.created_at,
            })
            .collect();
        store.delete_unchanged(&more).unwrap();
    });
    measure("delete_expired, none", 3, &mut |store, _| {
        assert!(store.delete_expired(NOW, None, 512).unwrap().is_empty());
    });
    measure("delete_expired in a namespace, none", 3, &mut |store, n| {
        assert!(
            store
                .delete_expired(NOW, Some(&name(n)), 512)
                .unwrap()
                .is_empty()
        );
    });
    measure("delete_expired of 512", 3, &mut |store, _| {
        store
            .delete_expired(NOW + 1_000_000 + 1, None, 512)
            .unwrap();
    });
    measure(
        "delete_expired of 512 in a namespace",
        3,
        &mut |store, n| {
            store
                .delete_expired(NOW + 1_000_000 + 1, Some(&name(2 * n)), 512)
                .unwrap();
        },
    );
    measure(
        "delete_expired of 512, of all that expire",
        3,
        &mut |store, _| {
            store.delete_expired(NOW * 9, None, 512).unwrap();
        },
    );
    if asked.is_some() {
        measure("integrity_check", 1, &mut |store, _| {
            assert!(store.integrity_check().unwrap())
        });
        for (what, time) in &times {
            println!("{what:<45}{:>12.3} ms", time.as_secs_f64() * 1000.0);
        }
    }
    for (what, time) in &times {
        assert!(
            *time < Duration::from_secs(2) || asked.is_some(),
            "{what} took {time:?}"
        );
    }
}
