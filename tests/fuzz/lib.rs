//! What the fuzz targets share.

use mneme_guest::cache::Cache;
use mneme_guest::checkpoint::default_load_options;
use mneme_guest::index::Index;
use mneme_guest::index::scopes::Scope;
use mneme_guest::judge::{Judge, Kinds, vetoes};
use mneme_guest::options;
use mneme_guest::testing::{TestArchive, TestHost, TestStore, at_angle, response};
use mneme_guest::types::{Error, GraphOptions, ImportMode, IndexKind, VectorDtype};

/// A cache of two-dimensional vectors that holds one entry.
pub fn cache() -> (Cache<TestStore, TestHost>, TestStore) {
    let store = TestStore::default();
    store.snapshots.set(true);
    let mut cache = Cache::new(store.clone(), TestHost::at(1000));
    cache
        .open(options::defaults("f", 2))
        .expect("a memory store opens");
    cache
        .put(response("mine", 45.0))
        .expect("a memory store takes an entry");
    (cache, store)
}

/// Loads an archive. Where it is refused, with an error of the right kind, nothing may have
/// changed; where it is taken, everything must be sound.
pub fn load(bytes: &[u8]) {
    let (mut cache, store) = cache();
    let before = store.content();
    let mut load_options = default_load_options();
    load_options.mode = ImportMode::Merge;
    match cache.load(load_options, &TestArchive::of(bytes)) {
        Ok(_) => {
            for entry in store.entries() {
                assert_eq!(entry.embedding.len(), 2);
                assert!(entry.embedding.iter().all(|x| x.is_finite()));
                assert!(!entry.namespace.contains('\0'));
            }
            cache
                .get(mneme_guest::testing::ask("mine", 45.0))
                .expect("what was loaded is searched");
        }
        Err(
            Error::Checkpoint(_)
            | Error::Schema(_)
            | Error::Unsupported(_)
            | Error::EmbedderMismatch(_)
            | Error::EmbedderDimension(_),
        ) => {
            assert_eq!(store.content(), before);
            assert!(!store.has_leftovers());
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// A vector for entries of the corpus.
pub fn vector(n: u32) -> Vec<f32> {
    at_angle(f64::from(n) * 10.0)
}

/// The dimensions and dtypes of indexes that the first byte of a file chooses among.
pub const INDEXES: [(u32, VectorDtype); 4] = [
    (2, VectorDtype::Float32),
    (40, VectorDtype::Float32),
    (2, VectorDtype::Int8),
    (40, VectorDtype::Int8),
];

/// Scopes of the corpus: without a context, with one, and another.
pub const SCOPES: [Scope<'static>; 3] = [scope(""), scope("c"), scope("d")];

const fn scope(context: &str) -> Scope<'_> {
    Scope {
        namespace: "n",
        context,
    }
}

/// A unit vector of so many dimensions.
pub fn long_vector(dim: u32, n: u32) -> Vec<f32> {
    let values = (0..dim).map(|i| ((n * 31 + i * 17) % 23) as f32 - 11.0);
    mneme_guest::vector::unit(values.collect(), dim).expect("it has a direction")
}

/// As few candidates as are of use, so that searches are fast.
pub const GRAPH: GraphOptions = GraphOptions {
    ef_search: 8,
    ef_construction: 8,
    heuristic: false,
};

/// Reads an index. One that is taken can be searched, changed, sealed and kept again.
pub fn read_index(bytes: &[u8]) {
    let Some((&first, mut bytes)) = bytes.split_first() else {
        return;
    };
    let (dim, dtype) = INDEXES[usize::from(first) % INDEXES.len()];
    let mut index = match Index::read(&mut bytes, dim, dtype) {
        Ok(index) => index.searching(IndexKind::Hnsw, GRAPH),
        Err(Error::Corrupt(_)) => return,
        Err(other) => panic!("{other:?}"),
    };
    let query = long_vector(dim, 1);
    for scope in SCOPES {
        index.find(scope, &query, 0.5, 4);
    }
    for stamp in index.stamps(0, u64::MAX).into_iter().step_by(3) {
        index.remove_numbered(stamp.scope, stamp.id);
    }
    for (scope, id) in SCOPES.into_iter().zip([1, 5, 1000]) {
        index.add(scope, id, 0, &query).expect("there is memory");
        let found = index.find(scope, &query, 0.9, 1_000_000);
        assert!(found.iter().any(|found| found.id == id));
    }
    index.arrived(None).expect("there is memory");
    index.find(SCOPES[0], &query, 0.5, 4);
    while index.work(u64::MAX) {}
    index.compact();
    index.seal_all().expect("there is memory");
    index.find(SCOPES[0], &query, 0.5, 4);
    if index.is_encoded() {
        let mut kept = Vec::new();
        index.write(&mut kept).expect("it is encoded");
        Index::read(&mut &kept[..], dim, dtype).expect("it was just written");
    }
}

/// Judges two texts, with a zero byte between them. A text has no veto against itself, and two texts
/// have one either way round or none.
pub fn judge(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (query, entry) = text.split_once('\0').unwrap_or((&text, ""));
    let judge = Judge::new(query);
    assert_eq!(judge.vetoes(query, Kinds::STRICT).vetoes, []);
    let there = judge.vetoes(entry, Kinds::STRICT).vetoes;
    let back = vetoes(entry, query, Kinds::STRICT);
    assert_eq!(there.is_empty(), back.is_empty(), "{there:?} {back:?}");
    for veto in there {
        assert!(veto.query.chars().count() <= 64 && veto.entry.chars().count() <= 64);
    }
}
