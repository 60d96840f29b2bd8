//! From what SQLite says to what the contract says.

use std::path::Path;

use rusqlite::{Error as SqliteError, ErrorCode};

use super::bounds::{CALL_TIME, was_late};
use super::layout;
use mneme_store::cancel::is_cancelled;
use mneme_store::{BackendError, StoreError};

/// A failure inside the store, before it is told where it happened.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite refused.
    Sqlite(SqliteError),
    /// Stored data is damaged; the text says where in the file, and the remedy.
    Corrupt(String),
    /// The file is of another layout; the text has the remedy.
    Schema(String),
    /// The operating system refused; the text has the remedy.
    System(String),
    /// The cache can only be read; the text says why.
    ReadOnly(String),
    /// An error of the contract that needs nothing added.
    Typed(StoreError),
}

pub(super) type Outcome<T> = Result<T, Fault>;

impl From<SqliteError> for Fault {
    fn from(error: SqliteError) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Typed(error)
    }
}

impl Fault {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Typed(StoreError::InvalidArgument(message.into()))
    }

    /// Something else is at the path than what was opened.
    pub fn replaced(how: &str) -> Self {
        Self::System(format!(
            "something else has taken the place of the file while it was open: {how}; nothing was changed, so close the cache and open it again"
        ))
    }

    /// The file or what SQLite keeps beside it may not be written.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Sqlite(error) if matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
        ))
    }

    /// It took more work than it may, or the call was given up.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Sqlite(error)
            if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted))
    }

    /// The machine failed, a lock was held or the call was given up, whatever is in the file.
    pub fn is_of_machine(&self) -> bool {
        match self {
            Self::Sqlite(error) => {
                matches!(
                    error.sqlite_error_code(),
                    Some(
                        ErrorCode::OutOfMemory
                            | ErrorCode::SystemIoFailure
                            | ErrorCode::DiskFull
                            | ErrorCode::CannotOpen
                            | ErrorCode::ReadOnly
                            | ErrorCode::PermissionDenied
                    )
                ) || self.is_busy()
                    || (self.is_interrupted() && (is_cancelled() || was_late()))
            }
            Self::System(_) | Self::ReadOnly(_) => true,
            Self::Corrupt(_) | Self::Schema(_) | Self::Typed(_) => false,
        }
    }

    /// A lock that another connection holds.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite(error) if matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed)
        ))
    }

    /// Damage, as opposed to a failure to look.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt(_) => true,
            Self::Sqlite(error) => {
                is_wrong_value(error)
                    || is_unknown_format(error)
                    || (self.is_interrupted() && !is_cancelled() && !was_late())
                    || matches!(
                        error.sqlite_error_code(),
                        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                    )
            }
            _ => false,
        }
    }

    /// The error for the caller: which file, in which operation.
    pub fn at(self, path: &Path, doing: &str) -> StoreError {
        let site = format!("SQLite store {}, {doing}", path.display());
        match self {
            Self::Typed(error) => error,
            Self::Corrupt(what) => StoreError::Corrupt(format!("{site}: {what}")),
            Self::Schema(what) => StoreError::Schema(format!("{site}: {what}")),
            Self::System(what) => backend(format!("{site}: {what}"), false),
            Self::ReadOnly(what) => StoreError::Unsupported(format!("{site}: {what}")),
            Self::Sqlite(error) => sqlite(&site, &error, path),
        }
    }
}

/// What to do about a full disk.
const FREE_SPACE: &str = "nothing was stored; free space on the disk and call again";

/// Whether nothing more can be written to the disk that a path is on.
pub(super) fn is_full(path: &Path) -> bool {
    /// Less than this is of no use to SQLite.
    const LEAST: u64 = 64 * 1024;
    #[cfg(unix)]
    if let Some(directory) = path.parent()
        && let Ok(disk) = rustix::fs::statvfs(directory)
    {
        let no_files = disk.f_files > 0 && disk.f_favail == 0;
        return no_files || disk.f_bavail.saturating_mul(disk.f_frsize) < LEAST;
    }
    let _ = (path, LEAST);
    false
}

/// Whether a column holds what no cache puts there.
fn is_wrong_value(error: &SqliteError) -> bool {
    matches!(
        error,
        SqliteError::FromSqlConversionFailure(..)
            | SqliteError::IntegralValueOutOfRange(..)
            | SqliteError::InvalidColumnType(..)
            | SqliteError::Utf8Error(..)
    )
}

/// Whether the file's header names a format that SQLite does not know. It has no code for that.
fn is_unknown_format(error: &SqliteError) -> bool {
    error.to_string().contains("unsupported file format")
}

fn backend(message: String, retryable: bool) -> StoreError {
    StoreError::Backend(BackendError { message, retryable })
}

fn sqlite(site: &str, error: &SqliteError, path: &Path) -> StoreError {
    if layout::is_uncompiled(error) && error.to_string().contains("no such") {
        return StoreError::Corrupt(format!(
            "{site}: {error}; the tables are not those of a cache any more, so restore a checkpoint, and open the cache again"
        ));
    }
    let Some(code) = error.sqlite_error_code() else {
        return match error {
            _ if is_wrong_value(error) => StoreError::Corrupt(format!(
                "{site}: {error}; delete the row, or restore a checkpoint"
            )),
            _ => backend(format!("{site}: {error}"), false),
        };
    };
    let say = |remedy: &str| format!("{site}: {error}; {remedy}");
    match code {
        ErrorCode::OperationInterrupted
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
            if is_cancelled() =>
        {
            backend(
                format!("{site}: the call was given up; nothing was changed"),
                false,
            )
        }
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => backend(
            say(
                "another process has held the write lock longer than the busy timeout, so call again, or raise the timeout",
            ),
            true,
        ),
        ErrorCode::NotADatabase => StoreError::Corrupt(say(
            "this is not a SQLite database, so give another path, or move the file away to start empty",
        )),
        ErrorCode::DatabaseCorrupt => StoreError::Corrupt(say(
            "the file is damaged, so restore a checkpoint, or move the file away to start empty",
        )),
        ErrorCode::OperationInterrupted if was_late() => backend(
            format!(
                "{site}: it took longer than the {} s that a call may take, so it was ended and nothing was changed; the disk is slow or the file is damaged, so run an integrity check",
                CALL_TIME.as_secs()
            ),
            false,
        ),
        ErrorCode::OperationInterrupted => StoreError::Corrupt(format!(
            "{site}: it takes more work than a sound file of this size can, so its pages lead in circles; restore a checkpoint, or move the file away to start empty"
        )),
        _ if is_unknown_format(error) => StoreError::Corrupt(say(
            "the header of the file is damaged, or a later SQLite wrote it, so restore a checkpoint, or move the file away to start empty",
        )),
        ErrorCode::DiskFull => backend(say(FREE_SPACE), false),
        // SQLite tells it only where it was the database itself that found no room.
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen if is_full(path) => backend(
            format!("{site}: the disk is full ({error}); {FREE_SPACE}"),
            false,
        ),
        ErrorCode::ReadOnly => backend(
            say("give this process the right to write the file and its directory"),
            false,
        ),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => backend(
            say("check that the directory exists and that this process may write to it"),
            false,
        ),
        ErrorCode::SystemIoFailure => backend(
            say("the disk failed to read or write; check it, then run an integrity check"),
            false,
        ),
        // Of the argument, so without the place: whoever gave it may not know that.
        ErrorCode::TooBig => StoreError::InvalidArgument(
            "an entry is too long: a row of a SQLite file holds at most 1,000,000,000 bytes; store less".into(),
        ),
        _ => backend(format!("{site}: {error}"), false),
    }
}
