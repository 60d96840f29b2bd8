//! Graphs: approximate search among unchanged rows.
//!
//! A graph is a hierarchical navigable small world (Malkov and Yashunin, "Efficient and robust
//! approximate nearest neighbor search using Hierarchical Navigable Small World graphs", 2018),
//! built and searched by the crate `instant-distance`. It holds links between row numbers, but no
//! vectors: the caller supplies the distances between rows, and from rows to the query. A search
//! finds near rows with high probability, never with certainty.
//!
//! # Cost
//!
//! Building a graph of `n` rows takes about `n log n` times `ef-construction` distances, in one
//! call that cannot be interrupted, on one thread in a component. A search takes about `log n`
//! times `ef-search`. A row takes 312 bytes if the number of rows is a power of two or at most
//! 4096 (serde grows vectors by doubling), up to twice as many otherwise, and 1200 while
//! building.
//!
//! Measured in wasm with wasmtime on two busy cores, in CPU time; 384 dimensions, vectors of a
//! sentence encoder; `ef-construction` 100; means of queries that are near a row, less near,
//! and far from all, or of random queries among random rows:
//!
//! | rows | heuristic | build | `ef-search` | distances | search | recall@1 | recall@10 |
//! |---|---|---|---|---|---|---|---|
//! | 1,024 | yes | 1.2 s | 100 | 1,040 | 0.24 ms | 1.000 | 1.000 |
//! | 10,000 | no | 3.4 s | 100 | 3,400 | 0.45 ms | 1.000 | 0.991 |
//! | 10,000 | yes | 26 s | 100 | 2,900 | 0.6 ms | 1.000 | 0.998 |
//! | 16,384 | no | 10 s | 100 | 3,700 | 0.84 ms | 0.993 | 0.990 |
//! | 16,384 | yes | 35 s | 50 | 1,900 | 0.31 ms | 0.997 | 0.995 |
//! | 16,384 | yes | 35 s | 100 | 3,100 | 0.52 ms | 0.997 | 0.998 |
//! | 50,000 | no | 84 s | 100 | 4,100 | 1.5 ms | 0.990 | 0.975 |
//! | 50,000 | yes | 150 s | 50 | 1,950 | 0.94 ms | 0.991 | 0.985 |
//! | 50,000 | yes | 150 s | 100 | 3,350 | 1.7 ms | 0.997 | 0.993 |
//! | 50,000 | yes | 150 s | 200 | 5,800 | 2.9 ms | 0.999 | 0.995 |
//! | 10,000, random | yes | 59 s | 100 | 4,800 | 0.8 ms | 0.855 | 0.838 |
//! | 10,000, random | yes | 59 s | 200 | 7,200 | 1.5 ms | 0.970 | 0.970 |
//!
//! # When it pays
//!
//! A distance in a search costs several times one in a scan, which reads memory in order.
//! Comparing all rows in float32 took 35 to 77 ns a row at the same time: 0.37 ms for 10,000
//! rows and 2.4 ms for 50,000. So
//!
//! - a graph never beats certified bounds that rule out most rows, at about 2 ns a row: 50,000
//!   rows take 0.1 ms, exactly;
//! - at low thresholds the bounds rule out few rows. There a graph is not faster than comparing
//!   all rows up to about 15,000 of them. It is faster for more rows in clusters: 2.5 times at
//!   50,000 rows with `ef-search` 50, 1.4 times with 100, after more than a minute of building;
//! - random directions are as bad for a graph as for the bounds: a search looks at most rows, and
//!   misses the nearest one too often.
//!
//! So no number of rows makes a graph faster for a cache's look-ups, and `auto` is exact. Graphs
//! are for large namespaces of clustered vectors at low thresholds, if a missed neighbour is
//! harmless.
//!
//! # Limits
//!
//! A row has 64 links in the lowest layer and 32 in each other, or fewer with an `ef-construction`
//! below 65. Identical rows crowd out other links, above all with the heuristic. Among 3,000 rows,
//! ten times each, a search found the nearest row of 92 % of queries with the heuristic, and of
//! 99.5 % without it.

mod entropy;
mod persisted;
#[cfg(test)]
mod tests;

use super::room::check_room;
use crate::error::Result;
use crate::types::{Error, GraphOptions};
use instant_distance::{Builder, Heuristic, Hnsw, Point, Search};
use serde::{Deserialize, Serialize, Serializer};

/// The most rows of a graph.
pub const MAX_ROWS: usize = 1 << 20;
/// Links of a row in the lowest layer. A row has half as many in each other layer.
const LINKS: usize = 64;
/// The most bytes that [`Graph::build`] and [`Graph::read`] take for each row while they run.
const BUILD_BYTES: usize = 1200;
const READ_BYTES: usize = 900;

/// The distance between two rows, such as 1 - cosine. It must be symmetrical. NaN is farthest.
pub type Between<'a> = dyn Fn(u32, u32) -> f32 + Sync + 'a;

/// The distance from the query to a row, in the measure of [`Between`].
pub type FromQuery<'a> = dyn Fn(u32) -> f32 + Sync + 'a;

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Its number, less than [`Graph::rows`].
    pub row: u32,
    /// Its distance by [`FromQuery`].
    pub distance: f32,
}

/// Memory that searches of all graphs share: a byte for each row of the largest.
#[derive(Default)]
pub struct Searcher(Search);

/// A graph of the rows `0..rows`.
pub struct Graph {
    rows: usize,
    ef_search: usize,
    bytes: usize,
    hnsw: Hnsw<Node<'static>>,
}

impl Graph {
    /// Builds a graph. The same arguments give the same graph in every component. Natively,
    /// several threads take part, and every graph is different.
    ///
    /// Errors: `invalid-argument` for more than [`MAX_ROWS`], `index-unavailable` for want of
    /// memory.
    pub fn build(
        rows: usize,
        between: &Between<'_>,
        options: &GraphOptions,
        seed: u64,
    ) -> Result<Self> {
        if rows > MAX_ROWS {
            return Err(Error::InvalidArgument(format!(
                "a graph of {rows} rows; the most is {MAX_ROWS}"
            )));
        }
        check_room_for(rows, BUILD_BYTES)?;
        let nodes = (0..rows as u32)
            .map(|row| BuildNode { row, between })
            .collect();
        // A search that keeps no candidate finds nothing.
        let (hnsw, _) = Builder::default()
            .seed(seed)
            .ef_search(options.ef_search.max(1) as usize)
            .ef_construction(options.ef_construction.max(1) as usize)
            .select_heuristic(options.heuristic.then(Heuristic::default))
            .build_hnsw(nodes);
        // Built graphs and stored graphs are made in the same way.
        let mut bytes = Vec::new();
        persisted::write(&hnsw, rows, &mut bytes)?;
        drop(hnsw);
        Self::of_bytes(&bytes, rows, options)
    }

    /// How many rows it was built from.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The most rows that a search finds.
    pub fn ef_search(&self) -> usize {
        self.ef_search
    }

    /// The nearest rows, nearest first: at most `limit`, and at most
    /// [`ef_search`](Self::ef_search). A caller who needs more rows must compare all.
    pub fn search(
        &self,
        from_query: &FromQuery<'_>,
        limit: usize,
        searcher: &mut Searcher,
    ) -> Vec<Near> {
        // Nodes of a graph never use the lifetime of the query.
        let hnsw: &Hnsw<Node<'_>> = &self.hnsw;
        hnsw.search(&Node::Query(from_query), &mut searcher.0)
            .take(limit)
            .filter_map(|item| match *item.point {
                Node::Row(row) => Some(Near {
                    row,
                    distance: item.distance,
                }),
                Node::Query(_) => None,
            })
            .collect()
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the graph in the format of the store: usually 130 to 220 bytes a row.
    ///
    /// Errors: `index-unavailable` for want of memory.
    pub fn write(&self, bytes: &mut Vec<u8>) -> Result<()> {
        check_room_for(self.rows, persisted::WRITE_BYTES)?;
        persisted::write(&self.hnsw, self.rows, bytes)
    }

    /// Reads a graph of `rows` rows from exactly the bytes that [`write`](Self::write) appended.
    /// Uses only the options for searching.
    ///
    /// Errors: `corrupt` for any bytes that could not be searched safely, `index-unavailable`
    /// for want of memory.
    pub fn read(bytes: &[u8], rows: usize, options: &GraphOptions) -> Result<Self> {
        check_room_for(rows.min(MAX_ROWS), READ_BYTES)?;
        Self::of_bytes(bytes, rows, options)
    }

    fn of_bytes(bytes: &[u8], rows: usize, options: &GraphOptions) -> Result<Self> {
        let ef_search = options.ef_search.max(1) as usize;
        let (hnsw, bytes) = persisted::read(bytes, rows, ef_search)?;
        Ok(Graph {
            rows,
            ef_search,
            bytes,
            hnsw,
        })
    }
}

/// Refuses rows that memory is too short for.
fn check_room_for(rows: usize, bytes: usize) -> Result<()> {
    check_room(rows.saturating_mul(bytes)).map_err(|_| no_memory(rows))
}

/// The error of a graph that memory is too short for.
pub fn no_memory(rows: usize) -> Error {
    Error::IndexUnavailable(format!(
        "no memory for a graph of {rows} rows; raise the memory limit or set the option index to exact"
    ))
}

/// A row while the graph is built.
#[derive(Clone)]
struct BuildNode<'a> {
    row: u32,
    between: &'a Between<'a>,
}

impl Point for BuildNode<'_> {
    fn distance(&self, other: &Self) -> f32 {
        (self.between)(self.row, other.row)
    }
}

impl Serialize for BuildNode<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.row)
    }
}

/// A row of a graph, or the query. A search compares only a query with rows.
#[derive(Clone)]
enum Node<'a> {
    Row(u32),
    Query(&'a FromQuery<'a>),
}

impl Point for Node<'_> {
    fn distance(&self, other: &Self) -> f32 {
        match (self, other) {
            (Node::Query(from_query), Node::Row(row)) => from_query(*row),
            _ => f32::INFINITY,
        }
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_u32(match self {
            Node::Row(row) => *row,
            Node::Query(_) => u32::MAX,
        })
    }
}

impl<'de> Deserialize<'de> for Node<'_> {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Node::Row)
    }
}
