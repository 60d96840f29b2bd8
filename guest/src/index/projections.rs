//! Codes of a vector's coordinates along a [`Basis`], and bounds of cosines from them.
//!
//! Let the rows of `V` be the `k` directions of the basis, and `G = V Vᵀ`. A row `x` and a query
//! `q` have the coordinates `a = V x` and `b = V q`. Their parts orthogonal to all directions are
//! `x⊥` and `q⊥`. Then
//!
//! ```text
//! q·x  =  bᵀ G⁻¹ a + q⊥·x⊥  ≤  b·a + d/(1-d) |b| |a| + |q⊥| |x⊥|
//! ```
//!
//! by the Cauchy-Schwarz inequality, where `d` is at least the spectral norm of `G - I`. A row
//! keeps `a` as small integers: `a = ã + e`, where `ã` are the values of the codes, and the length
//! of `e` is measured. It keeps `|x⊥|` as one more code, rounded up. A query keeps `b` times the
//! unit of each code as integers, too: `b = b̃ + f`. Then
//!
//! ```text
//! b·a  =  b̃·ã + f·ã + b·e  ≤  b̃·ã + |f| |ã| + |b| |e|
//! ```
//!
//! and `b̃·ã` plus the term of `|q⊥| |x⊥|` is one exact integer sum times one factor. A row whose
//! bound is below the threshold cannot answer, and ruling it out loses nothing. Every term allows
//! for the errors of float32 products (see [`projection_error`] and [`sum_error`]). This is the
//! partial distance bound of Bei and Gray, "An
//! improvement of the minimum distortion encoding algorithm for vector quantization" (1985),
//! with the lengths of the remainders, as in Fukunaga and Narendra's branch and bound (1975).
//!
//! A row is ruled out in two steps. Its *head*, of 32 bytes, has the first 31 directions and the
//! length of the rest. Four heads are interleaved, so that one SIMD lane belongs to one row. A lane
//! of 16 bits holds two codes: the low byte is the code of one direction (unsigned, 128 is zero),
//! and the whole lane is a finer code of another direction. Its *detail* has the other directions,
//! as a signed byte each, and again the length of the rest.
//!
//! A row with a coordinate out of range, or with a greater error than others, is an *outlier*: it
//! is always compared in full.

use super::basis::Basis;
use super::rounding::{projection_error, sum_error, up};
use super::scales::{
    DETAIL_MAX, LOW, LOW_MAX, LOW_ZERO, REST_BYTE, REST_MAX, WHOLE, detail_bytes, head_directions,
};
use mneme_kernels::{HEAD_BYTES, HeadQuery, dot_codes};

/// Greatest factors of a query.
const QUERY_WHOLE_MAX: f64 = 2047.0;
const QUERY_LOW_MAX: f64 = 32_766.0;
const QUERY_DETAIL_MAX: f64 = 2047.0;
/// The greatest squared length of a unit vector; see `vector::unit`.
const UNIT_SQUARE: f64 = 1.0 + 3e-6;
/// More than the length of any unit vector, of its coordinates, and of their codes.
const LENGTH: f64 = 1.1;
/// Vectors that are known less exactly than this are outliers.
const GREATEST_OFF: f64 = 0.04;
/// Allows for float64 rounding in the constants of a query.
const ROUNDING: f64 = 1e-9;

/// The greatest length of the rest of a unit vector. The squares of its coordinates have the sum
/// `squares`, and the coordinates together an error of at most `off`.
fn rest(squares: f64, off: f64, defect: f64) -> f64 {
    let length = (squares.sqrt() - off).max(0.0);
    (UNIT_SQUARE - length * length / (1.0 + defect))
        .max(0.0)
        .sqrt()
}

/// The greatest errors of codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// At least `|e|` of the head.
    pub head: f32,
    /// At least `|e|` of the detail.
    pub detail: f32,
}

/// Turns vectors into codes. Holds room for one vector's coordinates.
pub struct Encoder<'a> {
    basis: &'a Basis,
    coordinates: Vec<f32>,
}

impl<'a> Encoder<'a> {
    /// An encoder for a basis.
    pub fn new(basis: &'a Basis) -> Self {
        Encoder {
            basis,
            coordinates: vec![0.0; basis.size()],
        }
    }

    /// Writes the codes of a unit vector, and returns their errors. None for an outlier. `vector`
    /// differs from the unit vector by at most `off`. `detail` is empty, or has [`detail_bytes`]
    /// values.
    pub fn encode(
        &mut self,
        vector: &[f32],
        off: f64,
        head: &mut [u8; HEAD_BYTES],
        detail: &mut [i8],
    ) -> Option<Errors> {
        let (basis, scales) = (self.basis, self.basis.scales());
        basis.project(vector, &mut self.coordinates);
        let heads = head_directions(basis.size());
        // The bound assumes lengths below `LENGTH`.
        let mut outlier = off > GREATEST_OFF;
        let off = off * LENGTH + projected_error(basis);
        *head = [0; HEAD_BYTES];
        let low = &self.coordinates[heads.min(WHOLE)..heads];
        let whole = &self.coordinates[..heads.min(WHOLE)];
        let (mut squares, mut errors) = (0.0_f64, 0.0_f64);
        for lane in 0..LOW {
            head[2 * lane] = LOW_ZERO as u8;
            let Some(&x) = low.get(lane) else { continue };
            let (x, step) = (f64::from(x), scales.step(WHOLE + lane));
            let code = (x / step).round_ties_even().clamp(-LOW_MAX, LOW_MAX);
            head[2 * lane] = (code + LOW_ZERO) as u8;
            squares += x * x;
            errors += (x - code * step).powi(2);
        }
        // Of all coordinates in the head. Those of whole lanes are encoded below.
        let all = squares + whole.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let rest_code = (rest(all, off, basis.defect()) / f64::from(scales.head_rest)).ceil();
        head[REST_BYTE] = rest_code.min(REST_MAX) as u8;
        for lane in 0..WHOLE {
            let low = f64::from(head[2 * lane]);
            let (x, step) = match whole.get(lane) {
                Some(&x) => (f64::from(x), scales.step(lane)),
                None => (0.0, 1.0),
            };
            // The nearest lane that has this low byte.
            let high = ((x / step - low) / 256.0)
                .round_ties_even()
                .clamp(-127.0, 126.0);
            head[2 * lane + 1] = high as i8 as u8;
            if lane < whole.len() {
                errors += (x - (256.0 * high + low) * step).powi(2);
            }
        }
        let head_error = errors.sqrt() + off;
        outlier |= rest_code > REST_MAX || head_error > scales.head_error + off;
        let mut detail_error = 0.0;
        if !detail.is_empty() {
            let coordinates = &self.coordinates[heads..];
            let (mut squares, mut errors) = (all, 0.0_f64);
            for (j, (code, &x)) in detail.iter_mut().zip(coordinates).enumerate() {
                let (x, step) = (f64::from(x), scales.step(heads + j));
                let rounded = (x / step).round_ties_even().clamp(-DETAIL_MAX, DETAIL_MAX);
                *code = rounded as i8;
                squares += x * x;
                errors += (x - rounded * step).powi(2);
            }
            let left = rest(squares, off, basis.defect()) / f64::from(scales.detail_rest);
            detail[coordinates.len()..].fill(0);
            detail[coordinates.len()] = left.ceil().min(DETAIL_MAX) as i8;
            detail_error = errors.sqrt() + off;
            outlier |= left.ceil() > DETAIL_MAX || detail_error > scales.detail_error + off;
        }
        (!outlier).then(|| Errors {
            head: up(head_error),
            detail: up(detail_error),
        })
    }
}

/// The greatest error of the computed coordinates of a unit vector together.
fn projected_error(basis: &Basis) -> f64 {
    (basis.size() as f64).sqrt() * projection_error(basis.dim()) * LENGTH
}

/// A query against codes of a basis.
pub struct ProjectedQuery {
    head: HeadQuery,
    /// The value of 1 in the sum of a head.
    head_unit: f64,
    /// The sum of a head of zeros, without the length of the rest.
    head_zero: f64,
    head_length: f64,
    head_slack: f64,
    /// The factor of the head's rest, to subtract it again.
    head_rest: i32,
    detail: Vec<i16>,
    detail_unit: f64,
    length: f64,
    detail_slack: f64,
}

impl ProjectedQuery {
    /// Takes a unit vector.
    pub fn new(basis: &Basis, query: &[f32]) -> Self {
        let scales = basis.scales();
        let k = basis.size();
        let heads = head_directions(k);
        let mut coordinates = vec![0.0; k];
        basis.project(query, &mut coordinates);
        let coordinates: Vec<f64> = coordinates.into_iter().map(f64::from).collect();
        let off = projected_error(basis);
        let squares = |to: usize| coordinates[..to].iter().map(|x| x * x).sum::<f64>();
        let (head_squares, all_squares) = (squares(heads), squares(k));
        let rest_of =
            |squares: f64, step: f32| rest(squares, off, basis.defect()) * f64::from(step);
        let factor = |j: usize| coordinates[j] * scales.step(j);

        let head_rest = rest_of(head_squares, scales.head_rest);
        let whole = (0..heads.min(WHOLE)).map(|j| factor(j).abs() / QUERY_WHOLE_MAX);
        let low = (heads.min(WHOLE)..heads).map(|j| factor(j).abs() / QUERY_LOW_MAX);
        let head_unit = whole
            .chain(low)
            .fold(head_rest / QUERY_LOW_MAX, f64::max)
            .max(f64::MIN_POSITIVE);
        let mut head = HeadQuery::default();
        let mut errors = 0.0;
        let mut zero = 0.0;
        for (j, coordinate) in coordinates.iter().enumerate().take(heads) {
            let rounded = (factor(j) / head_unit).round_ties_even();
            errors += (coordinate - rounded * head_unit / scales.step(j)).powi(2);
            if j < WHOLE {
                head.whole[j] = rounded as i16;
            } else {
                head.low[j - WHOLE] = rounded as i16;
                zero += rounded * LOW_ZERO;
            }
        }
        let head_rest = (head_rest / head_unit).ceil();
        head.low[LOW] = head_rest as i16;

        let detail_rest = rest_of(all_squares, scales.detail_rest);
        let detail_unit = (heads..k)
            .map(|j| factor(j).abs())
            .fold(detail_rest, f64::max)
            .max(f64::MIN_POSITIVE)
            / (QUERY_DETAIL_MAX - 1.0);
        let mut detail = vec![0; detail_bytes(k)];
        let mut detail_errors = errors;
        if !detail.is_empty() {
            for j in heads..k {
                let rounded = (factor(j) / detail_unit).round_ties_even();
                detail_errors += (coordinates[j] - rounded * detail_unit / scales.step(j)).powi(2);
                detail[j - heads] = rounded as i16;
            }
            detail[k - heads] = (detail_rest / detail_unit).ceil() as i16;
        }

        let defect = basis.defect();
        // The errors of the coordinates on either side, the defect, and the error of the float32
        // cosine itself.
        let fixed = LENGTH * LENGTH * defect / (1.0 - defect)
            + LENGTH * off
            + f64::from(sum_error(basis.dim()))
            + ROUNDING;
        ProjectedQuery {
            head,
            head_unit,
            head_zero: zero,
            head_length: head_squares.sqrt(),
            head_slack: fixed + errors.sqrt() * LENGTH,
            head_rest: head_rest as i32,
            detail,
            detail_unit,
            length: all_squares.sqrt(),
            detail_slack: fixed + detail_errors.sqrt() * LENGTH,
        }
    }

    /// The factors for `mneme_kernels::scan_heads`.
    pub fn head(&self) -> &HeadQuery {
        &self.head
    }

    /// A row whose sum is not above this has a cosine below `cut`, if the error of its head is at
    /// most `error`.
    pub fn head_above(&self, cut: f32, error: f32) -> i32 {
        let left = f64::from(cut) - self.head_slack - self.head_length * f64::from(error);
        // A float64 holds such sums exactly; the cast saturates.
        ((left / self.head_unit + self.head_zero).floor() as i32).saturating_sub(1)
    }

    /// The bounds for rows whose codes have at most these errors.
    pub fn bounds(&self, errors: Errors) -> Bounds<'_> {
        let (head, detail) = (f64::from(errors.head), f64::from(errors.detail));
        let zero = self.head_zero * self.head_unit;
        Bounds {
            query: self,
            head: self.head_slack + self.head_length * head - zero,
            detail: self.detail_slack + self.length * head.hypot(detail) - zero,
        }
    }
}

/// Upper bounds of cosines with the rows of one block.
pub struct Bounds<'a> {
    query: &'a ProjectedQuery,
    /// Terms that are added to the sum of a head, and to the sum with a detail.
    head: f64,
    detail: f64,
}

impl Bounds<'_> {
    /// The bound from a head's sum alone.
    pub fn of_head(&self, sum: i32) -> f64 {
        f64::from(sum) * self.query.head_unit + self.head
    }

    /// The bound from the detail and the sum of a head. `rest` is the head's last low byte.
    pub fn of_detail(&self, sum: i32, rest: u8, detail: &[i8]) -> f64 {
        let head = f64::from(sum - self.query.head_rest * i32::from(rest));
        let detail = f64::from(dot_codes(&self.query.detail, detail));
        head * self.query.head_unit + detail * self.query.detail_unit + self.detail
    }
}
