//! Gradients of a mini-batch: accumulation over micro-batches, global norm and clipping.

use std::convert::Infallible;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{DType, Tensor};
use revealed_models::workers::{MicroBatches, map_parallel, max_concurrency};
use revealed_models::{CausalLm, ScalarModel};

use crate::error::TrainError;

/// Sum of scalars `[1]`, one per micro-batch.
pub(crate) fn sum(parts: Vec<Tensor<1>>) -> Tensor<1> {
    Tensor::cat(parts, 0).sum()
}

/// A model whose parameters are trained.
pub(crate) trait Trained: Module + Sync {
    /// A copy whose parameters are leaves of a separate graph, so that backward passes can run in parallel.
    fn fork_leaves(&self) -> Self;
}

impl Trained for CausalLm {
    fn fork_leaves(&self) -> Self {
        self.valid().trainable()
    }
}

impl Trained for ScalarModel {
    fn fork_leaves(&self) -> Self {
        self.valid().trainable()
    }
}

/// Gradients of all micro-batches of a mini-batch, summed in order, and the other results of `work`.
pub(crate) fn accumulate<M: Trained, R: Send>(
    model: &M,
    micro_batches: &MicroBatches,
    work: impl Fn(&M, &[usize]) -> Result<(GradientsParams, R), TrainError> + Sync,
) -> Result<(GradientsParams, Vec<R>), TrainError> {
    let (mut sum, mut others) = (GradientsAccumulator::new(), Vec::new());
    let work = |rows: &[usize]| work(&model.fork_leaves(), rows);
    micro_batches.map_parallel(work, |(gradients, other)| {
        sum.accumulate(model, gradients);
        others.push(other);
        Ok(())
    })?;
    Ok((sum.grads(), others))
}

/// Global norm of all gradients, `[1]`.
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

/// Scales all gradients by `min(1, max_norm / (norm + 1e-6))`, as PyTorch's `clip_grad_norm_`; `norm` is the global norm from
/// [`grad_norm`].
pub fn clip_grad_norm<M: Module>(
    mut gradients: GradientsParams,
    module: &M,
    norm: f64,
    max_norm: f64,
) -> GradientsParams {
    let scale = (norm as f32 + 1e-6).recip() * max_norm as f32;
    // False if NaN: the caller checks the norm.
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
