//! Reductions: the one place where per-token numbers become per-sequence or per-batch numbers.
//!
//! Every function names its denominator. All sums run in f32.

use burn::tensor::{Bool, DType, Tensor};

/// Added to the variance before its square root in [`whiten`] (TRL 0.24 `core.masked_whiten`).
const WHITEN_EPSILON: f64 = 1e-8;

/// What [`whiten`] does with the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeanShift {
    /// Subtract it: the result has mean 0 (advantages).
    Remove,
    /// Put it back after scaling: only the spread changes (rewards).
    Keep,
}

/// The sum of the kept values.
///
/// `Σ_{b,t} m_bt x_bt`
///
/// # Shapes
/// - `values`, `mask`: `[B,T]`
/// - output: `[1]`
///
/// # Panics
/// When the shapes differ.
pub fn masked_sum(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<1> {
    keep(values, mask).sum()
}

/// The mean of the kept values of this tensor; 0 when none is kept.
///
/// `Σ m x / Σ m`. The denominator is this tensor's own count: under gradient accumulation use
/// [`token_mean`].
///
/// # Shapes
/// - `values`, `mask`: `[B,T]`
/// - output: `[1]`
///
/// # Panics
/// When the shapes differ.
pub fn masked_mean(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<1> {
    let count = indicator(mask.clone()).sum().clamp_min(1.0);
    masked_sum(values, mask) / count
}

/// The sum of the kept values over the token count of the whole batch.
///
/// `Σ m x / tokens`. With `tokens` counted over all micro-batches of an optimizer step, the sum of
/// the micro-batches' results, and of their gradients, is that of the one large batch; long and
/// short completions weigh by their tokens.
///
/// # Shapes
/// - `values`, `mask`: `[B,T]`, a micro-batch; `tokens`: kept tokens of the whole batch, positive
/// - output: `[1]`
///
/// # Panics
/// When the shapes differ or `tokens` is not positive.
pub fn token_mean(values: Tensor<2>, mask: Tensor<2, Bool>, tokens: f64) -> Tensor<1> {
    assert!(tokens > 0.0, "a token mean needs a positive token count, got {tokens}");
    masked_sum(values, mask) / tokens
}

/// Each sequence's sum of kept values; 0 for a row that keeps none.
///
/// `Σ_t m_bt x_bt`. Of log-probs this is the sequence's log-likelihood.
///
/// # Shapes
/// - `values`, `mask`: `[B,T]`
/// - output: `[B]`
///
/// # Panics
/// When the shapes differ.
pub fn sequence_sum(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<1> {
    keep(values, mask).sum_dim(1).squeeze_dim(1)
}

/// Each sequence's mean of kept values; 0 for a row that keeps none.
///
/// `Σ_t m_bt x_bt / Σ_t m_bt`
///
/// # Shapes
/// - `values`, `mask`: `[B,T]`
/// - output: `[B]`
///
/// # Panics
/// When the shapes differ.
pub fn sequence_mean(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<1> {
    let count = indicator(mask.clone()).sum_dim(1).squeeze_dim::<1>(1).clamp_min(1.0);
    sequence_sum(values, mask) / count
}

/// The kept values scaled to unit variance, 0 where masked.
///
/// `y = (x − μ) / sqrt(σ² + 1e-8)`, plus `μ` for [`MeanShift::Keep`]; `μ` and `σ²` over the kept
/// values of the whole tensor, `σ²` with Bessel's correction. A single kept value has variance 0.
///
/// # Shapes
/// - `values`, `mask`: `[B,T]`
/// - output: `[B,T]`
///
/// # Panics
/// When the shapes differ.
///
/// Source: `masked_whiten` of TRL 0.24, which fails on a single value and leaves masked positions
/// filled.
pub fn whiten(values: Tensor<2>, mask: Tensor<2, Bool>, shift_mean: MeanShift) -> Tensor<2> {
    let mean = masked_mean(values.clone(), mask.clone()).unsqueeze::<2>();
    let centred = keep(values - mean.clone(), mask.clone());
    let degrees = indicator(mask.clone()).sum().sub_scalar(1.0).clamp_min(1.0);
    let variance = centred.clone().square().sum() / degrees;
    let deviation = variance.add_scalar(WHITEN_EPSILON).sqrt().unsqueeze::<2>();
    let whitened = centred / deviation;
    match shift_mean {
        MeanShift::Remove => whitened,
        MeanShift::Keep => keep(whitened + mean, mask),
    }
}

/// The weighted mean of per-item values; 0 when all weights are 0.
///
/// `Σ w x / Σ w`
///
/// # Shapes
/// - `values`, `weights`: `[N]`, weights at least 0
/// - output: `[1]`
///
/// # Panics
/// When the shapes differ.
pub fn weighted_mean(values: Tensor<1>, weights: Tensor<1>) -> Tensor<1> {
    assert_eq!(weights.dims(), values.dims(), "weights and values differ in shape");
    let weights = weights.cast(DType::F32);
    let total = weights.clone().sum().clamp_min(f32::MIN_POSITIVE);
    (values.cast(DType::F32) * weights).sum() / total
}

/// The weighted sum of per-item values over the total weight of the whole batch.
///
/// `Σ w x / total`. With `total` summed over all micro-batches of an optimizer step, or over a
/// whole pool for weights whose mean is 1, the micro-batches' results and gradients add up to those
/// of the one large batch; [`weighted_mean`] divides by its own weights only.
///
/// # Shapes
/// - `losses`, `weights`: `[N]`, a micro-batch; `total`: the weights of the whole batch, positive
/// - output: `[1]`
///
/// # Panics
/// When the shapes differ or `total` is not positive.
pub fn weighted_sum(losses: Tensor<1>, weights: Tensor<1>, total: f64) -> Tensor<1> {
    assert_eq!(weights.dims(), losses.dims(), "weights and losses differ in shape");
    assert!(total > 0.0, "a weighted sum needs a positive total weight, got {total}");
    (losses.cast(DType::F32) * weights.cast(DType::F32)).sum() / total
}

/// The values in f32, exactly 0 where masked (a product with 0 would let a NaN through).
pub(crate) fn keep(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<2> {
    assert_eq!(mask.dims(), values.dims(), "mask and values differ in shape");
    values.cast(DType::F32).mask_fill(mask.bool_not(), 0.0)
}

/// 1 where kept, 0 where masked, in f32.
pub(crate) fn indicator(mask: Tensor<2, Bool>) -> Tensor<2> {
    mask.float().cast(DType::F32)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::golden::{Case, gradient, numbers};

    type Reduction<const D: usize> = fn(Tensor<2>, Tensor<2, Bool>) -> Tensor<D>;

    fn matches_pytorch<const D: usize>(name: &'static str, reduction: Reduction<D>) {
        let case = Case::load(name);
        let values = case.tracked("values");
        let gradients = case.backward(reduction(values.clone(), case.mask()));
        case.matches_gradient(&gradients, "values", &values);
    }

    #[test]
    fn masked_reductions_and_their_gradients_equal_pytorch() {
        matches_pytorch("masked_sum", masked_sum);
        matches_pytorch("masked_mean", masked_mean);
        matches_pytorch("token_mean", |values, mask| token_mean(values, mask, 23.0));
        matches_pytorch("sequence_sum", sequence_sum);
        matches_pytorch("sequence_mean", sequence_mean);
    }

    #[test]
    fn whitening_equals_trl() {
        matches_pytorch("whiten_remove", |values, mask| whiten(values, mask, MeanShift::Remove));
        matches_pytorch("whiten_keep", |values, mask| whiten(values, mask, MeanShift::Keep));
    }

    #[test]
    fn weighted_mean_equals_the_ratio_of_sums() {
        let case = Case::load("weighted_mean");
        let values = case.tracked::<1>("values");
        let output = weighted_mean(values.clone(), case.constant("weights"));
        case.matches(output, &[("values", &values)]);
        let zeros = Tensor::<1>::zeros([6], &Device::flex());
        assert_eq!(numbers(&weighted_mean(values.inner(), zeros)), [0.0]);
    }

    #[test]
    fn weighted_sum_equals_a_dot_product_over_the_total() {
        let case = Case::load("weighted_sum");
        let (losses, weights) = (case.tracked::<1>("losses"), case.constant("weights"));
        let output = weighted_sum(losses.clone(), weights, case.number("total"));
        case.matches(output, &[("losses", &losses)]);
    }

    #[test]
    #[should_panic(expected = "positive total weight")]
    fn a_weighted_sum_over_no_weight_panics() {
        let zero = || Tensor::zeros([1], &Device::flex());
        let _ = weighted_sum(zero(), zero(), 0.0);
    }

    #[test]
    fn a_nan_under_the_mask_reaches_neither_result_nor_gradient() {
        let device = Device::flex();
        let mask = Tensor::<2>::from_floats([[1.0, 1.0, 0.0]], &device).greater_elem(0.5);
        let values = || {
            Tensor::<2>::from_floats([[1.0, 3.0, f32::NAN]], &device.clone().autodiff())
                .require_grad()
        };
        for (reduction, expected) in [
            (masked_sum as Reduction<1>, 4.0),
            (masked_mean, 2.0),
            (sequence_sum, 4.0),
            (sequence_mean, 2.0),
        ] {
            let values = values();
            let output = reduction(values.clone(), mask.clone());
            assert_eq!(numbers(&output), [expected]);
            assert_eq!(gradient(output, &values)[2], 0.0);
        }
        let whitened = numbers(&whiten(values(), mask, MeanShift::Keep));
        assert!(whitened[..2].iter().all(|x| x.is_finite()) && whitened[2] == 0.0, "{whitened:?}");
    }

    #[test]
    fn an_empty_or_single_selection_has_no_division_by_zero() {
        let values = Tensor::<2>::from_floats([[5.0, 7.0]], &Device::flex());
        let none = values.clone().greater_elem(9.0);
        let one = values.clone().greater_elem(6.0);
        assert_eq!(numbers(&masked_mean(values.clone(), none.clone())), [0.0]);
        assert_eq!(numbers(&sequence_mean(values.clone(), none.clone())), [0.0]);
        assert_eq!(numbers(&whiten(values.clone(), none, MeanShift::Remove)), [0.0, 0.0]);
        assert_eq!(numbers(&whiten(values, one, MeanShift::Keep)), [0.0, 7.0]);
    }

    #[test]
    #[should_panic(expected = "positive token count")]
    fn a_token_mean_over_no_tokens_panics() {
        let values = Tensor::<2>::zeros([1, 1], &Device::flex());
        let _ = token_mean(values.clone(), values.greater_elem(0.5), 0.0);
    }

    #[test]
    #[should_panic(expected = "differ in shape")]
    fn a_mask_of_another_shape_panics() {
        let values = Tensor::<2>::zeros([2, 3], &Device::flex());
        let _ = masked_sum(values, Tensor::<2>::zeros([2, 1], &Device::flex()).greater_elem(0.5));
    }

    fn batch(
        rows: usize,
        values: &[f32],
        kept: &[bool],
        device: &Device,
    ) -> (Tensor<2>, Tensor<2, Bool>) {
        let shape = [rows, values.len() / rows];
        let kept: Vec<f32> = kept.iter().map(|&k| f32::from(k)).collect();
        let mask = Tensor::<1>::from_floats(kept.as_slice(), &Device::flex());
        (
            Tensor::<1>::from_floats(values, device).reshape(shape),
            mask.reshape(shape).greater_elem(0.5),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn micro_batches_add_up_to_one_batch_under_the_token_mean(
            values in prop::collection::vec(-4.0f32..4.0, 12),
            kept in prop::collection::vec(any::<bool>(), 12),
        ) {
            let tokens = kept.iter().filter(|&&k| k).count().max(1) as f64;
            let whole_and_gradient = |rows: usize, from: usize, to: usize| {
                let device = Device::flex().autodiff();
                let (x, mask) = batch(rows, &values[from..to], &kept[from..to], &device);
                let x = x.detach().require_grad();
                let loss = token_mean(x.clone().square(), mask, tokens);
                (numbers(&loss)[0], gradient(loss, &x))
            };
            let (whole, gradients) = whole_and_gradient(4, 0, 12);
            let (first, mut accumulated) = whole_and_gradient(1, 0, 3);
            let (second, rest) = whole_and_gradient(3, 3, 12);
            accumulated.extend(rest);
            prop_assert!((whole - first - second).abs() < 1e-5);
            for (a, b) in gradients.iter().zip(&accumulated) {
                prop_assert!((a - b).abs() < 1e-6);
            }
        }

        #[test]
        fn padding_columns_and_batch_order_do_not_matter(
            values in prop::collection::vec(-4.0f32..4.0, 9),
            kept in prop::collection::vec(any::<bool>(), 9),
            padding in -1e30f32..1e30,
            left in any::<bool>(),
        ) {
            let device = Device::flex();
            let (x, mask) = batch(3, &values, &kept, &device);
            let (wide, wide_mask) = {
                let (mut v, mut k) = (Vec::new(), Vec::new());
                for row in [2, 0, 1] {
                    let (at, pad) = (row * 3..row * 3 + 3, [padding; 2]);
                    let (row, keep) = (&values[at.clone()], &kept[at]);
                    v.extend(if left { [&pad, row].concat() } else { [row, &pad].concat() });
                    let none = [false; 2];
                    k.extend(if left { [&none, keep].concat() } else { [keep, &none].concat() });
                }
                batch(3, &v, &k, &device)
            };
            let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
            for reduction in [masked_sum as Reduction<1>, masked_mean] {
                let narrow = reduction(x.clone(), mask.clone());
                let padded = reduction(wide.clone(), wide_mask.clone());
                prop_assert!(near(&numbers(&narrow), &numbers(&padded)));
            }
            for reduction in [sequence_sum as Reduction<1>, sequence_mean] {
                let narrow = numbers(&reduction(x.clone(), mask.clone()));
                let padded = numbers(&reduction(wide.clone(), wide_mask.clone()));
                prop_assert!(near(&[narrow[2], narrow[0], narrow[1]], &padded));
            }
            for shift in [MeanShift::Remove, MeanShift::Keep] {
                let narrow = whiten(x.clone(), mask.clone(), shift);
                let padded = whiten(wide.clone(), wide_mask.clone(), shift);
                let unpadded = padded.narrow(1, if left { 2 } else { 0 }, 3);
                let order = [narrow.clone().narrow(0, 2, 1), narrow.narrow(0, 0, 2)];
                let expected = numbers(&Tensor::cat(order.to_vec(), 0));
                prop_assert!(near(&expected, &numbers(&unpadded)));
            }
        }
    }
}
