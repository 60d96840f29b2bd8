//! Vectors of unit length.

/// The vector scaled to unit length; what has no direction becomes the first axis.
pub fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector
        .iter()
        .map(|&x| f64::from(x).powi(2))
        .sum::<f64>()
        .sqrt();
    if norm < 1e-20 {
        vector.fill(0.0);
        vector[0] = 1.0;
        return vector;
    }
    for value in &mut vector {
        *value = (f64::from(*value) / norm) as f32;
    }
    vector
}
