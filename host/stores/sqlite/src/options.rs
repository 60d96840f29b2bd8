//! What can be chosen.

use std::time::Duration;

/// What a write survives once it has returned.
///
/// Under both, a crash leaves a sound file and no write in part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Writes survive the end of the process, `kill -9` included. The last of them may be
    /// lost when the machine loses power or its kernel crashes. The default.
    #[default]
    Normal,
    /// Writes survive power loss too. Each waits for the disk, which takes milliseconds.
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
    pub busy_timeout: Duration,
    pub synchronous: Synchronous,
}
