//! Rotary position embeddings by position id, halves rotated (not interleaved), whole or partial.
//!
//! Source: RoFormer, <https://arxiv.org/abs/2104.09864>.

use std::borrow::Cow;

use burn::tensor::{Device, Tensor};

use crate::batching::batch::TokenBatch;
use crate::error::ModelError;
use crate::layers::frequencies;
#[cfg(feature = "flex")]
use crate::ops::flex;
use crate::ops::{CustomOp, apply};

/// How positions become angles.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// Rotated dimensions of a head; the others pass unchanged.
    pub dims: usize,
    /// One frequency for each pair of rotated dimensions, in radians a position.
    pub frequencies: Vec<f32>,
    /// A factor of all cosines and sines.
    pub scale: f32,
    /// The frequencies of long rows, where these are others.
    pub beyond: Option<Beyond>,
}

/// Frequencies of rows that are longer than a length.
#[derive(Debug, Clone, PartialEq)]
pub struct Beyond {
    /// The longest row, in tokens, that has [`Rotary::frequencies`].
    pub length: usize,
    /// What longer rows have.
    pub rule: LongRows,
}

/// What a row beyond a length has.
#[derive(Debug, Clone, PartialEq)]
pub enum LongRows {
    /// These frequencies, whatever its length (`longrope`).
    Fixed(Vec<f32>),
    /// Frequencies of a base that grows with its length (`dynamic`).
    Dynamic {
        /// The base of short rows.
        theta: f64,
        /// How fast it grows.
        factor: f64,
        /// Rotated dimensions.
        dims: usize,
    },
}

impl Rotary {
    /// The frequencies of a row of `length` tokens.
    ///
    /// All its tokens have the same ones, and no other row of a batch matters: what Transformers
    /// computes for a row that it is given alone.
    pub fn of_length(&self, length: usize) -> Cow<'_, [f32]> {
        match &self.beyond {
            Some(beyond) if length > beyond.length => match &beyond.rule {
                LongRows::Fixed(frequencies) => Cow::Borrowed(frequencies),
                LongRows::Dynamic { theta, factor, dims } => {
                    let rows = [length, beyond.length];
                    let theta = frequencies::dynamic_theta(*theta, *factor, *dims, rows);
                    Cow::Owned(frequencies::inverse(theta, *dims))
                }
            },
            _ => Cow::Borrowed(&self.frequencies),
        }
    }

    /// Whether a row of `length` tokens has other frequencies than short rows have.
    pub(crate) fn is_long(&self, length: usize) -> bool {
        self.beyond.as_ref().is_some_and(|beyond| length > beyond.length)
    }

    /// Refuses a row that would get other frequencies while it grows from `prompt` tokens by up to
    /// `new`: its first tokens would be drawn from another distribution than that of the whole row.
    pub(crate) fn check_growth(
        &self,
        row: usize,
        prompt: usize,
        new: usize,
    ) -> Result<(), ModelError> {
        let Some(Beyond { length, rule }) = &self.beyond else { return Ok(()) };
        let fixed = matches!(rule, LongRows::Fixed(_)) && prompt > *length;
        if fixed || prompt.saturating_add(new) <= *length {
            return Ok(());
        }
        let reason = format!(
            "its prompt has {prompt} tokens and {new} more are asked for; beyond {length} tokens this model's rope depends on the row's length, and tokens drawn on the way would not be those of the whole row; ask for fewer tokens, or use a shorter prompt"
        );
        Err(ModelError::Row { row, reason })
    }

    /// Cosines and sines of every position.
    ///
    /// # Shapes
    /// - output: two of `[B, 1, T, dims / 2]`
    pub(crate) fn angles(&self, batch: &TokenBatch) -> (Tensor<4>, Tensor<4>) {
        let [rows, time] = batch.shape();
        let device: Device = batch.position_ids.device();
        let pairs = self.frequencies.len();
        let frequencies = match batch.row_lengths.iter().any(|length| self.is_long(*length)) {
            false => Tensor::<1>::from_floats(self.frequencies.as_slice(), &device)
                .reshape([1, 1, 1, pairs]),
            true => {
                let of_rows =
                    batch.row_lengths.iter().flat_map(|n| self.of_length(*n).into_owned());
                let of_rows: Vec<f32> = of_rows.collect();
                Tensor::<1>::from_floats(of_rows.as_slice(), &device).reshape([rows, 1, 1, pairs])
            }
        };
        let positions = batch.position_ids.clone().float().reshape([rows, 1, time, 1]);
        let angles = positions * frequencies;
        let (cos, sin) = (angles.clone().cos(), angles.sin());
        match self.scale == 1.0 {
            true => (cos, sin),
            false => (cos.mul_scalar(self.scale), sin.mul_scalar(self.scale)),
        }
    }
}

/// Rotates the first `2 · pairs` dimensions of every head: `(a, b) → (a·cos − b·sin, b·cos + a·sin)`
/// where `a` and `b` are their first and second halves.
///
/// # Shapes
/// - x: `[B, H, T, D]`; cos, sin: `[B, 1, T, pairs]`
pub(crate) fn rotate(x: Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Tensor<4> {
    apply(&Rotation { cos: cos.clone(), sin: sin.clone() }, [x])
}

/// A rotation, whose gradient is the result's rotated back.
#[derive(Debug, Clone)]
struct Rotation {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl CustomOp<1, 4> for Rotation {
    type Saved = ();

    fn forward(&self, [x]: [Tensor<4>; 1]) -> (Tensor<4>, ()) {
        let (cos, sin) = (&self.cos, &self.sin);
        #[cfg(feature = "flex")]
        if [&x, cos, sin].into_iter().all(flex::plain) {
            return (flex::rows::rotate(x, cos.clone(), sin.clone()), ());
        }
        let width = x.dims()[3];
        let pairs = cos.dims()[3];
        let a = x.clone().narrow(3, 0, pairs);
        let b = x.clone().narrow(3, pairs, pairs);
        let first = a.clone() * cos.clone() - b.clone() * sin.clone();
        let second = b * cos.clone() + a * sin.clone();
        let mut parts = vec![first, second];
        if 2 * pairs < width {
            parts.push(x.narrow(3, 2 * pairs, width - 2 * pairs));
        }
        (Tensor::cat(parts, 3), ())
    }

    fn backward(&self, (): (), gradient: Tensor<4>, _: [bool; 1]) -> [Option<Tensor<4>>; 1] {
        let back = Self { cos: self.cos.clone(), sin: self.sin.clone().neg() };
        [Some(back.forward([gradient]).0)]
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::ops::{assert_as_autodiff, some_numbers};

    #[test]
    fn a_rotation_has_autodiff_s_gradient() {
        for (pairs, width) in [(4, 8), (3, 8), (17, 40)] {
            let angles = some_numbers([2, 1, 5, pairs], 1).mul_scalar(9.0);
            let rotation = Rotation { cos: angles.clone().cos(), sin: angles.sin() };
            assert_as_autodiff(&rotation, [some_numbers([2, 3, 5, width], 2)], 1e-6);
            // Heads that lie beside each other in memory, as a projection leaves them.
            let aside = some_numbers([2, 5, 3, width], 3).swap_dims(1, 2);
            assert_as_autodiff(&rotation, [aside], 1e-6);
        }
    }
}
