//! Policy improvement: rollouts and optimizer steps on them.

use burn::module::Module;
use revealed_models::CausalLm;
use revealed_reward::RewardEnsemble;

use super::learner::Learner;
use super::rollout::Rollout;
use super::totals::rollout_metrics;
use crate::epochs::items;
use crate::error::TrainError;
use crate::fit::{Pair, RewardUpdater, add_length_expert};
use crate::recipe::{Alternation, LengthControl};
use crate::record::{At, Phase, TrainingHealth};
use crate::reward::Reward;
use crate::run::Run;
use crate::steps::{Advance, run_to_end};

/// Improves a policy against a reward for `policy.steps` rollouts, with a KL penalty to a reference model; returns it without
/// gradients.
///
/// # Errors
/// When a loss is not finite, the first ratio of a rollout is not 1, or the observer asks to stop.
pub fn improve_policy(
    policy: CausalLm,
    reference: &CausalLm,
    reward: &dyn Reward,
    round: usize,
    run: &mut Run<'_>,
) -> Result<CausalLm, TrainError> {
    let phase = PolicyPhase::new(policy, None, round, run)?;
    let improved = run_to_end(phase, At::new(round, Phase::Improve, 0), run, |phase, run| {
        phase.advance(reference, reward, run)
    })?;
    improved.note_early_stop(run);
    Ok(improved.policy)
}

/// The same with a co-trained reward: every policy step is followed by a step of the first `reward.ensemble_size` members on
/// its rollout, demonstrations above samples. The reward is returned with its old calibration.
///
/// # Errors
/// As [`improve_policy`].
pub fn improve_policy_and_reward(
    policy: CausalLm,
    reference: &CausalLm,
    reward: RewardEnsemble,
    round: usize,
    run: &mut Run<'_>,
) -> Result<(CausalLm, RewardEnsemble), TrainError> {
    let phase = PolicyPhase::new(policy, Some(reward.clone()), round, run)?;
    let improved = run_to_end(phase, At::new(round, Phase::Improve, 0), run, |phase, run| {
        phase.advance(reference, &reward, run)
    })?;
    improved.note_early_stop(run);
    Ok((improved.policy, improved.reward.unwrap_or(reward)))
}

/// Result of the policy steps of a round.
pub(crate) struct Improved {
    pub policy: CausalLm,
    /// The co-trained reward, if there is one.
    pub reward: Option<RewardEnsemble>,
    pub health: TrainingHealth,
}

impl Improved {
    /// Notes why the steps ended early, for callers without a gate that reports it.
    fn note_early_stop(&self, run: &mut Run<'_>) {
        if let Some(objection) = self.health.objection() {
            run.note(objection);
        }
    }
}

/// State of policy improvement between rollouts.
#[derive(Debug, Clone)]
pub struct PolicyPhase {
    pub(crate) learner: Learner,
    /// The reward that is trained in alternation with the policy, if there is one.
    pub(crate) co_trained: Option<CoTrainedReward>,
    /// Prompts per rollout.
    pub(crate) per_step: usize,
    /// Number of the round, from 1.
    pub(crate) round: usize,
    /// Rollouts done.
    pub(crate) step: usize,
}

/// A reward that is updated after every policy step.
#[derive(Debug, Clone)]
pub(crate) struct CoTrainedReward {
    pub reward: RewardEnsemble,
    /// Optimizers of the first members.
    pub updaters: Vec<RewardUpdater>,
}

impl PolicyPhase {
    /// The start of the phase in a round; the reward is co-trained if the recipe says so.
    pub(crate) fn of_round(
        policy: &CausalLm,
        reward: &RewardEnsemble,
        round: usize,
        run: &Run<'_>,
    ) -> Result<Self, TrainError> {
        let step_wise = run.recipe.policy.alternation == Alternation::StepWise;
        Self::new(policy.clone(), step_wise.then(|| reward.clone()), round, run)
    }

    fn new(
        policy: CausalLm,
        co_trained: Option<RewardEnsemble>,
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
        let co_trained = co_trained.map(|reward| CoTrainedReward::new(reward, run));
        Ok(Self { learner, co_trained, per_step, round, step: 0 })
    }

    /// Continues to the next pause or to the end, which is early if a limit of `[health]` is passed. `reward` is used if none
    /// is co-trained.
    pub(crate) fn advance(
        mut self,
        reference: &CausalLm,
        reward: &dyn Reward,
        run: &mut Run<'_>,
    ) -> Result<Advance<Self, Improved>, TrainError> {
        let steps = run.recipe.policy.steps;
        run.started(self.at(self.step), steps);
        let mut ended_by = None;
        while self.step < steps {
            let _span =
                tracing::debug_span!("step", phase = "improve", step = self.step + 1).entered();
            let (chosen, rollout) = self.rollout(reference, reward, run)?;
            let at = self.at(self.step + 1);
            let (gate, limits) = (&run.recipe.gate, &run.recipe.health);
            let monitor = self.learner.updater.monitor();
            ended_by = monitor.observe_rollout(rollout.figures(), at, gate, limits);
            if ended_by.is_some() {
                run.step(at, steps, &rollout_metrics(&rollout));
                break;
            }
            let metrics = self.learner.step(&rollout, at, run)?;
            run.step(at, steps, &metrics);
            if let Some(co_trained) = &mut self.co_trained {
                co_trained.step(&rollout, &chosen, (self.round, self.step + 1), run)?;
            }
            self.step += 1;
            if self.step < steps && run.should_pause(self.step) {
                return Ok(Advance::Paused(self));
            }
        }
        run.ended(self.at(self.step), &[]);
        let health = self.learner.updater.monitor().finish(ended_by);
        let reward = self.co_trained.map(|co_trained| co_trained.reward);
        Ok(Advance::Done(Improved { policy: self.learner.policy.valid(), reward, health }))
    }

    fn at(&self, step: usize) -> At {
        At::new(self.round, Phase::Improve, step)
    }

    /// The next rollout, with the indices of its prompts.
    fn rollout(
        &self,
        reference: &CausalLm,
        reward: &dyn Reward,
        run: &mut Run<'_>,
    ) -> Result<(Vec<usize>, Rollout), TrainError> {
        let (task, at) = (run.task, self.at(self.step + 1));
        let seed = |epoch| run.seed(self.at(epoch), "prompts");
        let chosen = items(task.prompts.len(), self.step * self.per_step, self.per_step, seed);
        let prompts: Vec<Vec<u32>> = chosen.iter().map(|i| task.prompts[*i].clone()).collect();
        let reward = match &self.co_trained {
            Some(co_trained) => &co_trained.reward,
            None => reward,
        };
        let rollout = Rollout::new(&self.learner.policy, reference, reward, &prompts, at, run)?;
        if at.step == 1 && !rollout.rows.iter().any(|row| row.terminated) {
            run.note(format!(
                "no completion ended within {} tokens: raise data.max_completion_tokens, or choose policy.missing_eos = \"penalty\"; with \"replace\" and \"batch-minimum\" all have the same score and nothing is learned",
                task.max_completion_tokens
            ));
        }
        Ok((chosen, rollout))
    }
}

impl CoTrainedReward {
    fn new(reward: RewardEnsemble, run: &Run<'_>) -> Self {
        let (steps, before) = (run.recipe.policy.steps, run.recipe.reward.steps);
        let updaters = (0..run.recipe.reward.ensemble_size)
            .map(|_| RewardUpdater::new(run, steps, before))
            .collect();
        Self { reward, updaters }
    }

    /// One step of every co-trained member, on the prompts of a rollout that have demonstrations.
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
            add_length_expert(&mut pairs);
        }
        if pairs.is_empty() {
            return Ok(());
        }
        let at = At::new(round, Phase::Fit, fitted + step);
        for (member, updater) in self.reward.members.iter_mut().zip(&mut self.updaters) {
            let model = member.model.clone().trainable();
            member.model = updater.step(model, &pairs, at, run)?.valid();
        }
        Ok(())
    }
}
