//! A round's fits: the judge, where there is to be one, then every member of the reward.

use revealed_reward::RewardModel;

use crate::error::TrainError;
use crate::observer::At;
use crate::pairs::pairs;
use crate::recipe::{RewardStart, ValidationReward};
use crate::reward_fit::RewardFit;
use crate::run::Run;
use crate::state::State;
use crate::steps::Steps;
use crate::validation_reward::fit_validation_reward;

/// A round's fits, in the middle of their steps.
#[derive(Debug, Clone, Default)]
pub struct Fitting {
    /// Members that are fitted.
    pub(crate) members: Vec<RewardModel>,
    /// The judge's fit, or the next member's.
    pub(crate) current: Option<RewardFit>,
}

impl Fitting {
    /// Goes on to the next place to save, or to the fitted members, uncalibrated. A fitted judge goes into the state.
    ///
    /// # Errors
    /// When there are no pairs, or a loss is not finite.
    pub(crate) fn advance(
        mut self,
        state: &mut State,
        at: At,
        run: &mut Run<'_>,
    ) -> Result<Steps<Self, Vec<RewardModel>>, TrainError> {
        if run.recipe.gate.validation_reward == ValidationReward::Independent
            && state.validation_reward.is_none()
        {
            match fit_validation_reward(state, self.current.take(), run)? {
                Steps::Paused(fit) => return Ok(self.paused(fit)),
                Steps::Done(judge) => state.validation_reward = Some(judge),
            }
        }
        let negatives = state.pool.of_round(at.round, &run.recipe.reward);
        let pairs = pairs(&negatives, state.validation_reward.as_ref(), run.task, run)?;
        while self.members.len() < run.recipe.reward.ensemble_size {
            let member = self.members.len();
            let fit = match self.current.take() {
                Some(fit) => fit,
                None => RewardFit::new(start(state, at, member, run), run),
            };
            match fit.advance(&pairs, (at.round, member), run)? {
                Steps::Paused(fit) => return Ok(self.paused(fit)),
                Steps::Done(reward) => self.members.push(reward),
            }
        }
        Ok(Steps::Done(self.members))
    }

    fn paused(self, fit: RewardFit) -> Steps<Self, Vec<RewardModel>> {
        Steps::Paused(Self { current: Some(fit), ..self })
    }
}

/// What a member of a round's reward is fitted from.
fn start(state: &State, at: At, member: usize, run: &Run<'_>) -> RewardModel {
    let last = state.reward.as_ref().and_then(|last| last.members.get(member));
    match (run.recipe.reward.start, last) {
        (RewardStart::Warm, Some(last)) => last.clone(),
        _ => RewardModel::new(state.sft.clone(), run.seed(at, &format!("head {member}"))),
    }
}
