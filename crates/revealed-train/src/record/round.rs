//! Figures and decision of one round.

use revealed_reward::{Audit, Calibration};
use serde::{Deserialize, Deserializer, Serialize};

use super::health::TrainingHealth;
use super::scores::ValidationScores;

/// Figures of a policy on held-out prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Mean calibrated reward of its samples; 0 is the average training demonstration.
    pub reward: f64,
    /// KL to the SFT model, nats/completion, estimated on its samples.
    pub kl: f64,
    /// Log-likelihood of held-out demonstrations, nats/token.
    pub log_likelihood: f64,
    /// Mean completion length, tokens.
    pub length: f64,
    /// Share of samples that end in EOS, 0 to 1.
    pub terminated: f64,
    /// Share of a sample's 4-grams that repeat an earlier one, 0 to 1, mean over samples.
    pub repetition: f64,
    /// Distinct 2-grams divided by all 2-grams of all samples, 0 to 1.
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
    pub accuracy_initial: f64,
    /// The same for samples of the SFT model; NaN in files written before this figure existed.
    #[serde(default = "unknown", deserialize_with = "number_or_null")]
    pub accuracy_sft: f64,
    /// The same for samples of the policy before the round.
    pub accuracy_before: f64,
    /// The same for samples of the candidate; below ½ the candidate scores above the demonstrations.
    pub accuracy_after: f64,
    /// Mean calibrated reward of held-out demonstrations.
    pub demonstrations_reward: f64,
    /// Shortcut audit of the reward on held-out pairs.
    pub audit: Audit,
    /// Scores by the validation reward, if there is one.
    pub validation_reward: Option<ValidationScores>,
    /// Log-likelihood of held-out demonstrations under the SFT model, nats/token.
    pub sft_log_likelihood: f64,
    /// Violations during the policy steps.
    #[serde(default)]
    pub health: TrainingHealth,
    /// Calibration of the first member of the reward.
    pub calibration: Calibration,
    /// The policy before the round.
    pub before: Measures,
    /// The candidate.
    pub after: Measures,
}

fn unknown() -> f64 {
    f64::NAN
}

/// JSON has no NaN; it is written as null.
fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}
