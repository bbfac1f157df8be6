//! Samples and figures of policies on held-out prompts.

use revealed_models::{CausalLm, Decoding};
use revealed_reward::repetition;
use serde::{Deserialize, Serialize};

use super::figures::PolicyFigures;
use crate::error::TrainError;
use crate::record::{At, Phase, ScoredSamples};
use crate::run::{Draw, Run};
use crate::task::Row;

/// Samples on held-out prompts, `gate.samples` adjacent ones per prompt, kept over rounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOutSamples {
    /// Samples of the initial model.
    pub initial: Vec<Row>,
    /// Samples of the SFT model.
    pub sft: Vec<Row>,
    /// Samples of the kept policy.
    pub policy: Vec<Row>,
}

impl HeldOutSamples {
    /// The place whose seed draws all held-out samples of a run: policies are compared on common random numbers, and a policy
    /// that has not changed gains exactly 0.
    pub const NOISE: At = At::new(0, Phase::Gate, 0);

    /// Samples `gate.samples` completions of every held-out prompt, with the seed of `at`.
    ///
    /// # Errors
    /// When sampling fails.
    pub fn draw(model: &CausalLm, at: At, run: &Run<'_>) -> Result<Vec<Row>, TrainError> {
        let prompts: Vec<Vec<u32>> =
            run.task.held_out.iter().map(|row| row.prompt().into()).collect();
        let draw = Draw {
            samples: run.recipe.gate.samples,
            decoding: Decoding::Sample,
            temperature: run.recipe.policy.temperature,
            seed: run.seed(at, "held-out"),
        };
        run.generate(model, &prompts, draw)
    }
}

/// The record of samples with their scores; `figures` if the policy was measured.
pub(super) fn scored_samples(
    rows: &[Row],
    rewards: &[f64],
    figures: Option<&PolicyFigures>,
) -> ScoredSamples {
    ScoredSamples {
        rewards: rewards.into(),
        lengths: rows.iter().map(|row| row.completion().len()).collect(),
        terminated: rows.iter().map(|row| row.terminated).collect(),
        kl: figures.map(|figures| figures.kl.clone()).unwrap_or_default(),
        repetition: rows.iter().map(|row| repetition(row.completion())).collect(),
        log_likelihood: figures
            .map(|figures| figures.likelihood.per_demonstration.clone())
            .unwrap_or_default(),
    }
}

/// Arithmetic mean; 0 of an empty slice.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Share of (demonstration, sample of its prompt) pairs in which the demonstration scores higher; ties count half.
pub(super) fn accuracy(demonstrations: &[f64], samples: &[f64], group: usize) -> f64 {
    let one = |(index, sample): (usize, &f64)| match demonstrations[index / group] - sample {
        d if d > 0.0 => 1.0,
        d if d < 0.0 => 0.0,
        _ => 0.5,
    };
    samples.iter().enumerate().map(one).sum::<f64>() / samples.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_compares_each_demonstration_with_its_own_samples() {
        let accuracy = accuracy(&[1.0, 0.0], &[0.5, 2.0, -1.0, 0.0], 2);
        assert_eq!(accuracy, (1.0 + 0.0 + 1.0 + 0.5) / 4.0);
    }
}
