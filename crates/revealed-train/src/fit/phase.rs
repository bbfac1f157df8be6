//! The fits of a round: the validation reward in the first one, then every member of the reward.

use revealed_models::CausalLm;
use revealed_reward::{RewardEnsemble, RewardModel};

use super::pairs::{PairPool, pairs};
use super::reward_fit::{Fit, RewardFit};
use super::validation_reward;
use crate::error::TrainError;
use crate::recipe::RewardStart;
use crate::record::Phase;
use crate::run::Run;
use crate::steps::Advance;

/// Models and negatives that the fits of a round read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FitInputs<'a> {
    /// The SFT model, from which rewards start.
    pub sft: &'a CausalLm,
    /// The policy before the round.
    pub policy: &'a CausalLm,
    /// The last reward, if there is one.
    pub last_reward: Option<&'a RewardEnsemble>,
    /// Negatives of all rounds so far.
    pub pool: &'a PairPool,
}

/// State of the fits of a round between steps.
#[derive(Debug, Clone, Default)]
pub struct RewardFitPhase {
    /// Members that are fitted.
    pub(crate) members: Vec<RewardModel>,
    /// The fit in progress: of the validation reward, or of the next member.
    pub(crate) current: Option<RewardFit>,
}

/// Continues the fit of the validation reward to the next pause or to the calibrated reward.
///
/// # Errors
/// When there are no pairs, or a loss is not finite.
pub(crate) fn fit_validation_reward(
    phase: RewardFitPhase,
    inputs: FitInputs<'_>,
    run: &mut Run<'_>,
) -> Result<Advance<RewardFitPhase, RewardModel>, TrainError> {
    let models = (inputs.sft, inputs.policy);
    Ok(match validation_reward::advance(phase.current, models, inputs.pool, run)? {
        Advance::Paused(fit) => {
            Advance::Paused(RewardFitPhase { current: Some(fit), members: phase.members })
        }
        Advance::Done(reward) => Advance::Done(reward),
    })
}

impl RewardFitPhase {
    /// Continues to the next pause or to the fitted members, uncalibrated. The validation reward reweights pairs if the
    /// recipe says so.
    ///
    /// # Errors
    /// When there are no pairs, or a loss is not finite.
    pub(crate) fn advance(
        mut self,
        inputs: FitInputs<'_>,
        validation_reward: Option<&RewardModel>,
        round: usize,
        run: &mut Run<'_>,
    ) -> Result<Advance<Self, Vec<RewardModel>>, TrainError> {
        let negatives = inputs.pool.of_round(round, &run.recipe.reward);
        let pairs = pairs(&negatives, validation_reward, run.task, run)?;
        while self.members.len() < run.recipe.reward.ensemble_size {
            let fit = Fit { round, phase: Phase::Fit, member: self.members.len() };
            let state = match self.current.take() {
                Some(state) => state,
                None => RewardFit::new(start(inputs, fit, run), run),
            };
            match state.advance(&pairs, fit, run)? {
                Advance::Paused(state) => {
                    return Ok(Advance::Paused(Self { current: Some(state), ..self }));
                }
                Advance::Done(reward) => self.members.push(reward),
            }
        }
        Ok(Advance::Done(self.members))
    }
}

/// Initial weights of a member: the last reward's, or the SFT model with a new head.
fn start(inputs: FitInputs<'_>, fit: Fit, run: &Run<'_>) -> RewardModel {
    let last = inputs.last_reward.and_then(|last| last.members.get(fit.member));
    match (run.recipe.reward.start, last) {
        (RewardStart::Warm, Some(last)) => last.clone(),
        _ => {
            let head = run.seed(fit.at(0), &format!("head {}", fit.member));
            RewardModel::new(inputs.sft.clone(), head)
        }
    }
}
