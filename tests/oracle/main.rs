//! The tabular oracle: a world so small that every completion can be listed.
//!
//! A completion has at most three of six tokens, 156 in all. So `π(y|x)`, the best policy of a reward and the
//! gradient of the objective are sums over a table, and what the loop finds by sampling is compared with them.
//!
//! | claim | test |
//! |---|---|
//! | demonstrations alone lead the policy to `π_demo` | `the_loop_recovers_the_demonstrators_policy` |
//! | it is the objective that leads it there | `with_the_objective_reversed_…` |
//! | a round ends at `π* ∝ π_ref · exp(r/β)` | `policy_improvement_ends_at_…` |
//! | a step of the reward goes along `E_demo[∇r] − E_π[∇r]` | `the_reward_s_gradient_is_…` |
//! | samples of the policy estimate it without bias | `the_sampled_gradient_is_…` |
#![allow(clippy::unwrap_used)]

mod gradient;
mod world;

use revealed::models::CausalLm;
use revealed::objectives::{GroupScale, RewardObjective};
use revealed::reward::RewardModel;
use revealed::train::{
    At, PairPool, Phase, Row, SolverName, State, align, calibrate, improve_policy,
};

use gradient::*;
use world::*;

// Recovery.

/// A policy that began anywhere, without SFT: what it knows of demonstrations came through the reward.
///
/// The best pairwise-logistic reward of a table is `log π_demo/π + const`. With the KL to the round's first
/// policy, β = 2 and rewards that are not scaled up, an exact round gives `π ∝ √(π_old · π_demo)`: each halves
/// what is left of the log-ratio, errors of earlier rounds with it.
#[test]
fn the_loop_recovers_the_demonstrators_policy() {
    for seed in [1, 2] {
        let world = World::new(seed, |_| {});
        let (before, after) = (world.kl(&world.policy), world.kl(&align_from(&world, &DEFAULT)));
        println!("seed {seed}: KL(π_demo ‖ π) from {before:.3} to {after:.3} nats");
        assert!(before > 1.0, "{before}");
        // A round sees 128 samples of a prompt's 9 completions, a table with a KL of (9 − 1) / (2 · 128) = 0.03
        // from its own source; three times that.
        assert!(after < 0.1, "{after}");
    }
}

#[test]
fn with_the_objective_reversed_the_policy_leaves_the_demonstrators() {
    let world = World::new(1, |recipe| recipe.run.rounds = 3);
    let reversed = |demonstration, sample| DEFAULT.loss(sample, demonstration);
    let (before, after) = (world.kl(&world.policy), world.kl(&align_from(&world, &reversed)));
    // The right way round, three rounds take 2 nats off.
    assert!(after > before + 1.0, "{before} to {after}");
}

fn align_from(world: &World, objective: &dyn RewardObjective) -> CausalLm {
    let state = State::new(world.policy.clone(), world.policy.clone());
    let end = world.run(objective, |run| align(state, run, |_| Ok(()))).unwrap();
    assert!(end.reports.iter().all(|report| report.accepted));
    assert_eq!(end.reports.len(), world.recipe.run.rounds);
    end.policy
}

// The lower problem.

/// `argmax_π E_π[r] − β KL(π ‖ π_ref)` for a reward that is another random network, with all its accidents.
#[test]
fn policy_improvement_ends_at_the_reference_tilted_by_the_reward() {
    for (solver, bound) in [
        // A run ends some 0.01 away: samples are finite and so is the network.
        (SolverName::RLOO, 0.05),
        (SolverName::PPO, 0.05),
        // GRPO's k3 in the loss has the gradient of the other KL, so its end is near another policy.
        (SolverName::GRPO, 0.5),
    ] {
        let world = World::new(1, |recipe| {
            recipe.reward.scale_floor = 1e-3;
            recipe.policy.solver = solver;
            recipe.policy.group_scale = GroupScale::None;
            recipe.policy.steps = 200;
            recipe.policy.kl_coef = 0.7;
            recipe.policy.optimizer.lr = 1e-2;
        });
        let policy = world.policy.clone();
        let (end, best_of) = world.run(&DEFAULT, |run| {
            let reward = RewardModel::new(model(7), 7);
            // One raw unit is arbitrary; a calibrated one is the spread of the reference's samples.
            let reward = calibrate(reward, &policy, &[], 1, run).unwrap();
            let best_of = tilted(&policy, &reward, run.recipe.policy.kl_coef);
            (improve_policy(policy.clone(), &policy, &reward, 1, run).unwrap(), best_of)
        });
        let (before, after) = (farther(&best_of, &policy), farther(&best_of, &end));
        println!("{solver:?}: KL to π* from {before:.3} to {after:.3} nats");
        assert!(before > 1.0, "{solver:?}: {before}");
        assert!(after < bound, "{solver:?}: {after}");
    }
}

/// `log π*(y|x) = log π_ref(y|x) + r(x, y)/β − log Z(x)`, over everything a policy can write.
fn tilted(reference: &CausalLm, reward: &RewardModel, beta: f64) -> Vec<Vec<f64>> {
    (0..PROMPTS)
        .map(|prompt| {
            let rows = all(prompt);
            let scores = reward.scores(&rows, PAD, 1 << 14).unwrap();
            let tilted: Vec<f64> =
                log_probs(reference, &rows).iter().zip(scores).map(|(l, r)| l + r / beta).collect();
            let log_z = tilted.iter().map(|l| l.exp()).sum::<f64>().ln();
            tilted.iter().map(|l| l - log_z).collect()
        })
        .collect()
}

/// The larger of `KL(π* ‖ π)` and `KL(π ‖ π*)`, nats a completion.
fn farther(best: &[Vec<f64>], policy: &CausalLm) -> f64 {
    let mut sides = [0.0; 2];
    for (prompt, best) in (0..PROMPTS).zip(best) {
        let log_probs = log_probs(policy, &all(prompt));
        // The list is complete: a policy's chances add up to 1.
        assert!((log_probs.iter().map(|l| l.exp()).sum::<f64>() - 1.0).abs() < 1e-5);
        for (b, p) in best.iter().zip(log_probs) {
            sides[0] += b.exp() * (b - p) / f64::from(PROMPTS);
            sides[1] += p.exp() * (p - b) / f64::from(PROMPTS);
        }
    }
    sides[0].max(sides[1])
}

// The upper problem's gradient.

/// The policy here is a table too, the demonstrators' for the other prompt, so that its samples can have
/// exactly its frequencies.
#[test]
fn the_reward_s_gradient_is_that_of_demonstrations_less_that_of_the_policy() {
    let world = World::new(1, one_linear_step);
    let reward = RewardModel::new(model(7), 7);
    let negatives: Vec<Row> = (0..PROMPTS).flat_map(|x| repeated(x, 1 - x)).collect();
    let step = pair_step(&world, &reward, negatives.clone());
    let mean = |rows: &[Row]| gradient_of_mean(&reward.model, rows);
    let exact = minus(&mean(&world.task.train), &mean(&negatives));
    // f32 rounds at 6e-8, and a weight near 1 moves by a gradient near 1e-3.
    let apart = norm(&minus(&step, &exact)) / norm(&exact);
    assert!(apart < 1e-4, "{apart}");

    // And without any backward pass: along the gradient the objective rises by its norm.
    let objective = |by: f64| {
        let along = exact.iter().map(|g| by * g / norm(&exact)).collect();
        let reward = RewardModel { model: moved(&reward.model, along), ..reward.clone() };
        let scores = |rows| reward.raw_scores(rows, PAD, 1 << 14).unwrap().iter().sum::<f64>();
        (scores(&world.task.train) - scores(&negatives)) / negatives.len() as f64
    };
    let rise = (objective(2e-3) - objective(-2e-3)) / 4e-3;
    // The third derivative leaves a few times 1e-4 at this distance, rounding 1e-7 / 4e-3.
    assert!((rise / norm(&exact) - 1.0).abs() < 1e-3, "{rise} against {}", norm(&exact));
}

/// The squared error of a mean of n samples is the variance over n, on average: for n = 64 and 4096 an error
/// that is 8 times smaller. Sampling that is off, by temperature, truncation or place, has a bias that stays.
#[test]
fn the_sampled_gradient_is_unbiased_and_its_error_falls_as_1_over_root_n() {
    let reward = RewardModel::new(model(7), 7);
    for (samples, seed) in [(2, 1), (128, 1), (128, 2)] {
        let world = World::new(seed, |recipe| {
            one_linear_step(recipe);
            recipe.negatives.policy = samples;
        });
        let at = At { round: 1, phase: Phase::Sample, step: 0 };
        let policy = &world.policy;
        let mut pool = PairPool::default();
        world.run(&DEFAULT, |run| pool.draw(policy, policy, policy, at, run)).unwrap();
        let drawn = pool.negatives.into_iter().map(|negative| negative.row).collect();
        let step = pair_step(&world, &reward, drawn);

        let mut exact = gradient_of_mean(&reward.model, &world.task.train);
        let mut variance = 0.0;
        for prompt in 0..PROMPTS {
            let rows = all(prompt);
            let gradients: Vec<Vec<f64>> =
                rows.iter().map(|r| gradient(&reward.model, r)).collect();
            let share: Vec<f64> = log_probs(policy, &rows).iter().map(|l| l.exp()).collect();
            let mut mean = vec![0.0; exact.len()];
            share.iter().zip(&gradients).for_each(|(p, g)| add(&mut mean, *p, g));
            let spread = |g: &Vec<f64>| norm(&minus(g, &mean)).powi(2);
            let spread: f64 = share.iter().zip(&gradients).map(|(p, g)| p * spread(g)).sum();
            add(&mut exact, -1.0 / f64::from(PROMPTS), &mean);
            variance += spread / f64::from(PROMPTS * PROMPTS) / (EACH * samples) as f64;
        }
        let error = norm(&minus(&step, &exact)) / variance.sqrt();
        println!("{samples} samples: {error:.2} of the {:.4} expected", variance.sqrt());
        // A few directions carry most of the variance, so one draw's error is only within half of its mean;
        // a temperature of 0.8 instead of 1 makes it 2.2 at 4,096.
        assert!((0.5..1.5).contains(&error), "{samples} samples: {error}");
    }
}
