//! The choices of a recipe do what their names say.

use revealed_objectives::{GroupScale, PairLoss};
use revealed_train::{
    Alternation, Anchor, MissingEos, Negative, Normalization, Origin, PairPool, Phase, Pool,
    Recipe, RewardSection, RewardStart, Row, Schedule, Solver, State, Tuning,
};

use crate::support::{Weights, World, weights};

#[test]
fn a_pool_keeps_its_rounds_and_fixed_origins_always() {
    let row = Row { input_ids: vec![1, 3, 2], completion_start: 2, terminated: true };
    let drawn = [
        (Origin::Initial, 1),
        (Origin::Sft, 1),
        (Origin::Policy, 1),
        (Origin::Greedy, 2),
        (Origin::Policy, 3),
        (Origin::Policy, 4),
    ];
    let negatives =
        drawn.map(|(origin, round)| Negative { demonstration: 0, origin, round, row: row.clone() });
    let pool = PairPool { negatives: negatives.to_vec() };
    let kept = |rule, pool_window, round| -> Vec<(Origin, usize)> {
        let config = RewardSection { pool: rule, pool_window, ..RewardSection::default() };
        let kept = pool.of_round(round, &config);
        kept.iter().map(|n| (n.origin, n.round)).collect()
    };
    assert_eq!(kept(Pool::Every, 1, 4), drawn);
    assert_eq!(kept(Pool::Window, 2, 4), [drawn[0], drawn[1], drawn[4], drawn[5]]);
    assert_eq!(kept(Pool::Window, 3, 4), [drawn[0], drawn[1], drawn[3], drawn[4], drawn[5]]);
    assert_eq!(kept(Pool::Window, 9, 4), drawn);
    assert_eq!(kept(Pool::Round, 9, 4), [drawn[0], drawn[1], drawn[5]]);
}

#[test]
fn fixed_origins_are_drawn_once_and_the_policy_s_every_round() {
    let world = World::new(Tuning::Full, |recipe| {
        recipe.run.rounds = 2;
        recipe.negatives.sft = 1;
        recipe.negatives.greedy = 1;
    });
    let (end, _) = world.align();
    let count = |origin, round| {
        let all = end.pool.negatives.iter();
        all.filter(|n| n.origin == origin && n.round == round).count()
    };
    let demonstrations = world.task.train.len();
    for (origin, each, again) in [
        (Origin::Initial, 1, 0),
        (Origin::Sft, 1, 0),
        (Origin::Policy, 2, 2),
        (Origin::Greedy, 1, 1),
    ] {
        assert_eq!(count(origin, 1), each * demonstrations, "{origin:?}");
        assert_eq!(count(origin, 2), again * demonstrations, "{origin:?}");
    }
    for negative in &end.pool.negatives {
        let demonstration = &world.task.train[negative.demonstration];
        assert_eq!(negative.row.prompt(), demonstration.prompt());
    }
}

/// Reward weights after the fits of rounds 1 and 2, without learning anything.
fn fits(start: RewardStart, lr: f64) -> [Weights; 2] {
    let world = World::new(Tuning::Lora, |recipe| {
        recipe.run.rounds = 2;
        recipe.reward.start = start;
        recipe.reward.optimizer.lr = lr;
    });
    let (_, states) = world.align();
    let fitted: Vec<Weights> = states
        .iter()
        .filter(|state| state.phase == Phase::Improve)
        .map(|state| weights(&state.reward.as_ref().unwrap().members[0].model))
        .collect();
    fitted.try_into().unwrap()
}

#[test]
fn a_warm_reward_goes_on_from_the_last_one_and_a_reset_one_does_not() {
    // At this rate no weight moves, so a fit ends where it starts.
    let [first, second] = fits(RewardStart::Warm, 1e-30);
    assert_eq!(first, second);
    let [first, second] = fits(RewardStart::Reset, 1e-30);
    assert_ne!(first, second);
    let [first, second] = fits(RewardStart::Warm, 1e-2);
    assert_ne!(first, second, "a warm reward is fitted too");
}

#[test]
fn a_moving_anchor_is_the_sft_model_in_round_1_and_another_in_round_2() {
    let candidates = |anchor| {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.run.rounds = 2;
            recipe.policy.anchor = anchor;
        });
        let (_, states) = world.align();
        let gates = states.into_iter().filter(|state| state.phase == Phase::Gate);
        let all: Vec<Weights> = gates.map(|s| weights(&s.candidate.unwrap())).collect();
        all
    };
    let (sft, moving) = (candidates(Anchor::Sft), candidates(Anchor::Moving));
    assert_eq!(sft[0], moving[0]);
    assert_ne!(sft[1], moving[1]);
}

#[test]
fn step_wise_alternation_moves_the_reward_during_improvement_and_round_wise_does_not() {
    for (alternation, moves) in [(Alternation::RoundWise, false), (Alternation::StepWise, true)] {
        let world = World::new(Tuning::Full, |recipe| recipe.policy.alternation = alternation);
        let (_, states) = world.align();
        let reward = |phase| {
            let state: &State = states.iter().find(|state| state.phase == phase).unwrap();
            weights(&state.reward.as_ref().unwrap().members[0].model)
        };
        assert_eq!(reward(Phase::Improve) != reward(Phase::Gate), moves, "{alternation:?}");
    }
}

#[test]
fn every_option_runs_a_round() {
    type Change = Box<dyn FnOnce(&mut Recipe)>;
    let mut options: Vec<Change> = Vec::new();
    for solver in [Solver::Ppo, Solver::Rloo, Solver::Grpo] {
        options.push(Box::new(move |recipe| recipe.policy.solver = solver));
    }
    for rule in [MissingEos::Replace, MissingEos::Penalty, MissingEos::BatchMinimum] {
        options.push(Box::new(move |recipe| recipe.policy.missing_eos = rule));
    }
    for pool in [Pool::Every, Pool::Window, Pool::Round] {
        options.push(Box::new(move |recipe| recipe.reward.pool = pool));
    }
    for objective in [
        PairLoss::PairwiseLogistic,
        PairLoss::LinearDifference,
        PairLoss::Bce,
        PairLoss::Hinge,
        PairLoss::LeastSquares,
    ] {
        options.push(Box::new(move |recipe| recipe.reward.objective = objective));
    }
    for scale in [GroupScale::Std, GroupScale::None] {
        for normalization in [Normalization::Sequence, Normalization::Token] {
            options.push(Box::new(move |recipe| {
                recipe.policy.solver = Solver::Grpo;
                recipe.policy.group_scale = scale;
                recipe.policy.normalization = normalization;
            }));
        }
    }
    for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine] {
        options.push(Box::new(move |recipe| {
            recipe.policy.optimizer.schedule = schedule;
            recipe.policy.optimizer.warmup_ratio = 0.5;
        }));
    }
    // Negatives of one kind; one completion of a prompt; mini-batches that do not divide a rollout.
    options.push(Box::new(|recipe| {
        recipe.negatives.initial = 0;
        recipe.negatives.policy = 0;
        recipe.negatives.greedy = 1;
    }));
    options.push(Box::new(|recipe| {
        recipe.policy.solver = Solver::Ppo;
        recipe.policy.samples_per_prompt = 1;
        recipe.policy.mini_batch_size = 3;
    }));
    let mut ends = std::collections::HashSet::new();
    for option in options {
        let (end, _) = World::new(Tuning::Full, option).align();
        let all = weights(&end.policy);
        assert!(all.0.iter().all(|weight| weight.is_finite()));
        ends.insert(all.0.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>());
    }
    // 23 runs; PPO, the schedules, GRPO's four, the objectives, RLOO's rules … each leave other weights.
    // Defaults among them (5 times) and pools (in round 1 all the same) coincide.
    assert!(ends.len() >= 15, "{}", ends.len());
}

#[test]
fn however_fit_and_improvement_take_turns_demonstrations_average_zero_at_the_end() {
    for alternation in [Alternation::RoundWise, Alternation::StepWise] {
        let world = World::new(Tuning::Lora, |recipe| {
            recipe.policy.alternation = alternation;
            recipe.reward.optimizer.lr = 5e-2;
        });
        let (end, _) = world.align();
        let scores = end.reward.unwrap().scores(&world.task.train, 0, 512).unwrap();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        assert!(mean.abs() < 1e-4, "{alternation:?}: {mean}");
    }
}
