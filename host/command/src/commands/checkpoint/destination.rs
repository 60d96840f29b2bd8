//! Where a dump goes: first to a file that can be read back.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mneme::store::staged::{Staged, stage};
use tempfile::{Builder, NamedTempFile, TempPath};

use crate::target::{Target, folder, resolved};

/// Standard output, a device or a file. What is written reaches it at the end, once it is known
/// to be sound.
pub struct Destination {
    file: Unfinished,
    to: To,
}

enum To {
    Stdout(io::Stdout),
    /// A device or a pipe, which has no other name to take.
    Special(File),
    Path(PathBuf),
}

/// A file that is deleted with this value unless it gets its name. Only its owner may read it.
enum Unfinished {
    /// Without a name, so even a process that is killed leaves nothing.
    Unnamed(File),
    Named(Staged<NamedTempFile>),
}

impl Destination {
    /// Prepares to write; an existing file stays as it is.
    pub fn new(target: &Target<'_>) -> Result<Self> {
        let path = target.path();
        let passing = || {
            tempfile::tempfile().map(Unfinished::Unnamed).context(
                "dump: the folder of temporary files cannot be used; name another in TMPDIR",
            )
        };
        if path == Path::new("-") {
            let stdout = io::stdout();
            if stdout.is_terminal() {
                bail!("dump: an archive is binary; name a file, or pipe it on");
            }
            return Ok(Self {
                file: passing()?,
                to: To::Stdout(stdout),
            });
        }
        let cannot = || format!("dump: cannot write {path:?}");
        // A link stays; its target is replaced.
        let path = resolved(path);
        match fs::metadata(&path) {
            Ok(there) if there.is_dir() => {
                bail!("dump: {path:?} is a directory; name a file")
            }
            Ok(there) if !there.is_file() => {
                let special = File::options().write(true).open(&path);
                Ok(Self {
                    file: passing()?,
                    to: To::Special(special.with_context(cannot)?),
                })
            }
            _ => Ok(Self {
                file: Unfinished::within(folder(&path)).with_context(cannot)?,
                to: To::Path(path),
            }),
        }
    }

    /// Makes the file durable and gives it its name, or sends it on.
    pub fn finish(self) -> io::Result<()> {
        match self.to {
            To::Stdout(mut stdout) => {
                send(self.file.file(), &mut stdout)?;
                stdout.flush()
            }
            To::Special(mut special) => send(self.file.file(), &mut special),
            To::Path(path) => {
                self.file.file().sync_all()?;
                self.file.named(folder(&path))?.persist(&path)?;
                // Makes the name durable too; some file systems cannot.
                #[cfg(unix)]
                let _ = File::open(folder(&path)).and_then(|folder| folder.sync_all());
                Ok(())
            }
        }
    }
}

fn send(mut file: &File, to: &mut impl Write) -> io::Result<()> {
    file.rewind()?;
    io::copy(&mut file, to).map(drop)
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.file().write(bytes)
    }

    // Files are not buffered here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Destination {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.file().read(bytes)
    }
}

impl Seek for Destination {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.file().seek(to)
    }
}

impl Unfinished {
    fn within(folder: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(file) = linux::unnamed(folder) {
            return Ok(Self::Unnamed(file));
        }
        stage(|| names().tempfile_in(folder)).map(Self::Named)
    }

    fn file(&self) -> &File {
        match self {
            Self::Unnamed(file) => file,
            Self::Named(file) => file.as_file(),
        }
    }

    /// Gives it a temporary name, so that it can be moved.
    fn named(self, folder: &Path) -> io::Result<TempPath> {
        let _ = folder;
        match self {
            #[cfg(target_os = "linux")]
            Self::Unnamed(file) => {
                let link = names().make_in(folder, |name| linux::link(&file, name))?;
                Ok(link.into_temp_path())
            }
            // Only `within` makes files that get a name, and these have one here.
            #[cfg(not(target_os = "linux"))]
            Self::Unnamed(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Named(file) => Ok(file.into_inner().into_temp_path()),
        }
    }
}

fn names() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".mneme-dump-");
    builder
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};

    /// A file without a name, if the file system supports that and can name it later.
    pub fn unnamed(folder: &Path) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR).ok()?);
        handle(&file).exists().then_some(file)
    }

    /// Gives it a name that is not taken.
    pub fn link(file: &File, name: &Path) -> io::Result<()> {
        linkat(CWD, handle(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?;
        Ok(())
    }

    fn handle(file: &File) -> PathBuf {
        format!("/proc/self/fd/{}", file.as_raw_fd()).into()
    }
}
