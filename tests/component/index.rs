//! The vector index through the component: beside brute force, beside the same code without
//! SIMD, over its life in a store, and by tenant.

use mneme::embedder::Precomputed;
use mneme::store::Store;
use mneme::{
    Builder, GetRequest, GraphOptions, Hit, IndexKind, PutRequest, SemanticCache, SqliteStore,
    VectorDtype,
};
use mneme_guest::index::Index;
use mneme_guest::index::block::block_rows;
use mneme_guest::index::scopes::Scope;
use mneme_guest::vector::{cosine, unit};
use mneme_tests::stores::Hooked;

mneme_tests::tests![
    answers_are_those_of_brute_force_in_every_dtype_at_every_stage,
    the_component_computes_the_bits_of_scalar_code,
    a_damaged_or_stale_index_in_a_database_is_never_trusted,
    graphs_find_nearly_all_and_everything_that_came_later,
    a_tenant_is_charged_for_its_own_rows_only,
];

const DTYPES: [VectorDtype; 3] = [
    VectorDtype::Float32,
    VectorDtype::Float16,
    VectorDtype::Int8,
];

/// Vectors in topics, whose spectrum falls off as that of sentence vectors does.
struct Vectors {
    state: u64,
    dim: usize,
    topics: Vec<Vec<f32>>,
}

impl Vectors {
    fn new(dim: usize) -> Self {
        let mut vectors = Vectors {
            state: 1,
            dim,
            topics: Vec::new(),
        };
        vectors.topics = (0..50).map(|_| vectors.direction()).collect();
        vectors
    }

    fn random(&mut self) -> f32 {
        (0..4)
            .map(|_| {
                self.state = self
                    .state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (self.state >> 40) as f32 / (1 << 24) as f32 - 0.5
            })
            .sum()
    }

    fn direction(&mut self) -> Vec<f32> {
        (0..self.dim)
            .map(|i| self.random() / (1.0 + i as f32 / 32.0).sqrt())
            .collect()
    }

    /// Of unit length, at about 0.75 from others of its topic.
    fn next(&mut self) -> Vec<f32> {
        let off = self.direction();
        self.state = self.state.wrapping_add(1);
        let topic = &self.topics[(self.state >> 33) as usize % self.topics.len()];
        let vector = topic.iter().zip(&off).map(|(a, b)| a + 0.6 * b);
        unit(vector.collect(), self.dim as u32).unwrap()
    }

    fn take(&mut self, n: usize) -> Vec<Vec<f32>> {
        (0..n).map(|_| self.next()).collect()
    }
}

fn builder(dim: usize, store: impl Store + 'static) -> Builder {
    mneme_tests::builder()
        .store(store)
        .embedder(Precomputed::new("index-1", dim as u32))
        .confidence_decay(1, 0.0)
}

fn fill(cache: &SemanticCache, namespace: &str, vectors: &[Vec<f32>]) {
    for (batch, vectors) in vectors.chunks(500).enumerate() {
        let requests = vectors.iter().enumerate().map(|(n, vector)| {
            let query = format!("q{}", batch * 500 + n);
            PutRequest::new(query, "r")
                .embedding(vector.clone())
                .namespace(namespace)
        });
        cache.put_many(requests.collect()).unwrap();
    }
}

fn ask(cache: &SemanticCache, namespace: &str, vector: &[f32], threshold: f32) -> Option<Hit> {
    let request = GetRequest::new("in other words")
        .namespace(namespace)
        .embedding(vector.to_vec())
        .threshold(threshold);
    cache.get(request).unwrap().hit()
}

/// The best row of at least the threshold by comparing all: its position and similarity.
fn best(rows: &[Vec<f32>], query: &[f32], threshold: f32) -> Option<(usize, f32)> {
    let all = rows.iter().map(|row| cosine(query, row)).enumerate();
    all.filter(|&(_, similarity)| similarity >= threshold)
        .reduce(|a, b| if b.1 > a.1 { b } else { a })
}

/// The best answer is brute force's, to the bit.
fn check(cache: &SemanticCache, namespace: &str, rows: &[Vec<f32>], queries: &[Vec<f32>]) {
    for (n, query) in queries.iter().enumerate() {
        for threshold in [-1.0, 0.5, 0.8, 0.95] {
            let found = ask(cache, namespace, query, threshold);
            let found = found.map(|hit| (hit.query, hit.similarity.to_bits()));
            let expected = best(rows, query, threshold);
            let expected =
                expected.map(|(row, similarity)| (format!("q{row}"), similarity.to_bits()));
            assert_eq!(found, expected, "query {n} at {threshold}");
        }
    }
}

fn answers_are_those_of_brute_force_in_every_dtype_at_every_stage() {
    for dim in [96, 385] {
        for dtype in DTYPES {
            let mut vectors = Vectors::new(dim);
            let rows = vectors.take(3000);
            let mut queries = vectors.take(20);
            queries.extend_from_slice(&rows[..5]);
            let store = Hooked::new(|_| Ok(()));
            let open = || {
                builder(dim, store.clone())
                    .vector_dtype(dtype)
                    .open()
                    .unwrap()
            };
            let cache = open();
            fill(&cache, "n", &rows);
            // Without codes, while it becomes ready, and when it is.
            check(&cache, "n", &rows, &queries);
            cache.warm_up().unwrap();
            check(&cache, "n", &rows, &queries);
            let stats = cache.stats(None).unwrap();
            assert_eq!(stats.index_coded_rows, 3000);
            assert!(stats.index_bytes as usize > 3000 * dim);
            cache.close().unwrap();
            // From what is kept, without and with vectors.
            let cache = open();
            check(&cache, "n", &rows, &queries[..1]);
            assert_eq!(cache.stats(None).unwrap().index_coded_rows, 3000);
            check(&cache, "n", &rows, &queries);
            cache.close().unwrap();
        }
    }
}

/// What the component keeps of its index is byte for byte what the same code makes of the
/// same rows natively, where it has no SIMD.
fn the_component_computes_the_bits_of_scalar_code() {
    for dim in [61, 384] {
        for dtype in DTYPES {
            let rows = Vectors::new(dim).take(2500);
            let store = Hooked::new(|_| Ok(()));
            let cache = builder(dim, store.clone())
                .vector_dtype(dtype)
                .open()
                .unwrap();
            fill(&cache, "n", &rows);
            cache.warm_up().unwrap();
            cache.close().unwrap();
            let native = match dtype {
                VectorDtype::Float32 => mneme_guest::types::VectorDtype::Float32,
                VectorDtype::Float16 => mneme_guest::types::VectorDtype::Float16,
                VectorDtype::Int8 => mneme_guest::types::VectorDtype::Int8,
            };
            let mut index = Index::new(dim as u32, native);
            let mut inner = store.inner();
            inner.open("index-1", dim as u32).unwrap();
            let stamps = inner.iter_stamps(0, 10_000).unwrap();
            let size = block_rows(dim);
            for (n, page) in rows.chunks(size).enumerate() {
                let ids = &stamps.ids[n * size..][..page.len()];
                let created_at = &stamps.created_at[n * size..][..page.len()];
                index
                    .add_page(Scope::plain("n"), ids, created_at, page.concat())
                    .unwrap();
            }
            while index.work(u64::MAX) {}
            let mut expected = Vec::new();
            index.write(&mut expected).unwrap();
            let mut pieces: Vec<(usize, String)> = inner
                .list_blobs()
                .unwrap()
                .into_iter()
                .filter_map(|name| Some((name.rsplit('/').next()?.parse().ok()?, name)))
                .collect();
            pieces.sort();
            let kept: Vec<u8> = pieces
                .iter()
                .flat_map(|(_, name)| inner.read_blob(name).unwrap().unwrap())
                .collect();
            assert!(kept == expected, "{dim} dimensions as {dtype:?}");
        }
    }
}

fn a_damaged_or_stale_index_in_a_database_is_never_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache.db");
    let dim = 48;
    let mut vectors = Vectors::new(dim);
    let rows = vectors.take(2000);
    let queries = vectors.take(5);
    let open = || builder(dim, SqliteStore::new(&path)).open().unwrap();
    let cache = open();
    fill(&cache, "n", &rows);
    cache.warm_up().unwrap();
    cache.close().unwrap();
    // How many rows have codes once the first look-up has loaded the index.
    let coded_at_first = || {
        let cache = open();
        ask(&cache, "n", &queries[0], 0.9);
        let stats = cache.stats(None).unwrap();
        let problems = cache.health(true).unwrap().problems;
        check(&cache, "n", &rows, &queries);
        cache.close().unwrap();
        (stats.index_coded_rows, problems)
    };
    assert_eq!(coded_at_first(), (2000, vec![]));
    let database = rusqlite::Connection::open(&path).unwrap();
    let damage =
        "UPDATE derived_blobs SET bytes = zeroblob(length(bytes)) WHERE name != 'index/head'";
    assert!(database.execute(damage, []).unwrap() > 0);
    drop(database);
    let (coded, problems) = coded_at_first();
    assert_eq!(coded, 0);
    assert!(problems.iter().any(|p| p.contains("index")), "{problems:?}");
}

/// Graphs are built by `compact` alone, found again by the next cache, and searched beside what
/// has come since; each answer's similarity is true.
fn graphs_find_nearly_all_and_everything_that_came_later() {
    let dim = 32;
    let mut vectors = Vectors::new(dim);
    let rows = vectors.take(4096 + 200);
    let queries = vectors.take(100);
    let store = Hooked::new(|_| Ok(()));
    let open = || {
        builder(dim, store.clone())
            .index(IndexKind::Hnsw)
            .graph(GraphOptions {
                ef_search: 60,
                ef_construction: 40,
                heuristic: false,
            })
            .open()
            .unwrap()
    };
    let graph_rows = |cache: &SemanticCache| cache.stats(None).unwrap().index_graph_rows;
    let recall = |cache: &SemanticCache, rows: &[Vec<f32>]| {
        let found = queries.iter().filter(|query| {
            let (row, similarity) = best(rows, query, -1.0).unwrap();
            let Some(hit) = ask(cache, "n", query, -1.0) else {
                return false;
            };
            let at: usize = hit.query[1..].parse().unwrap();
            assert_eq!(hit.similarity.to_bits(), cosine(query, &rows[at]).to_bits());
            assert!(hit.similarity <= similarity);
            at == row
        });
        found.count() as f32 / queries.len() as f32
    };
    let cache = open();
    fill(&cache, "n", &rows[..4100]);
    assert_eq!(recall(&cache, &rows[..4100]), 1.0);
    assert_eq!(graph_rows(&cache), 0);
    cache.compact().unwrap();
    assert_eq!(graph_rows(&cache), 4096);
    cache.compact().unwrap();
    assert_eq!(graph_rows(&cache), 4096);
    let sealed = recall(&cache, &rows[..4100]);
    assert!(sealed > 0.9, "{sealed}");
    // In no graph, and so never missed.
    for (n, row) in rows.iter().enumerate().skip(4100) {
        let request = PutRequest::new(format!("q{n}"), "r").namespace("n");
        cache.put(request.embedding(row.clone())).unwrap();
        let hit = ask(&cache, "n", row, 0.999).unwrap();
        assert_eq!(hit.query, format!("q{n}"));
    }
    assert_eq!(graph_rows(&cache), 4096);
    cache.warm_up().unwrap();
    cache.close().unwrap();

    let cache = open();
    assert_eq!(cache.warm_up().unwrap(), rows.len() as u64);
    assert_eq!(graph_rows(&cache), 4096);
    assert!(recall(&cache, &rows) > 0.9);
    cache.close().unwrap();
}

fn a_tenant_is_charged_for_its_own_rows_only() {
    let dim = 64;
    let mut vectors = Vectors::new(dim);
    let store = Hooked::new(|_| Ok(()));
    let cache = builder(dim, store).index(IndexKind::Exact).open().unwrap();
    let tenants: Vec<Vec<Vec<f32>>> = (0..40).map(|_| vectors.take(60)).collect();
    for (n, rows) in tenants.iter().enumerate() {
        fill(&cache, &format!("tenant {n}"), rows);
    }
    let queries = vectors.take(4);
    for _ in 0..2 {
        for (n, rows) in tenants.iter().enumerate() {
            check(&cache, &format!("tenant {n}"), rows, &queries);
        }
        cache.warm_up().unwrap();
    }
    assert_eq!(
        ask(&cache, "nobody", &queries[0], -1.0).map(|hit| hit.query),
        None
    );
}
