//! An archive that can be read only once, and may have no end.

use std::fs::File;
use std::io::{self, Read, Write};

use crate::args::Trust;

/// Standard input, a pipe or a device. Reading fails beyond the limit.
pub struct Stream {
    from: Box<dyn Read + Send>,
    most: u64,
    read: u64,
    copy: Option<File>,
}

impl Stream {
    pub fn new(from: impl Read + Send + 'static, trust: &Trust) -> Self {
        Self {
            from: Box::new(from),
            most: trust.max_archive,
            read: 0,
            copy: None,
        }
    }

    /// Writes to this file what is read.
    pub fn copied_to(self, file: File) -> Self {
        Self {
            copy: Some(file),
            ..self
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(bytes)?;
        self.read += length as u64;
        if self.read > self.most {
            return Err(io::Error::other(format!(
                "it has more than {} bytes; raise --max-archive, or write it to a file and name that",
                self.most
            )));
        }
        if let Some(copy) = &mut self.copy {
            copy.write_all(&bytes[..length]).map_err(|error| {
                let message = format!(
                    "it cannot be copied to the temporary folder ({error}); free space in it, name another with TMPDIR, or write the archive to a file and load that"
                );
                io::Error::new(error.kind(), message)
            })?;
        }
        Ok(length)
    }
}
