//! Supervised fine-tuning: token cross-entropy on the demonstrations' completions.
//!
//! `L = −(1/N) Σ log π(y_t | y_<t)` over the `N` completion tokens of an optimizer step, so long rows and
//! short ones weigh by their tokens however the step is split for memory. Or IQ-Learn's form of it,
//! [`iq_learn`], which also keeps the reward small that the logits imply.

use burn::module::Module;
use revealed_data::shuffled;
use revealed_models::CausalLm;
use revealed_objectives::log_ratio::iq_learn;
use revealed_objectives::{likelihood::token_cross_entropy, reduce::token_mean};

use crate::error::TrainError;
use crate::observer::{At, Phase};
use crate::optimizer::{Accumulated, Updater, sum};
use crate::recipe::{Keep, SftObjective};
use crate::run::{Run, at};
use crate::task::Row;

/// Fits the model to `run.task.train`; after every epoch the held-out loss is measured, and the weights
/// with the lowest one are returned, or the last ones where the recipe says so, without gradients.
///
/// # Errors
/// When the loss is not finite.
pub fn fit_sft(model: CausalLm, run: &mut Run<'_>) -> Result<CausalLm, TrainError> {
    let (task, config) = (run.task, &run.recipe.sft);
    let per_epoch = task.train.len().div_ceil(config.batch_size);
    let bound = if config.max_steps == 0 { usize::MAX } else { config.max_steps };
    let total = config.epochs.saturating_mul(per_epoch).min(bound);
    let mut updater = Updater::new(&config.optimizer, total);
    let mut model = model.trainable();
    let mut best: Option<(f64, CausalLm)> = None;
    let (mut step, mut worse, mut last) = (0, 0, f64::NAN);
    run.started(at(0, Phase::Sft, 0), total);
    for epoch in 0..config.epochs {
        let order = shuffled(task.train.len(), run.seed(at(0, Phase::Sft, epoch), "order"));
        for indices in order.chunks(config.batch_size) {
            if step == total {
                break;
            }
            step += 1;
            let _span = tracing::debug_span!("step", phase = "sft", step).entered();
            let rows: Vec<&Row> = indices.iter().map(|i| &task.train[*i]).collect();
            model = sft_step(model, &mut updater, &rows, step, total, run)?;
        }
        let loss = held_out_loss(&model, at(0, Phase::Sft, step), run)?;
        last = loss;
        run.note(format!("sft epoch {}: held-out loss {loss:.4} nats a token", epoch + 1));
        match &best {
            Some((lowest, _)) if loss >= *lowest => worse += 1,
            _ => (best, worse) = (Some((loss, model.valid())), 0),
        }
        if worse > config.patience || step == total {
            break;
        }
    }
    let (loss, model) = match config.keep {
        Keep::Best => best.unwrap_or_else(|| (f64::NAN, model.valid())),
        Keep::Last => (last, model.valid()),
    };
    run.ended(at(0, Phase::Sft, step), &[("eval_loss", loss)]);
    Ok(model)
}

fn sft_step(
    model: CausalLm,
    updater: &mut Updater<CausalLm>,
    rows: &[&Row],
    step: usize,
    total: usize,
    run: &mut Run<'_>,
) -> Result<CausalLm, TrainError> {
    let at = at(0, Phase::Sft, step);
    let tokens: usize = rows.iter().map(|row| row.completion().len()).sum();
    let mut gradients = Accumulated::new();
    let mut losses = Vec::new();
    for indices in run.micro_batches(rows) {
        let batch = run.batch(&model, indices.iter().map(|i| rows[*i]))?;
        let mask = batch.completion_mask.clone();
        let config = &run.recipe.sft;
        let part = match config.objective {
            SftObjective::Likelihood => model.backward(&batch, 1.0, |log_probs| {
                token_mean(token_cross_entropy(log_probs, mask.clone()), mask, tokens as f64)
            }),
            SftObjective::IqLearn => {
                model.backward_with_values(&batch, 1.0, |log_probs, values| {
                    let (lambda, gamma) = (config.iq_lambda, config.iq_gamma);
                    let losses = iq_learn(log_probs, values, mask.clone(), lambda, gamma);
                    token_mean(losses, mask, tokens as f64)
                })
            }
        };
        losses.push(part.loss);
        gradients.add(&model, part.gradients);
    }
    let (model, done) = updater.update(model, gradients.take(), vec![sum(losses)], at)?;
    let metrics = [
        ("loss", done.numbers[0]),
        ("grad_norm", done.grad_norm),
        ("learning_rate", done.lr),
        ("tokens", tokens as f64),
    ];
    run.step(at, total, &metrics);
    Ok(model)
}

/// Mean negative log-likelihood of the held-out demonstrations, nats a token.
///
/// # Errors
/// When it is not finite: the weights have diverged.
pub(crate) fn held_out_loss(model: &CausalLm, at: At, run: &Run<'_>) -> Result<f64, TrainError> {
    let log_probs = run.log_probs(model, &run.task.held_out, 1.0)?;
    let tokens: usize = log_probs.iter().map(Vec::len).sum();
    let total: f64 = log_probs.iter().flatten().map(|log_prob| f64::from(*log_prob)).sum();
    let value = -total / tokens.max(1) as f64;
    if !value.is_finite() {
        let what = "the loss on held-out demonstrations";
        return Err(TrainError::NonFinite { at, what, value });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Tuning;
    use crate::support::{World, poisoned};

    #[test]
    fn weights_that_a_last_step_ruined_are_an_error_and_not_the_best_epoch() {
        let world = World::new(Tuning::Full, |_| {});
        let at = at(0, Phase::Sft, 3);
        let loss = |model: &CausalLm| world.run(&mut (), |run| held_out_loss(model, at, run));
        assert!(loss(&world.base).unwrap().is_finite());
        let error = loss(&poisoned(world.base.clone())).unwrap_err().to_string();
        assert!(error.starts_with("round 0, sft, step 3: the loss on held-out"), "{error}");
    }
}
