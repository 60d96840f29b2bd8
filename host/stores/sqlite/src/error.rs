//! From what SQLite says to what the contract says.

use std::path::Path;

use rusqlite::{Error as SqliteError, ErrorCode};

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
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
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
            Self::Sqlite(error) => sqlite(&site, &error),
        }
    }
}

fn backend(message: String, retryable: bool) -> StoreError {
    StoreError::Backend(BackendError { message, retryable })
}

fn sqlite(site: &str, error: &SqliteError) -> StoreError {
    let Some(code) = error.sqlite_error_code() else {
        return match error {
            SqliteError::FromSqlConversionFailure(..)
            | SqliteError::IntegralValueOutOfRange(..)
            | SqliteError::InvalidColumnType(..)
            | SqliteError::Utf8Error(..) => StoreError::Corrupt(format!(
                "{site}: {error}; delete the row, or restore a checkpoint"
            )),
            _ => backend(format!("{site}: {error}"), false),
        };
    };
    let say = |remedy: &str| format!("{site}: {error}; {remedy}");
    match code {
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
        ErrorCode::DiskFull => backend(
            say("nothing was stored; free space on the disk and call again"),
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
        ErrorCode::TooBig => StoreError::InvalidArgument(say(
            "a row of a SQLite file holds at most 1,000,000,000 bytes",
        )),
        _ => backend(format!("{site}: {error}"), false),
    }
}
