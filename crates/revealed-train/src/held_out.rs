//! What policies do on held-out prompts.

use std::collections::HashSet;

use revealed_models::{CausalLm, Decoding};
use revealed_reward::repetition;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::observer::{At, Phase};
use crate::run::{Draw, Run};
use crate::sft::held_out_likelihood;
use crate::task::Row;

/// What a policy does on held-out prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Mean calibrated reward of its samples; 0 is the average training demonstration.
    pub reward: f64,
    /// KL to the SFT model, nats a completion, estimated on its samples.
    pub kl: f64,
    /// Log-likelihood of held-out demonstrations, nats a token.
    pub log_likelihood: f64,
    /// Mean length, tokens.
    pub length: f64,
    /// Share of samples that end in the terminator.
    pub terminated: f64,
    /// Share of a sample's 4-grams that repeat an earlier one, on average.
    pub repetition: f64,
    /// Distinct 2-grams over all 2-grams.
    pub distinct_2: f64,
}

/// Samples on held-out prompts, kept from round to round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOutSamples {
    /// Of the initial model, as drawn.
    pub initial: Vec<Row>,
    /// Of the SFT model, as drawn.
    pub sft: Vec<Row>,
    /// Of the kept policy, as drawn.
    pub policy: Vec<Row>,
}

impl HeldOutSamples {
    /// The noise of all held-out samples of a run: two policies then differ by what they are and not by
    /// luck, and one that has not changed gains exactly 0.
    pub const NOISE: At = At { round: 0, phase: Phase::Gate, step: 0 };

    /// Samples `gate.samples` completions of every held-out prompt, with the noise of `at`.
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

/// What a policy's samples and the held-out demonstrations came to, one by one; empty where it was not measured.
#[derive(Default)]
pub(crate) struct Each {
    /// Estimated KL of each sample.
    pub kl: Vec<f64>,
    /// Log-likelihood of each demonstration, the sum over its tokens.
    pub log_likelihood: Vec<f64>,
}

/// Measures a policy by its samples and their scores.
pub(crate) fn measure(
    (model, sft): (&CausalLm, &CausalLm),
    rows: &[Row],
    scores: &[f64],
    at: At,
    run: &Run<'_>,
) -> Result<(Measures, Each), TrainError> {
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
    let (likelihood, log_likelihood) = held_out_likelihood(model, at, run)?;
    let measures = Measures {
        reward: mean(scores),
        kl: (own.iter().sum::<f64>() - reference.iter().sum::<f64>()) / count,
        log_likelihood: likelihood,
        length: completions.iter().map(|c| c.len()).sum::<usize>() as f64 / count,
        terminated: rows.iter().filter(|row| row.terminated).count() as f64 / count,
        repetition: completions.iter().map(|c| repetition(c)).sum::<f64>() / count,
        distinct_2: distinct(&completions),
    };
    Ok((measures, Each { kl, log_likelihood }))
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Share of (demonstration, sample of its prompt) pairs in order; ties count half.
pub(crate) fn accuracy(demonstrations: &[f64], samples: &[f64], group: usize) -> f64 {
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
    fn repetition_and_diversity_see_a_loop() {
        assert_eq!(repetition(&[1, 2, 3, 4, 5]), 0.0);
        assert_eq!(repetition(&[1, 1, 1, 1, 1, 1]), 1.0 - 1.0 / 3.0);
        assert_eq!(distinct(&[&[1, 2, 3], &[1, 2, 4]]), 0.75);
        assert_eq!(repetition(&[1, 2]), 0.0);
    }
}
