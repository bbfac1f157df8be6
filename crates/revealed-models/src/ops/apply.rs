//! Applies a custom operation, with its own backward pass where an input is tracked.

use burn::tensor::Tensor;

use super::custom_op::CustomOp;
#[cfg(any(feature = "flex", feature = "tch", feature = "cube"))]
use super::graph;

/// The operation's result; recorded for the backward pass where an input is tracked.
pub(crate) fn apply<O, const N: usize, const D: usize>(
    operation: &O,
    inputs: [Tensor<D>; N],
) -> Tensor<D>
where
    O: CustomOp<N, D>,
{
    #[cfg(any(feature = "flex", feature = "tch", feature = "cube"))]
    let inputs = match graph::recorded(operation, inputs) {
        Ok(output) => return output,
        Err(inputs) => inputs,
    };
    operation.forward(inputs).0
}
