//! Files and snapshots with damage that knows SQLite: statements, numbers, pages, records.
//!
//! A child process tries each of them as a file and as a snapshot. `MNEME_SQLITE_CASES` gives
//! their number, `MNEME_SQLITE_SEED` where the random numbers begin.

use std::env;
use std::fs;
use std::path::Path;

use fastrand::Rng;
use mneme::store::{Entry, Filter, SqliteStore, Store, StoreError};

use super::place::{open, place, version};
use super::schemas::{ADDITIONS, CHANGES, rewrite};
use super::snapshots::snapshot;
use mneme_tests::children::{Running, argument, say};
use mneme_tests::damage;
use mneme_tests::rows::{DIM, FINGERPRINT, entry, hash, key, put};

mneme_tests::tests![no_damage_crashes_hangs_or_takes_memory];
mneme_tests::children![child_takes_damage];

/// No call on a file of some 100 KB may take more of a processor, in seconds.
const LONGEST: f64 = 2.0;
/// Beyond four times the file.
const MOST_MEMORY: u64 = 64 << 20;

fn no_damage_crashes_hangs_or_takes_memory() {
    let given = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let cases = given("MNEME_SQLITE_CASES", "300");
    let seed = given("MNEME_SQLITE_SEED", "7");
    let arguments = [("CASES", &*cases), ("SEED", &*seed)];
    let mut child = Running::named("child_takes_damage", &arguments);
    let said: Vec<String> = std::iter::from_fn(|| child.line()).collect();
    child.finish();
    let count = |what: &str| said.iter().filter(|line| *line == what).count();
    // Some of each. Otherwise the damage does nothing, or hides everything else.
    let total: usize = cases.parse().unwrap();
    assert_eq!(count("taken") + count("refused"), total, "{said:?}");
    assert!(count("taken") > total / 50, "{}", count("taken"));
    assert!(count("refused") > total / 4, "{}", count("refused"));
}

fn base(dir: &Path) -> Vec<u8> {
    let mut store = open(&dir.join("base.db"));
    let row = |n: u64| Entry {
        ttl: n.is_multiple_of(3).then_some(n * 100),
        response: "r".repeat(n as usize * 37),
        tags: vec!["t".to_owned(); usize::from(n.is_multiple_of(5))],
        ..entry(["a", "b", "A"][n as usize % 3], n)
    };
    store.insert((0..120).map(row).collect()).unwrap();
    store.set_namespace_quota("a", Some(99)).unwrap();
    store.replace_meta("k", None, Some("v")).unwrap();
    store.write_blob("index/1", vec![7; 9000]).unwrap();
    snapshot(&mut store)
}

fn damaged(good: &[u8], random: &mut Rng, path: &Path) -> Vec<u8> {
    let mut bytes = good.to_vec();
    match random.u32(0..12) {
        0 => {
            let (name, from, to) = random.choice(CHANGES).unwrap();
            damage::execute(&bytes, &rewrite(name, from, to), path)
        }
        1 => damage::execute(&bytes, random.choice(ADDITIONS).unwrap().1, path),
        2..=4 => damage::execute(&bytes, &damage::odd_value(random), path),
        5 => {
            bytes.truncate(random.usize(1..bytes.len()));
            bytes
        }
        6 => {
            for _ in 0..random.u32(1..20) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes
        }
        _ => {
            damage::page(&mut bytes, random);
            bytes
        }
    }
}

/// Fails if a call takes too long. What it says is of no account.
fn timed<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let start = damage::processor_seconds();
    let value = call();
    let took = damage::processor_seconds() - start;
    assert!(took < LONGEST, "{what} took {took} s");
    value
}

/// Uses a file as a store.
fn use_file(path: &Path) {
    let mut store = SqliteStore::new(path);
    if timed("open", || store.open(FINGERPRINT, DIM)).is_err() {
        return;
    }
    let _ = timed("integrity_check", || store.integrity_check());
    let keys = [key("a", 3), key("b", 4)];
    let _ = timed("get_by_hash", || store.get_by_hash(&keys, true));
    let _ = timed("iter_since", || store.iter_since(0, 1000));
    let _ = timed("iter_vectors", || store.iter_vectors(0, 1000));
    let _ = timed("iter_stamps", || store.iter_stamps(0, 1000));
    let _ = timed("iter_lru_ids", || store.iter_lru_ids(100, None));
    let filter = Filter {
        namespace: None,
        context: None,
        tags: vec!["t".to_owned()],
        created_from: Some(1),
        created_before: None,
    };
    let _ = timed("select", || store.select(&filter, 0, 100));
    let _ = timed("count_by_namespace", || {
        store.count_by_namespace(None, 1000)
    });
    let _ = timed("read_blob", || store.read_blob("index/1"));
    let _ = timed("delete_expired", || store.delete_expired(9000, None, 100));
    let given = Entry {
        query_hash: hash(777),
        ..entry("a", 777)
    };
    if let Ok(inserted) = timed("insert", || store.insert(vec![given])) {
        assert!((1..1 << 53).contains(&inserted[0].id));
    }
    let _ = timed("close", || store.close());
}

fn child_takes_damage() {
    let cases: u64 = argument("CASES").parse().unwrap();
    let mut random = Rng::with_seed(argument("SEED").parse().unwrap());
    let place = place();
    let good = base(place.dir.path());
    let mut target = open(&place.path);
    put(&mut target, entry("kept", 1));
    let before = (target.iter_since(0, 9).unwrap(), version(&mut target));
    let path = place.dir.path().join("damaged.db");
    let memory = damage::memory("VmHWM");
    for case in 0..cases {
        let bytes = damaged(&good, &mut random, &path);
        let received = timed("restore", || {
            target.begin_restore()?;
            target.write_restore(&bytes)?;
            target.check_restore()
        });
        match received {
            Ok(_) => {
                // What was accepted is all that it says.
                let read = timed("read_restore", || target.read_restore(0, 1000));
                assert!(read.is_ok(), "case {case}: {read:?}");
                say("taken");
            }
            Err(error) => {
                let typed = matches!(
                    error,
                    StoreError::Corrupt(_)
                        | StoreError::Schema(_)
                        | StoreError::EmbedderMismatch(_)
                        | StoreError::EmbedderDimension(_)
                );
                assert!(typed, "case {case}: {error:?}");
                say("refused");
            }
        }
        target.end_restore().unwrap();
        let after = (target.iter_since(0, 9).unwrap(), version(&mut target));
        assert_eq!(after, before, "case {case}");
        fs::write(&path, &bytes).unwrap();
        use_file(&path);
        for more in ["-wal", "-shm"] {
            let _ = fs::remove_file(place.dir.path().join(format!("damaged.db{more}")));
        }
        let grown = damage::memory("VmHWM") - memory;
        let most = MOST_MEMORY + 4 * bytes.len() as u64;
        assert!(grown < most, "case {case}: {grown} bytes");
    }
}
