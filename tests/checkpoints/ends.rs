//! What is read from and written to.

use super::support::{assert_serves, builder, dumped, entries, fill, load, memory};
use mneme::checkpoint::{
    self, Compression, DumpOptions, InspectOptions, Layout, LoadOptions, Progress, Unit,
};
use mneme::embedder::Precomputed;
use mneme::{Error, MemoryStore};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

mneme_tests::tests![
    an_archive_goes_through_memory,
    an_archive_goes_through_a_file_that_is_given_back,
    a_writer_that_fails_is_heard_wherever_it_fails,
    a_reader_that_fails_is_heard_and_changes_nothing,
    a_reader_may_give_little_and_be_interrupted,
    an_archive_that_ends_early_is_refused,
    another_embedder_is_refused_at_once,
    whoever_waits_is_told,
    an_archive_that_calls_its_cache_is_refused,
    an_archive_that_panics_loses_the_cache_not_the_program,
];

fn an_archive_goes_through_memory() {
    let cache = memory();
    fill(&cache, 50);
    cache.set_namespace_quota("tenant", Some(7)).unwrap();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let options = DumpOptions::new().compression(compression);
        let (report, archive) = cache.dump(Vec::new(), options).unwrap();
        assert_eq!(
            (report.layout, report.entries),
            (Layout::Portable, Some(50))
        );
        assert_eq!(report.compressed_bytes, archive.len() as u64);

        let inspected =
            checkpoint::inspect(Cursor::new(archive.clone()), InspectOptions::new()).unwrap();
        assert_eq!(
            (inspected.entries, inspected.compression),
            (50, compression)
        );

        let other = memory();
        let loaded = load(&other, &archive).unwrap();
        assert_eq!((loaded.entries, loaded.manifest), (50, inspected.manifest));
        assert_eq!(other.namespace_quota("tenant").unwrap(), Some(7));
        assert_serves(&other);
    }
}

fn an_archive_goes_through_a_file_that_is_given_back() {
    let cache = memory();
    fill(&cache, 3);
    let file = tempfile::tempfile().unwrap();
    let (report, mut file) = cache.dump(file, DumpOptions::new()).unwrap();
    assert_eq!(file.metadata().unwrap().len(), report.compressed_bytes);
    file.rewind().unwrap();
    let other = memory();
    // A handle of it will do as well.
    let file: Arc<File> = Arc::new(file);
    other.load(Arc::clone(&file), LoadOptions::new()).unwrap();
    assert_eq!(entries(&other), 3);
}

/// Fails after so many bytes, as the disk would.
struct Failing<T> {
    end: T,
    left: usize,
    flushes: bool,
}

fn full() -> io::Error {
    io::Error::new(
        io::ErrorKind::StorageFull,
        "no room on the disk of this test",
    )
}

impl<W: Write> Write for Failing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.left);
        if length == 0 && !bytes.is_empty() {
            return Err(full());
        }
        self.left -= length;
        self.end.write(&bytes[..length])
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.flushes {
            true => Ok(()),
            false => Err(full()),
        }
    }
}

impl<R: Read> Read for Failing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.left);
        if length == 0 {
            return Err(full());
        }
        let length = self.end.read(&mut bytes[..length])?;
        self.left -= length;
        Ok(length)
    }
}

fn assert_says_why(error: &Error) {
    assert_eq!(error.kind(), "backend", "{error}");
    let text = error.to_string();
    assert!(
        text.contains("the archive cannot be") && text.contains("no room on the disk"),
        "{text}"
    );
}

fn a_writer_that_fails_is_heard_wherever_it_fails() {
    let cache = memory();
    fill(&cache, 40);
    let length = dumped(&cache).len();
    for left in [0, 1, length / 2, length - 1] {
        let writer = Failing {
            end: Vec::new(),
            left,
            flushes: true,
        };
        let error = cache.dump(writer, DumpOptions::new()).err().unwrap();
        assert_says_why(&error);
        assert_serves(&cache);
    }
    let writer = Failing {
        end: Vec::new(),
        left: usize::MAX,
        flushes: false,
    };
    assert_says_why(&cache.dump(writer, DumpOptions::new()).err().unwrap());
    let again = memory();
    assert_eq!(load(&again, &dumped(&cache)).unwrap().entries, 40);
}

fn a_reader_that_fails_is_heard_and_changes_nothing() {
    let full = memory();
    fill(&full, 40);
    let archive = dumped(&full);
    let cache = memory();
    for left in [0, 1, archive.len() / 2, archive.len() - 1] {
        let reader = || Failing {
            end: Cursor::new(archive.clone()),
            left,
            flushes: true,
        };
        let error = cache.load(reader(), LoadOptions::new()).unwrap_err();
        assert_says_why(&error);
        assert_eq!(entries(&cache), 0);
        let error = checkpoint::inspect(reader(), InspectOptions::new()).unwrap_err();
        assert_says_why(&error);
    }
    load(&cache, &archive).unwrap();
    assert_serves(&cache);
}

/// Gives a byte at a time, and is interrupted before each.
struct Dripping<R> {
    reader: R,
    interrupted: bool,
}

impl<R: Read> Read for Dripping<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        match self.interrupted {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => self.reader.read(&mut bytes[..1]),
        }
    }
}

fn a_reader_may_give_little_and_be_interrupted() {
    let full = memory();
    fill(&full, 5);
    let cache = memory();
    let reader = Dripping {
        reader: Cursor::new(dumped(&full)),
        interrupted: false,
    };
    cache.load(reader, LoadOptions::new()).unwrap();
    assert_eq!(entries(&cache), 5);
}

fn an_archive_that_ends_early_is_refused() {
    let full = memory();
    fill(&full, 5);
    let archive = dumped(&full);
    let cache = memory();
    for length in [0, 1, archive.len() / 2, archive.len() - 1] {
        let error = load(&cache, &archive[..length]).unwrap_err();
        assert_eq!(error.kind(), "checkpoint", "{length}: {error}");
        assert_eq!(entries(&cache), 0);
    }
}

fn another_embedder_is_refused_at_once() {
    let full = memory();
    fill(&full, 40);
    let archive = dumped(&full);
    let other = |fingerprint: &str, dim| {
        let cache = mneme_tests::builder()
            .store(MemoryStore::new())
            .embedder(Precomputed::new(fingerprint, dim))
            .open()
            .unwrap();
        load(&cache, &archive).unwrap_err()
    };
    let error = other("another", 2);
    assert_eq!(error.kind(), "embedder_mismatch", "{error}");
    let text = error.to_string();
    assert!(
        text.contains("another") && text.contains(super::support::MODEL),
        "{text}"
    );
    let error = other(super::support::MODEL, 3);
    assert_eq!(error.kind(), "embedder_dimension", "{error}");
}

fn whoever_waits_is_told() {
    let cache = memory();
    fill(&cache, 50);
    let told = Arc::new(Mutex::new(Vec::new()));
    let watch = || {
        let told = Arc::clone(&told);
        move |progress: Progress| told.lock().unwrap().push(progress)
    };
    let options = DumpOptions::new().on_progress(watch());
    let archive = cache.dump(Vec::new(), options).unwrap().1;
    let last = told.lock().unwrap().pop().unwrap();
    assert_eq!((last.done, last.unit), (50, Unit::Entries));

    told.lock().unwrap().clear();
    let options = LoadOptions::new().on_progress(watch());
    let other = memory();
    other.load(Cursor::new(archive), options).unwrap();
    let last = told.lock().unwrap().pop().unwrap();
    assert_eq!((last.done, last.unit), (50, Unit::Entries));
}

fn an_archive_that_calls_its_cache_is_refused() {
    let cache = memory();
    fill(&cache, 3);
    let (called, from_within) = (Arc::new(Mutex::new(None)), cache.clone());
    let answer = Arc::clone(&called);
    let options = DumpOptions::new().on_progress(move |_| {
        *answer.lock().unwrap() = Some(from_within.flush().unwrap_err().kind());
    });
    cache.dump(io::sink(), options).unwrap();
    assert_eq!(*called.lock().unwrap(), Some("invalid_argument"));
}

/// Panics when it is used.
struct Panicking;

impl Read for Panicking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("a bug of the program");
    }
}

fn an_archive_that_panics_loses_the_cache_not_the_program() {
    let cache = builder(MemoryStore::new()).open().unwrap();
    let other = cache.clone();
    let load = AssertUnwindSafe(|| cache.load(Panicking, LoadOptions::new()));
    assert!(catch_unwind(load).is_err());
    let error = other.flush().unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    assert!(cache.close().is_ok());
}
