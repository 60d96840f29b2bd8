//! An archive in memory.

use crate::checkpoint::compression::{Compressor, Decompressor};
use crate::error::Result;
use crate::host::Archive;
use crate::types::{BackendError, Compression, Error, Unit};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// An archive in memory that can be told to fail. Clones are the same archive.
#[derive(Clone, Default)]
pub struct TestArchive {
    pub bytes: Rc<RefCell<Vec<u8>>>,
    /// Bytes that have been read.
    pub position: Rc<Cell<usize>>,
    /// The most bytes that a read returns, if not 0.
    pub piece: Rc<Cell<usize>>,
    /// The most bytes that a write has brought.
    pub written: Rc<Cell<usize>>,
    /// Reads and writes left until one fails.
    failing: Rc<Cell<Option<u64>>>,
}

impl TestArchive {
    pub fn of(bytes: &[u8]) -> Self {
        let archive = TestArchive::default();
        archive.bytes.borrow_mut().extend_from_slice(bytes);
        archive
    }

    /// Makes the `n`-th read or write from now fail, counted from 1.
    pub fn fail_at(&self, n: u64) {
        self.failing.set(Some(n));
    }

    fn call(&self) -> Result<()> {
        if let Some(left) = self.failing.get() {
            self.failing.set(left.checked_sub(1));
            if left == 1 {
                return Err(archive_failure());
            }
        }
        Ok(())
    }
}

/// What a `TestArchive` fails with.
pub fn archive_failure() -> Error {
    Error::Backend(BackendError {
        message: "the test archive was told to fail".into(),
        retryable: false,
    })
}

impl Archive for TestArchive {
    fn read(&self, max: u32) -> Result<Vec<u8>> {
        self.call()?;
        let bytes = self.bytes.borrow();
        let rest = &bytes[self.position.get()..];
        let piece = match self.piece.get() {
            0 => max as usize,
            piece => piece.min(max as usize),
        };
        let read = rest[..rest.len().min(piece)].to_vec();
        self.position.set(self.position.get() + read.len());
        Ok(read)
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        self.call()?;
        self.written.set(self.written.get().max(bytes.len()));
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&self, _done: u64, _total: Option<u64>, _unit: Unit) {}
}

/// The tar file in an archive.
pub fn plain(archive: &TestArchive) -> Vec<u8> {
    archive.position.set(0);
    let mut decompressor = Decompressor::new(archive, u32::MAX).unwrap();
    let mut plain = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match decompressor.read(&mut buffer).unwrap() {
            0 => return plain,
            read => plain.extend_from_slice(&buffer[..read]),
        }
    }
}

/// An archive around any tar file.
pub fn compressed(plain: &[u8]) -> Vec<u8> {
    let archive = TestArchive::default();
    let mut compressor = Compressor::new(&archive, Compression::Gzip, Some(0)).unwrap();
    compressor.write(plain).unwrap();
    compressor.finish().unwrap();
    archive.bytes.take()
}
