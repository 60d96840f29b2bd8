//! A query in every form that blocks are scanned with, and what scanning took.

use super::basis::Basis;
use super::codes::QueryCodes;
use super::projections::ProjectedQuery;
use std::rc::Rc;

/// A query. What a form costs is paid when it is first asked for.
pub struct Query<'a> {
    /// A unit vector.
    pub vector: &'a [f32],
    /// One for each basis that rows are coded in: the present one, and the one before it while
    /// rows are encoded anew.
    projected: Vec<(Rc<Basis>, Rc<ProjectedQuery>)>,
    full: Option<QueryCodes>,
    /// Room for the rows of a block that their heads do not rule out, with their sums.
    pub passed: Vec<(u32, i32)>,
    /// Room for one vector.
    pub floats: Vec<f32>,
}

impl<'a> Query<'a> {
    /// Takes a unit vector.
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

/// How far rows got in a search.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Rows that were judged by codes.
    pub coded: usize,
    /// Those of them that their heads did not rule out.
    pub passed: usize,
    /// Rows, of all, that were compared in full.
    pub compared: usize,
    /// Rows without codes.
    pub uncoded: usize,
}
