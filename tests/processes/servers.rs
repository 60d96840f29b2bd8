//! Several processes on one server: two writers and three readers, for thousands of puts, with
//! the server left alone, and with the server killed and restarted in the middle.

use mneme::store::{self, Store, StoreError};
use mneme::{Coordination, Error, GetRequest, PutRequest, SemanticCache};
use mneme_tests::children::{Running, argument, hear, say};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words};
use mneme_tests::servers::postgres::{PASSWORD, Postgres};
use mneme_tests::servers::redis::Redis;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

mneme_tests::tests![
    processes_agree_on_redis,
    processes_agree_on_postgres,
    processes_survive_the_end_of_redis,
    processes_survive_the_end_of_postgres,
];

mneme_tests::children![child_writes, child_reads,];

const WRITERS: u64 = 2;
const READERS: u64 = 3;
/// Keys of each writer's own namespace, which it puts and deletes in turn.
const KEYS: u64 = 40;
/// How often a test meddles, and how many puts are acknowledged before each time.
const ROUNDS: u64 = 6;
const PUTS: u64 = 800;
/// How long a round may take on a machine that is busy.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// Both writers add to the number under this meta key.
const TALLY: &str = "tally";

pub(super) fn namespace(writer: u64) -> String {
    format!("writer {writer}")
}

pub(super) fn query(key: u64) -> String {
    format!("alpha{key} beta{key} gamma{key}")
}

/// Means the same as [`query`], and is found by the semantic layer only.
pub(super) fn reworded(key: u64) -> String {
    format!("gamma{key} alpha{key} beta{key}")
}

pub(super) fn open_cache(url: &str) -> SemanticCache {
    mneme_tests::builder()
        .boxed_store(store::from_url(url).unwrap())
        .embedder(Words)
        .coordination(Coordination::StaleTolerant(0))
        .open()
        .unwrap()
}

pub(super) fn open_store(url: &str) -> Box<dyn Store> {
    let mut store = store::from_url(url).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

/// The first success of a call that may fail while the server is away. Every error of an
/// outage is typed and invites to call again.
pub(super) fn persist<T, E: Into<Error>>(
    failures: &mut u64,
    mut call: impl FnMut() -> Result<T, E>,
) -> T {
    loop {
        match call().map_err(Into::into) {
            Ok(value) => return value,
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                assert!(!error.to_string().contains(PASSWORD), "{error}");
                *failures += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Tells whether the parent has said something.
pub(super) fn told() -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&told);
    std::thread::spawn(move || {
        hear();
        heard.store(true, Ordering::SeqCst);
    });
    told
}

/// Puts, replaces and deletes until it is told to stop, and says what is acknowledged:
/// `put KEY VERSION ID`, `deleted KEY`, and in the end `tally N FAILURES UNKNOWN`.
fn child_writes() {
    let (url, name) = (argument("URL"), argument("NAME"));
    let writer: u64 = name.parse().unwrap();
    let cache = open_cache(&url);
    let mut beside = open_store(&url);
    let stop = told();
    let (mut failures, mut tally, mut unknown) = (0, 0, 0);
    for version in 1_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = version % KEYS;
        let before = persist(&mut failures, || beside.read_version_counter());
        if version % 7 == 0 {
            persist(&mut failures, || {
                cache.delete(&query(key), &namespace(writer))
            });
            say(&format!("deleted {key}"));
            // The next put of the key comes with a new id.
            continue;
        }
        let id = persist(&mut failures, || {
            let answer = format!("{writer} {key} {version}");
            cache.put(PutRequest::new(query(key), answer).namespace(namespace(writer)))
        });
        let after = persist(&mut failures, || beside.read_version_counter());
        assert!(before < after, "a put moved the counter: {before} {after}");
        say(&format!("put {key} {version} {id}"));
        // Both writers fight for this one.
        persist(&mut failures, || {
            let answer = format!("{writer} 0 {version}");
            cache.put(PutRequest::new(query(version % 3), answer).namespace("both"))
        });
        while !persist(&mut failures, || match add_one(&mut *beside) {
            // A step that may have been made must not be made again: so the error says.
            Err(StoreError::Backend(error)) if !error.retryable => {
                assert!(error.message.contains("unknown"), "{}", error.message);
                unknown += 1;
                Ok(true)
            }
            outcome => outcome,
        }) {}
        tally += 1;
    }
    say(&format!("tally {tally} {failures} {unknown}"));
    persist(&mut failures, || cache.flush());
    cache.close().unwrap();
}

/// Adds one to the tally; false where the other writer was faster.
fn add_one(store: &mut dyn Store) -> Result<bool, StoreError> {
    let present = store.read_meta(TALLY)?;
    let number: u64 = present
        .as_deref()
        .map_or(0, |number| number.parse().unwrap());
    let next = (number + 1).to_string();
    store.replace_meta(TALLY, present.as_deref(), Some(&next))
}

/// Asks until it is told to stop; then says what it finds: `found WRITER KEY VERSION`.
fn child_reads() {
    let (url, name) = (argument("URL"), argument("NAME"));
    let cache = open_cache(&url);
    let mut beside = open_store(&url);
    let stop = told();
    let mut seen: HashMap<(u64, u64), u64> = HashMap::new();
    let (mut failures, mut counter) = (0, 0);
    let mut random: u64 = name.parse().unwrap();
    while !stop.load(Ordering::SeqCst) {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (writer, key) = ((random >> 33) % WRITERS, (random >> 40) % KEYS);
        let text = match random >> 63 {
            0 => query(key),
            _ => reworded(key),
        };
        if let Some(version) = ask(&cache, &mut failures, writer, key, &text) {
            let latest = seen.entry((writer, key)).or_default();
            assert!(
                version >= *latest,
                "{text:?} of {writer}: {version} after {latest}"
            );
            *latest = version;
        }
        let next = persist(&mut failures, || beside.read_version_counter());
        assert!(
            next >= counter,
            "the counter went back from {counter} to {next}"
        );
        counter = next;
    }
    // The index rests after it has followed much, so what it has not seen yet comes soon.
    let deadline = Instant::now() + LONGEST;
    for writer in 0..WRITERS {
        for key in 0..KEYS {
            let exact = ask(&cache, &mut failures, writer, key, &query(key));
            let mut similar = ask(&cache, &mut failures, writer, key, &reworded(key));
            while similar != exact && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
                similar = ask(&cache, &mut failures, writer, key, &reworded(key));
            }
            for version in [exact, similar].into_iter().flatten() {
                say(&format!("found {writer} {key} {version}"));
            }
        }
    }
    say(&format!("failures {failures}"));
    cache.close().unwrap();
}

/// The version that answers.
fn ask(
    cache: &SemanticCache,
    failures: &mut u64,
    writer: u64,
    key: u64,
    text: &str,
) -> Option<u64> {
    let lookup = persist(failures, || {
        cache.get(GetRequest::new(text).namespace(namespace(writer)))
    });
    let response = lookup.hit()?.response;
    let version = response.strip_prefix(&format!("{writer} {key} "));
    let version = version.and_then(|version| version.parse().ok());
    Some(version.unwrap_or_else(|| panic!("{text:?} answers {response:?}")))
}

/// What a writer has acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// The version and the id of each key that is there.
    present: BTreeMap<u64, (u64, u64)>,
    ids: BTreeSet<u64>,
    puts: u64,
    tally: u64,
    failures: u64,
    /// Steps of the tally that may have been made or not.
    unknown: u64,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let mut words = line.split(' ');
        let verb = words.next();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap();
        match verb {
            Some("put") => {
                let (key, version, id) = (number(), number(), number());
                match self.present.insert(key, (version, id)) {
                    Some((_, old)) => assert_eq!(old, id, "key {key} was replaced"),
                    None => assert!(self.ids.insert(id), "id {id} was used before"),
                }
                self.puts += 1;
            }
            Some("deleted") => drop(self.present.remove(&number())),
            Some("tally") => {
                (self.tally, self.failures, self.unknown) = (number(), number(), number());
            }
            _ => panic!("a writer said {line:?}"),
        }
    }
}

/// Runs writers and readers on a store while `meddle` does what it does, again and again.
fn work_together(url: &str, outage: bool, mut meddle: impl FnMut()) {
    let puts = AtomicU64::new(0);
    let child =
        |test: &str, n: u64| Running::named(test, &[("URL", url), ("NAME", &n.to_string())]);
    let mut writers: Vec<Running> = (0..WRITERS).map(|n| child("child_writes", n)).collect();
    let mut readers: Vec<Running> = (0..READERS).map(|n| child("child_reads", n)).collect();
    let mut inputs: Vec<_> = writers.iter_mut().map(Running::take_input).collect();
    let acknowledged: Vec<Acknowledged> = std::thread::scope(|scope| {
        let listening: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                scope.spawn(|| {
                    let mut acknowledged = Acknowledged::default();
                    while let Some(line) = writer.line() {
                        acknowledged.note(&line);
                        puts.fetch_add(u64::from(line.starts_with("put ")), Ordering::Relaxed);
                    }
                    acknowledged
                })
            })
            .collect();
        for round in 1..=ROUNDS {
            let start = Instant::now();
            while puts.load(Ordering::Relaxed) < round * PUTS && start.elapsed() < LONGEST {
                std::thread::sleep(Duration::from_millis(10));
            }
            meddle();
        }
        // A closed pipe tells them as well as a line.
        inputs.clear();
        listening
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for writer in writers {
        writer.finish();
    }
    check_rows(url, &acknowledged, outage);
    for reader in &mut readers {
        reader.tell("stop");
        check_reader(reader, &acknowledged, outage);
    }
    for reader in readers {
        reader.finish();
    }
}

/// The store holds what was acknowledged, and nothing else.
fn check_rows(url: &str, acknowledged: &[Acknowledged], outage: bool) {
    let mut store = open_store(url);
    let rows = store.iter_since(0, 10_000).unwrap();
    let mut found: BTreeMap<(String, String), (u64, String)> = rows
        .into_iter()
        .map(|row| ((row.namespace, row.query), (row.id, row.response)))
        .collect();
    found.retain(|(namespace, _), _| namespace != "both");
    let mut expected = BTreeMap::new();
    for (writer, acknowledged) in acknowledged.iter().enumerate() {
        for (key, (version, id)) in &acknowledged.present {
            let answer = (*id, format!("{writer} {key} {version}"));
            expected.insert((namespace(writer as u64), query(*key)), answer);
        }
    }
    assert_eq!(found, expected);
    let ids: BTreeSet<u64> = acknowledged.iter().flat_map(|a| &a.ids).copied().collect();
    let used: usize = acknowledged.iter().map(|a| a.ids.len()).sum();
    assert_eq!(ids.len(), used, "two writers were given the same id");
    let tally: u64 = store.read_meta(TALLY).unwrap().unwrap().parse().unwrap();
    let added: u64 = acknowledged.iter().map(|a| a.tally).sum();
    let failures: u64 = acknowledged.iter().map(|a| a.failures).sum();
    let unknown: u64 = acknowledged.iter().map(|a| a.unknown).sum();
    let puts: u64 = acknowledged.iter().map(|a| a.puts).sum();
    println!("{puts} puts, {} ids, {failures} failed calls", ids.len());
    if outage {
        assert!(
            (added - unknown..=added).contains(&tally),
            "{added} {unknown} {tally}"
        );
        assert!(failures > 0, "nobody noticed the outage");
    } else {
        assert_eq!(tally, added, "an update was lost");
        assert_eq!((failures, unknown), (0, 0));
    }
    assert!(puts > 50, "the writers did next to nothing: {puts}");
    assert!(store.integrity_check().unwrap());
}

/// A reader finds in both layers what was acknowledged.
fn check_reader(reader: &mut Running, acknowledged: &[Acknowledged], outage: bool) {
    let mut found: BTreeMap<(u64, u64), Vec<u64>> = BTreeMap::new();
    while let Some(line) = reader.line() {
        let mut words = line.split(' ');
        let verb = words.next();
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        match verb {
            Some("found") => found
                .entry((number(), number()))
                .or_default()
                .push(number()),
            Some("failures") => assert!(outage || number() == 0, "{line}"),
            _ => panic!("a reader said {line:?}"),
        }
    }
    let mut expected = BTreeMap::new();
    for (writer, acknowledged) in acknowledged.iter().enumerate() {
        for (key, (version, _)) in &acknowledged.present {
            expected.insert((writer as u64, *key), vec![*version, *version]);
        }
    }
    assert_eq!(found, expected);
}

fn processes_agree_on_redis(server: Redis) {
    work_together(&server.url(), false, || ());
}

fn processes_agree_on_postgres(server: Postgres) {
    work_together(&server.url(), false, || ());
}

fn processes_survive_the_end_of_redis(mut server: Redis) {
    let url = server.url();
    work_together(&url, true, || {
        server.kill();
        std::thread::sleep(Duration::from_millis(500));
        server.restart().unwrap();
    });
}

fn processes_survive_the_end_of_postgres(mut server: Postgres) {
    let url = server.url();
    work_together(&url, true, || {
        server.kill();
        std::thread::sleep(Duration::from_millis(500));
        server.restart().unwrap();
    });
}
