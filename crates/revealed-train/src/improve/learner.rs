//! Optimizer steps on a rollout, for every solver.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use revealed_data::shuffled;
use revealed_models::{CausalLm, ScalarModel};
use revealed_objectives::kl::adapted_kl_coef;
use revealed_objectives::policy::approx_kl;

use super::rollout::{RATIO_TOLERANCE, Rollout};
use super::solvers::{grpo, ppo, reinforce, rloo};
use super::targets::{MiniBatchTargets, Targets};
use super::totals::{MiniBatchNumbers, Totals};
use crate::error::TrainError;
use crate::optim::{Updater, accumulate, sum};
use crate::recipe::{PolicySection, Solver};
use crate::record::{At, Metric};
use crate::run::Run;

/// The trained models and their optimizers: the policy, and for PPO the critic.
#[derive(Debug, Clone)]
pub(crate) struct Learner {
    /// Settings of the recipe, with the current `kl_coef`.
    pub config: PolicySection,
    /// Running baseline of REINFORCE; none before the first rollout.
    pub baseline: Option<f64>,
    pub policy: CausalLm,
    pub updater: Updater<CausalLm>,
    pub critic: Option<(ScalarModel, Updater<ScalarModel>)>,
}

impl Learner {
    /// A learner for rollouts of `rows` completions.
    pub(crate) fn new(policy: CausalLm, rows: usize, run: &Run<'_>) -> Self {
        let config = &run.recipe.policy;
        let per_rollout = rows.div_ceil(config.mini_batch_size);
        let total = config.steps.saturating_mul(config.num_ppo_epochs).saturating_mul(per_rollout);
        let critic = (config.solver == Solver::Ppo).then(|| {
            let width = policy.shape().hidden_size;
            let critic = ScalarModel::with_head(policy.clone(), vec![0.0; width]).trainable();
            (critic, Updater::new(&config.optimizer, total))
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
            for (index, mini_batch) in order.chunks(config.mini_batch_size).enumerate() {
                let farthest =
                    self.mini_batch(rollout, &targets, mini_batch, at, run, &mut totals)?;
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
        let config = &self.config;
        let device = self.policy.device();
        let one_each =
            |advantages: Tensor<1>| -> Vec<f32> { advantages.into_data().iter::<f32>().collect() };
        Ok(match (&self.critic, config.solver) {
            (Some((critic, _)), _) => {
                let values = critic_values(critic, rollout, run)?;
                let (advantages, returns) = ppo::targets(rollout, &values, config, &device);
                Targets::Tokens { advantages, returns, values }
            }
            (None, Solver::Grpo) => {
                Targets::Completions(one_each(grpo::advantages(rollout, config, &device)))
            }
            (None, Solver::Reinforce) => {
                let (advantages, baseline) =
                    reinforce::advantages(rollout, self.baseline, config, &device);
                self.baseline = Some(baseline);
                Targets::Completions(one_each(advantages))
            }
            (None, _) => Targets::Completions(one_each(rloo::advantages(rollout, config, &device))),
        })
    }

    /// One optimizer step; gives the largest |log ratio| of its tokens.
    fn mini_batch(
        &mut self,
        rollout: &Rollout,
        targets: &Targets,
        chosen: &[usize],
        at: At,
        run: &mut Run<'_>,
        totals: &mut Totals,
    ) -> Result<f64, TrainError> {
        let config = &self.config;
        let rows: Vec<_> = chosen.iter().map(|i| &rollout.rows[*i]).collect();
        let tokens: usize = rows.iter().map(|row| row.completion().len()).sum();
        let size = (rows.len(), tokens);
        let micro_batches = run.micro_batches(&self.policy.device(), &rows);
        let shared = run.shared();
        let part = |model: &CausalLm, indices: &[usize]| {
            let which: Vec<usize> = indices.iter().map(|i| chosen[*i]).collect();
            let batch = shared.batch(model, which.iter().map(|i| &rollout.rows[*i]))?;
            let part = MiniBatchTargets::new(rollout, targets, &which, &batch);
            Ok::<_, TrainError>((part, batch))
        };
        let (gradients, numbers) = accumulate(&self.policy, &micro_batches, |policy, indices| {
            let (part, batch) = part(policy, indices)?;
            let done = policy.backward(&batch, config.temperature, |log_probs| {
                part.policy_loss(log_probs, &batch, size, config)
            });
            let (new, old) = (done.log_probs, part.old.clone());
            let clipped = part.clipped(new.clone(), &batch, size, config);
            let kl = approx_kl(new.clone(), old.clone()).sum().div_scalar(tokens as f64);
            Ok((done.gradients, [done.loss, kl, clipped, (new - old).abs().max()]))
        })?;
        let of = |which: usize| numbers.iter().map(|part| part[which].clone()).collect();
        let farthest = Tensor::cat(of(3), 0).max();
        let numbers = [sum(of(0)), sum(of(1)), sum(of(2)), farthest];
        let limits = &run.recipe.health;
        let critic = match &self.critic {
            None => None,
            Some((critic, _)) => Some(accumulate(critic, &micro_batches, |critic, indices| {
                let (part, batch) = part(&critic.backbone, indices)?;
                let loss = part.value_loss(critic.values(&batch), &batch, tokens, config);
                let gradients = GradientsParams::from_grads(loss.backward(), critic);
                Ok((gradients, loss.inner()))
            })?),
        };
        let policy = self.policy.clone();
        let (policy, done) =
            self.updater.update(policy, gradients, numbers, at, limits, run.observer)?;
        self.policy = policy;
        let mut value_loss = 0.0;
        if let (Some((critic, mut updater)), Some((gradients, losses))) =
            (self.critic.take(), critic)
        {
            let (critic, done) =
                updater.update(critic, gradients, [sum(losses)], at, limits, run.observer)?;
            value_loss = if done.done { done.numbers[0] } else { 0.0 };
            self.critic = Some((critic, updater));
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
            totals.add(&numbers, &micro_batches);
        }
        Ok(largest_log_ratio)
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
    use crate::recipe::{KlPlacement, Tuning};
    use crate::record::Phase;
    use crate::support::{World, model, weights};

    /// A step of a new learner on a changed rollout of its policy.
    fn rollout(solver: Solver, work: impl Fn(&mut Rollout)) -> Result<Vec<Metric>, TrainError> {
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
        for solver in [Solver::Rloo, Solver::Grpo, Solver::Ppo, Solver::Reinforce] {
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
        let part = MiniBatchTargets::new(&rows, &targets, &[0, 1], &batch);
        assert_eq!(part.old.dims(), old.dims());
        let share = |solver| {
            let config = PolicySection { solver, ..PolicySection::default() };
            part.clipped(new.clone(), &batch, (2, 4), &config).into_scalar::<f32>()
        };
        assert_eq!((share(Solver::Rloo), share(Solver::Grpo)), (0.5, 0.0));
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
                Solver::Ppo => Targets::Tokens {
                    advantages: per_token.clone(),
                    returns: per_token.clone(),
                    values: per_token.clone(),
                },
                _ => Targets::Completions(vec![0.0; 2]),
            };
            let part = MiniBatchTargets::new(&rollout, &targets, &[0, 1], &batch);
            let new = batch.rows_of(&rollout.old_log_probs);
            f64::from(part.policy_loss(new, &batch, (2, 4), &config).into_scalar::<f32>())
        };
        let k3 = |nats: f64| (-nats).exp() - 1.0 + nats;
        let sum = k3(0.5) + 2.0 * k3(0.25);
        for (solver, mean) in [
            // Over two completions; over their tokens first; over four tokens.
            (Solver::Rloo, sum / 2.0),
            (Solver::Reinforce, sum / 2.0),
            (Solver::Grpo, sum / 3.0 / 2.0),
            (Solver::Ppo, sum / 4.0),
        ] {
            assert!((loss(solver, KlPlacement::Loss) - 0.5 * mean).abs() < 1e-6, "{solver:?}");
            assert_eq!(loss(solver, KlPlacement::Reward), 0.0, "{solver:?}");
            let custom =
                if solver == Solver::Grpo { KlPlacement::Loss } else { KlPlacement::Reward };
            assert_eq!(loss(solver, KlPlacement::Solver), loss(solver, custom), "{solver:?}");
        }
    }

    #[test]
    fn the_returns_of_ppo_contain_the_kl_only_if_it_is_in_the_reward() {
        let rollout = example();
        let values = [vec![0.0; 3], vec![0.0]];
        let first = |kl_placement| {
            let config = PolicySection { kl_placement, kl_coef: 0.5, ..PolicySection::default() };
            let config = PolicySection { gae_lambda: 1.0, ..config };
            ppo::targets(&rollout, &values, &config, &crate::support::device()).1[0][0]
        };
        assert_eq!((first(KlPlacement::Reward), first(KlPlacement::Loss)), (2.5, 3.0));
    }

    #[test]
    fn a_dense_reward_is_given_at_its_tokens_and_the_rest_at_the_last_one() {
        let values = [vec![0.0; 3], vec![0.0]];
        let config = PolicySection { gae_lambda: 1.0, kl_coef: 0.0, ..PolicySection::default() };
        let returns = |token_scores| {
            let rollout = Rollout { token_scores, ..example() };
            ppo::targets(&rollout, &values, &config, &crate::support::device()).1
        };
        assert_eq!(returns(None), [vec![3.0, 3.0, 3.0], vec![1.0]]);
        // 0.5 + 1 of a score of 3, and all of a score of 1.
        let dense = vec![vec![0.5, 1.0, 0.0], vec![1.0]];
        assert_eq!(returns(Some(dense)), [vec![3.0, 2.5, 1.5], vec![1.0]]);
    }

    /// The KL coefficients that the rollouts of a round report.
    fn kl_coefs(anchor: &CausalLm, world: &World) -> Vec<f64> {
        let reward = RewardModel::new(world.base.clone(), 0);
        let mut observer = crate::support::RecordingObserver::default();
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
            recipe.policy.solver = Solver::Reinforce;
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
        let mut observer = crate::support::RecordingObserver::default();
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
