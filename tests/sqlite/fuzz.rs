//! Files and snapshots with damage that knows SQLite: statements, numbers, pages, records.
//!
//! A child process tries each of them as a file and as a snapshot. `MNEME_SQLITE_CASES` gives
//! their number, `MNEME_SQLITE_SEED` where the random numbers begin.

use std::env;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mneme::store::{Entry, SqliteStore, Store, StoreError};
use rusqlite::Connection;

use super::place::{open, place, version};
use super::schemas::{ADDITIONS, CHANGES, rewrite};
use super::snapshots::snapshot;
use mneme_tests::children::{Running, argument, say};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, hash, key, put};

mneme_tests::tests![no_damage_crashes_hangs_or_takes_memory];
mneme_tests::children![child_takes_damage];

/// No call on a file of some 100 KB may take longer.
const LONGEST: Duration = Duration::from_secs(2);
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
        ..entry(["a", "b", "A"][n as usize % 3], n)
    };
    store.insert((0..120).map(row).collect()).unwrap();
    store.set_namespace_quota("a", Some(99)).unwrap();
    store.replace_meta("k", None, Some("v")).unwrap();
    store.write_blob("index/1", vec![7; 9000]).unwrap();
    snapshot(&mut store)
}

const NUMBERS: [&str; 12] = [
    "-1",
    "0",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775807",
    "-9223372036854775808",
    "1e300",
    "-1e-300",
    "'x'",
    "x'00'",
    "NULL",
    "zeroblob(90000)",
];

/// A statement that puts an odd value somewhere.
fn odd_value(random: &mut Rng) -> String {
    let (table, columns): (&str, &[&str]) = random
        .choice([
            (
                "entries",
                &[
                    "id",
                    "namespace",
                    "query_hash",
                    "query",
                    "response",
                    "embedding",
                    "metadata",
                    "created_at",
                    "last_accessed_at",
                    "ttl",
                    "access_count",
                ][..],
            ),
            ("sqlite_sequence", &["name", "seq"]),
            ("namespace_quotas", &["namespace", "max_entries"]),
            ("multi_process_state", &["key", "value"]),
            ("schema_meta", &["key", "value"]),
            ("derived_blobs", &["name", "bytes"]),
        ])
        .unwrap();
    let column = random.choice(columns).unwrap();
    let value = random.choice(NUMBERS).unwrap();
    let row = random.u32(1..100);
    format!("UPDATE OR IGNORE {table} SET {column} = {value} WHERE rowid % {row} = 0")
}

fn by_sql(bytes: &[u8], sql: &str, path: &Path) -> Vec<u8> {
    fs::write(path, bytes).unwrap();
    let conn = Connection::open(path).unwrap();
    // Where constraints refuse it, there is no damage.
    let _ = conn.execute_batch(sql);
    drop(conn);
    fs::read(path).unwrap()
}

fn damaged(good: &[u8], random: &mut Rng, path: &Path) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut bytes = good.to_vec();
    let pages = bytes.len() / PAGE;
    match random.u32(0..12) {
        0 => {
            let (name, from, to) = random.choice(CHANGES).unwrap();
            by_sql(&bytes, &rewrite(name, from, to), path)
        }
        1 => by_sql(&bytes, random.choice(ADDITIONS).unwrap().1, path),
        2..=4 => by_sql(&bytes, &odd_value(random), path),
        5 => {
            let (a, b) = (random.usize(1..pages), random.usize(1..pages));
            let copy = bytes[a * PAGE..(a + 1) * PAGE].to_vec();
            bytes.copy_within(b * PAGE..(b + 1) * PAGE, a * PAGE);
            bytes[b * PAGE..(b + 1) * PAGE].copy_from_slice(&copy);
            bytes
        }
        6 => {
            bytes.truncate(random.usize(1..bytes.len()));
            bytes
        }
        7 => {
            // The header: page size, versions, freelist, encoding, reserved bytes.
            let at = random.usize(16..100);
            bytes[at] = random.u8(..);
            bytes
        }
        8 => {
            // The head of a page: kind, free blocks, number of cells.
            let at = random.usize(1..pages) * PAGE + random.usize(0..12);
            bytes[at] = random.u8(..);
            bytes
        }
        9 => {
            // A varint that never ends, or is huge.
            let at = random.usize(PAGE..bytes.len() - 9);
            bytes[at..at + 9].fill(0xFF);
            bytes
        }
        10 => {
            // A page number, which may lead in circles.
            let at = random.usize(1..pages) * PAGE;
            let to = random.u32(0..pages as u32 + 2);
            bytes[at..at + 4].copy_from_slice(&to.to_be_bytes());
            bytes
        }
        _ => {
            for _ in 0..random.u32(1..20) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes
        }
    }
}

/// Fails if a call takes too long. What it says is of no account.
fn timed<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = call();
    assert!(
        start.elapsed() < LONGEST,
        "{what} took {:?}",
        start.elapsed()
    );
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
    let _ = timed("get_by_hash", || store.get_by_hash(&keys));
    let _ = timed("iter_since", || store.iter_since(0, 1000));
    let _ = timed("iter_vectors", || store.iter_vectors(0, 1000));
    let _ = timed("iter_stamps", || store.iter_stamps(0, 1000));
    let _ = timed("iter_lru_ids", || store.iter_lru_ids(100, None));
    let _ = timed("count_by_namespace", || store.count_by_namespace());
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
    let memory = peak_memory();
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
        let grown = peak_memory() - memory;
        let most = MOST_MEMORY + 4 * bytes.len() as u64;
        assert!(grown < most, "case {case}: {grown} bytes");
    }
}

/// The most memory that this process has had, where the system tells it.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.map_or(0, |kib| kib.trim().parse::<u64>().unwrap() << 10)
}
