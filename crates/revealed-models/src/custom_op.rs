//! Operations with a backward pass of their own, which keep what its formula needs and nothing else.
//!
//! Where such a function is written in Burn's operations, autodiff keeps the result of each and takes each back in
//! a pass over memory.

#[cfg(any(feature = "flex", feature = "tch", feature = "cube"))]
mod record;

use std::fmt::Debug;

use burn::tensor::Tensor;

/// A function of `N` tensors of rank `D` to one of rank `D`.
pub(crate) trait CustomOp<const N: usize, const D: usize>:
    Clone + Debug + Send + 'static
{
    /// What the backward pass needs of the forward pass.
    type Kept: Clone + Debug + Send + 'static;

    /// The result. On a backend whose feature this crate lacks the inputs may be tracked, and it is
    /// differentiated as it stands.
    fn forward(&self, inputs: [Tensor<D>; N]) -> (Tensor<D>, Self::Kept);

    /// Gradients of the inputs, at least of those that are `needed`, from that of the result; all plain.
    fn backward(
        &self,
        kept: Self::Kept,
        gradient: Tensor<D>,
        needed: [bool; N],
    ) -> [Option<Tensor<D>>; N];
}

/// The operation's result; recorded for the backward pass where an input is tracked.
pub(crate) fn apply<O, const N: usize, const D: usize>(
    operation: &O,
    inputs: [Tensor<D>; N],
) -> Tensor<D>
where
    O: CustomOp<N, D>,
{
    #[cfg(any(feature = "flex", feature = "tch", feature = "cube"))]
    let inputs = match record::recorded(operation, inputs) {
        Ok(output) => return output,
        Err(inputs) => inputs,
    };
    operation.forward(inputs).0
}

/// Compares an operation as [`apply`] does it on flex with the same differentiated as it stands: results, and the gradients of all
/// inputs for a loss that weights every number otherwise, within `tolerance` of the largest.
#[cfg(all(test, feature = "flex"))]
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
#[cfg(all(test, feature = "flex"))]
pub(crate) fn some_numbers<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(burn::tensor::TensorData::new(values, shape), &burn::tensor::Device::flex())
}
