//! Optimizer steps on a rollout, for every solver.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use revealed_data::shuffled;
use revealed_models::workers::MicroBatches;
use revealed_models::{CausalLm, CompletionBatch, ScalarModel};
use revealed_objectives::kl::adapted_kl_coef;
use revealed_objectives::policy::approx_kl;

use super::rollout::{RATIO_TOLERANCE, Rollout};
use super::solvers::RolloutInputs;
use super::targets::{MiniBatchSize, MiniBatchTargets, Targets};
use super::totals::{MiniBatchNumbers, Totals};
use crate::error::TrainError;
use crate::optim::{Updater, accumulate, sum};
use crate::recipe::PolicySection;
use crate::record::{At, Metric};
use crate::run::{Run, Shared};

/// The trained models and their optimizers.
#[derive(Debug, Clone)]
pub(crate) struct Learner {
    /// Settings of the recipe, with the current `kl_coef`.
    pub config: PolicySection,
    /// Running baseline of the solver; none before the first rollout, or if it has none.
    pub baseline: Option<f64>,
    pub policy: CausalLm,
    pub updater: Updater<CausalLm>,
    /// The critic, if the solver uses one.
    pub critic: Option<Critic>,
}

/// A critic and its optimizer.
#[derive(Debug, Clone)]
pub(crate) struct Critic {
    pub model: ScalarModel,
    pub updater: Updater<ScalarModel>,
}

/// A mini-batch of a rollout: one optimizer step.
struct MiniBatch<'a> {
    rollout: &'a Rollout,
    targets: &'a Targets,
    /// Indices of its rows in the rollout.
    rows: &'a [usize],
    size: MiniBatchSize,
    /// Indices into `rows`.
    micro_batches: MicroBatches,
}

impl<'a> MiniBatch<'a> {
    fn new(
        rollout: &'a Rollout,
        targets: &'a Targets,
        rows: &'a [usize],
        policy: &CausalLm,
        run: &Run<'_>,
    ) -> Self {
        let chosen: Vec<_> = rows.iter().map(|i| &rollout.rows[*i]).collect();
        let tokens = chosen.iter().map(|row| row.completion().len()).sum();
        let size = MiniBatchSize { completions: rows.len(), tokens };
        let micro_batches = run.micro_batches(&policy.device(), &chosen);
        Self { rollout, targets, rows, size, micro_batches }
    }

    /// Tokens and targets of a micro-batch.
    fn micro_batch(
        &self,
        model: &CausalLm,
        indices: &[usize],
        run: Shared<'_>,
    ) -> Result<(CompletionBatch, MiniBatchTargets), TrainError> {
        let rows: Vec<usize> = indices.iter().map(|i| self.rows[*i]).collect();
        let batch = run.batch(model, rows.iter().map(|i| &self.rollout.rows[*i]))?;
        let targets = MiniBatchTargets::new(self.rollout, self.targets, &rows, &batch, self.size);
        Ok((batch, targets))
    }
}

/// Contribution of a micro-batch to the numbers of a step, `[1]` each.
struct StepPart {
    loss: Tensor<1>,
    approx_kl: Tensor<1>,
    clip_fraction: Tensor<1>,
    /// Largest `|log π − log π_old|` of a token, nats.
    largest_log_ratio: Tensor<1>,
}

impl Learner {
    /// A learner for rollouts of `rows` completions.
    pub(crate) fn new(policy: CausalLm, rows: usize, run: &Run<'_>) -> Self {
        let config = &run.recipe.policy;
        let per_rollout = rows.div_ceil(config.mini_batch_size);
        let total = config.steps.saturating_mul(config.num_ppo_epochs).saturating_mul(per_rollout);
        let critic = config.solver.solver().uses_critic().then(|| {
            let width = policy.shape().hidden_size;
            let model = ScalarModel::with_head(policy.clone(), vec![0.0; width]).trainable();
            Critic { model, updater: Updater::new(&config.optimizer, total) }
        });
        let updater = Updater::new(&config.optimizer, total);
        Self { config: config.clone(), baseline: None, policy: policy.trainable(), updater, critic }
    }

    /// All epochs over one rollout; returns its metrics.
    pub(crate) fn step(
        &mut self,
        rollout: &Rollout,
        at: At,
        run: &mut Run<'_>,
    ) -> Result<Vec<Metric>, TrainError> {
        let config = self.config.clone();
        let targets = self.targets(rollout, run)?;
        let mut totals = Totals::default();
        for epoch in 0..config.num_ppo_epochs {
            let seed = run.seed(at, &format!("inner {epoch}"));
            let order = shuffled(rollout.rows.len(), seed);
            for (index, rows) in order.chunks(config.mini_batch_size).enumerate() {
                let batch = MiniBatch::new(rollout, &targets, rows, &self.policy, run);
                let farthest = self.update(&batch, at, run, &mut totals)?;
                if epoch == 0 && index == 0 && farthest > RATIO_TOLERANCE.ln_1p() {
                    return Err(TrainError::RatioNotOne { at, ratio: farthest.exp() });
                }
            }
        }
        let mut metrics = totals.metrics(rollout);
        metrics.push(("objective/kl_coef", config.kl_coef));
        if config.kl_target > 0.0 {
            let (kl, rows) = (rollout.mean_kl(), rollout.rows.len());
            let (target, horizon) = (config.kl_target, config.kl_horizon);
            self.config.kl_coef = adapted_kl_coef(config.kl_coef, kl, target, horizon, rows);
        }
        Ok(metrics)
    }

    fn targets(&mut self, rollout: &Rollout, run: &Run<'_>) -> Result<Targets, TrainError> {
        let values = match &self.critic {
            Some(critic) => critic_values(&critic.model, rollout, run)?,
            None => vec![],
        };
        Ok(self.config.solver.solver().targets(RolloutInputs {
            rollout,
            values,
            baseline: &mut self.baseline,
            kl: self.config.kl_coefs(),
            config: &self.config,
            device: &self.policy.device(),
        }))
    }

    /// One optimizer step; returns the largest `|log π − log π_old|` of its tokens, nats.
    fn update(
        &mut self,
        batch: &MiniBatch<'_>,
        at: At,
        run: &mut Run<'_>,
        totals: &mut Totals,
    ) -> Result<f64, TrainError> {
        let (gradients, numbers) = self.policy_gradients(batch, run)?;
        let critic_gradients = match &self.critic {
            Some(critic) => Some(self.critic_gradients(&critic.model, batch, run)?),
            None => None,
        };
        let limits = &run.recipe.health;
        let policy = self.policy.clone();
        let (policy, done) =
            self.updater.update(policy, gradients, numbers, at, limits, run.observer)?;
        self.policy = policy;
        let mut value_loss = 0.0;
        if let (Some(Critic { model, mut updater }), Some((gradients, loss))) =
            (self.critic.take(), critic_gradients)
        {
            let (model, done) =
                updater.update(model, gradients, [loss], at, limits, run.observer)?;
            value_loss = if done.done { done.numbers[0] } else { 0.0 };
            self.critic = Some(Critic { model, updater });
        }
        let [loss, approx_kl, clip_fraction, largest_log_ratio] = done.numbers;
        if done.done {
            let numbers = MiniBatchNumbers {
                loss,
                approx_kl,
                clip_fraction,
                largest_log_ratio,
                value_loss,
                grad_norm: done.grad_norm,
                lr: done.lr,
            };
            totals.add(&numbers, &batch.micro_batches);
        }
        Ok(largest_log_ratio)
    }

    /// Gradients of the policy, and loss, approximate KL, clip fraction and largest log-ratio.
    fn policy_gradients(
        &self,
        batch: &MiniBatch<'_>,
        run: &Run<'_>,
    ) -> Result<(GradientsParams, [Tensor<1>; 4]), TrainError> {
        let (config, shared) = (&self.config, run.shared());
        let (solver, kl_coefs) = (config.solver.solver(), config.kl_coefs());
        let work = |policy: &CausalLm, indices: &[usize]| {
            let (tokens, targets) = batch.micro_batch(policy, indices, shared)?;
            let done = policy.backward(&tokens, config.temperature, |log_probs| {
                solver.loss(targets.loss_inputs(log_probs), kl_coefs, config)
            });
            let (new, old) = (done.log_probs, targets.old_log_probs.clone());
            let kl = approx_kl(new.clone(), old.clone()).sum();
            let part = StepPart {
                loss: done.loss,
                approx_kl: kl.div_scalar(batch.size.tokens as f64),
                clip_fraction: targets.clip_fraction(new.clone(), solver.clip_unit(), config),
                largest_log_ratio: (new - old).abs().max(),
            };
            Ok((done.gradients, part))
        };
        let (gradients, parts) = accumulate(&self.policy, &batch.micro_batches, work)?;
        let all = |of: fn(&StepPart) -> &Tensor<1>| parts.iter().map(|p| of(p).clone()).collect();
        let numbers = [
            sum(all(|part| &part.loss)),
            sum(all(|part| &part.approx_kl)),
            sum(all(|part| &part.clip_fraction)),
            Tensor::cat(all(|part| &part.largest_log_ratio), 0).max(),
        ];
        Ok((gradients, numbers))
    }

    /// Gradients of the critic, and its loss.
    fn critic_gradients(
        &self,
        critic: &ScalarModel,
        batch: &MiniBatch<'_>,
        run: &Run<'_>,
    ) -> Result<(GradientsParams, Tensor<1>), TrainError> {
        let (config, shared) = (&self.config, run.shared());
        let solver = config.solver.solver();
        let work = |critic: &ScalarModel, indices: &[usize]| {
            let (tokens, targets) = batch.micro_batch(&critic.backbone, indices, shared)?;
            let loss = solver.value_loss(targets.value_inputs(critic.values(&tokens)), config);
            let gradients = GradientsParams::from_grads(loss.backward(), critic);
            Ok((gradients, loss.inner()))
        };
        let (gradients, losses) = accumulate(critic, &batch.micro_batches, work)?;
        Ok((gradients, sum(losses)))
    }
}

fn critic_values(
    critic: &ScalarModel,
    rollout: &Rollout,
    run: &Run<'_>,
) -> Result<Vec<Vec<f32>>, TrainError> {
    let critic = critic.valid();
    run.per_token(&critic.backbone, &rollout.rows, |batch| critic.values(batch))
}

#[cfg(test)]
mod tests {
    use revealed_reward::RewardModel;

    use super::*;
    use crate::improve::improve_policy;
    use crate::improve::rollout::example;
    use crate::recipe::{KlPlacement, SolverName, Tuning};
    use crate::record::Phase;
    use crate::testing::{World, model, weights};

    /// A step of a new learner on a changed rollout of its policy.
    fn rollout(solver: SolverName, work: impl Fn(&mut Rollout)) -> Result<Vec<Metric>, TrainError> {
        let world = World::new(Tuning::Lora, |recipe| recipe.policy.solver = solver);
        let reward = RewardModel::new(world.base.clone(), 0);
        let prompts = &world.task.prompts[..4];
        let at = At::new(1, Phase::Improve, 3);
        world.run(&mut (), |run| {
            let mut rollout =
                Rollout::new(&world.policy, &world.base, &reward, prompts, at, run).unwrap();
            work(&mut rollout);
            Learner::new(world.policy.clone(), 8, run).step(&rollout, at, run)
        })
    }

    #[test]
    fn log_probs_of_another_policy_are_an_error_at_the_first_update() {
        for solver in [SolverName::RLOO, SolverName::GRPO, SolverName::PPO, SolverName::REINFORCE] {
            for shift in [0.01, -0.01] {
                let shifted = rollout(solver, |rollout| {
                    let all = rollout.old_log_probs.iter_mut().flatten();
                    all.for_each(|log_prob| *log_prob -= shift);
                });
                let error = shifted.unwrap_err();
                let TrainError::RatioNotOne { at, ratio } = error else { panic!("{error}") };
                assert_eq!((at.round, at.step), (1, 3));
                assert!((ratio - 1.01).abs() < 1e-3, "{ratio}");
            }
            assert!(rollout(solver, |_| {}).is_ok());
        }
    }

    #[test]
    fn the_first_update_of_a_rollout_has_ratio_1() {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.policy.num_ppo_epochs = 1;
            recipe.policy.mini_batch_size = 8;
            recipe.run.micro_batch_tokens = 16;
            recipe.policy.temperature = 0.7;
        });
        let reward = RewardModel::new(world.base.clone(), 0);
        let improved = world
            .run(&mut (), |run| improve_policy(world.policy.clone(), &world.base, &reward, 1, run));
        assert_ne!(weights(&improved.unwrap()), weights(&world.policy));
    }

    #[test]
    fn the_clip_fraction_counts_completions_for_rloo_and_tokens_for_grpo() {
        let world = World::new(Tuning::Full, |_| {});
        let rows = example();
        let batch =
            world.run(&mut (), |run| run.shared().batch(&world.base, rows.rows.iter())).unwrap();
        // Each token is 0.1 nats likelier: the ratio of three tokens is above 1.2, that of one is not.
        let old = batch.rows_of(&rows.old_log_probs);
        let new = batch.rows_of(&[vec![-0.9, -0.9, -0.9], vec![-1.9]]);
        let targets = Targets::Completions(vec![1.0, 1.0]);
        let size = MiniBatchSize { completions: 2, tokens: 4 };
        let targets = MiniBatchTargets::new(&rows, &targets, &[0, 1], &batch, size);
        assert_eq!(targets.old_log_probs.dims(), old.dims());
        let share = |name: SolverName| {
            let unit = name.solver().clip_unit();
            let fraction = targets.clip_fraction(new.clone(), unit, &PolicySection::default());
            fraction.into_scalar::<f32>()
        };
        assert_eq!((share(SolverName::RLOO), share(SolverName::GRPO)), (0.5, 0.0));
    }

    #[test]
    fn the_kl_in_the_loss_is_k3_of_completions_or_of_tokens() {
        let world = World::new(Tuning::Full, |_| {});
        let rollout = example();
        let batch =
            world.run(&mut (), |run| run.shared().batch(&world.base, rollout.rows.iter())).unwrap();
        let per_token = vec![vec![0.0; 3], vec![0.0]];
        let loss = |solver, kl_placement| {
            let config =
                PolicySection { solver, kl_placement, kl_coef: 0.5, ..PolicySection::default() };
            // With advantages of 0 only the KL remains.
            let targets = match solver {
                SolverName::PPO => Targets::Tokens {
                    advantages: per_token.clone(),
                    returns: per_token.clone(),
                    values: per_token.clone(),
                },
                _ => Targets::Completions(vec![0.0; 2]),
            };
            let size = MiniBatchSize { completions: 2, tokens: 4 };
            let targets = MiniBatchTargets::new(&rollout, &targets, &[0, 1], &batch, size);
            let inputs = targets.loss_inputs(batch.rows_of(&rollout.old_log_probs));
            let loss = solver.solver().loss(inputs, config.kl_coefs(), &config);
            f64::from(loss.into_scalar::<f32>())
        };
        let k3 = |nats: f64| (-nats).exp() - 1.0 + nats;
        let sum = k3(0.5) + 2.0 * k3(0.25);
        for (solver, mean) in [
            // Over two completions; over their tokens first; over four tokens.
            (SolverName::RLOO, sum / 2.0),
            (SolverName::REINFORCE, sum / 2.0),
            (SolverName::GRPO, sum / 3.0 / 2.0),
            (SolverName::PPO, sum / 4.0),
        ] {
            assert!((loss(solver, KlPlacement::Loss) - 0.5 * mean).abs() < 1e-6, "{solver:?}");
            assert_eq!(loss(solver, KlPlacement::Reward), 0.0, "{solver:?}");
            let custom =
                if solver == SolverName::GRPO { KlPlacement::Loss } else { KlPlacement::Reward };
            assert_eq!(loss(solver, KlPlacement::Solver), loss(solver, custom), "{solver:?}");
        }
    }

    /// The KL coefficients that the rollouts of a round report.
    fn kl_coefs(anchor: &CausalLm, world: &World) -> Vec<f64> {
        let reward = RewardModel::new(world.base.clone(), 0);
        let mut observer = crate::testing::RecordingObserver::default();
        let improved = world.run(&mut observer, |run| {
            improve_policy(world.policy.clone(), anchor, &reward, 1, run)
        });
        improved.unwrap();
        let of = |name| -> Vec<f64> {
            observer.metrics.iter().flatten().filter(|m| m.0 == name).map(|m| m.1).collect()
        };
        let (coefs, kls) = (of("objective/kl_coef"), of("objective/kl"));
        // Each follows from the previous one and the KL of its rollout: 8 completions, horizon 80.
        for (step, kl) in kls.iter().enumerate().take(coefs.len() - 1) {
            let target = world.recipe.policy.kl_target;
            let rise = if target > 0.0 { (kl / target - 1.0).clamp(-0.2, 0.2) * 0.1 } else { 0.0 };
            let wanted = coefs[step] * (1.0 + rise);
            assert!((coefs[step + 1] - wanted).abs() < 1e-12, "{coefs:?}, {kls:?}");
        }
        coefs
    }

    #[test]
    fn the_kl_coefficient_rises_above_the_target_falls_below_it_and_stays_without_one() {
        let towards = |kl_target| {
            World::new(Tuning::Full, |recipe| {
                recipe.policy.steps = 3;
                recipe.policy.kl_coef = 0.5;
                (recipe.policy.kl_target, recipe.policy.kl_horizon) = (kl_target, 80.0);
            })
        };
        let far = model(2);
        let rising = kl_coefs(&far, &towards(0.01));
        assert_eq!((rising.len(), rising[0]), (3, 0.5));
        assert!(rising[0] < rising[1] && rising[1] < rising[2], "{rising:?}");
        let falling = kl_coefs(&far, &towards(1e6));
        assert_eq!(falling[0], 0.5);
        assert!(falling[0] > falling[1] && falling[1] > falling[2], "{falling:?}");
        assert_eq!(kl_coefs(&far, &towards(0.0)), [0.5; 3]);
    }

    #[test]
    fn the_adapted_kl_coefficient_is_the_one_that_is_used() {
        for kl_placement in [KlPlacement::Reward, KlPlacement::Loss] {
            let ends: Vec<_> = [0.0, 1e6]
                .map(|kl_target| {
                    let world = World::new(Tuning::Full, |recipe| {
                        recipe.policy.steps = 2;
                        recipe.policy.kl_placement = kl_placement;
                        (recipe.policy.kl_target, recipe.policy.kl_horizon) = (kl_target, 8.0);
                    });
                    let reward = RewardModel::new(world.base.clone(), 0);
                    let improved = world.run(&mut (), |run| {
                        improve_policy(world.policy.clone(), &model(2), &reward, 1, run)
                    });
                    weights(&improved.unwrap())
                })
                .into();
            assert_ne!(ends[0], ends[1], "{kl_placement:?}");
        }
    }

    #[test]
    fn reinforce_updates_its_baseline_with_every_rollout() {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.policy.solver = SolverName::REINFORCE;
            recipe.policy.kl_coef = 0.0;
            recipe.policy.baseline_decay = 0.75;
        });
        let reward = RewardModel::new(world.base.clone(), 0);
        let at = At::new(1, Phase::Improve, 1);
        world.run(&mut (), |run| {
            let prompts = &world.task.prompts[..4];
            let mut rollout =
                Rollout::new(&world.policy, &world.base, &reward, prompts, at, run).unwrap();
            let mut learner = Learner::new(world.policy.clone(), 8, run);
            for (scores, left) in [(2.0, 2.0), (4.0, 0.75 * 2.0 + 0.25 * 4.0)] {
                rollout.scores = vec![scores; 8];
                learner.targets(&rollout, run).unwrap();
                assert_eq!(learner.baseline, Some(left));
            }
        });
    }

    #[test]
    fn a_schedule_ends_with_the_last_step_also_with_few_prompts() {
        // 30 completions are asked for, 20 prompts of 2 give 40; of 100, only 40.
        for (batch_size, steps) in [(30, 4 * 2 * 2), (100, 3 * 2 * 2)] {
            let world = World::new(Tuning::Full, |recipe| {
                recipe.policy.batch_size = batch_size;
                recipe.policy.mini_batch_size = if batch_size == 30 { 8 } else { 16 };
            });
            let rows = batch_size.min(2 * world.task.prompts.len());
            let learner = world.run(&mut (), |run| Learner::new(world.policy.clone(), rows, run));
            assert_eq!(learner.updater.total(), steps);
        }
        let world = World::new(Tuning::Full, |recipe| {
            recipe.policy.batch_size = 100;
            recipe.policy.mini_batch_size = 16;
        });
        let reward = RewardModel::new(world.base.clone(), 0);
        let mut observer = crate::testing::RecordingObserver::default();
        let improved = world.run(&mut observer, |run| {
            improve_policy(world.policy.clone(), &world.base, &reward, 1, run)
        });
        improved.unwrap();
        let rate =
            |metrics: &Vec<Metric>| metrics.iter().find(|m| m.0 == "learning_rate").map(|m| m.1);
        let last = observer.metrics.iter().filter_map(rate).next_back().unwrap();
        // Linear decay to 0 over 12 steps: the last rate is a twelfth.
        assert!((last - 1e-2 / 12.0).abs() < 1e-9, "{last}");
    }
}
