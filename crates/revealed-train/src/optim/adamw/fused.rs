//! AdamW in one pass, for f32 tensors of the flex backend without autodiff.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Tensor};
use rayon::prelude::*;

/// Elements per chunk of a thread.
const CHUNK: usize = 1 << 14;

/// Whether these tensors are supported.
pub(super) fn supports<const D: usize>(tensors: [&Tensor<D>; 4]) -> bool {
    let plain = |tensor: &Tensor<D>| {
        !tensor.is_autodiff() && tensor.dtype() == DType::F32 && tensor.device() == Device::flex()
    };
    tensors.into_iter().all(plain)
}

/// Constants of a step, shared by all elements of a parameter.
pub(super) struct Step {
    pub lr: f32,
    /// Factor of the weights by weight decay.
    pub keep: f32,
    pub beta: [f32; 2],
    /// `1 − βᵗ`.
    pub corrections: [f32; 2],
    pub epsilon: f32,
}

impl Step {
    /// Weights and moments after the step. Memory is reused if it is not shared.
    pub(super) fn apply<const D: usize>(
        &self,
        weights: Tensor<D>,
        grad: Tensor<D>,
        moments: [Tensor<D>; 2],
    ) -> (Tensor<D>, [Tensor<D>; 2]) {
        let [m, v] = moments;
        let [mut w, g, mut m, mut v] = [weights, grad, m, v].map(flat);
        let chunks = contents_mut(&mut w)
            .par_chunks_mut(CHUNK)
            .zip(contents(&g).par_chunks(CHUNK))
            .zip(contents_mut(&mut m).par_chunks_mut(CHUNK))
            .zip(contents_mut(&mut v).par_chunks_mut(CHUNK));
        chunks.for_each(|(((w, g), m), v)| self.chunk(w, g, m, v));
        let [w, m, v] = [w, m, v].map(Tensor::from_primitive::<Flex>);
        (w, [m, v])
    }

    /// In Burn's order of operations, so that results are bit-identical.
    fn chunk(&self, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        let ([beta_1, beta_2], [correct_1, correct_2]) = (self.beta, self.corrections);
        let (new_1, new_2) = (1.0 - beta_1, 1.0 - beta_2);
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            *m = *m * beta_1 + g * new_1;
            *v = *v * beta_2 + g * g * new_2;
            let delta = (*m / correct_1) / ((*v / correct_2).sqrt() + self.epsilon);
            *w = *w * self.keep - delta * self.lr;
        }
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("checked by supports").to_contiguous()
}

fn contents(tensor: &FlexTensor) -> &[f32] {
    let start = tensor.layout().start_offset();
    &tensor.storage()[start..][..tensor.layout().num_elements()]
}

fn contents_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    let (start, length) = (tensor.layout().start_offset(), tensor.layout().num_elements());
    &mut tensor.storage_mut()[start..][..length]
}
