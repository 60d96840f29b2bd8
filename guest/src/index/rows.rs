//! The rows of one namespace, column by column.

use super::codes::{Codes, QueryCodes, padded, sum_error};
use super::column::Column;
use super::{Found, TopFound};
use crate::error::Result;
use crate::types::{Error, VectorDtype};
use crate::vector::cosine;
use half::f16;
use std::collections::TryReserveError;

/// The vectors beside the codes.
enum Kept {
    Float32(Column<f32>),
    Float16 {
        values: Column<f16>,
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
    codes: Column<i8>,
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
            codes: Column::new(padded(dim)),
            scales: Vec::new(),
            errors: Vec::new(),
            kept: match dtype {
                VectorDtype::Float32 => Kept::Float32(Column::new(dim)),
                VectorDtype::Float16 => Kept::Float16 {
                    values: Column::new(dim),
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
        self.codes.push(codes.codes);
        self.scales.push(codes.scale);
        self.errors.push(codes.error);
        match &mut self.kept {
            Kept::Float32(values) => values.push(vector.iter().copied()),
            Kept::Float16 { values, errors } => {
                let mut error = 0.0_f64;
                values.push(vector.iter().map(|&x| {
                    let rounded = f16::from_f32(x);
                    error += (f64::from(x) - f64::from(rounded)).powi(2);
                    rounded
                }));
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
        self.codes.swap_remove(row);
        match &mut self.kept {
            Kept::Float32(values) => values.swap_remove(row),
            Kept::Float16 { values, errors } => {
                values.swap_remove(row);
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
        let float_slack = 2.0 * sum_error(self.dim);
        let mut floats = Vec::new();
        for (row, codes) in self.codes.rows().enumerate() {
            let mut bound = query_codes.upper_bound(codes, self.scales[row], self.errors[row]);
            if bound < top.cut() {
                continue;
            }
            match &self.kept {
                Kept::Float32(values) => {
                    bound = cosine(query, values.row(row));
                }
                Kept::Float16 { values, errors } => {
                    floats.clear();
                    floats.extend(values.row(row).iter().map(|x| x.to_f32()));
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
        self.codes.shrink();
        self.scales.shrink_to_fit();
        self.errors.shrink_to_fit();
        match &mut self.kept {
            Kept::Float32(values) => values.shrink(),
            Kept::Float16 { values, errors } => {
                values.shrink();
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
            + self.codes.bytes()
            + of(&self.scales)
            + of(&self.errors)
            + match &self.kept {
                Kept::Float32(values) => values.bytes(),
                Kept::Float16 { values, errors } => values.bytes() + of(errors),
                Kept::CodesOnly => 0,
            }
    }

    fn reserve_one(&mut self) -> std::result::Result<(), TryReserveError> {
        self.ids.try_reserve(1)?;
        self.created_at.try_reserve(1)?;
        self.scales.try_reserve(1)?;
        self.errors.try_reserve(1)?;
        self.codes.reserve_one()?;
        match &mut self.kept {
            Kept::Float32(values) => values.reserve_one(),
            Kept::Float16 { values, errors } => {
                errors.try_reserve(1)?;
                values.reserve_one()
            }
            Kept::CodesOnly => Ok(()),
        }
    }
}
