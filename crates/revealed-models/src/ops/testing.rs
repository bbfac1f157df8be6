//! Checks of custom operations against Burn's autodiff.

use burn::tensor::Tensor;

use super::apply::apply;
use super::custom_op::CustomOp;

/// Compares an operation as `apply` does it on flex with the same differentiated as it stands: results, and the gradients of all
/// inputs for a loss that weights every number otherwise, within `tolerance` of the largest.
pub(crate) fn assert_as_autodiff<O, const N: usize, const D: usize>(
    operation: &O,
    inputs: [Tensor<D>; N],
    tolerance: f32,
) where
    O: CustomOp<N, D>,
{
    let numbers = |tensor: Tensor<D>| tensor.into_data().iter::<f32>().collect::<Vec<f32>>();
    let run = |apply: &dyn Fn([Tensor<D>; N]) -> Tensor<D>| {
        let tracked = inputs.clone().map(|input| input.autodiff().require_grad());
        let y = apply(tracked.clone());
        let weights = (0..y.shape().num_elements()).map(|i| ((i * 7 % 11) as f32 - 4.0) / 3.0);
        let weights = burn::tensor::TensorData::new(weights.collect::<Vec<_>>(), y.shape());
        let weights = Tensor::<D>::from_data(weights, &y.device().without_autodiff());
        let gradients = (y.clone() * weights).sum().backward();
        let of_inputs = tracked.map(|input| numbers(input.grad(&gradients).unwrap()));
        (numbers(y.inner()), of_inputs)
    };
    let (y, found) = run(&|inputs| apply(operation, inputs));
    let (expected_y, expected) = run(&|inputs| operation.forward(inputs).0);
    let plain = numbers(apply(operation, inputs.clone()));
    let pairs = found.iter().zip(&expected).chain([(&y, &expected_y), (&plain, &expected_y)]);
    for (index, (found, expected)) in pairs.enumerate() {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let difference = (found - expected).abs();
            assert!(difference <= tolerance * largest, "{index}: {found} is not {expected}");
        }
    }
}

/// Numbers in (-1, 1) that differ from tensor to tensor.
pub(crate) fn some_numbers<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(burn::tensor::TensorData::new(values, shape), &burn::tensor::Device::flex())
}
