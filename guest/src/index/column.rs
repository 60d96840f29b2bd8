//! A column of equally wide rows, in blocks.
//!
//! A block is never moved, so that a large column grows without copying what it holds
//! and without room for twice as much.

use std::collections::TryReserveError;

/// Rows of a block.
const BLOCK_ROWS: usize = 1024;

/// Rows of `width` values each.
pub struct Column<T> {
    width: usize,
    blocks: Vec<Vec<T>>,
}

impl<T: Copy> Column<T> {
    /// No rows.
    pub fn new(width: usize) -> Self {
        Column {
            width,
            blocks: Vec::new(),
        }
    }

    /// Makes room for one more row.
    pub fn reserve_one(&mut self) -> Result<(), TryReserveError> {
        let full = BLOCK_ROWS * self.width;
        match self.blocks.last_mut() {
            Some(block) if block.len() < full => {
                if block.capacity() - block.len() >= self.width {
                    return Ok(());
                }
                // Only the first block of a small column is ever grown.
                let more = block.len().max(self.width).min(full - block.len());
                block.try_reserve_exact(more)
            }
            last => {
                let rows = if last.is_none() { 4 } else { BLOCK_ROWS };
                let mut block = Vec::new();
                block.try_reserve_exact(rows * self.width)?;
                self.blocks.try_reserve(1)?;
                self.blocks.push(block);
                Ok(())
            }
        }
    }

    /// Appends a row, for which there must be room.
    pub fn push(&mut self, row: impl IntoIterator<Item = T>) {
        if let Some(block) = self.blocks.last_mut() {
            block.extend(row);
        }
    }

    /// A row.
    pub fn row(&self, row: usize) -> &[T] {
        let start = row % BLOCK_ROWS * self.width;
        &self.blocks[row / BLOCK_ROWS][start..start + self.width]
    }

    /// All rows in order.
    pub fn rows(&self) -> impl Iterator<Item = &[T]> {
        self.blocks
            .iter()
            .flat_map(|block| block.chunks_exact(self.width))
    }

    /// Removes a row; the last one takes its place.
    pub fn swap_remove(&mut self, row: usize) {
        let Some(mut last) = self.blocks.pop() else {
            return;
        };
        let end = last.len() - self.width;
        let number = self.blocks.len() * BLOCK_ROWS + end / self.width;
        if row != number {
            let start = row % BLOCK_ROWS * self.width;
            if row / BLOCK_ROWS == self.blocks.len() {
                last.copy_within(end.., start);
            } else {
                self.blocks[row / BLOCK_ROWS][start..start + self.width]
                    .copy_from_slice(&last[end..]);
            }
        }
        last.truncate(end);
        if !last.is_empty() {
            self.blocks.push(last);
        }
    }

    /// Gives back unused memory.
    pub fn shrink(&mut self) {
        if let Some(last) = self.blocks.last_mut() {
            last.shrink_to_fit();
        }
        self.blocks.shrink_to_fit();
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.blocks
            .iter()
            .map(|block| block.capacity() * size_of::<T>())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_a_vector_of_rows_across_blocks() {
        let mut column = Column::new(2);
        let mut model: Vec<[u32; 2]> = Vec::new();
        let mut random = 1_u32;
        for i in 0..6 * BLOCK_ROWS as u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if model.is_empty() || random >> 30 != 0 {
                column.reserve_one().unwrap();
                column.push([i, i + 1]);
                model.push([i, i + 1]);
            } else {
                let row = (random >> 8) as usize % model.len();
                column.swap_remove(row);
                model.swap_remove(row);
            }
        }
        assert!(model.len() > 2 * BLOCK_ROWS);
        assert!(column.rows().eq(model.iter()));
        assert_eq!(column.row(model.len() - 1), model[model.len() - 1]);
        column.shrink();
        while !model.is_empty() {
            column.swap_remove(0);
            model.swap_remove(0);
            if model.len().is_multiple_of(97) {
                assert!(column.rows().eq(model.iter()));
            }
        }
        assert_eq!(column.bytes(), 0);
    }
}
