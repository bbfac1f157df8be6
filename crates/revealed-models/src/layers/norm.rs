//! RMS norm and layer norm over the last dimension.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::ops::flex;
use crate::ops::{CustomOp, apply};

/// `x / sqrt(mean(x²) + ε) · w` over the last dimension.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[D]`.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub eps: f64,
}

impl RmsNorm {
    /// Normalises the last dimension, of any rank.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        rms_norm(x, self.weight.val(), self.eps)
    }
}

/// `x / sqrt(mean(x²) + ε) · w` over the last dimension, with `w` `[D]`.
pub(crate) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let shape = x.shape();
    let width = shape[D - 1];
    let rows = x.reshape([shape.num_elements() / width.max(1), width]);
    apply(&Rms { eps }, [rows, weight.unsqueeze::<2>()]).reshape(shape)
}

/// `y = x·r·w` with `r = 1 / sqrt(mean(x²) + ε)`, `x` `[N, D]` and `w` `[1, D]`.
///
/// Backward, with `g = G·w`: `∂x = r·(g − x·r²·mean(g·x))`, `∂w = Σ_rows G·x·r`.
#[derive(Debug, Clone)]
struct Rms {
    eps: f64,
}

impl Rms {
    #[cfg(feature = "flex")]
    fn has_kernel(&self, x: &Tensor<2>, weight: &Tensor<2>) -> bool {
        x.dims()[1] == weight.dims()[1] && flex::plain(x) && flex::plain(weight)
    }

    /// `r`, `[N, 1]`.
    fn scale(&self, x: &Tensor<2>) -> Tensor<2> {
        x.clone().square().mean_dim(1).add_scalar(self.eps).sqrt().recip()
    }
}

impl CustomOp<2, 2> for Rms {
    /// The inputs.
    type Saved = [Tensor<2>; 2];

    fn forward(&self, [x, weight]: [Tensor<2>; 2]) -> (Tensor<2>, Self::Saved) {
        let kept = [x.clone(), weight.clone()];
        #[cfg(feature = "flex")]
        if self.has_kernel(&x, &weight) {
            return (flex::rows::rms(x, weight, self.eps), kept);
        }
        let scale = self.scale(&x);
        (x * scale * weight, kept)
    }

    fn backward(
        &self,
        [x, weight]: Self::Saved,
        gradient: Tensor<2>,
        [_, weighted]: [bool; 2],
    ) -> [Option<Tensor<2>>; 2] {
        #[cfg(feature = "flex")]
        if !weighted && self.has_kernel(&x, &weight) && flex::plain(&gradient) {
            return [Some(flex::rows::rms_backward(x, weight, gradient, self.eps)), None];
        }
        let scale = self.scale(&x);
        let normal = x * scale.clone();
        let grad_weight = weighted.then(|| (gradient.clone() * normal.clone()).sum_dim(0));
        let gradient = gradient * weight;
        let mean = (gradient.clone() * normal.clone()).mean_dim(1);
        [Some((gradient - normal * mean) * scale), grad_weight]
    }
}

/// `(x − mean) / sqrt(var + ε) · w + b` over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[D]`.
    pub weight: Param<Tensor<1>>,
    /// `[D]`.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// Normalises the last dimension.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let centred = x.clone() - x.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let scale = variance.add_scalar(self.eps).sqrt().recip();
        centred * scale * self.weight.val().unsqueeze::<3>() + self.bias.val().unsqueeze::<3>()
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::ops::{assert_as_autodiff, some_numbers};

    #[test]
    fn norms_have_autodiff_s_gradients() {
        // Rows shorter and longer than a register, and more numbers than a thread takes at once.
        for width in [1, 3, 16, 41, 600] {
            let x = || some_numbers([70, width], 1).mul_scalar(5.0);
            // In a row of one number nearly all of the gradient cancels, and with it its digits.
            assert_as_autodiff(&Rms { eps: 1e-5 }, [x(), some_numbers([1, width], 2)], 1e-4);
        }
    }

    #[test]
    fn a_frozen_norm_passes_the_gradient_on() {
        let norm = |weight: Tensor<1>| RmsNorm { weight: Param::from_tensor(weight), eps: 1e-6 };
        let weight = some_numbers([24], 1);
        let x = some_numbers([2, 5, 24], 2).autodiff().require_grad();
        let gradient = |norm: RmsNorm| {
            let loss = norm.forward(x.clone()).square().sum();
            x.grad(&loss.backward()).unwrap().into_data()
        };
        let frozen = gradient(norm(weight.clone()));
        let trained = gradient(norm(weight.autodiff().require_grad()));
        frozen.assert_approx_eq::<f32>(&trained, burn::tensor::Tolerance::absolute(1e-5));
    }
}
