//! The other end of a checkpoint: what its bytes are written to or read from.

use crate::contract::archive::Unit;
use crate::contract::types::{BackendError, Error as StoreError};
use std::any::Any;
use std::io::{ErrorKind, Read, Result, Write};

/// The most that is read at once.
const MAX_READ: u32 = 1 << 20;

/// How far a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The amount that is done.
    pub done: u64,
    /// The whole amount, if it is known. It may be a little off if others write.
    pub total: Option<u64>,
    /// What is counted. One call may count several kinds one after another.
    pub unit: Unit,
}

/// Is told how a checkpoint goes on.
pub(crate) type Watch = Box<dyn FnMut(Progress) + Send>;

/// A reader that can be had back as what it was.
pub(crate) trait Source: Read + Any + Send {}
impl<R: Read + Any + Send> Source for R {}

/// A writer that can be had back as what it was.
pub(crate) trait Sink: Write + Any + Send {}
impl<W: Write + Any + Send> Sink for W {}

enum End {
    Source(Box<dyn Source>),
    Sink(Box<dyn Sink>),
}

/// What one call of the component reads or writes.
pub(crate) struct Archive {
    end: End,
    watch: Option<Watch>,
}

impl Archive {
    pub fn reading(source: impl Source, watch: Option<Watch>) -> Self {
        let end = End::Source(Box::new(source));
        Archive { end, watch }
    }

    pub fn writing(sink: impl Sink, watch: Option<Watch>) -> Self {
        let end = End::Sink(Box::new(sink));
        Archive { end, watch }
    }

    pub fn read(&mut self, max: u32) -> std::result::Result<Vec<u8>, StoreError> {
        let End::Source(source) = &mut self.end else {
            return Err(StoreError::Unsupported(
                "this archive is being written".into(),
            ));
        };
        let mut bytes = vec![0; max.min(MAX_READ) as usize];
        loop {
            match source.read(&mut bytes) {
                Ok(length) => {
                    bytes.truncate(length);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", &error)),
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), StoreError> {
        let outcome = self.sink(|sink| sink.write_all(bytes));
        outcome.map_err(|error| failed("written", &error))
    }

    /// Hands on what a buffering writer still holds.
    pub fn flush(&mut self) -> std::result::Result<(), StoreError> {
        let outcome = self.sink(|sink| sink.flush());
        outcome.map_err(|error| failed("written", &error))
    }

    fn sink(&mut self, write: impl FnOnce(&mut dyn Sink) -> Result<()>) -> Result<()> {
        match &mut self.end {
            End::Sink(sink) => write(&mut **sink),
            End::Source(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    pub fn progress(&mut self, done: u64, total: Option<u64>, unit: Unit) {
        if let Some(watch) = &mut self.watch {
            watch(Progress { done, total, unit });
        }
    }

    /// The reader or writer, if it is of this type, and whoever watches.
    pub fn into_parts<T: 'static>(self) -> (Option<T>, Option<Watch>) {
        let end: Box<dyn Any> = match self.end {
            End::Source(source) => source,
            End::Sink(sink) => sink,
        };
        (end.downcast().ok().map(|end| *end), self.watch)
    }
}

fn failed(verb: &str, error: &std::io::Error) -> StoreError {
    StoreError::Backend(BackendError {
        message: format!("the archive cannot be {verb}: {error}"),
        retryable: false,
    })
}
