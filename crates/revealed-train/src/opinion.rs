//! The judge: a second reward that no policy is improved against, so that its rise is not bought from it.

use revealed_reward::RewardModel;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::held_out::{accuracy, mean};
use crate::observer::Phase;
use crate::pairs::{Negative, pairs};
use crate::reward_fit::{calibrate, fit_reward};
use crate::run::{Run, at};
use crate::state::State;

/// What a second reward, that nothing was optimised against, says of a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SecondOpinion {
    /// Mean calibrated score of held-out demonstrations.
    pub demonstrations: f64,
    /// Of the samples of the policy before the round.
    pub before: f64,
    /// Of those after it.
    pub after: f64,
    /// Standard error of the rise, over prompts.
    pub standard_error: f64,
    /// Share of held-out demonstrations that it puts above the samples after the round.
    pub accuracy_after: f64,
}

impl SecondOpinion {
    /// The rise in its standard errors.
    pub fn gain(&self) -> f64 {
        let rise = self.after - self.before;
        if rise == 0.0 { 0.0 } else { rise / self.standard_error }
    }
}

/// Fits the second reward: on the first round's pairs with fixed negatives, or all of them where there are none
/// such.
///
/// # Errors
/// When the loss is not finite.
pub(crate) fn fit_judge(state: &State, run: &mut Run<'_>) -> Result<RewardModel, TrainError> {
    let all: Vec<&Negative> = state.pool.negatives.iter().collect();
    let fixed: Vec<&Negative> =
        all.iter().copied().filter(|negative| negative.origin.is_fixed()).collect();
    let negatives = if fixed.is_empty() { all } else { fixed };
    // Round 0 has seeds of its own.
    let start = RewardModel::new(state.sft.clone(), run.seed(at(0, Phase::Fit, 0), "head"));
    let pairs = pairs(&negatives, None, run.task, run)?;
    let judge = fit_reward(start, &pairs, (0, 0), run)?;
    calibrate(judge, &state.policy, &negatives, 0, run)
}

/// What a second reward makes of the samples, a prompt's `group` next to each other.
pub(crate) fn second_opinion(
    demonstrations: &[f64],
    old: &[f64],
    new: &[f64],
    group: usize,
) -> SecondOpinion {
    let rises: Vec<f64> =
        old.chunks(group).zip(new.chunks(group)).map(|(old, new)| mean(new) - mean(old)).collect();
    let (rise, count) = (mean(&rises), rises.len() as f64);
    let squares: f64 = rises.iter().map(|one| (one - rise).powi(2)).sum();
    SecondOpinion {
        demonstrations: mean(demonstrations),
        before: mean(old),
        after: mean(new),
        standard_error: (squares / (count - 1.0).max(1.0) / count).sqrt(),
        accuracy_after: accuracy(demonstrations, new, group),
    }
}
