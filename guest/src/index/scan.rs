//! A query in every form that a scan needs, and how many rows a search looked at.

use super::basis::Basis;
use super::codes::QueryCodes;
use super::projections::ProjectedQuery;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::Rc;

/// A query. Each form is computed when it is first needed.
pub struct Query<'a> {
    /// A unit vector.
    pub vector: &'a [f32],
    /// One for each basis that rows are coded in: the present basis, and while rows are encoded
    /// again, the one before.
    projected: Vec<(Rc<Basis>, Rc<ProjectedQuery>)>,
    full: Option<QueryCodes>,
    /// Room for the rows of a block whose heads do not rule them out, with their sums.
    pub passed: Vec<(u32, i32)>,
    /// Room for one vector.
    pub floats: Vec<f32>,
}

impl<'a> Query<'a> {
    /// The query of a unit vector.
    pub fn new(vector: &'a [f32]) -> Self {
        Query {
            vector,
            projected: Vec::new(),
            full: None,
            passed: Vec::new(),
            floats: Vec::new(),
        }
    }

    /// The query in a basis.
    pub fn projected(&mut self, basis: &Rc<Basis>) -> Rc<ProjectedQuery> {
        let known = self.projected.iter().find(|(of, _)| Rc::ptr_eq(of, basis));
        if let Some((_, projected)) = known {
            return Rc::clone(projected);
        }
        let projected = Rc::new(ProjectedQuery::new(basis, self.vector));
        self.projected
            .push((Rc::clone(basis), Rc::clone(&projected)));
        projected
    }

    /// The query for codes of whole vectors.
    pub fn full(&mut self) -> &QueryCodes {
        self.full.get_or_insert_with(|| QueryCodes::of(self.vector))
    }
}

/// How many rows reached each step of a search.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Rows that were judged by codes.
    pub coded: usize,
    /// Coded rows that their heads did not rule out.
    pub passed: usize,
    /// Rows that were compared in full, with and without codes.
    pub compared: usize,
    /// Rows without codes.
    pub uncoded: usize,
}

/// A row that may be similar enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The entry's id.
    pub id: u64,
    /// The cosine of the entry with the query is not greater.
    pub bound: f32,
}

impl Eq for Found {}

impl Ord for Found {
    /// The better one is greater: higher bound, then lower id.
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound
            .total_cmp(&other.bound)
            .then(other.id.cmp(&self.id))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best rows found so far.
pub struct TopFound {
    /// The most rows to keep.
    pub limit: usize,
    /// The least bound of a row to keep.
    pub threshold: f32,
    best: BinaryHeap<Reverse<Found>>,
}

impl TopFound {
    /// No rows yet. Keeps at most `limit`, with bounds of at least `threshold`.
    pub fn new(threshold: f32, limit: usize) -> Self {
        TopFound {
            limit: limit.max(1),
            threshold,
            best: BinaryHeap::new(),
        }
    }

    /// Rows below it need not be offered.
    pub fn cut(&self) -> f32 {
        match self.best.peek() {
            Some(Reverse(worst)) if self.best.len() == self.limit => worst.bound,
            _ => self.threshold,
        }
    }

    /// Adds a row, and drops the worst one if there are too many.
    pub fn offer(&mut self, found: Found) {
        self.best.push(Reverse(found));
        if self.best.len() > self.limit {
            self.best.pop();
        }
    }

    /// The rows, best first.
    pub fn into_sorted(self) -> Vec<Found> {
        let best = self.best.into_sorted_vec();
        best.into_iter().map(|Reverse(found)| found).collect()
    }
}

/// A search for the rows of a namespace with the greatest bounds of at least a threshold, in parts.
pub struct Search {
    /// The best rows so far.
    pub top: TopFound,
    /// The last id of the rows that have been searched.
    pub after: Option<u64>,
    /// The index's number of replaced rows when it began.
    pub replaced: usize,
}

impl Search {
    /// It has not begun. Finds at most `limit` rows.
    pub fn new(threshold: f32, limit: usize) -> Self {
        Search {
            top: TopFound::new(threshold, limit),
            after: None,
            replaced: 0,
        }
    }

    /// The most rows that it finds.
    pub fn limit(&self) -> usize {
        self.top.limit
    }

    /// What it has found, best first. If that is as much as the limit, no other row has a greater
    /// bound than the last; otherwise no other row reaches the threshold.
    pub fn into_found(self) -> Vec<Found> {
        self.top.into_sorted()
    }
}
