//! The probability ratio between two policies, per token.

use burn::tensor::Tensor;

/// The log of the probability ratio between the policy and the policy at rollout.
///
/// `log ρ = log π(y_t) − log π_old(y_t)`
///
/// # Shapes
/// - `log_probs`, `old_log_probs`: `[B,T]`
/// - output: `[B,T]`
///
/// # Panics
/// When the shapes differ.
pub fn log_ratio(log_probs: Tensor<2>, old_log_probs: Tensor<2>) -> Tensor<2> {
    assert_eq!(
        old_log_probs.dims(),
        log_probs.dims(),
        "old_log_probs and log_probs differ in shape"
    );
    log_probs - old_log_probs
}

/// The probability ratio between the policy and the policy at rollout.
///
/// `ρ = π(y_t) / π_old(y_t)`; exactly 1 at an update's first step, when rollout and training agree.
///
/// # Shapes
/// - `log_probs`, `old_log_probs`: `[B,T]`
/// - output: `[B,T]`, positive
///
/// # Panics
/// When the shapes differ.
pub fn ratio(log_probs: Tensor<2>, old_log_probs: Tensor<2>) -> Tensor<2> {
    log_ratio(log_probs, old_log_probs).exp()
}
