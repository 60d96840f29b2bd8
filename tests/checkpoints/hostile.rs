//! Archives that would cost far more than they weigh.

use super::support::{builder, dumped, entries, entry, fill, memory};
use mneme::checkpoint::{self, DumpOptions, ImportMode, InspectOptions, Layout, LoadOptions};
use mneme::embedder::Precomputed;
use mneme::store::cancel::Cancel;
use mneme::{Error, MemoryStore, PutRequest, SqliteStore};
use mneme_tests::sqlite;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mneme_tests::tests![
    zeros_are_refused_before_they_are_all_unpacked,
    what_compresses_well_is_taken,
    more_quotas_than_an_archive_holds_are_not_dumped,
    far_more_meta_values_than_entries_are_refused,
    a_load_that_is_given_up_ends_within_the_store,
];

/// A native archive of one entry, and whatever the statements add to the file.
fn native(sql: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let open = |path: &Path| builder(SqliteStore::new(path)).open().unwrap();
    let cache = open(&path);
    cache.put(entry(0)).unwrap();
    cache.close().unwrap();
    sqlite::execute(&path, sql);
    dumped(&open(&path))
}

/// Counts what was read.
struct Counted<R> {
    reader: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(bytes)?;
        self.bytes.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

fn zeros_are_refused_before_they_are_all_unpacked() {
    // A sound manifest, and a snapshot of 512 MiB of zeros.
    let sound = native("");
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&sound[..]));
    let mut manifest = Vec::new();
    let mut first = tar.entries().unwrap().next().unwrap().unwrap();
    first.read_to_end(&mut manifest).unwrap();
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    let mut tar = tar::Builder::new(gzip);
    let mut append = |name: &str, size: u64, bytes: &mut dyn Read| {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    append("manifest.json", manifest.len() as u64, &mut &manifest[..]);
    let size = 512 << 20;
    append("store", size, &mut io::repeat(0).take(size));
    let mut gzip = tar.into_inner().unwrap();
    gzip.flush().unwrap();
    let archive = gzip.finish().unwrap();
    assert!(archive.len() > 2 << 20, "{} bytes", archive.len());

    let target = memory();
    let bytes = Arc::<AtomicU64>::default();
    let reader = || Counted {
        reader: Cursor::new(archive.clone()),
        bytes: Arc::clone(&bytes),
    };
    for error in [
        checkpoint::inspect(reader(), InspectOptions::new()).unwrap_err(),
        target.load(reader(), LoadOptions::new()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), "checkpoint", "{error}");
        assert!(error.to_string().contains("max-expansion"), "{error}");
        // What becomes 64 MiB, and what was read ahead.
        let read = bytes.swap(0, Ordering::Relaxed);
        assert!(2 * read < archive.len() as u64, "{read} bytes were read");
    }
}

fn what_compresses_well_is_taken() {
    // More than what any archive may become, of vectors that are all the same.
    const DIM: u32 = 3072;
    let cache = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Precomputed::new("same", DIM))
        .open()
        .unwrap();
    let mut vector = vec![0.0; DIM as usize];
    vector[0] = 1.0;
    for first in (0..6000).step_by(100) {
        let one = |n| {
            let request = PutRequest::new(format!("question {n}"), format!("answer {n}"));
            request.embedding(vector.clone())
        };
        cache
            .put_many((first..first + 100).map(one).collect())
            .unwrap();
    }
    let archive = dumped(&cache);
    let times = 6000 * 4 * DIM as usize / archive.len();
    assert!(times > 30, "{times} times");
    let summary = checkpoint::inspect(Cursor::new(archive), InspectOptions::new());
    assert_eq!(summary.unwrap().entries, 6000);
}

/// Puts rows from 1 to `most` into a table.
fn rows(most: u32, into: &str) -> String {
    format!(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {most})
         INSERT INTO {into} FROM c"
    )
}

fn more_quotas_than_an_archive_holds_are_not_dumped() {
    let quotas = |most| rows(most, "namespace_quotas SELECT 'quota ' || x, x");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.db");
    let cache = builder(SqliteStore::new(&path)).open().unwrap();
    sqlite::execute(&path, &quotas(300_000));
    let mut messages = Vec::new();
    for layout in [Layout::Native, Layout::Portable] {
        let options = || DumpOptions::new().layout(layout);
        let verified = cache.dump_verified(tempfile::tempfile().unwrap(), options());
        for error in [
            verified.map(drop).unwrap_err(),
            cache.dump(Vec::new(), options()).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Checkpoint(_)), "{error:?}");
            messages.push(error.to_string());
        }
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "{messages:?}");
    for part in ["too many quotas", "remove the quotas", "dump again"] {
        assert!(messages[0].contains(part), "{messages:?}");
    }
    let error = cache.set_namespace_quota("one more", Some(1)).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    assert!(error.to_string().contains("too many quotas"), "{error}");
    assert_eq!(cache.namespace_quota("one more").unwrap(), None);

    // Many are taken.
    let target = builder(SqliteStore::new(folder.path().join("t.db")))
        .open()
        .unwrap();
    target.put(entry(1)).unwrap();
    let options = LoadOptions::new().mode(ImportMode::Replace);
    let archive = native(&quotas(150_000));
    target.load(Cursor::new(archive), options).unwrap();
    assert_eq!(
        target.namespace_quota("quota 149999").unwrap(),
        Some(149_999)
    );
}

fn far_more_meta_values_than_entries_are_refused() {
    let archive = native(&rows(300_000, "schema_meta SELECT 'value ' || x, 'x'"));
    let folder = tempfile::tempdir().unwrap();
    let target = builder(SqliteStore::new(folder.path().join("t.db")))
        .open()
        .unwrap();
    target.put(entry(1)).unwrap();
    let error = target
        .load(
            Cursor::new(archive),
            LoadOptions::new().mode(ImportMode::Merge),
        )
        .unwrap_err();
    assert!(matches!(error, Error::Checkpoint(_)), "{error:?}");
    assert!(
        error.to_string().contains("quotas and meta values"),
        "{error}"
    );
    assert_eq!(entries(&target), 1);
}

/// Gives up when a snapshot has been received as a whole, and so the store is at work.
struct GivingUp {
    archive: Cursor<Vec<u8>>,
    cancel: Cancel,
}

impl Read for GivingUp {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.archive.read(bytes)?;
        if length == 0 {
            self.cancel.cancel();
        }
        Ok(length)
    }
}

fn a_load_that_is_given_up_ends_within_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let store = SqliteStore::new(folder.path().join(name));
        builder(store).open().unwrap()
    };
    let source = open("source.db");
    fill(&source, 1000);
    let archive = dumped(&source);
    let target = open("target.db");
    target.put(entry(5)).unwrap();
    let given_up = |error: Error| {
        assert_eq!(error.kind(), "backend", "{error}");
        assert!(error.to_string().contains("was given up"), "{error}");
    };
    for mode in [ImportMode::Merge, ImportMode::Replace] {
        let cancel = Cancel::default();
        let reader = || GivingUp {
            archive: Cursor::new(archive.clone()),
            cancel: cancel.clone(),
        };
        let options = LoadOptions::new().mode(mode);
        given_up(
            cancel
                .during(|| target.load(reader(), options))
                .unwrap_err(),
        );
        let inspecting = || checkpoint::inspect(reader(), InspectOptions::new());
        given_up(cancel.during(inspecting).unwrap_err());
        assert_eq!(entries(&target), 1);
        assert!(target.get("question 5").unwrap().is_hit());
    }
    let options = LoadOptions::new().mode(ImportMode::Replace);
    let report = target.load(Cursor::new(archive), options).unwrap();
    assert_eq!(report.entries, 1000);
}
