//! Sealed segments: blocks of one namespace with a graph over their rows.
//!
//! A segment keeps the vectors that its graph was built with. It shares them with its blocks until
//! these change. A block that has changed is no longer sealed: it is scanned again, and rows that
//! the graph finds in it are ignored.

use super::block::{Block, block_rows};
use super::graph::{Graph, Searcher};
use super::scan::{Query, TopFound};
use super::vectors::Vectors;
use crate::error::Result;
use crate::types::GraphOptions;

/// About how many rows a segment has. Larger segments mean fewer searches and longer builds.
pub const SEGMENT_ROWS: usize = 16_384;
/// The seed of all graphs, so that all hosts build the same ones.
const SEED: u64 = 0x6d6e_656d;

/// A graph over the rows of some blocks, one block after another.
pub struct Segment {
    /// The number in [`Block::sealed`].
    pub number: u32,
    graph: Graph,
    parts: Vec<Part>,
}

/// A block as it was when it was sealed.
struct Part {
    first_id: u64,
    /// The graph's number of its first row.
    start: u32,
    rows: u32,
    vectors: Vectors,
}

impl Segment {
    /// Builds the graph of these blocks, whose vectors must be in memory. The caller marks the
    /// blocks as sealed.
    pub fn build(
        number: u32,
        dim: usize,
        blocks: &[&Block],
        options: &GraphOptions,
    ) -> Result<Self> {
        let parts = Part::of(blocks);
        let rows = parts.iter().map(|part| part.rows).sum::<u32>();
        let between = |a: u32, b: u32| {
            let ((a, i), (b, j)) = (find(&parts, a), find(&parts, b));
            1.0 - Vectors::product(dim, (&a.vectors, i), (&b.vectors, j))
        };
        let graph = Graph::build(rows as usize, &between, options, SEED)?;
        Ok(Segment {
            number,
            graph,
            parts,
        })
    }

    /// The segment of these blocks with a stored graph.
    ///
    /// Errors: those of [`Graph::read`].
    pub fn read(
        number: u32,
        blocks: &[&Block],
        bytes: &[u8],
        options: &GraphOptions,
    ) -> Result<Self> {
        let parts = Part::of(blocks);
        let rows = parts.iter().map(|part| part.rows).sum::<u32>();
        Ok(Segment {
            number,
            graph: Graph::read(bytes, rows as usize, options)?,
            parts,
        })
    }

    /// The first ids of its blocks, ascending.
    pub fn first_ids(&self) -> impl ExactSizeIterator<Item = u64> {
        self.parts.iter().map(|part| part.first_id)
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Offers to `top` the rows that the graph finds, if they have not changed. `blocks` finds a
    /// block by the id of its first row.
    pub fn search<'a>(
        &self,
        blocks: impl Fn(u64) -> Option<&'a Block>,
        query: &mut Query,
        searcher: &mut Searcher,
        top: &mut TopFound,
    ) {
        let vector = query.vector;
        let int8 = matches!(
            self.parts.first(),
            Some(Part {
                vectors: Vectors::Int8 { .. },
                ..
            })
        );
        let full = int8.then(|| query.full());
        let from_query = |row: u32| {
            let (part, row) = find(&self.parts, row);
            1.0 - part.vectors.estimate(row, vector, full)
        };
        let ef_search = self.graph.ef_search();
        for near in self.graph.search(&from_query, ef_search, searcher) {
            let (part, row) = find(&self.parts, near.row);
            if let Some(block) = blocks(part.first_id)
                && block.sealed == Some(self.number)
                && !block.is_dead(row)
            {
                block.compare(row, 1.0, query, top);
            }
        }
    }

    /// Bytes allocated, without vectors that are shared with blocks.
    pub fn bytes(&self) -> usize {
        let own = self.parts.iter().map(|part| part.vectors.unshared_bytes());
        self.graph.bytes() + own.sum::<usize>() + self.parts.capacity() * size_of::<Part>()
    }
}

impl Part {
    fn of(blocks: &[&Block]) -> Vec<Part> {
        let mut start = 0;
        let parts = blocks.iter().map(|block| {
            let rows = block.rows() as u32;
            start += rows;
            Part {
                first_id: block.ids()[0],
                start: start - rows,
                rows,
                vectors: block.vectors().clone(),
            }
        });
        parts.collect()
    }
}

/// How many blocks a segment has.
pub fn segment_blocks(dim: usize) -> usize {
    SEGMENT_ROWS.div_ceil(block_rows(dim))
}

/// The part with a row of the graph, and the row's place in it.
fn find(parts: &[Part], row: u32) -> (&Part, usize) {
    let part = &parts[parts.partition_point(|part| part.start <= row) - 1];
    (part, (row - part.start) as usize)
}
