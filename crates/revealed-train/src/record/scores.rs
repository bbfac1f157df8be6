//! Scores on held-out prompts, per sample and per demonstration, for intervals and histograms.

use serde::{Deserialize, Serialize};

use super::null;

/// Scores of a round by the validation reward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationScores {
    /// Mean calibrated score of held-out demonstrations.
    #[serde(deserialize_with = "null::number")]
    pub demonstrations: f64,
    /// Mean calibrated score of samples of the policy before the round.
    #[serde(deserialize_with = "null::number")]
    pub before: f64,
    /// Mean calibrated score of samples of the candidate.
    #[serde(deserialize_with = "null::number")]
    pub after: f64,
    /// Standard error of `after - before`, over prompts.
    #[serde(deserialize_with = "null::number")]
    pub standard_error: f64,
    /// Share of held-out demonstrations with a higher score than samples of the candidate.
    #[serde(default = "null::unknown", deserialize_with = "null::number")]
    pub accuracy_after: f64,
}

impl ValidationScores {
    /// `(after - before) / standard_error`; 0 if the mean did not move.
    pub fn gain(&self) -> f64 {
        let rise = self.after - self.before;
        if rise == 0.0 { 0.0 } else { rise / self.standard_error }
    }
}

/// Held-out samples of one policy; samples of a prompt are adjacent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoredSamples {
    /// Calibrated reward of each sample.
    #[serde(deserialize_with = "null::numbers")]
    pub rewards: Vec<f64>,
    /// Tokens of each completion, EOS included.
    pub lengths: Vec<usize>,
    /// Whether each sample ends in EOS.
    pub terminated: Vec<bool>,
    /// `log π − log π_SFT` of each sample, nats: an estimate of the KL; empty if it was not measured.
    #[serde(deserialize_with = "null::numbers")]
    pub kl: Vec<f64>,
    /// Share of each sample's 4-grams that repeat an earlier one, 0 to 1.
    #[serde(default, deserialize_with = "null::numbers")]
    pub repetition: Vec<f64>,
    /// Log-likelihood of each held-out demonstration under the policy, summed over its tokens, nats; empty if it was not
    /// measured.
    #[serde(default, deserialize_with = "null::numbers")]
    pub log_likelihood: Vec<f64>,
}

/// Scores of held-out demonstrations and of samples on their prompts, of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutScores {
    /// Samples per prompt.
    pub samples_per_prompt: usize,
    /// Calibrated reward of each demonstration.
    #[serde(deserialize_with = "null::numbers")]
    pub demonstrations: Vec<f64>,
    /// Tokens of each demonstration's completion, EOS included.
    #[serde(default)]
    pub demonstration_lengths: Vec<usize>,
    /// Samples of the initial model.
    pub initial: ScoredSamples,
    /// Samples of the SFT model.
    pub sft: ScoredSamples,
    /// Samples of the policy before the round.
    pub before: ScoredSamples,
    /// Samples of the candidate.
    pub after: ScoredSamples,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gain_is_the_rise_in_standard_errors() {
        let gain = |before, after, standard_error| {
            let (demonstrations, accuracy_after) = (0.0, 0.5);
            ValidationScores { demonstrations, before, after, standard_error, accuracy_after }
                .gain()
        };
        assert_eq!(gain(-1.0, -0.5, 0.25), 2.0);
        assert_eq!(gain(-0.5, -1.0, 0.25), -2.0);
        // All prompts rose by the same amount, or none moved.
        assert_eq!(gain(0.0, 1.0, 0.0), f64::INFINITY);
        assert_eq!(gain(1.0, 0.0, 0.0), f64::NEG_INFINITY);
        assert_eq!(gain(1.0, 1.0, 0.0), 0.0);
    }
}
