//! The two factors of a LoRA adapter on one linear layer.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};

use super::product::project;

/// The two factors beside one linear layer, trained in its stead.
#[derive(Module, Debug)]
pub struct LoraWeights {
    /// `[r, in]`, PEFT's `lora_A.weight`.
    pub a: Param<Tensor<2>>,
    /// `[out, r]`, PEFT's `lora_B.weight`.
    pub b: Param<Tensor<2>>,
    /// `s`.
    pub scale: f64,
}

impl LoraWeights {
    /// `s·(x·Aᵀ)·Bᵀ`, the products computed in `dtype`.
    ///
    /// # Shapes
    /// - x: `[N, in]`, output: `[N, out]`
    pub fn forward(&self, x: Tensor<2>, dtype: FloatDType) -> Tensor<2> {
        project(project(x, self.a.val(), dtype).mul_scalar(self.scale), self.b.val(), dtype)
    }

    /// `s·B·A`, what the adapter adds to the weight `[out, in]`.
    pub(crate) fn delta(&self) -> Tensor<2> {
        self.b.val().matmul(self.a.val()).mul_scalar(self.scale)
    }
}
