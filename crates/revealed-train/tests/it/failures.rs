//! Failures are errors that name round, phase and step, never panics.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Tensor;
use revealed_objectives::pairs::pairwise_logistic;
use revealed_reward::{RewardError, RewardModel};
use revealed_train::{Phase, SolverName, TrainError, Tuning, align, improve_policy};

use revealed_train::testing::{RecordingObserver, World, poisoned, weights};

#[test]
fn a_nan_from_an_objective_is_an_error_that_names_round_phase_and_step() {
    let world = World::new(Tuning::Full, |recipe| {
        recipe.run.rounds = 2;
        recipe.reward.batch_size = 2;
    });
    let calls = AtomicUsize::new(0);
    // One call per step: two pairs are one micro-batch. Three steps per round, so this is round 2, step 2.
    let objective = |demonstration: Tensor<1>, sample: Tensor<1>| {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        let loss = pairwise_logistic(demonstration, sample);
        if call == 5 { loss * f32::NAN } else { loss }
    };
    let mut saved = None;
    let error = world.run_with(&objective, &mut (), |run| {
        align(world.state(), run, |state| {
            saved = Some(state.clone());
            Ok(())
        })
    });
    let error = error.unwrap_err();
    let TrainError::NonFinite { at, what, .. } = &error else { panic!("{error}") };
    assert_eq!((at.round, at.phase, at.step, *what), (2, Phase::Fit, 2, "the loss"));
    assert!(error.to_string().starts_with("round 2, fit, step 2: the loss is NaN"), "{error}");
    // The state saved before is complete.
    let saved = saved.unwrap();
    assert_eq!((saved.round, saved.phase), (2, Phase::Fit));
    assert!(weights(&saved.reward.unwrap().members[0].model).0.iter().all(|w| w.is_finite()));
}

#[test]
fn a_skipped_step_changes_nothing_and_later_steps_continue() {
    let mut world = World::new(Tuning::Full, |recipe| {
        recipe.reward.steps = 4;
        recipe.reward.batch_size = 2;
    });
    world.recipe.health.max_skipped_steps = 1;
    let spoilt = |bad: &'static [usize]| {
        let calls = AtomicUsize::new(0);
        let objective = move |demonstration: Tensor<1>, sample: Tensor<1>| {
            let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
            let loss = pairwise_logistic(demonstration, sample);
            if bad.contains(&call) { loss * f32::NAN } else { loss }
        };
        let mut observer = RecordingObserver::default();
        let end =
            world.run_with(&objective, &mut observer, |run| align(world.state(), run, |_| Ok(())));
        (end, observer)
    };
    let (end, observer) = spoilt(&[2]);
    let rewards = end.unwrap().reward.unwrap();
    assert!(weights(&rewards.members[0].model).0.iter().all(|w| w.is_finite()));
    let losses: Vec<bool> = observer.losses().iter().map(|loss| loss.is_finite()).collect();
    assert_eq!(losses, [true, false, true, true]);
    assert!(
        observer
            .notes
            .iter()
            .any(|n| n.contains("round 1, fit, step 2: the loss is NaN; step skipped"))
    );
    // One more than the maximum.
    let error = spoilt(&[2, 4]).0.unwrap_err().to_string();
    assert!(error.starts_with("round 1, fit, step 4: the loss is NaN"), "{error}");
    assert!(error.contains("1 steps of its phase were skipped before"), "{error}");
}

#[test]
fn sft_that_makes_the_model_worse_is_an_error_with_a_diagnosis() {
    let world = World::new(Tuning::Full, |recipe| {
        recipe.sft.epochs = 2;
        recipe.sft.optimizer.lr = 1.0;
        recipe.gate.max_likelihood_drop = 0.5;
    });
    let error = world.run(&mut (), |run| align(world.state(), run, |_| Ok(()))).unwrap_err();
    let TrainError::Diverged { at, start, found, .. } = &error else { panic!("{error}") };
    assert_eq!(at.phase, Phase::Sft);
    assert!(found - start > 0.5);
    assert!(error.to_string().contains("lower sft.optimizer.lr"), "{error}");
}

#[test]
fn a_panic_on_a_worker_is_an_error_and_the_saved_state_resumes_to_the_same_end() {
    let world = World::new(Tuning::Lora, |recipe| recipe.run.save_steps = 1);
    let (end, _) = world.align();
    let calls = AtomicUsize::new(0);
    let objective = |demonstration: Tensor<1>, sample: Tensor<1>| {
        if calls.fetch_add(1, Ordering::SeqCst) == 1 {
            // Like rayon, the panic is passed on to the thread that waits for the worker.
            let worker = std::thread::spawn(|| -> std::convert::Infallible {
                panic!("out of memory on the device")
            });
            let Err(payload) = worker.join();
            std::panic::resume_unwind(payload);
        }
        pairwise_logistic(demonstration, sample)
    };
    let mut saved = None;
    let error = world.run_with(&objective, &mut (), |run| {
        align(world.state(), run, |state| {
            saved = Some(state.clone());
            Ok(())
        })
    });
    let error = error.unwrap_err();
    assert!(matches!(&error, TrainError::Panic { at, .. } if at.phase == Phase::Fit), "{error}");
    assert!(error.to_string().contains("out of memory on the device"), "{error}");
    let again = world.run(&mut (), |run| align(saved.unwrap(), run, |_| Ok(()))).unwrap();
    assert_eq!(weights(&again.policy), weights(&end.policy));
}

#[test]
fn a_policy_that_diverges_ends_its_steps_and_the_round_reports_the_first_violation() {
    let mut world = World::new(Tuning::Full, |recipe| {
        recipe.policy.steps = 40;
        recipe.policy.kl_coef = 0.0;
        recipe.policy.optimizer.lr = 0.3;
    });
    (world.recipe.gate.max_kl, world.recipe.health.max_kl) = (0.5, 4.0);
    let mut observer = RecordingObserver::default();
    let end = world.run(&mut observer, |run| align(world.state(), run, |_| Ok(()))).unwrap();
    let report = &end.reports[0];
    let health = &report.health;
    let ended_by = health.ended_by.as_ref().unwrap();
    assert_eq!(ended_by.metric, "objective/kl");
    assert!(
        ended_by.at.step < 40
            && health.first_violation.as_ref().unwrap().at.step <= ended_by.at.step
    );
    assert!(!report.accepted && report.reasons[0].contains("ended by objective/kl"), "{report:?}");
    assert_eq!(weights(&end.policy), weights(&end.sft), "the round is rolled back");
}

#[test]
fn nan_weights_are_an_error_in_every_phase() {
    for tuning in [Tuning::Full, Tuning::Lora] {
        for epochs in [0, 1] {
            let mut world = World::new(tuning, |recipe| recipe.sft.epochs = epochs);
            world.policy = poisoned(world.policy);
            let error = world.run(&mut (), |run| align(world.state(), run, |_| Ok(())));
            let text = error.unwrap_err().to_string();
            assert!(text.contains("NaN") || text.contains("finite"), "{text}");
        }
    }
}

#[test]
fn nan_weights_of_a_reward_or_critic_are_an_error() {
    for solver in [SolverName::RLOO, SolverName::PPO] {
        let world = World::new(Tuning::Full, |recipe| recipe.policy.solver = solver);
        let mut reward = RewardModel::new(world.base.clone(), 0);
        reward.model = poisoned(reward.model);
        let error = world
            .run(&mut (), |run| improve_policy(world.policy.clone(), &world.base, &reward, 1, run));
        let error = error.unwrap_err();
        assert!(matches!(error, TrainError::Reward(RewardError::Model(_))), "{error}");
    }
}

#[test]
fn a_recipe_out_of_range_is_refused_before_any_work() {
    let mut world = World::new(Tuning::Full, |_| {});
    world.recipe.policy.samples_per_prompt = 0;
    let error = world.run(&mut (), |run| align(world.state(), run, |_| Ok(()))).unwrap_err();
    assert!(error.to_string().contains("policy.samples_per_prompt"), "{error}");
}

#[test]
fn rows_beyond_the_vocabulary_or_the_context_are_refused_before_any_work() {
    let mut world = World::new(Tuning::Full, |_| {});
    world.task.train[3].input_ids[1] = 20;
    let error = world.run(&mut (), |run| align(world.state(), run, |_| Ok(()))).unwrap_err();
    assert!(error.to_string().starts_with("demonstration 3: token 20"), "{error}");

    let mut world = World::new(Tuning::Full, |_| {});
    world.task.max_completion_tokens = 30;
    let error = world.run(&mut (), |run| align(world.state(), run, |_| Ok(()))).unwrap_err();
    assert!(error.to_string().contains("takes 33 tokens, the model's context is 32"), "{error}");
}

#[test]
fn no_prompts_or_no_pairs_are_errors() {
    let mut world = World::new(Tuning::Full, |_| {});
    world.task.prompts.clear();
    let reward = RewardModel::new(world.base.clone(), 0);
    let error = world
        .run(&mut (), |run| improve_policy(world.policy.clone(), &world.base, &reward, 1, run));
    assert!(matches!(error, Err(TrainError::TooFew { what: "prompts", .. })));
    let error = world.run(&mut (), |run| revealed_train::fit_reward(reward, &[], (1, 0), run));
    assert!(matches!(error, Err(TrainError::TooFew { what: "pairs", .. })));
}

#[test]
fn a_state_without_an_input_of_its_phase_is_refused() {
    let world = World::new(Tuning::Full, |_| {});
    let (_, states) = world.align();
    let refused = |state| {
        let error = world.run(&mut (), |run| align(state, run, |_| Ok(())));
        error.unwrap_err().to_string()
    };
    let mut state = states[2].clone();
    assert_eq!(state.phase, Phase::Improve);
    state.reward = None;
    assert!(refused(state).contains("lacks a fitted reward"));
    let mut state = states[3].clone();
    state.candidate = None;
    assert!(refused(state).contains("lacks a candidate"));
    let mut state = states[2].clone();
    state.held.policy.pop();
    assert!(refused(state).contains("the data has changed"));
    let mut state = states[2].clone();
    state.pool.negatives[0].demonstration = 99;
    assert!(refused(state).starts_with("negative 0: it belongs to another prompt"));
}
