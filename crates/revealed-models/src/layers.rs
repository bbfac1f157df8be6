//! The layers that every architecture is made of. Fields carry Hugging Face's names.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Int, Tensor, activation};

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
    /// What its products are computed in; weights, sums and results are f32.
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
    #[cfg(feature = "flex")]
    if dtype == FloatDType::F32
        && let Some(y) = crate::few_rows::project(&x, &weight)
    {
        return y;
    }
    product(x, weight.transpose(), dtype)
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
        let mean_square = x.clone().square().mean_dim(D - 1);
        let scale = mean_square.add_scalar(self.eps).sqrt().recip();
        x * scale * self.weight.val().unsqueeze::<D>()
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

/// `x · ½ · (1 + erf(x / √2))`, written out so that every backend differentiates it exactly.
pub(crate) fn gelu(x: Tensor<3>) -> Tensor<3> {
    let cdf = (x.clone().mul_scalar(std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0).mul_scalar(0.5);
    x * cdf
}

/// `silu(gate) · up`, the middle of a gated feed-forward layer.
pub(crate) fn swiglu(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    activation::silu(gate) * up
}
