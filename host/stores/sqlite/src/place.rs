//! The file behind a path, and what SQLite keeps beside it: whether they are still what was opened.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::{Fault, Outcome};

/// What SQLite appends to the name of a database, for what it keeps beside it.
const LOG: &str = "-wal";
const MEMORY: &str = "-shm";
const JOURNAL: &str = "-journal";

/// Which file was opened.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    opened: Stamp,
    log: Beside,
    memory: Beside,
    /// What is in the log, where nothing may change in it and in the file.
    frozen: Option<Option<Stamp>>,
}

/// A file beside the database. As long as a connection has it open, SQLite neither removes it nor
/// makes another.
#[derive(Debug)]
struct Beside {
    path: PathBuf,
    /// None: it was not there.
    opened: Option<(u64, u64)>,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Same,
    Another,
    Nothing,
    /// It cannot be told.
    Unknown,
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
            log: Beside::of(log_of(path)),
            memory: Beside::of(beside(path, MEMORY)),
            frozen: frozen.then(|| filled(&log_of(path))),
        })
    }

    /// Whether nothing may change in the file.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Fails where the path leads to another file now, or to none; and where what is written goes
    /// into a log that nobody will find, or beside the locks of others.
    pub fn check(&self) -> Outcome<()> {
        self.check_file()?;
        for (file, name) in [(&self.log, LOG), (&self.memory, MEMORY)] {
            match file.there() {
                There::Same | There::Unknown => {}
                There::Nothing => {
                    return Err(Fault::System(format!(
                        "the {name} file beside it was removed or moved away while it was open, and nothing was changed; close the cache, which saves what was in it, and open it again"
                    )));
                }
                There::Another => {
                    return Err(Fault::replaced(&format!(
                        "the {name} file beside it is another one"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether the log is gone, and all else is as it was. What is in it can still be read by who
    /// has it open, and nobody else can have made another.
    pub fn has_lost_log(&self) -> bool {
        self.log.there() == There::Nothing
            && self.memory.there() == There::Same
            && self.check_file().is_ok()
    }

    fn check_file(&self) -> Outcome<()> {
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
        let log = self.frozen.filter(|_| now == self.opened);
        if self.is_frozen() && log != Some(filled(&self.log.path)) {
            return Err(Fault::replaced("it has been written"));
        }
        Ok(())
    }
}

impl Beside {
    fn of(path: PathBuf) -> Self {
        let opened = path.metadata().ok().map(|file| stamp(&file).file);
        Self { path, opened }
    }

    fn there(&self) -> There {
        let Some(opened) = self.opened else {
            return There::Unknown;
        };
        match self.path.metadata() {
            Ok(now) if stamp(&now).file == opened => There::Same,
            Ok(_) => There::Another,
            Err(error) if error.kind() == ErrorKind::NotFound => There::Nothing,
            Err(_) => There::Unknown,
        }
    }
}

/// Fails where no file is at the path but something else, and where this process may not read it.
/// What SQLite says of either is no help. Nothing is opened: of a pipe that might never end.
pub(super) fn check_kind(path: &Path) -> Outcome<()> {
    let Ok(there) = path.metadata() else {
        // SQLite says why.
        return Ok(());
    };
    if !there.is_file() {
        return Err(Fault::System(format!(
            "this is {}; give the path of a file",
            kind_of(&there)
        )));
    }
    #[cfg(unix)]
    {
        use rustix::fs::{Access, AtFlags, CWD, accessat};
        let read = accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS);
        if read == Err(rustix::io::Errno::ACCESS) {
            return Err(Fault::System(
                "this process may not read the file; give it the right to, or give another path"
                    .into(),
            ));
        }
    }
    Ok(())
}

/// What a path leads to that is no file.
fn kind_of(there: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = there.file_type();
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_block_device() || kind.is_char_device() {
            return "a device";
        }
    }
    match there.is_dir() {
        true => "a directory",
        false => "no file",
    }
}

/// Whether writes wait in a log beside the file.
pub(super) fn has_log(path: &Path) -> bool {
    filled(&log_of(path)).is_some()
}

/// The content of a file that is there and not empty.
fn filled(path: &Path) -> Option<Stamp> {
    let there = path.metadata().ok().filter(|file| file.len() > 0);
    there.map(|file| stamp(&file))
}

/// The path of the log beside the file.
pub(super) fn log_of(path: &Path) -> PathBuf {
    beside(path, LOG)
}

/// The database and all that SQLite keeps beside it, now or at another time.
pub(super) fn files(path: &Path) -> [PathBuf; 4] {
    ["", LOG, MEMORY, JOURNAL].map(|suffix| beside(path, suffix))
}

/// The database that this path belongs to, if it is that of a file beside one.
pub(super) fn owner(path: &Path) -> Option<PathBuf> {
    let path = beside(path, "");
    let path = path.to_str()?;
    let owners = [LOG, MEMORY, JOURNAL]
        .iter()
        .filter_map(|suffix| path.strip_suffix(suffix));
    owners.map(PathBuf::from).find(|owner| owner.is_file())
}

/// The path of what SQLite keeps beside the file: where a link leads to, not where it is.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut beside = file.into_os_string();
    beside.push(suffix);
    beside.into()
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
