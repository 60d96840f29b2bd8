//! Files that the command line names to be written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mneme::SqliteStore;

use crate::args::Global;
use crate::store_url::StoreUrl;

/// The most links from one to the next, as on Linux.
const MAX_LINKS: usize = 40;

/// A file to write, which is no part of the store.
pub struct Target<'a> {
    command: &'static str,
    path: &'a Path,
}

impl<'a> Target<'a> {
    /// Refuses the files of the store, before any work.
    pub fn new(command: &'static str, path: &'a Path, global: &Global) -> Result<Self> {
        let store = StoreUrl::choose(global.store.as_deref());
        let files = store.file().map(SqliteStore::files);
        if files.into_iter().flatten().any(|file| is_same(path, &file)) {
            bail!(
                "{command}: {path:?} is the store itself, or what SQLite keeps beside it; name another file"
            );
        }
        Ok(Self { command, path })
    }

    /// As [`new`](Self::new), of an option.
    pub fn optional(
        command: &'static str,
        path: Option<&'a PathBuf>,
        global: &Global,
    ) -> Result<Option<Self>> {
        path.map(|path| Self::new(command, path, global))
            .transpose()
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// Writes all of it.
    pub fn write(&self, content: impl AsRef<[u8]>) -> Result<()> {
        fs::write(self.path, content)
            .with_context(|| format!("{}: cannot write {:?}", self.command, self.path))
    }
}

/// Where a path leads, even if nothing is there yet.
pub fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Ok(real) = path.canonicalize() {
            return real;
        }
        match fs::read_link(&path) {
            Ok(target) => path = folder(&path).join(target),
            Err(_) => break,
        }
    }
    match (folder(&path).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// The folder that a path is in.
pub fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Whether both lead to one file, by whatever names.
fn is_same(path: &Path, file: &Path) -> bool {
    resolved(path) == resolved(file) || is_one(path, file)
}

#[cfg(unix)]
fn is_one(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (a.metadata(), b.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// The path says it, but for hard links.
#[cfg(not(unix))]
fn is_one(_: &Path, _: &Path) -> bool {
    false
}
