//! Advantages: how much better an action was than expected.
//!
//! The caller detaches: rewards, values and scores are constants here.

use burn::tensor::{Bool, Tensor, assert_shape};
use serde::{Deserialize, Serialize};

use crate::reduce::{indicator, keep};

/// Added to the group's standard deviation in [`grpo`] (TRL 1.16 `GRPOTrainer`).
const GROUP_EPSILON: f64 = 1e-4;

/// What [`grpo`] divides by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupScale {
    /// The standard deviation of the prompt's group, as published.
    #[default]
    Std,
    /// Nothing: prompts with a small spread are not magnified (<https://arxiv.org/abs/2503.20783>).
    None,
}

/// Generalised advantage estimates, and the returns the values are fitted to.
///
/// `δ_t = r_t + γ V_{t+1} − V_t`, `A_t = δ_t + γλ A_{t+1}`, `returns = A + V`, with `V` and `A` 0
/// after the last kept step. Not whitened.
///
/// A row's kept steps must be contiguous (a completion with padding on either side): a masked step
/// ends the trajectory, so it carries nothing back, and its advantage and return are 0. This
/// differs from TRL 0.24, where deltas run through the padding.
///
/// # Shapes
/// - `rewards`, `values`, `mask`: `[B,T]`, T at least 1; `gamma`, `gae_lambda` in `[0, 1]`
/// - output: `(advantages, returns)`, both `[B,T]`
///
/// # Panics
/// When the shapes differ.
///
/// Source: Eq. 16 of <https://arxiv.org/abs/1506.02438>.
pub fn gae(
    rewards: Tensor<2>,
    values: Tensor<2>,
    mask: Tensor<2, Bool>,
    gamma: f64,
    gae_lambda: f64,
) -> (Tensor<2>, Tensor<2>) {
    assert_eq!(values.dims(), rewards.dims(), "values and rewards differ in shape");
    let [batch, time] = values.dims();
    let rewards = keep(rewards, mask.clone());
    let values = keep(values, mask.clone());
    let kept = indicator(mask);

    let mut next_value = Tensor::<2>::zeros([batch, 1], &values.device());
    let mut next_advantage = next_value.clone();
    let mut backwards = Vec::with_capacity(time);
    for t in (0..time).rev() {
        let at = |x: &Tensor<2>| x.clone().narrow(1, t, 1);
        let value = at(&values);
        let delta = at(&rewards) + next_value * gamma - value.clone();
        let advantage = at(&kept) * (delta + next_advantage * (gamma * gae_lambda));
        backwards.push(advantage.clone());
        (next_value, next_advantage) = (value, advantage);
    }
    backwards.reverse();
    let advantages = Tensor::cat(backwards, 1);
    let returns = advantages.clone() + values;
    (advantages, returns)
}

/// Leave-one-out advantages: each score less the mean of the other scores of its prompt.
///
/// `A_i = r_i − 1/(G−1) Σ_{j≠i} r_j`
///
/// # Shapes
/// - `scores`: `[P·G]`, a prompt's `group` = G ≥ 2 samples next to each other
/// - output: `[P·G]`; each group sums to 0
///
/// # Panics
/// When `group` is below 2 or does not divide the number of scores.
///
/// Source: <https://arxiv.org/abs/2402.14740>.
pub fn rloo(scores: Tensor<1>, group: usize) -> Tensor<1> {
    let count = scores.dims()[0];
    let grouped = in_groups(scores, group);
    // r_i − (Σ − r_i)/(G−1) = (r_i − mean) · G/(G−1)
    let centred = grouped.clone() - grouped.mean_dim(1);
    (centred * (group as f64 / (group as f64 - 1.0))).reshape([count])
}

/// Group-relative advantages: each score less the mean of its prompt's scores, over their spread.
///
/// `A_i = (r_i − mean) / (std + 1e-4)` with the unbiased standard deviation, or `r_i − mean` for
/// [`GroupScale::None`].
///
/// # Shapes
/// - `scores`: `[P·G]`, a prompt's `group` = G ≥ 2 samples next to each other
/// - output: `[P·G]`; each group sums to 0
///
/// # Panics
/// When `group` is below 2 or does not divide the number of scores.
///
/// Source: section 4.1.2 of <https://arxiv.org/abs/2402.03300>; the constant and the unbiased
/// deviation as in TRL 1.16 `GRPOTrainer`.
pub fn grpo(scores: Tensor<1>, group: usize, scale: GroupScale) -> Tensor<1> {
    let count = scores.dims()[0];
    let grouped = in_groups(scores, group);
    let centred = grouped.clone() - grouped.clone().mean_dim(1);
    let advantages = match scale {
        GroupScale::Std => centred / grouped.var(1).sqrt().add_scalar(GROUP_EPSILON),
        GroupScale::None => centred,
    };
    advantages.reshape([count])
}

/// Advantages over a baseline that does not depend on the batch, such as [`running_baseline`].
///
/// `A_i = r_i − b`
///
/// # Shapes
/// - `scores`: `[N]`; `baseline` b, in units of reward
/// - output: `[N]`
///
/// Source: the reinforcement baseline of Williams, 1992, <https://doi.org/10.1007/BF00992696>.
pub fn reinforce(scores: Tensor<1>, baseline: f64) -> Tensor<1> {
    scores.sub_scalar(baseline)
}

/// The exponential moving average of the batches' mean scores.
///
/// `b ← λ b + (1 − λ) mean(r)`. Take a batch's advantages before its mean goes in, so that the
/// baseline stays independent of the samples it is subtracted from.
///
/// `decay` λ in `[0, 1)`: 0 keeps the last batch's mean only. Start from the first batch's mean, or
/// from 0 for calibrated rewards.
///
/// # Panics
/// When `decay` is outside `[0, 1)`.
///
/// Source: the reinforcement comparison of Williams, 1992, <https://doi.org/10.1007/BF00992696>.
pub fn running_baseline(baseline: f64, batch_mean: f64, decay: f64) -> f64 {
    assert!((0.0..1.0).contains(&decay), "decay must be in [0, 1), got {decay}");
    decay * baseline + (1.0 - decay) * batch_mean
}

/// Each sequence's advantage on each of its kept tokens, 0 where masked.
///
/// # Shapes
/// - `advantages`: `[B]`; `mask`: `[B,T]`
/// - output: `[B,T]`
///
/// # Panics
/// When the batch sizes differ.
pub fn on_every_token(advantages: Tensor<1>, mask: Tensor<2, Bool>) -> Tensor<2> {
    let [batch, time] = mask.dims();
    assert_shape!(advantages, [batch]);
    keep(advantages.unsqueeze_dim::<2>(1).expand([batch, time]), mask)
}

/// `[P·G]` as `[P,G]`.
fn in_groups(scores: Tensor<1>, group: usize) -> Tensor<2> {
    let count = scores.dims()[0];
    assert!(group >= 2, "a group needs at least 2 samples of a prompt, got {group}");
    assert!(count % group == 0, "{count} scores do not divide into groups of {group}");
    scores.reshape([count / group, group])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::golden::{Case, numbers};

    #[test]
    fn gae_equals_the_discounted_sum_of_temporal_differences() {
        let case = Case::load("gae");
        let (gamma, lambda) = (case.number("gamma"), case.number("gae_lambda"));
        let (rewards, values) = (case.constant("rewards"), case.constant("values"));
        let (advantages, returns) = gae(rewards, values, case.mask(), gamma, lambda);
        case.matches_output(0, &advantages);
        case.matches_output(1, &returns);
    }

    #[test]
    fn group_advantages_equal_trl() {
        let group = 4;
        let scores = |case: &Case| case.constant::<1>("scores");
        let case = Case::load("rloo");
        case.matches_output(0, &rloo(scores(&case), group));
        let case = Case::load("grpo_std");
        case.matches_output(0, &grpo(scores(&case), group, GroupScale::Std));
        let case = Case::load("grpo_none");
        case.matches_output(0, &grpo(scores(&case), group, GroupScale::None));
    }

    #[test]
    fn reinforce_subtracts_the_baseline() {
        let case = Case::load("reinforce");
        let advantages = reinforce(case.constant("scores"), case.number("baseline"));
        case.matches_output(0, &advantages);
    }

    #[test]
    fn the_running_baseline_equals_the_exponentially_weighted_sum() {
        let case = Case::load("running_baseline");
        let decay = case.number("decay");
        let mut baseline = case.number("start");
        let history: Vec<f32> = numbers(&case.constant::<1>("means"))
            .into_iter()
            .map(|mean| {
                baseline = running_baseline(baseline, f64::from(mean), decay);
                baseline as f32
            })
            .collect();
        case.matches_output(0, &Tensor::<1>::from_floats(&history[..], &Device::flex()));
    }

    #[test]
    #[should_panic(expected = "decay must be in [0, 1), got 1")]
    fn a_baseline_that_never_moves_panics() {
        let _ = running_baseline(0.0, 1.0, 1.0);
    }

    #[test]
    fn a_group_of_equal_scores_has_no_advantage() {
        let scores = Tensor::<1>::from_floats([0.7, 0.7, -3.0, -3.0], &Device::flex());
        assert_eq!(numbers(&rloo(scores.clone(), 2)), [0.0; 4]);
        assert_eq!(numbers(&grpo(scores, 2, GroupScale::Std)), [0.0; 4]);
    }

    #[test]
    fn one_step_has_the_reward_less_the_value_as_advantage() {
        let at = |x: f32| Tensor::<2>::full([1, 1], x, &Device::flex());
        let (advantages, returns) = gae(at(2.0), at(0.5), at(1.0).greater_elem(0.5), 0.9, 0.8);
        assert_eq!((numbers(&advantages), numbers(&returns)), (vec![1.5], vec![2.0]));
    }

    #[test]
    fn a_sequence_advantage_lands_on_kept_tokens_only() {
        let mask = Tensor::<2>::from_floats([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]], &Device::flex());
        let advantages = Tensor::<1>::from_floats([2.0, -1.0], &Device::flex());
        let got = on_every_token(advantages, mask.greater_elem(0.5));
        assert_eq!(numbers(&got), [2.0, 2.0, 0.0, 0.0, -1.0, -1.0]);
    }

    #[test]
    #[should_panic(expected = "5 scores do not divide into groups of 2")]
    fn an_incomplete_group_panics() {
        let _ = rloo(Tensor::zeros([5], &Device::flex()), 2);
    }

    #[test]
    #[should_panic(expected = "at least 2 samples")]
    fn a_group_of_one_panics() {
        let _ = grpo(Tensor::zeros([5], &Device::flex()), 1, GroupScale::Std);
    }

    fn row(values: &[f32]) -> Tensor<2> {
        Tensor::<1>::from_floats(values, &Device::flex()).unsqueeze::<2>()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn padding_on_either_side_does_not_change_gae(
            steps in prop::collection::vec((-2.0f32..2.0, -2.0f32..2.0), 1..6),
            before in 0usize..3,
            after in 0usize..3,
            junk in -1e20f32..1e20,
        ) {
            let pad = |x: Vec<f32>, fill: f32| {
                row(&[vec![fill; before], x, vec![fill; after]].concat())
            };
            let rewards: Vec<f32> = steps.iter().map(|s| s.0).collect();
            let values: Vec<f32> = steps.iter().map(|s| s.1).collect();
            let kept = vec![1.0; steps.len()];
            let bare = gae(row(&rewards), row(&values), row(&kept).greater_elem(0.5), 0.9, 0.8);
            let mask = pad(kept, 0.0).greater_elem(0.5);
            let padded = gae(pad(rewards, junk), pad(values, junk), mask, 0.9, 0.8);
            for (bare, padded) in [(bare.0, padded.0), (bare.1, padded.1)] {
                let padded = numbers(&padded);
                let inside = before..before + steps.len();
                prop_assert_eq!(&numbers(&bare)[..], &padded[inside.clone()]);
                for (t, x) in padded.iter().enumerate() {
                    prop_assert!(inside.contains(&t) || *x == 0.0);
                }
            }
        }

        #[test]
        fn group_advantages_sum_to_zero_and_ignore_an_offset_per_prompt(
            scores in prop::collection::vec(-3.0f32..3.0, 6),
            offset in -2.0f32..2.0,
        ) {
            let moved: Vec<f32> =
                scores.iter().enumerate().map(|(i, s)| if i < 3 { s + offset } else { *s }).collect();
            for estimator in [|s| rloo(s, 3), |s| grpo(s, 3, GroupScale::None)] {
                let plain = numbers(&estimator(row(&scores).squeeze_dim::<1>(0)));
                let shifted = numbers(&estimator(row(&moved).squeeze_dim::<1>(0)));
                prop_assert!(plain[..3].iter().sum::<f32>().abs() < 1e-5);
                prop_assert!(plain[3..].iter().sum::<f32>().abs() < 1e-5);
                prop_assert!(plain.iter().zip(&shifted).all(|(a, b)| (a - b).abs() < 1e-5));
            }
        }
    }
}
