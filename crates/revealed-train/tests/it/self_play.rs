//! Methods with the policy as implicit reward.

use revealed_data::LongCompletion;
use revealed_models::{CausalLm, CompletionBatch, PaddingSide};
use revealed_objectives::{LogRatioLoss, LogRatioObjective};
use revealed_train::{
    KlReference, OptimizerConfig, Pair, Recipe, Row, SelfPlay, TrainError, Tuning, fit_log_ratio,
    self_play,
};

use revealed_train::testing::{
    RecordingObserver, Weights, World, demonstrations, device, is_plain, model, weights,
};

fn spin(loss: LogRatioLoss) -> LogRatioObjective {
    LogRatioObjective { loss, scale: 0.5, offset: 0.0, label_smoothing: 0.0 }
}

fn config(rounds: usize, steps: usize, anchor: KlReference) -> SelfPlay {
    let optimizer = OptimizerConfig { lr: 1e-2, ..OptimizerConfig::default() };
    SelfPlay { rounds, steps, batch_size: 16, reference: anchor, optimizer }
}

/// The policies after every round.
fn played(world: &World, config: &SelfPlay, observer: &mut RecordingObserver) -> Vec<CausalLm> {
    let mut all = Vec::new();
    let end = world.run(observer, |run| {
        let objective = spin(LogRatioLoss::Spin);
        self_play((&world.base, &world.policy), config, &objective, run, |round, policy| {
            all.push(policy.clone());
            assert_eq!(round, all.len());
            Ok(())
        })
    });
    assert_eq!(weights(&end.unwrap()), weights(all.last().unwrap()));
    all
}

/// Mean log-likelihood of completions.
fn likelihood(model: &CausalLm, rows: &[&Row]) -> f64 {
    let all: Vec<(&[u32], usize)> =
        rows.iter().map(|row| (row.input_ids.as_slice(), row.completion_start)).collect();
    let batch = CompletionBatch::new(&all, 0, PaddingSide::Right, &device()).unwrap();
    let log_probs = model.log_probs(&batch, 1.0).log_probs;
    log_probs.into_data().iter::<f64>().sum::<f64>() / rows.len() as f64
}

#[test]
fn the_log_ratio_of_demonstrations_rises_above_that_of_samples() {
    for loss in [LogRatioLoss::Spin, LogRatioLoss::Irft, LogRatioLoss::GsilBernoulli] {
        let world = World::new(Tuning::Lora, |_| {});
        let samples: Vec<&Row> = world.task.train.iter().rev().collect();
        let demonstrations: Vec<&Row> = world.task.train.iter().collect();
        // Another prompt's completion, in both orders.
        let rows: Vec<Row> = (demonstrations.iter().zip(&samples))
            .map(|(d, s)| Row { input_ids: [d.prompt(), s.completion()].concat(), ..(*d).clone() })
            .collect();
        for turned in [false, true] {
            let pairs: Vec<Pair<'_>> = (world.task.train.iter().zip(&rows))
                .map(|(d, s)| if turned { Pair::new(s, d) } else { Pair::new(d, s) })
                .collect();
            let mut observer = RecordingObserver::default();
            let fitted = world.run(&mut observer, |run| {
                let policy = world.policy.clone();
                fit_log_ratio(
                    policy,
                    &world.base,
                    &pairs,
                    &config(1, 20, KlReference::Sft),
                    &spin(loss),
                    run,
                )
            });
            let fitted = fitted.unwrap();
            assert!(is_plain(&fitted));
            let ratio = |rows: &[&Row]| likelihood(&fitted, rows) - likelihood(&world.base, rows);
            let samples: Vec<&Row> = rows.iter().collect();
            let lead = ratio(&demonstrations) - ratio(&samples);
            let lead = if turned { -lead } else { lead };
            assert!(lead > 2.0, "{loss:?}: {lead}");
            let of = |name| observer.metrics.iter().flatten().filter(move |m| m.0 == name);
            assert!(of("rewards/accuracies").next_back().unwrap().1 > 0.9);
            assert!(of("loss").next_back().unwrap().1 < of("loss").next().unwrap().1);
        }
    }
}

#[test]
fn self_play_raises_the_likelihood_of_demonstrations_and_reports_every_round() {
    let world = World::new(Tuning::Full, |_| {});
    let mut observer = RecordingObserver::default();
    let policies = played(&world, &config(3, 10, KlReference::Moving), &mut observer);
    assert_eq!(policies.len(), 3);
    assert!(policies.iter().all(is_plain));
    let rows: Vec<&Row> = world.task.held_out.iter().collect();
    let likelihoods: Vec<f64> = policies.iter().map(|policy| likelihood(policy, &rows)).collect();
    assert!(likelihoods[2] > likelihood(&world.policy, &rows) + 2.0, "{likelihoods:?}");
    let mut expected = Vec::new();
    for round in 1..=3 {
        let mut heard = |kind, step, steps| {
            expected.push((kind, round, "fit".to_owned(), step, steps));
        };
        heard("started", 0, 10);
        (1..=10).for_each(|step| heard("step", step, 10));
        heard("ended", 10, 0);
    }
    assert_eq!(observer.events, expected);
    // One schedule over all rounds: linear decay to 0 over 30 steps.
    let rates: Vec<f64> =
        observer.metrics.iter().flatten().filter(|m| m.0 == "learning_rate").map(|m| m.1).collect();
    assert!((rates[10] - 1e-2 * 2.0 / 3.0).abs() < 1e-9, "{rates:?}");
    assert!((rates[29] - 1e-2 / 30.0).abs() < 1e-9);
}

#[test]
fn fixed_and_moving_references_differ_from_the_second_round() {
    let world = World::new(Tuning::Full, |_| {});
    let [sft, moving] = [KlReference::Sft, KlReference::Moving].map(|anchor| {
        played(&world, &config(2, 3, anchor), &mut RecordingObserver::default())
            .iter()
            .map(weights)
            .collect::<Vec<Weights>>()
    });
    assert_eq!(sft[0], moving[0]);
    assert_ne!(sft[1], moving[1]);
}

#[test]
fn with_a_moving_reference_the_first_loss_of_a_round_is_ln_2() {
    let world = World::new(Tuning::Full, |_| {});
    let first_of_second = |anchor| {
        let mut observer = RecordingObserver::default();
        played(&world, &config(2, 5, anchor), &mut observer);
        let losses = observer.metrics.iter().flatten().filter(|m| m.0 == "loss").map(|m| m.1);
        losses.collect::<Vec<f64>>()[5]
    };
    // The log-ratios are all 0.
    let undecided = std::f64::consts::LN_2;
    assert!((first_of_second(KlReference::Moving) - undecided).abs() < 1e-5);
    assert!(first_of_second(KlReference::Sft) < undecided - 0.01);
}

#[test]
fn samples_of_every_source_are_drawn_again_in_every_round() {
    // No weight changes, so that only the noise of the samples differs, and with it the gradient.
    let norms = |change: fn(&mut Recipe)| {
        let world = World::new(Tuning::Full, change);
        let still = OptimizerConfig { lr: 1e-30, ..OptimizerConfig::default() };
        let batch_size = 1000;
        let config = SelfPlay { optimizer: still, batch_size, ..config(2, 1, KlReference::Sft) };
        let mut observer = RecordingObserver::default();
        played(&world, &config, &mut observer);
        let norms = observer.metrics.iter().flatten().filter(|m| m.0 == "grad_norm").map(|m| m.1);
        norms.collect::<Vec<f64>>()
    };
    let policy = norms(|recipe| recipe.negatives.initial = 0);
    let initial = norms(|recipe| recipe.negatives.policy = 0);
    let both = norms(|_| {});
    for all in [&policy, &initial, &both] {
        assert_ne!(all[0], all[1]);
    }
    assert!(policy[0] != initial[0] && both[0] != policy[0] && both[0] != initial[0]);
}

#[test]
fn a_seed_gives_the_same_result_twice_and_another_seed_another_result() {
    let play = |seed| {
        let mut world = World::new(Tuning::Lora, |_| {});
        world.recipe.run.seed = seed;
        let mut observer = RecordingObserver::default();
        let policies = played(&world, &config(2, 3, KlReference::Moving), &mut observer);
        (policies.iter().map(weights).collect::<Vec<Weights>>(), observer.metrics)
    };
    let [a, b, c] = [5, 5, 6].map(play);
    assert_eq!(a, b);
    assert!(a.0 != c.0 && a.1 != c.1);
}

#[test]
fn weights_of_pairs_count_in_log_ratios() {
    let world = World::new(Tuning::Full, |_| {});
    let rows = &world.task.train;
    let fitted = |weights_of: [f64; 2]| {
        let pairs = [(0, 1), (2, 3)].map(|(d, s)| Pair::new(&rows[d], &rows[s]));
        let [first, second] = pairs;
        let [a, b] = weights_of;
        let pairs = [Pair { weight: a, ..first }, Pair { weight: b, ..second }];
        let fitted = world.run(&mut (), |run| {
            let objective = spin(LogRatioLoss::Spin);
            let config = config(1, 1, KlReference::Sft);
            fit_log_ratio(world.policy.clone(), &model(2), &pairs, &config, &objective, run)
        });
        weights(&fitted.unwrap())
    };
    assert_eq!(fitted([0.0, 0.0]), weights(&world.policy));
    assert_ne!(fitted([2.0, 0.0]), fitted([0.0, 2.0]));
}

#[test]
fn without_pairs_fitting_is_an_error() {
    let world = World::new(Tuning::Full, |_| {});
    let (config, objective) = (config(1, 1, KlReference::Sft), spin(LogRatioLoss::Dpo));
    let error = world.run(&mut (), |run| {
        fit_log_ratio(world.policy.clone(), &world.base, &[], &config, &objective, run)
    });
    assert!(matches!(error, Err(TrainError::TooFew { what: "pairs", .. })));
    let mut world = world;
    (world.recipe.negatives.initial, world.recipe.negatives.policy) = (0, 0);
    let models = (&world.base, &world.policy);
    let error =
        world.run(&mut (), |run| self_play(models, &config, &objective, run, |_, _| Ok(())));
    assert!(matches!(error, Err(TrainError::TooFew { what: "pairs", .. })));
}

#[test]
fn an_error_of_the_callback_ends_self_play() {
    let world = World::new(Tuning::Full, |_| {});
    let mut rounds = 0;
    let error = world.run(&mut (), |run| {
        let models = (&world.base, &world.policy);
        let objective = spin(LogRatioLoss::Spin);
        self_play(models, &config(3, 1, KlReference::Sft), &objective, run, |_, _| {
            rounds += 1;
            Err(TrainError::TooFew { what: "enough", found: 0, needed: 0, advice: "" })
        })
    });
    assert!(matches!(error, Err(TrainError::TooFew { what: "enough", .. })));
    assert_eq!(rounds, 1);
}

#[test]
fn truncated_demonstrations_without_eos_can_be_negatives() {
    let rows: Vec<(String, String)> =
        demonstrations().into_iter().map(|(prompt, _)| (prompt, " c d e f g h i".into())).collect();
    let world = World::with_rows(Tuning::Full, &rows, |recipe| {
        recipe.data.long_completions = LongCompletion::Truncate;
        (recipe.negatives.initial, recipe.negatives.policy) = (0, 0);
        recipe.negatives.truncated = 4;
    });
    assert!(world.task.train.iter().all(|row| !row.terminated));
    assert_eq!(
        played(&world, &config(1, 2, KlReference::Sft), &mut RecordingObserver::default()).len(),
        1
    );
}
