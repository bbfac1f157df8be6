//! The choices of supervised fine-tuning.

use burn::module::Module;
use revealed_models::{CausalLm, CompletionBatch, PaddingSide, TokenBatch};
use revealed_train::{Keep, OptimizerConfig, Recipe, Row, Schedule, SftObjective, Tuning, fit_sft};

use revealed_train::testing::{
    RecordingObserver, Weights, World, demonstrations, device, largest_difference, weights,
};

fn fitted(world: &World, observer: &mut RecordingObserver) -> CausalLm {
    world.run(observer, |run| fit_sft(world.policy.clone(), run)).unwrap()
}

/// Mean negative log-likelihood, nats/token.
fn loss(model: &CausalLm, rows: &[Row]) -> f64 {
    let all: Vec<(&[u32], usize)> =
        rows.iter().map(|row| (row.input_ids.as_slice(), row.completion_start)).collect();
    let batch = CompletionBatch::new(&all, 0, PaddingSide::Right, &device()).unwrap();
    let log_probs = model.log_probs(&batch, 1.0).log_probs;
    -log_probs.into_data().iter::<f64>().sum::<f64>() / batch.completion_tokens() as f64
}

#[test]
fn the_last_epoch_or_the_best_one_is_kept() {
    // Random words can only be memorized, so the last epoch is not the best one.
    let word = |i: usize| revealed_train::testing::word(i * i);
    let rows: Vec<(String, String)> = demonstrations()
        .into_iter()
        .enumerate()
        .map(|(i, (prompt, _))| (prompt, format!(" {} {}", word(i), word(3 * i + 5))))
        .collect();
    let world = |keep, epochs| {
        World::with_rows(Tuning::Full, &rows, |recipe| {
            recipe.sft.epochs = epochs;
            recipe.sft.early_stopping_patience = 9;
            recipe.sft.keep = keep;
            let optimizer = OptimizerConfig { lr: 3e-2, ..OptimizerConfig::default() };
            recipe.sft.optimizer = OptimizerConfig { schedule: Schedule::Constant, ..optimizer };
        })
    };
    let mut reported = Vec::new();
    let [best, last] = [Keep::Best, Keep::Last].map(|keep| {
        let (world, mut observer) = (world(keep, 6), RecordingObserver::default());
        let model = fitted(&world, &mut observer);
        let loss = loss(&model, &world.task.held_out);
        let metrics = observer.metrics.last().unwrap();
        assert_eq!(metrics[0].0, "eval_loss");
        assert!((metrics[0].1 - loss).abs() < 1e-5, "{keep:?}: {metrics:?}, {loss}");
        reported.push(loss);
        (weights(&model), observer.events)
    });
    assert_eq!(best.1, last.1, "the same steps");
    assert!(reported[0] < reported[1], "{reported:?}");
    assert_ne!(best.0, last.0);
    // The end of every epoch: the sixth is the last one, and the best is among them.
    let ends: Vec<Weights> = (1..=6)
        .map(|epochs| {
            weights(&fitted(&world(Keep::Last, epochs), &mut RecordingObserver::default()))
        })
        .collect();
    assert_eq!(ends[5], last.0);
    assert!(ends[..5].contains(&best.0));
}

/// `Σ_t (v_t + log π(y_t) − γ v_{t+1})²` per token, from the logits of all positions.
fn implied_reward(model: &CausalLm, rows: &[Row], gamma: f64) -> f64 {
    let (mut squares, mut tokens) = (0.0, 0.0);
    for row in rows {
        let batch = TokenBatch::new(&[row], 0, PaddingSide::Right, &device()).unwrap();
        let logits = model.valid().logits(&batch);
        let vocab = logits.dims()[2];
        let logits: Vec<f64> = logits.into_data().iter::<f64>().collect();
        let state = |t: usize| &logits[(t - 1) * vocab..t * vocab];
        let value = |t: usize| state(t).iter().map(|l| l.exp()).sum::<f64>().ln();
        for t in row.completion_start..row.input_ids.len() {
            let next = if t + 1 < row.input_ids.len() { value(t + 1) } else { 0.0 };
            squares += (state(t)[row.input_ids[t] as usize] - gamma * next).powi(2);
            tokens += 1.0;
        }
    }
    squares / tokens
}

fn imitate(change: impl Fn(&mut Recipe)) -> (World, CausalLm) {
    let world = World::new(Tuning::Full, |recipe| {
        recipe.sft.keep = Keep::Last;
        recipe.sft.epochs = 10;
        change(recipe);
    });
    let model = fitted(&world, &mut RecordingObserver::default());
    (world, model)
}

#[test]
fn iq_learn_without_penalty_is_likelihood() {
    let step = |objective, iq_lambda| {
        let (world, model) = imitate(|recipe| {
            (recipe.sft.objective, recipe.sft.iq_lambda) = (objective, iq_lambda);
            recipe.sft.max_steps = 1;
            // A step proportional to the gradient: with a small ε it would be its sign, which depends on rounding near 0.
            recipe.sft.optimizer.adam_epsilon = 1.0;
            recipe.sft.optimizer.lr = 1.0;
        });
        (weights(&world.policy), weights(&model))
    };
    let (before, likelihood) = step(SftObjective::Likelihood, 0.1);
    let (_, without) = step(SftObjective::IqLearn, 0.0);
    let (_, with) = step(SftObjective::IqLearn, 0.1);
    assert!(largest_difference(&before, &likelihood) > 1e-2);
    assert!(largest_difference(&likelihood, &without) < 1e-6);
    assert!(largest_difference(&likelihood, &with) > 1e-4);
}

#[test]
fn the_penalty_of_iq_learn_keeps_the_implied_reward_small_and_uses_the_discount() {
    let imitate = |iq_lambda, iq_gamma| {
        let (world, model) = imitate(|recipe| {
            recipe.sft.objective = SftObjective::IqLearn;
            (recipe.sft.iq_lambda, recipe.sft.iq_gamma) = (iq_lambda, iq_gamma);
        });
        let of = |gamma| implied_reward(&model, &world.task.train, gamma);
        ([of(1.0), of(0.0)], loss(&model, &world.task.train), loss(&world.base, &world.task.train))
    };
    let (free, imitation, before) = imitate(0.0, 1.0);
    let (discounted_1, with_1, _) = imitate(0.5, 1.0);
    let (discounted_0, with_0, _) = imitate(0.5, 0.0);
    assert!(discounted_1[0] < 0.5 * free[0], "{discounted_1:?} of {free:?}");
    assert!(discounted_0[1] < 0.5 * free[1], "{discounted_0:?} of {free:?}");
    // Each has the smaller reward by its own discount.
    assert!(discounted_1[0] < discounted_0[0] && discounted_0[1] < discounted_1[1]);
    assert!(imitation < before && with_1 < before && with_0 < before, "it imitates all the same");
}
