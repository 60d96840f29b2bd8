//! Writing gzip: one member, of blocks that are compressed or stored.

use crate::error::Result;
use crate::types::Error;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// The header: DEFLATE, without flags and time, of an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The room that the compressor gets at a time.
const ROOM: usize = 32 << 10;

pub(super) struct GzipEncoder {
    deflate: Compress,
    crc: Crc,
    pub(super) output: Vec<u8>,
}

impl GzipEncoder {
    pub(super) fn new(level: u8) -> Self {
        GzipEncoder {
            deflate: Compress::new(Compression::new(level.into()), false),
            crc: Crc::new(),
            output: HEADER.to_vec(),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], store: bool) -> Result<()> {
        self.crc.update(bytes);
        match store {
            true => self.store(bytes),
            false => self.run(bytes, FlushCompress::None),
        }
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.run(&[], FlushCompress::Finish)?;
        self.output.extend(self.crc.sum().to_le_bytes());
        self.output.extend(self.crc.amount().to_le_bytes());
        Ok(self.output)
    }

    /// Writes blocks that hold the bytes as they are.
    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        // Ends at a whole byte. What follows does not refer to what came before.
        self.run(&[], FlushCompress::Full)?;
        for block in bytes.chunks(u16::MAX.into()) {
            let length = block.len() as u16;
            // Not the last block, and not compressed.
            self.output.push(0);
            self.output.extend(length.to_le_bytes());
            self.output.extend((!length).to_le_bytes());
            self.output.extend_from_slice(block);
        }
        Ok(())
    }

    fn run(&mut self, mut bytes: &[u8], flush: FlushCompress) -> Result<()> {
        loop {
            self.output.reserve(ROOM);
            let taken = self.deflate.total_in();
            let status = self
                .deflate
                .compress_vec(bytes, &mut self.output, flush)
                .map_err(|error| uncompressible(&error))?;
            bytes = &bytes[(self.deflate.total_in() - taken) as usize..];
            // With room left, there is no more to come.
            let done = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                _ => bytes.is_empty() && self.output.len() < self.output.capacity(),
            };
            if done {
                return Ok(());
            }
            if status == Status::BufError && self.output.len() < self.output.capacity() {
                return Err(uncompressible(&"the compressor does not go on"));
            }
        }
    }
}

fn uncompressible(error: &dyn std::fmt::Display) -> Error {
    Error::Checkpoint(format!("the archive could not be compressed: {error}"))
}
