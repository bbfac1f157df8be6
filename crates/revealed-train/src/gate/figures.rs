//! Figures of policies on held-out prompts that do not depend on a reward; kept between rounds.

use std::collections::HashSet;

use revealed_models::CausalLm;
use revealed_reward::repetition;
use serde::{Deserialize, Serialize};

use super::likelihood::{HeldOutLikelihood, held_out_likelihood};
use crate::error::TrainError;
use crate::record::{At, Measures};
use crate::run::Run;
use crate::task::Row;

/// Figures that stay the same until a round is kept: of the SFT model and of the kept policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptFigures {
    pub(super) sft: HeldOutLikelihood,
    pub(super) policy: PolicyFigures,
}

impl KeptFigures {
    /// Whether all figures are finite, so that JSON can hold them.
    pub(crate) fn is_finite(&self) -> bool {
        let PolicyFigures { kl, mean_kl, likelihood, length, terminated, repetition, distinct_2 } =
            &self.policy;
        let single = [*mean_kl, *length, *terminated, *repetition, *distinct_2];
        let likelihoods = [&self.sft, likelihood];
        let per_token = likelihoods.map(|likelihood| likelihood.per_token);
        let rows = likelihoods.into_iter().flat_map(|likelihood| &likelihood.per_demonstration);
        single.iter().chain(&per_token).chain(kl).chain(rows).all(|figure| figure.is_finite())
    }
}

/// Figures of a policy from its samples on held-out prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PolicyFigures {
    /// Estimated KL to the SFT model of each sample, nats.
    pub kl: Vec<f64>,
    /// Mean of the KL, nats/completion.
    mean_kl: f64,
    /// Log-likelihood of the held-out demonstrations.
    pub likelihood: HeldOutLikelihood,
    /// Mean completion length, tokens.
    length: f64,
    /// Share of samples that end in EOS, 0 to 1.
    terminated: f64,
    /// Share of repeated 4-grams, 0 to 1, mean over samples.
    repetition: f64,
    /// Distinct 2-grams divided by all 2-grams, 0 to 1.
    distinct_2: f64,
}

impl PolicyFigures {
    pub fn measure(
        model: &CausalLm,
        sft: &CausalLm,
        rows: &[Row],
        at: At,
        run: &Run<'_>,
    ) -> Result<Self, TrainError> {
        let temperature = run.recipe.policy.temperature;
        let totals = |log_probs: Vec<Vec<f32>>| -> Vec<f64> {
            let total = |row: &Vec<f32>| row.iter().map(|log_prob| f64::from(*log_prob)).sum();
            log_probs.iter().map(total).collect()
        };
        let own = totals(run.log_probs(model, rows, temperature)?);
        let reference = totals(run.log_probs(sft, rows, temperature)?);
        let count = rows.len() as f64;
        let completions: Vec<&[u32]> = rows.iter().map(Row::completion).collect();
        Ok(Self {
            kl: own.iter().zip(&reference).map(|(own, other)| own - other).collect(),
            mean_kl: (own.iter().sum::<f64>() - reference.iter().sum::<f64>()) / count,
            likelihood: held_out_likelihood(model, at, run)?,
            length: completions.iter().map(|c| c.len()).sum::<usize>() as f64 / count,
            terminated: rows.iter().filter(|row| row.terminated).count() as f64 / count,
            repetition: completions.iter().map(|c| repetition(c)).sum::<f64>() / count,
            distinct_2: distinct(&completions),
        })
    }

    /// The figures with the mean reward of the samples.
    pub fn measures(&self, reward: f64) -> Measures {
        Measures {
            reward,
            kl: self.mean_kl,
            log_likelihood: self.likelihood.per_token,
            length: self.length,
            terminated: self.terminated,
            repetition: self.repetition,
            distinct_2: self.distinct_2,
        }
    }
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
    fn repetition_and_distinct_2_grams_measure_loops() {
        assert_eq!(repetition(&[1, 2, 3, 4, 5]), 0.0);
        assert_eq!(repetition(&[1, 1, 1, 1, 1, 1]), 1.0 - 1.0 / 3.0);
        assert_eq!(distinct(&[&[1, 2, 3], &[1, 2, 4]]), 0.75);
        assert_eq!(repetition(&[1, 2]), 0.0);
    }
}
