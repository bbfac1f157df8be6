//! Linear layers with a LoRA adapter, and the matrix products they are made of.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};

use super::lora::LoraWeights;
use super::weight::Weight;

/// `y = x·Wᵀ + b`, plus `s·(x·A)·B` where an adapter is attached.
///
/// The weight keeps PyTorch's layout `[out, in]`. A frozen weight lives on the plain device, so no
/// gradient of its size is ever formed.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Weight,
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
        let mut y = self.weight.project(x.clone(), self.compute_dtype);
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
