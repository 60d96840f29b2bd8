//! The codes of a block's rows.

use super::basis::Basis;
use super::projections::{Encoder, Errors};
use super::scales::detail_bytes;
use super::vectors::{Vectors, allocated, of, reserve};
use mneme_kernels::{HEAD_BYTES, QUAD, head_byte};
use std::collections::TryReserveError;
use std::rc::Rc;

/// Codes of all rows of a block in one basis.
#[derive(Clone, Debug)]
pub struct Coded {
    /// The basis of the codes.
    pub basis: Rc<Basis>,
    /// Interleaved, and padded to whole quads.
    pub heads: Vec<u8>,
    /// `detail_bytes` a row.
    pub details: Vec<i8>,
    /// 0 if the head has all directions, and with int8 vectors.
    pub detail_bytes: usize,
    /// The greatest errors of all rows, without the outliers.
    pub errors: Errors,
    /// Rows without valid codes, ascending.
    pub outliers: Vec<u16>,
}

impl Coded {
    /// Codes of no rows. Int8 vectors serve as details.
    pub fn new(basis: &Rc<Basis>, vectors: &Vectors) -> Self {
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

    /// Makes room for this many rows in all.
    pub fn reserve(&mut self, rows: usize) -> Result<(), TryReserveError> {
        reserve(&mut self.heads, rows.next_multiple_of(QUAD) * HEAD_BYTES)?;
        reserve(&mut self.details, rows * self.detail_bytes)
    }

    /// Makes a place for one more row, number `row`.
    pub fn push(&mut self, row: usize) {
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

    /// The detail of a row. Empty if the head has all directions, and with int8 vectors.
    pub fn detail(&self, row: usize) -> &[i8] {
        &self.details[of(row, self.detail_bytes)]
    }

    /// Encodes a vector, which differs from the row's by at most `off`.
    pub fn set(&mut self, row: usize, vector: &[f32], off: f64, encoder: &mut Encoder) {
        let mut head = [0; HEAD_BYTES];
        let detail = &mut self.details[of(row, self.detail_bytes)];
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

    /// The codes of some of these rows.
    pub fn select(&self, rows: &[usize]) -> Coded {
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
            if self.is_outlier(from) {
                coded.outliers.push(to as u16);
            }
        }
        coded
    }

    /// Whether a row has no valid codes.
    pub fn is_outlier(&self, row: usize) -> bool {
        self.outliers.binary_search(&(row as u16)).is_ok()
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        allocated(&self.heads) + allocated(&self.details) + allocated(&self.outliers)
    }
}
