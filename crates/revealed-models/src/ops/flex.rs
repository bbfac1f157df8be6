//! Kernels for plain f32 tensors of Burn's flex backend. Other tensors, and machines without a fused multiply-add, are left to
//! Burn's own operations.

pub(crate) mod projection;
pub(crate) mod rows;

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::bf16;
use rayon::prelude::*;

/// Numbers that a thread converts to f32 at once.
const PART: usize = 1 << 16;

/// Whether this machine has registers of 512 bits; nothing where it has no fused multiply-add.
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

/// Whether the tensor is one that these kernels work on, on a machine that they work on.
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

/// Its numbers in order, where they lie in order.
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

/// The f32 copy of a plain bf16 tensor, converted on rayon; nothing for other tensors.
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
