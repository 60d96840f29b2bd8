//! Some rows of one namespace, column by column.

use super::basis::Basis;
use super::codes::{Codes, padded, sum_error};
use super::projections::{Encoder, Errors, REST_BYTE, detail_bytes, up_signed};
use super::scan::{Query, Tally};
use super::simd::{HEAD_BYTES, QUAD, head_byte, scan_heads};
use super::{Found, TopFound, check_room};
use crate::types::VectorDtype;
use crate::vector::cosine;
use half::f16;
use std::collections::TryReserveError;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of float32 vectors in a full block, about.
const BLOCK_BYTES: usize = 2 << 20;

/// Rows of a full block: not too many to be copied or encoded within one call.
pub fn block_rows(dim: usize) -> usize {
    let rows = (BLOCK_BYTES / (4 * dim.max(1))).clamp(64, 4096);
    // Rounded down to a power of two, so that growing blocks fill their memory.
    1 << rows.ilog2()
}

/// The vectors as far as they are kept. Shared with graphs, which are not changed by it.
#[derive(Clone, Debug)]
pub enum Vectors {
    /// In the store only.
    Absent,
    /// Being read from the store; those that are there are not used yet.
    Arriving(Vec<f32>),
    /// One after another.
    Float32(Arc<Vec<f32>>),
    /// Rounded to float16.
    Float16 {
        /// One after another.
        values: Arc<Vec<f16>>,
        /// Upper bounds of each row's rounding error.
        errors: Vec<f32>,
    },
    /// See [`codes`](super::codes).
    Int8 {
        /// One row after another, padded.
        codes: Arc<Vec<i8>>,
        /// Of each row.
        scales: Vec<f32>,
        /// Upper bounds of each row's rounding error.
        errors: Vec<f32>,
    },
}

impl Vectors {
    /// Bytes allocated.
    fn bytes(&self) -> usize {
        match self {
            Vectors::Absent => 0,
            Vectors::Arriving(values) => allocated(values),
            Vectors::Float32(values) => allocated(values),
            Vectors::Float16 { values, errors } => allocated(values) + allocated(errors),
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => allocated(codes) + allocated(scales) + allocated(errors),
        }
    }

    /// Bytes allocated for this alone: not for what is shared with another.
    pub fn unshared_bytes(&self) -> usize {
        let shared = match self {
            Vectors::Float32(values) if Arc::strong_count(values) > 1 => allocated(values),
            Vectors::Float16 { values, .. } if Arc::strong_count(values) > 1 => allocated(values),
            Vectors::Int8 { codes, .. } if Arc::strong_count(codes) > 1 => allocated(codes),
            _ => 0,
        };
        self.bytes() - shared
    }
}

fn allocated<T>(values: &Vec<T>) -> usize {
    values.capacity() * size_of::<T>()
}

/// Codes of all rows of a block in one basis.
#[derive(Clone, Debug)]
pub struct Coded {
    /// What the codes are along.
    pub basis: Rc<Basis>,
    /// Interleaved, and padded to whole quads.
    pub heads: Vec<u8>,
    /// `detail_bytes` a row.
    pub details: Vec<i8>,
    /// 0 where the head has all directions, and with int8 vectors.
    pub detail_bytes: usize,
    /// The greatest of all rows but the outliers.
    pub errors: Errors,
    /// Rows that the codes say nothing of, ascending.
    pub outliers: Vec<u16>,
}

/// Rows by ascending id. A row keeps its place until the block is rebuilt; one that is removed
/// is marked as dead.
#[derive(Clone, Debug)]
pub struct Block {
    dim: usize,
    ids: Vec<u64>,
    stamps: Vec<u32>,
    dead: Vec<bool>,
    dead_rows: usize,
    vectors: Vectors,
    coded: Option<Coded>,
    /// The graph whose points these rows are, while none of them has changed.
    pub sealed: Option<u32>,
}

/// The part of `created-at` that is kept: replacements do not lie 136 years apart.
pub fn stamp(created_at: u64) -> u32 {
    created_at as u32
}

impl Block {
    /// No rows, to be coded in a basis, if there is one.
    pub fn new(dim: usize, dtype: VectorDtype, basis: Option<&Rc<Basis>>) -> Self {
        let vectors = match dtype {
            VectorDtype::Float32 => Vectors::Float32(Arc::default()),
            VectorDtype::Float16 => Vectors::Float16 {
                values: Arc::default(),
                errors: Vec::new(),
            },
            VectorDtype::Int8 => Vectors::Int8 {
                codes: Arc::default(),
                scales: Vec::new(),
                errors: Vec::new(),
            },
        };
        Block {
            dim,
            ids: Vec::new(),
            stamps: Vec::new(),
            dead: Vec::new(),
            dead_rows: 0,
            coded: basis.map(|basis| Coded::new(basis, &vectors)),
            vectors,
            sealed: None,
        }
    }

    /// A block of float32 vectors that are there already.
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

    /// A block of codes whose vectors are absent or given.
    pub fn of_codes(
        dim: usize,
        ids: Vec<u64>,
        stamps: Vec<u32>,
        vectors: Vectors,
        coded: Coded,
    ) -> Self {
        Block {
            vectors,
            coded: Some(coded),
            ..Self::of_float32(dim, ids, stamps, Vec::new())
        }
    }

    /// Rows, dead ones included.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Rows that are not dead.
    pub fn live(&self) -> usize {
        self.ids.len() - self.dead_rows
    }

    /// Rows that are dead.
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
        self.coded.as_ref()
    }

    /// Whether the rows have codes of this basis.
    pub fn is_coded_in(&self, basis: &Rc<Basis>) -> bool {
        self.coded
            .as_ref()
            .is_some_and(|coded| Rc::ptr_eq(&coded.basis, basis))
    }

    /// Whether the vectors are in memory.
    pub fn is_resident(&self) -> bool {
        !matches!(self.vectors, Vectors::Absent | Vectors::Arriving(_))
    }

    /// Whether a row may be pushed.
    pub fn has_room(&self) -> bool {
        self.is_resident() && self.rows() < block_rows(self.dim)
    }

    /// Appends a row for a unit vector, whose id must be greater than all others. Changes
    /// nothing where memory is short.
    pub fn push(
        &mut self,
        id: u64,
        created_at: u64,
        vector: &[f32],
    ) -> Result<(), TryReserveError> {
        debug_assert!(self.has_room() && self.ids.last().is_none_or(|&last| last < id));
        if self.sealed.is_some() {
            self.check_room_for_copy()?;
        }
        self.reserve_one()?;
        let row = self.ids.len();
        self.ids.push(id);
        self.stamps.push(stamp(created_at));
        self.dead.push(false);
        match &mut self.vectors {
            Vectors::Absent | Vectors::Arriving(_) => {}
            Vectors::Float32(values) => Arc::make_mut(values).extend_from_slice(vector),
            Vectors::Float16 { values, errors } => {
                let values = Arc::make_mut(values);
                values.extend(vector.iter().map(|&x| f16::from_f32(x)));
                errors.push(f16_error(vector, &values[row * self.dim..]));
            }
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => {
                let one = Codes::of(vector);
                Arc::make_mut(codes).extend_from_slice(&one.codes);
                scales.push(one.scale);
                errors.push(one.error);
            }
        }
        if let Some(coded) = &mut self.coded {
            let basis = Rc::clone(&coded.basis);
            coded.push(row);
            coded.set(row, vector, 0.0, &mut Encoder::new(&basis));
        }
        self.sealed = None;
        Ok(())
    }

    /// Replaces the vector of a row, which is alive then.
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
        match &mut self.vectors {
            Vectors::Absent => {}
            Vectors::Arriving(values) => {
                values[row * self.dim..][..self.dim].copy_from_slice(vector);
            }
            Vectors::Float32(values) => {
                Arc::make_mut(values)[row * self.dim..][..self.dim].copy_from_slice(vector);
            }
            Vectors::Float16 { values, errors } => {
                let values = &mut Arc::make_mut(values)[row * self.dim..][..self.dim];
                for (value, &x) in values.iter_mut().zip(vector) {
                    *value = f16::from_f32(x);
                }
                errors[row] = f16_error(vector, values);
            }
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => {
                let one = Codes::of(vector);
                let width = padded(self.dim);
                Arc::make_mut(codes)[row * width..][..width].copy_from_slice(&one.codes);
                scales[row] = one.scale;
                errors[row] = one.error;
            }
        }
        if let Some(coded) = &mut self.coded {
            let basis = Rc::clone(&coded.basis);
            coded.set(row, vector, 0.0, &mut Encoder::new(&basis));
        }
        self.sealed = None;
        Ok(())
    }

    /// Marks a row as dead. False where it was.
    pub fn remove(&mut self, row: usize) -> bool {
        let was = std::mem::replace(&mut self.dead[row], true);
        self.dead_rows += usize::from(!was);
        !was
    }

    /// A block of some of these rows, ascending, with memory for no more.
    pub fn select(&self, rows: &[usize]) -> Block {
        fn columns<T: Clone>(from: &[T], width: usize, rows: &[usize]) -> Vec<T> {
            let mut to = Vec::with_capacity(rows.len() * width);
            for &row in rows {
                to.extend_from_slice(&from[row * width..][..width]);
            }
            to
        }
        let dim = self.dim;
        let dead = columns(&self.dead, 1, rows);
        Block {
            dim,
            ids: columns(&self.ids, 1, rows),
            stamps: columns(&self.stamps, 1, rows),
            dead_rows: dead.iter().filter(|dead| **dead).count(),
            dead,
            vectors: match &self.vectors {
                Vectors::Absent => Vectors::Absent,
                Vectors::Arriving(values) => Vectors::Arriving(columns(values, dim, rows)),
                Vectors::Float32(values) => Vectors::Float32(columns(values, dim, rows).into()),
                Vectors::Float16 { values, errors } => Vectors::Float16 {
                    values: columns(values, dim, rows).into(),
                    errors: columns(errors, 1, rows),
                },
                Vectors::Int8 {
                    codes,
                    scales,
                    errors,
                } => Vectors::Int8 {
                    codes: columns(codes, padded(dim), rows).into(),
                    scales: columns(scales, 1, rows),
                    errors: columns(errors, 1, rows),
                },
            },
            coded: self.coded.as_ref().map(|coded| coded.select(rows)),
            sealed: None,
        }
    }

    /// Rows that are not dead, ascending.
    pub fn live_rows(&self) -> impl Iterator<Item = usize> {
        let rows = self.dead.iter().enumerate();
        rows.filter_map(|(row, dead)| (!dead).then_some(row))
    }

    /// Copies a vector, as well as it is known, and returns an upper bound of how far it is
    /// off. None where it is not in memory.
    pub fn vector(&self, row: usize, out: &mut Vec<f32>) -> Option<f64> {
        out.clear();
        let dim = self.dim;
        match &self.vectors {
            Vectors::Absent | Vectors::Arriving(_) => None,
            Vectors::Float32(values) => {
                out.extend_from_slice(&values[row * dim..][..dim]);
                Some(0.0)
            }
            Vectors::Float16 { values, errors } => {
                out.extend(values[row * dim..][..dim].iter().map(|x| x.to_f32()));
                Some(f64::from(errors[row]))
            }
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => {
                let codes = &codes[row * padded(dim)..][..dim];
                out.extend(codes.iter().map(|&code| f32::from(code) * scales[row]));
                // The products are rounded, too.
                Some(f64::from(errors[row]) + 1e-6)
            }
        }
    }

    /// Encodes all rows in a basis. False where the vectors are not in memory, or memory is
    /// short; the rows keep the codes that they have then.
    pub fn encode(&mut self, basis: &Rc<Basis>) -> bool {
        if !self.is_resident() {
            return false;
        }
        let mut coded = Coded::new(basis, &self.vectors);
        let rows = self.rows();
        // Room for what the vectors have room for.
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
        self.coded = Some(coded);
        true
    }

    /// Takes in the vector of a row that is in the store only.
    pub fn arrive(&mut self, row: usize, vector: &[f32]) -> Result<(), TryReserveError> {
        if matches!(self.vectors, Vectors::Absent) {
            let mut values = Vec::new();
            values.try_reserve_exact(self.rows() * self.dim)?;
            values.resize(self.rows() * self.dim, 0.0);
            self.vectors = Vectors::Arriving(values);
        }
        if let Vectors::Arriving(values) = &mut self.vectors {
            values[row * self.dim..][..self.dim].copy_from_slice(vector);
        }
        Ok(())
    }

    /// All vectors have arrived. Those that have not are in the store no longer.
    pub fn arrived(&mut self, dtype: VectorDtype) {
        let values = match &mut self.vectors {
            Vectors::Arriving(values) => std::mem::take(values),
            _ => return,
        };
        self.vectors = match dtype {
            VectorDtype::Float16 => {
                let rounded: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
                let rows = values.chunks_exact(self.dim);
                Vectors::Float16 {
                    errors: rows
                        .zip(rounded.chunks_exact(self.dim))
                        .map(|(vector, rounded)| f16_error(vector, rounded))
                        .collect(),
                    values: rounded.into(),
                }
            }
            _ => Vectors::Float32(values.into()),
        };
    }

    /// Offers to `top` every row that is alive and whose cosine with the query may reach
    /// `top`'s cut.
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
            if bound >= cut
                && !self.dead[row]
                && coded.outliers.binary_search(&(row as u16)).is_err()
            {
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

    /// Offers a row, with its cosine or the best bound of it that memory has, `bound` being one.
    pub fn compare(&self, row: usize, bound: f32, query: &mut Query, top: &mut TopFound) {
        let dim = self.dim;
        let bound = match &self.vectors {
            Vectors::Absent | Vectors::Arriving(_) => bound.min(1.0),
            Vectors::Float32(values) => cosine(query.vector, &values[row * dim..][..dim]),
            Vectors::Float16 { values, errors } => {
                query.floats.clear();
                let values = &values[row * dim..][..dim];
                query.floats.extend(values.iter().map(|x| x.to_f32()));
                let cosine = cosine(query.vector, &query.floats);
                bound.min(cosine + errors[row] + 2.0 * sum_error(dim))
            }
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => {
                let codes = &codes[row * padded(dim)..][..padded(dim)];
                bound.min(query.full().upper_bound(codes, scales[row], errors[row]))
            }
        };
        if bound >= top.cut() {
            top.offer(Found {
                id: self.ids[row],
                bound,
            });
        }
    }

    /// Fails where there is no memory for a copy of the block.
    pub fn check_room_for_copy(&self) -> Result<(), TryReserveError> {
        check_room(self.bytes())
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        allocated(&self.ids)
            + allocated(&self.stamps)
            + allocated(&self.dead)
            + self.vectors.bytes()
            + self.coded.as_ref().map_or(0, |coded| {
                allocated(&coded.heads) + allocated(&coded.details) + allocated(&coded.outliers)
            })
            + size_of::<Block>()
    }

    /// Makes room for one more row.
    fn reserve_one(&mut self) -> Result<(), TryReserveError> {
        if self.ids.len() < self.ids.capacity() {
            return Ok(());
        }
        let rows = (self.rows() * 2).clamp(4, block_rows(self.dim));
        let dim = self.dim;
        fn reserve<T>(values: &mut Vec<T>, len: usize) -> Result<(), TryReserveError> {
            values.try_reserve_exact(len.saturating_sub(values.len()))
        }
        match &mut self.vectors {
            Vectors::Absent | Vectors::Arriving(_) => {}
            Vectors::Float32(values) => reserve(Arc::make_mut(values), rows * dim)?,
            Vectors::Float16 { values, errors } => {
                reserve(Arc::make_mut(values), rows * dim)?;
                reserve(errors, rows)?;
            }
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => {
                reserve(Arc::make_mut(codes), rows * padded(dim))?;
                reserve(scales, rows)?;
                reserve(errors, rows)?;
            }
        }
        if let Some(coded) = &mut self.coded {
            coded.reserve(rows)?;
        }
        reserve(&mut self.stamps, rows)?;
        reserve(&mut self.dead, rows)?;
        reserve(&mut self.ids, rows)
    }
}

impl Coded {
    /// No rows. Int8 vectors take the place of details.
    fn new(basis: &Rc<Basis>, vectors: &Vectors) -> Self {
        Coded {
            basis: Rc::clone(basis),
            heads: Vec::new(),
            details: Vec::new(),
            detail_bytes: match vectors {
                Vectors::Int8 { .. } => 0,
                _ => detail_bytes(basis.size()),
            },
            errors: Errors {
                head: 0.0,
                detail: 0.0,
            },
            outliers: Vec::new(),
        }
    }

    fn reserve(&mut self, rows: usize) -> Result<(), TryReserveError> {
        let heads = rows.next_multiple_of(QUAD) * HEAD_BYTES;
        let details = rows * self.detail_bytes;
        self.heads
            .try_reserve_exact(heads.saturating_sub(self.heads.len()))?;
        self.details
            .try_reserve_exact(details.saturating_sub(self.details.len()))
    }

    /// Makes a place for a row, the one after the last.
    fn push(&mut self, row: usize) {
        if row.is_multiple_of(QUAD) {
            self.heads.resize(self.heads.len() + QUAD * HEAD_BYTES, 0);
        }
        self.details.resize((row + 1) * self.detail_bytes, 0);
    }

    fn head(&self, row: usize) -> [u8; HEAD_BYTES] {
        std::array::from_fn(|b| self.heads[head_byte(row, b)])
    }

    fn set_head(&mut self, row: usize, head: &[u8; HEAD_BYTES]) {
        for (b, &byte) in head.iter().enumerate() {
            self.heads[head_byte(row, b)] = byte;
        }
    }

    fn detail(&self, row: usize) -> &[i8] {
        &self.details[row * self.detail_bytes..][..self.detail_bytes]
    }

    /// Encodes a vector, which is at most `off` away from the row's.
    fn set(&mut self, row: usize, vector: &[f32], off: f64, encoder: &mut Encoder) {
        let mut head = [0; HEAD_BYTES];
        let detail = &mut self.details[row * self.detail_bytes..][..self.detail_bytes];
        let errors = encoder.encode(vector, off, &mut head, detail);
        self.set_head(row, &head);
        let number = row as u16;
        match (errors, self.outliers.binary_search(&number)) {
            (Some(errors), place) => {
                self.errors.head = self.errors.head.max(errors.head);
                self.errors.detail = self.errors.detail.max(errors.detail);
                if let Ok(at) = place {
                    self.outliers.remove(at);
                }
            }
            (None, Err(at)) => self.outliers.insert(at, number),
            (None, Ok(_)) => {}
        }
    }

    fn select(&self, rows: &[usize]) -> Coded {
        let mut coded = Coded {
            basis: Rc::clone(&self.basis),
            heads: vec![0; rows.len().next_multiple_of(QUAD) * HEAD_BYTES],
            details: Vec::with_capacity(rows.len() * self.detail_bytes),
            outliers: Vec::new(),
            ..*self
        };
        for (to, &from) in rows.iter().enumerate() {
            coded.set_head(to, &self.head(from));
            coded.details.extend_from_slice(self.detail(from));
            if self.outliers.binary_search(&(from as u16)).is_ok() {
                coded.outliers.push(to as u16);
            }
        }
        coded
    }
}

/// Has some rows of so many bytes fetched from memory at the same time: one after another, each
/// would be waited for.
fn fetch(bytes: &[i8], width: usize, rows: &[(u32, i32)]) {
    const LINE: usize = 64;
    let mut sum = 0_i8;
    for &(row, _) in rows {
        let row = &bytes[row as usize * width..][..width];
        for line in row.chunks(LINE) {
            // It may lie in two lines of the cache.
            if let [first, .., last] = line {
                sum = sum.wrapping_add(first ^ last);
            }
        }
    }
    std::hint::black_box(sum);
}

/// An upper bound of the length of what rounding has taken off.
fn f16_error(vector: &[f32], rounded: &[f16]) -> f32 {
    let squares = vector.iter().zip(rounded).map(|(&x, &rounded)| {
        let off = f64::from(x) - f64::from(rounded);
        off * off
    });
    (squares.sum::<f64>().sqrt() * (1.0 + 1e-6)) as f32 + f32::MIN_POSITIVE
}
