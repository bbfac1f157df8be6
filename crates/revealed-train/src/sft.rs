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
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::observer::{At, Phase};
use crate::optimizer::{Updater, accumulate, sum};
use crate::recipe::{Keep, SftObjective};
use crate::run::{Run, at};
use crate::steps::{Steps, to_the_end};
use crate::task::Row;

/// Fits the model to `run.task.train`; after every epoch the held-out loss is measured, and the weights
/// with the lowest one are returned, or the last ones where the recipe says so, without gradients.
///
/// # Errors
/// When the loss is not finite, or the observer asks to stop.
pub fn fit_sft(model: CausalLm, run: &mut Run<'_>) -> Result<CausalLm, TrainError> {
    to_the_end(Imitation::new(model, run), at(0, Phase::Sft, 0), run, Imitation::advance)
}

/// SFT in the middle of its steps.
#[derive(Debug, Clone)]
pub struct Imitation {
    pub(crate) model: CausalLm,
    pub(crate) updater: Updater<CausalLm>,
    /// The lowest held-out loss with its weights.
    pub(crate) best: Option<(f64, CausalLm)>,
    pub(crate) counters: Counters,
}

/// What an [`Imitation`] counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Steps done.
    pub step: usize,
    /// Epochs in a row without a better held-out loss.
    pub worse: usize,
    /// The last held-out loss; none before the first epoch's end.
    pub last: Option<f64>,
    /// That of the model it began with.
    pub start: Option<f64>,
}

impl Imitation {
    pub(crate) fn new(model: CausalLm, run: &Run<'_>) -> Self {
        let updater = Updater::new(&run.recipe.sft.optimizer, plan(run)[1]);
        let counters = Counters::default();
        Self { model: model.trainable(), updater, best: None, counters }
    }

    /// Goes on to the next place to save, or the end.
    pub(crate) fn advance(
        mut self,
        run: &mut Run<'_>,
    ) -> Result<Steps<Self, CausalLm>, TrainError> {
        let [per_epoch, total] = plan(run);
        run.started(at(0, Phase::Sft, self.counters.step), total);
        if self.counters.start.is_none() && total > 0 {
            let start = held_out_loss(&self.model, at(0, Phase::Sft, 0), run)?;
            self.counters.start = Some(start);
        }
        loop {
            if self.counters.step < total {
                self = self.step(per_epoch, total, run)?;
            }
            let step = self.counters.step;
            if step == total || step.is_multiple_of(per_epoch) {
                self.measure(step.div_ceil(per_epoch.max(1)), run)?;
                if self.counters.worse > run.recipe.sft.early_stopping_patience || step == total {
                    return Ok(Steps::Done(self.end(run)?));
                }
            }
            if run.pauses(step) {
                return Ok(Steps::Paused(self));
            }
        }
    }

    fn step(
        mut self,
        per_epoch: usize,
        total: usize,
        run: &mut Run<'_>,
    ) -> Result<Self, TrainError> {
        let (task, done) = (run.task, self.counters.step);
        let (epoch, size) = (done / per_epoch, run.recipe.sft.batch_size);
        let order = shuffled(task.train.len(), run.seed(at(0, Phase::Sft, epoch), "order"));
        let indices = order.iter().skip(done % per_epoch * size).take(size);
        let rows: Vec<&Row> = indices.map(|i| &task.train[*i]).collect();
        let step = done + 1;
        let _span = tracing::debug_span!("step", phase = "sft", step).entered();
        self.model = sft_step(self.model, &mut self.updater, &rows, step, total, run)?;
        self.counters.step = step;
        Ok(self)
    }

    /// The end of an epoch.
    fn measure(&mut self, epoch: usize, run: &mut Run<'_>) -> Result<(), TrainError> {
        let loss = held_out_loss(&self.model, at(0, Phase::Sft, self.counters.step), run)?;
        self.counters.last = Some(loss);
        run.note(format!("sft epoch {epoch}: held-out loss {loss:.4} nats a token"));
        match &self.best {
            Some((lowest, _)) if loss >= *lowest => self.counters.worse += 1,
            _ => (self.best, self.counters.worse) = (Some((loss, self.model.valid())), 0),
        }
        Ok(())
    }

    /// The epoch that is kept.
    ///
    /// # Errors
    /// When it has lost more of the held-out demonstrations' likelihood than a round may.
    fn end(mut self, run: &mut Run<'_>) -> Result<CausalLm, TrainError> {
        let last = (self.counters.last.unwrap_or(f64::NAN), self.model.valid());
        let (loss, model) = match run.recipe.sft.keep {
            Keep::Best => self.best.unwrap_or(last),
            Keep::Last => last,
        };
        let at = at(0, Phase::Sft, self.counters.step);
        run.ended(at, &[("eval_loss", loss)]);
        let start = self.counters.start.unwrap_or(loss);
        if loss - start > run.recipe.gate.max_likelihood_drop {
            let diagnosis = self.updater.watch().diagnosis();
            return Err(TrainError::Diverged { at, start, found: loss, diagnosis });
        }
        Ok(model)
    }
}

/// Steps of an epoch, and of all.
fn plan(run: &Run<'_>) -> [usize; 2] {
    let config = &run.recipe.sft;
    let per_epoch = run.task.train.len().div_ceil(config.batch_size);
    let bound = if config.max_steps == 0 { usize::MAX } else { config.max_steps };
    [per_epoch, config.epochs.saturating_mul(per_epoch).min(bound)]
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
    let shared = run.shared();
    let work = |model: &CausalLm, indices: &[usize]| {
        let batch = shared.batch(model, indices.iter().map(|i| rows[*i]))?;
        let mask = batch.completion_mask.clone();
        let config = &shared.recipe.sft;
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
        Ok((part.gradients, part.loss))
    };
    let pieces = run.pieces(&model.device(), rows);
    let (gradients, losses) = accumulate(&model, &pieces, work)?;
    let (model, done) = updater.update(model, gradients, vec![sum(losses)], at, run)?;
    let metrics = [
        ("loss", done.numbers[0]),
        ("grad_norm", done.grad_norm),
        ("learning_rate", done.lr),
        ("tokens", tokens as f64),
        ("padding", pieces.padding()),
    ];
    run.step(at, total, &metrics);
    Ok(model)
}

/// Mean negative log-likelihood of the held-out demonstrations, nats a token.
///
/// # Errors
/// When it is not finite: the weights have diverged.
pub(crate) fn held_out_loss(model: &CausalLm, at: At, run: &Run<'_>) -> Result<f64, TrainError> {
    Ok(-held_out_likelihood(model, at, run)?.0)
}

/// Log-likelihood of the held-out demonstrations, nats a token, and each one's own, the sum over its tokens.
///
/// # Errors
/// When it is not finite: the weights have diverged.
pub(crate) fn held_out_likelihood(
    model: &CausalLm,
    at: At,
    run: &Run<'_>,
) -> Result<(f64, Vec<f64>), TrainError> {
    let log_probs = run.log_probs(model, &run.task.held_out, 1.0)?;
    let tokens: usize = log_probs.iter().map(Vec::len).sum();
    let sum = |row: &Vec<f32>| row.iter().map(|log_prob| f64::from(*log_prob)).sum();
    let each: Vec<f64> = log_probs.iter().map(sum).collect();
    let total: f64 = log_probs.iter().flatten().map(|log_prob| f64::from(*log_prob)).sum();
    let value = -total / tokens.max(1) as f64;
    if !value.is_finite() {
        let what = "the loss on held-out demonstrations";
        return Err(TrainError::NonFinite { at, what, value, diagnosis: String::new() });
    }
    Ok((-value, each))
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
