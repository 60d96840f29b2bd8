//! The rows of one namespace: blocks by ascending id.

use super::TopFound;
use super::basis::Basis;
use super::block::{Block, block_rows};
use super::scan::{Query, Tally};
use crate::types::VectorDtype;
use std::collections::TryReserveError;
use std::rc::Rc;

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Position of its block.
    pub block: usize,
    /// Position in that.
    pub row: usize,
}

/// Rows of one namespace.
pub struct Rows {
    dim: usize,
    dtype: VectorDtype,
    blocks: Vec<Block>,
    live: usize,
}

impl Rows {
    /// No rows.
    pub fn new(dim: usize, dtype: VectorDtype) -> Self {
        Rows {
            dim,
            dtype,
            blocks: Vec::new(),
            live: 0,
        }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
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

    /// The blocks, whose rows must stay as many.
    pub fn blocks_mut(&mut self) -> &mut [Block] {
        &mut self.blocks
    }

    /// Appends a block of rows that are all alive and have greater ids than those that are
    /// there. False, with nothing done, where they have not.
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

    /// Adds a row for a unit vector, in place of the one with the same id. Changes nothing
    /// where memory is short.
    pub fn add(
        &mut self,
        id: u64,
        created_at: u64,
        vector: &[f32],
        basis: Option<&Rc<Basis>>,
    ) -> Result<(), TryReserveError> {
        if let Some(Place { block, row }) = self.find(id) {
            let block = &mut self.blocks[block];
            self.live += usize::from(block.is_dead(row));
            block.replace(row, created_at, vector);
            return Ok(());
        }
        let at = self.block_for(id, basis)?;
        let pushed = self.blocks[at].push(id, created_at, vector);
        if self.blocks[at].len() == 0 {
            self.blocks.remove(at);
        }
        pushed?;
        self.live += 1;
        Ok(())
    }

    /// The block that a new id is to be pushed to.
    fn block_for(&mut self, id: u64, basis: Option<&Rc<Basis>>) -> Result<usize, TryReserveError> {
        let after = self.block_after(id);
        if let Some(before) = after.checked_sub(1) {
            let block = &self.blocks[before];
            let split = block.ids().partition_point(|&other| other < id);
            if split < block.len() {
                // Another process has stored an entry under an id older than the last.
                let upper: Vec<usize> = (split..block.len()).collect();
                let lower: Vec<usize> = (0..split).collect();
                let halves = [block.select(&lower), block.select(&upper)];
                self.blocks.splice(before..=before, halves);
            }
            if self.blocks[before].has_room() {
                return Ok(before);
            }
        }
        self.blocks.try_reserve(1)?;
        self.blocks
            .insert(after, Block::new(self.dim, self.dtype, basis));
        Ok(after)
    }

    /// Removes a row. False where there was none.
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
        } else if block.dead() > block.live() && block.len() >= 64 {
            // What is dead is scanned all the same.
            let rows: Vec<usize> = block.live_rows().collect();
            *block = block.select(&rows);
        }
        true
    }

    /// Offers to `top` every row whose cosine with the query may reach `top`'s cut, but for
    /// those in graphs.
    pub fn scan(&self, query: &mut Query, top: &mut TopFound, tally: &mut Tally) {
        for block in &self.blocks {
            if block.sealed.is_none() {
                block.scan(query, top, tally);
            }
        }
    }

    /// Gives back the memory of removed rows and returns how many they were.
    pub fn compact(&mut self) -> usize {
        let dead = self.dead();
        self.blocks.retain(|block| block.live() > 0);
        for block in &mut self.blocks {
            let full = block.len() == block_rows(self.dim);
            if block.dead() > 0 || (!full && block.sealed.is_none()) {
                let rows: Vec<usize> = block.live_rows().collect();
                *block = block.select(&rows);
            }
        }
        self.blocks.shrink_to_fit();
        dead
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        let unused = self.blocks.capacity() - self.blocks.len();
        self.blocks.iter().map(Block::bytes).sum::<usize>() + unused * size_of::<Block>()
    }

    /// The first block whose ids are all greater.
    fn block_after(&self, id: u64) -> usize {
        self.blocks
            .partition_point(|block| block.ids().first().is_some_and(|&first| first <= id))
    }
}
