//! The file behind a path: whether it is still the one that was opened.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::{Fault, Outcome};

/// Which file was opened.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    opened: Stamp,
    /// Nothing may change in the file either.
    frozen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    content: (u64, i64, i64),
}

impl Place {
    /// The file at `path`, which is open. With `frozen`, SQLite was told that nobody writes it.
    pub fn of(path: &Path, frozen: bool) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            opened: stamp(&path.metadata()?),
            frozen,
        })
    }

    /// Whether nothing may change in the file.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Fails where the path leads to another file now, or to none.
    pub fn check(&self) -> Outcome<()> {
        let now = match self.path.metadata() {
            Ok(metadata) => stamp(&metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Fault::System(
                    "the file was removed or moved away while it was open, and nothing was changed; put it back, or close the cache and open it again".into(),
                ));
            }
            // Whether it is there cannot be told.
            Err(_) => return Ok(()),
        };
        if now.file != self.opened.file {
            return Err(Fault::replaced("it is another file"));
        }
        if self.frozen && (now != self.opened || has_log(&self.path)) {
            return Err(Fault::replaced("it has been written"));
        }
        Ok(())
    }
}

/// Whether writes wait in a log beside the file.
pub(super) fn has_log(path: &Path) -> bool {
    log_of(path).metadata().is_ok_and(|log| log.len() > 0)
}

/// The path of the log beside the file.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

#[cfg(unix)]
fn stamp(metadata: &Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    Stamp {
        file: (metadata.dev(), metadata.ino()),
        content: (metadata.size(), metadata.mtime(), metadata.mtime_nsec()),
    }
}

/// Here an open file can neither be removed nor replaced.
#[cfg(not(unix))]
fn stamp(metadata: &Metadata) -> Stamp {
    Stamp {
        file: (0, 0),
        content: (metadata.len(), 0, 0),
    }
}
