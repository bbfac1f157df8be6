//! Rotary frequencies from a base, computed in f32 step by step as Transformers computes them.

/// `θ^(2i / dims)` for each pair of rotated dimensions.
pub(crate) fn powers(theta: f64, dims: usize) -> impl Iterator<Item = f32> {
    let theta = f64::from(theta as f32);
    (0..dims).step_by(2).map(move |i| theta.powf(f64::from(i as f32 / dims as f32)) as f32)
}

/// `θ^(−2i / dims)`.
pub(crate) fn inverse(theta: f64, dims: usize) -> Vec<f32> {
    powers(theta, dims).map(|power| 1.0 / power).collect()
}

/// The base for rows of `length` tokens, more than `positions`.
pub(crate) fn dynamic_theta(theta: f64, factor: f64, dims: usize, rows: [usize; 2]) -> f64 {
    let [length, positions] = rows.map(|n| n as f64);
    let exponent = dims as f64 / (dims as f64 - 2.0);
    theta * (factor * length / positions - (factor - 1.0)).powf(exponent)
}
