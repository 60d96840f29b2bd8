//! The few directions along which the vectors of a cache differ most, and learning them.
//!
//! The [`Basis`] decides only how tight the bounds in [`projections`](super::projections) are. The
//! bounds rely on orthonormal directions, which is measured, and on nothing else that was learned.

use super::rounding::projection_error;
use super::scales::Scales;
use mneme_kernels::{add_multiple, project};

/// The most directions. With two lengths of the rest, they make 32 + 64 bytes of codes.
const DIRECTIONS: usize = 94;
/// The most directions for vectors beyond [`LONG`] dimensions, where each costs more.
const DIRECTIONS_OF_LONG: usize = 62;
const LONG: usize = 2048;
/// The most vectors that a basis is learned from.
const SAMPLE_ROWS: usize = 2048;
/// The most values of a sample.
const SAMPLE_VALUES: usize = 4 << 20;
/// Rounds of the iteration. More tighten the bounds by less than a hundredth.
const ROUNDS: usize = 4;
/// A basis further from orthonormal than this is refused.
const GREATEST_DEFECT: f64 = 0.01;

/// How many directions a basis has.
pub fn directions(dim: usize) -> usize {
    dim.min(match dim > LONG {
        true => DIRECTIONS_OF_LONG,
        false => DIRECTIONS,
    })
}

/// How many vectors to learn from, if there are that many.
pub fn sample_rows(dim: usize) -> usize {
    SAMPLE_ROWS.min(SAMPLE_VALUES / dim.max(1))
}

/// The bytes that learning from a full sample takes.
pub fn learning_bytes(dim: usize) -> usize {
    let (k, rows) = (directions(dim), sample_rows(dim));
    // The sample, the directions now, next and in order.
    size_of::<f32>() * (rows * dim + 2 * k * dim + k * dim.max(rows))
}

/// Orthonormal directions, and the scales of the codes along them.
#[derive(Debug)]
pub struct Basis {
    dim: usize,
    /// One direction after another, `dim` values each.
    directions: Vec<f32>,
    /// At least the spectral norm of `V Vᵀ - I`, where the rows of `V` are the directions.
    defect: f64,
    scales: Scales,
}

impl Basis {
    /// A basis of these directions. None if they are not finite, or too far from orthonormal.
    pub fn new(dim: usize, directions: Vec<f32>, scales: Scales) -> Option<Self> {
        let defect = defect(dim, &directions)?;
        Some(Basis {
            dim,
            directions,
            defect,
            scales,
        })
    }

    /// How many values a vector has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many directions there are.
    pub fn size(&self) -> usize {
        self.directions.len() / self.dim
    }

    /// All directions, one after another.
    pub fn directions(&self) -> &[f32] {
        &self.directions
    }

    /// At least the spectral norm of `V Vᵀ - I`.
    pub fn defect(&self) -> f64 {
        self.defect
    }

    /// The scales of codes in this basis.
    pub fn scales(&self) -> &Scales {
        &self.scales
    }

    /// The coordinates of a vector along each direction.
    pub fn project(&self, vector: &[f32], out: &mut [f32]) {
        project(&self.directions, vector, out);
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.directions.capacity() * size_of::<f32>() + self.scales.bytes()
    }
}

/// The Frobenius norm of `V Vᵀ - I`, rounded up. It is at least the spectral norm.
fn defect(dim: usize, directions: &[f32]) -> Option<f64> {
    let k = directions.len() / dim.max(1);
    if dim == 0 || k == 0 || directions.len() != k * dim {
        return None;
    }
    // Lengths are near 1, or the basis is refused.
    let off = 1.1 * projection_error(dim);
    let mut products = vec![0.0; k];
    let mut squares = 0.0;
    for (j, direction) in directions.chunks_exact(dim).enumerate() {
        let products = &mut products[..=j];
        project(&directions[..(j + 1) * dim], direction, products);
        for (i, &product) in products.iter().enumerate() {
            let (wanted, times) = if i == j { (1.0, 1.0) } else { (0.0, 2.0) };
            squares += times * ((f64::from(product) - wanted).abs() + off).powi(2);
        }
    }
    let defect = squares.sqrt();
    // False for NaN.
    (defect < GREATEST_DEFECT).then_some(defect)
}

/// Learns a basis from a sample, bit by bit.
///
/// Orthogonal iteration (Golub and Van Loan, Matrix Computations, section 8.2.4): each round
/// multiplies the directions by the sample's second moments and makes them orthonormal again.
/// That turns them to the leading principal directions. The moments are never formed: a round
/// takes two products of each row with all directions.
#[derive(Debug)]
pub struct Learner {
    dim: usize,
    sample: Vec<f32>,
    directions: Vec<f32>,
    /// The directions times the moments of the rows up to `done`. In the last phase, the
    /// coordinates of one row after another.
    next: Vec<f32>,
    phase: Phase,
    /// How many rows or directions this phase has finished.
    done: usize,
    coordinates: Vec<f32>,
    random: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The number of the round.
    Multiply(usize),
    Orthonormalize(usize),
    Measure,
}

impl Learner {
    /// Starts with a sample of vectors, one after another. None if memory is short.
    pub fn new(dim: usize, sample: Vec<f32>) -> Option<Self> {
        let k = directions(dim);
        let rows = sample.len() / dim;
        let mut learner = Learner {
            dim,
            sample,
            directions: zeros(k * dim)?,
            next: zeros(k * dim.max(rows))?,
            phase: Phase::Orthonormalize(0),
            done: 0,
            coordinates: zeros(k)?,
            random: 0x9e37_79b9_7f4a_7c15,
        };
        for i in 0..k * dim {
            learner.next[i] = learner.random();
        }
        Some(learner)
    }

    /// Goes on until `budget` multiplications are used up, or the basis is found, and takes the
    /// cost from `budget`. None with some budget left if there is no usable basis.
    pub fn step(&mut self, budget: &mut u64) -> Option<Basis> {
        let (dim, k) = (self.dim, self.coordinates.len());
        let rows = self.sample.len() / dim;
        while *budget > 0 {
            let cost = match self.phase {
                Phase::Multiply(round) => {
                    if self.done == rows {
                        self.enter(Phase::Orthonormalize(round));
                        continue;
                    }
                    self.multiply();
                    2 * k * dim
                }
                Phase::Orthonormalize(round) => {
                    if self.done == k {
                        if round == ROUNDS {
                            self.enter(Phase::Measure);
                        } else {
                            self.next.fill(0.0);
                            self.enter(Phase::Multiply(round + 1));
                        }
                        continue;
                    }
                    self.orthonormalize();
                    4 * (self.done + 1) * dim
                }
                Phase::Measure => {
                    if self.done == rows {
                        return self.finish();
                    }
                    let row = &self.sample[self.done * dim..][..dim];
                    project(&self.directions, row, &mut self.next[self.done * k..][..k]);
                    k * dim
                }
            };
            self.done += 1;
            *budget = budget.saturating_sub(cost as u64);
        }
        None
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        let values = self.sample.capacity() + self.directions.capacity() + self.next.capacity();
        values * size_of::<f32>()
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.done = 0;
    }

    /// Adds the products with one row.
    fn multiply(&mut self) {
        let row = &self.sample[self.done * self.dim..][..self.dim];
        project(&self.directions, row, &mut self.coordinates);
        let sums = self.next.chunks_exact_mut(self.dim);
        for (sum, &times) in sums.zip(&self.coordinates) {
            add_multiple(sum, times, row);
        }
    }

    /// Makes one direction orthogonal to those before it, and of unit length.
    fn orthonormalize(&mut self) {
        let (dim, at) = (self.dim, self.done);
        let (before, rest) = self.directions.split_at_mut(at * dim);
        let direction = &mut rest[..dim];
        direction.copy_from_slice(&self.next[at * dim..][..dim]);
        // If the sample has fewer dimensions, any further directions will do.
        for _ in 0..4 {
            let ready = normalize(direction) && {
                let coordinates = &mut self.coordinates[..at];
                // The rest is long if the direction was not in the others' span. Then twice is
                // enough (Parlett, The Symmetric Eigenvalue Problem, section 6.9).
                let mut long = true;
                for _ in 0..2 {
                    project(before, direction, coordinates);
                    for (one, &times) in before.chunks_exact(dim).zip(&*coordinates) {
                        add_multiple(direction, -times, one);
                    }
                    long &= norm(direction) > 1e-3;
                }
                long && normalize(direction)
            };
            if ready {
                return;
            }
            for value in &mut *direction {
                *value = random(&mut self.random);
            }
        }
    }

    /// Orders the directions, widest first, and takes their scales from the sample.
    fn finish(&mut self) -> Option<Basis> {
        let (dim, k) = (self.dim, self.coordinates.len());
        let rows = self.sample.len() / dim;
        let coordinates = &self.next[..rows * k];
        let mut variances = vec![0.0_f64; k];
        for row in coordinates.chunks_exact(k) {
            for (variance, &x) in variances.iter_mut().zip(row) {
                *variance += f64::from(x) * f64::from(x);
            }
        }
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
        let ordered: Vec<f32> = order
            .iter()
            .flat_map(|&j| &self.directions[j * dim..][..dim])
            .copied()
            .collect();
        let scales = Scales::covering(
            k,
            dim,
            coordinates
                .chunks_exact(k)
                .map(|row| order.iter().map(|&j| row[j])),
        );
        Basis::new(dim, ordered, scales)
    }

    fn random(&mut self) -> f32 {
        random(&mut self.random)
    }
}

/// A number evenly distributed in -0.5..0.5, the same in every run (xorshift64*, Vigna 2016).
fn random(state: &mut u64) -> f32 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
    bits as f32 / (1 << 24) as f32 - 0.5
}

fn zeros(len: usize) -> Option<Vec<f32>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).ok()?;
    values.resize(len, 0.0);
    Some(values)
}

fn norm(vector: &[f32]) -> f64 {
    let squares = vector.iter().map(|&x| f64::from(x) * f64::from(x));
    squares.sum::<f64>().sqrt()
}

/// Scales to unit length. False for a vector without a direction.
fn normalize(vector: &mut [f32]) -> bool {
    let norm = norm(vector);
    if !norm.is_finite() || norm < 1e-30 {
        return false;
    }
    for x in vector {
        *x = (f64::from(*x) / norm) as f32;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::unit;
    use proptest::prelude::*;

    fn learn(dim: usize, sample: Vec<f32>, step: u64) -> Option<Basis> {
        let mut learner = Learner::new(dim, sample).unwrap();
        loop {
            let mut budget = step;
            let basis = learner.step(&mut budget);
            if basis.is_some() || budget > 0 {
                return basis;
            }
        }
    }

    #[test]
    fn the_widest_directions_come_first() {
        // Axis i has a standard deviation of about 1 / (i + 1).
        let dim = 300;
        let mut state = 1;
        let sample: Vec<f32> = (0..1500 * dim)
            .map(|i| random(&mut state) / (i % dim + 1) as f32)
            .collect();
        let basis = learn(dim, sample, u64::MAX).unwrap();
        assert_eq!(basis.size(), DIRECTIONS);
        // The share of the variance along each direction, beside that along the axes.
        let along = |direction: &[f32]| -> f32 {
            let axes = direction.iter().enumerate();
            axes.map(|(i, x)| (x / (i + 1) as f32).powi(2)).sum()
        };
        let directions = basis.directions().chunks_exact(dim);
        let variances: Vec<f32> = directions.map(along).collect();
        assert!(
            variances.is_sorted_by(|a, b| *a >= b * 0.9),
            "{variances:?}"
        );
        let head: f32 = variances[..31].iter().sum();
        let best: f32 = (1..=31).map(|i| (i as f32).powi(-2)).sum();
        assert!(head > 0.99 * best, "{head} of {best}");
    }

    #[test]
    fn small_steps_come_to_the_same() {
        let mut state = 7;
        let sample: Vec<f32> = (0..50 * 20).map(|_| random(&mut state)).collect();
        let whole = learn(20, sample.clone(), u64::MAX).unwrap();
        let bits = learn(20, sample, 1).unwrap();
        assert_eq!(whole.directions(), bits.directions());
    }

    #[test]
    fn directions_that_are_not_orthonormal_are_refused() {
        let scales = || Scales::covering(2, 2, std::iter::once([0.5, 0.5].into_iter()));
        assert!(Basis::new(2, vec![1.0, 0.0, 0.0, 1.0], scales()).is_some());
        for bad in [
            [1.0, 0.0, 0.1, 1.0],
            [1.02, 0.0, 0.0, 1.0],
            [1.0, 0.0, f32::NAN, 1.0],
        ] {
            assert!(Basis::new(2, bad.into(), scales()).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn any_sample_gives_an_orthonormal_basis(
            (dim, rows) in (2_usize..150).prop_flat_map(|dim| {
                let value = prop_oneof![-1.0_f32..1.0, Just(0.0), Just(1.0), Just(1e-40)];
                let row = prop::collection::vec(value, dim)
                    .prop_filter_map("zero vector", move |v| unit(v, dim as u32).ok());
                (Just(dim), prop::collection::vec(row, 1..8))
            }),
        ) {
            let basis = learn(dim, rows.concat(), u64::MAX).unwrap();
            prop_assert_eq!(basis.size(), directions(dim));
            prop_assert!(basis.defect() < 1e-3);
        }
    }
}
