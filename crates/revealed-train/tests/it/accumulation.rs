//! Micro-batches are a matter of memory: one row at a time or all together give the same weights.
//!
//! AdamW's ε is 1 here, so that a step is proportional to the gradient: with a small ε it would be the
//! gradient's sign, and rounding alone would decide where a gradient is 0.

use revealed_models::CausalLm;
use revealed_reward::RewardModel;
use revealed_train::{
    Normalization, OptimizerConfig, Recipe, Schedule, Solver, Tuning, fit_reward, fit_sft,
    improve_policy,
};

use crate::support::{Weights, World, largest_difference, weights};

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

/// The weights that `stage` makes with single rows and with all rows in a micro-batch.
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
    let change = |recipe: &mut Recipe| {
        recipe.sft.max_steps = 1;
        recipe.sft.batch_size = 20;
        recipe.sft.optimizer = proportional(1.0);
    };
    same_weights(change, |world| {
        let model = world.run(&mut (), |run| fit_sft(world.policy.clone(), run)).unwrap();
        (weights(&world.policy), weights(&model))
    });
}

#[test]
fn a_reward_step_is_that_of_the_whole_batch() {
    let change = |recipe: &mut Recipe| {
        recipe.reward.steps = 1;
        recipe.reward.batch_size = 30;
        recipe.reward.l2 = 0.5;
        recipe.reward.optimizer = proportional(1.0);
    };
    same_weights(change, |world| {
        let (_, states) = world.align();
        let pool = &states[1].pool;
        let start = RewardModel::new(world.base.clone(), 3);
        let before = weights(&start.model);
        let reward = world.run(&mut (), |run| {
            let negatives: Vec<_> = pool.negatives.iter().collect();
            let pairs = revealed_train::pairs(&negatives, None, &world.task, run)?;
            fit_reward(start, &pairs, (1, 0), run)
        });
        (before, weights(&reward.unwrap().model))
    });
}

fn improved(world: &World) -> (Weights, Weights) {
    let reward = RewardModel::new(world.base.clone(), 3);
    let improve = |policy: CausalLm| {
        world.run(&mut (), |run| improve_policy(policy, &world.base, reward, 1, run))
    };
    let (policy, _) = improve(world.policy.clone()).unwrap();
    (weights(&world.policy), weights(&policy))
}

#[test]
fn a_policy_step_is_that_of_the_whole_mini_batch() {
    for solver in [Solver::Rloo, Solver::Grpo, Solver::Ppo] {
        for normalization in [Normalization::Sequence, Normalization::Token] {
            let change = |recipe: &mut Recipe| {
                recipe.policy.solver = solver;
                recipe.policy.normalization = normalization;
                recipe.policy.steps = 1;
                recipe.policy.batch_size = 16;
                recipe.policy.mini_batch_size = 8;
                recipe.policy.optimizer = proportional(0.1);
            };
            same_weights(change, improved);
        }
    }
}
