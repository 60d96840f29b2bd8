//! The vectors of a block, if they are in memory.

use super::codes::{Codes, QueryCodes, padded};
use super::rounding::{sum_error, up};
use super::scan::Query;
use crate::types::VectorDtype;
use crate::vector::cosine;
use half::f16;
use mneme_kernels::{dot_f32, dot_rows};
use std::collections::TryReserveError;
use std::sync::Arc;

/// The vectors of a block. Graphs may share them: changing a block then copies them.
#[derive(Clone, Debug)]
pub enum Vectors {
    /// Only in the store.
    Absent,
    /// Being read from the store, and not used until all have arrived.
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
    /// No rows.
    pub fn new(dtype: VectorDtype) -> Self {
        match dtype {
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
        }
    }

    /// Whether they are in memory.
    pub fn is_resident(&self) -> bool {
        !matches!(self, Vectors::Absent | Vectors::Arriving(_))
    }

    /// Makes room for this many rows in all.
    pub fn reserve(&mut self, dim: usize, rows: usize) -> Result<(), TryReserveError> {
        match self {
            Vectors::Absent | Vectors::Arriving(_) => Ok(()),
            Vectors::Float32(values) => reserve(Arc::make_mut(values), rows * dim),
            Vectors::Float16 { values, errors } => {
                reserve(Arc::make_mut(values), rows * dim)?;
                reserve(errors, rows)
            }
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => {
                reserve(Arc::make_mut(codes), rows * padded(dim))?;
                reserve(scales, rows)?;
                reserve(errors, rows)
            }
        }
    }

    /// Appends the vector of row number `row`.
    pub fn push(&mut self, row: usize, vector: &[f32]) {
        let dim = vector.len();
        match self {
            Vectors::Absent | Vectors::Arriving(_) => return,
            Vectors::Float32(values) => return Arc::make_mut(values).extend_from_slice(vector),
            Vectors::Float16 { values, errors } => {
                Arc::make_mut(values).resize((row + 1) * dim, f16::ZERO);
                errors.push(0.0);
            }
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => {
                Arc::make_mut(codes).resize((row + 1) * padded(dim), 0);
                scales.push(0.0);
                errors.push(0.0);
            }
        }
        self.replace(row, vector);
    }

    /// Replaces the vector of a row.
    pub fn replace(&mut self, row: usize, vector: &[f32]) {
        let dim = vector.len();
        match self {
            Vectors::Absent => {}
            Vectors::Arriving(values) => values[of(row, dim)].copy_from_slice(vector),
            Vectors::Float32(values) => {
                Arc::make_mut(values)[of(row, dim)].copy_from_slice(vector);
            }
            Vectors::Float16 { values, errors } => {
                let values = &mut Arc::make_mut(values)[of(row, dim)];
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
                Arc::make_mut(codes)[of(row, padded(dim))].copy_from_slice(&one.codes);
                scales[row] = one.scale;
                errors[row] = one.error;
            }
        }
    }

    /// Takes the vector of one of `rows` rows, if they were only in the store.
    pub fn arrive(
        &mut self,
        row: usize,
        rows: usize,
        vector: &[f32],
    ) -> Result<(), TryReserveError> {
        if matches!(self, Vectors::Absent) {
            let mut values = Vec::new();
            values.try_reserve_exact(rows * vector.len())?;
            values.resize(rows * vector.len(), 0.0);
            *self = Vectors::Arriving(values);
        }
        if let Vectors::Arriving(_) = self {
            self.replace(row, vector);
        }
        Ok(())
    }

    /// Records that all vectors have arrived. The store does not have the others any more.
    pub fn arrived(&mut self, dim: usize, dtype: VectorDtype) -> Result<(), TryReserveError> {
        let Vectors::Arriving(values) = self else {
            return Ok(());
        };
        if dtype == VectorDtype::Float32 {
            *self = Vectors::Float32(std::mem::take(values).into());
            return Ok(());
        }
        let mut kept = Vectors::new(dtype);
        kept.reserve(dim, values.len() / dim)?;
        for (row, vector) in values.chunks_exact(dim).enumerate() {
            kept.push(row, vector);
        }
        *self = kept;
        Ok(())
    }

    /// Some of these rows, without spare memory.
    pub fn select(&self, dim: usize, rows: &[usize]) -> Vectors {
        match self {
            Vectors::Absent => Vectors::Absent,
            Vectors::Arriving(values) => Vectors::Arriving(select(values, dim, rows)),
            Vectors::Float32(values) => Vectors::Float32(select(values, dim, rows).into()),
            Vectors::Float16 { values, errors } => Vectors::Float16 {
                values: select(values, dim, rows).into(),
                errors: select(errors, 1, rows),
            },
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => Vectors::Int8 {
                codes: select(codes, padded(dim), rows).into(),
                scales: select(scales, 1, rows),
                errors: select(errors, 1, rows),
            },
        }
    }

    /// Copies a vector as exactly as it is known, and returns an upper bound of its error. None if
    /// it is not in memory.
    pub fn copy(&self, dim: usize, row: usize, out: &mut Vec<f32>) -> Option<f64> {
        out.clear();
        match self {
            Vectors::Absent | Vectors::Arriving(_) => None,
            Vectors::Float32(values) => {
                out.extend_from_slice(&values[of(row, dim)]);
                Some(0.0)
            }
            Vectors::Float16 { values, errors } => {
                out.extend(values[of(row, dim)].iter().map(|x| x.to_f32()));
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

    /// The cosine of a row with the query, or the best known bound of it. `bound` is one.
    pub fn bound(&self, row: usize, bound: f32, query: &mut Query) -> f32 {
        let dim = query.vector.len();
        match self {
            Vectors::Absent | Vectors::Arriving(_) => bound.min(1.0),
            Vectors::Float32(values) => cosine(query.vector, &values[of(row, dim)]),
            Vectors::Float16 { values, errors } => {
                query.floats.clear();
                let values = &values[of(row, dim)];
                query.floats.extend(values.iter().map(|x| x.to_f32()));
                let cosine = cosine(query.vector, &query.floats);
                bound.min(cosine + errors[row] + 2.0 * sum_error(dim))
            }
            Vectors::Int8 {
                codes,
                scales,
                errors,
            } => {
                let codes = &codes[of(row, padded(dim))];
                bound.min(query.full().upper_bound(codes, scales[row], errors[row]))
            }
        }
    }

    /// The approximate cosine of a row with a query, for graphs. Rows of int8 need the query's
    /// `codes`.
    pub fn estimate(&self, row: usize, query: &[f32], codes: Option<&QueryCodes>) -> f32 {
        let dim = query.len();
        match (self, codes) {
            (Vectors::Float32(values), _) => dot_f32(query, &values[of(row, dim)]),
            (Vectors::Float16 { values, .. }, _) => {
                let values = &values[of(row, dim)];
                query.iter().zip(values).map(|(x, y)| x * y.to_f32()).sum()
            }
            (Vectors::Int8 { codes, scales, .. }, Some(query)) => {
                query.product(&codes[of(row, padded(dim))], scales[row])
            }
            // Not in memory, which is impossible in a graph.
            _ => 0.0,
        }
    }

    /// The approximate cosine of two rows, for graphs.
    pub fn product(dim: usize, a: (&Vectors, usize), b: (&Vectors, usize)) -> f32 {
        match (a, b) {
            ((Vectors::Float32(x), i), (Vectors::Float32(y), j)) => {
                dot_f32(&x[of(i, dim)], &y[of(j, dim)])
            }
            ((Vectors::Float16 { values: x, .. }, i), (Vectors::Float16 { values: y, .. }, j)) => {
                let pairs = x[of(i, dim)].iter().zip(&y[of(j, dim)]);
                pairs.map(|(x, y)| x.to_f32() * y.to_f32()).sum()
            }
            (
                (
                    Vectors::Int8 {
                        codes: x,
                        scales: s,
                        ..
                    },
                    i,
                ),
                (
                    Vectors::Int8 {
                        codes: y,
                        scales: t,
                        ..
                    },
                    j,
                ),
            ) => {
                let width = padded(dim);
                let sum = dot_rows(&x[of(i, width)], &y[of(j, width)]);
                sum as f32 * s[i] * t[j]
            }
            // As above. Blocks of one segment have one dtype.
            _ => 0.0,
        }
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
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

    /// Bytes allocated, without those that are shared.
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

/// The place of a row in a column with `width` items a row.
pub fn of(row: usize, width: usize) -> std::ops::Range<usize> {
    row * width..(row + 1) * width
}

/// Some rows of a column, without spare memory.
pub fn select<T: Clone>(column: &[T], width: usize, rows: &[usize]) -> Vec<T> {
    let mut selected = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        selected.extend_from_slice(&column[of(row, width)]);
    }
    selected
}

/// Makes room for `len` items in all.
pub fn reserve<T>(column: &mut Vec<T>, len: usize) -> Result<(), TryReserveError> {
    column.try_reserve_exact(len.saturating_sub(column.len()))
}

/// Bytes allocated.
pub fn allocated<T>(column: &Vec<T>) -> usize {
    column.capacity() * size_of::<T>()
}

/// An upper bound of the length of the rounding error.
fn f16_error(vector: &[f32], rounded: &[f16]) -> f32 {
    let squares = vector.iter().zip(rounded).map(|(&x, &rounded)| {
        let off = f64::from(x) - f64::from(rounded);
        off * off
    });
    up(squares.sum::<f64>().sqrt())
}
