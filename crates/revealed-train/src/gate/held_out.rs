//! Samples and figures of policies on held-out prompts.

use std::collections::HashSet;

use revealed_models::{CausalLm, Decoding};
use revealed_reward::repetition;
use serde::{Deserialize, Serialize};

use super::likelihood::held_out_likelihood;
use crate::error::TrainError;
use crate::record::{At, Measures, Phase, ScoredSamples};
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

/// Figures per sample and per demonstration; empty if not measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PerSample {
    /// Estimated KL to the SFT model of each sample, nats.
    pub kl: Vec<f64>,
    /// Log-likelihood of each demonstration, summed over its tokens, nats.
    pub log_likelihood: Vec<f64>,
}

impl PerSample {
    /// The record of samples with their scores.
    pub fn scored(self, rows: &[Row], rewards: &[f64]) -> ScoredSamples {
        ScoredSamples {
            rewards: rewards.into(),
            lengths: rows.iter().map(|row| row.completion().len()).collect(),
            terminated: rows.iter().map(|row| row.terminated).collect(),
            kl: self.kl,
            repetition: rows.iter().map(|row| repetition(row.completion())).collect(),
            log_likelihood: self.log_likelihood,
        }
    }
}

/// Figures of a policy from its samples and their scores.
pub(super) fn measure(
    (model, sft): (&CausalLm, &CausalLm),
    rows: &[Row],
    scores: &[f64],
    at: At,
    run: &Run<'_>,
) -> Result<(Measures, PerSample), TrainError> {
    let temperature = run.recipe.policy.temperature;
    let totals = |log_probs: Vec<Vec<f32>>| -> Vec<f64> {
        let total = |row: &Vec<f32>| row.iter().map(|log_prob| f64::from(*log_prob)).sum();
        log_probs.iter().map(total).collect()
    };
    let own = totals(run.log_probs(model, rows, temperature)?);
    let reference = totals(run.log_probs(sft, rows, temperature)?);
    let kl: Vec<f64> = own.iter().zip(&reference).map(|(own, other)| own - other).collect();
    let count = rows.len() as f64;
    let completions: Vec<&[u32]> = rows.iter().map(Row::completion).collect();
    let likelihood = held_out_likelihood(model, at, run)?;
    let measures = Measures {
        reward: mean(scores),
        kl: (own.iter().sum::<f64>() - reference.iter().sum::<f64>()) / count,
        log_likelihood: likelihood.per_token,
        length: completions.iter().map(|c| c.len()).sum::<usize>() as f64 / count,
        terminated: rows.iter().filter(|row| row.terminated).count() as f64 / count,
        repetition: completions.iter().map(|c| repetition(c)).sum::<f64>() / count,
        distinct_2: distinct(&completions),
    };
    Ok((measures, PerSample { kl, log_likelihood: likelihood.per_demonstration }))
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

/// Distinct 2-grams over all 2-grams of all completions.
fn distinct(completions: &[&[u32]]) -> f64 {
    let all: usize = completions.iter().map(|c| c.windows(2).count()).sum();
    let distinct: HashSet<&[u32]> = completions.iter().flat_map(|c| c.windows(2)).collect();
    distinct.len() as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_compares_each_demonstration_with_its_own_samples() {
        let accuracy = accuracy(&[1.0, 0.0], &[0.5, 2.0, -1.0, 0.0], 2);
        assert_eq!(accuracy, (1.0 + 0.0 + 1.0 + 0.5) / 4.0);
    }

    #[test]
    fn repetition_and_distinct_2_grams_measure_loops() {
        assert_eq!(repetition(&[1, 2, 3, 4, 5]), 0.0);
        assert_eq!(repetition(&[1, 1, 1, 1, 1, 1]), 1.0 - 1.0 / 3.0);
        assert_eq!(distinct(&[&[1, 2, 3], &[1, 2, 4]]), 0.75);
        assert_eq!(repetition(&[1, 2]), 0.0);
    }
}
