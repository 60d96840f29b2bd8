//! Archives exchanged with the Python library mneme-cache, which runs for it.

use mneme::checkpoint::{self, Compression, DumpOptions, InspectOptions, Layout, LoadOptions};
use mneme::embedder::Precomputed;
use mneme::store::Store;
use mneme::{
    Error, GetRequest, ManualClock, MemoryStore, PutRequest, SemanticCache, SqliteStore, Ttl,
};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words};
use mneme_tests::peer::Peer;
use mneme_tests::python::Python;
use mneme_tests::{sqlite, unless_it_hangs};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

mneme_tests::tests![
    their_archives_are_loaded,
    our_archives_are_loaded_by_them,
    our_archives_are_gzip_and_zstd_to_them,
];

/// Everything of an entry but the id, in the order of the ids.
const ENTRIES: &str = "SELECT json_group_array(json_array(namespace, query_hash, query, response,
    hex(embedding), metadata, created_at, last_accessed_at, ttl, access_count))
    FROM (SELECT * FROM entries ORDER BY id)";
const QUOTAS: &str = "SELECT json_group_array(json_array(namespace, max_entries))
    FROM (SELECT * FROM namespace_quotas ORDER BY namespace)";
const COUNTERS: &str = "SELECT value FROM schema_meta WHERE key = 'counters'";

/// What two files of the shared layout must have in common.
fn content(path: &Path) -> [Value; 3] {
    [ENTRIES, QUOTAS, COUNTERS]
        .map(|sql| serde_json::from_str(&sqlite::value::<String>(path, sql)).unwrap())
}

fn ours(path: &Path) -> SemanticCache {
    mneme_tests::builder()
        .store(SqliteStore::new(path))
        .embedder(Words)
        .open()
        .unwrap()
}

/// Runs a test with the peer's Python and a folder.
fn with_peer(python: Python, test: impl FnOnce(Python, &Path) + Send + 'static) {
    unless_it_hangs(move || {
        let dir = tempfile::tempdir().unwrap();
        test(python, dir.path());
    });
}

const ODD: &str = "Straße  nach\u{3000}ΌΔΟΣ \u{1f600} café";

fn their_archives_are_loaded(python: Python) {
    with_peer(python, |python, dir| {
        let (path, archive) = (dir.join("theirs.db"), dir.join("theirs.tar.gz"));
        let quotas = json!({"namespace_quotas": {"small": 2, "a:b": 9}});
        let mut peer = Peer::open(python, &json!(["sqlite", {"path": path}]), quotas);
        peer.put(
            "default",
            "One two  THREE",
            "first",
            json!({"metadata": {"é": [1, 2.5, null]}}),
        );
        peer.put("a:b", ODD, "second\0\u{1f600}", json!({"ttl": 86_400}));
        peer.put("default", "gone soon", "old", json!({"ttl": 0}));
        for n in 0..4 {
            peer.put("small", &format!("alpha{n} beta{n}"), "r", json!({}));
        }
        for query in ["one two three", "three two one", "no such words"] {
            peer.get("default", query);
        }
        peer.call("dumps", json!({"dest": archive}));
        peer.close();

        let summary =
            checkpoint::inspect(File::open(&archive).unwrap(), InspectOptions::new()).unwrap();
        assert_eq!(summary.manifest.embedder_fingerprint, FINGERPRINT);
        assert_eq!(summary.manifest.embedder_dim, DIM);
        assert_eq!(summary.manifest.written_by, None);
        assert!(!summary.checksummed);
        let namespaces: Vec<_> = summary
            .namespaces
            .iter()
            .map(|n| (n.namespace.as_str(), n.entries, n.quota))
            .collect();
        assert_eq!(
            namespaces,
            [
                ("a:b", 1, Some(9)),
                ("default", 2, None),
                ("small", 2, Some(2))
            ]
        );

        let copy = dir.join("ours.db");
        let cache = ours(&copy);
        let report = cache
            .load(File::open(&archive).unwrap(), LoadOptions::new())
            .unwrap();
        assert_eq!(
            (report.entries, report.manifest.layout),
            (5, Layout::Native)
        );
        let stats = cache.stats(None).unwrap();
        let theirs = (
            stats.counters.hits_exact,
            stats.counters.hits_semantic,
            stats.counters.misses,
        );
        assert_eq!(theirs, (1, 1, 1));
        cache.close().unwrap();
        assert_eq!(content(&copy), content(&path));

        // Their file is converted for another kind of store.
        let memory = mneme_tests::builder()
            .store(MemoryStore::new())
            .embedder(Words)
            .open()
            .unwrap();
        let report = memory
            .load(File::open(&archive).unwrap(), LoadOptions::new())
            .unwrap();
        assert_eq!(report.entries, 5);
        let request = GetRequest::new("STRASSE nach όδος \u{1f600} CAFÉ").namespace("a:b");
        let hit = memory.get(request).unwrap().hit().unwrap();
        assert_eq!(hit.response, "second\0\u{1f600}");

        let other_model = mneme_tests::builder()
            .store(MemoryStore::new())
            .embedder(Precomputed::new("another-model", DIM))
            .open()
            .unwrap();
        let refused = other_model.load(File::open(&archive).unwrap(), LoadOptions::new());
        assert!(
            matches!(refused, Err(Error::EmbedderMismatch { .. })),
            "{refused:?}"
        );
    });
}

fn our_archives_are_loaded_by_them(python: Python) {
    with_peer(python, |python, dir| {
        let (path, archive) = (dir.join("ours.db"), dir.join("ours.tar.gz"));
        let clock = ManualClock::at(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        );
        let cache = mneme_tests::builder()
            .store(SqliteStore::new(&path))
            .embedder(Words)
            .clock(clock.clone())
            .namespace_quota("small", 2)
            .open()
            .unwrap();
        let put = |namespace: &str, query: &str, response: &str, ttl| {
            let request = PutRequest::new(query, response)
                .namespace(namespace)
                .metadata(r#"{ "n": 1.50, "é": null }"#)
                .ttl(ttl);
            cache.put(request).unwrap();
        };
        put("default", "One two  THREE", "first", Ttl::Unlimited);
        put("a:b", ODD, "second\0\u{1f600}", Ttl::Seconds(86_400));
        for n in 0..4 {
            put("small", &format!("alpha{n} beta{n}"), "r", Ttl::Unlimited);
        }
        clock.advance(Duration::from_secs(3));
        for query in ["one two three", "three two one", "no such words"] {
            cache.get(query).unwrap();
        }
        let mut beside = SqliteStore::new(&path);
        beside.open(FINGERPRINT, DIM).unwrap();
        beside.write_blob("beside/1", vec![7; 100_000]).unwrap();
        let file = File::create(&archive).unwrap();
        let (report, _) = cache.dump(file, DumpOptions::new()).unwrap();
        assert_eq!(report.layout, Layout::Native);
        cache.close().unwrap();

        let copy = dir.join("theirs.db");
        let mut peer = Peer::start(python);
        peer.call(
            "loads",
            json!({"archive": archive, "path": copy, "fingerprint": FINGERPRINT, "dim": DIM}),
        );
        let stats = peer.call("stats", json!({}));
        assert_eq!(stats["entries"], 4);
        for (counter, count) in [
            ("hits_exact", 1),
            ("hits_semantic", 1),
            ("misses", 1),
            ("evictions", 2),
        ] {
            assert_eq!(stats[counter], count, "{counter}");
        }
        assert_eq!(
            peer.call("list_namespaces", json!({})),
            json!(["a:b", "default", "small"])
        );
        assert_eq!(content(&copy), content(&path));
        assert_eq!(peer.get("default", "THREE one two")["response"], "first");
        assert_eq!(peer.get("a:b", ODD)["response"], "second\0\u{1f600}");
        peer.close();
        let mut beside = SqliteStore::new(&copy);
        beside.open(FINGERPRINT, DIM).unwrap();
        assert_eq!(
            beside.read_blob("beside/1").unwrap(),
            Some(vec![7; 100_000])
        );

        let mut stranger = Peer::start(python);
        let refused = stranger.attempt(
            "loads",
            json!({"archive": archive, "path": dir.join("no.db"), "fingerprint": "other", "dim": DIM}),
        );
        assert!(refused.unwrap_err().starts_with("EmbedderMismatchError"));
    });
}

/// Reads an archive as a stream, compares it with its checksums, and prints its members.
const READ: &str = r#"
import gzip, hashlib, json, sys, tarfile, zstandard
path = sys.argv[1]
if path.endswith("gz"):
    source = gzip.open(path)
else:
    source = zstandard.ZstdDecompressor().stream_reader(open(path, "rb"), read_across_frames=True)
found = {}
with tarfile.open(fileobj=source, mode="r|") as tar:
    for member in tar:
        content = tar.extractfile(member).read()
        if member.name == "checksums.json":
            for written in json.loads(content)["members"]:
                assert found[written["name"]] == (written["size"], written["sha256"]), written
        found[member.name] = len(content), hashlib.sha256(content).hexdigest()
assert source.read(1) == b"" and "checksums.json" in found
if path.endswith("gz"):
    # What reads only one member reads all of it.
    import zlib
    one = zlib.decompressobj(31)
    with open(path, "rb") as file:
        while piece := file.read(1 << 16):
            one.decompress(piece)
    assert one.eof and one.unused_data == b""
print(len(found))
"#;

fn our_archives_are_gzip_and_zstd_to_them(python: Python) {
    with_peer(python, |python, dir| {
        let cache = ours(&dir.join("flat.db"));
        // So much that parts of it are stored.
        for n in 0..30 {
            let request = PutRequest::new(format!("alpha{n} beta"), "x".repeat(3_000_000));
            cache.put(request).unwrap();
        }
        for (layout, kind) in [(Layout::Native, "native"), (Layout::Portable, "portable")] {
            for (compression, end) in [(Compression::Gzip, "gz"), (Compression::Zstd, "zst")] {
                let path = dir.join(format!("{kind}.tar.{end}"));
                let options = DumpOptions::new().layout(layout).compression(compression);
                let file = File::create_new(&path).unwrap();
                cache.dump(file, options).unwrap();
                let read = Command::new(python.0)
                    .args(["-c", READ])
                    .arg(&path)
                    .output()
                    .unwrap();
                assert!(read.status.success(), "{kind} {end}: {read:?}");
                let members: u32 = str::from_utf8(&read.stdout)
                    .unwrap()
                    .trim()
                    .parse()
                    .unwrap();
                assert!(members > 2, "{kind} {end}: {members} members");
            }
        }
        let mut peer = Peer::start(python);
        peer.call(
            "loads",
            json!({"archive": dir.join("native.tar.gz"), "path": dir.join("theirs.db"), "fingerprint": FINGERPRINT, "dim": DIM}),
        );
        assert_eq!(peer.call("stats", json!({}))["entries"], 30);
        assert_eq!(
            peer.get("default", "alpha7 beta")["response"],
            "x".repeat(3_000_000)
        );
        peer.close();
    });
}
