//! Matrix products of linear layers and of the output head.

use burn::tensor::{DType, FloatDType, Tensor};

#[cfg(feature = "flex")]
use crate::ops::flex;
use crate::ops::{CustomOp, apply};

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

/// `x·Wᵀ` of plain tensors in f32; the weight may be stored as bf16.
fn plain_projection(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::projection::project(&x, &weight) {
        return y;
    }
    match weight.dtype() {
        DType::BF16 => {
            let columns = tiles(weight).map(|(_, tile)| x.clone().matmul(tile.transpose()));
            Tensor::cat(columns.collect(), 1)
        }
        _ => x.matmul(weight.transpose()),
    }
}

/// Numbers of a bf16 weight of which an f32 copy exists at a time: 16 MiB.
const TILE: usize = 4 << 20;

/// Rows of a bf16 matrix as f32, tile by tile, with the index of the first.
fn tiles(weight: Tensor<2>) -> impl Iterator<Item = (usize, Tensor<2>)> {
    let [rows, width] = weight.dims();
    let size = (TILE / width.max(1)).max(1);
    (0..rows).step_by(size).map(move |start| {
        let tile = weight.clone().narrow(0, start, size.min(rows - start));
        (start, to_f32(tile))
    })
}

/// The tensor in f32, without a copy if it is f32.
pub(crate) fn to_f32(tensor: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(tensor) = flex::widened(&tensor) {
        return tensor;
    }
    rounded(tensor, FloatDType::F32)
}

/// `x·Wᵀ`. Backward: `∂x = G·W`, `∂W = Gᵀ·x`.
#[derive(Debug, Clone)]
struct Projection;

impl CustomOp<2, 2> for Projection {
    /// The inputs.
    type Saved = [Tensor<2>; 2];

    fn forward(&self, [x, weight]: [Tensor<2>; 2]) -> (Tensor<2>, Self::Saved) {
        (plain_projection(x.clone(), weight.clone()), [x, weight])
    }

    fn backward(
        &self,
        [x, weight]: Self::Saved,
        gradient: Tensor<2>,
        [grad_x, grad_weight]: [bool; 2],
    ) -> [Option<Tensor<2>>; 2] {
        let grad_weight = grad_weight.then(|| gradient.clone().transpose().matmul(x));
        [grad_x.then(|| gradient.matmul(weight)), grad_weight]
    }
}

/// `x·Wᵀ` with a frozen weight. The backward pass needs neither the input nor a rounded copy of the weight: `∂x = G·W`.
#[derive(Debug, Clone)]
struct FrozenProjection {
    weight: Tensor<2>,
    dtype: FloatDType,
}

impl CustomOp<1, 2> for FrozenProjection {
    type Saved = ();

    fn forward(&self, [x]: [Tensor<2>; 1]) -> (Tensor<2>, Self::Saved) {
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

/// `a·b`, computed in `dtype`: operands and result are rounded to it, and the result is returned as f32. `b` may be a weight stored
/// as bf16.
pub(crate) fn product(a: Tensor<2>, b: Tensor<2>, dtype: FloatDType) -> Tensor<2> {
    match dtype {
        FloatDType::F32 if b.dtype() == DType::BF16 => {
            let part = |(start, tile): (usize, Tensor<2>)| {
                let rows = tile.dims()[0];
                a.clone().narrow(1, start, rows).matmul(tile)
            };
            tiles(b).map(part).reduce(|sum, part| sum + part).expect("a weight has rows")
        }
        FloatDType::F32 => a.matmul(b),
        _ => rounded(a, dtype).matmul(rounded(b, dtype)).cast(FloatDType::F32),
    }
}

/// The tensor in `dtype`, without a copy if it has that dtype.
pub(crate) fn rounded(tensor: Tensor<2>, dtype: FloatDType) -> Tensor<2> {
    if tensor.dtype() == dtype.into() { tensor } else { tensor.cast(dtype) }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::ops::{assert_as_autodiff, some_numbers};

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
}
