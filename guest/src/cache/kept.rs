//! The index that is kept in the store, so that opening a large cache does not rebuild it.
//!
//! Its bytes (see `index::persisted`) are cut into pieces, each a blob
//! `index/<generation>/<number>`. The blob `index/head` names the generation, the length and
//! checksum of each piece, and the version counter that the index belongs to. The head is written
//! last, so that a killed process leaves the earlier index whole. An index that differs from its
//! head is damaged.

use crate::error::Result;
use crate::host::Now;
use crate::index::Index;
use crate::index::persisted::{Sink, Source, damaged};
use crate::store::Store;
use crate::types::VectorDtype;
use serde::{Deserialize, Serialize};

/// The format of the head.
const FORMAT: u32 = 1;
const HEAD: &str = "index/head";
/// Bytes of a piece, unless the store's blobs must be smaller.
const PIECE_BYTES: usize = 1 << 20;
/// Every store with blobs accepts blobs of this size.
const LEAST_BLOB: u32 = 65_536;
/// Building a smaller index takes no longer than reading it.
const FEWEST_ROWS: usize = 1024;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    generation: u64,
    /// The version counter when the index held exactly the store's rows.
    version: u64,
    /// When it was read or compared, for replacements within a second.
    compared_millis: u64,
    /// Entries that the index leaves out because their vectors are not valid embeddings.
    unindexable: u64,
    pieces: Vec<Piece>,
}

#[derive(Serialize, Deserialize)]
struct Piece {
    bytes: usize,
    crc32: u32,
}

/// A stored index, and what it belongs to.
pub struct Kept {
    pub index: Index,
    pub version: u64,
    pub compared: Now,
    pub unindexable: u64,
}

/// Whether an index is ready to be stored, and enough rows have changed. The next opening reads
/// fewer changed rows from the entries.
pub fn is_due(index: &Index) -> bool {
    let rows = index.rows();
    rows >= FEWEST_ROWS && index.changes() > FEWEST_ROWS.max(rows / 16) && index.is_encoded()
}

/// Reads the stored index, if there is one.
pub fn read(store: &impl Store, dim: u32, dtype: VectorDtype) -> Result<Option<Kept>> {
    if store.capabilities().max_blob < LEAST_BLOB {
        return Ok(None);
    }
    let Some(head) = store.read_blob(HEAD)? else {
        return Ok(None);
    };
    let head: Head = serde_json::from_slice(&head).map_err(|e| damaged(&e.to_string()))?;
    if head.format != FORMAT {
        return Err(damaged("it has another format"));
    }
    let lengths = head.pieces.iter().map(|piece| piece.bytes);
    let left = lengths.fold(0, usize::saturating_add);
    let mut pieces = Pieces {
        store,
        generation: head.generation,
        pieces: head.pieces.iter().enumerate(),
        bytes: Vec::new(),
        at: 0,
        left,
    };
    Ok(Some(Kept {
        index: Index::read(&mut pieces, dim, dtype)?,
        version: head.version,
        compared: Now {
            millis: head.compared_millis,
        },
        unindexable: head.unindexable,
    }))
}

/// Stores an index. It must hold all rows that the store has at this version, except those that
/// are `unindexable`.
pub fn write(
    store: &impl Store,
    index: &Index,
    version: u64,
    compared: Now,
    unindexable: u64,
) -> Result<()> {
    let max_blob = store.capabilities().max_blob;
    if max_blob < LEAST_BLOB {
        return Ok(());
    }
    let before = store.list_blobs()?;
    let before: Vec<String> = before
        .into_iter()
        .filter(|name| name.starts_with("index/") && name != HEAD)
        .collect();
    // Greater than any that exists, so that the earlier index stays whole until the end.
    let generation = before
        .iter()
        .filter_map(|name| name.split('/').nth(1)?.parse::<u64>().ok())
        .fold(0, u64::max)
        .max(compared.millis)
        + 1;
    let mut writer = Writer {
        store,
        generation,
        piece_bytes: PIECE_BYTES.min(max_blob as usize),
        bytes: Vec::new(),
        pieces: Vec::new(),
    };
    index.write(&mut writer)?;
    writer.end_piece()?;
    let head = Head {
        format: FORMAT,
        generation,
        version,
        compared_millis: compared.millis,
        unindexable,
        pieces: writer.pieces,
    };
    let head = serde_json::to_vec(&head).map_err(|e| damaged(&e.to_string()))?;
    store.write_blob(HEAD, &head)?;
    store.delete_blobs(&before)
}

fn name(generation: u64, number: usize) -> String {
    format!("index/{generation}/{number}")
}

struct Writer<'a, S> {
    store: &'a S,
    generation: u64,
    piece_bytes: usize,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

impl<S: Store> Writer<'_, S> {
    fn end_piece(&mut self) -> Result<()> {
        let name = name(self.generation, self.pieces.len());
        self.store.write_blob(&name, &self.bytes)?;
        self.pieces.push(Piece {
            bytes: self.bytes.len(),
            crc32: crc32fast::hash(&self.bytes),
        });
        self.bytes.clear();
        Ok(())
    }
}

impl<S: Store> Sink for Writer<'_, S> {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.piece_bytes - self.bytes.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.bytes.extend_from_slice(now);
            bytes = later;
            if self.bytes.len() == self.piece_bytes {
                self.end_piece()?;
            }
        }
        Ok(())
    }
}

struct Pieces<'a, S> {
    store: &'a S,
    generation: u64,
    pieces: std::iter::Enumerate<std::slice::Iter<'a, Piece>>,
    bytes: Vec<u8>,
    at: usize,
    left: usize,
}

impl<S: Store> Source for Pieces<'_, S> {
    fn read(&mut self, mut to: &mut [u8]) -> Result<()> {
        while !to.is_empty() {
            if self.at == self.bytes.len() {
                self.next_piece()?;
            }
            let n = to.len().min(self.bytes.len() - self.at);
            let (now, later) = to.split_at_mut(n);
            now.copy_from_slice(&self.bytes[self.at..][..n]);
            self.at += n;
            self.left -= n;
            to = later;
        }
        Ok(())
    }

    fn left(&self) -> usize {
        self.left
    }
}

impl<S: Store> Pieces<'_, S> {
    fn next_piece(&mut self) -> Result<()> {
        let (number, piece) = self
            .pieces
            .next()
            .ok_or_else(|| damaged("it ends too early"))?;
        let name = name(self.generation, number);
        self.bytes = self
            .store
            .read_blob(&name)?
            .ok_or_else(|| damaged(&format!("the blob {name} is missing")))?;
        self.at = 0;
        let sound = self.bytes.len() == piece.bytes && crc32fast::hash(&self.bytes) == piece.crc32;
        match sound {
            true => Ok(()),
            false => Err(damaged(&format!(
                "the blob {name} has another length or checksum"
            ))),
        }
    }
}
