//! Micro-batches affect memory only: one row at a time or all rows together give the same weights.
//!
//! AdamW's ε is 1 here, so that a step is proportional to the gradient: with a small ε it would be the
//! gradient's sign, and rounding alone would decide where a gradient is 0.

use revealed_models::CausalLm;
use revealed_objectives::{LogRatioLoss, LogRatioObjective};
use revealed_reward::{RewardEnsemble, RewardModel};
use revealed_train::{
    At, KlPlacement, KlReference, LengthControl, NegativeReweighting, Normalization,
    OptimizerConfig, Pair, PairPool, Phase, Recipe, Schedule, SelfPlay, SftObjective, SolverName,
    Tuning, ValidationReward, fit_log_ratio, fit_reward, fit_sft, improve_policy,
};

use revealed_train::testing::{Weights, World, largest_difference, weights};

/// f32 sums in another order, times a rate of at most 1.
const TOLERANCE: f32 = 1e-6;

fn proportional(lr: f64) -> OptimizerConfig {
    OptimizerConfig {
        lr,
        schedule: Schedule::Constant,
        adam_epsilon: 1.0,
        max_grad_norm: 1e9,
        ..OptimizerConfig::default()
    }
}

/// Weights after `stage` with single rows and with all rows in a micro-batch.
fn same_weights(change: impl Fn(&mut Recipe), stage: impl Fn(&World) -> (Weights, Weights)) {
    let [alone, together] = [1, 100_000].map(|tokens| {
        let world = World::new(Tuning::Full, |recipe| {
            change(recipe);
            recipe.run.micro_batch_tokens = tokens;
        });
        stage(&world)
    });
    assert!(largest_difference(&alone.0, &alone.1) > 1e-3, "nothing was learned");
    let difference = largest_difference(&alone.1, &together.1);
    assert!(difference <= TOLERANCE, "{difference}");
}

#[test]
fn sft_does_not_favour_short_rows() {
    for objective in [SftObjective::Likelihood, SftObjective::IqLearn] {
        let change = |recipe: &mut Recipe| {
            recipe.sft.objective = objective;
            recipe.sft.max_steps = 1;
            recipe.sft.batch_size = 20;
            recipe.sft.optimizer = proportional(1.0);
        };
        same_weights(change, |world| {
            let model = world.run(&mut (), |run| fit_sft(world.policy.clone(), run)).unwrap();
            (weights(&world.policy), weights(&model))
        });
    }
}

/// The pool after the first draw.
fn pool(world: &World) -> PairPool {
    let mut pool = PairPool::default();
    let at = At { round: 1, phase: Phase::Sample, step: 0 };
    let base = &world.base;
    world.run(&mut (), |run| pool.draw(base, base, base, at, run)).unwrap();
    pool
}

#[test]
fn a_reward_step_equals_that_of_the_full_batch_with_weights_and_experts() {
    let plain = |recipe: &mut Recipe| {
        recipe.reward.steps = 1;
        recipe.reward.batch_size = 30;
        recipe.reward.l2 = 0.5;
        recipe.reward.optimizer = proportional(1.0);
    };
    let all = |recipe: &mut Recipe| {
        plain(recipe);
        recipe.negatives.truncated = 1;
        (recipe.negatives.weights.policy, recipe.negatives.weights.truncated) = (3.0, 0.5);
        recipe.reward.length_control = LengthControl::Expert;
        (recipe.reward.negative_reweighting, recipe.gate.validation_reward) =
            (NegativeReweighting::ValidationReward, ValidationReward::Independent);
        (recipe.reward.center_rewards_coef, recipe.reward.label_smoothing) = (0.3, 0.1);
    };
    let fit = |world: &World| {
        let pool = pool(world);
        let judge = RewardModel::new(world.base.clone(), 4);
        let start = RewardModel::new(world.base.clone(), 3);
        let before = weights(&start.model);
        let reward = world.run(&mut (), |run| {
            let negatives: Vec<_> = pool.negatives.iter().collect();
            let pairs = revealed_train::pairs(&negatives, Some(&judge), &world.task, run)?;
            fit_reward(start, &pairs, (1, 0), run)
        });
        (before, weights(&reward.unwrap().model))
    };
    same_weights(plain, fit);
    same_weights(all, fit);
}

#[test]
fn a_pair_of_weight_n_counts_as_n_pairs() {
    let world = World::new(Tuning::Full, |recipe| {
        recipe.reward.steps = 1;
        (recipe.reward.l2, recipe.reward.center_rewards_coef) = (0.2, 0.1);
        recipe.reward.optimizer = proportional(1.0);
    });
    let rows = &world.task.train;
    let pair = |d: usize, s: usize, weight| Pair { weight, ..Pair::new(&rows[d], &rows[s]) };
    let start = RewardModel::new(world.base.clone(), 3);
    let fitted = |pairs: &[Pair<'_>]| {
        let fitted = world.run(&mut (), |run| fit_reward(start.clone(), pairs, (1, 0), run));
        weights(&fitted.unwrap().model)
    };
    // The second pair may share the prompt of the first, which is then computed once: other orders of summation.
    let close = |a: &Weights, b: &Weights| largest_difference(a, b) <= 2.0 * TOLERANCE;
    // A pair of weight 0 counts in the denominator only.
    let (one, other) = ((0, 1), (2, 3));
    let with_nothing = fitted(&[pair(one.0, one.1, 1.0), pair(other.0, other.1, 0.0)]);
    assert!(close(&with_nothing, &fitted(&[pair(one.0, one.1, 0.5)])));
    assert!(!close(&with_nothing, &fitted(&[pair(one.0, one.1, 1.0)])));
    // A pair of weight 2 and one of weight 1 are like three pairs, two of them equal.
    let heavy = fitted(&[pair(one.0, one.1, 2.0), pair(other.0, other.1, 1.0)]);
    let twice = [pair(one.0, one.1, 1.5), pair(one.0, one.1, 1.5), pair(other.0, other.1, 1.5)];
    assert!(close(&heavy, &fitted(&twice)));
    let even = [pair(one.0, one.1, 1.0), pair(other.0, other.1, 1.0)];
    assert!(!close(&heavy, &fitted(&even)));
    assert_eq!(fitted(&[pair(one.0, one.1, 0.0)]), weights(&start.model));
}

#[test]
fn a_step_on_log_ratios_equals_that_of_the_full_batch() {
    let change = |recipe: &mut Recipe| {
        recipe.negatives.truncated = 1;
        (recipe.negatives.weights.policy, recipe.negatives.weights.truncated) = (3.0, 0.5);
    };
    same_weights(change, |world| {
        let pool = pool(world);
        let negatives: Vec<_> = pool.negatives.iter().collect();
        let config = SelfPlay {
            rounds: 1,
            steps: 1,
            batch_size: 30,
            reference: KlReference::Sft,
            optimizer: proportional(0.3),
        };
        let objective = LogRatioObjective {
            loss: LogRatioLoss::Spin,
            scale: 0.1,
            offset: 0.0,
            label_smoothing: 0.0,
        };
        let reference = revealed_train::testing::model(2);
        let fitted = world.run(&mut (), |run| {
            let pairs = revealed_train::pairs(&negatives, None, &world.task, run)?;
            fit_log_ratio(world.policy.clone(), &reference, &pairs, &config, &objective, run)
        });
        (weights(&world.policy), weights(&fitted.unwrap()))
    });
}

fn improved(world: &World) -> (Weights, Weights) {
    let member = |seed| RewardModel::new(world.base.clone(), seed);
    let reward = RewardEnsemble { members: vec![member(3), member(4)], uncertainty_penalty: 0.5 };
    let improve = |policy: CausalLm| {
        world.run(&mut (), |run| improve_policy(policy, &world.base, &reward, 1, run))
    };
    let policy = improve(world.policy.clone()).unwrap();
    (weights(&world.policy), weights(&policy))
}

#[test]
fn a_policy_step_equals_that_of_the_full_mini_batch() {
    for solver in [SolverName::RLOO, SolverName::GRPO, SolverName::PPO, SolverName::REINFORCE] {
        for (normalization, kl_placement) in [
            (Normalization::Sequence, KlPlacement::Reward),
            (Normalization::Token, KlPlacement::Loss),
        ] {
            let change = |recipe: &mut Recipe| {
                recipe.policy.solver = solver;
                recipe.policy.normalization = normalization;
                recipe.policy.kl_placement = kl_placement;
                recipe.policy.steps = 1;
                recipe.policy.batch_size = 16;
                recipe.policy.mini_batch_size = 8;
                recipe.policy.optimizer = proportional(0.1);
            };
            same_weights(change, improved);
        }
    }
}
