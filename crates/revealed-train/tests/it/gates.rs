//! Rounds that are kept, rolled back or stop the run.

use burn::tensor::Tensor;
use revealed_objectives::pairs::pairwise_logistic;
use revealed_train::{Phase, RewardStart, Stop, Tuning, align};

use revealed_train::testing::{World, weights};

#[test]
fn a_rejected_round_leaves_policy_and_samples_bit_identical() {
    for (patience, rounds) in [(1, 1), (2, 2), (9, 3)] {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.gate.min_gain = 1e9;
            recipe.gate.patience = patience;
            recipe.run.rounds = 3;
        });
        let (end, states) = world.align();
        assert_eq!(end.reports.len(), rounds, "patience {patience}");
        let why = end.stopped_early(&world.recipe);
        let said = format!("(gate.patience = {patience})");
        assert_eq!(why.is_some_and(|why| why.ends_with(&said)), rounds < 3);
        assert!(end.reports.iter().all(|report| !report.accepted));
        assert!(end.reports[0].reasons[0].contains("expected more than 1000000000"));
        assert_eq!(weights(&end.policy), weights(&end.sft));
        assert_eq!(end.held, states[1].held);
        assert!(end.candidate.is_none());
        let tried = states.iter().find(|state| state.phase == Phase::Gate).unwrap();
        assert_ne!(weights(tried.candidate.as_ref().unwrap()), weights(&end.policy));
    }
}

#[test]
fn a_kept_round_becomes_the_policy_with_its_samples() {
    let (end, states) = World::new(Tuning::Lora, |_| {}).align();
    assert!(end.reports[0].accepted);
    let tried = states.iter().find(|state| state.phase == Phase::Gate).unwrap();
    assert_eq!(weights(tried.candidate.as_ref().unwrap()), weights(&end.policy));
    assert_ne!(end.held.policy, tried.held.policy);
    assert_eq!(end.held.initial, tried.held.initial);
}

#[test]
fn an_unchanged_policy_gains_exactly_nothing() {
    let world = World::new(Tuning::Full, |recipe| {
        recipe.gate.min_gain = 0.0;
        recipe.policy.optimizer.lr = 1e-30;
    });
    let (end, _) = world.align();
    let report = &end.reports[0];
    assert_eq!(report.before, report.after);
    assert!(!report.accepted);
}

#[test]
fn a_run_stops_once_samples_score_above_demonstrations() {
    for (stop, rounds) in [(Stop::PassedDemonstrations, 1), (Stop::Never, 2)] {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.run.rounds = 2;
            recipe.gate.stop = stop;
            recipe.reward.steps = 20;
        });
        // Inverted: samples score higher.
        let inverted = |demonstration: Tensor<1>, sample| pairwise_logistic(sample, demonstration);
        let end = world.run_with(&inverted, &mut (), |run| align(world.state(), run, |_| Ok(())));
        let end = end.unwrap();
        assert_eq!(end.reports.len(), rounds);
        let first = &end.reports[0];
        assert!(first.accepted && first.after.reward >= first.demonstrations_reward);
        assert_eq!(first.reasons.len(), usize::from(stop == Stop::PassedDemonstrations));
        assert!(first.reasons.iter().all(|reason| reason.starts_with("stop: ")));
        assert!(end.is_finished(&world.recipe));
        let why = end.stopped_early(&world.recipe);
        assert_eq!(why.is_some_and(|why| why.ends_with("(gate.stop)")), rounds == 1);
    }
}

#[test]
fn no_more_than_the_maximum_number_of_rounds_is_run() {
    for rounds in [0, 2] {
        let world = World::new(Tuning::Full, |recipe| recipe.run.rounds = rounds);
        let (end, states) = world.align();
        assert_eq!(end.reports.len(), rounds);
        assert_eq!(states.len(), 1 + 4 * rounds);
    }
}

#[test]
fn a_rollback_restores_the_reward_of_the_kept_round() {
    for start in [RewardStart::Reset, RewardStart::Warm] {
        let mut world = World::new(Tuning::Lora, |recipe| recipe.reward.start = start);
        let (kept, _) = world.align();
        assert!(kept.reports[0].accepted);
        world.recipe.run.rounds = 2;
        world.recipe.gate.min_gain = 1e9;
        let mut fitted = None;
        let end = world.run(&mut (), |run| {
            align(kept.clone(), run, |state| {
                if state.phase == Phase::Gate {
                    fitted = state.reward.as_ref().map(|reward| weights(&reward.members[0].model));
                }
                Ok(())
            })
        });
        let end = end.unwrap();
        assert!(!end.reports[1].accepted);
        let (before, after) = (kept.reward.unwrap(), end.reward.unwrap());
        assert_ne!(fitted.unwrap(), weights(&after.members[0].model));
        assert_eq!(weights(&before.members[0].model), weights(&after.members[0].model));
        assert_eq!(before.members[0].calibration, after.members[0].calibration);
        assert_eq!(weights(&kept.policy), weights(&end.policy));
    }
}
