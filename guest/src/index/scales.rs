//! The layout of a row's codes, and the step of each code.
//!
//! [`projections`](super::projections) says what heads and details are.

use super::rounding::projection_error;
use mneme_kernels::{CODE_LANES, HEAD_LANES};

/// Directions with codes in whole lanes.
pub(super) const WHOLE: usize = HEAD_LANES;
/// Directions with codes in low bytes. The last low byte is the length of the rest.
pub(super) const LOW: usize = HEAD_LANES - 1;
/// The byte of a head that holds the length of the rest.
pub const REST_BYTE: usize = 2 * LOW;
/// The low byte of a zero.
pub(super) const LOW_ZERO: f64 = 128.0;
/// The greatest value of a lane that is possible with any low byte.
const WHOLE_MAX: f64 = 32_512.0;
pub(super) const LOW_MAX: f64 = 127.0;
pub(super) const DETAIL_MAX: f64 = 127.0;
pub(super) const REST_MAX: f64 = 254.0;
/// Room for coordinates that are greater than in the sample.
const HEADROOM: f64 = 1.35;

/// How many directions the head has.
pub(super) fn head_directions(k: usize) -> usize {
    k.min(WHOLE + LOW)
}

/// Bytes of a row's detail in a basis of `k` directions. 0 if the head has them all.
pub fn detail_bytes(k: usize) -> usize {
    match k - head_directions(k) {
        0 => 0,
        more => (more + 1).next_multiple_of(CODE_LANES),
    }
}

/// The values of one step in each code.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Of each direction, in the order of the basis.
    steps: Vec<f32>,
    /// Of the length of the rest after the head.
    pub(super) head_rest: f32,
    /// Of the length of the rest after all directions.
    pub(super) detail_rest: f32,
    /// Rows with greater errors are outliers.
    pub(super) head_error: f64,
    pub(super) detail_error: f64,
}

impl Scales {
    /// Scales for `k` directions of vectors with `dim` values, wide enough for the coordinates of
    /// these rows.
    pub fn covering<R: Iterator<Item = f32>>(
        k: usize,
        dim: usize,
        rows: impl Iterator<Item = R>,
    ) -> Self {
        let heads = head_directions(k);
        let mut greatest = vec![0.0_f64; k];
        let (mut head_rest, mut detail_rest) = (0.0_f64, 0.0_f64);
        for row in rows {
            let mut squares = 0.0;
            for (j, x) in row.map(f64::from).enumerate() {
                greatest[j] = greatest[j].max(x.abs());
                squares += x * x;
                if j + 1 == heads {
                    head_rest = head_rest.max(1.0 - squares);
                }
            }
            detail_rest = detail_rest.max(1.0 - squares);
        }
        // Rounding hides a rest that is smaller than this.
        let unknown = (4.0 * k as f64 * projection_error(dim)).sqrt() + 0.01;
        let rest = |square: f64| (square.max(0.0).sqrt() * HEADROOM + unknown).min(1.02) as f32;
        let steps = greatest
            .iter()
            .enumerate()
            .map(|(j, &greatest)| {
                let range = (greatest * HEADROOM).min(1.01) + 1e-4;
                (range / codes_of(j)) as f32
            })
            .collect();
        Self::new(
            steps,
            rest(head_rest) / REST_MAX as f32,
            rest(detail_rest) / DETAIL_MAX as f32,
        )
    }

    /// The scales with these steps.
    fn new(steps: Vec<f32>, head_rest: f32, detail_rest: f32) -> Self {
        let heads = head_directions(steps.len());
        // Half a step in each direction. Greater errors come from coordinates out of range.
        let cap = |from: usize, to: usize| {
            let halves = (from..to).map(|j| {
                let codes = if j < WHOLE { 256.0 } else { 1.0 };
                (codes * f64::from(steps[j]) / 2.0).powi(2)
            });
            halves.sum::<f64>().sqrt() * 1.001 + 1e-4
        };
        let (head_error, detail_error) = (cap(0, heads), cap(heads, steps.len()));
        Scales {
            steps,
            head_rest,
            detail_rest,
            head_error,
            detail_error,
        }
    }

    /// The scales as numbers, for [`from_floats`](Self::from_floats).
    pub fn to_floats(&self) -> impl Iterator<Item = f32> {
        let rests = [self.head_rest, self.detail_rest];
        self.steps.iter().copied().chain(rests)
    }

    /// The scales that [`to_floats`](Self::to_floats) has turned into these numbers. None if the
    /// numbers are out of range.
    pub fn from_floats(mut floats: Vec<f32>) -> Option<Self> {
        let detail_rest = floats.pop()?;
        let head_rest = floats.pop()?;
        // Coordinates of unit vectors need no more, and the limit keeps errors small.
        let covers = |step: f32, codes: f64| step > 1e-12 && f64::from(step) * codes < 1.03;
        let sound = covers(head_rest, REST_MAX)
            && covers(detail_rest, DETAIL_MAX)
            && floats
                .iter()
                .enumerate()
                .all(|(j, &step)| covers(step, codes_of(j)));
        (sound && !floats.is_empty()).then(|| Self::new(floats, head_rest, detail_rest))
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.steps.capacity() * size_of::<f32>()
    }

    /// The step of a direction.
    pub(super) fn step(&self, j: usize) -> f64 {
        f64::from(self.steps[j])
    }
}

/// The greatest code of a direction.
fn codes_of(j: usize) -> f64 {
    match j {
        _ if j < WHOLE => WHOLE_MAX,
        _ if j < WHOLE + LOW => LOW_MAX,
        _ => DETAIL_MAX,
    }
}
