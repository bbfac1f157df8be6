//! What every held-out sample of a round came to, and every held-out demonstration, so that means have intervals and scores a histogram.

use revealed_reward::repetition;
use serde::{Deserialize, Serialize};

use crate::held_out::Each;
use crate::task::Row;

/// Numbers of a policy's held-out samples, a prompt's samples next to each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoredSamples {
    /// Calibrated reward.
    pub rewards: Vec<f64>,
    /// Tokens.
    pub lengths: Vec<usize>,
    /// Whether each ended in the terminator.
    pub terminated: Vec<bool>,
    /// Estimated KL to the SFT model, `log π − log π_SFT` of the sample, in nats; empty where it was not measured.
    pub kl: Vec<f64>,
    /// Share of its 4-grams that repeat an earlier one.
    #[serde(default)]
    pub repetition: Vec<f64>,
    /// Log-likelihood of each held-out demonstration under the policy, the sum over its tokens, in nats; empty where it was not measured.
    #[serde(default)]
    pub log_likelihood: Vec<f64>,
}

/// A judged round's scores of held-out demonstrations and of samples on their prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutScores {
    /// Samples of each prompt.
    pub samples_per_prompt: usize,
    /// Calibrated reward of each demonstration.
    pub demonstrations: Vec<f64>,
    /// Tokens of each demonstration's completion.
    #[serde(default)]
    pub demonstration_lengths: Vec<usize>,
    /// Samples of the initial model.
    pub initial: ScoredSamples,
    /// Of the SFT model.
    pub sft: ScoredSamples,
    /// Of the policy before the round.
    pub before: ScoredSamples,
    /// Of the candidate.
    pub after: ScoredSamples,
}

impl ScoredSamples {
    pub(crate) fn new(rows: &[Row], rewards: &[f64], each: Each) -> Self {
        Self {
            rewards: rewards.into(),
            lengths: rows.iter().map(|row| row.completion().len()).collect(),
            terminated: rows.iter().map(|row| row.terminated).collect(),
            kl: each.kl,
            repetition: rows.iter().map(|row| repetition(row.completion())).collect(),
            log_likelihood: each.log_likelihood,
        }
    }
}
