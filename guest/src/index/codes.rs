//! Vectors rounded to small integers, with certified error bounds.
//!
//! A row `x` is `s·c + e`, with integer codes `c` in -127..127, one scale `s`, and the length
//! `|e|` of the rounding error. A query `q` is `t·d + f`, with finer codes `d` in -2047..2047.
//! Then
//!
//! ```text
//! q·x = t·s·(d·c) + t·d·e + f·x  ≤  t·s·(d·c) + |t·d|·|e| + |f|·|x|
//! ```
//!
//! by the Cauchy-Schwarz inequality. `d·c` is an exact integer, so a row whose right side is
//! below the threshold cannot answer, and ruling it out loses nothing.

use super::rounding::{sum_error, up};
use mneme_kernels::{CODE_LANES, dot_codes};

/// Greatest code of a row.
const ROW_MAX: f64 = 127.0;
/// Greatest code of a query.
const QUERY_MAX: f64 = 2047.0;

/// One row's codes.
pub struct Codes {
    /// Padded with zeros to a multiple of [`CODE_LANES`].
    pub codes: Vec<i8>,
    /// `s` above.
    pub scale: f32,
    /// An upper bound of `|e|` above.
    pub error: f32,
    len: usize,
}

impl Codes {
    /// Rounds a vector of finite values.
    pub fn of(vector: &[f32]) -> Self {
        let scale = (greatest(vector) / ROW_MAX) as f32;
        let mut codes = vec![0_i8; padded(vector.len())];
        let per_scale = inverse(scale);
        // In four lanes, so that additions do not wait for each other.
        let mut errors = [0.0_f64; 4];
        for (i, (code, &x)) in codes.iter_mut().zip(vector).enumerate() {
            let rounded = round(x, per_scale, ROW_MAX);
            *code = rounded as i8;
            let error = f64::from(x) - rounded * f64::from(scale);
            errors[i % 4] += error * error;
        }
        Codes {
            codes,
            scale,
            error: up(errors.iter().sum::<f64>().sqrt()),
            len: vector.len(),
        }
    }

    /// The vector that the codes stand for.
    pub fn to_floats(&self) -> Vec<f32> {
        self.codes[..self.len]
            .iter()
            .map(|&code| f32::from(code) * self.scale)
            .collect()
    }
}

/// A query made ready for many rows.
pub struct QueryCodes {
    codes: Vec<i16>,
    scale: f32,
    /// `|t·d|`, rounded up.
    length: f32,
    /// `|f|·|x|` for unit rows, plus the error of float32 sums, rounded up.
    slack: f32,
}

impl QueryCodes {
    /// Rounds a unit vector.
    pub fn of(query: &[f32]) -> Self {
        let scale = (greatest(query) / QUERY_MAX) as f32;
        let mut codes = vec![0_i16; padded(query.len())];
        let per_scale = inverse(scale);
        let (mut error, mut length) = (0.0_f64, 0.0_f64);
        for (code, &x) in codes.iter_mut().zip(query) {
            let rounded = round(x, per_scale, QUERY_MAX);
            *code = rounded as i16;
            length += (rounded * f64::from(scale)).powi(2);
            error += (f64::from(x) - rounded * f64::from(scale)).powi(2);
        }
        QueryCodes {
            codes,
            scale,
            length: up(length.sqrt()),
            slack: up(error.sqrt() * (1.0 + 2e-6) + f64::from(sum_error(query.len()))),
        }
    }

    /// The approximate cosine of the query with a row.
    pub fn product(&self, codes: &[i8], scale: f32) -> f32 {
        dot_codes(&self.codes, codes) as f32 * (self.scale * scale)
    }

    /// An upper bound of the float32 cosine of the query with a row.
    #[inline]
    pub fn upper_bound(&self, codes: &[i8], scale: f32, error: f32) -> f32 {
        // The three roundings here are within the slack, as |cosine| is at most 1.
        self.product(codes, scale) + (self.length * error + self.slack)
    }
}

/// `len` rounded up to a multiple of [`CODE_LANES`].
pub fn padded(len: usize) -> usize {
    len.next_multiple_of(CODE_LANES)
}

fn greatest(vector: &[f32]) -> f64 {
    f64::from(vector.iter().fold(0.0_f32, |max, x| max.max(x.abs())))
}

/// 1/scale. 0 for the scale of a zero vector, and for one so small that its inverse is not
/// finite.
fn inverse(scale: f32) -> f64 {
    let inverse = 1.0 / f64::from(scale);
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The nearest code. Any other code would do, because the error is measured.
fn round(x: f32, per_scale: f64, max: f64) -> f64 {
    (f64::from(x) * per_scale)
        .round_ties_even()
        .clamp(-max, max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{cosine, unit};
    use proptest::prelude::*;

    fn vectors(dim: usize) -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        // A few large values among small ones are the worst case for one scale a row.
        let value = prop_oneof![-1.0_f32..1.0, -1e-3_f32..1e-3, Just(0.0), Just(1e-40)];
        let vector = prop::collection::vec(value, dim)
            .prop_filter_map("zero vector", move |v| unit(v, dim as u32).ok());
        (vector.clone(), vector)
    }

    proptest! {
        #[test]
        fn the_bound_is_an_upper_bound((query, row) in (1_usize..80).prop_flat_map(vectors)) {
            let codes = Codes::of(&row);
            let bound = QueryCodes::of(&query).upper_bound(&codes.codes, codes.scale, codes.error);
            prop_assert!(bound >= cosine(&query, &row));
        }

        #[test]
        fn the_bound_is_tight((query, row) in vectors(384)) {
            let codes = Codes::of(&row);
            let bound = QueryCodes::of(&query).upper_bound(&codes.codes, codes.scale, codes.error);
            prop_assert!(bound - cosine(&query, &row) < 0.06);
        }

        #[test]
        fn a_vector_and_itself((v, _) in vectors(48)) {
            let codes = Codes::of(&v);
            let bound = QueryCodes::of(&v).upper_bound(&codes.codes, codes.scale, codes.error);
            prop_assert!(bound >= cosine(&v, &v));
        }
    }
}
