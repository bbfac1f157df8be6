//! Kernels for f32 tensors of Burn's flex backend without gradients. Other tensors, and machines without a fused multiply-add,
//! use Burn's operations.

pub(crate) mod projection;
pub(crate) mod rows;

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::bf16;
use rayon::prelude::*;

/// Numbers that one task converts to f32.
const PART: usize = 1 << 16;

/// Whether this machine has AVX-512; `None` without a fused multiply-add.
#[cfg(target_arch = "x86_64")]
fn machine() -> Option<bool> {
    let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
    fused.then_some(wide)
}

#[cfg(target_arch = "aarch64")]
fn machine() -> Option<bool> {
    // 32 registers of four numbers: as many as AVX2 has.
    Some(false)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn machine() -> Option<bool> {
    None
}

/// Whether these kernels support the tensor and the machine: f32 on flex, without gradients.
pub(crate) fn plain<const D: usize>(tensor: &Tensor<D>) -> bool {
    !tensor.is_autodiff()
        && tensor.dtype() == DType::F32
        && tensor.device() == Device::flex()
        && machine().is_some()
}

/// The same for a tensor of bf16.
pub(crate) fn plain_bf16<const D: usize>(tensor: &Tensor<D>) -> bool {
    !tensor.is_autodiff()
        && tensor.dtype() == DType::BF16
        && tensor.device() == Device::flex()
        && machine().is_some()
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("it was asked whether it is plain")
}

/// Its numbers in row-major order; `None` if they are not contiguous.
fn contents(tensor: &FlexTensor) -> Option<&[f32]> {
    let range = contiguous(tensor)?;
    tensor.storage::<f32>().get(range)
}

/// The same of a tensor of bf16.
fn contents_bf16(tensor: &FlexTensor) -> Option<&[bf16]> {
    let range = contiguous(tensor)?;
    tensor.storage::<bf16>().get(range)
}

fn contiguous(tensor: &FlexTensor) -> Option<Range<usize>> {
    let (start, length) = (tensor.layout().start_offset(), tensor.layout().num_elements());
    tensor.is_contiguous().then_some(start..start + length)
}

/// bf16 as f32, which is exact: bf16 is the upper half of an f32.
#[inline(always)]
fn widen(from: &[bf16], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f32::from_bits(u32::from(from.to_bits()) << 16);
    }
}

/// The f32 copy of a bf16 tensor on flex, converted on rayon's threads; `None` for other tensors.
pub(crate) fn widened(tensor: &Tensor<2>) -> Option<Tensor<2>> {
    if !plain_bf16(tensor) {
        return None;
    }
    let shape = tensor.dims();
    let tensor = primitive(tensor.clone());
    let from = contents_bf16(&tensor)?;
    let mut to = vec![0.0; from.len()];
    to.par_chunks_mut(PART).zip(from.par_chunks(PART)).for_each(|(to, from)| widen(from, to));
    let to = TensorData::new(to, shape);
    Some(Tensor::from_primitive::<Flex>(FlexTensor::from_data(to)))
}
