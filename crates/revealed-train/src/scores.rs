//! What every held-out sample of a round came to, so that means have intervals and scores a histogram.

use serde::{Deserialize, Serialize};

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
}

/// A judged round's scores of held-out demonstrations and of samples on their prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutScores {
    /// Samples of each prompt.
    pub samples_per_prompt: usize,
    /// Calibrated reward of each demonstration.
    pub demonstrations: Vec<f64>,
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
    pub(crate) fn new(rows: &[Row], rewards: &[f64], kl: Vec<f64>) -> Self {
        Self {
            rewards: rewards.into(),
            lengths: rows.iter().map(|row| row.completion().len()).collect(),
            terminated: rows.iter().map(|row| row.terminated).collect(),
            kl,
        }
    }
}
