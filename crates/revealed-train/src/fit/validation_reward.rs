//! Validation reward: trained independently and never optimised against, so an increase of its scores cannot come from reward
//! hacking.

use revealed_models::CausalLm;
use revealed_reward::RewardModel;

use super::calibrate::calibrate_at;
use super::pairs::{Negative, PairPool, pairs};
use super::reward_fit::{Fit, RewardFit};
use crate::error::TrainError;
use crate::record::Phase;
use crate::run::Run;
use crate::steps::Advance;

/// The fit of the validation reward. Round 0 gives it seeds that differ from those of every round.
const FIT: Fit = Fit { round: 0, phase: Phase::FitValidationReward, member: 0 };

/// Fits the validation reward on the pairs of the first round with fixed negatives and a weight above 0, or on all with a
/// weight above 0 if there are no fixed ones. `fit` is the state of a paused fit.
///
/// # Errors
/// When the loss is not finite.
pub(super) fn advance(
    fit: Option<RewardFit>,
    (sft, policy): (&CausalLm, &CausalLm),
    pool: &PairPool,
    run: &mut Run<'_>,
) -> Result<Advance<RewardFit, RewardModel>, TrainError> {
    let weights = &run.recipe.negatives.weights;
    let weighted = pool.negatives.iter().filter(|negative| weights.weight(negative.source) > 0.0);
    let weighted: Vec<&Negative> = weighted.collect();
    let fixed: Vec<&Negative> =
        weighted.iter().copied().filter(|negative| negative.source.is_fixed()).collect();
    let negatives = if fixed.is_empty() { weighted } else { fixed };
    let fit = fit.unwrap_or_else(|| {
        let head = run.seed(FIT.at(0), "head");
        RewardFit::new(RewardModel::new(sft.clone(), head), run)
    });
    let pairs = pairs(&negatives, None, run.task, run)?;
    Ok(match fit.advance(&pairs, FIT, run)? {
        Advance::Paused(fit) => Advance::Paused(fit),
        Advance::Done(reward) => {
            Advance::Done(calibrate_at(reward, policy, &negatives, FIT.at(0), run)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irl::align;
    use crate::recipe::{NegativeSource, Tuning, ValidationReward};
    use crate::state::State;
    use crate::testing::{Weights, World, weights};

    /// The validation reward fitted on a state with a changed pool.
    fn fitted_with(world: &World, state: &State, change: impl Fn(&mut Vec<Negative>)) -> Weights {
        let mut state = state.clone();
        change(&mut state.pool.negatives);
        let models = (&state.sft, &state.policy);
        let end = world.run(&mut (), |run| advance(None, models, &state.pool, run)).unwrap();
        let Advance::Done(reward) = end else { panic!("paused") };
        assert_ne!(reward.calibration, revealed_reward::Calibration::default());
        weights(&reward.model)
    }

    #[test]
    fn it_is_fitted_on_fixed_negatives_and_on_others_only_without_them() {
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
        let fitted = fitted_with(&world, drawn, |_| {});
        let without_policy = |all: &mut Vec<Negative>| all.retain(|n| n.source.is_fixed());
        assert_eq!(fitted, fitted_with(&world, drawn, without_policy));
        let policy_only = |all: &mut Vec<Negative>| all.retain(|n| !n.source.is_fixed());
        assert_ne!(fitted, fitted_with(&world, drawn, policy_only));
        for gone in [NegativeSource::Initial, NegativeSource::OtherPrompt] {
            let fewer = |all: &mut Vec<Negative>| all.retain(|n| n.source != gone);
            assert_ne!(fitted, fitted_with(&world, drawn, fewer), "{gone:?} is part of it");
        }
        // Negatives of weight 0 have no effect.
        let weightless = World::new(Tuning::Full, |recipe| {
            recipe.negatives.other_prompts = 1;
            let weights = &mut recipe.negatives.weights;
            (weights.initial, weights.other_prompts) = (0.0, 0.0);
        });
        let of_policy = fitted_with(&weightless, drawn, policy_only);
        assert_eq!(fitted_with(&weightless, drawn, |_| {}), of_policy);
        // The run has the same validation reward, which differs from its reward.
        let end = states.last().unwrap();
        assert_eq!(fitted, weights(&end.validation_reward.as_ref().unwrap().model));
        assert_ne!(fitted, weights(&end.reward.as_ref().unwrap().members[0].model));
    }
}
