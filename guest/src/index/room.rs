//! What happens when memory is short: the vectors of the oldest rows leave it, and their codes stay.
//!
//! Allocating more than there is would end the component, and nothing tells how much there is. So
//! it is tried whether there is room, before anything large comes into memory, and always for
//! some headroom beside it.
//!
//! Memory that cannot move falls into pieces: between two blocks of vectors that leave lie the
//! small columns and the codes of one that stays. So a block whose vectors leave is copied, into
//! some gap that its copy fills better, and the vectors leave one large gap.

use super::Index;
use super::basis::{Basis, Learner, directions, learning_bytes, sample_rows};
use super::block::{Block, block_rows};
use super::rows::Rows;
use super::scales::detail_bytes;
use crate::types::{Error, VectorDtype};
use mneme_kernels::HEAD_BYTES;
use std::collections::TryReserveError;
use std::rc::Rc;

/// So much memory is left for what calls carry: a share of that of the index, within limits.
const HEADROOM_SHARE: usize = 16;
const LEAST_HEADROOM: usize = 1 << 20;
const MOST_HEADROOM: usize = 32 << 20;
/// With the default options no response and its entry are longer than this.
const LONGEST: usize = 6 << 20;
/// Much of what calls carry is not longer than this.
const PIECE: usize = 1 << 20;
/// The most bytes of vectors that leave memory at a time. Encoding them takes some hundredths of a
/// second.
const MOST_LEAVING: usize = 8 << 20;
/// An index with this many times its reserve holds it back.
const RESERVES_OF_LARGE: usize = 2;
/// What encoding a block needs beside its codes.
const ENCODING_BYTES: usize = 256 << 10;

/// Fails if there is no memory for this many bytes in one piece.
pub fn check_room(bytes: usize) -> Result<(), TryReserveError> {
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(bytes)?;
    // What is never used need not be allocated.
    std::hint::black_box(&room);
    Ok(())
}

/// Whether there is memory for so many bytes in one piece, and for headroom in small pieces.
pub fn has_room(bytes: usize, headroom: usize) -> bool {
    let mut pieces = Vec::new();
    let sizes = std::iter::once(bytes).chain((0..headroom).step_by(PIECE).map(|_| PIECE));
    for size in sizes {
        let mut piece = Vec::<u8>::new();
        if pieces.try_reserve(1).is_err() || piece.try_reserve_exact(size).is_err() {
            return false;
        }
        pieces.push(piece);
    }
    std::hint::black_box(&pieces);
    true
}

/// The headroom of an index of so many bytes.
pub fn headroom_of(bytes: usize) -> usize {
    (bytes / HEADROOM_SHARE).clamp(LEAST_HEADROOM, MOST_HEADROOM)
}

/// What so many rows need at least: their codes, ids and stamps.
pub fn least_bytes(dim: usize, dtype: VectorDtype, rows: u64) -> usize {
    let row = size_of::<u64>() + size_of::<u32>() + size_of::<bool>() + code_bytes(dim, dtype);
    usize::try_from(rows).map_or(usize::MAX, |rows| rows.saturating_mul(row))
}

/// The codes of a row.
fn code_bytes(dim: usize, dtype: VectorDtype) -> usize {
    match dtype {
        // Its vectors serve as details.
        VectorDtype::Int8 => HEAD_BYTES,
        VectorDtype::Float32 | VectorDtype::Float16 => HEAD_BYTES + detail_bytes(directions(dim)),
    }
}

/// The error of something that memory is too short for.
pub fn no_memory(what: std::fmt::Arguments<'_>) -> Error {
    Error::IndexUnavailable(format!(
        "no memory left for {what}; raise the memory limit, choose a smaller vector dtype, or split the cache"
    ))
}

impl Index {
    /// The error of an index that memory is too short for.
    pub fn no_memory(&self) -> Error {
        no_memory(format_args!("the vector index after {} rows", self.rows()))
    }

    /// The room that a part of a call needs beside what it says. Once memory is short, it no longer
    /// grows with the rows.
    pub fn headroom(&self) -> usize {
        let bytes = self.live * self.dim * size_of::<f32>();
        self.headroom.unwrap_or_else(|| headroom_of(bytes))
    }

    /// Whether there is room for so many bytes beside the headroom, of which a part is in one piece
    /// with them.
    pub fn has_room(&self, bytes: usize) -> bool {
        let headroom = self.headroom();
        let longest = headroom.min(LONGEST);
        has_room(bytes + longest, headroom - longest)
    }

    /// As [`has_room`](Self::has_room), with headroom in pieces and without the reserve: for when
    /// nothing more can leave.
    pub fn has_last_room(&mut self, bytes: usize) -> bool {
        self.reserve = Vec::new();
        has_room(bytes, self.headroom())
    }

    /// The codes of a full block.
    pub(super) fn block_code_bytes(&self) -> usize {
        block_rows(self.dim) * code_bytes(self.dim, self.dtype)
    }

    /// Holds back the room that learning a basis and encoding blocks need, as soon as there are
    /// many rows, for when memory gets short.
    pub fn hold_reserve(&mut self) {
        let reserve = learning_bytes(self.dim) + self.block_code_bytes() + ENCODING_BYTES;
        let is_large = self.live * self.dim * size_of::<f32>() >= RESERVES_OF_LARGE * reserve;
        if is_large && self.reserve.capacity() == 0 {
            let _ = self.reserve.try_reserve_exact(reserve);
        }
    }

    /// Memory is short: the vectors of the oldest rows leave it. Their codes stay, so they are found as
    /// before; the cache reads more vectors from the store. False if none can leave, or there are too few
    /// rows to learn codes from.
    pub fn make_room(&mut self) -> bool {
        self.is_short();
        self.reserve = Vec::new();
        let Some(basis) = self.basis.clone().or_else(|| self.learn()) else {
            return false;
        };
        let wanted = self.headroom().min(MOST_LEAVING);
        let mut places = Vec::new();
        for (space, rows) in self.spaces.iter().enumerate() {
            let blocks = rows.blocks().iter().enumerate();
            // The last one may take more rows.
            for (at, block) in blocks.take(rows.blocks().len().saturating_sub(1)) {
                if block.is_resident() && block.sealed.is_none() {
                    places.push((block.ids().first().copied(), space, at));
                }
            }
        }
        places.sort_unstable();
        let mut freed = 0;
        for (_, space, at) in places {
            if freed >= wanted {
                break;
            }
            freed += self.spaces[space].blocks_mut()[at].release(&basis);
        }
        self.has_released |= freed > 0;
        self.hold_reserve();
        freed > 0
    }

    /// The headroom is a share of what there is now.
    pub(super) fn is_short(&mut self) {
        if self.headroom.is_none() {
            self.headroom = Some(headroom_of(self.bytes()));
        }
    }

    /// Vectors to learn from, taken evenly from all rows in memory. None if memory is short.
    pub(super) fn sample(&self) -> Option<Vec<f32>> {
        let blocks = || {
            let blocks = self.spaces.iter().flat_map(Rows::blocks);
            blocks.filter(|block| block.is_resident())
        };
        let rows: usize = blocks().map(Block::live).sum();
        let every = rows.div_ceil(sample_rows(self.dim)).max(1);
        let (mut sample, mut vector) = (Vec::new(), Vec::new());
        let values = rows.div_ceil(every) * self.dim;
        sample.try_reserve_exact(values).ok()?;
        let live = blocks().flat_map(|block| block.live_rows().map(move |row| (block, row)));
        for (block, row) in live.step_by(every) {
            block.vector(row, &mut vector);
            sample.extend_from_slice(&vector);
        }
        Some(sample)
    }

    /// Learns a basis at once, if there are enough rows.
    fn learn(&mut self) -> Option<Rc<Basis>> {
        if self.live < self.fewest_to_learn_from {
            return None;
        }
        let mut learner = Learner::new(self.dim, self.sample()?)?;
        let basis = Rc::new(learner.step(&mut { u64::MAX })?);
        (self.learned_rows, self.added) = (self.rows(), 0);
        (self.basis, self.learner) = (Some(Rc::clone(&basis)), None);
        self.unencoded = true;
        Some(basis)
    }
}
