//! From the vectors of a text's tokens to the vector of the text.

/// Which tokens make the vector of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The mean of all.
    Mean,
    /// Their sum, divided by the square root of their number.
    MeanSqrt,
    /// The first, which stands for the whole.
    Cls,
    /// The greatest value of each dimension.
    Max,
    /// The last.
    Last,
}

impl Pooling {
    /// Its name in fingerprints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::MeanSqrt => "mean-sqrt",
            Self::Cls => "cls",
            Self::Max => "max",
            Self::Last => "last",
        }
    }

    /// The vector of a text, or a multiple of it: see [`divisor`](Self::divisor). `tokens` holds one vector of `dim` values after the other, at least one.
    pub fn pool(self, tokens: &[f32], dim: usize) -> Vec<f32> {
        let mut rows = tokens.chunks_exact(dim);
        let fold = |rows: std::slice::ChunksExact<'_, f32>, combine: fn(f32, f32) -> f32| {
            rows.fold(None, |pooled: Option<Vec<f32>>, row| {
                Some(match pooled {
                    None => row.to_vec(),
                    Some(mut pooled) => {
                        for (value, other) in pooled.iter_mut().zip(row) {
                            *value = combine(*value, *other);
                        }
                        pooled
                    }
                })
            })
            .unwrap_or_default()
        };
        match self {
            Self::Mean | Self::MeanSqrt => fold(rows, |a, b| a + b),
            Self::Max => fold(rows, f32::max),
            Self::Cls => rows.next().unwrap_or_default().to_vec(),
            Self::Last => rows.next_back().unwrap_or_default().to_vec(),
        }
    }
}

impl Pooling {
    /// What the vector of so many tokens is yet to be divided by, if its length matters.
    pub fn divisor(self, tokens: usize) -> f32 {
        match self {
            Self::Mean => tokens as f32,
            Self::MeanSqrt => (tokens as f32).sqrt(),
            Self::Cls | Self::Max | Self::Last => 1.0,
        }
    }
}

/// Makes the first `dim` values a vector of length 1: none if they are all zero, or one is not
/// finite.
pub(crate) fn unit(mut vector: Vec<f32>, dim: usize) -> Option<Vec<f32>> {
    vector.truncate(dim);
    let squares = vector.iter().map(|&value| f64::from(value).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if !length.is_finite() || length <= 0.0 {
        return None;
    }
    for value in &mut vector {
        *value = (f64::from(*value) / length) as f32;
    }
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_pooling() {
        let tokens = [1.0, 8.0, 3.0, 2.0, 2.0, 5.0];
        assert_eq!(Pooling::Mean.pool(&tokens, 2), [6.0, 15.0]);
        assert_eq!(Pooling::Max.pool(&tokens, 2), [3.0, 8.0]);
        assert_eq!(Pooling::Cls.pool(&tokens, 2), [1.0, 8.0]);
        assert_eq!(Pooling::Last.pool(&tokens, 2), [2.0, 5.0]);
    }

    #[test]
    fn vectors_are_cut_and_made_one_long() {
        assert_eq!(unit(vec![3.0, 4.0, 9.0], 2).unwrap(), [0.6, 0.8]);
        assert_eq!(unit(vec![0.0, 0.0, 1.0], 2), None);
        assert_eq!(unit(vec![f32::NAN, 1.0], 2), None);
        assert_eq!(unit(vec![f32::INFINITY, 1.0], 2), None);
        let long = unit(vec![f32::MAX; 384], 384).unwrap();
        assert!(
            long.iter()
                .all(|value| (value - 1.0 / 384f32.sqrt()).abs() < 1e-6)
        );
    }
}
