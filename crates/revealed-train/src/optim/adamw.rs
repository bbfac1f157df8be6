//! AdamW: Burn's implementation, and on the flex backend the same arithmetic in one pass per parameter, on all cores.
//!
//! Burn makes a dozen passes over memory, each on one core: a fifth of the time of a step when all weights are trained.

use burn::optim::{AdamWConfig, AdamWState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use crate::recipe::OptimizerConfig;

#[cfg(feature = "flex")]
mod fused;

/// Decay of the first moment, PyTorch's default.
const BETA_1: f32 = 0.9;

/// Decay of the second moment, PyTorch's default.
const BETA_2: f32 = 0.999;

/// AdamW with decoupled weight decay (arXiv 1711.05101); state and results are bit-identical to Burn's.
#[derive(Clone)]
pub(crate) struct AdamW {
    general: burn::optim::AdamW,
    #[cfg(feature = "flex")]
    epsilon: f32,
    #[cfg(feature = "flex")]
    weight_decay: f32,
}

impl AdamW {
    pub(crate) fn new(config: &OptimizerConfig) -> Self {
        let (epsilon, weight_decay) = (config.adam_epsilon as f32, config.weight_decay as f32);
        let general = AdamWConfig::new()
            .with_beta_1(BETA_1)
            .with_beta_2(BETA_2)
            .with_epsilon(epsilon)
            .with_weight_decay(weight_decay);
        Self {
            general: general.build(),
            #[cfg(feature = "flex")]
            epsilon,
            #[cfg(feature = "flex")]
            weight_decay,
        }
    }
}

#[cfg(feature = "flex")]
impl AdamW {
    fn fused<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        mut state: AdamWState<D>,
    ) -> (Tensor<D>, AdamWState<D>) {
        state.momentum.time += 1;
        let time = state.momentum.time as i32;
        let step = fused::Step {
            lr: lr as f32,
            keep: (1.0 - lr * f64::from(self.weight_decay)) as f32,
            beta: [BETA_1, BETA_2],
            corrections: [1.0 - BETA_1.powi(time), 1.0 - BETA_2.powi(time)],
            epsilon: self.epsilon,
        };
        let moments = [state.momentum.moment_1, state.momentum.moment_2];
        let (tensor, [moment_1, moment_2]) = step.apply(tensor, grad, moments);
        (state.momentum.moment_1, state.momentum.moment_2) = (moment_1, moment_2);
        (tensor, state)
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        #[cfg(feature = "flex")]
        let state = match state {
            Some(state)
                if fused::supports([
                    &tensor,
                    &grad,
                    &state.momentum.moment_1,
                    &state.momentum.moment_2,
                ]) =>
            {
                let (tensor, state) = self.fused(lr, tensor, grad, state);
                return (tensor, Some(state));
            }
            other => other,
        };
        self.general.step(lr, tensor, grad, state)
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        burn::optim::AdamW::to_device(state, device)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;

    fn tensor(values: &[f32], transposed: bool) -> Tensor<2> {
        let rows = values.len() / 2;
        let whole =
            |shape| Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex());
        if transposed { whole([2, rows]).transpose() } else { whole([rows, 2]) }
    }

    fn bits(tensor: &Tensor<2>) -> Vec<u32> {
        tensor.to_data().iter::<f32>().map(f32::to_bits).collect()
    }

    proptest! {
        /// Also with transposed moments or gradients, shared weights and zero gradients.
        #[test]
        fn results_are_bit_identical_to_burn_s(
            numbers in prop::collection::vec((-3.0f32..3.0, -1.0f32..1.0, 1e-9f32..1e9), 2..40),
            (lr, decay, epsilon) in (1e-7f64..1.0, 0.0f64..0.5, 1e-12f64..1e-2),
            transposed: bool, shared: bool, decayed: bool,
        ) {
            let numbers = &numbers[..numbers.len() / 2 * 2];
            let config = OptimizerConfig {
                adam_epsilon: epsilon,
                weight_decay: if decayed { decay } else { 0.0 },
                ..OptimizerConfig::default()
            };
            let adam = AdamW::new(&config);
            let weights: Vec<f32> = numbers.iter().map(|n| n.0).collect();
            let (mut fused, mut general) = (tensor(&weights, false), tensor(&weights, false));
            let held = shared.then(|| fused.clone());
            let (mut fused_state, mut general_state) = (None, None);
            for step in 0..4 {
                let grad: Vec<f32> =
                    numbers.iter().map(|n| if step == 2 { 0.0 } else { n.1 * n.2 * (step as f32 - 1.5) }).collect();
                let grad = || tensor(&grad, transposed && step % 2 == 0);
                (fused, fused_state) = adam.step(lr, fused, grad(), fused_state);
                (general, general_state) = adam.general.step(lr, general, grad(), general_state);
                prop_assert_eq!(bits(&fused), bits(&general));
            }
            let (a, b) = (fused_state.unwrap().momentum, general_state.unwrap().momentum);
            prop_assert_eq!(a.time, b.time);
            prop_assert_eq!(bits(&a.moment_1), bits(&b.moment_1));
            prop_assert_eq!(bits(&a.moment_2), bits(&b.moment_2));
            if let Some(held) = held {
                prop_assert_eq!(bits(&held), bits(&tensor(&weights, false)));
            }
        }
    }
}
