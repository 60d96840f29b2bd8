//! The rows of one scope: blocks by ascending id.

use super::basis::Basis;
use super::block::Block;
use super::graph::{Searcher, no_memory};
use super::scan::{Query, Tally, TopFound};
use super::segment::{SEGMENT_ROWS, Segment, segment_blocks};
use crate::error::Result;
use crate::types::{GraphOptions, VectorDtype};
use std::collections::{BTreeMap, TryReserveError};
use std::rc::Rc;

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Position of its block.
    pub block: usize,
    /// Position of the row in the block.
    pub row: usize,
}

/// Rows of one scope.
pub struct Rows {
    dim: usize,
    dtype: VectorDtype,
    blocks: Vec<Block>,
    live: usize,
    segments: Vec<Segment>,
    /// Stored graphs, until the vectors of their rows are in memory.
    kept: Vec<KeptGraph>,
    next_segment: u32,
}

/// A graph in the format of the store.
pub struct KeptGraph {
    /// The first id of each block of its segment.
    pub first_ids: Vec<u64>,
    /// See [`graph`](super::graph).
    pub bytes: Vec<u8>,
}

impl Rows {
    /// A scope without rows.
    pub fn new(dim: usize, dtype: VectorDtype) -> Self {
        Rows {
            dim,
            dtype,
            blocks: Vec::new(),
            live: 0,
            segments: Vec::new(),
            kept: Vec::new(),
            next_segment: 0,
        }
    }

    /// How many rows there are.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Removed rows that `compact` would give back.
    pub fn dead(&self) -> usize {
        self.blocks.iter().map(Block::dead).sum()
    }

    /// The blocks, by ascending id.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The blocks that may have rows with ids above this one.
    pub fn blocks_after(&self, id: u64) -> &[Block] {
        &self.blocks[self.block_after(id).saturating_sub(1)..]
    }

    /// The blocks. The number of their rows must not change.
    pub fn blocks_mut(&mut self) -> &mut [Block] {
        &mut self.blocks
    }

    /// Appends a block of live rows. False, with nothing changed, if their ids are not greater than
    /// all present ones.
    pub fn append(&mut self, block: Block) -> bool {
        let last = self.blocks.last().and_then(|block| block.ids().last());
        if last.is_some_and(|last| block.ids().first().is_none_or(|first| first <= last)) {
            return false;
        }
        self.live += block.live();
        self.blocks.push(block);
        true
    }

    /// The last id, dead rows included.
    pub fn last_id(&self) -> Option<u64> {
        self.blocks.last()?.ids().last().copied()
    }

    /// The row of an id, dead or alive.
    pub fn find(&self, id: u64) -> Option<Place> {
        let after = self.block_after(id);
        let block = after.checked_sub(1)?;
        let row = self.blocks[block].ids().binary_search(&id).ok()?;
        Some(Place { block, row })
    }

    /// Adds a row for a unit vector, or replaces the one with the same id. Changes nothing if memory
    /// is short.
    pub fn add(
        &mut self,
        id: u64,
        created_at: u64,
        vector: &[f32],
        basis: Option<&Rc<Basis>>,
    ) -> std::result::Result<(), TryReserveError> {
        if let Some(Place { block, row }) = self.find(id) {
            let block = &mut self.blocks[block];
            let was_dead = block.is_dead(row);
            block.replace(row, created_at, vector)?;
            self.live += usize::from(was_dead);
            return Ok(());
        }
        let at = self.block_for(id, basis)?;
        let inserted = self.blocks[at].insert(id, created_at, vector);
        if self.blocks[at].rows() == 0 {
            self.blocks.remove(at);
        }
        inserted?;
        self.live += 1;
        Ok(())
    }

    /// The block for a new id.
    fn block_for(
        &mut self,
        id: u64,
        basis: Option<&Rc<Basis>>,
    ) -> std::result::Result<usize, TryReserveError> {
        let after = self.block_after(id);
        if let Some(before) = after.checked_sub(1) {
            let block = &self.blocks[before];
            if block.has_room() {
                return Ok(before);
            }
            let place = block.ids().partition_point(|&other| other < id);
            if place < block.rows() {
                // Another process has stored an entry under an id older than the last.
                block.check_room_for_copy()?;
                self.blocks.try_reserve(1)?;
                let block = &self.blocks[before];
                let is_full = block.is_resident();
                // Not at the new id, so that blocks do not become small.
                let split = if is_full { block.rows() / 2 } else { place };
                let upper: Vec<usize> = (split..block.rows()).collect();
                let lower: Vec<usize> = (0..split).collect();
                let halves = [block.select(&lower), block.select(&upper)];
                self.blocks.splice(before..=before, halves);
                if is_full {
                    return Ok(before + usize::from(place > split));
                }
            }
        }
        match self.blocks.is_empty() {
            // It may stay the only one, and there may be very many contexts.
            true => self.blocks.try_reserve_exact(1)?,
            false => self.blocks.try_reserve(1)?,
        }
        self.blocks
            .insert(after, Block::new(self.dim, self.dtype, basis));
        Ok(after)
    }

    /// Removes a row. False if there was none.
    pub fn remove(&mut self, id: u64) -> bool {
        let Some(Place { block: at, row }) = self.find(id) else {
            return false;
        };
        let block = &mut self.blocks[at];
        if !block.remove(row) {
            return false;
        }
        self.live -= 1;
        if block.live() == 0 {
            self.blocks.remove(at);
        } else if block.dead() > block.live()
            && block.rows() >= 64
            && block.check_room_for_copy().is_ok()
        {
            // Scans read dead rows, too.
            let rows: Vec<usize> = block.live_rows().collect();
            *block = block.select(&rows);
        }
        true
    }

    /// Offers to `top` every row whose cosine with the query may reach `top`'s cut. Of rows in
    /// graphs it offers those that the graphs find. If `top` wants more rows than a graph finds, all
    /// rows are scanned.
    ///
    /// Without graphs it searches only the rows after an id, and ends after about `budget`
    /// multiplications. It returns the last id that it reached, if there are more.
    pub fn search(
        &self,
        query: &mut Query,
        searcher: &mut Searcher,
        top: &mut TopFound,
        tally: &mut Tally,
        after: Option<u64>,
        mut budget: u64,
    ) -> Option<u64> {
        let enough = |segment: &Segment| segment.graph().ef_search() >= top.limit;
        let graphs = self.segments.iter().all(enough);
        if graphs {
            for segment in &self.segments {
                segment.search(|id| self.block_of(id), query, searcher, top);
            }
        }
        let from = after.map_or(0, |id| self.block_after(id));
        for block in &self.blocks[from..] {
            if !graphs || block.sealed.is_none() {
                block.scan(query, top, tally);
                budget = budget.saturating_sub(block.scan_cost());
            }
            if budget == 0 && !self.has_graphs() {
                return block.ids().last().copied();
            }
        }
        None
    }

    /// Whether any rows are found by graphs.
    pub fn has_graphs(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Seals blocks into one more segment of at least a quarter of the full size. Leaves a last
    /// block that still has room. False if nothing is left to seal.
    ///
    /// Errors: `index-unavailable` for want of memory, with nothing sealed.
    pub fn seal(&mut self, options: &GraphOptions) -> Result<bool> {
        self.drop_stale_segments();
        let wanted = segment_blocks(self.dim);
        let last = self.blocks.len();
        let unsealed = self.blocks.iter().enumerate().filter(|(at, block)| {
            let growing = at + 1 == last && block.has_room();
            block.sealed.is_none() && block.is_resident() && block.live() > 0 && !growing
        });
        let chosen: Vec<usize> = unsealed.map(|(at, _)| at).take(wanted).collect();
        if chosen.len() * 4 < wanted {
            return Ok(false);
        }
        self.seal_blocks(&chosen, options)?;
        Ok(true)
    }

    /// Makes a segment of these blocks, at least one, whose vectors must be in memory.
    pub fn seal_blocks(&mut self, chosen: &[usize], options: &GraphOptions) -> Result<()> {
        for &at in chosen {
            let block = &mut self.blocks[at];
            if block.dead() > 0 {
                block
                    .check_room_for_copy()
                    .map_err(|_| no_memory(SEGMENT_ROWS))?;
                let rows: Vec<usize> = block.live_rows().collect();
                *block = block.select(&rows);
            }
        }
        let blocks: Vec<&Block> = chosen.iter().map(|&at| &self.blocks[at]).collect();
        let segment = Segment::build(self.next_segment, self.dim, &blocks, options)?;
        self.add_segment(segment);
        Ok(())
    }

    /// Makes the stored graphs part of the index, if they fit it.
    pub fn take_kept_graphs(&mut self, options: &GraphOptions) {
        for kept in std::mem::take(&mut self.kept) {
            let blocks = kept.first_ids.iter().map(|&id| self.block_of(id));
            let blocks: Option<Vec<&Block>> = blocks.collect();
            // The next sealing rebuilds a graph that does not fit.
            let segment = blocks
                .filter(|blocks| blocks.iter().all(|block| block.is_resident()))
                .map(|blocks| Segment::read(self.next_segment, &blocks, &kept.bytes, options));
            if let Some(Ok(segment)) = segment {
                self.add_segment(segment);
            }
        }
    }

    /// Keeps a graph for [`take_kept_graphs`](Self::take_kept_graphs).
    pub fn set_kept_graphs(&mut self, kept: Vec<KeptGraph>) {
        self.kept = kept;
    }

    /// The first segment from a number on whose blocks have not changed, and its graph in the
    /// format of the store.
    pub fn graph_to_keep(&self, from: u32) -> Result<Option<(u32, KeptGraph)>> {
        let sound = self.segments.iter().find(|segment| {
            segment.number >= from
                && segment.first_ids().all(|id| {
                    self.block_of(id).is_some_and(|block| {
                        block.sealed == Some(segment.number) && block.dead() == 0
                    })
                })
        });
        let Some(segment) = sound else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        segment.graph().write(&mut bytes)?;
        let first_ids = segment.first_ids().collect();
        Ok(Some((segment.number, KeptGraph { first_ids, bytes })))
    }

    fn add_segment(&mut self, segment: Segment) {
        for id in segment.first_ids() {
            let at = self.block_after(id) - 1;
            self.blocks[at].sealed = Some(segment.number);
        }
        self.next_segment += 1;
        self.segments.push(segment);
    }

    /// Drops the segments most of whose blocks have changed.
    fn drop_stale_segments(&mut self) {
        let mut sealed = BTreeMap::<u32, usize>::new();
        for number in self.blocks.iter().filter_map(|block| block.sealed) {
            *sealed.entry(number).or_default() += 1;
        }
        self.segments.retain(|segment| {
            let blocks = sealed.get(&segment.number).copied().unwrap_or(0);
            blocks * 2 > segment.first_ids().len() || {
                sealed.remove(&segment.number);
                false
            }
        });
        for block in &mut self.blocks {
            block.sealed = block.sealed.filter(|number| sealed.contains_key(number));
        }
    }

    /// The block whose first row has this id.
    fn block_of(&self, first_id: u64) -> Option<&Block> {
        let block = &self.blocks[self.block_after(first_id).checked_sub(1)?];
        (block.ids().first() == Some(&first_id)).then_some(block)
    }

    /// Frees the memory of removed rows of the next block after this id, as far as there is memory
    /// for copies. Returns the block's last id, and how many rows they were. None if there are no
    /// more such blocks.
    pub fn compact_next(&mut self, after: Option<u64>) -> Option<(u64, usize)> {
        let from = after.map_or(0, |id| self.block_after(id));
        let mut blocks = self.blocks.iter().enumerate().skip(from);
        let Some((at, block)) = blocks.find(|(_, block)| block.has_spare_memory()) else {
            self.blocks.shrink_to_fit();
            return None;
        };
        let (last, dead) = (*block.ids().last()?, block.dead());
        if block.live() == 0 {
            self.blocks.remove(at);
            return Some((last, dead));
        }
        if block.check_room_for_copy().is_err() {
            return Some((last, 0));
        }
        let rows: Vec<usize> = block.live_rows().collect();
        self.blocks[at] = block.select(&rows);
        Some((last, dead))
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        let unused = self.blocks.capacity() - self.blocks.len();
        self.blocks.iter().map(Block::bytes).sum::<usize>()
            + unused * size_of::<Block>()
            + self.segments.iter().map(Segment::bytes).sum::<usize>()
            + self.kept.iter().map(|kept| kept.bytes.len()).sum::<usize>()
    }

    /// The first block whose ids are all greater.
    fn block_after(&self, id: u64) -> usize {
        self.blocks
            .partition_point(|block| block.ids().first().is_some_and(|&first| first <= id))
    }
}
