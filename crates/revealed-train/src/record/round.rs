//! Figures and decision of one round.

use revealed_reward::{Audit, Calibration};
use serde::{Deserialize, Serialize};

use super::health::TrainingHealth;
use super::null;
use super::scores::ValidationScores;

/// Figures of a policy on held-out prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Mean calibrated reward of its samples; 0 is the average training demonstration.
    #[serde(deserialize_with = "null::number")]
    pub reward: f64,
    /// KL to the SFT model, nats/completion, estimated on its samples.
    #[serde(deserialize_with = "null::number")]
    pub kl: f64,
    /// Log-likelihood of held-out demonstrations, nats/token.
    #[serde(deserialize_with = "null::number")]
    pub log_likelihood: f64,
    /// Mean completion length, tokens.
    #[serde(deserialize_with = "null::number")]
    pub length: f64,
    /// Share of samples that end in EOS, 0 to 1.
    #[serde(deserialize_with = "null::number")]
    pub terminated: f64,
    /// Share of a sample's 4-grams that repeat an earlier one, 0 to 1, mean over samples.
    #[serde(deserialize_with = "null::number")]
    pub repetition: f64,
    /// Distinct 2-grams divided by all 2-grams of all samples, 0 to 1.
    #[serde(deserialize_with = "null::number")]
    pub distinct_2: f64,
}

/// Figures and decision of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    /// Number of the round, from 1.
    pub round: usize,
    /// Whether the candidate policy was kept.
    pub accepted: bool,
    /// Why it was rolled back, or why the run stops here.
    pub reasons: Vec<String>,
    /// Share of held-out demonstrations with a higher reward than samples of the initial model.
    #[serde(deserialize_with = "null::number")]
    pub accuracy_initial: f64,
    /// The same for samples of the SFT model; NaN in files written before this figure existed.
    #[serde(default = "null::unknown", deserialize_with = "null::number")]
    pub accuracy_sft: f64,
    /// The same for samples of the policy before the round.
    #[serde(deserialize_with = "null::number")]
    pub accuracy_before: f64,
    /// The same for samples of the candidate; below ½ the candidate scores above the demonstrations.
    #[serde(deserialize_with = "null::number")]
    pub accuracy_after: f64,
    /// Mean calibrated reward of held-out demonstrations.
    #[serde(deserialize_with = "null::number")]
    pub demonstrations_reward: f64,
    /// Shortcut audit of the reward on held-out pairs.
    pub audit: Audit,
    /// Scores by the validation reward, if there is one.
    pub validation_reward: Option<ValidationScores>,
    /// Log-likelihood of held-out demonstrations under the SFT model, nats/token.
    #[serde(deserialize_with = "null::number")]
    pub sft_log_likelihood: f64,
    /// Violations during the policy steps.
    #[serde(default)]
    pub health: TrainingHealth,
    /// Calibration of the first member of the reward.
    #[serde(default)]
    pub calibration: Calibration,
    /// The policy before the round.
    pub before: Measures,
    /// The candidate.
    pub after: Measures,
}
