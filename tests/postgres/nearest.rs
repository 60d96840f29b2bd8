//! The search for vectors by pgvector: its tables, triggers and index, and what can be wrong with them.

use mneme::embedder::Precomputed;
use mneme::store::{Entry, ImportMode, Neighbour, Result, Store, StoreError, VectorQuery};
use mneme::{Coordination, GetRequest, IndexKind, Layer, PostgresStore, PutRequest, SemanticCache};
use mneme_tests::rows::{FINGERPRINT, hash, put};
use mneme_tests::servers::postgres::{PASSWORD, Postgres, url};
use mneme_tests::suite::Ran;

mneme_tests::tests![a_server_with_pgvector_searches, a_server_without_it_says_so,];

/// The number of values of the vectors.
const DIM: u32 = 8;

/// A unit vector that differs for every `n`.
fn vector(n: u64) -> Vec<f32> {
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let values: Vec<f32> = (0..DIM)
        .map(|_| {
            state = state
                .wrapping_mul(0xD129_0B23_58E1_F2C5)
                .wrapping_add(0x2545_F491_4F6C_DD1D);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / length).collect()
}

fn entry(namespace: &str, n: u64) -> Entry {
    Entry {
        embedding: vector(n),
        ..mneme_tests::rows::entry(namespace, n)
    }
}

fn like(entry: &Entry) -> VectorQuery {
    VectorQuery {
        namespace: entry.namespace.clone(),
        context: entry.context.clone(),
        tags: Vec::new(),
        fresh_at: None,
        vector: entry.embedding.clone(),
    }
}

fn store(url: &str, schema: &str, more: &str) -> PostgresStore {
    PostgresStore::from_url(&format!("{url}?schema={schema}{more}")).unwrap()
}

fn try_open(url: &str, schema: &str, more: &str) -> Result<PostgresStore> {
    let mut store = store(url, schema, more);
    store.open(FINGERPRINT, DIM)?;
    Ok(store)
}

fn opened(server: &Postgres, schema: &str, more: &str) -> PostgresStore {
    try_open(&server.url(), schema, more).unwrap()
}

const VECTOR: &str = "&nearest=vector";

fn ids(found: &[Neighbour]) -> Vec<u64> {
    found.iter().map(|one| one.id).collect()
}

/// The first of the entries that are found.
fn first(store: &mut PostgresStore, entry: &Entry) -> Option<u64> {
    ids(&store.nearest(&like(entry), 3).unwrap())
        .first()
        .copied()
}

fn text(error: StoreError) -> String {
    match error {
        StoreError::Backend(error) => {
            assert!(!error.retryable, "{}", error.message);
            error.message
        }
        StoreError::Schema(message)
        | StoreError::Unsupported(message)
        | StoreError::InvalidArgument(message) => message,
        other => panic!("{other:?}"),
    }
}

/// What a part asks, and how.
type Part = (&'static str, fn(&Postgres));

/// One server for all, since it takes seconds to make one.
fn a_server_with_pgvector_searches() -> Ran {
    let server = Postgres::with_pgvector()?;
    let parts: [Part; 13] = [
        (
            "without the parameter nothing is created",
            nothing_is_created,
        ),
        ("half precision", half_precision_is_near_enough),
        ("what was there before is found", what_was_there_is_found),
        ("other writers", what_others_write_is_found),
        ("rows that are no unit vectors", odd_rows_are_left_out),
        ("many rows", the_index_finds_among_many),
        (
            "rare tags and small contexts",
            small_sets_are_compared_whole,
        ),
        ("damage", damage_is_told_and_mended),
        ("other dimensions", tables_of_other_vectors_are_refused),
        ("rights", whoever_may_not_create_is_told_what_to_run),
        ("lengths", long_vectors_are_refused),
        ("views and imports", views_and_imports_are_as_ever),
        ("a cache without an index", a_cache_holds_no_index),
    ];
    for (what, part) in parts {
        eprintln!("{what}");
        part(&server);
    }
    Ok(())
}

fn a_server_without_it_says_so() -> Ran {
    let server = Postgres::start()?;
    let refused = text(try_open(&server.url(), "without", VECTOR).unwrap_err());
    assert!(refused.contains("the server has no pgvector"), "{refused}");
    assert!(refused.contains("open"), "{refused}");
    // The cache that was created is a cache.
    let mut store = opened(&server, "without", "");
    put(&mut store, entry("a", 1));
    let refused = text(store.nearest(&like(&entry("a", 1)), 1).unwrap_err());
    assert!(refused.contains("nearest=vector"), "{refused}");
    let wrong = PostgresStore::from_url(&format!("{}?nearest=yes", server.url()));
    let refused = text(wrong.map(drop).unwrap_err());
    assert!(refused.contains("vector, halfvec or off"), "{refused}");
    Ok(())
}

fn nothing_is_created(server: &Postgres) {
    let mut store = opened(server, "plain", "");
    assert!(!store.capabilities().nearest);
    put(&mut store, entry("a", 1));
    assert_eq!(
        server.sql("SELECT count(*) FROM pg_extension WHERE extname = 'vector'"),
        "0"
    );
    assert_eq!(
        server.sql("SELECT to_regclass('plain.entry_vectors') IS NULL"),
        "t"
    );
}

fn half_precision_is_near_enough(server: &Postgres) {
    let mut store = opened(server, "half", "&nearest=halfvec");
    assert!(store.capabilities().nearest);
    let all: Vec<Entry> = (0..50).map(|n| entry("a", n)).collect();
    store.insert(all.clone()).unwrap();
    let found = store.nearest(&like(&all[7]), 50).unwrap();
    assert_eq!((found.len(), found[0].id), (50, 8));
    for one in found {
        let other = &all[one.id as usize - 1].embedding;
        let cosine: f32 = other
            .iter()
            .zip(&all[7].embedding)
            .map(|(a, b)| a * b)
            .sum();
        assert!((one.similarity - cosine).abs() < 0.002, "{one:?} {cosine}");
    }
}

fn what_was_there_is_found(server: &Postgres) {
    let mut plain = opened(server, "before", "");
    let all: Vec<Entry> = (0..20).map(|n| entry("a", n)).collect();
    plain.insert(all.clone()).unwrap();
    let version = plain.read_version_counter().unwrap();
    let mut store = opened(server, "before", VECTOR);
    assert_eq!(first(&mut store, &all[3]), Some(4));
    assert_eq!(store.read_version_counter().unwrap(), version);
    // The one that was opened without it writes for the other.
    plain.delete_by_id(4).unwrap();
    put(
        &mut plain,
        Entry {
            embedding: vector(3),
            ..entry("a", 100)
        },
    );
    assert_eq!(first(&mut store, &all[3]), Some(21));
    assert!(store.integrity_check().unwrap());
}

/// As mneme-cache and people with SQL do.
fn what_others_write_is_found(server: &Postgres) {
    let mut store = opened(server, "others", VECTOR);
    put(&mut store, entry("a", 1));
    let bytes = |n: u64| -> String {
        let bytes = vector(n).into_iter().flat_map(f32::to_le_bytes);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    };
    let insert = |n: u64, embedding: &str| {
        server.sql(&format!(
            "INSERT INTO others.entries (namespace, query_hash, query, response, embedding, metadata, created_at, last_accessed_at)
            VALUES ('a', '{}', 'q', 'r', '\\x{embedding}', '{{}}', 1, 1)
            ON CONFLICT (namespace, query_hash) DO UPDATE SET embedding = excluded.embedding",
            hash(n)
        ));
    };
    insert(2, &bytes(2));
    assert_eq!(first(&mut store, &entry("a", 2)), Some(2));
    insert(1, &bytes(50));
    assert_eq!(first(&mut store, &entry("a", 50)), Some(1));
    server.sql("DELETE FROM others.entries WHERE query_hash LIKE '%2'");
    assert_eq!(ids(&store.nearest(&like(&entry("a", 2)), 9).unwrap()), [1]);
    server.sql("UPDATE others.entries SET namespace = 'b'");
    assert_eq!(first(&mut store, &entry("a", 50)), None);
    assert_eq!(first(&mut store, &entry("b", 50)), Some(1));
    assert!(store.integrity_check().unwrap());
    server.sql("TRUNCATE others.entries");
    assert_eq!(first(&mut store, &entry("b", 50)), None);
    assert_eq!(server.sql("SELECT count(*) FROM others.entry_vectors"), "0");
}

fn odd_rows_are_left_out(server: &Postgres) {
    let mut store = opened(server, "odd", VECTOR);
    let odd = [
        vec![0.0; 8],
        vec![f32::NAN; 8],
        vec![f32::INFINITY; 8],
        vec![1e30; 8],
    ];
    for (n, embedding) in odd.into_iter().enumerate() {
        put(
            &mut store,
            Entry {
                embedding,
                ..entry("a", n as u64)
            },
        );
    }
    server.sql("UPDATE odd.entries SET embedding = '\\x00' WHERE id = 1");
    put(&mut store, entry("a", 9));
    assert_eq!(ids(&store.nearest(&like(&entry("a", 9)), 9).unwrap()), [5]);
    // Tiny values and the smallest numbers are as they are.
    let mut tiny = vec![1e-45, -1e-40, 1e-20, 0.0, -0.0, 0.6, 0.8, 1e-38];
    put(
        &mut store,
        Entry {
            embedding: tiny.clone(),
            ..entry("b", 1)
        },
    );
    let found = store
        .nearest(
            &VectorQuery {
                vector: tiny.clone(),
                ..like(&entry("b", 1))
            },
            1,
        )
        .unwrap();
    assert!((found[0].similarity - 1.0).abs() < 1e-6, "{found:?}");
    tiny[5] = -0.6;
    let found = store
        .nearest(
            &VectorQuery {
                vector: tiny,
                ..like(&entry("b", 1))
            },
            1,
        )
        .unwrap();
    assert!((found[0].similarity - 0.28).abs() < 1e-6, "{found:?}");
}

/// More than are compared one by one.
const MANY: u64 = 10_500;

fn many(server: &Postgres, schema: &str) -> PostgresStore {
    let mut store = opened(server, schema, VECTOR);
    for n in (0..MANY).step_by(500) {
        let some = n..n + 500;
        store.insert(some.map(|n| entry("a", n)).collect()).unwrap();
    }
    store
}

fn the_index_finds_among_many(server: &Postgres) {
    let mut store = many(server, "many");
    let plan = server.sql(
        "SET search_path = many, public; SET enable_sort = off;
        EXPLAIN SELECT id FROM entry_vectors ORDER BY embedding <#> '[1,0,0,0,0,0,0,0]' LIMIT 5",
    );
    assert!(plan.contains("idx_entry_vectors_hnsw"), "{plan}");
    let missed = (0..MANY)
        .step_by(100)
        .filter(|n| first(&mut store, &entry("a", *n)) != Some(n + 1));
    assert!(missed.count() <= 1);
    // The greatest number that may be asked for, and expired and deleted rows in the way.
    assert_eq!(
        store.nearest(&like(&entry("a", 5)), 1024).unwrap().len(),
        1024
    );
    server.sql("UPDATE many.entries SET ttl = 1 WHERE id % 50 <> 0");
    let fresh = VectorQuery {
        fresh_at: Some(1_000_000),
        ..like(&entry("a", 5))
    };
    let found = store.nearest(&fresh, 16).unwrap();
    assert_eq!(found.len(), 16);
    assert!(found.iter().all(|one| one.id % 50 == 0), "{found:?}");
    assert!(
        found.is_sorted_by(|a, b| a.similarity >= b.similarity),
        "{found:?}"
    );
    store.clear_namespace(Some("a")).unwrap();
    assert!(store.nearest(&like(&entry("a", 5)), 16).unwrap().is_empty());
}

fn small_sets_are_compared_whole(server: &Postgres) {
    let mut store = many(server, "small");
    let tagged = |n: u64| Entry {
        tags: vec!["rare".to_owned(), "common".to_owned()],
        ..entry("a", n)
    };
    let far: Vec<u64> = (0..5)
        .map(|n| put(&mut store, tagged(20_000 + n)))
        .collect();
    let query = VectorQuery {
        tags: vec!["common".into(), "rare".into()],
        ..like(&entry("a", 1))
    };
    let mut found = ids(&store.nearest(&query, 16).unwrap());
    found.sort_unstable();
    assert_eq!(found, far);
    let apart = put(
        &mut store,
        Entry {
            context: "apart".into(),
            ..entry("a", 30_000)
        },
    );
    let query = VectorQuery {
        context: "apart".into(),
        ..like(&entry("a", 1))
    };
    assert_eq!(ids(&store.nearest(&query, 16).unwrap()), [apart]);
}

fn damage_is_told_and_mended(server: &Postgres) {
    let damages = [
        "DROP INDEX damaged.idx_entry_vectors_hnsw",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'damaged.idx_entry_vectors_hnsw'::regclass",
        "DELETE FROM damaged.entry_vectors WHERE id = 2",
        "INSERT INTO damaged.entry_vectors SELECT 99, namespace, context, embedding FROM damaged.entry_vectors WHERE id = 1",
        "DROP TABLE damaged.entry_vectors CASCADE",
    ];
    for damage in damages {
        server.sql("DROP SCHEMA IF EXISTS damaged CASCADE");
        let mut store = opened(server, "damaged", VECTOR);
        store
            .insert((0..9).map(|n| entry("a", n)).collect())
            .unwrap();
        assert!(store.integrity_check().unwrap());
        server.sql(damage);
        assert!(!store.integrity_check().unwrap(), "{damage}");
        let is_gone = damage.contains("TABLE");
        if !is_gone {
            // Slower, or with a gap; nothing that is wrong.
            assert_eq!(first(&mut store, &entry("a", 4)), Some(5), "{damage}");
        }
        if damage.contains("entry_vectors WHERE") {
            continue;
        }
        let mut store = opened(server, "damaged", VECTOR);
        assert!(store.integrity_check().unwrap(), "{damage}");
        assert_eq!(first(&mut store, &entry("a", 4)), Some(5), "{damage}");
        put(&mut store, entry("a", 70));
        assert_eq!(first(&mut store, &entry("a", 70)), Some(10), "{damage}");
    }
    // Triggers that somebody has switched off: what was written meanwhile is found again.
    server.sql("DROP SCHEMA IF EXISTS damaged CASCADE");
    let mut store = opened(server, "damaged", VECTOR);
    server.sql("ALTER TABLE damaged.entries DISABLE TRIGGER USER");
    put(&mut store, entry("a", 1));
    assert_eq!(first(&mut store, &entry("a", 1)), None);
    let mut store = opened(server, "damaged", VECTOR);
    assert_eq!(first(&mut store, &entry("a", 1)), Some(1));
}

fn tables_of_other_vectors_are_refused(server: &Postgres) {
    drop(opened(server, "kinds", VECTOR));
    let refused = text(try_open(&server.url(), "kinds", "&nearest=halfvec").unwrap_err());
    assert!(refused.contains("vectors of type vector(8)"), "{refused}");
    assert!(
        refused.contains("DROP TABLE \"kinds\".entry_vectors;"),
        "{refused}"
    );
    server.sql("DROP TABLE kinds.entry_vectors CASCADE");
    server.sql("CREATE TABLE kinds.entry_vectors (id BIGINT PRIMARY KEY, note TEXT)");
    let refused = text(try_open(&server.url(), "kinds", VECTOR).unwrap_err());
    assert!(refused.contains("has no vectors"), "{refused}");
    server.sql("DROP TABLE kinds.entry_vectors");
    server.sql("CREATE TABLE kinds.entry_vectors (id BIGINT, namespace TEXT, context TEXT, embedding public.vector(9))");
    let refused = text(try_open(&server.url(), "kinds", VECTOR).unwrap_err());
    assert!(refused.contains("vector(9)"), "{refused}");
    let refused = opened(server, "kinds", "").insert(vec![entry("a", 1)]);
    let refused = text(refused.unwrap_err());
    assert!(refused.contains("expected 9 dimensions"), "{refused}");
    assert!(!refused.contains("metadata"), "{refused}");
    // Without the table nobody is held up.
    server.sql("DROP TABLE kinds.entry_vectors");
    let id = put(&mut opened(server, "kinds", ""), entry("a", 1));
    let mut store = opened(server, "kinds", VECTOR);
    assert_eq!(first(&mut store, &entry("a", 1)), Some(id));
}

fn whoever_may_not_create_is_told_what_to_run(server: &Postgres) {
    server.sql(&format!("CREATE ROLE clerk LOGIN PASSWORD '{PASSWORD}'"));
    drop(opened(server, "rights", ""));
    server.sql("GRANT USAGE ON SCHEMA rights TO clerk");
    server.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rights TO clerk");
    server.sql("GRANT USAGE ON ALL SEQUENCES IN SCHEMA rights TO clerk");
    let clerk = url("clerk", server.port());
    let refused = text(try_open(&clerk, "rights", VECTOR).unwrap_err());
    let (said, script) = refused.split_once("run: ").unwrap();
    assert!(said.contains("may not create"), "{said}");
    server.sql(script);
    let mut store = try_open(&clerk, "rights", VECTOR).unwrap();
    put(&mut store, entry("a", 1));
    assert_eq!(first(&mut store, &entry("a", 1)), Some(1));
    assert!(store.delete_by_id(1).unwrap());
    assert_eq!(first(&mut store, &entry("a", 1)), None);
    // Where the owner has opened it, others may search who may read.
    drop(opened(server, "owned", ""));
    server.sql("GRANT USAGE ON SCHEMA owned TO clerk");
    server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA owned TO clerk");
    put(&mut opened(server, "owned", VECTOR), entry("a", 1));
    let mut store = try_open(&clerk, "owned", VECTOR).unwrap();
    assert_eq!(first(&mut store, &entry("a", 1)), Some(1));
}

fn long_vectors_are_refused(server: &Postgres) {
    let open = |dim: u32, kind: &str| {
        let mut store = store(
            &server.url(),
            &format!("long{dim}"),
            &format!("&nearest={kind}"),
        );
        store.open(FINGERPRINT, dim).map_err(text)
    };
    let refused = open(2_001, "vector").unwrap_err();
    assert!(
        refused.contains("at most 2000") && refused.contains("halfvec"),
        "{refused}"
    );
    assert_eq!(open(2_001, "halfvec"), Ok(()));
    let refused = open(4_001, "halfvec").unwrap_err();
    assert!(refused.contains("at most 4000"), "{refused}");
}

fn views_and_imports_are_as_ever(server: &Postgres) {
    let mut store = opened(server, "views", VECTOR);
    put(&mut store, entry("a", 1));
    let mut other = opened(server, "views", VECTOR);
    assert!(store.begin_view().unwrap());
    assert_eq!(first(&mut store, &entry("a", 1)), Some(1));
    other.delete_by_id(1).unwrap();
    assert_eq!(first(&mut store, &entry("a", 1)), Some(1));
    store.end_view().unwrap();
    assert_eq!(first(&mut store, &entry("a", 1)), None);
    store.begin_import(ImportMode::Replace).unwrap();
    store
        .write_import(vec![entry("a", 5), entry("b", 6)])
        .unwrap();
    assert_eq!(first(&mut other, &entry("a", 5)), None);
    store.commit_import(&[], &[]).unwrap();
    assert!(first(&mut other, &entry("a", 5)).is_some());
    assert!(other.integrity_check().unwrap());
}

/// The whole way: cache, component, store, server.
fn a_cache_holds_no_index(server: &Postgres) {
    let open = || {
        mneme_tests::builder()
            .store(store(&server.url(), "cached", VECTOR))
            .embedder(Precomputed::new(FINGERPRINT, DIM))
            .index(IndexKind::Store)
            .coordination(Coordination::StaleTolerant(0))
            .open()
            .unwrap()
    };
    let cache = open();
    for n in 0..30 {
        let request = PutRequest::new(format!("question {n}"), format!("answer {n}"));
        cache
            .put(request.embedding(vector(n)).tag(format!("t{}", n % 3)))
            .unwrap();
    }
    let ask = |cache: &SemanticCache, n: u64| {
        let request = GetRequest::new("in other words").embedding(vector(n));
        cache.get(request).unwrap().hit()
    };
    let hit = ask(&cache, 7).unwrap();
    assert_eq!(
        (hit.response.as_str(), hit.layer),
        ("answer 7", Layer::Semantic)
    );
    assert!((hit.similarity - 1.0).abs() < 1e-6);
    let tagged = GetRequest::new("in other words")
        .embedding(vector(7))
        .tag("t0");
    assert!(cache.get(tagged.threshold(0.99)).unwrap().hit().is_none());
    // What another one stores, replaces and deletes is seen at once.
    let other = open();
    let replaced = PutRequest::new("question 7", "another answer").embedding(vector(7));
    other.put(replaced).unwrap();
    assert_eq!(ask(&cache, 7).unwrap().response, "another answer");
    other
        .put(PutRequest::new("new", "new answer").embedding(vector(99)))
        .unwrap();
    assert_eq!(ask(&cache, 99).unwrap().response, "new answer");
    assert!(other.delete("new", "default").unwrap());
    assert!(ask(&cache, 99).is_none_or(|hit| hit.response != "new answer"));
    let stats = cache.stats(None).unwrap();
    assert_eq!(
        (stats.entries, stats.index_loaded, stats.index_rows),
        (30, false, 0)
    );
    assert!(cache.health(true).unwrap().healthy);
    cache.close().unwrap();
    assert_eq!(server.sql("SELECT count(*) FROM cached.derived_blobs"), "0");
    // Without the parameter the store does not search.
    let refused = mneme_tests::builder()
        .store(store(&server.url(), "cached", ""))
        .embedder(Precomputed::new(FINGERPRINT, DIM))
        .index(IndexKind::Store)
        .open();
    let refused = refused.map(drop).unwrap_err().to_string();
    assert!(refused.contains("does not search vectors"), "{refused}");
}
