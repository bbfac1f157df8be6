//! Operations with a backward pass of their own, which keep what its formula needs and nothing else.
//!
//! Where such a function is written in Burn's operations, autodiff keeps the result of each and takes each back in
//! a pass over memory.

use std::fmt::Debug;

use burn::tensor::Tensor;

/// A function of `N` tensors of rank `D` to one of rank `D`.
pub(crate) trait CustomOp<const N: usize, const D: usize>:
    Clone + Debug + Send + 'static
{
    /// What the backward pass needs of the forward pass.
    type Saved: Clone + Debug + Send + 'static;

    /// The result. On a backend whose feature this crate lacks the inputs may be tracked, and it is
    /// differentiated as it stands.
    fn forward(&self, inputs: [Tensor<D>; N]) -> (Tensor<D>, Self::Saved);

    /// Gradients of the inputs, at least of those that are `needed`, from that of the result; all plain.
    fn backward(
        &self,
        kept: Self::Saved,
        gradient: Tensor<D>,
        needed: [bool; N],
    ) -> [Option<Tensor<D>>; N];
}
