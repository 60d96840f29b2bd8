//! Mutated archives, by a seed: whatever an archive contains, nothing crashes, nothing takes long,
//! memory is bounded by its size, an error leaves the cache as it was, and `inspect` passes what
//! caches take.
//!
//! `MNEME_FUZZ_SECONDS` says how long (default 10), `MNEME_FUZZ_COUNT` how many at most,
//! `MNEME_FUZZ_SEED` where to begin (default 1). A failure names the seed of its archive.

mod mutate;

use super::parts::Parts;
use super::support::{MODEL, builder, dumped, entry, fill, memory};
use mneme::checkpoint::{self, ImportMode, InspectOptions, LoadOptions};
use mneme::{Error, GetRequest, MemoryStore, PutRequest, SemanticCache, SqliteStore};
use mneme_tests::children::{Running, argument, say};
use mneme_tests::damage;
use mutate::mutate;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

mneme_tests::tests![mutated_archives_do_no_harm];

mneme_tests::children![child_tries_archives];

/// The most processor time of a call, in seconds: enough for the 64 MiB that any archive may
/// become.
const MOST_SECONDS: f64 = 2.0;
/// The same for each MiB of the archive, which may become as much again.
const MOST_SECONDS_A_MIB: f64 = 2.0;
/// The most seconds of a call by the clock, so that one that waits for ever fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// The fewest archives that are tried in a second, on a machine that does much else.
const LEAST_A_SECOND: u64 = 2;
/// The most memory that a call takes beyond four times the archive.
const MOST_MEMORY: u64 = 64 << 20;

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(format!("MNEME_FUZZ_{name}")).ok();
    given.map_or(default, |given| given.parse().expect("a number"))
}

fn mutated_archives_do_no_harm() {
    let (first, seconds) = (setting("SEED", 1), setting("SECONDS", 10));
    let count = setting("COUNT", u64::MAX);
    let mut child = Running::named(
        "child_tries_archives",
        &[
            ("SEED", &first.to_string()),
            ("SECONDS", &seconds.to_string()),
            ("COUNT", &count.to_string()),
        ],
    );
    let mut last = "the start".to_owned();
    let mut told = None;
    while let Some(line) = child.line() {
        match line.strip_prefix("done ") {
            Some(report) => told = Some(report.to_owned()),
            None => last = line,
        }
    }
    let report = told.unwrap_or_else(|| panic!("the child ended at {last}"));
    child.finish();
    println!("{report}");
    let tried: u64 = report.split(' ').next().unwrap().parse().unwrap();
    let least = count.min(LEAST_A_SECOND * seconds);
    assert!(tried >= least, "{tried} of at least {least}: {report}");
}

/// The archives that are mutated: small and larger ones, of each layout, and one of mneme-cache.
fn bases(folder: &Path) -> Vec<Parts> {
    let few = memory();
    for n in 0..6 {
        let request = PutRequest::new(format!("question {n}"), format!("answer {n}"));
        let request = request.namespace(["n", "tenant"][n % 2]);
        let request = match n {
            2 => request,
            n => request
                .context("model")
                .tags([format!("doc:{n}"), "all".to_owned()]),
        };
        few.put(request.embedding(vec![1.0, n as f32])).unwrap();
    }
    few.set_namespace_quota("tenant", Some(50)).unwrap();
    assert!(
        few.get(GetRequest::new("question 2").namespace("n"))
            .unwrap()
            .is_hit()
    );
    let many = memory();
    fill(&many, 40);
    let native = |name: &str, from: &SemanticCache| {
        let cache = builder(SqliteStore::new(folder.join(name))).open().unwrap();
        cache
            .load(Cursor::new(dumped(from)), LoadOptions::new())
            .unwrap();
        let archive = dumped(&cache);
        cache.close().unwrap();
        Parts::of(&archive)
    };
    let small = native("few.db", &few);
    vec![
        small.clone(),
        native("many.db", &many),
        small.of_peer(),
        Parts::of(&dumped(&few)),
        Parts::of(&dumped(&many)),
    ]
}

/// What a call may cost, watched from beside it.
struct Budget {
    present: Arc<Mutex<Option<Present>>>,
}

/// A call that is under way.
struct Present {
    what: String,
    began: Instant,
    /// The processor time at which it takes too long.
    until: f64,
}

impl Present {
    /// Which limit it has passed, if any.
    fn passed(&self) -> Option<String> {
        if damage::processor_seconds() > self.until {
            return Some(format!(
                "over {MOST_SECONDS} s and {MOST_SECONDS_A_MIB} s a MiB of the processor"
            ));
        }
        (self.began.elapsed() > PATIENCE).then(|| format!("over {PATIENCE:?}"))
    }
}

impl Budget {
    fn new() -> Self {
        let present: Arc<Mutex<Option<Present>>> = Arc::default();
        let watched = Arc::clone(&present);
        std::thread::spawn(move || {
            loop {
                std::thread::park_timeout(Duration::from_millis(100));
                if let Some(present) = &*watched.lock().unwrap()
                    && let Some(limit) = present.passed()
                {
                    say(&format!("{}, which took {limit}", present.what));
                    std::process::abort();
                }
            }
        });
        Budget { present }
    }

    /// Runs a call within its budget.
    fn call<T>(&self, what: &str, bytes: usize, call: impl FnOnce() -> T) -> T {
        // From now on the peak is this call's.
        damage::forget_peak();
        let before = damage::memory("VmRSS");
        let began = damage::processor_seconds();
        let most = MOST_SECONDS + MOST_SECONDS_A_MIB * bytes as f64 / (1 << 20) as f64;
        *self.present.lock().unwrap() = Some(Present {
            what: what.to_owned(),
            began: Instant::now(),
            until: began + most,
        });
        let result = call();
        *self.present.lock().unwrap() = None;
        let grown = damage::memory("VmHWM").saturating_sub(before);
        let most = MOST_MEMORY + 4 * bytes as u64;
        assert!(
            grown <= most,
            "{what}: {grown} bytes for an archive of {bytes}"
        );
        result
    }
}

fn child_tries_archives() {
    let first: u64 = argument("SEED").parse().unwrap();
    let seconds: u64 = argument("SECONDS").parse().unwrap();
    let count: u64 = argument("COUNT").parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bases = bases(folder.path());
    let budget = Budget::new();
    let mut target = Target::new();
    let (mut taken, mut refused) = (0, BTreeMap::<&str, u32>::new());
    let began = Instant::now();
    let mut tried = 0;
    while tried < count && began.elapsed() < Duration::from_secs(seconds) {
        let seed = first.wrapping_add(tried);
        tried += 1;
        let mut random = fastrand::Rng::with_seed(seed);
        let base = &bases[random.usize(..bases.len())];
        let (archive, what) = mutate(base, &mut random, folder.path());
        let what = format!("seed {seed}: {what:.300}");
        say(&what);
        let mode = [ImportMode::Merge, ImportMode::Replace][random.usize(..2)];
        let inspected = budget.call(&format!("{what}, inspected"), archive.len(), || {
            checkpoint::inspect(Cursor::new(archive.clone()), InspectOptions::new())
        });
        let loaded = budget.call(&format!("{what}, loaded"), archive.len(), || {
            let options = LoadOptions::new().mode(mode);
            target.cache.load(Cursor::new(archive.clone()), options)
        });
        // Only the embedder of the cache is no matter of the archive.
        let is_others = matches!(
            loaded,
            Err(Error::EmbedderMismatch { .. } | Error::EmbedderDimension { .. })
        );
        assert!(
            is_others || inspected.is_ok() == loaded.is_ok(),
            "{what}: {inspected:?}, {loaded:?}"
        );
        if random.u8(..4) == 0 {
            let elsewhere = builder(MemoryStore::new()).open().unwrap();
            let converted = budget.call(&format!("{what}, converted"), archive.len(), || {
                elsewhere.load(Cursor::new(archive.clone()), LoadOptions::new())
            });
            assert_eq!(
                converted.is_ok(),
                loaded.is_ok(),
                "{what}: {converted:?}, {loaded:?}"
            );
        }
        match loaded {
            Ok(_) => {
                taken += 1;
                target.assert_sound(&what);
                target = Target::new();
            }
            Err(error) => {
                target.assert_untouched(&what);
                assert_good(&error, &what);
                *refused.entry(error.kind()).or_default() += 1;
            }
        }
    }
    say(&format!(
        "done {tried} archives: {taken} taken, refused: {refused:?}"
    ));
}

/// It names what is wrong with the archive, and nothing of this machine.
fn assert_good(error: &Error, what: &str) {
    assert!(
        matches!(
            error,
            Error::Checkpoint(_)
                | Error::Schema(_)
                | Error::Unsupported(_)
                | Error::EmbedderMismatch { .. }
                | Error::EmbedderDimension { .. }
        ),
        "{what}: {error:?}"
    );
    let text = error.to_string();
    assert!(!text.contains("mneme-scratch-"), "{what}: {text}");
}

/// A cache that archives are loaded into.
struct Target {
    cache: SemanticCache,
    path: PathBuf,
    before: Vec<Vec<Value>>,
    _folder: TempDir,
}

impl Target {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("target.db");
        let cache = builder(SqliteStore::new(&path)).open().unwrap();
        cache.put(entry(1_000_000)).unwrap();
        cache.set_namespace_quota("mine", Some(7)).unwrap();
        let before = content(&path);
        Target {
            cache,
            path,
            before,
            _folder: folder,
        }
    }

    fn assert_untouched(&self, what: &str) {
        assert_eq!(content(&self.path), self.before, "{what}");
        let hit = self.cache.get("question 1000000").unwrap();
        assert!(hit.is_hit(), "{what}");
    }

    /// What was taken over is a cache like any other.
    fn assert_sound(self, what: &str) {
        let Target { cache, path, .. } = self;
        let health = cache.health(true).unwrap();
        // An entry may be dated ahead, which the report says.
        let is_known = |problem: &String| problem.contains("a clock that is ahead");
        assert!(
            health.store_ok && health.problems.iter().all(is_known),
            "{what}: {health:?}"
        );
        // Tenants do not meet, and writing goes on.
        cache
            .put(
                PutRequest::new("secret", "acme's")
                    .namespace("acme")
                    .embedding(vec![1.0, 0.5]),
            )
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        for other in ["ACME", "acme ", "Acme"] {
            let ask = GetRequest::new("secret")
                .namespace(other)
                .embedding(vec![1.0, 0.5]);
            assert!(!cache.get(ask).unwrap().is_hit(), "{what}: {other}");
        }
        let (_, archive) = cache
            .dump_verified(
                tempfile::tempfile().unwrap(),
                mneme::checkpoint::DumpOptions::new(),
            )
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        drop(archive);
        assert_eq!(cache.stats(None).unwrap().embedder_fingerprint, MODEL);
        cache.clear().unwrap();
        cache
            .put(entry(5))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        cache.close().unwrap();
        let database = Connection::open(path).unwrap();
        let more = "SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index') OR name = 'more'";
        let more: u32 = database.query_row(more, [], |row| row.get(0)).unwrap();
        assert_eq!(more, 0, "{what}");
    }
}

/// All rows but those that count accesses.
fn content(path: &Path) -> Vec<Vec<Value>> {
    let database = Connection::open(path).unwrap();
    let mut rows = Vec::new();
    for sql in [
        "SELECT sql FROM sqlite_schema ORDER BY name",
        "SELECT id, namespace, query_hash, query, response, embedding, metadata, created_at, ttl FROM entries ORDER BY id",
        "SELECT * FROM namespace_quotas ORDER BY 1",
        "SELECT * FROM sqlite_sequence ORDER BY 1",
        "SELECT * FROM schema_meta WHERE key <> 'counters' ORDER BY 1",
    ] {
        let mut statement = database.prepare(sql).unwrap();
        let columns = statement.column_count();
        let found = statement
            .query_map([], |row| (0..columns).map(|at| row.get(at)).collect())
            .unwrap();
        rows.extend(found.map(Result::unwrap));
    }
    rows
}
