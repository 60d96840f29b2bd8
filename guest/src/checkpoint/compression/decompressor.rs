//! Reading compressed streams.

use super::{FREE_EXPANSION, PIECE, Sizes};
use crate::checkpoint::refused_at;
use crate::error::Result;
use crate::host::Archive;
use crate::types::{Compression, Error};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, Read};

/// The largest zstd window that is read.
const MAX_WINDOW: u64 = 8 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes of a gzip stream, and frames and blocks of a zstd stream, that may hold nothing. Past them,
/// two bytes hold one at least, and a frame or block [`LEAST_IN_A_STEP`].
const FREE_INPUT: u64 = 64 << 10;
const FREE_STEPS: u64 = 4096;
const LEAST_IN_A_STEP: u64 = 256;

/// Why nothing can be read.
pub(in crate::checkpoint) enum Failure {
    /// The archive's own error.
    Archive(Error),
    /// What is wrong with the content, as the end of a sentence.
    Content(String),
}

impl Failure {
    /// The error, when reading at `place`.
    pub(in crate::checkpoint) fn at(self, place: &str) -> Error {
        match self {
            Failure::Archive(error) => error,
            Failure::Content(reason) => refused_at(place, reason),
        }
    }
}

const WHOLE: &str = "the archive";

/// Decompresses an archive. Its first bytes show whether it is gzip or zstd.
pub struct Decompressor<'a, A: Archive> {
    decoder: Decoder<'a, A>,
    max_expansion: u32,
    plain: u64,
    failed: bool,
}

enum Decoder<'a, A: Archive> {
    Gzip(Box<MultiGzDecoder<Source<'a, A>>>),
    Zstd(Box<FrameReader<'a, A>>),
}

impl<'a, A: Archive> Decompressor<'a, A> {
    /// A decompressor. `max_expansion` is that of `load-options`.
    pub fn new(archive: &'a A, max_expansion: u32) -> Result<Self> {
        let mut source = Source {
            archive,
            piece: Vec::new(),
            position: 0,
            taken: 0,
            ended: false,
            overrun: false,
            came_out: None,
            error: None,
        };
        let decoder = match source.peek(4) {
            Ok(first) if first.starts_with(&GZIP_MAGIC) => {
                source.came_out = Some(0);
                Decoder::Gzip(Box::new(MultiGzDecoder::new(source)))
            }
            Ok(first) if first.starts_with(&ZSTD_MAGIC) => {
                Decoder::Zstd(Box::new(FrameReader::new(source)))
            }
            Ok([]) => return Err(refused_at(WHOLE, "it is empty")),
            Ok(first) => {
                let reason = format!(
                    "it begins with {}, but gzip begins with 1f 8b and zstd with 28 b5 2f fd",
                    hex(&first[..first.len().min(4)])
                );
                return Err(refused_at(WHOLE, reason));
            }
            Err(error) => return Err(source.failure("", error).at(WHOLE)),
        };
        Ok(Decompressor {
            decoder,
            max_expansion,
            plain: 0,
            failed: false,
        })
    }

    /// The compression that the first bytes show.
    pub fn compression(&self) -> Compression {
        match self.decoder {
            Decoder::Gzip(_) => Compression::Gzip,
            Decoder::Zstd(_) => Compression::Zstd,
        }
    }

    /// How much has been read.
    pub fn sizes(&self) -> Sizes {
        let source = match &self.decoder {
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Zstd(reader) => &reader.source,
        };
        Sizes {
            plain: self.plain,
            compressed: source.taken,
        }
    }

    /// Fills the front of `buffer`, and returns how many bytes. For a buffer that is not empty, 0
    /// is the end, and the checksums have been compared.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.pull(buffer).map_err(|failure| failure.at(WHOLE))
    }

    /// Checks that everything has been read and nothing follows.
    pub fn finish(&mut self) -> Result<Sizes> {
        if self.read(&mut [0])? > 0 {
            return Err(refused_at(WHOLE, "data follows where it should end"));
        }
        Ok(self.sizes())
    }

    /// As [`read`](Self::read), for callers who add the place to a failure.
    pub(in crate::checkpoint) fn pull(
        &mut self,
        buffer: &mut [u8],
    ) -> std::result::Result<usize, Failure> {
        if self.failed {
            return Err(Failure::Content("an earlier error ended it".into()));
        }
        let read = match &mut self.decoder {
            Decoder::Gzip(decoder) => match decoder.read(buffer) {
                Ok(read) => Ok(read),
                Err(error) => Err(decoder.get_mut().failure("gzip", error)),
            },
            Decoder::Zstd(reader) => reader.read(buffer),
        };
        let checked = read.and_then(|read| self.count(read));
        self.failed = checked.is_err();
        checked
    }

    fn count(&mut self, read: usize) -> std::result::Result<usize, Failure> {
        self.plain += read as u64;
        if let Decoder::Gzip(decoder) = &mut self.decoder {
            decoder.get_mut().came_out = Some(self.plain);
        }
        let Sizes { plain, compressed } = self.sizes();
        let most = compressed.saturating_mul(self.max_expansion.into());
        if plain > FREE_EXPANSION && plain > most {
            return Err(Failure::Content(format!(
                "{compressed} bytes of it became {plain}, more than `max-expansion` ({}) times as many; raise it if the archive can be trusted",
                self.max_expansion
            )));
        }
        Ok(read)
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

/// The archive as a reader. It keeps its error, which `io::Error` cannot carry through the
/// decoders.
struct Source<'a, A: Archive> {
    archive: &'a A,
    piece: Vec<u8>,
    position: usize,
    /// Bytes taken from the archive.
    taken: u64,
    /// Whether the archive has ended.
    ended: bool,
    /// Whether a decoder wanted more than there is.
    overrun: bool,
    /// Bytes that have come out of it, if it must not go on without any: a decoder passes over
    /// millions of members and blocks that hold nothing before it returns.
    came_out: Option<u64>,
    error: Option<Failure>,
}

impl<A: Archive> Source<'_, A> {
    /// The next bytes, without taking them. At least `least`, unless the archive ends.
    fn peek(&mut self, least: usize) -> io::Result<&[u8]> {
        while self.piece.len() - self.position < least && !self.ended {
            if let Some(reason) = self.holds_too_little() {
                self.error = Some(Failure::Content(reason));
                return Err(io::ErrorKind::Other.into());
            }
            match self.archive.read(PIECE as u32) {
                Ok(piece) if piece.is_empty() => self.ended = true,
                Ok(piece) => {
                    self.taken += piece.len() as u64;
                    self.piece.drain(..self.position);
                    self.position = 0;
                    if self.piece.is_empty() {
                        self.piece = piece;
                    } else {
                        self.piece.extend_from_slice(&piece);
                    }
                }
                Err(error) => {
                    self.error = Some(Failure::Archive(error));
                    return Err(io::ErrorKind::Other.into());
                }
            }
        }
        Ok(&self.piece[self.position..])
    }

    /// Why it goes no further, if far more has been read than has come out.
    fn holds_too_little(&self) -> Option<String> {
        let came_out = self.came_out?;
        let read = self.taken - (self.piece.len() - self.position) as u64;
        (read > FREE_INPUT.saturating_add(came_out.saturating_mul(2))).then(|| {
            format!(
                "its first {read} bytes hold {came_out}: the gzip stream has members or blocks that hold nothing; compress it again, as one member"
            )
        })
    }

    /// What a decoder's error means.
    fn failure(&mut self, format: &str, error: impl ToString) -> Failure {
        match self.error.take() {
            Some(failure) => failure,
            None if self.overrun => Failure::Content(format!(
                "it is cut off: its {format} stream has no end after {} bytes",
                self.taken
            )),
            None => Failure::Content(format!(
                "its {format} stream is damaged or something else follows it: {}",
                error.to_string()
            )),
        }
    }
}

impl<A: Archive> BufRead for Source<'_, A> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.overrun = self.peek(1)?.is_empty();
        Ok(&self.piece[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

impl<A: Archive> Read for Source<'_, A> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// Reads zstd frames one after the other.
struct FrameReader<'a, A: Archive> {
    source: Source<'a, A>,
    decoder: FrameDecoder,
    /// Whether a frame has begun and has not been checked yet.
    open: bool,
    /// Bytes that came out of this frame.
    plain: u64,
    /// Bytes that came out of all frames.
    total: u64,
    /// Frames and blocks that were read.
    steps: u64,
}

impl<'a, A: Archive> FrameReader<'a, A> {
    fn new(source: Source<'a, A>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        FrameReader {
            source,
            decoder,
            open: false,
            plain: 0,
            total: 0,
            steps: 0,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::result::Result<usize, Failure> {
        while !buffer.is_empty() {
            let drained = self.decoder.read(buffer);
            let read = drained.map_err(|error| self.source.failure("zstd", error))?;
            if read > 0 {
                self.plain += read as u64;
                self.total += read as u64;
                return Ok(read);
            }
            if !self.open {
                if !self.begin()? {
                    break;
                }
            } else if !self.decoder.is_finished() {
                self.step()?;
                let one = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.source, one);
                decoded.map_err(|error| self.undecodable(&error))?;
            } else {
                self.check()?;
                self.open = false;
            }
        }
        Ok(0)
    }

    /// Begins the next frame, if there is one.
    fn begin(&mut self) -> std::result::Result<bool, Failure> {
        match self.source.peek(4) {
            Ok([]) => return Ok(false),
            Ok(first) if first.starts_with(&ZSTD_MAGIC) => {}
            Ok(_) => {
                return Err(Failure::Content(
                    "other data follows its zstd stream".into(),
                ));
            }
            Err(error) => return Err(self.source.failure("zstd", error)),
        }
        self.step()?;
        let begun = self.decoder.init(&mut self.source);
        begun.map_err(|error| self.undecodable(&error))?;
        self.open = true;
        self.plain = 0;
        Ok(true)
    }

    /// Counts a frame or a block, and refuses the next of too many for what they held.
    fn step(&mut self) -> std::result::Result<(), Failure> {
        self.steps += 1;
        if self.steps <= FREE_STEPS + self.total / LEAST_IN_A_STEP {
            return Ok(());
        }
        Err(Failure::Content(format!(
            "its zstd stream has {} frames and blocks for its first {} bytes of content, past {FREE_STEPS} one for every {LEAST_IN_A_STEP} bytes is allowed; compress it again",
            self.steps, self.total
        )))
    }

    /// What the decoder's error means.
    fn undecodable(&mut self, error: &FrameDecoderError) -> Failure {
        match error {
            FrameDecoderError::WindowSizeTooBig { requested: got, .. }
            | FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { got }) => {
                Failure::Content(format!(
                    "its zstd window is {got} bytes and may be {MAX_WINDOW}; compress it without `--long` and `--ultra`"
                ))
            }
            FrameDecoderError::DictNotProvided { .. } => {
                Failure::Content("it needs a zstd dictionary".into())
            }
            _ => self.source.failure("zstd", "a frame cannot be decoded"),
        }
    }

    /// Compares the frame's content with its checksum and size.
    fn check(&mut self) -> std::result::Result<(), Failure> {
        let told = self.decoder.get_checksum_from_data();
        if told.is_some() && told != self.decoder.get_calculated_checksum() {
            let reason = "the content does not fit its checksum";
            return Err(self.source.failure("zstd", reason));
        }
        // 0 if the frame does not name it.
        let size = self.decoder.content_size();
        if size != 0 && size != self.plain {
            let reason = format!("{} bytes came out of a frame of {size}", self.plain);
            return Err(self.source.failure("zstd", reason));
        }
        Ok(())
    }
}
