//! One optimizer step: accumulate, clip by global norm, schedule, AdamW.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::store::RecordError;
use burn::tensor::{Bytes, DType, Tensor};
use revealed_models::workers::{MicroBatches, map_parallel, max_concurrency};
use revealed_models::{CausalLm, ModelError, ScalarModel};
use serde::{Deserialize, Serialize};

use crate::adamw::AdamW;
use crate::error::TrainError;
use crate::observer::At;
use crate::run::Run;
use crate::watch::Watch;

/// How the learning rate moves after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls to 0 in a line.
    Linear,
    /// It falls to 0 in half a cosine.
    Cosine,
}

/// AdamW with a schedule.
///
/// | field | default | range |
/// |---|---|---|
/// | `lr` | by stage | > 0, ≤ 1 |
/// | `schedule` | linear | constant, linear, cosine |
/// | `warmup_ratio` | 0 | [0, 1), share of the steps |
/// | `adam_epsilon` | 1e-8 | > 0 |
/// | `weight_decay` | 0 | ≥ 0, decoupled |
/// | `max_grad_norm` | 1 | > 0, over all trained parameters together |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Its course.
    pub schedule: Schedule,
    /// Share of steps in which it rises from 0.
    pub warmup_ratio: f64,
    /// ε of AdamW.
    pub adam_epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Bound of the gradient's global norm.
    pub max_grad_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            schedule: Schedule::Linear,
            warmup_ratio: 0.0,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
        }
    }
}

impl OptimizerConfig {
    /// Enforces the table; `key` names the section in messages.
    ///
    /// # Errors
    /// When a field is out of range.
    pub fn check(&self, key: &'static str) -> Result<(), TrainError> {
        let wrong = |found: String, expected| Err(TrainError::Recipe { key, found, expected });
        if !(self.lr > 0.0 && self.lr <= 1.0) {
            return wrong(format!("lr {}", self.lr), "lr in (0, 1]");
        }
        if !(0.0..1.0).contains(&self.warmup_ratio) {
            return wrong(format!("warmup_ratio {}", self.warmup_ratio), "warmup_ratio in [0, 1)");
        }
        // AdamW computes in f32, where a smaller ε would be 0 and a gradient of 0 give 0 / 0.
        let epsilon = self.adam_epsilon as f32 > 0.0 && self.adam_epsilon.is_finite();
        let decay = self.weight_decay >= 0.0 && self.weight_decay.is_finite();
        if !(epsilon && decay && self.max_grad_norm > 0.0) {
            return wrong(
                format!(
                    "adam_epsilon {}, weight_decay {}, max_grad_norm {}",
                    self.adam_epsilon, self.weight_decay, self.max_grad_norm
                ),
                "adam_epsilon > 0, weight_decay ≥ 0, max_grad_norm > 0",
            );
        }
        Ok(())
    }

    /// The learning rate of step `step` (from 0) of `total`, as Transformers' `get_scheduler`.
    pub fn lr_at(&self, step: usize, total: usize) -> f64 {
        let warmup = (self.warmup_ratio * total as f64).ceil() as usize;
        if step < warmup {
            return self.lr * step as f64 / warmup as f64;
        }
        let progress = (step - warmup) as f64 / (total.saturating_sub(warmup)).max(1) as f64;
        self.lr
            * match self.schedule {
                Schedule::Constant => 1.0,
                Schedule::Linear => (1.0 - progress).max(0.0),
                Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            }
    }
}

/// What one update did.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    /// The numbers that were given along, read back.
    pub numbers: Vec<f64>,
    /// The gradient's global norm before clipping.
    pub grad_norm: f64,
    /// The learning rate used.
    pub lr: f64,
    /// Whether the step was done; a skipped one changed no weight and no moment.
    pub done: bool,
}

/// What an optimizer is, beside its moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Steps of the schedule that are over.
    step: usize,
    /// The schedule's length.
    total: usize,
    /// What the stage has seen.
    watch: Watch,
}

impl Place {
    /// Steps of the schedule that are over.
    pub(crate) fn step(&self) -> usize {
        self.step
    }
}

/// An optimizer with its place in the schedule.
#[derive(Clone)]
pub(crate) struct Updater<M: Module> {
    optimizer: ModuleOptimizer,
    config: OptimizerConfig,
    place: Place,
    module: PhantomData<M>,
}

impl<M: Module> fmt::Debug for Updater<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Updater at step {} of {}", self.place.step, self.place.total)
    }
}

impl<M: Module> Updater<M> {
    pub(crate) fn new(config: &OptimizerConfig, total: usize) -> Self {
        let place = Place { step: 0, total, watch: Watch::default() };
        Self {
            optimizer: AdamW::new(config).into(),
            config: config.clone(),
            place,
            module: PhantomData,
        }
    }

    /// Its place in the schedule and its moments.
    ///
    /// # Errors
    /// When the moments cannot be written down.
    pub(crate) fn to_parts(&self) -> Result<(Place, Vec<u8>), RecordError> {
        Ok((self.place.clone(), self.optimizer.into_bytes()?.to_vec()))
    }

    /// What [`to_parts`](Self::to_parts) gave, under the same settings.
    ///
    /// # Errors
    /// When the bytes are not an optimizer's.
    pub(crate) fn from_parts(
        config: &OptimizerConfig,
        place: Place,
        bytes: Vec<u8>,
    ) -> Result<Self, RecordError> {
        let fresh = Self::new(config, place.total);
        let optimizer = fresh.optimizer.from_bytes(Bytes::from_bytes_vec(bytes))?;
        Ok(Self { optimizer, place, ..fresh })
    }

    #[cfg(test)]
    pub(crate) fn total(&self) -> usize {
        self.place.total
    }

    /// Applies gradients that are already summed over the whole mini-batch, and reads `numbers` (the loss
    /// first) back in the same transaction as the gradient's norm. A step whose loss or norm is out of bounds is skipped.
    ///
    /// # Errors
    /// When too many steps were skipped before; the module is not updated then.
    pub(crate) fn update(
        &mut self,
        module: M,
        gradients: GradientsParams,
        numbers: Vec<Tensor<1>>,
        at: At,
        run: &mut Run<'_>,
    ) -> Result<(M, Update), TrainError> {
        let norm = grad_norm(&gradients, &module);
        let mut numbers = read(numbers.into_iter().chain([norm]).collect())?;
        let norm = numbers.pop().unwrap_or(f64::NAN);
        let lr = self.config.lr_at(self.place.step, self.place.total);
        self.place.step += 1;
        let done = self.place.watch.passes(numbers[0], norm, at, run)?;
        // Also at a rate of 0, the first of a warm-up: the moments see its gradient, as in PyTorch.
        let module = if done {
            let gradients = clip_grad_norm(gradients, &module, norm, self.config.max_grad_norm);
            self.optimizer.step(lr, module, gradients)
        } else {
            module
        };
        Ok((module, Update { numbers, grad_norm: norm, lr, done }))
    }

    /// What the stage has seen.
    pub(crate) fn watch(&mut self) -> &mut Watch {
        &mut self.place.watch
    }
}

/// Reads scalars `[1]` back with one synchronisation.
pub(crate) fn read(scalars: Vec<Tensor<1>>) -> Result<Vec<f64>, TrainError> {
    let count = scalars.len();
    if count == 0 {
        return Ok(vec![]);
    }
    let values = Tensor::cat(scalars.into_iter().map(|s| s.cast(DType::F32)).collect(), 0)
        .try_into_vec_as::<f32>()
        .map_err(|error| ModelError::Device(error.to_string()))?;
    Ok(values.into_iter().map(f64::from).collect())
}

/// Adds scalars `[1]` of micro-batches.
pub(crate) fn sum(parts: Vec<Tensor<1>>) -> Tensor<1> {
    Tensor::cat(parts, 0).sum()
}

/// A model whose parameters are trained.
pub(crate) trait Trained: Module + Sync {
    /// The same parameters as leaves of a graph of their own, so that backward passes do not wait for each other.
    fn apart(&self) -> Self;
}

impl Trained for CausalLm {
    fn apart(&self) -> Self {
        self.valid().trainable()
    }
}

impl Trained for ScalarModel {
    fn apart(&self) -> Self {
        self.valid().trainable()
    }
}

/// The gradients of all pieces of a mini-batch, summed in their order, and what else `work` gives of each.
pub(crate) fn accumulate<M: Trained, R: Send>(
    model: &M,
    pieces: &MicroBatches,
    work: impl Fn(&M, &[usize]) -> Result<(GradientsParams, R), TrainError> + Sync,
) -> Result<(GradientsParams, Vec<R>), TrainError> {
    let (mut sum, mut others) = (GradientsAccumulator::new(), Vec::new());
    let work = |rows: &[usize]| work(&model.apart(), rows);
    pieces.map_parallel(work, |(gradients, other)| {
        sum.accumulate(model, gradients);
        others.push(other);
        Ok(())
    })?;
    Ok((sum.grads(), others))
}

/// The norm of all gradients together, `[1]`.
///
/// # Panics
/// When the module has no gradient at all.
pub fn grad_norm<M: Module>(gradients: &GradientsParams, module: &M) -> Tensor<1> {
    let mut flat = Flat { gradients, all: Vec::new() };
    module.visit(&mut flat);
    let device = flat.all.first().expect("a trained module has gradients").device();
    let concurrency = max_concurrency(&device, 1, flat.all.len());
    let mut total: Option<Tensor<1>> = None;
    let squared = |gradient: &Tensor<1>| {
        Ok::<_, Infallible>(gradient.clone().cast(DType::F32).square().sum())
    };
    let Ok(()) = map_parallel(concurrency, &flat.all, squared, |squared| {
        total = Some(match total.take() {
            Some(total) => total + squared,
            None => squared,
        });
        Ok(())
    });
    total.expect("there are gradients").sqrt()
}

/// Scales all gradients by `min(1, max_norm / (norm + 1e-6))`, as PyTorch's `clip_grad_norm_` does with the norm of all of them
/// together, which [`grad_norm`] gives.
pub fn clip_grad_norm<M: Module>(
    mut gradients: GradientsParams,
    module: &M,
    norm: f64,
    max_norm: f64,
) -> GradientsParams {
    let scale = (norm as f32 + 1e-6).recip() * max_norm as f32;
    // Not where it is NaN either, which the caller has to find.
    if scale < 1.0 {
        module.visit(&mut Scale { gradients: &mut gradients, scale });
    }
    gradients
}

struct Flat<'a> {
    gradients: &'a GradientsParams,
    all: Vec<Tensor<1>>,
}

impl ModuleVisitor for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(param.id);
        self.all.extend(gradient.map(|gradient| gradient.flatten::<1>(0, D - 1)));
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    scale: f32,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return;
        };
        self.gradients.register(param.id, gradient.mul_scalar(self.scale));
    }
}

#[cfg(test)]
mod tests;
