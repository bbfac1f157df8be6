//! The choices of a recipe.

use revealed_objectives::{GroupScale, PairLoss};
use revealed_reward::{Calibration, RewardModel};
use revealed_train::{
    Alternation, Average, KlPlacement, KlReference, LengthControl, MissingEos, Negative,
    NegativeReweighting, NegativeSource, Normalization, Pair, PairPool, Phase, Pool, Recipe,
    RewardSection, RewardStart, Row, ScaleFrom, Schedule, SftObjective, SolverName, State, Tuning,
    ValidationReward, fit_reward,
};

use revealed_train::testing::{Weights, World, weights};

#[test]
fn a_pool_has_its_rounds_and_always_the_fixed_sources() {
    let row = Row { input_ids: vec![1, 3, 2], completion_start: 2, terminated: true };
    let drawn = [
        (NegativeSource::Initial, 1),
        (NegativeSource::Sft, 1),
        (NegativeSource::OtherPrompt, 1),
        (NegativeSource::Truncated, 1),
        (NegativeSource::Policy, 1),
        (NegativeSource::Greedy, 2),
        (NegativeSource::Policy, 3),
        (NegativeSource::Policy, 4),
    ];
    let fixed = drawn[..4].to_vec();
    let with = |policy: &[(NegativeSource, usize)]| [&fixed, policy].concat();
    let negatives =
        drawn.map(|(source, round)| Negative { demonstration: 0, source, round, row: row.clone() });
    let pool = PairPool { negatives: negatives.to_vec() };
    let kept = |rule, pool_window, round| -> Vec<(NegativeSource, usize)> {
        let config = RewardSection { pool: rule, pool_window, ..RewardSection::default() };
        let kept = pool.of_round(round, &config);
        kept.iter().map(|n| (n.source, n.round)).collect()
    };
    assert_eq!(kept(Pool::Every, 1, 4), drawn);
    assert_eq!(kept(Pool::Window, 2, 4), with(&drawn[6..]));
    assert_eq!(kept(Pool::Window, 3, 4), with(&drawn[5..]));
    assert_eq!(kept(Pool::Window, 9, 4), drawn);
    assert_eq!(kept(Pool::Round, 9, 4), with(&drawn[7..]));
}

#[test]
fn fixed_sources_are_drawn_once_and_the_policy_s_every_round() {
    let world = World::new(Tuning::Full, |recipe| {
        recipe.run.rounds = 2;
        recipe.negatives.sft = 1;
        recipe.negatives.greedy = 1;
        (recipe.negatives.other_prompts, recipe.negatives.truncated) = (2, 3);
    });
    let (end, _) = world.align();
    let count = |source, round| {
        let all = end.pool.negatives.iter();
        all.filter(|n| n.source == source && n.round == round).count()
    };
    let demonstrations = world.task.train.len();
    for (source, each, again) in [
        (NegativeSource::Initial, 1, 0),
        (NegativeSource::Sft, 1, 0),
        (NegativeSource::Policy, 2, 2),
        (NegativeSource::Greedy, 1, 1),
        (NegativeSource::OtherPrompt, 2, 0),
        (NegativeSource::Truncated, 3, 0),
    ] {
        assert_eq!(count(source, 1), each * demonstrations, "{source:?}");
        assert_eq!(count(source, 2), again * demonstrations, "{source:?}");
    }
    for negative in &end.pool.negatives {
        let demonstration = &world.task.train[negative.demonstration];
        assert_eq!(negative.row.prompt(), demonstration.prompt());
    }
}

/// Weights of two members after the fits of rounds 1 and 2.
fn fits(start: RewardStart, lr: f64) -> [Vec<Weights>; 2] {
    let world = World::new(Tuning::Lora, |recipe| {
        recipe.run.rounds = 2;
        recipe.reward.ensemble_size = 2;
        recipe.reward.start = start;
        recipe.reward.optimizer.lr = lr;
    });
    let (_, states) = world.align();
    let members = |state: &State| -> Vec<Weights> {
        state.reward.as_ref().unwrap().members.iter().map(|one| weights(&one.model)).collect()
    };
    let fitted = states.iter().filter(|state| state.phase == Phase::Improve).map(members);
    fitted.collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn a_warm_reward_starts_from_the_last_one_and_a_reset_one_does_not() {
    // At this learning rate no weight changes, so a fit ends where it starts.
    let [first, second] = fits(RewardStart::Warm, 1e-30);
    assert_eq!(first, second);
    assert_ne!(first[0], first[1], "each member has a head of its own");
    let reset = fits(RewardStart::Reset, 1e-30);
    let warm = fits(RewardStart::Warm, 1e-2);
    for member in [0, 1] {
        assert_ne!(reset[0][member], reset[1][member]);
        assert_ne!(warm[0][member], warm[1][member], "a warm reward is fitted too");
    }
    assert_ne!(reset[1][0], reset[1][1]);
}

/// Members of the reward of each of three rounds, all of them `kept` or none.
fn averaged(average: Average, kept: bool) -> Vec<Vec<Weights>> {
    let world = World::new(Tuning::Lora, |recipe| {
        recipe.reward.scale_from = ScaleFrom::Sft;
        recipe.run.rounds = 3;
        recipe.reward.ensemble_size = 2;
        recipe.reward.average = average;
        recipe.gate.patience = 3;
        recipe.gate.min_gain = if kept { f64::NEG_INFINITY } else { f64::MAX };
    });
    let (_, states) = world.align();
    let members = |state: &State| -> Vec<Weights> {
        state.reward.as_ref().unwrap().members.iter().map(|one| weights(&one.model)).collect()
    };
    let improving = states.iter().filter(|state| state.phase == Phase::Improve);
    // In one unit, older members keep their calibration.
    let units: Vec<Vec<Calibration>> = improving
        .clone()
        .map(|state| {
            state.reward.as_ref().unwrap().members.iter().map(|one| one.calibration).collect()
        })
        .collect();
    if average == Average::Rounds && kept {
        assert_eq!((&units[1][2..], &units[2][2..]), (&units[0][..], &units[1][..]));
    }
    improving.map(members).collect()
}

#[test]
fn an_averaged_reward_has_the_members_of_every_kept_round_the_newest_first() {
    let rounds = averaged(Average::Rounds, true);
    assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [2, 4, 6]);
    assert_eq!(rounds[1][2..], rounds[0]);
    assert_eq!(rounds[2][2..], rounds[1]);
    assert_ne!(rounds[1][..2], rounds[0]);
    for rounds in [averaged(Average::None, true), averaged(Average::Rounds, false)] {
        assert!(rounds.iter().all(|members| members.len() == 2));
    }
}

#[test]
fn the_unit_of_the_reward_is_the_spread_of_the_sft_model_or_of_the_policy() {
    let calibrations = |scale_from| -> Vec<Calibration> {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.run.rounds = 2;
            recipe.negatives.policy = 0;
            recipe.negatives.initial = 2;
            recipe.reward.scale_from = scale_from;
        });
        let (_, states) = world.align();
        let fitted = states.iter().filter(|state| state.phase == Phase::Improve);
        fitted.map(|state| state.reward.as_ref().unwrap().members[0].calibration).collect()
    };
    let (policy, sft) = (calibrations(ScaleFrom::Policy), calibrations(ScaleFrom::Sft));
    // The first round's policy is the SFT model.
    assert_eq!(policy[0], sft[0]);
    // The rewards of the second round are fitted to the same pairs; their units differ.
    assert_eq!(policy[1].shift, sft[1].shift);
    assert_ne!(policy[1].scale, sft[1].scale);
}

#[test]
fn members_of_an_ensemble_take_the_pairs_in_different_orders() {
    let world = World::new(Tuning::Full, |_| {});
    let rows = &world.task.train;
    let pairs: Vec<Pair<'_>> = (1..20).map(|i| Pair::new(&rows[i], &rows[i - 1])).collect();
    let start = RewardModel::new(world.base.clone(), 3);
    let fitted = |round, member| {
        let fit = world
            .run(&mut (), |run| fit_reward(start.clone(), &pairs, (round, member), run))
            .unwrap();
        weights(&fit.model)
    };
    let first = fitted(1, 0);
    assert_eq!(first, fitted(1, 0));
    assert_ne!(first, fitted(1, 1));
    assert_ne!(first, fitted(2, 0));
}

#[test]
fn a_moving_anchor_is_the_sft_model_in_round_1_and_another_in_round_2() {
    let candidates = |anchor| {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.run.rounds = 2;
            recipe.policy.reference = anchor;
        });
        let (_, states) = world.align();
        let gates = states.into_iter().filter(|state| state.phase == Phase::Gate);
        let all: Vec<Weights> = gates.map(|s| weights(&s.candidate.unwrap())).collect();
        all
    };
    let (sft, moving) = (candidates(KlReference::Sft), candidates(KlReference::Moving));
    assert_eq!(sft[0], moving[0]);
    assert_ne!(sft[1], moving[1]);
}

#[test]
fn step_wise_alternation_updates_the_reward_during_improvement_and_round_wise_does_not() {
    for (alternation, moves) in [(Alternation::RoundWise, false), (Alternation::StepWise, true)] {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.policy.alternation = alternation;
            (recipe.reward.ensemble_size, recipe.reward.uncertainty_penalty) = (3, 0.25);
        });
        let (_, states) = world.align();
        let reward = |phase| {
            let state: &State = states.iter().find(|state| state.phase == phase).unwrap();
            state.reward.clone().unwrap()
        };
        let (before, after) = (reward(Phase::Improve), reward(Phase::Gate));
        assert_eq!((after.members.len(), after.uncertainty_penalty), (3, 0.25));
        for (before, after) in before.members.iter().zip(&after.members) {
            let moved = weights(&before.model) != weights(&after.model);
            assert_eq!(moved, moves, "{alternation:?}");
            assert_eq!(before.calibration != after.calibration, moves, "{alternation:?}");
        }
    }
}

#[test]
fn of_averaged_rewards_only_the_newest_are_co_trained() {
    let world = World::new(Tuning::Full, |recipe| {
        recipe.run.rounds = 2;
        recipe.reward.ensemble_size = 2;
        recipe.policy.alternation = Alternation::StepWise;
        (recipe.reward.average, recipe.reward.scale_from) = (Average::Rounds, ScaleFrom::Sft);
    });
    let (_, states) = world.align();
    let reward = |phase| {
        let state = states.iter().find(|state| state.round == 2 && state.phase == phase);
        state.unwrap().reward.clone().unwrap()
    };
    let (before, after) = (reward(Phase::Improve), reward(Phase::Gate));
    assert_eq!((before.members.len(), after.members.len()), (4, 4));
    for (index, (before, after)) in before.members.iter().zip(&after.members).enumerate() {
        let moved = weights(&before.model) != weights(&after.model);
        assert_eq!(moved, index < 2);
        assert_eq!(before.calibration != after.calibration, index < 2);
    }
}

#[test]
fn every_option_runs_a_round() {
    type Change = Box<dyn FnOnce(&mut Recipe)>;
    let mut options: Vec<Change> = Vec::new();
    for solver in [SolverName::PPO, SolverName::RLOO, SolverName::GRPO, SolverName::REINFORCE] {
        options.push(Box::new(move |recipe| recipe.policy.solver = solver));
        // The default placement is the loss for GRPO and the reward for the others.
        let other =
            if solver == SolverName::GRPO { KlPlacement::Reward } else { KlPlacement::Loss };
        options.push(Box::new(move |recipe| {
            (recipe.policy.solver, recipe.policy.kl_placement) = (solver, other);
        }));
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
                recipe.policy.solver = SolverName::GRPO;
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
        recipe.policy.solver = SolverName::PPO;
        recipe.policy.samples_per_prompt = 1;
        recipe.policy.mini_batch_size = 3;
    }));
    options.push(Box::new(|recipe| {
        recipe.policy.solver = SolverName::REINFORCE;
        recipe.policy.samples_per_prompt = 1;
    }));
    options.push(Box::new(|recipe| {
        recipe.negatives.other_prompts = 1;
        recipe.negatives.weights.other_prompts = 0.5;
    }));
    options.push(Box::new(|recipe| recipe.negatives.truncated = 1));
    options.push(Box::new(|recipe| recipe.reward.length_control = LengthControl::Expert));
    options.push(Box::new(|recipe| {
        recipe.gate.validation_reward = ValidationReward::Independent;
        recipe.reward.negative_reweighting = NegativeReweighting::ValidationReward;
    }));
    options.push(Box::new(|recipe| {
        (recipe.reward.ensemble_size, recipe.reward.uncertainty_penalty) = (2, 0.5);
    }));
    options.push(Box::new(|recipe| recipe.reward.center_rewards_coef = 0.5));
    options.push(Box::new(|recipe| recipe.reward.label_smoothing = 0.1));
    options.push(Box::new(|recipe| recipe.reward.margin = 1.0));
    options.push(Box::new(|recipe| {
        (recipe.policy.kl_target, recipe.policy.kl_horizon) = (1e-3, 16.0);
    }));
    options.push(Box::new(|recipe| {
        (recipe.sft.objective, recipe.sft.iq_lambda) = (SftObjective::IqLearn, 0.1);
    }));
    let mut ends = std::collections::HashSet::new();
    for option in options {
        let (end, _) = World::new(Tuning::Full, option).align();
        let all = weights(&end.policy);
        assert!(all.0.iter().all(|weight| weight.is_finite()));
        ends.insert(all.0.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>());
    }
    // Of 39 runs six are the default (RLOO, the penalty, the pairwise-logistic loss, and three pools, all the same in
    // round 1), and GRPO with its defaults comes twice; each other option gives different weights.
    assert_eq!(ends.len(), 39 - 5 - 1);
}

#[test]
fn demonstrations_average_zero_at_the_end_with_every_alternation() {
    for alternation in [Alternation::RoundWise, Alternation::StepWise] {
        let world = World::new(Tuning::Lora, |recipe| {
            recipe.policy.alternation = alternation;
            recipe.reward.ensemble_size = 2;
            recipe.reward.optimizer.lr = 5e-2;
        });
        let (end, _) = world.align();
        for scores in end.reward.unwrap().member_scores(&world.task.train, 0, 512).unwrap() {
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            assert!(mean.abs() < 1e-4, "{alternation:?}: {mean}");
        }
    }
}
