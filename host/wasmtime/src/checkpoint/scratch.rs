//! A private folder for the time of a call, in which a native archive is unpacked.
//!
//! It is locked as long as it is in use. So what a killed process leaves behind can be told from
//! what is in use, and goes when the next one is made.

use crate::error::{Error, Result};
use crate::store::SqliteStore;
use mneme_store::staged::{Staged, stage};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "mneme-scratch-";
const LOCK: &str = "lock";

/// A folder that nobody else can enter, and that goes with the value.
pub(super) struct Scratch {
    // It must be closed before the folder goes.
    _lock: File,
    folder: Staged<TempDir>,
}

impl Scratch {
    /// A new one, in the folder of temporary files.
    pub fn new() -> Result<Self> {
        Self::within(&std::env::temp_dir()).map_err(|error| temporary(&error))
    }

    fn within(parent: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        loop {
            let folder = stage(|| builder.tempdir_in(parent))?;
            let path = folder.path().join(LOCK);
            let lock = match File::create_new(&path) {
                // Somebody took the new folder for a leftover.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock?,
            };
            match lock.try_lock() {
                Err(fs::TryLockError::WouldBlock) => continue,
                Err(fs::TryLockError::Error(error))
                    if error.kind() != io::ErrorKind::Unsupported =>
                {
                    return Err(error);
                }
                // Where there are no locks, nothing is ever taken for a leftover.
                _ => {}
            }
            if path.try_exists()? {
                remove_leftovers(parent, folder.path());
                return Ok(Scratch {
                    _lock: lock,
                    folder,
                });
            }
        }
    }

    /// A store in it.
    pub fn store(&self) -> SqliteStore {
        SqliteStore::new(self.folder.path().join("scratch.db"))
    }

    /// The error without the folder's path, which means nothing to whoever brings an archive.
    pub fn unnamed(&self, error: Error) -> Error {
        let path = self.folder.path().join("scratch.db").display().to_string();
        let plain = |text: String| {
            let text = text.replace(&format!("SQLite store {path}"), "the unpacked archive");
            text.replace(
                &*self.folder.path().to_string_lossy(),
                "the temporary folder",
            )
        };
        match error {
            Error::Corrupt(text) => Error::Corrupt(plain(text)),
            Error::Schema(text) => Error::Schema(plain(text)),
            Error::Checkpoint(text) => Error::Checkpoint(plain(text)),
            Error::InvalidArgument(text) => Error::InvalidArgument(plain(text)),
            Error::Unsupported(text) => Error::Unsupported(plain(text)),
            Error::Backend { message, retryable } => Error::Backend {
                message: plain(message),
                retryable,
            },
            other => other,
        }
    }
}

/// The error for temporary files that cannot be used.
pub(super) fn temporary(error: &io::Error) -> Error {
    Error::Backend {
        message: format!(
            "the folder of temporary files, where an archive is unpacked, cannot be used: {error}; free space in it, or name another folder in TMPDIR"
        ),
        retryable: false,
    }
}

/// Removes this user's folders that nobody uses. What cannot be looked at or removed stays for the
/// next time.
fn remove_leftovers(parent: &Path, own: &Path) {
    let Ok(found) = parent.read_dir() else {
        return;
    };
    for found in found.flatten() {
        let path = found.path();
        let ours = found
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes());
        if !ours || path == own || !is_of_same_owner(&path, own) {
            continue;
        }
        if let Ok(lock) = File::open(path.join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Whether the path is a folder of whoever owns `own`. Others could put a trap there.
fn is_of_same_owner(path: &Path, own: &Path) -> bool {
    let (Ok(there), Ok(own)) = (fs::symlink_metadata(path), fs::symlink_metadata(own)) else {
        return false;
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        there.is_dir() && there.uid() == own.uid()
    }
    #[cfg(not(unix))]
    {
        there.is_dir() && own.is_dir()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let used = Scratch::within(parent.path()).unwrap();
        let left = parent.path().join("mneme-scratch-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("scratch.db"), "entries").unwrap();
        let others = parent.path().join("another");
        fs::create_dir(&others).unwrap();
        fs::write(others.join(LOCK), "").unwrap();
        let new = Scratch::within(parent.path()).unwrap();
        assert!(!left.exists());
        assert!(others.exists() && used.folder.path().exists() && new.folder.path().exists());
        drop((used, new));
        assert_eq!(parent.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn errors_do_not_name_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::within(parent.path()).unwrap();
        let folder = scratch.folder.path().display().to_string();
        for text in [
            format!("SQLite store {folder}/scratch.db, check_restore: it is damaged"),
            format!("a temporary file in {folder} failed"),
        ] {
            let error = scratch.unnamed(Error::Corrupt(text)).to_string();
            assert!(!error.contains("mneme-scratch-"), "{error}");
        }
    }
}
