//! The folder of temporary files: everything that an archive needs on its way lies there, and
//! goes with the process, or with the next one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// How the names of these folders begin.
const PREFIX: &str = "mneme-serve-";
/// The file that a running process holds locked.
const LOCK: &str = "lock";

/// A folder for all temporary files of this process, until it is dropped.
pub struct Temporary {
    // The lock is given back after the folder is gone.
    _folder: TempDir,
    _lock: File,
}

impl Temporary {
    /// Makes the folder, in which all temporary files are made from then on, and removes
    /// those of processes that were killed.
    pub fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        let made = Self::within(&parent).with_context(|| {
            format!(
                "serve: the temporary folder {parent:?} cannot be used; name another in $TMPDIR"
            )
        })?;
        // An error means that the folder was chosen before, by the code of a program around
        // this one, and there is none.
        let _ = tempfile::env::override_temp_dir(made._folder.path());
        Ok(made)
    }

    fn within(parent: &Path) -> io::Result<Self> {
        for (folder, _lock) in left_behind(parent) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(folder);
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        loop {
            let folder = builder.tempdir_in(parent)?;
            let lock = File::create(folder.path().join(LOCK))?;
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        _folder: folder,
                        _lock: lock,
                    });
                }
                // Another process takes it for one that was left behind.
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

/// The folders of this user whose process is gone, locked.
fn left_behind(parent: &Path) -> Vec<(PathBuf, File)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
        .filter(|folder| is_ours(folder))
        .filter_map(|folder| {
            let lock = File::open(folder.join(LOCK)).ok()?;
            lock.try_lock().ok()?;
            Some((folder, lock))
        })
        .collect()
}

#[cfg(unix)]
fn is_ours(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    // A process may only remove what it may also make: its files have its owner.
    let ours = tempfile::tempfile().and_then(|file| file.metadata());
    match (fs::symlink_metadata(folder), ours) {
        (Ok(folder), Ok(ours)) => folder.is_dir() && folder.uid() == ours.uid(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_ours(folder: &Path) -> bool {
    folder.is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_processes_that_are_gone_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let running = Temporary::within(parent.path()).unwrap();
        let killed = parent.path().join("mneme-serve-killed");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(LOCK), "").unwrap();
        fs::write(killed.join("scratch.db"), "entries").unwrap();
        let other = parent.path().join("else");
        fs::create_dir(&other).unwrap();
        let second = Temporary::within(parent.path()).unwrap();
        assert!(!killed.exists() && other.exists());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 3);
        drop((running, second));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
