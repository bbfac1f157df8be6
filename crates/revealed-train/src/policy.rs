//! Policy improvement: rollouts and clipped steps, the same for every solver.

use burn::module::Module;
use revealed_models::CausalLm;
use revealed_reward::RewardEnsemble;

use crate::epochs::items;
use crate::error::TrainError;
use crate::learner::Learner;
use crate::observer::Phase;
use crate::pairs::{Pair, give_length_expert};
use crate::recipe::{Alternation, LengthControl};
use crate::reward::Reward;
use crate::reward_fit::RewardUpdater;
use crate::rollout::Rollout;
use crate::run::{Run, at};
use crate::steps::{Steps, to_the_end};
use crate::totals::of_rollout;
use crate::watch::Course;

/// Improves a policy against a reward for `policy.steps` rollouts, near an anchor; gives it back without gradients.
///
/// # Errors
/// When a loss is not finite, the first ratio of a rollout is not 1, or the observer asks to stop.
pub fn improve_policy(
    policy: CausalLm,
    anchor: &CausalLm,
    reward: &dyn Reward,
    round: usize,
    run: &mut Run<'_>,
) -> Result<CausalLm, TrainError> {
    let improvement = Improvement::new(policy, None, round, run)?;
    let improved =
        to_the_end(improvement, at(round, Phase::Improve, 0), run, |improvement, run| {
            improvement.advance(anchor, reward, run)
        })?;
    improved.said(run);
    Ok(improved.policy)
}

/// The same with a reward that follows: every policy step is followed by a step of the reward's first `reward.ensemble_size`
/// members on its rollout, demonstrations above samples. The reward comes back with the calibration that it had.
///
/// # Errors
/// As [`improve_policy`].
pub fn improve_in_turn(
    policy: CausalLm,
    anchor: &CausalLm,
    reward: RewardEnsemble,
    round: usize,
    run: &mut Run<'_>,
) -> Result<(CausalLm, RewardEnsemble), TrainError> {
    let improvement = Improvement::new(policy, Some(reward.clone()), round, run)?;
    let improved =
        to_the_end(improvement, at(round, Phase::Improve, 0), run, |improvement, run| {
            improvement.advance(anchor, &reward, run)
        })?;
    improved.said(run);
    Ok((improved.policy, improved.reward.unwrap_or(reward)))
}

/// What a round's policy steps have come to.
pub(crate) struct Improved {
    pub policy: CausalLm,
    /// Where it was updated in turn.
    pub reward: Option<RewardEnsemble>,
    pub course: Course,
}

impl Improved {
    /// Where no gate will say why the steps ended early.
    fn said(&self, run: &mut Run<'_>) {
        if let Some(objection) = self.course.objection() {
            run.note(objection);
        }
    }
}

/// A round's policy steps, in the middle of them.
#[derive(Debug, Clone)]
pub struct Improvement {
    pub(crate) learner: Learner,
    /// Where the reward is updated in turn.
    pub(crate) following: Option<Following>,
    /// Prompts a rollout.
    pub(crate) per_step: usize,
    pub(crate) round: usize,
    /// Rollouts done.
    pub(crate) step: usize,
}

/// A reward that is updated after every policy step.
#[derive(Debug, Clone)]
pub(crate) struct Following {
    pub reward: RewardEnsemble,
    /// Of its first members.
    pub updaters: Vec<RewardUpdater>,
}

impl Improvement {
    /// As the recipe has it: with the reward following or not.
    pub(crate) fn of_round(
        policy: &CausalLm,
        reward: &RewardEnsemble,
        round: usize,
        run: &Run<'_>,
    ) -> Result<Self, TrainError> {
        let in_turn = run.recipe.policy.alternation == Alternation::StepWise;
        Self::new(policy.clone(), in_turn.then(|| reward.clone()), round, run)
    }

    /// `following` is the reward where it is to be updated in turn.
    pub(crate) fn new(
        policy: CausalLm,
        following: Option<RewardEnsemble>,
        round: usize,
        run: &Run<'_>,
    ) -> Result<Self, TrainError> {
        let (task, config) = (run.task, &run.recipe.policy);
        let per_step = (config.batch_size / config.samples_per_prompt).min(task.prompts.len());
        if per_step == 0 {
            return Err(TrainError::TooFew {
                what: "prompts",
                found: 0,
                needed: 1,
                advice: "add demonstrations or prompts, or raise policy.batch_size",
            });
        }
        let learner = Learner::new(policy, per_step * config.samples_per_prompt, run);
        let (steps, before) = (config.steps, run.recipe.reward.steps);
        let following = following.map(|reward| {
            let one = || RewardUpdater::new(run, steps, before);
            Following {
                reward,
                updaters: (0..run.recipe.reward.ensemble_size).map(|_| one()).collect(),
            }
        });
        Ok(Self { learner, following, per_step, round, step: 0 })
    }

    /// Goes on to the next place to save, or the end, which is early where a guard's bound is passed. `reward` is the one to
    /// improve against where it is not updated in turn.
    pub(crate) fn advance(
        mut self,
        anchor: &CausalLm,
        reward: &dyn Reward,
        run: &mut Run<'_>,
    ) -> Result<Steps<Self, Improved>, TrainError> {
        let steps = run.recipe.policy.steps;
        run.started(at(self.round, Phase::Improve, self.step), steps);
        let mut ended_by = None;
        while self.step < steps {
            let _span =
                tracing::debug_span!("step", phase = "improve", step = self.step + 1).entered();
            let (chosen, rollout) = self.rollout(anchor, reward, run)?;
            let at = at(self.round, Phase::Improve, self.step + 1);
            ended_by = self.learner.updater.watch().see(&rollout, at, run.recipe);
            if ended_by.is_some() {
                run.step(at, steps, &of_rollout(&rollout));
                break;
            }
            let metrics = self.learner.step(&rollout, at, run)?;
            run.step(at, steps, &metrics);
            if let Some(following) = &mut self.following {
                following.step(&rollout, &chosen, (self.round, self.step + 1), run)?;
            }
            self.step += 1;
            if self.step < steps && run.pauses(self.step) {
                return Ok(Steps::Paused(self));
            }
        }
        run.ended(at(self.round, Phase::Improve, self.step), &[]);
        let course = Course { first: self.learner.updater.watch().first.take(), ended_by };
        let reward = self.following.map(|following| following.reward);
        Ok(Steps::Done(Improved { policy: self.learner.policy.valid(), reward, course }))
    }

    /// The next rollout, with the indices of its prompts.
    fn rollout(
        &self,
        anchor: &CausalLm,
        reward: &dyn Reward,
        run: &mut Run<'_>,
    ) -> Result<(Vec<usize>, Rollout), TrainError> {
        let (task, step) = (run.task, self.step + 1);
        let seed = |epoch| run.seed(at(self.round, Phase::Improve, epoch), "prompts");
        let chosen = items(task.prompts.len(), self.step * self.per_step, self.per_step, seed);
        let prompts: Vec<Vec<u32>> = chosen.iter().map(|i| task.prompts[*i].clone()).collect();
        let reward = match &self.following {
            Some(following) => &following.reward,
            None => reward,
        };
        let at = at(self.round, Phase::Improve, step);
        let rollout = Rollout::new(&self.learner.policy, anchor, reward, &prompts, at, run)?;
        if step == 1 && !rollout.rows.iter().any(|row| row.terminated) {
            run.note(format!(
                "no completion ended within {} tokens: raise data.max_completion_tokens, or choose policy.missing_eos = \"penalty\"; with \"replace\" and \"batch-minimum\" all score the same and nothing is learned",
                task.max_completion_tokens
            ));
        }
        Ok((chosen, rollout))
    }
}

impl Following {
    /// A step of every member that follows, on a rollout's prompts that have demonstrations.
    fn step(
        &mut self,
        rollout: &Rollout,
        chosen: &[usize],
        (round, step): (usize, usize),
        run: &mut Run<'_>,
    ) -> Result<(), TrainError> {
        let (task, fitted) = (run.task, run.recipe.reward.steps);
        let mut pairs: Vec<Pair<'_>> = rollout
            .canonical
            .iter()
            .enumerate()
            .filter_map(|(row, sample)| {
                Some(Pair::new(task.train.get(chosen[row / rollout.group])?, sample))
            })
            .collect();
        if run.recipe.reward.length_control == LengthControl::Expert {
            give_length_expert(&mut pairs);
        }
        if pairs.is_empty() {
            return Ok(());
        }
        let at = at(round, Phase::Fit, fitted + step);
        for (member, updater) in self.reward.members.iter_mut().zip(&mut self.updaters) {
            let model = member.model.clone().trainable();
            member.model = updater.step(model, &pairs, at, run)?.valid();
        }
        Ok(())
    }
}
