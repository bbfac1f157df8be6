//! How the numbers of a weight matrix are stored: f32, or bf16 for a frozen base.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};
use half::bf16;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::layers::product::{project, to_f32};

/// The dtype in which a model's matrices are held in memory.
///
/// Norms, biases, adapters and heads of reward models are always f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightStorage {
    /// 4 bytes per number; can be trained.
    #[default]
    F32,
    /// 2 bytes per number, frozen. Numbers that are not bf16 already are rounded to nearest, ties to even.
    Bf16,
}

impl WeightStorage {
    /// Refuses a device that cannot hold this dtype.
    ///
    /// # Errors
    /// When the device does not support bf16.
    pub(crate) fn check(self, device: &Device) -> Result<(), ModelError> {
        match self == Self::F32 || device.supports_dtype(FloatDType::BF16) {
            true => Ok(()),
            false => Err(ModelError::WeightStorage { device: format!("{device:?}") }),
        }
    }

    /// The tensor `[out, in]` of these numbers, in this dtype.
    pub(crate) fn tensor(self, values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
        match self {
            Self::F32 => Tensor::from_data(TensorData::new(values, shape), device),
            Self::Bf16 => {
                let rounded: Vec<bf16> = values.into_iter().map(bf16::from_f32).collect();
                Tensor::from_data(TensorData::new(rounded, shape), (device, DType::BF16))
            }
        }
    }
}

/// A matrix `[out, in]` of a linear layer, an embedding or an output head.
#[derive(Module, Debug)]
pub enum Weight {
    /// f32, trained or frozen. A copy of a model for decoding may hold it in the dtype of the products.
    F32(Param<Tensor<2>>),
    /// bf16, frozen. Products read it as f32, block by block: no f32 copy of it is kept.
    Bf16(Param<Tensor<2>>),
}

impl Weight {
    /// What Burn's module visitors pass to `enter_module` for the variant: the storage is no part of a parameter's name.
    pub const CONTAINER_TYPE: &'static str = "Enum:Weight";

    pub(crate) fn new(param: Param<Tensor<2>>) -> Self {
        match param.val().dtype() {
            DType::BF16 => Self::Bf16(param),
            _ => Self::F32(param),
        }
    }

    /// `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        self.param().val().dims()
    }

    /// The dtype in memory.
    pub fn storage(&self) -> WeightStorage {
        match self {
            Self::F32(_) => WeightStorage::F32,
            Self::Bf16(_) => WeightStorage::Bf16,
        }
    }

    /// `x·Wᵀ`, computed in `dtype`. The same bits for [`Bf16`](Self::Bf16) as for an f32 weight of equal numbers, on flex.
    ///
    /// # Shapes
    /// - x: `[N, in]`, output: `[N, out]`, f32
    pub fn project(&self, x: Tensor<2>, dtype: FloatDType) -> Tensor<2> {
        project(x, self.tensor(), dtype)
    }

    /// Rows of the matrix by index, in f32.
    ///
    /// # Shapes
    /// - indices: `[N]`, output: `[N, in]`
    pub fn rows(&self, indices: Tensor<1, Int>) -> Tensor<2> {
        to_f32(self.tensor().select(0, indices))
    }

    /// The whole matrix in f32: the tensor itself, or a copy.
    pub fn dequantized(&self) -> Tensor<2> {
        match self {
            Self::F32(param) => param.val(),
            Self::Bf16(param) => to_f32(param.val()),
        }
    }

    /// The tensor, where it asks for gradients.
    pub(crate) fn trained(&self) -> Option<Tensor<2>> {
        Some(self.tensor()).filter(Tensor::is_require_grad)
    }

    /// The tensor as it is stored.
    pub(crate) fn tensor(&self) -> Tensor<2> {
        self.param().val()
    }

    /// The same matrix in another dtype. Under the same parameter id.
    pub(crate) fn stored_as(self, storage: WeightStorage) -> Self {
        match (self, storage) {
            (Self::F32(param), WeightStorage::Bf16) => {
                Self::Bf16(param.map(|weight| plain(weight).cast(FloatDType::BF16)))
            }
            (Self::Bf16(param), WeightStorage::F32) => Self::F32(param.map(to_f32)),
            (same, _) => same,
        }
    }

    /// The matrix in f32 after `change`.
    pub(crate) fn map_f32(self, change: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Self {
        let (Self::F32(param) | Self::Bf16(param)) = self.stored_as(WeightStorage::F32);
        Self::F32(param.map(change))
    }

    fn param(&self) -> &Param<Tensor<2>> {
        let (Self::F32(param) | Self::Bf16(param)) = self;
        param
    }
}

/// The tensor without gradient.
pub(crate) fn plain(tensor: Tensor<2>) -> Tensor<2> {
    if tensor.is_autodiff() { tensor.inner() } else { tensor }
}
