//! Some rows of one namespace, column by column.

use super::basis::Basis;
use super::coded::Coded;
use super::codes::padded;
use super::projections::Encoder;
use super::room::check_room;
use super::rounding::up_signed;
use super::scales::REST_BYTE;
use super::scan::{Found, Query, Tally, TopFound};
use super::vectors::{Vectors, allocated, reserve, select};
use crate::types::VectorDtype;
use mneme_kernels::{head_byte, scan_heads};
use std::collections::TryReserveError;
use std::rc::Rc;
use std::sync::Arc;

/// About how many bytes of float32 vectors a full block has.
const BLOCK_BYTES: usize = 2 << 20;

/// Rows of a full block: few enough to copy or encode them within one call.
pub fn block_rows(dim: usize) -> usize {
    let rows = (BLOCK_BYTES / (4 * dim.max(1))).clamp(64, 4096);
    // Rounded down to a power of two, so that growing blocks fill their memory.
    1 << rows.ilog2()
}

/// Rows by ascending id. A removed row is marked as dead, and keeps its place until the block is
/// rebuilt.
#[derive(Clone, Debug)]
pub struct Block {
    dim: usize,
    ids: Vec<u64>,
    stamps: Vec<u32>,
    dead: Vec<bool>,
    dead_rows: usize,
    vectors: Vectors,
    coded: Option<Box<Coded>>,
    /// The segment whose graph has these rows, as long as no row has changed.
    pub sealed: Option<u32>,
}

/// The part of `created-at` that is kept. It repeats after 136 years.
pub fn stamp(created_at: u64) -> u32 {
    created_at as u32
}

impl Block {
    /// A block without rows, which will be coded in this basis, if there is one.
    pub fn new(dim: usize, dtype: VectorDtype, basis: Option<&Rc<Basis>>) -> Self {
        let vectors = Vectors::new(dtype);
        Block {
            dim,
            ids: Vec::new(),
            stamps: Vec::new(),
            dead: Vec::new(),
            dead_rows: 0,
            coded: basis.map(|basis| Box::new(Coded::new(basis, &vectors))),
            vectors,
            sealed: None,
        }
    }

    /// A block of these float32 vectors.
    pub fn of_float32(dim: usize, ids: Vec<u64>, stamps: Vec<u32>, vectors: Vec<f32>) -> Self {
        Block {
            dim,
            dead: vec![false; ids.len()],
            ids,
            stamps,
            dead_rows: 0,
            vectors: Vectors::Float32(Arc::new(vectors)),
            coded: None,
            sealed: None,
        }
    }

    /// A block with these vectors, which may be absent, and codes, if there are any.
    pub fn of_codes(
        dim: usize,
        ids: Vec<u64>,
        stamps: Vec<u32>,
        vectors: Vectors,
        coded: Option<Coded>,
    ) -> Self {
        Block {
            vectors,
            coded: coded.map(Box::new),
            ..Self::of_float32(dim, ids, stamps, Vec::new())
        }
    }

    /// How many rows there are, dead ones included.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// How many rows are not dead.
    pub fn live(&self) -> usize {
        self.ids.len() - self.dead_rows
    }

    /// How many rows are dead.
    pub fn dead(&self) -> usize {
        self.dead_rows
    }

    /// All ids, ascending.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// All stamps, by row.
    pub fn stamps(&self) -> &[u32] {
        &self.stamps
    }

    /// Whether a row is dead.
    pub fn is_dead(&self, row: usize) -> bool {
        self.dead[row]
    }

    /// The vectors.
    pub fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// The codes, if there are any.
    pub fn coded(&self) -> Option<&Coded> {
        self.coded.as_deref()
    }

    /// Whether the rows have codes of this basis.
    pub fn is_coded_in(&self, basis: &Rc<Basis>) -> bool {
        self.coded
            .as_ref()
            .is_some_and(|coded| Rc::ptr_eq(&coded.basis, basis))
    }

    /// Whether the vectors are in memory.
    pub fn is_resident(&self) -> bool {
        self.vectors.is_resident()
    }

    /// Whether the block takes another row.
    pub fn has_room(&self) -> bool {
        self.is_resident() && self.rows() < block_rows(self.dim)
    }

    /// Whether a copy would be smaller, and worth it: that of a sealed block is in no graph.
    pub fn has_spare_memory(&self) -> bool {
        self.dead_rows > 0 || self.sealed.is_none() && self.ids.capacity() > self.ids.len()
    }

    /// Adds a row for a unit vector, whose id must be new. Changes nothing if memory is short.
    pub fn insert(
        &mut self,
        id: u64,
        created_at: u64,
        vector: &[f32],
    ) -> Result<(), TryReserveError> {
        debug_assert!(self.has_room());
        let place = self.ids.partition_point(|&other| other < id);
        if place < self.rows() {
            self.check_room_for_copy()?;
            // A copy of the next row stands in its place until it is replaced.
            let rows: Vec<usize> = (0..=place).chain(place..self.rows()).collect();
            let mut block = self.select(&rows);
            block.ids[place] = id;
            block.replace(place, created_at, vector)?;
            *self = block;
            return Ok(());
        }
        if self.sealed.is_some() {
            self.check_room_for_copy()?;
        }
        self.reserve_one()?;
        let row = self.ids.len();
        self.ids.push(id);
        self.stamps.push(stamp(created_at));
        self.dead.push(false);
        self.vectors.push(row, vector);
        if let Some(coded) = &mut self.coded {
            let basis = Rc::clone(&coded.basis);
            coded.push(row);
            coded.set(row, vector, 0.0, &mut Encoder::new(&basis));
        }
        self.sealed = None;
        Ok(())
    }

    /// Replaces the vector of a row, and revives a dead one.
    pub fn replace(
        &mut self,
        row: usize,
        created_at: u64,
        vector: &[f32],
    ) -> Result<(), TryReserveError> {
        if self.sealed.is_some() {
            self.check_room_for_copy()?;
        }
        self.stamps[row] = stamp(created_at);
        if std::mem::take(&mut self.dead[row]) {
            self.dead_rows -= 1;
        }
        self.vectors.replace(row, vector);
        if let Some(coded) = &mut self.coded {
            let basis = Rc::clone(&coded.basis);
            coded.set(row, vector, 0.0, &mut Encoder::new(&basis));
        }
        self.sealed = None;
        Ok(())
    }

    /// Marks a row as dead. False if it was dead.
    pub fn remove(&mut self, row: usize) -> bool {
        let was = std::mem::replace(&mut self.dead[row], true);
        self.dead_rows += usize::from(!was);
        !was
    }

    /// A block of some of these rows, ascending, without spare memory.
    pub fn select(&self, rows: &[usize]) -> Block {
        let dead = select(&self.dead, 1, rows);
        Block {
            dim: self.dim,
            ids: select(&self.ids, 1, rows),
            stamps: select(&self.stamps, 1, rows),
            dead_rows: dead.iter().filter(|dead| **dead).count(),
            dead,
            vectors: self.vectors.select(self.dim, rows),
            coded: self
                .coded
                .as_ref()
                .map(|coded| Box::new(coded.select(rows))),
            sealed: None,
        }
    }

    /// Rows that are not dead, ascending.
    pub fn live_rows(&self) -> impl Iterator<Item = usize> {
        let rows = self.dead.iter().enumerate();
        rows.filter_map(|(row, dead)| (!dead).then_some(row))
    }

    /// Copies a vector as exactly as it is known, and returns an upper bound of its error. None if
    /// it is not in memory.
    pub fn vector(&self, row: usize, out: &mut Vec<f32>) -> Option<f64> {
        self.vectors.copy(self.dim, row, out)
    }

    /// Encodes all rows in a basis. False if the vectors are not in memory, or memory is short:
    /// then the rows keep their codes.
    pub fn encode(&mut self, basis: &Rc<Basis>) -> bool {
        if !self.is_resident() {
            return false;
        }
        let mut coded = Coded::new(basis, &self.vectors);
        let rows = self.rows();
        // As much room as the vectors have.
        let room = rows.max(self.ids.capacity().min(block_rows(self.dim)));
        if coded.reserve(room).is_err() {
            return false;
        }
        let (mut vector, mut encoder) = (Vec::new(), Encoder::new(basis));
        for row in 0..rows {
            coded.push(row);
            if let Some(off) = self.vector(row, &mut vector) {
                coded.set(row, &vector, off, &mut encoder);
            }
        }
        self.coded = Some(Box::new(coded));
        true
    }

    /// Gives back the memory of the vectors, if the rows have codes in this basis or can get them and no
    /// graph needs them. Returns how many bytes that was.
    pub fn release(&mut self, basis: &Rc<Basis>) -> usize {
        let before = self.bytes();
        let may_go = self.sealed.is_none() && self.is_resident();
        if !may_go || !(self.is_coded_in(basis) || self.encode(basis)) {
            return 0;
        }
        self.vectors = Vectors::Absent;
        // What stays moves out of the way: see `room`.
        *self = self.clone();
        before.saturating_sub(self.bytes())
    }

    /// Takes the vector of a row that was only in the store.
    pub fn arrive(&mut self, row: usize, vector: &[f32]) -> Result<(), TryReserveError> {
        self.vectors.arrive(row, self.ids.len(), vector)
    }

    /// Records that no more vectors will arrive: those that are not in memory stay in the store.
    pub fn stop_arriving(&mut self) {
        if !self.is_resident() {
            self.vectors = Vectors::Absent;
        }
    }

    /// Records that all vectors have arrived. The store does not have the others any more.
    pub fn arrived(&mut self, dtype: VectorDtype) -> Result<(), TryReserveError> {
        self.vectors.arrived(self.dim, dtype)
    }

    /// Offers to `top` every live row whose cosine with the query may reach `top`'s cut.
    pub fn scan(&self, query: &mut Query, top: &mut TopFound, tally: &mut Tally) {
        let Some(coded) = &self.coded else {
            for row in self.live_rows() {
                self.compare(row, 1.0, query, top);
            }
            tally.compared += self.rows();
            tally.uncoded += self.rows();
            return;
        };
        let projected = query.projected(&coded.basis);
        let mut passed = std::mem::take(&mut query.passed);
        passed.clear();
        let above = projected.head_above(top.cut(), coded.errors.head);
        scan_heads(&coded.heads, projected.head(), above, &mut passed);
        // The last quad may be padded.
        let padding = passed.iter().rev();
        let padding = padding.take_while(|(row, _)| *row as usize >= self.rows());
        passed.truncate(passed.len() - padding.count());
        match &self.vectors {
            Vectors::Int8 { codes, .. } => fetch(codes, padded(self.dim), &passed),
            _ => fetch(&coded.details, coded.detail_bytes, &passed),
        }
        tally.coded += self.rows();
        tally.passed += passed.len() + coded.outliers.len();
        let bounds = projected.bounds(coded.errors);
        let mut cut = f64::from(top.cut());
        for &(row, sum) in &passed {
            let row = row as usize;
            let mut bound = bounds.of_head(sum);
            let detail = coded.detail(row);
            if !detail.is_empty() {
                let rest = coded.heads[head_byte(row, REST_BYTE)];
                bound = bound.min(bounds.of_detail(sum, rest, detail));
            }
            if bound >= cut && !self.dead[row] && !coded.is_outlier(row) {
                tally.compared += 1;
                self.compare(row, up_signed(bound), query, top);
                cut = f64::from(top.cut());
            }
        }
        query.passed = passed;
        for &row in &coded.outliers {
            if !self.dead[row as usize] {
                tally.compared += 1;
                self.compare(row as usize, 1.0, query, top);
            }
        }
    }

    /// What a scan costs, in multiplications. Codes rule out most rows.
    pub fn scan_cost(&self) -> u64 {
        let values = self.rows() * self.dim;
        match self.coded {
            Some(_) => values as u64 / 16,
            None => values as u64,
        }
    }

    /// Offers a row with its cosine, or with the best known bound of it. `bound` is one.
    pub fn compare(&self, row: usize, bound: f32, query: &mut Query, top: &mut TopFound) {
        let bound = self.vectors.bound(row, bound, query);
        if bound >= top.cut() {
            top.offer(Found {
                id: self.ids[row],
                bound,
            });
        }
    }

    /// Fails if there is no memory for a copy of the block.
    pub fn check_room_for_copy(&self) -> Result<(), TryReserveError> {
        check_room(self.bytes())
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        allocated(&self.ids)
            + allocated(&self.stamps)
            + allocated(&self.dead)
            + self.vectors.bytes()
            + self
                .coded
                .as_ref()
                .map_or(0, |coded| size_of::<Coded>() + coded.bytes())
            + size_of::<Block>()
    }

    /// Makes room for one more row.
    fn reserve_one(&mut self) -> Result<(), TryReserveError> {
        if self.ids.len() < self.ids.capacity() {
            return Ok(());
        }
        // A context may have one row, and there may be very many contexts.
        let rows = (self.rows() * 2).clamp(1, block_rows(self.dim));
        self.vectors.reserve(self.dim, rows)?;
        if let Some(coded) = &mut self.coded {
            coded.reserve(rows)?;
        }
        reserve(&mut self.stamps, rows)?;
        reserve(&mut self.dead, rows)?;
        reserve(&mut self.ids, rows)
    }
}

/// Fetches some rows of `width` bytes from memory at the same time. Reading one row after another
/// would wait for each.
fn fetch(bytes: &[i8], width: usize, rows: &[(u32, i32)]) {
    const LINE: usize = 64;
    let mut sum = 0_i8;
    for &(row, _) in rows {
        let row = &bytes[row as usize * width..][..width];
        for line in row.chunks(LINE) {
            // It may span two lines of the processor's cache.
            if let [first, .., last] = line {
                sum = sum.wrapping_add(first ^ last);
            }
        }
    }
    std::hint::black_box(sum);
}
