//! The judge: a second reward that no policy is improved against, so that its rise is not bought from it.

use revealed_reward::RewardModel;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::held_out::{accuracy, mean};
use crate::observer::Phase;
use crate::pairs::{Negative, pairs, weight};
use crate::reward_fit::{RewardFit, calibrate};
use crate::run::{Run, at};
use crate::state::State;
use crate::steps::Steps;

/// What a second reward, that nothing was optimised against, says of a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationScores {
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

impl ValidationScores {
    /// The rise in its standard errors.
    pub fn gain(&self) -> f64 {
        let rise = self.after - self.before;
        if rise == 0.0 { 0.0 } else { rise / self.standard_error }
    }
}

/// Fits the second reward: on the first round's pairs with fixed negatives that weigh something, or all of them where
/// there are none such. `fit` is where an earlier call has paused.
///
/// # Errors
/// When the loss is not finite.
pub(crate) fn fit_validation_reward(
    state: &State,
    fit: Option<RewardFit>,
    run: &mut Run<'_>,
) -> Result<Steps<RewardFit, RewardModel>, TrainError> {
    let weights = &run.recipe.negatives.weights;
    let all = state.pool.negatives.iter().filter(|one| weight(weights, one.origin) > 0.0);
    let all: Vec<&Negative> = all.collect();
    let fixed: Vec<&Negative> =
        all.iter().copied().filter(|negative| negative.origin.is_fixed()).collect();
    let negatives = if fixed.is_empty() { all } else { fixed };
    let fit = fit.unwrap_or_else(|| {
        // Round 0 has seeds of its own.
        let head = run.seed(at(0, Phase::Fit, 0), "head");
        RewardFit::new(RewardModel::new(state.sft.clone(), head), run)
    });
    let pairs = pairs(&negatives, None, run.task, run)?;
    Ok(match fit.advance(&pairs, (0, 0), run)? {
        Steps::Paused(fit) => Steps::Paused(fit),
        Steps::Done(judge) => Steps::Done(calibrate(judge, &state.policy, &negatives, 0, run)?),
    })
}

/// What a second reward makes of the samples, a prompt's `group` next to each other.
pub(crate) fn validation_scores(
    demonstrations: &[f64],
    old: &[f64],
    new: &[f64],
    group: usize,
) -> ValidationScores {
    let rises: Vec<f64> =
        old.chunks(group).zip(new.chunks(group)).map(|(old, new)| mean(new) - mean(old)).collect();
    let (rise, count) = (mean(&rises), rises.len() as f64);
    let squares: f64 = rises.iter().map(|one| (one - rise).powi(2)).sum();
    ValidationScores {
        demonstrations: mean(demonstrations),
        before: mean(old),
        after: mean(new),
        standard_error: (squares / (count - 1.0).max(1.0) / count).sqrt(),
        accuracy_after: accuracy(demonstrations, new, group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irl::align;
    use crate::recipe::{Tuning, ValidationReward};
    use crate::support::{Weights, World, weights};

    fn opinion(before: f64, after: f64, standard_error: f64) -> ValidationScores {
        ValidationScores { demonstrations: 0.0, before, after, standard_error, accuracy_after: 0.5 }
    }

    #[test]
    fn a_gain_is_a_rise_in_its_standard_errors() {
        assert_eq!(opinion(-1.0, -0.5, 0.25).gain(), 2.0);
        assert_eq!(opinion(-0.5, -1.0, 0.25).gain(), -2.0);
        // All prompts rose alike, or nothing moved.
        assert_eq!(opinion(0.0, 1.0, 0.0).gain(), f64::INFINITY);
        assert_eq!(opinion(1.0, 0.0, 0.0).gain(), f64::NEG_INFINITY);
        assert_eq!(opinion(1.0, 1.0, 0.0).gain(), 0.0);
    }

    #[test]
    fn a_second_opinion_compares_means_of_prompts() {
        // Two samples of each of three prompts, whose means rise by 1, 2 and 6.
        let old = [0.0, 2.0, 5.0, 5.0, -1.0, -3.0];
        let new = [1.0, 3.0, 9.0, 5.0, 4.0, 4.0];
        let opinion = validation_scores(&[2.0, 7.0, 4.0], &old, &new, 2);
        assert!((opinion.before - 8.0 / 6.0).abs() < 1e-12);
        assert!((opinion.after - 26.0 / 6.0).abs() < 1e-12);
        assert!((opinion.demonstrations - 13.0 / 3.0).abs() < 1e-12);
        // Variance (4 + 1 + 9) / 2 over three prompts.
        assert!((opinion.standard_error - (7.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((opinion.gain() - 3.0 / (7.0f64 / 3.0).sqrt()).abs() < 1e-12);
        // Above 1 and below 3; below 9 and above 5; twice level with 4.
        assert_eq!(opinion.accuracy_after, (1.0 + 0.0 + 0.0 + 1.0 + 0.5 + 0.5) / 6.0);
    }

    /// The judge that a state leads to, with a change to its pool.
    fn judge(world: &World, state: &State, change: impl Fn(&mut Vec<Negative>)) -> Weights {
        let mut state = state.clone();
        change(&mut state.pool.negatives);
        let judge = world.run(&mut (), |run| fit_validation_reward(&state, None, run)).unwrap();
        let Steps::Done(judge) = judge else { panic!("paused") };
        assert_ne!(judge.calibration, revealed_reward::Calibration::default());
        weights(&judge.model)
    }

    #[test]
    fn a_judge_learns_from_fixed_negatives_and_from_others_only_without_them() {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.negatives.other_prompts = 1;
            recipe.gate.validation_reward = ValidationReward::Independent;
        });
        let mut states = Vec::new();
        let keep = |state: &State| {
            states.push(state.clone());
            Ok(())
        };
        world.run(&mut (), |run| align(world.state(), run, keep)).unwrap();
        let drawn = states.iter().find(|state| state.phase == Phase::Fit).unwrap();
        assert!(drawn.validation_reward.is_none());
        let fitted = judge(&world, drawn, |_| {});
        let without_policy = |all: &mut Vec<Negative>| all.retain(|n| n.origin.is_fixed());
        assert_eq!(fitted, judge(&world, drawn, without_policy));
        let policy_only = |all: &mut Vec<Negative>| all.retain(|n| !n.origin.is_fixed());
        assert_ne!(fitted, judge(&world, drawn, policy_only));
        for gone in [crate::NegativeSource::Initial, crate::NegativeSource::OtherPrompt] {
            let fewer = |all: &mut Vec<Negative>| all.retain(|n| n.origin != gone);
            assert_ne!(fitted, judge(&world, drawn, fewer), "{gone:?} is part of it");
        }
        // Negatives that weigh nothing teach nothing.
        let weightless = World::new(Tuning::Full, |recipe| {
            recipe.negatives.other_prompts = 1;
            let weights = &mut recipe.negatives.weights;
            (weights.initial, weights.other_prompts) = (0.0, 0.0);
        });
        let of_policy = judge(&weightless, drawn, policy_only);
        assert_eq!(judge(&weightless, drawn, |_| {}), of_policy);
        // It is what the run has, and another model than its reward.
        let end = states.last().unwrap();
        assert_eq!(fitted, weights(&end.validation_reward.as_ref().unwrap().model));
        assert_ne!(fitted, weights(&end.reward.as_ref().unwrap().members[0].model));
    }
}
