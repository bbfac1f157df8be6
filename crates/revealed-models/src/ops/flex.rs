//! Kernels for plain f32 tensors of Burn's flex backend. Other tensors, and machines without a fused multiply-add, are left to
//! Burn's own operations.

pub(crate) mod projection;
pub(crate) mod rows;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Tensor};

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

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("it was asked whether it is plain")
}

/// Its numbers in order, where they lie in order.
fn contents(tensor: &FlexTensor) -> Option<&[f32]> {
    let length = tensor.layout().num_elements();
    let start = tensor.layout().start_offset();
    match tensor.is_contiguous() {
        true => tensor.storage::<f32>().get(start..start + length),
        false => None,
    }
}
