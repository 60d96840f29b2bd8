//! The tar file of a checkpoint, through the [compressed stream](super::compression).
//!
//! The writer writes regular files with ustar headers. The reader reads regular files with ustar,
//! GNU and older headers. It skips directories, and extended headers that change neither name,
//! size nor kind of a member. It refuses everything else. It also refuses a tar file that lacks
//! the two blocks of zeros at its end, or has anything but zeros after them.
//!
//! Both need little memory beyond that of the stream: a block, or 64 KiB for what is skipped, and
//! the result of [`TarReader::read_all`].

use super::compression::{Compressor, Decompressor, Failure, Sizes};
use super::{MAX_UNKNOWN_MEMBERS, refused_at};
use crate::error::{Result, invalid};
use crate::host::Archive;
use crate::types::Error;
use header::{BLOCK, Kind, Parsed};

mod header;
#[cfg(test)]
mod tests;

/// The largest extended header that is read.
const MAX_EXTENDED: u64 = 64 << 10;
/// Bytes that are read at once if the caller has no buffer.
const STEP: usize = 64 << 10;

/// Writes members.
pub struct TarWriter<'a, A: Archive> {
    compressor: Compressor<'a, A>,
    mtime: u64,
    open: Option<Open>,
}

/// A member being written.
struct Open {
    name: String,
    size: u64,
    left: u64,
}

impl<'a, A: Archive> TarWriter<'a, A> {
    /// A writer. Every member gets this `mtime`.
    pub fn new(compressor: Compressor<'a, A>, mtime: u64) -> Self {
        TarWriter {
            compressor,
            mtime,
            open: None,
        }
    }

    /// Writes a whole member.
    pub fn member(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.write(bytes)?;
        self.end()
    }

    /// Begins a member of `size` bytes. [`write`](Self::write) appends them, and
    /// [`end`](Self::end) ends the member.
    pub fn begin(&mut self, name: &str, size: u64) -> Result<()> {
        if let Some(open) = &self.open {
            return Err(invalid(format!("member {:?} has not ended", open.name)));
        }
        let header = header::encode(name, size, self.mtime)
            .map_err(|reason| invalid(format!("member {name:?}: {reason}")))?;
        self.compressor.write(header.as_bytes())?;
        self.open = Some(Open {
            name: name.into(),
            size,
            left: size,
        });
        Ok(())
    }

    /// Appends to the member. More bytes than announced are `corrupt`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let open = self.open.as_mut().ok_or_else(no_member)?;
        match open.left.checked_sub(bytes.len() as u64) {
            Some(left) => open.left = left,
            None => return Err(open.changed("more")),
        }
        self.compressor.write(bytes)
    }

    /// Ends the member. Fewer bytes than announced are `corrupt`.
    pub fn end(&mut self) -> Result<()> {
        let open = self.open.as_ref().ok_or_else(no_member)?;
        if open.left > 0 {
            return Err(open.changed("fewer"));
        }
        let padding = header::padding(open.size);
        self.compressor.write(&[0; BLOCK][..padding])?;
        self.open = None;
        Ok(())
    }

    /// Ends the tar file and the compressed stream.
    pub fn finish(mut self) -> Result<Sizes> {
        if self.open.is_some() {
            self.end()?;
        }
        self.compressor.write(&[0; 2 * BLOCK])?;
        self.compressor.finish()
    }
}

impl Open {
    fn changed(&self, how: &str) -> Error {
        Error::Corrupt(format!(
            "member {:?}: {} bytes were announced and {how} came; its source changed in the meantime",
            self.name, self.size
        ))
    }
}

fn no_member() -> Error {
    invalid("no member was begun")
}

/// A member of a tar file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// At most 100 bytes, relative, without `..`, backslashes and control characters.
    pub name: String,
    /// The size in the header. The archive may end before that.
    pub size: u64,
}

/// Reads members, in their order.
pub struct TarReader<'a, A: Archive> {
    decompressor: Decompressor<'a, A>,
    /// The place that is being read, for errors.
    place: String,
    /// Unread bytes of the member, and of the padding after it.
    left: u64,
    padding: u64,
    /// Directories and global headers, which hold nothing of a checkpoint.
    empty: u32,
    /// Whether the two blocks of zeros have been read.
    ended: bool,
}

impl<'a, A: Archive> TarReader<'a, A> {
    /// A reader of the members in this stream.
    pub fn new(decompressor: Decompressor<'a, A>) -> Self {
        TarReader {
            decompressor,
            place: "the first header".into(),
            left: 0,
            padding: 0,
            empty: 0,
            ended: false,
        }
    }

    /// Skips the rest of the present member, and begins the next one. None at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Member>> {
        if self.ended {
            return Ok(None);
        }
        self.skip()?;
        // Whether an extended header leaves the next member as it is, or why not.
        let mut extended: Option<std::result::Result<(), String>> = None;
        loop {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            if block == [0; BLOCK] {
                if extended.is_some() {
                    return Err(self.refuse("an extended header has no member"));
                }
                self.fill(&mut block)?;
                if block != [0; BLOCK] {
                    return Err(self.refuse("a block of zeros stands alone"));
                }
                self.ended = true;
                self.place = "the end of the tar file".into();
                return Ok(None);
            }
            let Parsed { name, size, kind } =
                header::parse(&block).map_err(|reason| self.refuse(&reason))?;
            let place = format!("member {name:?}");
            if matches!(kind, Kind::Directory | Kind::Global) {
                self.empty += 1;
                if self.empty > MAX_UNKNOWN_MEMBERS {
                    self.place = place;
                    let reason = format!(
                        "the archive has more than {MAX_UNKNOWN_MEMBERS} directories and global headers, which hold nothing of a checkpoint"
                    );
                    return Err(self.refuse(&reason));
                }
            }
            match kind {
                Kind::Extended => {
                    let content = self.extended(size)?;
                    if extended.is_some() {
                        return Err(self.refuse("two extended headers follow each other"));
                    }
                    extended =
                        Some(header::records(&content).map_err(|reason| self.refuse(&reason))?);
                    continue;
                }
                Kind::Global => {
                    let content = self.extended(size)?;
                    header::records(&content)
                        .and_then(|harmless| harmless)
                        .map_err(|reason| self.refuse(&reason))?;
                    continue;
                }
                _ => {}
            }
            self.place = place;
            if let Some(Err(reason)) = extended.take() {
                return Err(self.refuse(&reason));
            }
            match kind {
                Kind::File => {
                    header::check_name(&name).map_err(|reason| self.refuse(&reason))?;
                    self.left = size;
                    self.padding = header::padding(size) as u64;
                    return Ok(Some(Member { name, size }));
                }
                Kind::Directory if size == 0 => {
                    let bare = name.strip_suffix('/').unwrap_or(&name);
                    header::check_name(bare).map_err(|reason| self.refuse(&reason))?;
                }
                Kind::Directory => return Err(self.refuse("a directory has no content")),
                Kind::Other(reason) => return Err(self.refuse(&reason)),
                Kind::Extended | Kind::Global => {}
            }
        }
    }

    /// Fills the front of `buffer` with content of the member, and returns how many bytes. For a
    /// buffer that is not empty, 0 is the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.pull(&mut buffer[..most])?;
        if read == 0 {
            return Err(self.refuse("the tar file ends within it"));
        }
        self.left -= read as u64;
        Ok(read)
    }

    /// The rest of the member, at most `limit` bytes. Memory grows with the bytes that are read,
    /// not with the size in the header.
    pub fn read_all(&mut self, limit: u64) -> Result<Vec<u8>> {
        if self.left > limit {
            let reason = format!("it has {} bytes and may have {limit}", self.left);
            return Err(self.refuse(&reason));
        }
        let mut bytes = Vec::new();
        while self.left > 0 {
            let start = bytes.len();
            bytes.resize(start + self.left.min(STEP as u64) as usize, 0);
            let read = self.read(&mut bytes[start..])?;
            bytes.truncate(start + read);
        }
        Ok(bytes)
    }

    /// Skips the remaining members. Checks that only zeros follow the last one, and that the
    /// compressed stream ends there.
    pub fn finish(mut self) -> Result<Sizes> {
        while self.next()?.is_some() {}
        let mut buffer = vec![0; STEP];
        loop {
            match self.pull(&mut buffer)? {
                0 => return Ok(self.decompressor.sizes()),
                read if buffer[..read].iter().all(|&byte| byte == 0) => {}
                _ => return Err(self.refuse("other data follows")),
            }
        }
    }

    /// Skips the rest of the member.
    fn skip(&mut self) -> Result<()> {
        if self.left > 0 {
            let mut buffer = vec![0; STEP];
            while self.read(&mut buffer)? > 0 {}
        }
        let padding = std::mem::take(&mut self.padding) as usize;
        self.fill(&mut [0; BLOCK][..padding])?;
        if let Some(member) = self.place.strip_prefix("member ") {
            self.place = format!("the header after member {member}");
        }
        Ok(())
    }

    /// The content of an extended header.
    fn extended(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENDED {
            let reason = format!("an extended header has {size} bytes and may have {MAX_EXTENDED}");
            return Err(self.refuse(&reason));
        }
        let mut content = vec![0; size as usize + header::padding(size)];
        self.fill(&mut content)?;
        content.truncate(size as usize);
        Ok(content)
    }

    /// Fills all of `buffer`.
    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let read = self.pull(buffer)?;
            if read == 0 {
                return Err(self.refuse("the tar file is cut off: it has no end"));
            }
            buffer = &mut buffer[read..];
        }
        Ok(())
    }

    fn pull(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.decompressor.pull(buffer);
        read.map_err(|failure| match failure {
            Failure::Content(reason) => self.refuse(&format!("the archive: {reason}")),
            archive => archive.at(&self.place),
        })
    }

    fn refuse(&self, reason: &str) -> Error {
        refused_at(&self.place, reason)
    }
}
