//! Compressed bytes through an [`Archive`].
//!
//! Gzip is written as one member, and zstd as a frame for every mebibyte, with a checksum of its
//! content. What would shrink so far that a reader refuses it is stored instead, piece by piece:
//! see `MAX_TIMES`. Concatenated streams of one kind are read as one stream, as both formats demand.
//! Anything else after the end is refused, even zeros. So are zstd's dictionaries and skippable
//! frames.
//!
//! Memory does not grow with the archive. Compressing takes about 1 MiB for gzip and
//! 5 MiB for zstd. Decompressing takes less than 1 MiB for gzip, and 14 MiB for zstd with a
//! window of 8 MiB. Larger windows are refused before memory is allocated for them; only zstd's
//! options `--ultra` and `--long` make such windows.

use super::MAX_EXPANSION;
use crate::error::{Result, invalid};
use crate::host::Archive;
use crate::types::Compression;
use ruzstd::encoding::{CompressionLevel, FrameCompressor, MatchGeneratorDriver};
use std::io::Cursor;

mod decompressor;
mod gzip;
#[cfg(test)]
mod tests;

pub use decompressor::Decompressor;
pub(super) use decompressor::Failure;
use gzip::GzipEncoder;

/// Bytes of one read or write of the archive.
const PIECE: usize = 256 << 10;
/// Bytes of content in each zstd frame that is written.
const FRAME: usize = 1 << 20;

/// Bytes that any archive may expand to, however small it is.
const FREE_EXPANSION: u64 = 64 << 20;
/// From this many bytes on, what is written may become this many times its size at most. Readers
/// take more, by default, so that a piece which shrinks to nothing still fits.
const HEEDED_FROM: u64 = FREE_EXPANSION / 2;
const MAX_TIMES: u64 = MAX_EXPANSION as u64 * 3 / 4;

/// How many bytes went through a [`Compressor`] or [`Decompressor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes before compression.
    pub plain: u64,
    /// Bytes of the archive.
    pub compressed: u64,
}

/// Compresses bytes into an archive.
pub struct Compressor<'a, A: Archive> {
    archive: &'a A,
    encoder: Encoder,
    sizes: Sizes,
}

enum Encoder {
    Gzip(GzipEncoder),
    Zstd(Box<FrameEncoder>),
}

impl<'a, A: Archive> Compressor<'a, A> {
    /// A compressor. `level` is `dump-options.level`.
    pub fn new(archive: &'a A, compression: Compression, level: Option<u8>) -> Result<Self> {
        let encoder = match (compression, level) {
            (Compression::Gzip, None | Some(0..=9)) => {
                Encoder::Gzip(GzipEncoder::new(level.unwrap_or(1)))
            }
            (Compression::Gzip, Some(level)) => {
                return Err(invalid(format!(
                    "level {level}: gzip has levels 0 (stored) to 9 (smallest)"
                )));
            }
            (Compression::Zstd, None) => Encoder::Zstd(Box::default()),
            (Compression::Zstd, Some(level)) => {
                return Err(invalid(format!(
                    "level {level}: zstd has one level here; leave it out, or choose gzip"
                )));
            }
        };
        Ok(Compressor {
            archive,
            encoder,
            sizes: Sizes {
                plain: 0,
                compressed: 0,
            },
        })
    }

    /// Compresses all of `bytes`. An error makes the archive useless.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for part in bytes.chunks(PIECE) {
            let store = self.shrinks_too_far();
            let output = match &mut self.encoder {
                Encoder::Gzip(encoder) => {
                    encoder.write(part, store)?;
                    &mut encoder.output
                }
                Encoder::Zstd(encoder) => {
                    encoder.write(part, store);
                    &mut encoder.output
                }
            };
            self.sizes.plain += part.len() as u64;
            let whole = output.len() - output.len() % PIECE;
            hand_over(self.archive, &mut self.sizes, &output[..whole])?;
            output.drain(..whole);
        }
        Ok(())
    }

    /// Writes the rest, and returns how much there was in all.
    pub fn finish(mut self) -> Result<Sizes> {
        let store = self.shrinks_too_far();
        let output = match self.encoder {
            Encoder::Gzip(encoder) => encoder.finish()?,
            Encoder::Zstd(encoder) => encoder.finish(store),
        };
        hand_over(self.archive, &mut self.sizes, &output)?;
        Ok(self.sizes)
    }

    /// Whether so much was made so small that the next piece is to be stored as it is.
    fn shrinks_too_far(&self) -> bool {
        let held = match &self.encoder {
            Encoder::Gzip(encoder) => encoder.output.len(),
            Encoder::Zstd(encoder) => encoder.output.len(),
        };
        let compressed = self.sizes.compressed + held as u64;
        let plain = self.sizes.plain;
        plain >= HEEDED_FROM && plain > compressed.saturating_mul(MAX_TIMES)
    }
}

fn hand_over(archive: &impl Archive, sizes: &mut Sizes, bytes: &[u8]) -> Result<()> {
    for piece in bytes.chunks(PIECE) {
        archive.write(piece)?;
        sizes.compressed += piece.len() as u64;
    }
    Ok(())
}

/// Collects what is written, and compresses it frame by frame: ruzstd reads its source to the
/// end.
struct FrameEncoder {
    compressor: FrameCompressor<Cursor<Vec<u8>>, Vec<u8>, MatchGeneratorDriver>,
    input: Vec<u8>,
    output: Vec<u8>,
    frames: u64,
}

impl Default for FrameEncoder {
    fn default() -> Self {
        FrameEncoder {
            compressor: FrameCompressor::new(CompressionLevel::Fastest),
            input: Vec::with_capacity(FRAME),
            output: Vec::new(),
            frames: 0,
        }
    }
}

impl FrameEncoder {
    fn write(&mut self, mut bytes: &[u8], store: bool) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.input.len()));
            self.input.extend_from_slice(now);
            bytes = later;
            if self.input.len() == FRAME {
                self.frame(store);
            }
        }
    }

    fn frame(&mut self, store: bool) {
        self.compressor.set_compression_level(match store {
            true => CompressionLevel::Uncompressed,
            false => CompressionLevel::Fastest,
        });
        let input = Cursor::new(std::mem::take(&mut self.input));
        self.compressor.set_source(input);
        self.compressor.set_drain(std::mem::take(&mut self.output));
        self.compressor.compress();
        self.output = self.compressor.take_drain().unwrap_or_default();
        self.input = self
            .compressor
            .take_source()
            .map(Cursor::into_inner)
            .unwrap_or_default();
        self.input.clear();
        self.frames += 1;
    }

    fn finish(mut self, store: bool) -> Vec<u8> {
        if !self.input.is_empty() || self.frames == 0 {
            self.frame(store);
        }
        self.output
    }
}
