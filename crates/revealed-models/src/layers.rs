//! The layers that every architecture is made of. Fields carry Hugging Face's names.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Int, Tensor, activation};

use crate::custom_op::{CustomOp, apply};
#[cfg(feature = "flex")]
use crate::flex;
use crate::lora::LoraWeights;

/// `y = x·Wᵀ + b`, plus `s·(x·A)·B` where an adapter is attached.
///
/// The weight keeps PyTorch's layout `[out, in]`. A frozen weight lives on the plain device, so no
/// gradient of its size is ever formed.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The adapter, if one is attached.
    pub lora: Option<LoraWeights>,
    /// The layer's name in the folder, such as `model.layers.0.self_attn.q_proj`.
    #[module(skip)]
    pub name: String,
    /// What its products are computed in, operands and results rounded to it; what is stored and given on is f32.
    #[module(skip)]
    pub compute_dtype: FloatDType,
}

impl Linear {
    /// Applies the layer to the last dimension.
    ///
    /// # Shapes
    /// - x: `[B, T, in]`, output: `[B, T, out]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, time, width] = x.dims();
        let x = x.reshape([batch * time, width]);
        let mut y = project(x.clone(), self.weight.val(), self.compute_dtype);
        if let Some(lora) = &self.lora {
            y = y + lora.forward(x, self.compute_dtype);
        }
        if let Some(bias) = &self.bias {
            y = y + bias.val().unsqueeze::<2>();
        }
        let out = y.dims()[1];
        y.reshape([batch, time, out])
    }
}

/// `x·Wᵀ`, computed in `dtype`.
///
/// # Shapes
/// - x: `[N, in]`, weight: `[out, in]`, output: `[N, out]`, f32
pub(crate) fn project(x: Tensor<2>, weight: Tensor<2>, dtype: FloatDType) -> Tensor<2> {
    match dtype {
        _ if !weight.is_autodiff() => apply(&FrozenProjection { weight, dtype }, [x]),
        FloatDType::F32 => apply(&Projection, [x, weight]),
        _ => product(x, weight.transpose(), dtype),
    }
}

/// `x·Wᵀ` of plain tensors in f32.
fn plain_projection(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::projection::project(&x, &weight) {
        return y;
    }
    x.matmul(weight.transpose())
}

/// `x·Wᵀ`. Backward: `∂x = G·W`, `∂W = Gᵀ·x`.
#[derive(Debug, Clone)]
struct Projection;

impl CustomOp<2, 2> for Projection {
    /// The inputs.
    type Kept = [Tensor<2>; 2];

    fn forward(&self, [x, weight]: [Tensor<2>; 2]) -> (Tensor<2>, Self::Kept) {
        (plain_projection(x.clone(), weight.clone()), [x, weight])
    }

    fn backward(
        &self,
        [x, weight]: Self::Kept,
        gradient: Tensor<2>,
        [of_x, of_weight]: [bool; 2],
    ) -> [Option<Tensor<2>>; 2] {
        let of_weight = of_weight.then(|| gradient.clone().transpose().matmul(x));
        [of_x.then(|| gradient.matmul(weight)), of_weight]
    }
}

/// `x·Wᵀ` with a frozen weight, which keeps no input for the backward pass, nor the weight as rounded: `∂x = G·W`.
#[derive(Debug, Clone)]
struct FrozenProjection {
    weight: Tensor<2>,
    dtype: FloatDType,
}

impl CustomOp<1, 2> for FrozenProjection {
    type Kept = ();

    fn forward(&self, [x]: [Tensor<2>; 1]) -> (Tensor<2>, Self::Kept) {
        let weight = self.weight.clone();
        let y = match self.dtype {
            FloatDType::F32 => plain_projection(x, weight),
            dtype => product(x, weight.transpose(), dtype),
        };
        (y, ())
    }

    fn backward(&self, (): (), gradient: Tensor<2>, _: [bool; 1]) -> [Option<Tensor<2>>; 1] {
        [Some(product(gradient, self.weight.clone(), self.dtype))]
    }
}

/// `a·b`, computed in `dtype`: operands are rounded to it, and so is the result, which comes back as f32.
pub(crate) fn product(a: Tensor<2>, b: Tensor<2>, dtype: FloatDType) -> Tensor<2> {
    match dtype {
        FloatDType::F32 => a.matmul(b),
        _ => rounded(a, dtype).matmul(rounded(b, dtype)).cast(FloatDType::F32),
    }
}

/// The tensor in `dtype`; itself where it is so already.
pub(crate) fn rounded(tensor: Tensor<2>, dtype: FloatDType) -> Tensor<2> {
    if tensor.dtype() == dtype.into() { tensor } else { tensor.cast(dtype) }
}

/// Rows of a table by token id.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[V, D]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// # Shapes
    /// - ids: `[B, T]`, output: `[B, T, D]`
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, time] = ids.dims();
        let rows = self.weight.val().select(0, ids.reshape([batch * time]));
        let width = rows.dims()[1];
        rows.reshape([batch, time, width])
    }
}

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
        let shape = x.shape();
        let width = shape[D - 1];
        let rows = x.reshape([shape.num_elements() / width.max(1), width]);
        let weight = self.weight.val().unsqueeze::<2>();
        apply(&Rms { eps: self.eps }, [rows, weight]).reshape(shape)
    }
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
    type Kept = [Tensor<2>; 2];

    fn forward(&self, [x, weight]: [Tensor<2>; 2]) -> (Tensor<2>, Self::Kept) {
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
        [x, weight]: Self::Kept,
        gradient: Tensor<2>,
        [_, weighted]: [bool; 2],
    ) -> [Option<Tensor<2>>; 2] {
        #[cfg(feature = "flex")]
        if !weighted && self.has_kernel(&x, &weight) && flex::plain(&gradient) {
            return [Some(flex::rows::rms_backward(x, weight, gradient, self.eps)), None];
        }
        let scale = self.scale(&x);
        let normal = x * scale.clone();
        let of_weight = weighted.then(|| (gradient.clone() * normal.clone()).sum_dim(0));
        let gradient = gradient * weight;
        let mean = (gradient.clone() * normal.clone()).mean_dim(1);
        [Some((gradient - normal * mean) * scale), of_weight]
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
    type Kept = Tensor<3>;

    fn forward(&self, [x]: [Tensor<3>; 1]) -> (Tensor<3>, Self::Kept) {
        (x.clone() * Self::cdf(x.clone()), x)
    }

    fn backward(&self, x: Self::Kept, gradient: Tensor<3>, _: [bool; 1]) -> [Option<Tensor<3>>; 1] {
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
    type Kept = [Tensor<3>; 2];

    fn forward(&self, [gate, up]: [Tensor<3>; 2]) -> (Tensor<3>, Self::Kept) {
        let kept = [gate.clone(), up.clone()];
        #[cfg(feature = "flex")]
        if gate.dims() == up.dims() && flex::plain(&gate) && flex::plain(&up) {
            return (flex::rows::swiglu(gate, up), kept);
        }
        (activation::silu(gate) * up, kept)
    }

    fn backward(
        &self,
        [gate, up]: Self::Kept,
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
    use crate::custom_op::{assert_as_autodiff, some_numbers};

    #[test]
    fn norms_and_activations_have_autodiff_s_gradients() {
        // Rows shorter and longer than a register, and more numbers than a thread takes at once.
        for width in [1, 3, 16, 41, 600] {
            let x = || some_numbers([70, width], 1).mul_scalar(5.0);
            // In a row of one number nearly all of the gradient cancels, and with it its digits.
            assert_as_autodiff(&Rms { eps: 1e-5 }, [x(), some_numbers([1, width], 2)], 1e-4);
            let values = |seed| some_numbers([2, 35, width], seed).mul_scalar(6.0);
            assert_as_autodiff(&SwiGlu, [values(3), values(4)], 1e-5);
            assert_as_autodiff(&Gelu, [values(5)], 1e-5);
        }
    }

    #[test]
    fn projections_have_autodiff_s_gradients() {
        // Fewer and more rows than go through at once, matrices too small for that and large enough.
        for [rows, width, out] in [[3, 5, 7], [140, 40, 200], [150, 130, 140], [70, 2100, 131]] {
            let x = || some_numbers([rows, width], 1);
            let weight = some_numbers([out, width], 2);
            assert_as_autodiff(&Projection, [x(), weight.clone()], 1e-5);
            let frozen = |dtype| FrozenProjection { weight: weight.clone(), dtype };
            assert_as_autodiff(&frozen(FloatDType::F32), [x()], 1e-5);
            assert_as_autodiff(&frozen(FloatDType::BF16), [x()], 1e-5);
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
