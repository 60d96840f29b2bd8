//! The index that is kept in the store, so that opening a large cache does not rebuild it.
//!
//! Its bytes (see `index::persisted`) are cut into pieces, each a blob
//! `index/<generation>/<number>`. The blob `index/head` names the generation, the length and
//! checksum of each piece, and the version counter that the index belongs to. The head is written
//! last, so that a killed process leaves the earlier index whole. An index that differs from its
//! head is damaged. It is written and read in parts, between which others can call.

use super::steps::Progress;
use crate::error::Result;
use crate::host::Now;
use crate::index::Index;
use crate::index::persisted::{Cursor, Reader, Source, Written, damaged, no_memory_for};
use crate::index::room::{has_room, headroom_of};
use crate::store::Store;
use crate::types::{BackendError, Error, VectorDtype};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format of the head.
const FORMAT: u32 = 1;
const HEAD: &str = "index/head";
/// Bytes of a piece, unless the store's blobs must be smaller.
const PIECE_BYTES: usize = 1 << 20;
/// Every store with blobs accepts blobs of this size.
const LEAST_BLOB: u32 = 65_536;
/// The meta key of the version counter after the last erasure. An index of an earlier version may hold
/// codes of vectors that were erased, so it is neither written nor read.
pub const ERASED: &str = "erased";
/// Building a smaller index takes no longer than reading it.
const FEWEST_ROWS: usize = 1024;
/// An index that leaves out more is not kept: the head names them.
const MOST_LEFT_OUT: usize = 32;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    generation: u64,
    /// The version counter when the index held exactly the store's rows.
    version: u64,
    /// When it was read or compared, for replacements within a second.
    compared_millis: u64,
    /// Entries that the index leaves out; see [`Index::left_out`].
    left_out: BTreeMap<u64, String>,
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
}

/// Whether an index is ready to be stored, and enough rows have changed. The next opening reads
/// fewer changed rows from the entries.
pub fn is_due(index: &Index) -> bool {
    let rows = index.rows();
    let is_sound = index.left_out().len() <= MOST_LEFT_OUT;
    is_sound
        && index.is_whole()
        && rows >= FEWEST_ROWS
        && index.changes() > FEWEST_ROWS.max(rows / 16)
        && index.is_encoded()
}

/// A stored index that is being read, one part after another.
pub struct Reading {
    reader: Reader,
    pieces: Pieces,
    version: u64,
    compared: Now,
    left_out: BTreeMap<u64, String>,
}

impl Reading {
    /// Begins to read the stored index, if there is one.
    ///
    /// Errors, as of [`step`](Self::step): `index-unavailable` for want of memory; any other if it
    /// is of no use.
    pub fn begin(store: &impl Store, dim: u32, dtype: VectorDtype) -> Result<Option<Self>> {
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
        if head.version < erased(store)? {
            erase(store)?;
            return Ok(None);
        }
        let most = store.capabilities().max_blob as usize;
        if head.pieces.iter().any(|piece| piece.bytes > most) {
            return Err(damaged("a piece of it is longer than a blob can be"));
        }
        let lengths = head.pieces.iter().map(|piece| piece.bytes);
        let left = lengths.fold(0, usize::saturating_add);
        let mut pieces = Pieces {
            generation: head.generation,
            pieces: head.pieces,
            next: 0,
            bytes: Vec::new(),
            at: 0,
            total: left,
            left,
        };
        // What is read takes as much in memory, or a little more.
        if !has_room(0, left.saturating_add(headroom_of(left))) {
            return Err(no_memory_for(left));
        }
        let reader = Reader::new(&mut pieces.of(store), dim, dtype)?;
        Ok(Some(Reading {
            reader,
            pieces,
            version: head.version,
            compared: Now {
                millis: head.compared_millis,
            },
            left_out: head.left_out,
        }))
    }

    /// Reads the next part.
    pub fn step(&mut self, store: &impl Store) -> Result<Progress> {
        Ok(match self.reader.read_part(&mut self.pieces.of(store))? {
            true => Progress::Under,
            false => Progress::Done,
        })
    }

    /// The index, after the last part.
    pub fn finish(self) -> Kept {
        let mut index = self.reader.finish();
        index.set_left_out(self.left_out);
        Kept {
            index,
            version: self.version,
            compared: self.compared,
        }
    }
}

/// An index that is being stored, one part after another. It may change meanwhile: its version is
/// that of the beginning, so whoever reads it learns what has changed since.
pub struct Writing {
    cursor: Cursor,
    head: Head,
    /// The blobs of earlier generations.
    before: Vec<String>,
    /// The changes that are stored with it; see [`Index::changes`].
    changes: usize,
    piece_bytes: usize,
    bytes: Vec<u8>,
}

impl Writing {
    /// Begins to store an index. It must hold all rows that the store has at this version, except
    /// those that it leaves out. None if the store keeps no blobs.
    pub fn begin(
        store: &impl Store,
        index: &Index,
        version: u64,
        compared: Now,
    ) -> Result<Option<Self>> {
        let max_blob = store.capabilities().max_blob;
        if max_blob < LEAST_BLOB {
            return Ok(None);
        }
        let before = stored_pieces(store)?;
        // Greater than any that exists, so that the earlier index stays whole until the end.
        let generation = before
            .iter()
            .filter_map(|name| name.split('/').nth(1)?.parse::<u64>().ok())
            .fold(0, u64::max)
            .max(compared.millis)
            + 1;
        Ok(Some(Writing {
            cursor: Cursor::default(),
            head: Head {
                format: FORMAT,
                generation,
                version,
                compared_millis: compared.millis,
                left_out: index.left_out().clone(),
                pieces: Vec::new(),
            },
            before,
            changes: index.changes(),
            piece_bytes: PIECE_BYTES.min(max_blob as usize),
            bytes: Vec::new(),
        }))
    }

    /// Stores the next part.
    pub fn step(&mut self, store: &impl Store, index: &mut Index) -> Result<Progress> {
        match index.write_part(&mut self.cursor, &mut self.bytes)? {
            Written::Part => self.store_pieces(store, self.piece_bytes)?,
            Written::All => {
                self.store_pieces(store, 1)?;
                if self.finish(store)? {
                    index.kept(self.changes);
                }
                return Ok(Progress::Done);
            }
            Written::Outdated => {
                store.delete_blobs(&self.names())?;
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::Under)
    }

    /// Stores what is there in pieces of the full size, as long as there are `least` bytes.
    fn store_pieces(&mut self, store: &impl Store, least: usize) -> Result<()> {
        while self.bytes.len() >= least {
            let rest = self.bytes.split_off(self.piece_bytes.min(self.bytes.len()));
            let piece = std::mem::replace(&mut self.bytes, rest);
            store.write_blob(&name(self.head.generation, self.head.pieces.len()), &piece)?;
            self.head.pieces.push(Piece {
                bytes: piece.len(),
                crc32: crc32fast::hash(&piece),
            });
        }
        Ok(())
    }

    /// Makes it the stored index. False if another process has removed some of it meanwhile, or has
    /// erased entries.
    fn finish(&self, store: &impl Store) -> Result<bool> {
        let (ours, present) = (self.names(), stored_pieces(store)?);
        let is_whole = ours.iter().all(|name| present.contains(name));
        if !is_whole || self.head.version < erased(store)? {
            store.delete_blobs(&ours)?;
            return Ok(false);
        }
        let head = serde_json::to_vec(&self.head).map_err(|e| damaged(&e.to_string()))?;
        store.write_blob(HEAD, &head)?;
        // Whoever erases marks that first and deletes the blobs then, so one of the two sees the other.
        if self.head.version < erased(store)? {
            erase(store)?;
            return Ok(false);
        }
        store.delete_blobs(&self.before)?;
        Ok(true)
    }

    fn names(&self) -> Vec<String> {
        let numbers = 0..self.head.pieces.len();
        numbers.map(|n| name(self.head.generation, n)).collect()
    }
}

/// Deletes the stored index, and what is there of one that is being written. Returns whether there
/// was any of it.
pub fn erase(store: &impl Store) -> Result<bool> {
    if store.capabilities().max_blob < LEAST_BLOB {
        return Ok(false);
    }
    let mut names = store.list_blobs()?;
    names.retain(|name| name.starts_with("index/"));
    if names.is_empty() {
        return Ok(false);
    }
    // The head first: what it names is whole or not there.
    store.delete_blobs(&[HEAD.to_owned()])?;
    store.delete_blobs(&names)?;
    Ok(true)
}

/// Records that entries have been erased, by this instance or by others, up to the present version.
pub fn mark_erased(store: &impl Store) -> Result<()> {
    if store.capabilities().max_blob < LEAST_BLOB {
        return Ok(());
    }
    let version = store.read_version_counter()?;
    for _ in 0..8 {
        let before = store.read_meta(ERASED)?;
        if parsed(before.as_deref()) >= version
            || store.replace_meta(ERASED, before.as_deref(), Some(&version.to_string()))?
        {
            return Ok(());
        }
    }
    Err(Error::Backend(BackendError {
        message: format!("others change the meta value {ERASED:?} all the time; try again"),
        retryable: true,
    }))
}

/// The version counter after the last erasure; 0 if there was none.
fn erased(store: &impl Store) -> Result<u64> {
    Ok(parsed(store.read_meta(ERASED)?.as_deref()))
}

/// A value that is no number is somebody else's, and says nothing.
fn parsed(mark: Option<&str>) -> u64 {
    mark.and_then(|mark| mark.parse().ok()).unwrap_or(0)
}

/// The names of all pieces in the store.
fn stored_pieces(store: &impl Store) -> Result<Vec<String>> {
    let mut names = store.list_blobs()?;
    names.retain(|name| name.starts_with("index/") && name != HEAD);
    Ok(names)
}

fn name(generation: u64, number: usize) -> String {
    format!("index/{generation}/{number}")
}

/// The bytes of a stored index, piece after piece.
struct Pieces {
    generation: u64,
    pieces: Vec<Piece>,
    /// The number of the next piece.
    next: usize,
    bytes: Vec<u8>,
    at: usize,
    total: usize,
    left: usize,
}

/// [`Pieces`], with the store that they are in.
struct PiecesOf<'a, S>(&'a mut Pieces, &'a S);

impl Pieces {
    fn of<'a, S>(&'a mut self, store: &'a S) -> PiecesOf<'a, S> {
        PiecesOf(self, store)
    }

    fn read_piece(&mut self, store: &impl Store) -> Result<()> {
        let name = name(self.generation, self.next);
        let piece = self
            .pieces
            .get(self.next)
            .ok_or_else(|| damaged("it ends too early"))?;
        self.bytes = Vec::new();
        if !has_room(piece.bytes, headroom_of(self.total - self.left)) {
            return Err(no_memory_for(self.left));
        }
        self.bytes = store
            .read_blob(&name)?
            .ok_or_else(|| damaged(&format!("the blob {name} is missing")))?;
        (self.at, self.next) = (0, self.next + 1);
        let sound = self.bytes.len() == piece.bytes && crc32fast::hash(&self.bytes) == piece.crc32;
        match sound {
            true => Ok(()),
            false => Err(damaged(&format!(
                "the blob {name} has another length or checksum"
            ))),
        }
    }
}

impl<S: Store> Source for PiecesOf<'_, S> {
    fn read(&mut self, mut to: &mut [u8]) -> Result<()> {
        let PiecesOf(pieces, store) = self;
        while !to.is_empty() {
            if pieces.at == pieces.bytes.len() {
                pieces.read_piece(*store)?;
            }
            let n = to.len().min(pieces.bytes.len() - pieces.at);
            let (now, later) = to.split_at_mut(n);
            now.copy_from_slice(&pieces.bytes[pieces.at..][..n]);
            pieces.at += n;
            pieces.left -= n;
            to = later;
        }
        Ok(())
    }

    fn left(&self) -> usize {
        self.0.left
    }
}
