//! The greatest errors of float32 sums, and rounding up.

use mneme_kernels::{LANES, PROJECT_LANES};

/// The greatest error of `mneme_kernels::project`, a float32 sum of `dim` products, for vectors
/// whose lengths have a product of 1. `n` operations in a chain have an error of at most
/// `n u / (1 - n u)` for `u = 2^-24` (Higham, Accuracy and Stability of Numerical Algorithms,
/// section 3.1).
pub fn projection_error(dim: usize) -> f64 {
    let chain = (dim.div_ceil(PROJECT_LANES) + 4) as f64 * 2.0_f64.powi(-24);
    chain / (1.0 - chain)
}

/// The greatest error of `mneme_kernels::dot_f32` for two unit vectors. Each lane's chain has
/// `n/16 + 4` additions and a multiplication, with a unit roundoff of 2^-24 each (as above).
/// The rest is room for the clamping and for the float32 arithmetic of the bound itself.
pub fn sum_error(len: usize) -> f32 {
    (len as f32 / LANES as f32 + 16.0) * 1.2e-7
}

/// A length as a float32 that is not smaller.
pub fn up(x: f64) -> f32 {
    (x * (1.0 + 1e-6)) as f32 + f32::MIN_POSITIVE
}

/// A bound as a float32 that is not smaller.
pub fn up_signed(x: f64) -> f32 {
    ((x + x.abs() * 1e-7) as f32).next_up()
}
