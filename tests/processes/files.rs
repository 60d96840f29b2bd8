//! Several processes on one SQLite file, and processes that are killed.

use mneme::{Coordination, GetRequest, ManualClock, PutRequest, SemanticCache, SqliteStore};
use mneme_tests::children::{Running, argument, hear, say};
use mneme_tests::embedders::Words;
use mneme_tests::{sqlite, unless_it_hangs};
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mneme_tests::tests![
    a_reader_follows_a_writer_and_no_lock_fails,
    a_reader_with_an_interval_follows_when_it_has_passed,
    puts_acknowledged_before_a_kill_are_there_after_it,
    processes_that_create_and_fill_a_file_together_lose_nothing,
];

mneme_tests::children![
    child_writes_and_deletes,
    child_obeys,
    child_puts_until_killed,
    child_works_beside_others,
];

fn open(path: &Path, coordination: Coordination) -> SemanticCache {
    mneme_tests::builder()
        .store(SqliteStore::new(path))
        .embedder(Words)
        .coordination(coordination)
        .touches(1, 0)
        .open()
        .unwrap()
}

fn query(n: u64) -> String {
    format!("alpha{n} beta{n} gamma{n}")
}

/// Means the same as [`query`], and is found by the semantic layer only.
fn reworded(n: u64) -> String {
    format!("gamma{n} alpha{n} beta{n}")
}

fn response(cache: &SemanticCache, query: &str) -> Option<String> {
    cache.get(query).unwrap().hit().map(|hit| hit.response)
}

/// Rounds that the writer goes on for before it waits for the reader, and questions that
/// the reader asks before it lets the writer go on: so neither is done before the other.
const ROUNDS_PER_GO: u64 = 20;
const QUESTIONS_PER_GO: u64 = 5;

/// Puts new answers, deletes older ones and replaces others, and says what is done.
fn child_writes_and_deletes() {
    let (path, rounds) = (argument("PATH"), argument("ROUNDS"));
    let cache = open(Path::new(&path), Coordination::Single);
    for n in 0..rounds.parse().unwrap() {
        if n % ROUNDS_PER_GO == 0 {
            hear();
        }
        cache
            .put(PutRequest::new(query(n), format!("answer {n} 0")))
            .unwrap();
        say(&format!("put {n} 0"));
        if n % 2 == 1 {
            assert!(cache.delete(&query(n - 1), "default").unwrap());
            say(&format!("deleted {}", n - 1));
        }
        if n % 4 == 3 {
            cache
                .put(PutRequest::new(
                    query(n - 2),
                    format!("answer {} {n}", n - 2),
                ))
                .unwrap();
            say(&format!("put {} {n}", n - 2));
        }
    }
    cache.close().unwrap();
}

/// What the writer has acknowledged.
#[derive(Default, Clone)]
struct Acknowledged {
    /// The latest version of each answer.
    put: HashMap<u64, u64>,
    deleted: HashSet<u64>,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let mut words = line.split(' ');
        let verb = words.next();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap();
        match verb {
            Some("put") => drop(self.put.insert(number(), number())),
            Some("deleted") => drop(self.deleted.insert(number())),
            _ => panic!("the writer said {line:?}"),
        }
    }
}

/// Asks both layers about answer `n`. What had been acknowledged before the question is
/// what counts: the reader may have seen more.
fn check_answer(cache: &SemanticCache, n: u64, before: &Acknowledged) {
    for query in [query(n), reworded(n)] {
        let answer = response(cache, &query);
        let version = answer.as_deref().and_then(|answer| {
            answer
                .strip_prefix(&format!("answer {n} "))
                .map(|version| version.parse::<u64>().unwrap())
        });
        match before.put.get(&n) {
            _ if before.deleted.contains(&n) => {
                assert_eq!(
                    version, None,
                    "{query:?} was deleted, and answers {answer:?}"
                );
            }
            // Even numbers are deleted in time, perhaps just now.
            Some(&acknowledged) if n % 2 == 1 => assert!(
                version.is_some_and(|version| version >= acknowledged),
                "{query:?} has version {acknowledged}, and answers {answer:?}"
            ),
            _ => {}
        }
    }
}

fn a_reader_follows_a_writer_and_no_lock_fails() {
    unless_it_hangs(|| {
        const ROUNDS: u64 = 600;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        let reader = open(&path, Coordination::StaleTolerant(0));
        let mut writer = Running::named(
            "child_writes_and_deletes",
            &[
                ("PATH", path.to_str().unwrap()),
                ("ROUNDS", &ROUNDS.to_string()),
            ],
        );
        let go = writer.take_input();
        let acknowledged = Mutex::new(Acknowledged::default());
        let ended = AtomicBool::new(false);
        let asked = std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(line) = writer.line() {
                    acknowledged.lock().unwrap().note(&line);
                }
                ended.store(true, Ordering::SeqCst);
            });
            // Dropped where a question fails, so that the writer ends.
            let mut go = go;
            let mut asked = 0_u64;
            loop {
                let at_the_end = ended.load(Ordering::SeqCst);
                let before = acknowledged.lock().unwrap().clone();
                let latest = before.put.keys().copied().max().unwrap_or(0);
                // The newest answers, and older ones in turn.
                for n in [
                    latest,
                    latest.saturating_sub(1),
                    latest.saturating_sub(2),
                    asked % (latest + 1),
                ] {
                    check_answer(&reader, n, &before);
                }
                if asked.is_multiple_of(QUESTIONS_PER_GO) {
                    // A writer that has ended does not listen.
                    let _ = writeln!(go, "go");
                }
                asked += 1;
                if at_the_end {
                    break asked;
                }
            }
        });
        writer.finish();
        let acknowledged = acknowledged.into_inner().unwrap();
        assert_eq!(
            acknowledged.put.len() as u64,
            ROUNDS,
            "the writer was cut short"
        );
        assert!(
            asked >= ROUNDS / ROUNDS_PER_GO * QUESTIONS_PER_GO - QUESTIONS_PER_GO,
            "{asked}"
        );
        for n in 0..ROUNDS {
            check_answer(&reader, n, &acknowledged);
        }
        assert_eq!(reader.stats(None).unwrap().entries, ROUNDS / 2);
        assert!(reader.health(true).unwrap().healthy);
        reader.close().unwrap();
    });
}

/// Does as it is told, line by line.
fn child_obeys() {
    let path = argument("PATH");
    let cache = open(Path::new(&path), Coordination::StaleTolerant(0));
    while let Some(order) = hear() {
        match order.split_once(' ').unwrap() {
            ("put", rest) => {
                let (n, response) = rest.split_once(' ').unwrap();
                cache
                    .put(PutRequest::new(query(n.parse().unwrap()), response))
                    .unwrap();
            }
            ("delete", n) => assert!(cache.delete(&query(n.parse().unwrap()), "default").unwrap()),
            _ => panic!("an order of no known kind: {order}"),
        }
        say("done");
    }
    cache.close().unwrap();
}

fn a_reader_with_an_interval_follows_when_it_has_passed() {
    unless_it_hangs(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        let mut other = Running::named("child_obeys", &[("PATH", path.to_str().unwrap())]);
        let mut order = |order: &str| {
            other.tell(order);
            assert_eq!(other.line().as_deref(), Some("done"));
        };
        order("put 1 one");
        order("put 2 two");
        // The entries are those of the real clock; this one only drives the interval.
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let clock = ManualClock::default();
        clock.set(now);
        let reader = mneme_tests::builder()
            .store(SqliteStore::new(&path))
            .embedder(Words)
            .clock(clock.clone())
            .coordination(Coordination::StaleTolerant(5_000))
            .open()
            .unwrap();
        assert_eq!(response(&reader, &reworded(1)).as_deref(), Some("one"));
        order("delete 1");
        order("put 2 zwei");
        order("put 3 three");
        // Before the interval has passed: nothing that is gone or was replaced.
        assert_eq!(response(&reader, &reworded(1)), None);
        assert_eq!(response(&reader, &reworded(2)).as_deref(), Some("zwei"));
        assert_eq!(response(&reader, &query(3)).as_deref(), Some("three"));
        assert_eq!(
            response(&reader, &reworded(3)),
            None,
            "it was looked for before the interval had passed"
        );
        clock.advance(Duration::from_millis(5_000));
        assert_eq!(response(&reader, &reworded(3)).as_deref(), Some("three"));
        for round in 0..20 {
            let (old, new) = (3 + round, 4 + round);
            order(&format!("delete {old}"));
            order(&format!("put {new} answer {new}"));
            assert_eq!(response(&reader, &reworded(old)), None, "round {round}");
            clock.advance(Duration::from_millis(5_000));
            assert_eq!(
                response(&reader, &reworded(new)),
                Some(format!("answer {new}")),
                "round {round}"
            );
            assert_eq!(response(&reader, &reworded(old)), None, "round {round}");
        }
        reader.close().unwrap();
        other.finish();
    });
}

/// How many entries the `n`th put of [`child_puts_until_killed`] stores.
fn batch(n: u64) -> u64 {
    if n % 5 == 4 { 4 } else { 1 }
}

fn batch_queries(n: u64) -> impl Iterator<Item = String> {
    (0..batch(n)).map(move |part| format!("put {n} part {part}"))
}

/// Puts, one entry or several in one step, and says so after each.
fn child_puts_until_killed() {
    let (path, first) = (argument("PATH"), argument("FIRST"));
    let cache = open(Path::new(&path), Coordination::Single);
    let response = "x".repeat(3000);
    for n in first.parse().unwrap().. {
        let puts = batch_queries(n).map(|query| PutRequest::new(query, &response));
        cache.put_many(puts.collect()).unwrap();
        say(&n.to_string());
    }
}

fn puts_acknowledged_before_a_kill_are_there_after_it() {
    unless_it_hangs(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        let mut puts: u64 = 0;
        for round in 0..8 {
            let mut child = Running::named(
                "child_puts_until_killed",
                &[
                    ("PATH", path.to_str().unwrap()),
                    ("FIRST", &puts.to_string()),
                ],
            );
            let mut acknowledged = Vec::new();
            while acknowledged.len() < 40 + 23 * round {
                acknowledged.push(child.line().expect("the child goes on"));
            }
            child.kill();
            // What it had said before.
            acknowledged.extend(std::iter::from_fn(|| child.line()));

            let cache = open(&path, Coordination::Single);
            let health = cache.health(true).unwrap();
            assert!(health.healthy, "round {round}: {health:?}");
            for n in &acknowledged {
                for query in batch_queries(n.parse().unwrap()) {
                    let hit = cache.get(GetRequest::new(&query)).unwrap().hit();
                    let hit =
                        hit.unwrap_or_else(|| panic!("round {round}: {query:?} was acknowledged"));
                    assert_eq!((hit.query, hit.response.len()), (query, 3000));
                }
            }
            // Each put is one step of the counter, and there in full or not at all.
            let version: String = sqlite::value(&path, "SELECT value FROM multi_process_state");
            puts = version.parse().unwrap();
            assert!(puts > acknowledged.last().unwrap().parse().unwrap());
            let entries = (0..puts).map(batch).sum::<u64>();
            assert_eq!(cache.stats(None).unwrap().entries, entries, "round {round}");
            cache.close().unwrap();
        }
    });
}

/// Opens the file when told to, and puts and asks beside its siblings.
fn child_works_beside_others() {
    let (path, name) = (argument("PATH"), argument("NAME"));
    say("ready");
    hear();
    let cache = open(Path::new(&path), Coordination::StaleTolerant(0));
    for n in 0..WORK {
        let put = |namespace: &str, response: &str| {
            let request = PutRequest::new(query(n), response).namespace(namespace);
            cache.put(request).unwrap();
        };
        put(&name, &name);
        put("shared", &name);
        for query in [query(n), reworded(n)] {
            let hit = cache.get(GetRequest::new(query).namespace(&*name)).unwrap();
            assert_eq!(hit.hit().unwrap().response, name);
        }
    }
    cache.close().unwrap();
}

/// How many entries each of them puts into its own namespace and into the shared one.
const WORK: u64 = 60;

fn processes_that_create_and_fill_a_file_together_lose_nothing() {
    unless_it_hangs(|| {
        const CHILDREN: u64 = 4;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        let mut children: Vec<Running> = (0..CHILDREN)
            .map(|n| {
                let arguments = [
                    ("PATH", path.to_str().unwrap()),
                    ("NAME", &format!("child {n}")),
                ];
                Running::named("child_works_beside_others", &arguments)
            })
            .collect();
        for child in &mut children {
            assert_eq!(child.line().as_deref(), Some("ready"));
        }
        for child in &mut children {
            child.tell("go");
        }
        for child in children {
            child.finish();
        }
        let cache = open(&path, Coordination::Single);
        let stats = cache.stats(None).unwrap();
        assert_eq!(stats.entries, (CHILDREN + 1) * WORK);
        // Counts of several processes add up; none overwrites those of another.
        assert_eq!(stats.counters.hits_exact, CHILDREN * WORK);
        assert_eq!(stats.counters.hits_semantic, CHILDREN * WORK);
        let version: String = sqlite::value(&path, "SELECT value FROM multi_process_state");
        assert_eq!(
            version,
            (2 * CHILDREN * WORK).to_string(),
            "one step for each put"
        );
        assert!(cache.health(true).unwrap().healthy);
    });
}
