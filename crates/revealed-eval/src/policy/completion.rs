//! A sampled completion, and the KL estimators on its tokens.
//!
//! With `y` drawn from the policy and `ℓ_t = log π(y_t | x, y_<t) − log π_ref(y_t | x, y_<t)`, both at the sampling
//! temperature,
//!
//! | estimator | value of a completion | |
//! |---|---|---|
//! | k1 | `Σ_t ℓ_t` | unbiased for KL(π ‖ π_ref) of completions; single values may be negative |
//! | k3 | `Σ_t exp(−ℓ_t) − 1 + ℓ_t` | unbiased, never negative, of smaller variance while the two are close |
//!
//! Source: Schulman, <http://joschu.net/blog/kl-approx.html>, of each token given its prefix. Completions are truncated at
//! the longest length that was sampled, and the KL is that of the truncated completions.

/// A sampled completion with its scores.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SampledCompletion {
    /// Its tokens, with EOS if it was sampled.
    pub tokens: Vec<u32>,
    /// Its text, special tokens left out.
    pub text: String,
    /// Whether it ended with EOS before the limit.
    pub finished: bool,
    /// Score of the learned reward.
    pub reward: Option<f64>,
    /// Score of the gold function or of the second reward.
    pub gold: Option<f64>,
    /// k1 estimate of the KL to the reference, in nats; only for completions of the policy.
    pub k1: Option<f64>,
    /// k3 estimate of the KL to the reference, in nats; only for completions of the policy.
    pub k3: Option<f64>,
}

/// A measure of one completion.
pub(super) type Measure = fn(&SampledCompletion) -> Option<f64>;

/// k1 and k3 of one completion, from the log-probs of its tokens under both models.
///
/// # Panics
/// If the lengths differ.
pub fn kl_terms(policy: &[f32], reference: &[f32]) -> (f64, f64) {
    assert_eq!(policy.len(), reference.len(), "two log-probs a token");
    policy.iter().zip(reference).fold((0.0, 0.0), |(k1, k3), (p, r)| {
        let log_ratio = f64::from(*p) - f64::from(*r);
        (k1 + log_ratio, k3 + (-log_ratio).exp_m1() + log_ratio)
    })
}

/// Each prompt's values; `None` if a completion lacks the measure, or a prompt has no completions.
pub(super) fn values(side: &[Vec<SampledCompletion>], measure: Measure) -> Option<Vec<Vec<f64>>> {
    let all: Option<Vec<Vec<f64>>> =
        side.iter().map(|all| all.iter().map(measure).collect()).collect();
    all.filter(|all| !all.is_empty() && all.iter().all(|values| !values.is_empty()))
}
