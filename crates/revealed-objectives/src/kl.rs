//! The divergence of the policy from its reference, estimated from the policy's own samples.
//!
//! The three estimators are those of <http://joschu.net/blog/kl-approx.html>, per token, in nats,
//! for tokens sampled from the policy whose log-probs they take:
//! `E_{y~π}[k1] = E_{y~π}[k3] = KL(π ‖ π_ref)`, and k2 is close to it when the two are near.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::{
    ratio::log_ratio,
    reduce::{indicator, keep},
};

/// The largest relative error that [`adapted_kl_coef`] acts on (section 2.2 of
/// <https://arxiv.org/abs/1909.08593>).
const LARGEST_KL_ERROR: f64 = 0.2;

/// The plain estimator: unbiased, of either sign.
///
/// `k1 = log π(y_t) − log π_ref(y_t)`
///
/// # Shapes
/// - `log_probs`, `ref_log_probs`: `[B,T]`
/// - output: `[B,T]`
///
/// # Panics
/// When the shapes differ.
pub fn k1(log_probs: Tensor<2>, ref_log_probs: Tensor<2>) -> Tensor<2> {
    log_ratio(log_probs, ref_log_probs)
}

/// The squared estimator: never negative, biased, and as a loss the one whose gradient is that of
/// the KL.
///
/// `k2 = ½ (log π(y_t) − log π_ref(y_t))²`
///
/// # Shapes
/// - `log_probs`, `ref_log_probs`: `[B,T]`
/// - output: `[B,T]`, at least 0
///
/// # Panics
/// When the shapes differ.
pub fn k2(log_probs: Tensor<2>, ref_log_probs: Tensor<2>) -> Tensor<2> {
    log_ratio(log_probs, ref_log_probs).square() * 0.5
}

/// The low-variance estimator: unbiased and never negative (up to one rounding, 1.2e-7, where the
/// two nearly agree).
///
/// `k3 = exp(q) − q − 1` with `q = log π_ref(y_t) − log π(y_t)`
///
/// # Shapes
/// - `log_probs`, `ref_log_probs`: `[B,T]`
/// - output: `[B,T]`
///
/// # Panics
/// When the shapes differ.
///
/// Source: also Eq. 4 of <https://arxiv.org/abs/2402.03300>.
pub fn k3(log_probs: Tensor<2>, ref_log_probs: Tensor<2>) -> Tensor<2> {
    let q = log_ratio(ref_log_probs, log_probs);
    // In this order near 0 the subtraction of 1 is exact.
    q.clone().exp().sub_scalar(1.0) - q
}

/// The KL coefficient for the next batch: a proportional controller in log space that holds the KL
/// at a target.
///
/// `β ← β (1 + clip(kl/target − 1, −0.2, 0.2) · samples/horizon)`
///
/// `kl`: the batch's mean KL of a sequence, in nats; `target` > 0, in the same unit; `horizon` > 0:
/// samples over which a clipped error changes β by a fifth (10 000 in TRL); `samples`:
/// sequences in the batch, fewer than `5 horizon`, so that β stays positive.
///
/// # Panics
/// When `target` or `horizon` is not positive.
///
/// Source: section 2.2 of <https://arxiv.org/abs/1909.08593>, whose `K_β = 0.1` is
/// `samples/horizon`; `AdaptiveKLController` of TRL 0.11.
pub fn adapted_kl_coef(kl_coef: f64, kl: f64, target: f64, horizon: f64, samples: usize) -> f64 {
    assert!(target > 0.0, "the KL target must be positive, got {target}");
    assert!(horizon > 0.0, "the horizon must be positive, got {horizon}");
    let error = (kl / target - 1.0).clamp(-LARGEST_KL_ERROR, LARGEST_KL_ERROR);
    kl_coef * (1.0 + error * samples as f64 / horizon)
}

/// Per-token rewards: the KL penalty on every kept token, and the completion's score on the last of
/// them.
///
/// `r_bt = m_bt ( −β kl_bt + 1[t is b's last kept step] score_b )`; 0 where masked. A row that
/// keeps nothing gets no reward.
///
/// If the mask keeps the EOS token, the score is on that token. TRL 0.24 puts it on the padding
/// after it.
///
/// # Shapes
/// - `scores`: `[B]`; `kl`, `mask`: `[B,T]`; `kl_coef` β ≥ 0
/// - output: `[B,T]`; a row sums to `score − β Σ kl`
///
/// # Panics
/// When the shapes differ.
///
/// Source: Eq. 2 of <https://arxiv.org/abs/1909.08593>, per token as in
/// <https://arxiv.org/abs/2403.17031>.
pub fn kl_shaped_rewards(
    scores: Tensor<1>,
    kl: Tensor<2>,
    mask: Tensor<2, Bool>,
    kl_coef: f64,
) -> Tensor<2> {
    let [batch, time] = kl.dims();
    assert_shape!(scores, [batch]);
    let penalty = keep(kl * -kl_coef, mask.clone());
    let scores = scores.unsqueeze_dim::<2>(1).expand([batch, time]);
    penalty + keep(scores, last_kept(mask))
}

/// `true` at each row's last kept position only.
fn last_kept(mask: Tensor<2, Bool>) -> Tensor<2, Bool> {
    let shape = mask.dims();
    let kept = indicator(mask.clone());
    let total = kept.clone().sum_dim(1).expand(shape);
    kept.cumsum(1).equal(total).bool_and(mask)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::golden::{Case, numbers};

    type Estimator = fn(Tensor<2>, Tensor<2>) -> Tensor<2>;

    #[test]
    fn the_three_estimators_and_their_gradients_equal_pytorch() {
        for (name, estimator) in [("k1", k1 as Estimator), ("k2", k2), ("k3", k3)] {
            let case = Case::load(name);
            let log_probs = case.tracked::<2>("log_probs");
            let kl = estimator(log_probs.clone(), case.constant("ref_log_probs"));
            case.matches(kl, &[("log_probs", &log_probs)]);
        }
    }

    #[test]
    fn shaped_rewards_equal_a_loop_over_unpadded_rows() {
        let case = Case::load("kl_shaped_rewards");
        let (scores, kl) = (case.constant("scores"), case.constant("kl"));
        let rewards = kl_shaped_rewards(scores, kl, case.mask(), case.number("kl_coef"));
        case.matches_output(0, &rewards);
    }

    #[test]
    fn the_adapted_coefficient_equals_the_controller_of_the_paper() {
        let case = Case::load("adapted_kl_coef");
        let number = |key| case.number(key);
        let adapted: Vec<f32> = numbers(&case.constant::<1>("kl"))
            .into_iter()
            .map(|kl| {
                let samples = number("samples") as usize;
                let kl = f64::from(kl);
                let (kl_coef, horizon) = (number("kl_coef"), number("horizon"));
                adapted_kl_coef(kl_coef, kl, number("target"), horizon, samples) as f32
            })
            .collect();
        case.matches_output(0, &Tensor::<1>::from_floats(&adapted[..], &Device::flex()));
    }

    #[test]
    fn the_coefficient_rests_at_the_target_and_moves_towards_it() {
        let next = |kl| adapted_kl_coef(0.1, kl, 6.0, 100.0, 10);
        assert_eq!(next(6.0), 0.1);
        assert!(next(7.0) > 0.1 && next(5.0) < 0.1);
    }

    #[test]
    #[should_panic(expected = "the KL target must be positive")]
    fn a_kl_target_of_zero_panics() {
        let _ = adapted_kl_coef(0.1, 1.0, 0.0, 100.0, 10);
    }

    #[test]
    fn the_score_stands_on_the_last_kept_token_wherever_the_padding_is() {
        let device = Device::flex();
        let mask = Tensor::<2>::from_floats(
            [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0; 4], [1.0; 4]],
            &device,
        );
        let scores = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0], &device);
        let kl = Tensor::<2>::zeros([4, 4], &device);
        let rewards = numbers(&kl_shaped_rewards(scores, kl, mask.greater_elem(0.5), 0.1));
        let expected = [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0], [0.0; 4], [0.0, 0.0, 0.0, 4.0]];
        assert_eq!(rewards, expected.concat());
    }

    #[test]
    fn the_expectation_of_k1_and_k3_over_the_policy_is_the_kl() {
        let (policy, reference) = ([0.5f32, 0.3, 0.2], [0.2f32, 0.2, 0.6]);
        let logs = |p: [f32; 3]| Tensor::<2>::from_floats([p.map(f32::ln)], &Device::flex());
        let exact: f32 = policy.iter().zip(&reference).map(|(p, q)| p * (p / q).ln()).sum();
        for estimator in [k1, k3] {
            let per_token = numbers(&estimator(logs(policy), logs(reference)));
            let mean: f32 = policy.iter().zip(&per_token).map(|(p, k)| p * k).sum();
            assert!((mean - exact).abs() < 1e-6, "{mean} and {exact}");
        }
    }

    proptest! {
        #[test]
        fn k2_and_k3_are_never_negative(log_prob in -12.0f32..0.0, moved in -3.0f32..3.0) {
            let at = |x: f32| Tensor::<2>::full([1, 1], x, &Device::flex());
            for nearness in [1.0, 1e-2, 1e-4, 0.0] {
                let reference = at(log_prob + moved * nearness);
                prop_assert!(numbers(&k2(at(log_prob), reference.clone()))[0] >= 0.0);
                // One rounding of exp near 1.
                prop_assert!(numbers(&k3(at(log_prob), reference))[0] >= -1.2e-7);
            }
        }
    }
}
