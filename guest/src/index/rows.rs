//! The rows of one namespace, column by column.

use super::codes::{Codes, QueryCodes, padded, sum_error};
use super::{Found, TopFound};
use crate::error::Result;
use crate::types::{Error, VectorDtype};
use crate::vector::cosine;
use half::f16;

/// The vectors beside the codes.
enum Kept {
    Float32(Vec<f32>),
    Float16 {
        values: Vec<f16>,
        /// Upper bounds of each row's rounding error.
        errors: Vec<f32>,
    },
    CodesOnly,
}

/// Rows of one namespace. Row numbers are dense: removing a row moves the last one
/// into its place.
pub struct Rows {
    dim: usize,
    ids: Vec<u64>,
    created_at: Vec<u64>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    errors: Vec<f32>,
    kept: Kept,
    /// Rows removed whose memory has not been used again or given back.
    spare: usize,
}

impl Rows {
    /// No rows.
    pub fn new(dim: usize, dtype: VectorDtype) -> Self {
        Rows {
            dim,
            ids: Vec::new(),
            created_at: Vec::new(),
            codes: Vec::new(),
            scales: Vec::new(),
            errors: Vec::new(),
            kept: match dtype {
                VectorDtype::Float32 => Kept::Float32(Vec::new()),
                VectorDtype::Float16 => Kept::Float16 {
                    values: Vec::new(),
                    errors: Vec::new(),
                },
                VectorDtype::Int8 => Kept::CodesOnly,
            },
            spare: 0,
        }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }


    /// Rows that `compact` would give back.
    pub fn spare(&self) -> usize {
        self.spare
    }

    /// All ids, in row order.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// When the entry of a row was stored.
    pub fn created_at(&self, row: usize) -> u64 {
        self.created_at[row]
    }

    /// Appends a row for a unit vector and returns its number. Changes nothing where
    /// memory is short.
    pub fn push(&mut self, id: u64, created_at: u64, vector: &[f32]) -> Result<usize> {
        self.reserve_one().map_err(|_| {
            Error::IndexUnavailable(format!(
                "no memory left for the vector index after {} rows of one namespace; raise the memory limit, choose a smaller vector dtype, or split the cache",
                self.ids.len()
            ))
        })?;
        self.ids.push(id);
        self.created_at.push(created_at);
        let codes = Codes::of(vector);
        self.codes.extend_from_slice(&codes.codes);
        self.scales.push(codes.scale);
        self.errors.push(codes.error);
        match &mut self.kept {
            Kept::Float32(values) => values.extend_from_slice(vector),
            Kept::Float16 { values, errors } => {
                let mut error = 0.0;
                for &x in vector {
                    let rounded = f16::from_f32(x);
                    error += (f64::from(x) - f64::from(rounded)).powi(2);
                    values.push(rounded);
                }
                errors.push((error.sqrt() * (1.0 + 1e-6)) as f32 + f32::MIN_POSITIVE);
            }
            Kept::CodesOnly => {}
        }
        self.spare = self.spare.saturating_sub(1);
        Ok(self.ids.len() - 1)
    }

    /// Removes a row and returns the id that has moved into its place, if one has.
    pub fn swap_remove(&mut self, row: usize) -> Option<u64> {
        self.ids.swap_remove(row);
        self.created_at.swap_remove(row);
        self.scales.swap_remove(row);
        self.errors.swap_remove(row);
        swap_remove_block(&mut self.codes, row, padded(self.dim));
        match &mut self.kept {
            Kept::Float32(values) => swap_remove_block(values, row, self.dim),
            Kept::Float16 { values, errors } => {
                swap_remove_block(values, row, self.dim);
                errors.swap_remove(row);
            }
            Kept::CodesOnly => {}
        }
        self.spare += 1;
        self.ids.get(row).copied()
    }

    /// Offers to `top` every row whose cosine with the unit vector `query` may reach
    /// `top`'s cut.
    pub fn scan(&self, query: &[f32], top: &mut TopFound) {
        let query_codes = QueryCodes::of(query);
        let width = padded(self.dim);
        let float_slack = 2.0 * sum_error(self.dim);
        let mut floats = Vec::new();
        for (row, codes) in self.codes.chunks_exact(width).enumerate() {
            let mut bound = query_codes.upper_bound(codes, self.scales[row], self.errors[row]);
            if bound < top.cut() {
                continue;
            }
            match &self.kept {
                Kept::Float32(values) => {
                    bound = cosine(query, &values[row * self.dim..][..self.dim]);
                }
                Kept::Float16 { values, errors } => {
                    floats.clear();
                    floats.extend(values[row * self.dim..][..self.dim].iter().map(|x| x.to_f32()));
                    bound = bound.min(cosine(query, &floats) + errors[row] + float_slack);
                }
                Kept::CodesOnly => {}
            }
            if bound >= top.cut() {
                top.offer(Found {
                    id: self.ids[row],
                    bound,
                });
            }
        }
    }

    /// Gives back unused memory; returns how many removed rows it held.
    pub fn compact(&mut self) -> usize {
        self.ids.shrink_to_fit();
        self.created_at.shrink_to_fit();
        self.codes.shrink_to_fit();
        self.scales.shrink_to_fit();
        self.errors.shrink_to_fit();
        match &mut self.kept {
            Kept::Float32(values) => values.shrink_to_fit(),
            Kept::Float16 { values, errors } => {
                values.shrink_to_fit();
                errors.shrink_to_fit();
            }
            Kept::CodesOnly => {}
        }
        std::mem::take(&mut self.spare)
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        fn of<T>(values: &Vec<T>) -> usize {
            values.capacity() * size_of::<T>()
        }
        of(&self.ids)
            + of(&self.created_at)
            + of(&self.codes)
            + of(&self.scales)
            + of(&self.errors)
            + match &self.kept {
                Kept::Float32(values) => of(values),
                Kept::Float16 { values, errors } => of(values) + of(errors),
                Kept::CodesOnly => 0,
            }
    }

    fn reserve_one(&mut self) -> std::result::Result<(), std::collections::TryReserveError> {
        reserve(&mut self.ids, 1)?;
        reserve(&mut self.created_at, 1)?;
        reserve(&mut self.codes, padded(self.dim))?;
        reserve(&mut self.scales, 1)?;
        reserve(&mut self.errors, 1)?;
        match &mut self.kept {
            Kept::Float32(values) => reserve(values, self.dim),
            Kept::Float16 { values, errors } => {
                reserve(errors, 1)?;
                reserve(values, self.dim)
            }
            Kept::CodesOnly => Ok(()),
        }
    }
}

/// Makes room for `more` values, growing by a quarter: doubling would waste half of a
/// memory that is limited to 4 GiB.
fn reserve<T>(
    values: &mut Vec<T>,
    more: usize,
) -> std::result::Result<(), std::collections::TryReserveError> {
    if values.capacity() - values.len() >= more {
        return Ok(());
    }
    values.try_reserve_exact(more.max(values.len() / 4).max(16 * more.min(256)))
}

fn swap_remove_block<T: Copy>(values: &mut Vec<T>, row: usize, width: usize) {
    let last = values.len() - width;
    values.copy_within(last.., row * width);
    values.truncate(last);
}
