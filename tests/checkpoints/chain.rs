//! One cache through every store and back: memory, SQLite, Redis, PostgreSQL, DynamoDB,
//! memory. What goes in at one end comes out at the other, and answers the same on the way.

use mneme::checkpoint::{Compression, DumpOptions, Layout, LoadOptions};
use mneme::store::{Entry, Store};
use mneme::{
    DynamoDbStore, GetRequest, Lookup, ManualClock, MemoryStore, PostgresStore, PutRequest,
    RedisStore, SemanticCache, SqliteStore, Ttl,
};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words};
use mneme_tests::servers::dynamodb::DynamoDb;
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::servers::redis::Redis;
use std::any::Any;
use std::io::Cursor;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NAMESPACES: [&str; 3] = ["default", "eu:\u{1f600}/b", "a|b"];

mneme_tests::tests![one_cache_goes_through_every_store];

/// A store, and what keeps its backend alive.
struct Place {
    name: &'static str,
    open: Box<dyn FnMut() -> Box<dyn Store>>,
    _server: Box<dyn Any>,
}

fn place<S: Store + 'static>(
    name: &'static str,
    server: impl Any,
    mut open: impl FnMut() -> S + 'static,
) -> Place {
    Place {
        name,
        open: Box::new(move || Box::new(open())),
        _server: Box::new(server),
    }
}

fn places(redis: Redis, postgres: Postgres, dynamodb: DynamoDb) -> Vec<Place> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let (redis_url, postgres_url) = (redis.url(), postgres.url());
    // It copies all tables for each transaction.
    let dynamodb_url = format!("{}&call_timeout_ms=60000", dynamodb.url("chain"));
    vec![
        place("sqlite", folder, move || SqliteStore::new(&path)),
        place("redis", redis, move || {
            RedisStore::from_url(&redis_url).unwrap()
        }),
        place("postgres", postgres, move || {
            PostgresStore::from_url(&postgres_url).unwrap()
        }),
        place("dynamodb", dynamodb, move || {
            DynamoDbStore::from_url(&dynamodb_url).unwrap()
        }),
        place("memory", (), MemoryStore::new),
    ]
}

fn open(store: Box<dyn Store>, clock: &ManualClock) -> SemanticCache {
    mneme_tests::builder()
        .boxed_store(store)
        .embedder(Words)
        .clock(clock.clone())
        .open()
        .unwrap()
}

/// A cache in memory with texts of every kind, lifetimes, quotas, counters and access data.
fn filled(clock: &ManualClock) -> SemanticCache {
    let cache = open(Box::new(MemoryStore::new()), clock);
    for n in 0..60_u64 {
        let request = PutRequest::new(
            format!("Alpha{n}  beta{n}\u{3000}ΓΆΜΜΑ{n} \u{1f600}"),
            format!(
                "answer {n} {}",
                "\u{0}\n\"é\u{10ffff}".repeat(n as usize % 7)
            ),
        )
        .namespace(NAMESPACES[n as usize % 3])
        .metadata(format!("{{ \"n\": {n}.50, \"é\": [null, 1e3] }}"))
        .ttl(match n % 4 {
            0 => Ttl::Seconds(86_400 + n),
            _ => Ttl::Unlimited,
        });
        let request = match n % 5 {
            0 => request
                .context("model é\u{10ffff}")
                .tags(["user:é", "doc:1"]),
            1 => request.tag("doc:1"),
            _ => request,
        };
        cache.put(request).unwrap();
        clock.advance(Duration::from_secs(1));
    }
    cache.set_namespace_quota(NAMESPACES[1], Some(500)).unwrap();
    cache.set_namespace_quota("empty", Some(0)).unwrap();
    answers(&cache);
    cache.flush().unwrap();
    cache
}

/// What the cache says to a fixed set of questions: both layers, misses, other namespaces.
fn answers(cache: &SemanticCache) -> Vec<String> {
    let mut answers = Vec::new();
    for n in (0..60).step_by(7) {
        for question in [
            format!("alpha{n} beta{n} γάμμα{n} \u{1f600}"),
            format!("beta{n} alpha{n} \u{1f600} γάμμα{n}"),
            format!("nothing{n} like{n} that{n}"),
        ] {
            let asked = NAMESPACES.map(|namespace| (namespace, ""));
            let asked = asked.into_iter().chain([("default", "model é\u{10ffff}")]);
            for (namespace, context) in asked {
                let request = GetRequest::new(question.as_str()).namespace(namespace);
                let request = request.context(context);
                answers.push(match cache.get(request).unwrap() {
                    Lookup::Hit(hit) => format!(
                        "{namespace} {context} {:?} {} {} {} {} {}",
                        hit.layer,
                        hit.similarity,
                        hit.age_seconds,
                        hit.query,
                        hit.response,
                        hit.metadata
                    ),
                    Lookup::Miss(miss) => format!("{namespace} {context} {:?}", miss.reason),
                });
            }
        }
    }
    answers
}

/// What a store holds, but for the ids, which are its own.
#[derive(Debug, PartialEq)]
struct Content {
    entries: Vec<Entry>,
    quotas: Vec<(String, u64)>,
    meta: Vec<(String, String)>,
}

fn content(store: &mut dyn Store) -> Content {
    store.open(FINGERPRINT, DIM).unwrap();
    let mut entries = store.iter_since(0, 1000).unwrap();
    for entry in &mut entries {
        entry.id = 0;
    }
    let content = Content {
        entries,
        quotas: store.list_namespace_quotas().unwrap(),
        meta: store.list_meta().unwrap(),
    };
    store.close().unwrap();
    content
}

fn one_cache_goes_through_every_store(redis: Redis, postgres: Postgres, dynamodb: DynamoDb) {
    let mut places = places(redis, postgres, dynamodb);
    // The servers drop what has expired by their own clocks.
    let clock = ManualClock::at(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    );
    let mut cache = filled(&clock);
    let reference = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Words)
        .clock(clock.clone())
        .open()
        .unwrap();
    let first = dump(&cache, 0);
    reference
        .load(Cursor::new(first.clone()), LoadOptions::new())
        .unwrap();
    let expected_answers = answers(&reference);
    let expected_counters = cache.stats(None).unwrap().counters;
    assert!(
        expected_answers
            .iter()
            .any(|answer| answer.contains("Semantic"))
    );
    assert!(
        expected_answers
            .iter()
            .any(|answer| answer.contains("Exact"))
    );
    assert!(
        expected_answers
            .iter()
            .any(|answer| answer.contains("model") && answer.contains("Exact"))
    );

    let mut expected: Option<Content> = None;
    for (step, place) in places.iter_mut().enumerate() {
        let archive = dump(&cache, step);
        cache.close().unwrap();
        cache = open((place.open)(), &clock);
        let report = cache.load(Cursor::new(archive), LoadOptions::new());
        let report = report.unwrap_or_else(|error| panic!("into {}: {error}", place.name));
        assert_eq!(report.entries, 60, "{}", place.name);
        assert_eq!(
            cache.stats(None).unwrap().counters,
            expected_counters,
            "{}",
            place.name
        );
        if place.name != "memory" {
            cache.close().unwrap();
            let found = content(&mut *(place.open)());
            match &expected {
                Some(expected) => assert_eq!(&found, expected, "{}", place.name),
                None => {
                    let labelled = found.entries.iter();
                    let labelled = labelled.filter(|entry| entry.context.starts_with("model"));
                    assert_eq!(labelled.clone().count(), 12);
                    assert!(
                        labelled
                            .into_iter()
                            .all(|entry| entry.tags == ["doc:1", "user:é"])
                    );
                    expected = Some(found);
                }
            }
            cache = open((place.open)(), &clock);
        }
        // Asking counts, so a copy is asked.
        let copy = open(Box::new(MemoryStore::new()), &clock);
        copy.load(Cursor::new(dump(&cache, step)), LoadOptions::new())
            .unwrap();
        assert_eq!(answers(&copy), expected_answers, "{}", place.name);
    }
    assert_eq!(answers(&cache), expected_answers);
}

/// Portable, with one compression or the other.
fn dump(cache: &SemanticCache, step: usize) -> Vec<u8> {
    let options = DumpOptions::new()
        .layout(Layout::Portable)
        .compression([Compression::Gzip, Compression::Zstd][step % 2]);
    cache.dump(Vec::new(), options).unwrap().1
}
