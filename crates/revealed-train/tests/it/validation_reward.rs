//! The validation reward in the loop, and the audit in the report of a round.

use revealed_reward::{Audit, Calibration, RewardModel};
use revealed_train::{Phase, RoundReport, State, TrainError, Tuning, ValidationReward, align};

use revealed_train::testing::{Weights, World, is_plain, weights};

fn fitted(state: &State) -> Option<(Weights, Calibration)> {
    state.validation_reward.as_ref().map(|reward| (weights(&reward.model), reward.calibration))
}

#[test]
fn the_validation_reward_is_fitted_in_round_1_and_never_changes() {
    let world = World::new(Tuning::Lora, |recipe| {
        recipe.run.rounds = 3;
        recipe.gate.validation_reward = ValidationReward::Independent;
        recipe.gate.min_validation_gain = f64::NEG_INFINITY;
    });
    let (end, states) = world.align();
    assert_eq!(end.reports.len(), 3);
    let with = states.iter().position(|state| state.validation_reward.is_some()).unwrap();
    assert_eq!((states[with].round, states[with].phase), (1, Phase::Improve));
    let first = fitted(&states[with]);
    assert!(states[with..].iter().all(|state| fitted(state) == first));
    assert!(is_plain(&end.validation_reward.as_ref().unwrap().model));
    for report in &end.reports {
        let scores = report.validation_reward.unwrap();
        assert!(scores.standard_error > 0.0 && scores.gain().is_finite());
        assert!((0.0..=1.0).contains(&scores.accuracy_after));
    }
    // The scores after a kept round are the scores before the next one.
    let [first, second] = [0, 1].map(|round| end.reports[round].validation_reward.unwrap());
    assert_eq!(first.after, second.before);
    assert_eq!(first.demonstrations, second.demonstrations);
}

#[test]
fn a_validation_reward_without_a_bound_changes_nothing() {
    let end = |validation_reward| {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.gate.validation_reward = validation_reward;
            recipe.gate.min_validation_gain = f64::NEG_INFINITY;
        });
        world.align().0
    };
    let (with, without) = (end(ValidationReward::Independent), end(ValidationReward::None));
    assert!(with.validation_reward.is_some() && without.validation_reward.is_none());
    assert_eq!(weights(&with.policy), weights(&without.policy));
    let reward = |state: &State| weights(&state.reward.as_ref().unwrap().members[0].model);
    assert_eq!(reward(&with), reward(&without));
    assert!(
        with.reports[0].validation_reward.is_some()
            && without.reports[0].validation_reward.is_none()
    );
}

#[test]
fn a_round_with_a_higher_reward_and_a_lower_validation_score_is_rolled_back() {
    let world = World::new(Tuning::Full, |recipe| {
        recipe.reward.steps = 20;
        recipe.policy.steps = 8;
        recipe.policy.kl_coef = 0.0;
        recipe.gate.validation_reward = ValidationReward::Independent;
        (recipe.gate.min_gain, recipe.gate.min_validation_gain) = (0.0, 0.0);
    });
    let mut fitted = None;
    let stop = || TrainError::TooFew { what: "enough", found: 0, needed: 0, advice: "" };
    let stopped = world.run(&mut (), |run| {
        align(world.state(), run, |state| {
            fitted = Some(state.clone());
            if state.phase == Phase::Improve { Err(stop()) } else { Ok(()) }
        })
    });
    assert!(stopped.is_err());
    let fitted = fitted.unwrap();
    let reward = fitted.reward.as_ref().unwrap().members[0].clone();
    let contrary = Calibration { scale: -reward.calibration.scale, ..reward.calibration };
    let end = |reward: RewardModel| {
        let state = State { validation_reward: Some(reward), ..fitted.clone() };
        world.run(&mut (), |run| align(state, run, |_| Ok(()))).unwrap()
    };
    let kept = end(reward.clone());
    let report = &kept.reports[0];
    assert!(report.accepted && report.after.reward > report.before.reward, "{report:?}");
    // A validation reward equal to the reward gives the same scores.
    let scores = report.validation_reward.unwrap();
    assert_eq!([scores.before, scores.after], [report.before.reward, report.after.reward]);
    assert_eq!(scores.accuracy_after, report.accuracy_after);
    assert_eq!(scores.demonstrations, report.demonstrations_reward);
    let rejected = end(RewardModel { calibration: contrary, ..reward });
    let report = &rejected.reports[0];
    assert!(!report.accepted && report.validation_reward.unwrap().gain() < 0.0);
    assert_eq!(report.reasons.len(), 1, "{:?}", report.reasons);
    assert!(report.reasons[0].starts_with("the validation reward changed by -"));
    assert_eq!(weights(&rejected.policy), weights(&rejected.sft));
    assert_ne!(weights(&kept.policy), weights(&kept.sft));
}

#[test]
fn the_audit_is_on_the_sources_that_the_reward_was_fitted_on() {
    for (initial, policy, kinds) in [(4, 2, 2), (4, 0, 1), (0, 2, 1)] {
        let (report, audit) = audited(initial, policy);
        assert_eq!((audit.prompts, audit.pairs), (8, 8 * 3 * kinds));
        assert_ne!(report.accuracy_initial, report.accuracy_before);
        let pooled = match (initial, policy) {
            (_, 0) => report.accuracy_initial,
            (0, _) => report.accuracy_before,
            _ => (report.accuracy_initial + report.accuracy_before) / 2.0,
        };
        assert!((audit.accuracy - pooled).abs() < 1e-12, "{} and {pooled}", audit.accuracy);
    }
}

fn audited(initial: usize, policy: usize) -> (RoundReport, Audit) {
    let world = World::new(Tuning::Full, |recipe| {
        (recipe.negatives.initial, recipe.negatives.policy) = (initial, policy);
        recipe.reward.steps = 20;
        recipe.gate.samples = 3;
        recipe.sft.epochs = 3;
        recipe.data.held_out = 8;
    });
    let (end, _) = world.align();
    let report = end.reports[0].clone();
    let audit = report.audit.clone();
    (report, audit)
}
