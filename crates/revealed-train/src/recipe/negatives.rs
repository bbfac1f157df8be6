//! `[negatives]`: completions that a demonstration is compared with, and their sources.

use serde::{Deserialize, Serialize};

use super::section::section;

/// Source of a negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NegativeSource {
    /// A sample of the model before SFT.
    Initial,
    /// A sample of the SFT model.
    Sft,
    /// A sample of the policy of the round.
    Policy,
    /// The greedy completion of the policy of the round.
    Greedy,
    /// The demonstration of another prompt: a fluent but off-topic negative.
    OtherPrompt,
    /// A prefix of the demonstration itself, ended too early.
    Truncated,
}

impl NegativeSource {
    /// All sources, in the order in which they are drawn.
    pub const ALL: [Self; 6] =
        [Self::Initial, Self::Sft, Self::Policy, Self::Greedy, Self::OtherPrompt, Self::Truncated];

    /// Whether its negatives are the same in every round: drawn in the first round and part of every pool.
    pub fn is_fixed(self) -> bool {
        !matches!(self, Self::Policy | Self::Greedy)
    }
}

section! {
    /// `[negatives]`: number of completions that each demonstration is compared with, by source
    NegativesSection {
        /// Samples of the initial model, drawn once; in docs/evidence.md the reward learns most from them
        initial: usize = 4,
        /// Samples of the SFT model, drawn once
        sft: usize = 0,
        /// Samples of the current policy, drawn every round; 0 because in docs/evidence.md they teach the flaws of the demonstrations
        policy: usize = 0,
        /// Greedy completions of the current policy (0 or 1)
        greedy: usize = 0,
        /// Demonstrations of other prompts
        other_prompts: usize = 0,
        /// Prefixes of the demonstration, ended too early
        truncated: usize = 0,
        /// Sampling temperature; keep it equal to policy.temperature
        temperature: f64 = 1.0,
        /// Weights of their pairs in the reward's loss
        weights: NegativeWeights = NegativeWeights::default(),
    }
}

section! {
    /// `[negatives.weights]`: weight of a pair in the reward's loss, by the source of its negative
    NegativeWeights {
        /// Samples of the initial model
        initial: f64 = 1.0,
        /// Samples of the SFT model
        sft: f64 = 1.0,
        /// Samples of the policies
        policy: f64 = 1.0,
        /// Greedy completions
        greedy: f64 = 1.0,
        /// Demonstrations of other prompts
        other_prompts: f64 = 1.0,
        /// Prefixes of demonstrations
        truncated: f64 = 1.0,
    }
}

impl NegativesSection {
    /// Negatives per demonstration from a source.
    pub(crate) fn count(&self, source: NegativeSource) -> usize {
        match source {
            NegativeSource::Initial => self.initial,
            NegativeSource::Sft => self.sft,
            NegativeSource::Policy => self.policy,
            NegativeSource::Greedy => self.greedy,
            NegativeSource::OtherPrompt => self.other_prompts,
            NegativeSource::Truncated => self.truncated,
        }
    }
}

impl NegativeWeights {
    /// Weight of a pair whose negative has this source.
    pub(crate) fn weight(&self, source: NegativeSource) -> f64 {
        match source {
            NegativeSource::Initial => self.initial,
            NegativeSource::Sft => self.sft,
            NegativeSource::Policy => self.policy,
            NegativeSource::Greedy => self.greedy,
            NegativeSource::OtherPrompt => self.other_prompts,
            NegativeSource::Truncated => self.truncated,
        }
    }
}

/// Shares of the models' samples in the total weight of a demonstration's pairs; the three sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SampleShares {
    pub initial: f64,
    pub sft: f64,
    pub policy: f64,
}

impl NegativesSection {
    /// A third each if all negatives are made from demonstrations: these have no samples on held-out prompts.
    pub(crate) fn sample_shares(&self) -> SampleShares {
        let total_weight = |source| self.count(source) as f64 * self.weights.weight(source);
        let initial = total_weight(NegativeSource::Initial);
        let sft = total_weight(NegativeSource::Sft);
        let policy = total_weight(NegativeSource::Policy) + total_weight(NegativeSource::Greedy);
        let total: f64 = [initial, sft, policy].iter().sum();
        if total == 0.0 {
            return SampleShares { initial: 1.0 / 3.0, sft: 1.0 / 3.0, policy: 1.0 / 3.0 };
        }
        SampleShares { initial: initial / total, sft: sft / total, policy: policy / total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_its_own_count_and_weight() {
        let counts = NegativesSection {
            initial: 1,
            sft: 2,
            policy: 3,
            greedy: 4,
            other_prompts: 5,
            truncated: 6,
            ..NegativesSection::default()
        };
        let weights = NegativeWeights {
            initial: 1.0,
            sft: 2.0,
            policy: 3.0,
            greedy: 4.0,
            other_prompts: 5.0,
            truncated: 6.0,
        };
        assert_eq!(NegativeSource::ALL.map(|source| counts.count(source)), [1, 2, 3, 4, 5, 6]);
        let all = NegativeSource::ALL.map(|source| weights.weight(source));
        assert_eq!(all, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let fixed = NegativeSource::ALL.map(NegativeSource::is_fixed);
        assert_eq!(fixed, [true, true, false, false, true, true]);
    }
}
