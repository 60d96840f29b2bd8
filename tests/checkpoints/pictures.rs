//! Checkpoints of the whole product: while others write, and in little memory.

use mneme::checkpoint::{Compression, DumpOptions, Layout, LoadOptions};
use mneme::store::Store;
use mneme::{Coordination, MemoryStore, PutRequest, SemanticCache, SqliteStore};
use mneme_tests::children::{Running, argument, hear, say};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words};
use mneme_tests::{sqlite, unless_it_hangs};
use std::collections::BTreeSet;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

mneme_tests::tests![
    a_dump_while_another_process_writes_is_one_picture,
    a_cache_many_times_larger_than_the_memory_goes_through,
    a_memory_store_is_dumped_and_loaded,
];

mneme_tests::children![child_writes_pairs,];

fn open(path: &Path) -> SemanticCache {
    mneme_tests::builder()
        .store(SqliteStore::new(path))
        .embedder(Words)
        .coordination(Coordination::StaleTolerant(0))
        .open()
        .unwrap()
}

/// Rounds that the writer goes on for before it waits for the dumps to keep up.
const ROUNDS_PER_GO: u64 = 400;

/// Each round puts a pair of entries in one step.
fn child_writes_pairs() {
    let path = argument("PATH");
    let cache = open(Path::new(&path));
    for n in 0.. {
        let pair = ["left", "right"]
            .map(|side| PutRequest::new(format!("{side} number{n}"), format!("{n}")));
        cache.put_many(pair.into()).unwrap();
        if n == 30 {
            say("writing");
        }
        // The parent closes the pipe when it has seen enough.
        if n > 30 && n % ROUNDS_PER_GO == 0 {
            say("still writing");
            if hear().is_none() {
                return;
            }
        }
    }
}

fn a_dump_while_another_process_writes_is_one_picture() {
    unless_it_hangs(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        let cache = open(&path);
        let mut writer = Running::named("child_writes_pairs", &[("PATH", path.to_str().unwrap())]);
        assert_eq!(writer.line().as_deref(), Some("writing"));
        let mut versions = BTreeSet::new();
        for round in 0..6 {
            let layout = [Layout::Native, Layout::Portable][round % 2];
            let (report, archive) = cache
                .dump(Vec::new(), DumpOptions::new().layout(layout))
                .unwrap();
            assert!(report.consistent);
            let copy = dir.path().join(format!("copy{round}.db"));
            let loaded = open(&copy);
            let report = loaded
                .load(Cursor::new(archive), LoadOptions::new())
                .unwrap();
            loaded.close().unwrap();
            // Whole pairs only, none left out.
            let count: i64 = sqlite::value(&copy, "SELECT count(*) FROM entries");
            assert_eq!(i64::try_from(report.entries).unwrap(), count);
            assert_eq!(count % 2, 0);
            let last: i64 =
                sqlite::value(&copy, "SELECT max(CAST(response AS INTEGER)) FROM entries");
            assert_eq!(count, 2 * (last + 1));
            versions.insert(last);
            writer.tell("go on");
            assert_eq!(writer.line().as_deref(), Some("still writing"));
        }
        // It is at most one go ahead of each dump.
        assert!(versions.len() >= 3, "the writer went on all the time");
    });
}

/// One end of a pipe between threads that counts what goes through.
struct PipeWriter(SyncSender<Vec<u8>>);

struct PipeReader {
    pieces: Receiver<Vec<u8>>,
    piece: Cursor<Vec<u8>>,
    passed: Arc<AtomicU64>,
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.send(bytes.to_vec()) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.position() == self.piece.get_ref().len() as u64 {
            match self.pieces.recv() {
                Ok(piece) => self.piece = Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
        let read = self.piece.read(buffer)?;
        self.passed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The component may grow to this while it dumps and loads many times as much.
const LITTLE_MEMORY: usize = 40 << 20;

fn a_cache_many_times_larger_than_the_memory_goes_through() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::new(dir.path().join("large.db"));
    store.open(FINGERPRINT, DIM).unwrap();
    // About 400 MB of text that does not compress to nothing.
    let mut noise = 88_172_645_463_325_252_u64;
    let mut text = String::new();
    for _ in 0..16_000 {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        text.push_str(&format!("{noise:x}"));
    }
    let cache = mneme_tests::builder()
        .store(store)
        .embedder(Words)
        .open()
        .unwrap();
    const ENTRIES: u64 = 1_600;
    for first in (0..ENTRIES).step_by(100) {
        let requests = (first..first + 100).map(|n| {
            let at = n as usize * 7 % 1000;
            PutRequest::new(format!("question number{n}"), &text[at..])
        });
        cache.put_many(requests.collect()).unwrap();
    }
    cache.close().unwrap();

    for (layout, compression) in [
        (Layout::Native, Compression::Gzip),
        (Layout::Portable, Compression::Gzip),
        (Layout::Portable, Compression::Zstd),
    ] {
        let little = |store: SqliteStore| {
            mneme_tests::builder()
                .store(store)
                .embedder(Words)
                .memory_limit(LITTLE_MEMORY)
                .open()
                .unwrap()
        };
        let source = little(SqliteStore::new(dir.path().join("large.db")));
        let target = little(SqliteStore::new(
            dir.path().join(format!("{layout:?}-{compression:?}.db")),
        ));
        let (pieces, received) = sync_channel(4);
        let passed = Arc::new(AtomicU64::new(0));
        let reader = PipeReader {
            pieces: received,
            piece: Cursor::default(),
            passed: Arc::clone(&passed),
        };
        let dumping = std::thread::spawn(move || {
            let options = DumpOptions::new().layout(layout).compression(compression);
            source
                .dump(PipeWriter(pieces), options)
                .map(|(report, _)| report)
        });
        let loaded = target.load(reader, LoadOptions::new());
        let dumped = dumping.join().unwrap().unwrap();
        let loaded = loaded.unwrap();
        assert_eq!(loaded.entries, ENTRIES);
        assert!(
            dumped.bytes > 8 * LITTLE_MEMORY as u64,
            "{} bytes in {LITTLE_MEMORY}",
            dumped.bytes
        );
        assert_eq!(passed.load(Ordering::Relaxed), dumped.compressed_bytes);
        let hit = target.get("question number1599").unwrap().hit().unwrap();
        assert_eq!(hit.response.len(), text.len() - 1599 * 7 % 1000);
        target.close().unwrap();
    }
}

fn a_memory_store_is_dumped_and_loaded() {
    let cache = |store: MemoryStore| {
        mneme_tests::builder()
            .store(store)
            .embedder(Words)
            .open()
            .unwrap()
    };
    let source = cache(MemoryStore::new());
    source.put(PutRequest::new("question", "answer")).unwrap();
    let (report, archive) = source.dump(Vec::new(), DumpOptions::new()).unwrap();
    assert_eq!((report.layout, report.entries), (Layout::Portable, Some(1)));
    let target = cache(MemoryStore::new());
    target
        .load(Cursor::new(archive), LoadOptions::new())
        .unwrap();
    mneme_tests::assert_answers(&target);
}
