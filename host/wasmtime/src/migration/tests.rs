use super::*;
use crate::builder::Coordination;
use crate::cache::SemanticCache;
use crate::embedder::{EmbedError, Embedder, Embedding, Guarded, Reading};
use crate::host::ManualClock;
use crate::request::{GetRequest, PutRequest, Ttl};
use crate::store::{MemoryStore, SqliteStore};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

const NOW: u64 = 1_000_000;

/// Makes vectors of texts, as many calls as it is allowed to.
struct Model {
    name: &'static str,
    calls: AtomicUsize,
    allowed: usize,
}

impl Model {
    fn new(name: &'static str) -> Self {
        Self::failing(name, usize::MAX)
    }

    fn failing(name: &'static str, allowed: usize) -> Self {
        Model {
            name,
            calls: AtomicUsize::new(0),
            allowed,
        }
    }
}

impl Embedder for Model {
    fn fingerprint(&self) -> &str {
        self.name
    }

    fn dim(&self) -> u32 {
        self.name.len() as u32
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.allowed {
            return Err(EmbedError::transient("the model is gone"));
        }
        let embed = |text: &&str| {
            let mut random = fastrand::Rng::with_seed(text.len() as u64);
            let mut vector: Vec<f32> = (0..self.dim()).map(|_| random.f32() - 0.5).collect();
            vector[0] += text.bytes().map(f32::from).sum::<f32>() / 1e4;
            vector
        };
        Ok(texts.iter().map(embed).collect())
    }
}

/// One call at a time.
fn guarded(model: Model) -> Guarded {
    Guarded::new(model).concurrency(1)
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn store(&self, name: &str) -> SqliteStore {
        SqliteStore::new(self.0.path().join(name))
    }

    fn cache(&self, name: &str, model: Model, clock: &ManualClock) -> SemanticCache {
        SemanticCache::builder()
            .store(self.store(name))
            .embedder(model)
            .clock(clock.clone())
            .coordination(Coordination::Single)
            .open()
            .unwrap()
    }

    /// A cache of 300 entries in three namespaces, used a little, with ten expired ones.
    fn filled(&self, name: &str) -> SqliteStore {
        let clock = ManualClock::at(NOW);
        let cache = self.cache(name, Model::new("old"), &clock);
        cache.set_namespace_quota("a", Some(500)).unwrap();
        cache.set_namespace_quota("z", Some(0)).unwrap();
        for i in 0..300_u64 {
            clock.set(std::time::Duration::from_secs(NOW - 1000 + i));
            let put = PutRequest::new(format!("Question  {i}?"), format!("answer {i}"));
            let put = put.namespace(["a", "b", "c"][i as usize % 3]);
            let put = put.metadata(format!("{{\"n\":{i}}}")).ttl(match i % 30 {
                0 => Ttl::Seconds(5),
                1 => Ttl::Seconds(5000),
                _ => Ttl::Unlimited,
            });
            cache.put(put).unwrap();
        }
        clock.set(std::time::Duration::from_secs(NOW));
        // Asking for an expired entry would delete it.
        for i in (2..300).step_by(7).filter(|i| i % 30 != 0) {
            let get = GetRequest::new(format!("question {i}?"));
            cache.get(get.namespace(["a", "b", "c"][i % 3])).unwrap();
        }
        cache.close().unwrap();
        self.store(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }
}

fn migration<'a>() -> Migration<'a> {
    Migration::new()
        .clock(ManualClock::at(NOW))
        .source_name("old.db")
}

/// Entries, quotas and meta.
type Contents = (Vec<Entry>, Vec<(String, u64)>, Vec<(String, String)>);

/// SHA-256 in hexadecimal digits.
fn digest(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything in a store but ids.
fn contents(mut store: impl Store) -> Contents {
    let embedder = store.recorded_embedder().unwrap().unwrap();
    store.open(&embedder.fingerprint, embedder.dim).unwrap();
    let mut entries = store.iter_since(0, 10_000).unwrap();
    for entry in &mut entries {
        entry.id = 0;
    }
    let found = (
        entries,
        store.list_namespace_quotas().unwrap(),
        store.list_meta().unwrap(),
    );
    store.close().unwrap();
    found
}

#[test]
fn everything_but_vectors_and_counters_is_kept() {
    let folder = Folder::new();
    let mut source = folder.filled("old.db");
    let before = folder.bytes("old.db");
    let mut seen = Vec::new();
    let report = migration()
        .on_progress(|progress| seen.push(progress))
        .reembed(
            &mut source,
            &mut folder.store("new.db"),
            &guarded(Model::new("newer")),
        )
        .unwrap();
    assert_eq!(
        (report.written, report.expired, report.quotas),
        (290, 10, 2)
    );
    assert_eq!(
        (report.present, report.newer, report.resumed),
        (0, 0, false)
    );
    assert_eq!(folder.bytes("old.db"), before);
    assert_eq!((seen[0].done, seen[0].total), (0, 300));
    assert_eq!(seen.last().map(|last| last.done), Some(300));

    let (mut old, old_quotas, old_meta) = contents(source);
    let (mut new, new_quotas, new_meta) = contents(folder.store("new.db"));
    assert_eq!(old_quotas, new_quotas);
    assert!(old_meta.iter().any(|(key, _)| key == "counters") && new_meta.is_empty());
    old.retain(|entry| entry.ttl != Some(5));
    assert!(old.iter().any(|entry| entry.access_count > 0));
    for (old, new) in old.iter_mut().zip(&mut new) {
        assert_eq!((old.embedding.len(), new.embedding.len()), (3, 5));
        old.embedding.clear();
    }

    // The vectors are those of a put.
    let clock = ManualClock::at(NOW);
    let cache = folder.cache("fresh.db", Model::new("newer"), &clock);
    for entry in &new {
        let put = PutRequest::new(&entry.query, "r").namespace(&entry.namespace);
        cache.put(put).unwrap();
    }
    cache.close().unwrap();
    for (fresh, new) in contents(folder.store("fresh.db")).0.iter().zip(&mut new) {
        assert_eq!(fresh.embedding, new.embedding);
        new.embedding.clear();
    }
    assert_eq!(old, new);
    let cache = folder.cache("new.db", Model::new("newer"), &clock);
    assert_eq!(cache.stats(None).unwrap().counters.misses, 0);
    let hit = cache.get(GetRequest::new("question 2?").namespace("c"));
    assert_eq!(hit.unwrap().hit().unwrap().response, "answer 2");
}

#[test]
fn a_copy_has_the_same_vectors_and_only_the_namespaces_asked_for() {
    let folder = Folder::new();
    let mut source = folder.filled("old.db");
    let mut target = MemoryStore::new();
    let report = migration()
        .namespaces(["b", "z", "not there"])
        .copy(&mut source, &mut target)
        .unwrap();
    assert_eq!((report.written, report.quotas), (100, 1));
    let (mut old, _, _) = contents(source);
    old.retain(|entry| entry.namespace == "b");
    let (new, quotas, _) = contents(target);
    assert_eq!(old, new);
    assert_eq!(quotas, [("z".to_owned(), 0)]);
}

#[test]
fn each_entry_gets_its_own_vector_however_many_calls_there_are() {
    let folder = Folder::new();
    let mut source = folder.filled("old.db");
    for calls in [1, 3, 16] {
        let mut target = MemoryStore::new();
        let model = Guarded::new(Model::new("newer")).concurrency(calls);
        migration()
            .reembed(&mut source, &mut target, &model)
            .unwrap();
        let (entries, _, _) = contents(target);
        assert!(entries.len() > 2 * PAGE);
        for entry in entries {
            let text = entry.query.to_lowercase().replace("  ", " ");
            let vector = &Model::new("newer").embed(&[&text]).unwrap()[0];
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            for (stored, wanted) in entry.embedding.iter().zip(vector) {
                assert!((stored - wanted / length).abs() < 1e-6, "{calls}: {text}");
            }
        }
    }
}

#[test]
fn interrupted_runs_add_up_to_one() {
    let folder = Folder::new();
    let mut source = folder.filled("old.db");
    let run = |source: &mut SqliteStore, target: &str, model: Model| {
        migration().reembed(source, &mut folder.store(target), &guarded(model))
    };
    run(&mut source, "whole.db", Model::new("newer")).unwrap();
    let expected = contents(folder.store("whole.db"));
    let calls = 300_usize.div_ceil(PAGE);
    for seed in 0..20 {
        let name = format!("parts-{seed}.db");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut runs = 1;
        loop {
            let allowed = random.usize(..calls);
            let before = folder.store(&name).recorded_embedder().unwrap().is_some();
            match run(&mut source, &name, Model::failing("newer", allowed)) {
                Ok(report) => {
                    assert_eq!(report.written + report.present, 290);
                    assert!(before || runs == 1);
                    break;
                }
                Err(Error::Embedder(error)) => assert!(error.retryable),
                Err(other) => panic!("{other}"),
            }
            runs += 1;
            // However unlucky, it gets on: a run that may embed nothing is not counted.
            assert!(runs < 1000);
        }
        assert_eq!(contents(folder.store(&name)), expected);
    }
}

#[test]
fn targets_that_hold_something_are_not_spoilt() {
    let folder = Folder::new();
    let mut source = folder.filled("old.db");
    let model = guarded(Model::new("newer"));
    let clock = ManualClock::at(NOW + 50);
    let cache = folder.cache("new.db", Model::new("newer"), &clock);
    for query in ["question 1?", "mine"] {
        cache
            .put(PutRequest::new(query, "mine").namespace("b"))
            .unwrap();
    }
    cache.set_namespace_quota("a", Some(7)).unwrap();
    cache.close().unwrap();
    let mut target = folder.store("new.db");
    let before = contents(folder.store("new.db"));
    let error = migration().reembed(&mut source, &mut target, &model);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("has 2 entries"), "{error}");
    assert_eq!(contents(folder.store("new.db")), before);

    let merge = migration().merge(true);
    let report = merge.reembed(&mut source, &mut target, &model).unwrap();
    assert_eq!((report.written, report.newer, report.quotas), (289, 1, 1));
    let (entries, quotas, _) = contents(folder.store("new.db"));
    assert_eq!(entries.iter().filter(|e| e.response == "mine").count(), 2);
    assert_eq!(quotas[0], ("a".to_owned(), 7));

    // What has been added since comes over with the next run.
    let cache = folder.cache("old.db", Model::new("old"), &clock);
    cache
        .put(PutRequest::new("late", "r").namespace("a"))
        .unwrap();
    cache.close().unwrap();
    let merge = migration().merge(true);
    let report = merge.reembed(&mut source, &mut target, &model).unwrap();
    assert_eq!((report.written, report.present, report.newer), (1, 289, 1));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let folder = Folder::new();
    let mut source = folder.filled("old.db");
    let text = |outcome: Result<Report>| outcome.unwrap_err().to_string();
    let model = guarded(Model::new("newer"));

    let same = text(migration().copy(&mut source, &mut folder.store("old.db")));
    assert!(same.contains("are the same store"), "{same}");
    let meta = contents(folder.store("old.db")).2;
    assert!(meta.iter().all(|(key, _)| key != META_KEY));

    let none = text(migration().copy(&mut folder.store("none.db"), &mut MemoryStore::new()));
    assert!(none.contains("holds no cache"), "{none}");
    assert!(!folder.0.path().join("none.db").exists());

    let again = guarded(Model::new("old"));
    let again = text(migration().reembed(&mut source, &mut MemoryStore::new(), &again));
    assert!(
        again.contains("already made with the embedder \"old\""),
        "{again}"
    );

    let mut other = folder.store("other.db");
    other.open("another", 7).unwrap();
    other.close().unwrap();
    let other = migration().reembed(&mut source, &mut other, &model);
    assert!(matches!(other, Err(Error::EmbedderMismatch { .. })));

    // A trial that was cut short allows nothing.
    let mut tried = MemoryStore::new();
    tried.open("newer", 5).unwrap();
    let trial = r#"{"from":"old.db","run":"1","trying":true}"#;
    assert!(tried.replace_meta(META_KEY, None, Some(trial)).unwrap());
    let mut mine = contents(folder.store("old.db")).0.remove(0);
    mine.embedding = vec![1.0, 0.0, 0.0, 0.0, 0.0];
    tried.insert(vec![mine]).unwrap();
    tried.close().unwrap();
    let tried = text(migration().reembed(&mut source, &mut tried, &model));
    assert!(tried.contains("has 1 entries"), "{tried}");

    // A target that is half filled from elsewhere.
    let broken = guarded(Model::failing("newer", 1));
    let mut half = folder.store("half.db");
    migration()
        .reembed(&mut source, &mut half, &broken)
        .unwrap_err();
    let elsewhere = migration().source_name("elsewhere.db");
    let elsewhere = text(elsewhere.reembed(&mut source, &mut half, &model));
    assert!(
        elsewhere.contains("\"old.db\", not \"elsewhere.db\""),
        "{elsewhere}"
    );
    let chained = text(migration().copy(&mut half, &mut MemoryStore::new()));
    assert!(chained.contains("has not ended"), "{chained}");
    let report = migration().reembed(&mut source, &mut half, &model).unwrap();
    assert!(report.resumed && report.present == 64 - 3);
}

#[test]
fn bad_vectors_and_foreign_hashes_stop_it() {
    /// Answers with this vector.
    struct Vector(Vec<f32>);
    impl Embedder for Vector {
        fn fingerprint(&self) -> &str {
            "vector"
        }
        fn dim(&self) -> u32 {
            2
        }
        fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
            Ok(texts.iter().map(|_| self.0.clone()).collect())
        }
    }
    let folder = Folder::new();
    let mut source = folder.filled("old.db");
    for (vector, expected) in [
        (vec![1.0], "has 1 values"),
        (vec![f32::NAN, 0.0], "not finite"),
        (vec![0.0, 0.0], "is zero"),
    ] {
        let outcome = migration().reembed(
            &mut source,
            &mut MemoryStore::new(),
            &Guarded::new(Vector(vector)),
        );
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    // A cache that does not normalise hashes the query itself.
    let mut odd = MemoryStore::new();
    odd.open("old", 3).unwrap();
    let entry = |query: &str, hash: String| Entry {
        context: String::new(),
        tags: Vec::new(),
        id: 0,
        namespace: "n".into(),
        query_hash: hash,
        query: query.into(),
        response: "r".into(),
        embedding: vec![1.0, 0.0, 0.0],
        metadata: "{}".into(),
        created_at: NOW,
        last_accessed_at: NOW,
        ttl: None,
        access_count: 0,
    };
    odd.insert(vec![entry("As It Is", digest("As It Is"))])
        .unwrap();
    odd.close().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    struct Seeing(Arc<Mutex<Vec<String>>>);
    impl Embedder for Seeing {
        fn fingerprint(&self) -> &str {
            "seeing"
        }
        fn dim(&self) -> u32 {
            1
        }
        fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.extend(texts.iter().map(|text| (*text).to_owned()));
            Ok(texts.iter().map(|_| vec![1.0]).collect())
        }
    }
    let seeing = Guarded::new(Seeing(Arc::clone(&seen)));
    migration()
        .reembed(&mut odd, &mut MemoryStore::new(), &seeing)
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), ["As It Is"]);

    odd.open("old", 3).unwrap();
    odd.insert(vec![entry("x", digest("y"))]).unwrap();
    odd.close().unwrap();
    let outcome = migration().reembed(&mut odd, &mut MemoryStore::new(), &seeing);
    assert!(
        matches!(outcome, Err(Error::Corrupt(text)) if text.contains("entry 2 of namespace \"n\""))
    );
}

#[test]
fn entries_without_a_vector_stay_so_unless_told_otherwise() {
    /// Reads no text that begins with `long`, and says so.
    struct Picky;
    impl Embedder for Picky {
        fn fingerprint(&self) -> &str {
            "picky"
        }
        fn dim(&self) -> u32 {
            2
        }
        fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
            if texts.contains(&"refused") {
                return Err(EmbedError::permanent("refused"));
            }
            Ok(texts.iter().map(|_| vec![3.0, 4.0]).collect())
        }
        fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
            let vectors = self.embed(texts)?.into_iter().zip(texts);
            let read = vectors.map(|(vector, text)| Embedding {
                vector,
                reading: Some(Reading {
                    tokens: 2,
                    tokens_read: if text.starts_with("long") { 1 } else { 2 },
                    tokens_unknown: 0,
                }),
            });
            Ok(read.collect())
        }
    }
    let folder = Folder::new();
    let clock = ManualClock::at(NOW);
    let cache = folder.cache("old.db", Model::new("old"), &clock);
    for query in ["plain", "long text", "refused"] {
        cache.put(PutRequest::new(query, "r")).unwrap();
    }
    cache
        .put(PutRequest::new("by its words", "r").exact_only())
        .unwrap();
    cache.close().unwrap();
    let run = |migration: Migration<'_>, target: &str| {
        let mut source = folder.store("old.db");
        let picky = Guarded::new(Picky);
        let report = migration.reembed(&mut source, &mut folder.store(target), &picky);
        let entries = contents(folder.store(target)).0.into_iter();
        let vectors: Vec<_> = entries.map(|e| (e.query, e.embedding)).collect();
        (report.unwrap(), vectors)
    };
    let vectors = |found: &[(&str, [f32; 2])]| -> Vec<(String, Vec<f32>)> {
        let own = found
            .iter()
            .map(|(query, v)| ((*query).to_owned(), v.to_vec()));
        own.collect()
    };
    let (none, unit) = ([0.0, 0.0], [0.6, 0.8]);
    let (report, found) = run(migration(), "kept.db");
    assert_eq!((report.written, report.exact_only), (4, 3));
    let expected = [
        ("plain", unit),
        ("long text", none),
        ("refused", none),
        ("by its words", none),
    ];
    assert_eq!(found, vectors(&expected));
    let all = migration().embed_exact_only(true).allow_unreadable(true);
    let (report, found) = run(all, "embedded.db");
    assert_eq!((report.written, report.exact_only), (4, 1));
    let expected = [
        ("plain", unit),
        ("long text", unit),
        ("refused", none),
        ("by its words", unit),
    ];
    assert_eq!(found, vectors(&expected));
}

#[test]
fn an_embedder_that_hangs_ends_a_run() {
    /// Never answers.
    struct Silent;
    impl Embedder for Silent {
        fn fingerprint(&self) -> &str {
            "silent"
        }
        fn dim(&self) -> u32 {
            2
        }
        fn embed(&self, _: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
            loop {
                std::thread::park();
            }
        }
    }
    let folder = Folder::new();
    let mut source = folder.filled("old.db");
    let silent = Guarded::new(Silent).timeout(std::time::Duration::from_millis(50));
    let outcome = migration().reembed(&mut source, &mut MemoryStore::new(), &silent);
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("did not answer within 50ms"), "{error}");
}
