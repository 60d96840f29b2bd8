//! Private files beside the database, or in the folder of temporary files where nothing can be
//! written beside it.
//!
//! They are locked as long as they live. What a killed process leaves behind is not, and so
//! can be told from what is in use, and goes when the next such file is made.

use std::fs::File;
use std::io;
use std::path::Path;

use mneme_store::staged::{Staged, stage};
use tempfile::NamedTempFile;

/// What their names begin with.
const PREFIXES: [&str; 2] = [SNAPSHOT, IMPORT];

/// A database file on its way out or in.
pub(super) const SNAPSHOT: &str = ".mneme-snapshot-";
/// The entries of an import.
pub(super) const IMPORT: &str = ".mneme-import-";

/// Locks of whole files keep nobody off them here. On other systems they would keep off
/// SQLite, so there is no telling what is in use.
const LOCKS: bool = cfg!(unix);

/// A temporary file that only its owner can read. It goes with the value.
pub(super) fn create(directory: &Path, prefix: &str) -> io::Result<Staged<NamedTempFile>> {
    if LOCKS {
        remove_leftovers(directory);
    }
    loop {
        let file = stage(|| {
            tempfile::Builder::new()
                .prefix(prefix)
                .tempfile_in(directory)
        })?;
        if LOCKS {
            lock(file.as_file())?;
        }
        // Before it was locked, it may have been taken for a leftover.
        if file.path().try_exists()? {
            return Ok(file);
        }
    }
}

/// Where the file system has no locks, nothing is ever taken for a leftover.
fn lock(file: &File) -> io::Result<()> {
    match file.lock() {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
        _ => Ok(()),
    }
}

/// Removes what nobody uses. What cannot be looked at or removed stays for the next time.
fn remove_leftovers(directory: &Path) {
    let Ok(names) = directory.read_dir() else {
        return;
    };
    for found in names.flatten() {
        let name = found.file_name();
        let name = name.as_encoded_bytes();
        let ours = PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix.as_bytes()));
        let plain = found.file_type().is_ok_and(|kind| kind.is_file());
        if !plain || !ours {
            continue;
        }
        if let Ok(file) = File::open(found.path())
            && file.try_lock().is_ok()
        {
            let _ = std::fs::remove_file(found.path());
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let used = create(dir.path(), IMPORT).unwrap();
        for name in [".mneme-import-1", ".mneme-snapshot-2", "mneme-import-3"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        let new = create(dir.path(), SNAPSHOT).unwrap();
        let mut names: Vec<_> = dir.path().read_dir().unwrap().flatten().collect();
        names.sort_by_key(std::fs::DirEntry::path);
        let mut expected = vec![
            used.path().to_owned(),
            new.path().to_owned(),
            dir.path().join("mneme-import-3"),
        ];
        expected.sort();
        let names: Vec<_> = names.iter().map(std::fs::DirEntry::path).collect();
        assert_eq!(names, expected);
    }
}
