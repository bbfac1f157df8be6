//! One optimizer step: clip by global norm, learning rate of the schedule, AdamW.

use std::fmt;
use std::marker::PhantomData;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::RecordError;
use burn::tensor::{Bytes, DType, Tensor};
use revealed_models::ModelError;
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use super::gradients::{clip_grad_norm, grad_norm};
use super::health::HealthMonitor;
use crate::error::TrainError;
use crate::observer::Observer;
use crate::recipe::{HealthSection, OptimizerConfig};
use crate::record::At;

/// Result of one optimizer step.
#[derive(Debug, Clone)]
pub(crate) struct Update<const N: usize> {
    /// The numbers given to [`Updater::update`], read back from the device.
    pub numbers: [f64; N],
    /// Global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub lr: f64,
    /// Whether the step was done; a skipped step changes no weight and no moment.
    pub done: bool,
}

/// State of an optimizer besides its moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScheduleState {
    /// Steps of the schedule that are done.
    step: usize,
    /// Length of the schedule, in steps.
    total: usize,
    /// Health monitor of the phase.
    monitor: HealthMonitor,
}

impl ScheduleState {
    /// Steps of the schedule that are done.
    pub(crate) fn step(&self) -> usize {
        self.step
    }
}

/// An optimizer and its state in the schedule.
#[derive(Clone)]
pub(crate) struct Updater<M: Module> {
    optimizer: ModuleOptimizer,
    config: OptimizerConfig,
    state: ScheduleState,
    module: PhantomData<M>,
}

impl<M: Module> fmt::Debug for Updater<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Updater at step {} of {}", self.state.step, self.state.total)
    }
}

impl<M: Module> Updater<M> {
    /// A new optimizer whose schedule has `total` steps.
    pub(crate) fn new(config: &OptimizerConfig, total: usize) -> Self {
        let state = ScheduleState { step: 0, total, monitor: HealthMonitor::default() };
        Self {
            optimizer: AdamW::new(config).into(),
            config: config.clone(),
            state,
            module: PhantomData,
        }
    }

    /// State and moments, for a checkpoint.
    ///
    /// # Errors
    /// When the moments cannot be serialized.
    pub(crate) fn to_parts(&self) -> Result<(ScheduleState, Vec<u8>), RecordError> {
        Ok((self.state.clone(), self.optimizer.into_bytes()?.to_vec()))
    }

    /// An optimizer from the parts of [`to_parts`](Self::to_parts), with the same settings.
    ///
    /// # Errors
    /// When the bytes are not an optimizer's.
    pub(crate) fn from_parts(
        config: &OptimizerConfig,
        state: ScheduleState,
        bytes: Vec<u8>,
    ) -> Result<Self, RecordError> {
        let fresh = Self::new(config, state.total);
        let optimizer = fresh.optimizer.from_bytes(Bytes::from_bytes_vec(bytes))?;
        Ok(Self { optimizer, state, ..fresh })
    }

    #[cfg(test)]
    pub(crate) fn total(&self) -> usize {
        self.state.total
    }

    /// Applies gradients that are summed over the mini-batch. `numbers` (the loss first) are read back in the same
    /// transaction as the gradient norm. A step whose loss or norm is out of bounds is skipped.
    ///
    /// # Errors
    /// When too many steps were skipped before; the module is not updated then.
    pub(crate) fn update<const N: usize>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        numbers: [Tensor<1>; N],
        at: At,
        limits: &HealthSection,
        observer: &mut dyn Observer,
    ) -> Result<(M, Update<N>), TrainError> {
        let norm = grad_norm(&gradients, &module);
        let read = read(numbers.into_iter().chain([norm]).collect())?;
        let numbers: [f64; N] = std::array::from_fn(|index| read[index]);
        let norm = read[N];
        let lr = self.config.lr_at(self.state.step, self.state.total);
        self.state.step += 1;
        let done = self.state.monitor.accept_step(numbers[0], norm, at, limits, observer)?;
        // A step at learning rate 0, the first of a warm-up, updates the moments, as in PyTorch.
        let module = if done {
            let gradients = clip_grad_norm(gradients, &module, norm, self.config.max_grad_norm);
            self.optimizer.step(lr, module, gradients)
        } else {
            module
        };
        Ok((module, Update { numbers, grad_norm: norm, lr, done }))
    }

    /// Health monitor of the phase.
    pub(crate) fn monitor(&mut self) -> &mut HealthMonitor {
        &mut self.state.monitor
    }
}

/// Reads scalars `[1]` back from the device with one synchronisation.
fn read(scalars: Vec<Tensor<1>>) -> Result<Vec<f64>, TrainError> {
    let values = Tensor::cat(scalars.into_iter().map(|s| s.cast(DType::F32)).collect(), 0)
        .try_into_vec_as::<f32>()
        .map_err(|error| ModelError::Device(error.to_string()))?;
    Ok(values.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests;
