//! `[gate]` and `[health]`: limits on a round and on its steps.

use serde::{Deserialize, Serialize};

use super::choices::{Stop, ValidationReward};
use super::section::section;

section! {
    /// `[gate]`: a round is kept only if all of these hold on held-out demonstrations
    GateSection {
        /// Samples per held-out prompt
        samples: usize = 2,
        /// Minimum accuracy of the reward on held-out demonstrations and fresh negatives
        min_accuracy: f64 = 0.55,
        /// Minimum difference of that accuracy to the better of two probes, one on length and one on a bag of tokens
        min_shortcut_margin: f64 = -0.1,
        /// Minimum for the upper end of the 95 % interval of the accuracy on length-matched held-out pairs
        min_length_matched_accuracy: f64 = 0.5,
        /// Maximum absolute correlation of reward and length within prompts
        max_length_correlation: f64 = 0.9,
        /// Lower bound on the change of the objective: mean calibrated reward of samples minus policy.kl_coef times their KL to the SFT model. Below 0 because a converged round changes by noise. In docs/evidence.md it finds the rounds that lower the true reward
        min_gain: f64 = -0.05,
        /// Maximum KL to the SFT model, nats/completion
        max_kl: f64 = 30.0,
        /// Maximum drop of the log-likelihood of held-out demonstrations below the SFT model's, nats/token
        max_likelihood_drop: f64 = 1.0,
        /// Maximum drop of the share of completions that end in EOS
        max_terminated_drop: f64 = 0.05,
        /// Maximum rise of the share of repeated 4-grams
        max_repetition_rise: f64 = 0.10,
        /// Minimum ratio of distinct 2-grams after the round to before
        min_distinct_share: f64 = 0.5,
        /// Maximum factor by which mean length may change, up or down
        max_length_factor: f64 = 2.0,
        /// "passed-demonstrations" or "never"
        stop: Stop = Stop::Never,
        /// Rejected rounds in a row before the run stops
        patience: usize = 1,
        /// "independent" (a second reward that is trained once and never optimised against) or "none"
        validation_reward: ValidationReward = ValidationReward::Independent,
        /// Minimum change of the samples' mean score by the validation reward, in standard errors; -2 rejects a fall beyond noise
        min_validation_gain: f64 = -2.0,
    }
}

section! {
    /// `[health]`: limits within a phase; expected ranges follow from the other settings
    HealthSection {
        /// Maximum number of optimizer steps per phase that are skipped because loss or gradient norm is not finite or above max_unclipped_norm; one more ends the run
        max_skipped_steps: usize = 3,
        /// Maximum gradient norm before clipping; inf for any finite norm
        max_unclipped_norm: f64 = 1e4,
        /// Maximum mean KL of a rollout to the reference model, nats/completion; above it the policy steps end and the round is rolled back
        max_kl: f64 = 100.0,
        /// Maximum factor between the mean length of a rollout and of the first rollout of the round, up or down; beyond it the same happens
        max_length_factor: f64 = 4.0,
    }
}

impl GateSection {
    /// The same without bounds and stop rule: every round is kept. Sampling, evaluation and reports are unchanged.
    pub fn without_bounds(self) -> Self {
        Self {
            min_accuracy: 0.0,
            min_shortcut_margin: f64::NEG_INFINITY,
            min_length_matched_accuracy: 0.0,
            max_length_correlation: f64::INFINITY,
            min_gain: f64::NEG_INFINITY,
            min_validation_gain: f64::NEG_INFINITY,
            max_kl: f64::INFINITY,
            max_likelihood_drop: f64::INFINITY,
            max_terminated_drop: f64::INFINITY,
            max_repetition_rise: f64::INFINITY,
            min_distinct_share: 0.0,
            max_length_factor: f64::INFINITY,
            stop: Stop::Never,
            ..self
        }
    }
}
