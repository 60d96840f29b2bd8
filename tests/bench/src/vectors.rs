//! What is stored and asked: generated vectors, or those of a file.

use fastrand::Rng;

use crate::dataset::Dataset;
use crate::unit::unit;

/// Entries of a topic of generated vectors, about.
const TOPIC: usize = 50;
/// One row of a file in so many is held out, to be asked.
const HELD_OUT: usize = 8;

/// Makes vectors of unit length, the same for the same arguments.
pub enum Generator<'a> {
    Synthetic(Synthetic),
    Mixed(Mixed<'a>),
}

impl<'a> Generator<'a> {
    /// Vectors for `rows` entries: of `dataset`, or generated ones of `dim` values.
    pub fn new(dataset: Option<&'a Dataset>, rows: usize, dim: usize) -> Self {
        match dataset {
            Some(dataset) => Self::Mixed(Mixed::new(dataset, rows)),
            None => Self::Synthetic(Synthetic::new(rows, dim)),
        }
    }

    /// The vector of an entry.
    pub fn row(&self, n: usize) -> std::io::Result<Vec<f32>> {
        match self {
            Self::Synthetic(synthetic) => Ok(synthetic.row(n)),
            Self::Mixed(mixed) => mixed.row(n),
        }
    }

    /// The query `n` that is close to no entry on purpose; none after the last.
    pub fn unrelated(&self, n: usize) -> std::io::Result<Option<Vec<f32>>> {
        match self {
            Self::Synthetic(synthetic) => Ok(Some(synthetic.unrelated(n))),
            Self::Mixed(mixed) => mixed
                .held_out
                .get(n)
                .map(|&row| mixed.dataset.row(row))
                .transpose(),
        }
    }

    /// A query with a cosine of about 0.93 with an entry.
    pub fn related(&self, entry: &[f32], n: usize) -> std::io::Result<Vec<f32>> {
        let other = match self {
            Self::Synthetic(synthetic) => synthetic.direction(&mut seeded(4, n)),
            Self::Mixed(mixed) => mixed
                .dataset
                .row(mixed.held_out[n % mixed.held_out.len()])?,
        };
        Ok(mix(entry, &other, 0.93))
    }

    /// Where the vectors come from, in words.
    pub fn origin(&self) -> String {
        match self {
            Self::Synthetic(_) => {
                "generated: topics of about 50 entries, spectrum decaying as that of sentence vectors"
                    .into()
            }
            Self::Mixed(mixed) => {
                let (real, all) = (mixed.base.len().min(mixed.order.len()), mixed.order.len());
                let file = mixed.dataset.path.file_name().unwrap_or_default();
                let rest = match all - real {
                    0 => String::new(),
                    rest => format!(", and {rest} mixed of two of them (cosines 0.6 to 0.84)"),
                };
                format!("{real} vectors of {}{rest}; those to put included", file.to_string_lossy())
            }
        }
    }
}

/// Topics around a common direction.
pub struct Synthetic {
    /// The standard deviation of each value of a direction, but for a factor.
    deviations: Vec<f32>,
    topics: Vec<Vec<f32>>,
}

impl Synthetic {
    fn new(rows: usize, dim: usize) -> Self {
        // The variances are, summed from the first on, within 4 % of those of the principal
        // components of sentence vectors (all-MiniLM-L6-v2).
        let deviations = (0..dim).map(|i| (1.0 + i as f32 / 32.0).powf(-0.75));
        let mut made = Self {
            deviations: deviations.collect(),
            topics: Vec::new(),
        };
        let common = made.direction(&mut seeded(1, 0));
        made.topics = (0..rows.div_ceil(TOPIC))
            .map(|n| mix(&made.direction(&mut seeded(2, n)), &common, 0.95))
            .collect();
        made
    }

    /// Within a topic cosines are about 0.6.
    fn row(&self, n: usize) -> Vec<f32> {
        self.in_topic(n, &mut seeded(3, n))
    }

    /// One more vector of a topic.
    fn unrelated(&self, n: usize) -> Vec<f32> {
        self.in_topic(n, &mut seeded(5, n))
    }

    fn in_topic(&self, n: usize, random: &mut Rng) -> Vec<f32> {
        let topic = &self.topics[n % self.topics.len()];
        mix(topic, &self.direction(random), 0.775)
    }

    /// A direction, heavier in the first dimensions.
    fn direction(&self, random: &mut Rng) -> Vec<f32> {
        let values = self.deviations.iter().map(|x| x * normal(random));
        unit(values.collect())
    }
}

/// The rows of a file in random order, and beyond their number mixtures of two of them.
pub struct Mixed<'a> {
    dataset: &'a Dataset,
    /// Rows of the file that are stored.
    base: Vec<usize>,
    held_out: Vec<usize>,
    /// Real rows and mixtures alternate.
    order: Vec<u32>,
}

impl<'a> Mixed<'a> {
    fn new(dataset: &'a Dataset, rows: usize) -> Self {
        let random = &mut seeded(6, 0);
        let mut base: Vec<usize> = (0..dataset.rows).collect();
        random.shuffle(&mut base);
        let held_out = base.split_off(dataset.rows - dataset.rows / HELD_OUT);
        let mut order: Vec<u32> = (0..rows as u32).collect();
        random.shuffle(&mut order);
        Self {
            dataset,
            base,
            held_out,
            order,
        }
    }

    fn row(&self, n: usize) -> std::io::Result<Vec<f32>> {
        let n = self.order[n] as usize;
        let row = self.dataset.row(self.base[n % self.base.len()])?;
        if n < self.base.len() {
            return Ok(row);
        }
        let random = &mut seeded(7, n);
        let other = self
            .dataset
            .row(self.base[random.usize(..self.base.len())])?;
        Ok(mix(&row, &other, 0.6 + 0.24 * random.f32()))
    }
}

/// A generator of random numbers for each purpose and number.
pub fn seeded(purpose: u64, n: usize) -> Rng {
    Rng::with_seed((n as u64 ^ (purpose << 48)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// About normally distributed.
fn normal(random: &mut Rng) -> f32 {
    ((0..4).map(|_| random.f32()).sum::<f32>() - 2.0) * 1.732
}

/// `a`, of unit length, turned towards `b` until its cosine with what it was is this.
fn mix(a: &[f32], b: &[f32], cosine: f32) -> Vec<f32> {
    let along: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let across: Vec<f32> = a.iter().zip(b).map(|(a, b)| b - along * a).collect();
    // Of the same vector twice nothing is left but rounding.
    if across.iter().map(|x| x * x).sum::<f32>() < 1e-9 {
        return a.to_vec();
    }
    let across = unit(across);
    let rest = (1.0 - cosine * cosine).sqrt();
    let mixed = a.iter().zip(&across).map(|(a, b)| cosine * a + rest * b);
    unit(mixed.collect())
}

/// The cosine of two vectors of unit length.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_vectors_are_units_and_repeatable() {
        for dim in [2, 384] {
            let (one, two) = (Synthetic::new(200, dim), Synthetic::new(200, dim));
            for n in [0, 1, 199] {
                assert!((cosine(&one.row(n), &one.row(n)) - 1.0).abs() < 1e-6);
                assert_eq!(one.row(n), two.row(n));
            }
        }
    }

    #[test]
    fn mixtures_have_their_cosine() {
        let random = &mut seeded(9, 9);
        let synthetic = Synthetic::new(1, 64);
        let (a, b) = (synthetic.direction(random), synthetic.direction(random));
        assert!((cosine(&a, &mix(&a, &b, 0.93)) - 0.93).abs() < 1e-4);
        assert_eq!(mix(&a, &a, 0.5), a);
    }
}
