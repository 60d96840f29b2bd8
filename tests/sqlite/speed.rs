//! What one call costs in a large file.
//!
//! In steps of SQLite's virtual machine, which tell a call that reads through an index from one that
//! reads everything. `MNEME_SQLITE_ROWS` gives the number of entries, and prints the times; with a
//! million it takes minutes and 2.5 GB. `MNEME_SQLITE_FILE` keeps the file, and uses the one that is
//! there.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mneme::store::{Entry, EntryRef, Filter, SqliteStore, Store, Touch};

use super::place::place;
use super::steps;
use mneme_tests::rows::{hash, key};

mneme_tests::tests![calls_where_there_is_little_to_do_look_at_little];

/// The entries of the smaller file, and how many times as many the larger one has.
const FEW: u64 = 2000;
const TIMES: u64 = 4;

const FINGERPRINT: &str = "speed-1";
const DIM: u32 = 384;
/// Before any entry of [`row`] with a TTL expires.
const NOW: u64 = 1_000_000;

/// Spread over 100 namespaces; every second one has a TTL.
fn row(n: u64) -> Entry {
    Entry {
        context: String::new(),
        tags: (n < 2000 && n.is_multiple_of(20))
            .then(|| "a tag".to_owned())
            .into_iter()
            .collect(),
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

/// How the steps of a call may grow with the entries of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// Not at all.
    None,
    /// As the entries of a namespace, or as all.
    Entries,
}

/// What one call costs, at most.
struct Cost {
    call: &'static str,
    growth: Growth,
    steps: u64,
    time: Duration,
}

fn calls_where_there_is_little_to_do_look_at_little() {
    steps::watch();
    if let Some(rows) = env::var_os("MNEME_SQLITE_ROWS") {
        let rows = rows.to_str().and_then(|n| n.parse().ok());
        for cost in costs(rows.expect("MNEME_SQLITE_ROWS is a number")) {
            println!(
                "{:<45}{:>12.3} ms{:>12} steps",
                cost.call,
                cost.time.as_secs_f64() * 1000.0,
                cost.steps
            );
        }
        return;
    }
    let (few, many) = (costs(FEW), costs(TIMES * FEW));
    for (few, many) in few.iter().zip(&many) {
        assert_eq!(few.call, many.call);
        let most = match few.growth {
            // Trees of pages become a little deeper.
            Growth::None => few.steps * 5 / 4 + 50,
            Growth::Entries => few.steps * (TIMES + 1) + 50,
        };
        println!(
            "{:<45}{:>9} then {:>9} steps",
            few.call, few.steps, many.steps
        );
        assert!(few.steps > 0, "{}: nothing was counted", few.call);
        assert!(
            many.steps <= most,
            "{}: {} steps among {FEW} entries, {} among {TIMES} times as many",
            few.call,
            few.steps,
            many.steps
        );
    }
}

/// What each call costs in a file with so many entries.
fn costs(rows: u64) -> Vec<Cost> {
    let place = place();
    let kept = env::var_os("MNEME_SQLITE_FILE").map(PathBuf::from);
    let path = kept.unwrap_or_else(|| place.path.clone());
    let mut store = SqliteStore::new(&path);
    store.open(FINGERPRINT, DIM).unwrap();
    fill(&mut store, rows);
    let store = &mut store;
    let any = |n: u64| n * 7919 % rows;
    let name = |n: u64| format!("namespace {}", n % 100);
    let mut costs = Vec::new();
    let mut measure = |call, growth, times: u64, run: &mut dyn FnMut(&mut SqliteStore, u64)| {
        let one = |n| {
            let start = Instant::now();
            let (steps, ()) = steps::of(|| run(store, n));
            (steps, start.elapsed())
        };
        let worst = |(a, b): (u64, Duration), (c, d): (u64, Duration)| (a.max(c), b.max(d));
        let (steps, time) = (0..times).map(one).fold((0, Duration::ZERO), worst);
        costs.push(Cost {
            call,
            growth,
            steps,
            time,
        });
    };
    measure("open", Growth::None, 3, &mut |store, _| {
        store.open(FINGERPRINT, DIM).unwrap();
    });
    measure("get_by_hash", Growth::None, 200, &mut |store, n| {
        let n = any(n);
        assert!(store.get_by_hash(&[key(&name(n), n)], true).unwrap()[0].is_some());
    });
    measure("get_by_ids of 512", Growth::None, 5, &mut |store, n| {
        let ids: Vec<u64> = (0..512).map(|k| 1 + any(n * 512 + k)).collect();
        store.get_by_ids(&ids, true).unwrap();
    });
    let mut filter = Filter {
        namespace: None,
        context: None,
        tags: Vec::new(),
        created_from: None,
        created_before: None,
    };
    measure("select of 128", Growth::None, 5, &mut |store, n| {
        let found = store.select(&filter, any(n) / 4, 128).unwrap();
        assert_eq!(found.entries.len(), 128);
    });
    filter.tags.push("a tag".to_owned());
    measure(
        "select of 100 with a tag",
        Growth::None,
        5,
        &mut |store, _| {
            let found = store.select(&filter, 0, 128).unwrap();
            assert_eq!((found.entries.len(), found.next), (100, None));
        },
    );
    filter.tags.clear();
    measure(
        "select of 16 in a namespace",
        Growth::Entries,
        5,
        &mut |store, n| {
            filter.namespace = Some(name(n));
            let found = store.select(&filter, 0, 16).unwrap();
            assert_eq!(found.entries.len(), 16);
        },
    );
    measure("count", Growth::Entries, 5, &mut |store, _| {
        store.count(None).unwrap();
    });
    measure(
        "count in a namespace",
        Growth::Entries,
        5,
        &mut |store, n| {
            store.count(Some(&name(n))).unwrap();
        },
    );
    measure("list_namespaces", Growth::None, 5, &mut |store, _| {
        drop(store.list_namespaces(None, 1000).unwrap());
    });
    measure("count_by_namespace", Growth::Entries, 5, &mut |store, _| {
        drop(store.count_by_namespace(None, 1000).unwrap());
    });
    measure("iter_lru_ids of 512", Growth::None, 5, &mut |store, _| {
        store.iter_lru_ids(512, None).unwrap();
    });
    measure(
        "iter_lru_ids of 16 in a namespace",
        Growth::None,
        5,
        &mut |store, n| {
            store.iter_lru_ids(16, Some(&name(n))).unwrap();
        },
    );
    measure("iter_since of 512", Growth::None, 5, &mut |store, n| {
        store.iter_since(any(n) / 4, 512).unwrap();
    });
    measure("iter_vectors of 512", Growth::None, 5, &mut |store, n| {
        store.iter_vectors(any(n) / 4, 512).unwrap();
    });
    measure("iter_stamps of 512", Growth::None, 1, &mut |store, _| {
        store.iter_stamps(0, 512).unwrap();
    });
    measure(
        "iter_stamps of the next 512",
        Growth::Entries,
        3,
        &mut |store, n| {
            store.iter_stamps(any(n) / 4, 512).unwrap();
        },
    );
    measure("iter_stamps of all", Growth::Entries, 3, &mut |store, _| {
        store.iter_stamps(0, u32::MAX).unwrap();
    });
    measure("read_version_counter", Growth::None, 50, &mut |store, _| {
        store.read_version_counter().unwrap();
    });
    measure("insert of 1", Growth::None, 200, &mut |store, n| {
        store.insert(vec![row(rows + n)]).unwrap();
    });
    measure("insert of 512", Growth::None, 5, &mut |store, n| {
        let first = rows + 200 + n * 512;
        let more = (first..first + 512).map(row).collect();
        store.insert(more).unwrap();
    });
    measure("replace 1", Growth::None, 50, &mut |store, n| {
        store.insert(vec![row(any(n))]).unwrap();
    });
    measure("update_access of 512", Growth::None, 5, &mut |store, n| {
        let touch = |k| Touch {
            id: 1 + any(n * 512 + k),
            hits: 1,
            last_accessed_at: NOW + k,
        };
        let touches: Vec<Touch> = (0..512).map(touch).collect();
        store.update_access(&touches).unwrap();
    });
    measure(
        "delete_unchanged of 400",
        Growth::None,
        5,
        &mut |store, n| {
            let more = store.iter_since(rows + 200 + n * 400, 400).unwrap();
            let more: Vec<EntryRef> = more
                .iter()
                .map(|entry| EntryRef {
                    id: entry.id,
                    namespace: entry.namespace.clone(),
                    created_at: entry.created_at,
                })
                .collect();
            store.delete_unchanged(&more).unwrap();
        },
    );
    measure("delete_expired, none", Growth::None, 3, &mut |store, _| {
        assert!(store.delete_expired(NOW, None, 512).unwrap().is_empty());
    });
    measure(
        "delete_expired in a namespace, none",
        Growth::None,
        3,
        &mut |store, n| {
            let expired = store.delete_expired(NOW, Some(&name(n)), 512).unwrap();
            assert!(expired.is_empty());
        },
    );
    measure(
        "delete_expired of 64",
        Growth::Entries,
        3,
        &mut |store, _| {
            store.delete_expired(NOW * 9, None, 64).unwrap();
        },
    );
    measure(
        "delete_expired of 8 in a namespace",
        Growth::Entries,
        3,
        &mut |store, n| {
            store
                .delete_expired(NOW * 9, Some(&name(2 * n)), 8)
                .unwrap();
        },
    );
    if env::var_os("MNEME_SQLITE_ROWS").is_some() {
        measure("integrity_check", Growth::Entries, 1, &mut |store, _| {
            assert!(store.integrity_check().unwrap());
        });
    }
    costs
}
