//! SQLite files to test with.

use std::path::{Path, PathBuf};

use mneme::store::{SqliteStore, Store};
use tempfile::TempDir;

use super::support::*;

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
