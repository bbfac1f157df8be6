//! Samples for people to read.

use serde::{Deserialize, Serialize};

use super::null;

/// A held-out prompt with the completions of the demonstrator and of the policy before and after a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownSample {
    /// Text of the prompt.
    pub prompt: String,
    /// Text of the demonstration.
    pub demonstration: String,
    /// Text sampled from the policy before the round.
    pub before: String,
    /// Text sampled from the candidate.
    pub after: String,
    /// Calibrated rewards of the three completions.
    pub rewards: ShownRewards,
}

/// Calibrated rewards of the completions of a [`ShownSample`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShownRewards {
    /// Reward of the demonstration.
    #[serde(deserialize_with = "null::number")]
    pub demonstration: f64,
    /// Reward of the sample before the round.
    #[serde(deserialize_with = "null::number")]
    pub before: f64,
    /// Reward of the candidate's sample.
    #[serde(deserialize_with = "null::number")]
    pub after: f64,
}
