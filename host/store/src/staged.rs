//! Files and folders that a process makes for the time of its work. They go with the value that
//! holds them. Where a signal ends the process, no value is dropped: a program that handles the
//! signal calls [`remove_all`] before it ends.
//!
//! ```
//! use mneme_store::staged;
//!
//! let folder = staged::stage(tempfile::tempdir)?;
//! let path = folder.path().to_owned();
//! assert!(path.exists());
//! drop(folder);
//! assert!(!path.exists());
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often a folder is tried to be removed, in which another thread still makes files.
const ATTEMPTS: u32 = 10;

/// The paths of what is staged now.
static STAGED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A temporary file or folder, which is gone after this value or after [`remove_all`].
#[derive(Debug)]
pub struct Staged<T> {
    // The first to be dropped.
    item: T,
    listed: Listed,
}

#[derive(Debug)]
struct Listed(PathBuf);

/// Makes a temporary file or folder, whose value removes it when it is dropped.
///
/// # Errors
///
/// Those of `make`.
pub fn stage<T: AsRef<Path>>(make: impl FnOnce() -> io::Result<T>) -> io::Result<Staged<T>> {
    let mut staged = lock();
    let item = make()?;
    let path = item.as_ref().to_owned();
    staged.insert(path.clone());
    Ok(Staged {
        item,
        listed: Listed(path),
    })
}

/// Removes everything that is staged, as far as that is possible. For a program that is about to end:
/// whoever stages something, or drops what is staged, waits for the end from now on.
pub fn remove_all() {
    let staged = lock();
    for path in &*staged {
        remove(path);
    }
    std::mem::forget(staged);
}

fn remove(path: &Path) {
    match path.is_dir() {
        true => drop((0..ATTEMPTS).find(|_| fs::remove_dir_all(path).is_ok())),
        false => drop(fs::remove_file(path)),
    }
}

fn lock() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    STAGED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Staged<T> {
    /// The file or folder, which is to stay or has another owner.
    pub fn into_inner(self) -> T {
        let Self { item, listed } = self;
        drop(listed);
        item
    }
}

impl<T> Deref for Staged<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> DerefMut for Staged<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock().remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_listed_as_long_as_it_is_staged() {
        let is_listed = |path: &Path| lock().contains(path);
        let file = stage(tempfile::NamedTempFile::new).unwrap();
        let path = file.path().to_owned();
        assert!(is_listed(&path));
        drop(file);
        assert!(!is_listed(&path) && !path.exists());

        let file = stage(tempfile::NamedTempFile::new).unwrap();
        let path = file.path().to_owned();
        let file = file.into_inner();
        assert!(!is_listed(&path) && path.exists());
        drop(file);
    }

    #[test]
    fn files_and_folders_are_removed() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("folder");
        fs::create_dir(&folder).unwrap();
        for file in [outer.path().join("file"), folder.join("file")] {
            fs::write(file, "x").unwrap();
        }
        remove(&outer.path().join("file"));
        remove(&folder);
        remove(&outer.path().join("gone"));
        assert_eq!(outer.path().read_dir().unwrap().count(), 0);
    }
}
