//! Objectives of one's own, in one's own crate: a function, and a trait impl where there are numbers to keep.

use revealed::burn::tensor::Tensor;
use revealed::objectives::RewardObjective;

/// Exponential loss (AdaBoost's): `exp(−(r_demonstration − r_sample))`, bounded so that no pair outweighs a batch.
pub fn exponential(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    (sample - demonstration).clamp_max(5.0).exp()
}

/// A hinge whose margin grows with the sample's own score: `max(0, m + a·|r_sample| − (r_demonstration − r_sample))`.
pub struct GrowingMargin {
    /// m.
    pub margin: f64,
    /// a.
    pub growth: f64,
}

impl RewardObjective for GrowingMargin {
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
        let margin = sample.clone().abs().mul_scalar(self.growth).add_scalar(self.margin);
        (margin - (demonstration - sample)).clamp_min(0.0)
    }
}
