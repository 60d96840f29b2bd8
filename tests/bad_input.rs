//! Bad input and bad surroundings, on real SQLite files: each is its typed error with a
//! remedy, nothing is half written, and the next call works.

use mneme::embedder::EmbedError;
use mneme::store::{SqliteStore, Store};
use mneme::{Builder, Embedder, Error, GetRequest, MissReason, PutRequest, SemanticCache, Ttl};
use mneme_tests::children::{self, Running, argument, say};
use mneme_tests::embedders::{By, DIM, FINGERPRINT, Words, axis, words};
use mneme_tests::{sqlite, unless_it_hangs};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn builder(path: &Path) -> Builder {
    SemanticCache::builder()
        .store(SqliteStore::new(path))
        .embedder(Words)
}

/// A file with one entry, `question` and `answer`, and a cache on it.
struct Scene {
    _dir: TempDir,
    path: PathBuf,
    cache: SemanticCache,
}

fn scene() -> Scene {
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
    fn refuses<T>(
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
        assert_works(&self.cache);
        assert_eq!(sqlite::dump(&self.path), before);
    }
}

/// A second store finds what the first one wrote.
fn entries(path: &Path) -> u64 {
    let mut store = SqliteStore::new(path);
    store.open(FINGERPRINT, DIM).unwrap();
    store.count(None).unwrap()
}

fn assert_works(cache: &SemanticCache) {
    assert_eq!(
        cache.get("QUESTION").unwrap().hit().unwrap().response,
        "answer"
    );
}

fn put(query: &str, response: &str) -> PutRequest {
    PutRequest::new(query, response)
}

#[test]
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
        let bad = put("new", "r").embedding(vector.clone());
        scene.refuses(|cache| cache.put(bad.clone()), "invalid_argument", &[says]);
        scene.refuses(
            |cache| cache.put_many(vec![put("fine", "r"), bad]),
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
            |cache| cache.put(put("new", "r").embedding(vector.clone())),
            "embedder_dimension",
            &says,
        );
        scene.refuses(
            |cache| {
                cache.put_many(vec![
                    put("fine", "r"),
                    put("new", "r").embedding(vector.clone()),
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

#[test]
fn texts_beyond_their_limits_are_refused_and_those_at_them_are_not() {
    let scene = scene();
    let long = |bytes: usize| "x".repeat(bytes);
    let metadata = |bytes: usize| format!(r#"{{"a":"{}"}}"#, long(bytes - 8));
    let says = |limit: &'static str, option: &'static str| [limit, option];
    for (request, says) in [
        (put(&long(32_769), "r"), says("32768", "max-query-bytes")),
        // 16,385 letters of two bytes each.
        (
            put(&"ä".repeat(16_385), "r"),
            says("32768", "max-query-bytes"),
        ),
        (
            put("q", &long((4 << 20) + 1)),
            says("4194304", "max-response-bytes"),
        ),
        (
            put("q", "r").metadata(metadata(65_537)),
            says("65536", "max-metadata-bytes"),
        ),
    ] {
        scene.refuses(
            |cache| cache.put(request.clone()),
            "invalid_argument",
            &says,
        );
        scene.refuses(
            |cache| cache.put_many(vec![put("fine", "r"), request]),
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
        .put(put(&long(32_768), &long(4 << 20)).metadata(metadata(65_536)))
        .unwrap();
    let hit = scene.cache.get(long(32_768)).unwrap().hit().unwrap();
    assert_eq!((hit.response.len(), hit.metadata.len()), (4 << 20, 65_536));
}

#[test]
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
            |cache| cache.put(put("new", "r").metadata(bad)),
            "invalid_argument",
            &["the metadata is", "object"],
        );
    }
}

#[test]
fn namespaces_that_are_no_names_are_refused_everywhere() {
    let scene = scene();
    let long = "n".repeat(10 << 10);
    for (bad, says) in [("", "empty"), ("a\0b", "U+0000"), (&long, "at most 1024")] {
        scene.refuses(
            |cache| cache.put(put("new", "r").namespace(bad)),
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
        .put(put("q", "r").namespace("n".repeat(1024)))
        .unwrap();
}

#[test]
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

#[test]
fn times_beyond_a_file_are_refused_by_it() {
    let scene = scene();
    scene.refuses(
        |cache| cache.put(put("new", "r").ttl(Ttl::Seconds(u64::MAX))),
        "invalid_argument",
        &["ttl"],
    );
    scene
        .cache
        .put(put("new", "r").ttl(Ttl::Seconds(i64::MAX as u64)))
        .unwrap();
    assert!(scene.cache.get("new").unwrap().is_hit());
}

#[test]
fn a_namespace_with_a_quota_of_nothing_takes_nothing() {
    let scene = scene();
    scene.cache.set_namespace_quota("closed", Some(0)).unwrap();
    scene.refuses(
        |cache| cache.put(put("new", "r").namespace("closed")),
        "quota_exceeded",
        &["\"closed\"", "raise or remove its quota"],
    );
    scene.refuses(
        |cache| cache.put_many(vec![put("fine", "r"), put("new", "r").namespace("closed")]),
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

#[test]
fn a_file_of_another_embedder_is_refused_and_left_alone() {
    let scene = scene();
    let before = sqlite::dump(&scene.path);
    let open = |embedder| {
        SemanticCache::builder()
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
    assert_works(&scene.cache);
}

#[test]
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
        let cache = SemanticCache::builder()
            .store(SqliteStore::new(&path))
            .embedder(By(embed))
            .open()
            .unwrap();
        cache
            .put(put("question", "answer").embedding(axis(0)))
            .unwrap();
        let scene = Scene {
            _dir: dir,
            path,
            cache,
        };
        scene.refuses(|cache| cache.put(put("new", "r")), kind, &[says]);
        scene.refuses(
            |cache| cache.put_many(vec![put("fine", "r").embedding(axis(1)), put("new", "r")]),
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

/// The file of a closed cache with 200 entries.
fn closed_file(dir: &Path) -> PathBuf {
    let path = dir.join("cache.db");
    let cache = builder(&path).open().unwrap();
    let long = "x".repeat(500);
    cache
        .put_many(
            (0..200)
                .map(|n| put(&format!("question {n}"), &long))
                .collect(),
        )
        .unwrap();
    cache.close().unwrap();
    path
}

#[test]
fn a_file_cut_off_anywhere_gives_typed_errors_only() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(closed_file(dir.path())).unwrap();
    let path = dir.path().join("cut.db");
    // SQLite itself takes a file of one byte for an empty one.
    for length in [
        2,
        15,
        99,
        100,
        1000,
        4095,
        4096,
        4097,
        8192,
        20_000,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let mut errors = Vec::new();
        match builder(&path).open() {
            Err(error) => errors.push(error),
            Ok(cache) => {
                for n in 0..200 {
                    errors.extend(cache.get(format!("question {n}")).err());
                }
                errors.extend(cache.get("unlike any").err());
                let health = cache.health().unwrap();
                assert!(
                    !health.healthy && !health.integrity_ok,
                    "cut at {length}: {health:?}"
                );
                errors.extend(cache.put(put("new", "r")).err());
                errors.extend(cache.close().err());
            }
        }
        assert!(!errors.is_empty(), "cut at {length}: nothing was noticed");
        for error in errors {
            assert!(
                matches!(error, Error::Corrupt(_) | Error::Schema(_)),
                "cut at {length}: {error:?}"
            );
            let says = [
                "move the file away",
                "restore a checkpoint",
                "give another path",
            ];
            assert!(
                says.iter().any(|what| error.to_string().contains(what)),
                "{error}"
            );
        }
    }
}

#[test]
fn what_is_no_cache_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let text = "This is a letter, and not a database of any kind.\n".repeat(40);
    std::fs::write(&path, &text).unwrap();
    let error = builder(&path).open().unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("give another path"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    let path = dir.path().join("accounts.db");
    sqlite::execute(
        &path,
        "CREATE TABLE accounts (id, name); INSERT INTO accounts VALUES (1, 'a')",
    );
    let bytes = std::fs::read(&path).unwrap();
    let error = builder(&path).open().unwrap_err();
    assert!(matches!(error, Error::Schema(_)), "{error:?}");
    assert!(error.to_string().contains("give another path"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);

    for (path, says) in [
        (dir.path().join("no/such/folder.db"), "create its directory"),
        (dir.path().into(), "path of a file"),
    ] {
        let error = builder(&path).open().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Backend {
                    retryable: false,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = closed_file(dir.path());
    sqlite::execute(
        &path,
        "UPDATE schema_meta SET value = '2' WHERE key = 'schema_version'",
    );
    let before = sqlite::dump(&path);
    let error = builder(&path).open().unwrap_err();
    assert!(matches!(error, Error::Schema(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("use the release that wrote the file"),
        "{error}"
    );
    assert_eq!(sqlite::dump(&path), before);
    sqlite::execute(
        &path,
        "UPDATE schema_meta SET value = '1' WHERE key = 'schema_version'",
    );
    assert!(
        builder(&path)
            .open()
            .unwrap()
            .get("question 7")
            .unwrap()
            .is_hit()
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = closed_file(dir.path());
    let mut rights = std::fs::metadata(&path).unwrap().permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(&path, rights).unwrap();
    if std::fs::OpenOptions::new().append(true).open(&path).is_ok() {
        println!("skipped: this user may write to any file");
        return;
    }
    let error = builder(&path).open().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Backend {
                retryable: false,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("the right to write"), "{error}");
}

/// Fills a file until the disk refuses.
#[test]
fn child_fills_the_disk() {
    let Some(path) = argument("PATH") else { return };
    let path = Path::new(&path);
    let cache = builder(path).open().unwrap();
    cache.put(put("question", "answer")).unwrap();
    let long = "x".repeat(20_000);
    let mut kept = Vec::new();
    let error = (0..10_000).find_map(|n| match cache.put(put(&format!("fill {n}"), &long)) {
        Ok(_) => {
            kept.push(n);
            None
        }
        Err(error) => Some(error),
    });
    let error = error.expect("the disk is full in the end");
    assert!(
        matches!(
            error,
            Error::Backend {
                retryable: false,
                ..
            }
        ),
        "{error:?}"
    );
    say(&error.to_string());
    let before = sqlite::dump(path);
    let batch = (0..50).map(|n| put(&format!("batch {n}"), &long)).collect();
    let error = cache.put_many(batch).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Backend {
                retryable: false,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        sqlite::dump(path),
        before,
        "a put that failed has left something behind"
    );
    assert_works(&cache);
    for n in &kept {
        assert!(cache.get(format!("fill {n}")).unwrap().is_hit());
    }
    say(&kept.len().to_string());
    // What waits may not find room any more.
    let _ = cache.close();
}

/// Runs the child by a shell that first runs `prepare`, and checks the file afterwards.
fn on_a_full_disk(prepare: &str, path: &Path, by: &str) -> Vec<String> {
    let child = children::command("child_fills_the_disk", &[("PATH", path.to_str().unwrap())]);
    let mut shell = Command::new(by);
    if by == "unshare" {
        shell.args(["--user", "--map-root-user", "--mount", "sh"]);
    }
    shell
        .args(["-c", &format!("{prepare} && exec \"$0\" \"$@\"")])
        .arg(child.get_program())
        .args(child.get_args());
    shell.envs(
        child
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    let mut running = Running::start(&mut shell);
    let said: Vec<String> = std::iter::from_fn(|| running.line()).collect();
    running.finish();
    said
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_keeps_what_it_has() {
    unless_it_hangs(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        // Blocks of 512 bytes in some shells, of 1024 in others.
        let said = on_a_full_disk("trap '' XFSZ && ulimit -f 2000", &path, "sh");
        assert!(said[0].contains("disk"), "{said:?}");
        // Without the limit everything goes on.
        let kept: u64 = said[1].parse().unwrap();
        assert!(kept > 10);
        assert_eq!(entries(&path), kept + 1);
        let cache = builder(&path).open().unwrap();
        assert!(cache.health().unwrap().healthy);
        assert_works(&cache);
        cache.put(put("more", "room")).unwrap();
        assert!(cache.get("more").unwrap().is_hit());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=2m none {}", dir.path().display());
    let can = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount])
        .output();
    if !can.is_ok_and(|output| output.status.success()) {
        // Not every machine lets a user mount; the test above runs everywhere.
        println!("skipped: no file system of a fixed size can be mounted here");
        return;
    }
    unless_it_hangs(move || {
        let said = on_a_full_disk(&mount, &dir.path().join("cache.db"), "unshare");
        assert!(said[0].contains("free space on the disk"), "{said:?}");
        assert!(said[1].parse::<u64>().unwrap() > 10);
    });
}
