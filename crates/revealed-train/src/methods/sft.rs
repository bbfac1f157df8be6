//! Supervised fine-tuning: token cross-entropy on the demonstrations' completions.
//!
//! `L = −(1/N) Σ log π(y_t | y_<t)` over the `N` completion tokens of an optimizer step, however the step is split into
//! micro-batches. Alternatively IQ-Learn, [`iq_learn`], which adds a penalty on the reward that the logits imply.

use burn::module::Module;
use revealed_data::shuffled;
use revealed_models::CausalLm;
use revealed_objectives::log_ratio::iq_learn;
use revealed_objectives::{likelihood::token_cross_entropy, reduce::token_mean};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::gate::held_out_loss;
use crate::optim::{Updater, accumulate, sum};
use crate::recipe::{Keep, SftObjective};
use crate::record::{At, Phase};
use crate::run::Run;
use crate::steps::{Advance, run_to_end};
use crate::task::Row;

/// Fits the model to `run.task.train`. The held-out loss is measured after every epoch; returns the weights of the best or
/// the last epoch, by `sft.keep`, without gradients.
///
/// # Errors
/// When the loss is not finite, or the observer asks to stop.
pub fn fit_sft(model: CausalLm, run: &mut Run<'_>) -> Result<CausalLm, TrainError> {
    run_to_end(SftPhase::new(model, run), at(0), run, SftPhase::advance)
}

/// A place in SFT.
fn at(step: usize) -> At {
    At::new(0, Phase::Sft, step)
}

/// State of SFT between steps.
#[derive(Debug, Clone)]
pub struct SftPhase {
    pub(crate) model: CausalLm,
    pub(crate) updater: Updater<CausalLm>,
    /// The lowest held-out loss, nats/token, and its weights.
    pub(crate) best: Option<(f64, CausalLm)>,
    pub(crate) counters: Counters,
}

/// Counters of an [`SftPhase`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Steps done.
    pub step: usize,
    /// Consecutive epochs without improvement of the held-out loss.
    pub worse: usize,
    /// Held-out loss of the last epoch, nats/token; none before the end of the first.
    pub last: Option<f64>,
    /// Held-out loss of the initial model, nats/token.
    pub start: Option<f64>,
}

impl SftPhase {
    pub(crate) fn new(model: CausalLm, run: &Run<'_>) -> Self {
        let updater = Updater::new(&run.recipe.sft.optimizer, plan(run).1);
        let counters = Counters::default();
        Self { model: model.trainable(), updater, best: None, counters }
    }

    /// Continues to the next pause or to the end.
    pub(crate) fn advance(
        mut self,
        run: &mut Run<'_>,
    ) -> Result<Advance<Self, CausalLm>, TrainError> {
        let (per_epoch, total) = plan(run);
        run.started(at(self.counters.step), total);
        if self.counters.start.is_none() && total > 0 {
            let start = held_out_loss(&self.model, at(0), run)?;
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
                    return Ok(Advance::Done(self.end(run)?));
                }
            }
            if run.should_pause(step) {
                return Ok(Advance::Paused(self));
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
        let order = shuffled(task.train.len(), run.seed(at(epoch), "order"));
        let indices = order.iter().skip(done % per_epoch * size).take(size);
        let rows: Vec<&Row> = indices.map(|i| &task.train[*i]).collect();
        let step = done + 1;
        let _span = tracing::debug_span!("step", phase = "sft", step).entered();
        self.model = sft_step(self.model, &mut self.updater, &rows, step, total, run)?;
        self.counters.step = step;
        Ok(self)
    }

    /// Measures the held-out loss at the end of an epoch.
    fn measure(&mut self, epoch: usize, run: &mut Run<'_>) -> Result<(), TrainError> {
        let loss = held_out_loss(&self.model, at(self.counters.step), run)?;
        self.counters.last = Some(loss);
        run.note(format!("sft epoch {epoch}: held-out loss {loss:.4} nats/token"));
        match &self.best {
            Some((lowest, _)) if loss >= *lowest => self.counters.worse += 1,
            _ => (self.best, self.counters.worse) = (Some((loss, self.model.valid())), 0),
        }
        Ok(())
    }

    /// The weights of the epoch that is kept.
    ///
    /// # Errors
    /// When its held-out loss has risen by more than `gate.max_likelihood_drop`.
    fn end(mut self, run: &mut Run<'_>) -> Result<CausalLm, TrainError> {
        let last = (self.counters.last.unwrap_or(f64::NAN), self.model.valid());
        let (loss, model) = match run.recipe.sft.keep {
            Keep::Best => self.best.unwrap_or(last),
            Keep::Last => last,
        };
        let at = at(self.counters.step);
        run.ended(at, &[("eval_loss", loss)]);
        let start = self.counters.start.unwrap_or(loss);
        if loss - start > run.recipe.gate.max_likelihood_drop {
            let diagnosis = self.updater.monitor().diagnosis();
            return Err(TrainError::Diverged { at, start, found: loss, diagnosis });
        }
        Ok(model)
    }
}

/// Steps per epoch, and in total.
fn plan(run: &Run<'_>) -> (usize, usize) {
    let config = &run.recipe.sft;
    let per_epoch = run.task.train.len().div_ceil(config.batch_size);
    let bound = if config.max_steps == 0 { usize::MAX } else { config.max_steps };
    (per_epoch, config.epochs.saturating_mul(per_epoch).min(bound))
}

fn sft_step(
    model: CausalLm,
    updater: &mut Updater<CausalLm>,
    rows: &[&Row],
    step: usize,
    total: usize,
    run: &mut Run<'_>,
) -> Result<CausalLm, TrainError> {
    let at = at(step);
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
    let micro_batches = run.micro_batches(&model.device(), rows);
    let (gradients, losses) = accumulate(&model, &micro_batches, work)?;
    let limits = &run.recipe.health;
    let (model, done) =
        updater.update(model, gradients, [sum(losses)], at, limits, run.observer)?;
    let metrics = [
        ("loss", done.numbers[0]),
        ("grad_norm", done.grad_norm),
        ("learning_rate", done.lr),
        ("tokens", tokens as f64),
        ("padding", micro_batches.padding()),
    ];
    run.step(at, total, &metrics);
    Ok(model)
}
