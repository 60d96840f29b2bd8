//! SQLite files to test with.

use std::path::{Path, PathBuf};

use mneme::store::{Entry, SqliteStore, Store};
use tempfile::TempDir;

use mneme_tests::rows::{DIM, FINGERPRINT};

/// A directory of a test's own, and a path in it.
pub struct Place {
    pub dir: TempDir,
    pub path: PathBuf,
}

pub fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache.db");
    Place { dir, path }
}

pub fn open(path: &Path) -> SqliteStore {
    let mut store = SqliteStore::new(path);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

/// The entry with this id, if it exists.
pub fn by_id(store: &mut dyn Store, id: u64) -> Option<Entry> {
    store.get_by_ids(&[id], true).unwrap().pop()
}

pub fn version(store: &mut dyn Store) -> u64 {
    store.read_version_counter().unwrap()
}
