//! Policy improvement: rollouts and clipped steps, the same for every solver.

use burn::module::Module;
use revealed_models::CausalLm;
use revealed_reward::RewardEnsemble;

use crate::epochs::Epochs;
use crate::error::TrainError;
use crate::learner::Learner;
use crate::observer::Phase;
use crate::pairs::{Pair, give_length_expert};
use crate::recipe::LengthControl;
use crate::reward::Reward;
use crate::reward_fit::RewardUpdater;
use crate::rollout::Rollout;
use crate::run::{Run, at};

/// Improves a policy against a reward for `policy.steps` rollouts, near an anchor; gives it back without gradients.
///
/// # Errors
/// When a loss is not finite, or the first ratio of a rollout is not 1.
pub fn improve_policy(
    policy: CausalLm,
    anchor: &CausalLm,
    reward: &dyn Reward,
    round: usize,
    run: &mut Run<'_>,
) -> Result<CausalLm, TrainError> {
    let mut improvement = Improvement::new(policy, round, run)?;
    for step in 1..=run.recipe.policy.steps {
        improvement.step(anchor, reward, step, run)?;
    }
    Ok(improvement.end(run))
}

/// The same with a reward that follows: every policy step is followed by a step of the reward's first `reward.members`
/// members on its rollout, demonstrations above samples. The reward comes back with the calibration that it had.
///
/// # Errors
/// As [`improve_policy`].
pub fn improve_in_turn(
    policy: CausalLm,
    anchor: &CausalLm,
    mut reward: RewardEnsemble,
    round: usize,
    run: &mut Run<'_>,
) -> Result<(CausalLm, RewardEnsemble), TrainError> {
    let (task, steps, fitted) = (run.task, run.recipe.policy.steps, run.recipe.reward.steps);
    let followers = run.recipe.reward.members;
    let mut refits: Vec<RewardUpdater> =
        (0..followers).map(|_| RewardUpdater::new(run, steps, fitted)).collect();
    let mut improvement = Improvement::new(policy, round, run)?;
    for step in 1..=steps {
        let (chosen, rollout) = improvement.step(anchor, &reward, step, run)?;
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
        if !pairs.is_empty() {
            let at = at(round, Phase::Fit, fitted + step);
            for (member, refit) in reward.members.iter_mut().zip(&mut refits) {
                let model = member.model.clone().trainable();
                member.model = refit.step(model, &pairs, at, run)?.valid();
            }
        }
    }
    Ok((improvement.end(run), reward))
}

/// A round's policy steps.
struct Improvement {
    learner: Learner,
    epochs: Epochs,
    /// Prompts a rollout.
    per_step: usize,
    round: usize,
}

impl Improvement {
    fn new(policy: CausalLm, round: usize, run: &mut Run<'_>) -> Result<Self, TrainError> {
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
        let epochs = Epochs::new(task.prompts.len());
        run.started(at(round, Phase::Improve, 0), config.steps);
        Ok(Self { learner, epochs, per_step, round })
    }

    /// One rollout and the optimizer steps on it; gives the prompts' indices and the rollout.
    fn step(
        &mut self,
        anchor: &CausalLm,
        reward: &dyn Reward,
        step: usize,
        run: &mut Run<'_>,
    ) -> Result<(Vec<usize>, Rollout), TrainError> {
        let (task, round) = (run.task, self.round);
        let at = at(round, Phase::Improve, step);
        let _span = tracing::debug_span!("step", phase = "improve", step).entered();
        let chosen = self.epochs.take(self.per_step, |epoch| {
            run.seed(crate::run::at(round, Phase::Improve, epoch), "prompts")
        });
        let prompts: Vec<Vec<u32>> = chosen.iter().map(|i| task.prompts[*i].clone()).collect();
        let rollout = Rollout::new(&self.learner.policy, anchor, reward, &prompts, at, run)?;
        if step == 1 && !rollout.rows.iter().any(|row| row.terminated) {
            run.note(format!(
                "no completion ended within {} tokens: raise data.max_completion_tokens, or choose policy.missing_eos = \"penalty\"; with \"replace\" and \"batch-minimum\" all score the same and nothing is learned",
                task.max_completion_tokens
            ));
        }
        let metrics = self.learner.step(&rollout, at, run)?;
        run.step(at, run.recipe.policy.steps, &metrics);
        Ok((chosen, rollout))
    }

    fn end(self, run: &mut Run<'_>) -> CausalLm {
        run.ended(at(self.round, Phase::Improve, run.recipe.policy.steps), &[]);
        self.learner.policy.valid()
    }
}
