//! Bad input, on real SQLite files: each is its typed error with a remedy, nothing is half
//! written, and the next call works.

use mneme::embedder::EmbedError;
use mneme::store::SqliteStore;
use mneme::{Builder, Embedder, Error, GetRequest, MissReason, PutRequest, SemanticCache, Ttl};
use mneme_tests::embedders::{By, DIM, FINGERPRINT, Words, axis, words};
use mneme_tests::{assert_answers, sqlite};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

mneme_tests::tests![
    vectors_that_are_no_embeddings_are_refused,
    texts_beyond_their_limits_are_refused_and_those_at_them_are_not,
    metadata_that_is_no_object_is_refused,
    a_name_that_comes_twice_in_metadata_is_kept_as_it_was_given,
    namespaces_that_are_no_names_are_refused_everywhere,
    thresholds_that_are_no_cosines_are_refused,
    times_beyond_the_range_are_refused,
    a_namespace_with_a_quota_of_nothing_takes_nothing,
    a_file_of_another_embedder_is_refused_and_left_alone,
    an_embedder_that_fails_is_a_miss_in_get_and_an_error_in_put,
];

fn builder(path: &Path) -> Builder {
    mneme_tests::builder()
        .store(SqliteStore::new(path))
        .embedder(Words)
}

/// A file with one entry, `question` and `answer`, and a cache on it.
pub struct Scene {
    _dir: TempDir,
    pub path: PathBuf,
    pub cache: SemanticCache,
}

pub fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache.db");
    let cache = builder(&path).open().unwrap();
    cache.put(PutRequest::new("question", "answer")).unwrap();
    Scene {
        _dir: dir,
        path,
        cache,
    }
}

impl Scene {
    /// The call fails with an error that says all of `says` and changes no row, and
    /// those after it work.
    pub fn refuses<T>(
        &self,
        call: impl FnOnce(&SemanticCache) -> mneme::Result<T>,
        kind: &str,
        says: &[&str],
    ) {
        let before = sqlite::dump(&self.path);
        let error = call(&self.cache).map(drop).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        for what in says {
            assert!(
                error.to_string().contains(what),
                "{error} does not say {what:?}"
            );
        }
        assert_eq!(sqlite::dump(&self.path), before, "{error}");
        assert_answers(&self.cache);
        assert_eq!(sqlite::dump(&self.path), before);
    }
}

fn vectors_that_are_no_embeddings_are_refused() {
    let scene = scene();
    let mut vectors = vec![(vec![0.0; 16], "zero vector")];
    for (value, says) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let mut vector = axis(0);
        vector[7] = value;
        vectors.push((vector, says));
    }
    for (vector, says) in vectors {
        let bad = PutRequest::new("new", "r").embedding(vector.clone());
        scene.refuses(|cache| cache.put(bad.clone()), "invalid_argument", &[says]);
        scene.refuses(
            |cache| cache.put_many(vec![PutRequest::new("fine", "r"), bad]),
            "invalid_argument",
            &[says, "request 1"],
        );
        scene.refuses(
            |cache| cache.get(GetRequest::new("new").embedding(vector)),
            "invalid_argument",
            &[says],
        );
    }
    for wrong in [0, 15, 17, 4096] {
        let vector = vec![0.5; wrong];
        let says = [&*format!("{wrong} dimensions"), "16", "use the embedder"];
        scene.refuses(
            |cache| cache.put(PutRequest::new("new", "r").embedding(vector.clone())),
            "embedder_dimension",
            &says,
        );
        scene.refuses(
            |cache| {
                cache.put_many(vec![
                    PutRequest::new("fine", "r"),
                    PutRequest::new("new", "r").embedding(vector.clone()),
                ])
            },
            "embedder_dimension",
            &says,
        );
        scene.refuses(
            |cache| cache.get(GetRequest::new("new").embedding(vector)),
            "embedder_dimension",
            &says,
        );
    }
}

fn texts_beyond_their_limits_are_refused_and_those_at_them_are_not() {
    let scene = scene();
    let long = |bytes: usize| "x".repeat(bytes);
    let metadata = |bytes: usize| format!(r#"{{"a":"{}"}}"#, long(bytes - 8));
    let says = |limit: &'static str, option: &'static str| [limit, option];
    for (request, says) in [
        (
            PutRequest::new(long(32_769), "r"),
            says("32768", "max-query-bytes"),
        ),
        // 16,385 letters of two bytes each.
        (
            PutRequest::new("ä".repeat(16_385), "r"),
            says("32768", "max-query-bytes"),
        ),
        (
            PutRequest::new("q", long((4 << 20) + 1)),
            says("4194304", "max-response-bytes"),
        ),
        (
            PutRequest::new("q", "r").metadata(metadata(65_537)),
            says("65536", "max-metadata-bytes"),
        ),
    ] {
        scene.refuses(
            |cache| cache.put(request.clone()),
            "invalid_argument",
            &says,
        );
        scene.refuses(
            |cache| cache.put_many(vec![PutRequest::new("fine", "r"), request]),
            "invalid_argument",
            &says,
        );
    }
    let query = long(32_769);
    scene.refuses(|cache| cache.get(&*query), "invalid_argument", &["32768"]);
    scene.refuses(
        |cache| cache.delete(&query, "default"),
        "invalid_argument",
        &["32768"],
    );
    scene
        .cache
        .put(PutRequest::new(long(32_768), long(4 << 20)).metadata(metadata(65_536)))
        .unwrap();
    let hit = scene.cache.get(long(32_768)).unwrap().hit().unwrap();
    assert_eq!((hit.response.len(), hit.metadata.len()), (4 << 20, 65_536));
}

fn metadata_that_is_no_object_is_refused() {
    let scene = scene();
    for bad in [
        "",
        " ",
        "[]",
        "1",
        "null",
        "true",
        "\"{}\"",
        "{",
        "{}{}",
        "{'a':1}",
        "{\"a\":NaN}",
    ] {
        scene.refuses(
            |cache| cache.put(PutRequest::new("new", "r").metadata(bad)),
            "invalid_argument",
            &["the metadata is", "object"],
        );
    }
}

fn a_name_that_comes_twice_in_metadata_is_kept_as_it_was_given() {
    let scene = scene();
    let twice = r#"{"a":1,"a":{"b":2,"b":3}}"#;
    scene
        .cache
        .put(PutRequest::new("new", "r").metadata(twice))
        .unwrap();
    let hit = scene.cache.get("new").unwrap().hit().unwrap();
    assert_eq!(hit.metadata, twice);
}

fn namespaces_that_are_no_names_are_refused_everywhere() {
    let scene = scene();
    let long = "n".repeat(10 << 10);
    for (bad, says) in [("", "empty"), ("a\0b", "U+0000"), (&long, "at most 1024")] {
        scene.refuses(
            |cache| cache.put(PutRequest::new("new", "r").namespace(bad)),
            "invalid_argument",
            &[says],
        );
        scene.refuses(
            |cache| cache.get(GetRequest::new("q").namespace(bad)),
            "invalid_argument",
            &[says],
        );
        scene.refuses(|cache| cache.delete("q", bad), "invalid_argument", &[says]);
        scene.refuses(
            |cache| cache.clear_namespace(bad),
            "invalid_argument",
            &[says],
        );
        scene.refuses(
            |cache| cache.vacuum(Some(bad), true),
            "invalid_argument",
            &[says],
        );
        scene.refuses(|cache| cache.stats(Some(bad)), "invalid_argument", &[says]);
        scene.refuses(
            |cache| cache.set_namespace_quota(bad, Some(1)),
            "invalid_argument",
            &[says],
        );
        scene.refuses(
            |cache| cache.namespace_quota(bad),
            "invalid_argument",
            &[says],
        );
    }
    scene
        .cache
        .put(PutRequest::new("q", "r").namespace("n".repeat(1024)))
        .unwrap();
}

fn thresholds_that_are_no_cosines_are_refused() {
    let scene = scene();
    for bad in [-1.01, 1.01, f32::NAN, f32::INFINITY] {
        scene.refuses(
            |cache| cache.get(GetRequest::new("q").threshold(bad)),
            "invalid_argument",
            &["-1 to 1"],
        );
        scene.refuses(
            |cache| cache.set_similarity_threshold(bad),
            "invalid_argument",
            &["-1 to 1"],
        );
        let path = scene.path.with_file_name("other.db");
        let error = builder(&path).similarity_threshold(bad).open().unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        assert!(!path.exists(), "refused options have made a file");
    }
    for good in [-1.0, 1.0] {
        scene
            .cache
            .get(GetRequest::new("question").threshold(good))
            .unwrap();
        scene.cache.set_similarity_threshold(good).unwrap();
    }
}

fn times_beyond_the_range_are_refused() {
    let scene = scene();
    scene.refuses(
        |cache| cache.put(PutRequest::new("new", "r").ttl(Ttl::Seconds(1 << 53))),
        "invalid_argument",
        &["TTL"],
    );
    scene
        .cache
        .put(PutRequest::new("new", "r").ttl(Ttl::Seconds((1 << 53) - 1)))
        .unwrap();
    assert!(scene.cache.get("new").unwrap().is_hit());
}

fn a_namespace_with_a_quota_of_nothing_takes_nothing() {
    let scene = scene();
    scene.cache.set_namespace_quota("closed", Some(0)).unwrap();
    scene.refuses(
        |cache| cache.put(PutRequest::new("new", "r").namespace("closed")),
        "quota_exceeded",
        &["\"closed\"", "raise or remove its quota"],
    );
    scene.refuses(
        |cache| {
            cache.put_many(vec![
                PutRequest::new("fine", "r"),
                PutRequest::new("new", "r").namespace("closed"),
            ])
        },
        "quota_exceeded",
        &["\"closed\""],
    );
}

/// An embedder of another name or size.
struct Other(&'static str, u32);

impl Embedder for Other {
    fn fingerprint(&self) -> &str {
        self.0
    }

    fn dim(&self) -> u32 {
        self.1
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(texts.iter().map(|_| vec![1.0; self.1 as usize]).collect())
    }
}

fn a_file_of_another_embedder_is_refused_and_left_alone() {
    let scene = scene();
    let before = sqlite::dump(&scene.path);
    let open = |embedder| {
        mneme_tests::builder()
            .store(SqliteStore::new(&scene.path))
            .embedder(embedder)
            .open()
    };
    let error = open(Other("another-1", DIM)).unwrap_err();
    assert!(
        matches!(&error, Error::EmbedderMismatch { stored, given } if stored == FINGERPRINT && given == "another-1")
    );
    assert!(error.to_string().contains("or another store"), "{error}");
    let error = open(Other(FINGERPRINT, 8)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::EmbedderDimension {
                expected: 16,
                actual: 8
            }
        ),
        "{error:?}"
    );
    assert_eq!(sqlite::dump(&scene.path), before);
    assert_answers(&scene.cache);
}

fn an_embedder_that_fails_is_a_miss_in_get_and_an_error_in_put() {
    type Embed = fn(&[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;
    let cases: [(Embed, MissReason, &str, &str); 7] = [
        (
            |_| Err(EmbedError::transient("the server is down; try later")),
            MissReason::EmbedderFailure,
            "embedder",
            "try later",
        ),
        (
            |_| Ok(vec![]),
            MissReason::EmbedderFailure,
            "embedder",
            "0 vectors for 1 texts; it must return one for each",
        ),
        (
            |t| Ok(vec![words(t[0]); 2]),
            MissReason::EmbedderFailure,
            "embedder",
            "2 vectors for 1 texts",
        ),
        (
            |_| Ok(vec![vec![1.0; 15]]),
            MissReason::DimMismatch,
            "embedder_dimension",
            "use the embedder",
        ),
        (
            |_| Ok(vec![vec![]]),
            MissReason::DimMismatch,
            "embedder_dimension",
            "use the embedder",
        ),
        (
            |_| Ok(vec![vec![f32::NAN; 16]]),
            MissReason::EmbedderFailure,
            "invalid_argument",
            "must be finite",
        ),
        (
            |_| Ok(vec![vec![0.0; 16]]),
            MissReason::EmbedderFailure,
            "invalid_argument",
            "check the embedder's input",
        ),
    ];
    for (embed, reason, kind, says) in cases {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        let cache = mneme_tests::builder()
            .store(SqliteStore::new(&path))
            .embedder(By(embed))
            .open()
            .unwrap();
        cache
            .put(PutRequest::new("question", "answer").embedding(axis(0)))
            .unwrap();
        let scene = Scene {
            _dir: dir,
            path,
            cache,
        };
        scene.refuses(
            |cache| cache.put(PutRequest::new("new", "r")),
            kind,
            &[says],
        );
        scene.refuses(
            |cache| {
                cache.put_many(vec![
                    PutRequest::new("fine", "r").embedding(axis(1)),
                    PutRequest::new("new", "r"),
                ])
            },
            kind,
            &[says],
        );
        let mneme::Lookup::Miss(miss) = scene.cache.get("new").unwrap() else {
            panic!("a hit")
        };
        assert_eq!(miss.reason, reason);
        assert_eq!(miss.embedder_error.is_some(), kind == "embedder");
        let many = scene
            .cache
            .get_many(vec!["question".into(), "new".into()])
            .unwrap();
        assert!(many[0].is_hit() && !many[1].is_hit());
    }
}
