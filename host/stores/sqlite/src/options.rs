//! The options.

use std::time::Duration;

/// What [`open`](mneme_store::Store::open) may do to the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Read and write, and create the file if there is none; `mode=rwc`. The default.
    #[default]
    Create,
    /// Read and write a file that holds a cache already; `mode=rw`.
    Existing,
    /// Only read a file that holds a cache already; `mode=ro`.
    ReadOnly,
}

/// What a write survives after it has returned.
///
/// With both, a crash leaves an undamaged file without partial writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Writes survive the end of the process, even `kill -9`. A power cut or a crash of the
    /// kernel may lose the last writes. The default.
    #[default]
    Normal,
    /// Writes survive a power cut too. Each waits for the disk, which takes milliseconds.
    Full,
}

impl Synchronous {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub mode: Mode,
    pub busy_timeout: Duration,
    pub synchronous: Synchronous,
}
