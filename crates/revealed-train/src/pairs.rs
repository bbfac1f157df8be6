//! The pool of pairs: which completions each demonstration is compared with.

use revealed_models::{CausalLm, Decoding};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::observer::At;
use crate::recipe::{NegativesSection, Pool, RewardSection};
use crate::run::{Draw, Run};
use crate::task::Row;

/// Where a negative comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The model before SFT.
    Initial,
    /// The SFT model.
    Sft,
    /// The policy of the round, sampled.
    Policy,
    /// The policy of the round, greedy.
    Greedy,
}

/// A completion that a demonstration is better than.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negative {
    /// Index of the demonstration in the task.
    pub demonstration: usize,
    /// Where it comes from.
    pub origin: Origin,
    /// The round it was drawn in.
    pub round: usize,
    /// Prompt and completion, canonical.
    pub row: Row,
}

/// All negatives drawn so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairPool {
    /// In the order they were drawn.
    pub negatives: Vec<Negative>,
}

impl PairPool {
    /// Draws a round's negatives for every demonstration. Those of fixed models are drawn in round 1 only.
    ///
    /// # Errors
    /// When sampling fails.
    pub fn draw(
        &mut self,
        initial: &CausalLm,
        sft: &CausalLm,
        policy: &CausalLm,
        at: At,
        run: &Run<'_>,
    ) -> Result<(), TrainError> {
        let counts = &run.recipe.negatives;
        let prompts: Vec<Vec<u32>> = run.task.train.iter().map(|row| row.prompt().into()).collect();
        for (origin, model) in [
            (Origin::Initial, initial),
            (Origin::Sft, sft),
            (Origin::Policy, policy),
            (Origin::Greedy, policy),
        ] {
            let samples = count(counts, origin);
            let fixed = matches!(origin, Origin::Initial | Origin::Sft);
            if samples == 0 || (fixed && at.round > 1) {
                continue;
            }
            let draw = Draw {
                samples,
                decoding: if origin == Origin::Greedy {
                    Decoding::Greedy
                } else {
                    Decoding::Sample
                },
                temperature: counts.temperature,
                seed: run.seed(at, &format!("{origin:?}")),
            };
            let rows = run.canonical(&run.generate(model, &prompts, draw)?);
            self.negatives.extend(rows.into_iter().enumerate().map(|(index, row)| Negative {
                demonstration: index / samples,
                origin,
                round: at.round,
                row,
            }));
        }
        Ok(())
    }

    /// The negatives that a round's reward is fitted on; those of fixed models always belong to them.
    pub fn of_round(&self, round: usize, config: &RewardSection) -> Vec<&Negative> {
        let first = match config.pool {
            Pool::Every => 1,
            Pool::Window => (round + 1).saturating_sub(config.pool_window),
            Pool::Round => round,
        };
        let fixed = |origin| matches!(origin, Origin::Initial | Origin::Sft);
        self.negatives
            .iter()
            .filter(|negative| negative.round >= first || fixed(negative.origin))
            .collect()
    }
}

/// How many negatives of an origin each demonstration gets.
pub(crate) fn count(counts: &NegativesSection, origin: Origin) -> usize {
    match origin {
        Origin::Initial => counts.initial,
        Origin::Sft => counts.sft,
        Origin::Policy => counts.policy,
        Origin::Greedy => counts.greedy,
    }
}
