//! One cache copied through every store, and embedded again on the way: memory, SQLite, Redis,
//! PostgreSQL, DynamoDB, memory. Whatever the backends, what is said in `migration` holds.

use mneme::embedder::{EmbedError, Guarded};
use mneme::migration::{META_KEY, Migration};
use mneme::store::{Entry, Store};
use mneme::{
    DynamoDbStore, Embedder, Error, GetRequest, MemoryStore, PostgresStore, PutRequest, RedisStore,
    SqliteStore, Ttl,
};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words, words};
use mneme_tests::servers::dynamodb::DynamoDb;
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::servers::redis::Redis;
use std::sync::atomic::{AtomicUsize, Ordering};

const ENTRIES: usize = 150;
const NAMESPACES: [&str; 3] = ["default", "eu:\u{1f600}/b", "a|b"];

mneme_tests::tests![one_cache_is_copied_through_every_store];

/// Embeds by words, the wrong way round, as many calls as it is allowed to.
struct Reversed {
    allowed: AtomicUsize,
}

impl Reversed {
    fn new(allowed: usize) -> Self {
        Reversed {
            allowed: AtomicUsize::new(allowed),
        }
    }
}

impl Embedder for Reversed {
    fn fingerprint(&self) -> &str {
        "reversed-words-1"
    }

    fn dim(&self) -> u32 {
        DIM
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let left = |left: usize| left.checked_sub(1);
        let allowed = &self.allowed;
        if allowed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .is_err()
        {
            return Err(EmbedError::transient("enough for now"));
        }
        let embed = |text: &&str| {
            let mut vector = words(text);
            vector.reverse();
            vector
        };
        Ok(texts.iter().map(embed).collect())
    }
}

type Open = Box<dyn FnMut() -> Box<dyn Store>>;

fn filled() -> MemoryStore {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filled.db");
    let cache = mneme_tests::builder()
        .store(SqliteStore::new(&path))
        .embedder(Words)
        .open()
        .unwrap();
    for n in 0..ENTRIES {
        let request = PutRequest::new(
            format!("Alpha{n}  beta{n}\u{3000}ΓΆΜΜΑ{n} \u{1f600}"),
            format!("answer {n} {}", "\u{0}\n\"é\u{10ffff}".repeat(n % 7)),
        );
        let request = request
            .namespace(NAMESPACES[n % 3])
            .metadata(format!("{{ \"n\": {n}.50, \"é\": [null, 1e3] }}"))
            .ttl(match n % 4 {
                0 => Ttl::Seconds(86_400 + n as u64),
                _ => Ttl::Unlimited,
            });
        let request = match n % 5 {
            1 => request
                .context("model é\u{10ffff}")
                .tags(["user:é", "doc:1"]),
            _ => request,
        };
        cache.put(request).unwrap();
    }
    cache.set_namespace_quota(NAMESPACES[1], Some(500)).unwrap();
    cache.set_namespace_quota("empty", Some(0)).unwrap();
    for n in (0..ENTRIES).step_by(11) {
        let question = format!("alpha{n} beta{n} γάμμα{n} \u{1f600}");
        let request = GetRequest::new(question).namespace(NAMESPACES[n % 3]);
        let request = match n % 5 {
            1 => request.context("model é\u{10ffff}").tag("doc:1"),
            _ => request,
        };
        assert!(cache.get(request).unwrap().is_hit());
    }
    cache.close().unwrap();
    let mut store = MemoryStore::new();
    Migration::new()
        .copy(&mut SqliteStore::new(&path), &mut store)
        .unwrap();
    store
}

/// Entries without ids, and quotas.
fn content(store: &mut dyn Store) -> (Vec<Entry>, Vec<(String, u64)>) {
    let embedder = store.recorded_embedder().unwrap().unwrap();
    store.open(&embedder.fingerprint, embedder.dim).unwrap();
    let mut entries = store.iter_since(0, 1000).unwrap();
    for entry in &mut entries {
        entry.id = 0;
    }
    let quotas = store.list_namespace_quotas().unwrap();
    let meta = store.list_meta().unwrap();
    assert!(meta.iter().all(|(key, _)| key != META_KEY), "{meta:?}");
    store.close().unwrap();
    (entries, quotas)
}

fn one_cache_is_copied_through_every_store(redis: Redis, postgres: Postgres, dynamodb: DynamoDb) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let (redis_url, postgres_url) = (redis.url(), postgres.url());
    // It copies all tables for each transaction.
    let dynamodb_url = format!("{}&call_timeout_ms=60000", dynamodb.url("migration"));
    let places: [(&str, Open); 4] = [
        (
            "sqlite",
            Box::new(move || Box::new(SqliteStore::new(&path))),
        ),
        (
            "redis",
            Box::new(move || Box::new(RedisStore::from_url(&redis_url).unwrap())),
        ),
        (
            "postgres",
            Box::new(move || Box::new(PostgresStore::from_url(&postgres_url).unwrap())),
        ),
        (
            "dynamodb",
            Box::new(move || Box::new(DynamoDbStore::from_url(&dynamodb_url).unwrap())),
        ),
    ];
    let mut first = filled();
    let expected = content(&mut first);
    assert_eq!(expected.0.len(), ENTRIES);
    assert!(expected.0.iter().any(|entry| entry.access_count > 0));
    let labelled = expected.0.iter().filter(|entry| !entry.context.is_empty());
    assert_eq!(labelled.clone().count(), ENTRIES / 5);
    assert!(
        labelled
            .into_iter()
            .all(|entry| entry.tags == ["doc:1", "user:é"])
    );
    let mut source: Box<dyn Store> = Box::new(first);
    for (name, mut open) in places {
        // Looking leaves nothing behind.
        for _ in 0..2 {
            assert_eq!(open().recorded_embedder().unwrap(), None, "{name}");
        }
        let report = Migration::new().copy(&mut *source, &mut *open());
        let report = report.unwrap_or_else(|error| panic!("into {name}: {error}"));
        assert_eq!(
            (report.written, report.quotas),
            (ENTRIES as u64, 2),
            "{name}"
        );
        let recorded = open().recorded_embedder().unwrap().unwrap();
        assert_eq!((&*recorded.fingerprint, recorded.dim), (FINGERPRINT, DIM));
        assert_eq!(content(&mut *open()), expected, "{name}");

        let same = Migration::new().copy(&mut *open(), &mut *open());
        let same = same.unwrap_err().to_string();
        assert!(same.contains("are the same store"), "{name}: {same}");
        let again = Migration::new().copy(&mut *source, &mut *open());
        let again = again.unwrap_err().to_string();
        assert!(again.contains("has 150 entries"), "{name}: {again}");
        let reversed = Guarded::new(Reversed::new(9));
        let other = Migration::new().reembed(&mut *source, &mut *open(), &reversed);
        assert!(
            matches!(other, Err(Error::EmbedderMismatch { .. })),
            "{name}"
        );
        let merged = Migration::new().merge(true);
        let merged = merged.copy(&mut *source, &mut *open()).unwrap();
        assert_eq!(
            (merged.written, merged.present),
            (0, ENTRIES as u64),
            "{name}"
        );
        assert_eq!(content(&mut *open()), expected, "{name}");
        source = open();
    }

    // Embedded again from the last of them, with an interruption after each call.
    let mut target = MemoryStore::new();
    let mut runs = 0;
    loop {
        runs += 1;
        let migration = Migration::new().source_name("dynamodb");
        let reversed = Guarded::new(Reversed::new(1)).concurrency(1);
        match migration.reembed(&mut *source, &mut target, &reversed) {
            Ok(report) => {
                assert_eq!(report.written + report.present, ENTRIES as u64);
                break;
            }
            Err(error) => assert!(matches!(error, Error::Embedder(_)), "{error}"),
        }
    }
    assert_eq!(runs, ENTRIES.div_ceil(64));
    let (mut entries, quotas) = content(&mut target);
    assert_eq!(quotas, expected.1);
    for (entry, old) in entries.iter_mut().zip(&expected.0) {
        let mut reversed = old.embedding.clone();
        reversed.reverse();
        let distance = entry.embedding.iter().zip(&reversed);
        let distance = distance.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(distance < 1e-6, "{distance}");
        entry.embedding.clone_from(&old.embedding);
    }
    assert_eq!(entries, expected.0);
}
