//! Activations of feed-forward layers with their backward passes.

use burn::tensor::{Tensor, activation};

#[cfg(feature = "flex")]
use crate::ops::flex;
use crate::ops::{CustomOp, apply};

/// `x·Φ(x)` with `Φ(x) = ½·(1 + erf(x / √2))`.
pub(crate) fn gelu(x: Tensor<3>) -> Tensor<3> {
    apply(&Gelu, [x])
}

/// Written out so that every backend differentiates it exactly: `∂x = G·(Φ(x) + x·φ(x))`, `φ(x) = exp(−x²/2) / √(2π)`.
#[derive(Debug, Clone)]
struct Gelu;

impl Gelu {
    fn cdf(x: Tensor<3>) -> Tensor<3> {
        (x.mul_scalar(std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0).mul_scalar(0.5)
    }
}

impl CustomOp<1, 3> for Gelu {
    type Saved = Tensor<3>;

    fn forward(&self, [x]: [Tensor<3>; 1]) -> (Tensor<3>, Self::Saved) {
        (x.clone() * Self::cdf(x.clone()), x)
    }

    fn backward(
        &self,
        x: Self::Saved,
        gradient: Tensor<3>,
        _: [bool; 1],
    ) -> [Option<Tensor<3>>; 1] {
        let density =
            (x.clone().square() * -0.5).exp().mul_scalar(1.0 / std::f64::consts::TAU.sqrt());
        [Some(gradient * (Self::cdf(x.clone()) + x * density))]
    }
}

/// `silu(gate) · up`, the middle of a gated feed-forward layer.
pub(crate) fn swiglu(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    apply(&SwiGlu, [gate, up])
}

/// `a·σ(a)·b`. Backward: `∂a = G·b·σ·(1 + a·(1 − σ))`, `∂b = G·a·σ`.
#[derive(Debug, Clone)]
struct SwiGlu;

impl CustomOp<2, 3> for SwiGlu {
    type Saved = [Tensor<3>; 2];

    fn forward(&self, [gate, up]: [Tensor<3>; 2]) -> (Tensor<3>, Self::Saved) {
        let kept = [gate.clone(), up.clone()];
        #[cfg(feature = "flex")]
        if gate.dims() == up.dims() && flex::plain(&gate) && flex::plain(&up) {
            return (flex::rows::swiglu(gate, up), kept);
        }
        (activation::silu(gate) * up, kept)
    }

    fn backward(
        &self,
        [gate, up]: Self::Saved,
        gradient: Tensor<3>,
        _: [bool; 2],
    ) -> [Option<Tensor<3>>; 2] {
        #[cfg(feature = "flex")]
        if gate.dims() == up.dims() && [&gate, &up, &gradient].into_iter().all(flex::plain) {
            return flex::rows::swiglu_backward(gate, up, gradient).map(Some);
        }
        let sigmoid = activation::sigmoid(gate.clone());
        let silu = gate.clone() * sigmoid.clone();
        let slope = sigmoid.clone() + silu.clone() - silu.clone() * sigmoid;
        [Some(gradient.clone() * up * slope), Some(gradient * silu)]
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::ops::{assert_as_autodiff, some_numbers};

    #[test]
    fn activations_have_autodiff_s_gradients() {
        for width in [1, 3, 16, 41, 600] {
            let values = |seed| some_numbers([2, 35, width], seed).mul_scalar(6.0);
            assert_as_autodiff(&SwiGlu, [values(3), values(4)], 1e-5);
            assert_as_autodiff(&Gelu, [values(5)], 1e-5);
        }
    }
}
