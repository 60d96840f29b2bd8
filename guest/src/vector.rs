//! Checking, normalising and comparing embeddings.
//!
//! Sums are taken in a fixed order, so that all hosts compute the same bits.

use crate::error::{Result, dimension, invalid};
use crate::index::codes::Codes;
use crate::types::VectorDtype;
use half::f16;

/// A vector whose norm is this close to 1 is not scaled. Unit vectors in float32 are within about
/// 1e-7.
const UNIT_TOLERANCE: f64 = 1e-6;

/// The vector, scaled to unit length. A unit vector stays as it is.
///
/// Errors: `embedder-dimension` if it does not have `dim` values, `invalid-argument` for NaN,
/// infinity and the zero vector.
pub fn unit(mut vector: Vec<f32>, dim: u32) -> Result<Vec<f32>> {
    if vector.len() != dim as usize {
        return Err(dimension(dim, vector.len()));
    }
    scale_to_unit(&mut vector)?;
    Ok(vector)
}

/// As [`unit()`], in place.
pub fn scale_to_unit(vector: &mut [f32]) -> Result<()> {
    let norm = direction(vector)?;
    if (norm - 1.0).abs() > UNIT_TOLERANCE {
        for x in vector {
            *x = (f64::from(*x) / norm) as f32;
        }
    }
    Ok(())
}

/// Whether [`unit()`] would leave the vector as it is.
pub fn is_unit(vector: &[f32]) -> bool {
    (norm(vector) - 1.0).abs() <= UNIT_TOLERANCE
}

/// The embedding of an entry that only the exact layer finds: all zeros.
pub fn absent(dim: u32) -> Vec<f32> {
    vec![0.0; dim as usize]
}

/// Whether an embedding is [`absent()`].
pub fn is_absent(vector: &[f32]) -> bool {
    vector.iter().all(|&x| x == 0.0)
}

/// Checks the vector of a stored entry: [`absent()`], or one that [`unit()`] takes.
///
/// Errors: those of [`unit()`].
pub fn check(vector: &[f32], dim: u32) -> Result<()> {
    if vector.len() != dim as usize {
        return Err(dimension(dim, vector.len()));
    }
    if is_absent(vector) {
        return Ok(());
    }
    direction(vector).map(drop)
}

/// The length of a vector that has a direction.
fn direction(vector: &[f32]) -> Result<f64> {
    let norm = norm(vector);
    if !norm.is_finite() {
        let at = vector.iter().position(|x| !x.is_finite()).unwrap_or(0);
        return Err(invalid(format!(
            "the embedding holds {} at position {at}; every value must be finite",
            vector[at]
        )));
    }
    if norm == 0.0 {
        return Err(invalid(
            "the embedding is the zero vector, which has no direction; check the embedder's input",
        ));
    }
    Ok(norm)
}

/// The Euclidean length. Not finite if a value is not finite.
fn norm(vector: &[f32]) -> f64 {
    mneme_kernels::squares_f64(vector).sqrt()
}

/// The cosine of two unit vectors of the same length, -1 to 1. That of a vector with itself is 1.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a == b {
        return 1.0;
    }
    mneme_kernels::dot_f32(a, b).clamp(-1.0, 1.0)
}

/// The cosine of two vectors after rounding both to what `dtype` holds.
pub fn similarity(a: Vec<f32>, b: Vec<f32>, dtype: VectorDtype) -> Result<f32> {
    let dim = u32::try_from(a.len()).unwrap_or(u32::MAX);
    if dim == 0 {
        return Err(invalid("the vectors are empty"));
    }
    let round = |v: Vec<f32>| -> Result<Vec<f32>> {
        let v = unit(v, dim)?;
        let rounded = match dtype {
            VectorDtype::Float32 => return Ok(v),
            VectorDtype::Float16 => v.iter().map(|&x| f16::from_f32(x).to_f32()).collect(),
            VectorDtype::Int8 => Codes::of(&v).to_floats(),
        };
        unit(rounded, dim)
    };
    Ok(cosine(&round(a)?, &round(b)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Error;
    use proptest::prelude::*;

    #[test]
    fn bad_vectors_are_refused() {
        assert!(matches!(
            unit(vec![1.0], 2),
            Err(Error::EmbedderDimension(_))
        ));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(matches!(
                unit(vec![1.0, bad], 2),
                Err(Error::InvalidArgument(_))
            ));
        }
        assert!(matches!(
            unit(vec![0.0, -0.0], 2),
            Err(Error::InvalidArgument(_))
        ));
    }

    #[test]
    fn extreme_lengths_are_scaled() {
        for x in [f32::MAX, f32::MIN_POSITIVE, 1e-45] {
            let v = unit(vec![x, 0.0], 2).unwrap();
            assert_eq!(v, [1.0, 0.0]);
        }
    }

    #[test]
    fn only_zeros_are_absent() {
        assert!(is_absent(&absent(3)) && is_absent(&[0.0, -0.0]));
        assert!(!is_absent(&[0.0, 1e-45]));
    }

    #[test]
    fn unit_vectors_keep_their_bits() {
        let v = vec![0.6_f32, 0.8];
        assert_eq!(unit(v.clone(), 2).unwrap(), v);
    }

    proptest! {
        #[test]
        fn a_vector_has_cosine_one_with_itself(v in prop::collection::vec(-1.0_f32..1.0, 1..400)) {
            let v = unit(v.clone(), v.len() as u32);
            prop_assume!(v.is_ok());
            let v = v.unwrap();
            prop_assert_eq!(cosine(&v, &v.clone()), 1.0);
        }

        #[test]
        fn coarser_types_stay_close(
            a in prop::collection::vec(-1.0_f32..1.0, 32),
            b in prop::collection::vec(-1.0_f32..1.0, 32),
        ) {
            let exact = similarity(a.clone(), b.clone(), VectorDtype::Float32);
            prop_assume!(exact.is_ok());
            let exact = exact.unwrap();
            for (dtype, tolerance) in [(VectorDtype::Float16, 1e-3), (VectorDtype::Int8, 0.03)] {
                let rounded = similarity(a.clone(), b.clone(), dtype).unwrap();
                prop_assert!((rounded - exact).abs() < tolerance);
            }
        }
    }
}
