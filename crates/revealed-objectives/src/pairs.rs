//! Losses that fit a reward on pairs: the demonstration of a prompt and a policy's sample of the
//! same prompt.
//!
//! The gradient of the maximum-likelihood IRL objective is `(1/β)(E_demo[∇r] − E_sample[∇r])`
//! (<https://arxiv.org/abs/2503.13538>; derivation in <https://arxiv.org/abs/2210.01808>).
//! [`linear_difference`] has exactly that gradient and is unbounded in `r`; the other losses are
//! bounded surrogates of it. `d` and `s` below are the two rewards, `Δ = d − s`.

use burn::tensor::{
    Tensor,
    activation::{log_sigmoid, relu, sigmoid},
};
use serde::{Deserialize, Serialize};

/// A loss on pairs of rewards, to be minimised. A closure `(demonstration, sample) -> losses`
/// implements it. Micro-batches may call it from several threads at once.
pub trait RewardObjective: Sync {
    /// The loss of each pair, not reduced.
    ///
    /// # Shapes
    /// - `demonstration`, `sample`: `[P]`, the rewards of one prompt's two completions
    /// - output: `[P]`
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1>;
}

impl<F: Fn(Tensor<1>, Tensor<1>) -> Tensor<1> + Sync> RewardObjective for F {
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
        self(demonstration, sample)
    }
}

/// The pair losses of this crate, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairLoss {
    /// [`pairwise_logistic`]: bounded below, invariant to an offset per prompt; the paper's choice.
    #[default]
    PairwiseLogistic,
    /// [`linear_difference`]: the exact gradient, unbounded: add [`reward_l2`] or stop early.
    LinearDifference,
    /// [`bce_discriminator`]: the reward is a discriminator's logit, so its offset has a meaning.
    Bce,
    /// [`hinge`], with margin 1 by default.
    Hinge,
    /// [`least_squares`]: regresses rewards to 1 and 0.
    LeastSquares,
}

impl PairLoss {
    /// Whether the loss has a margin.
    pub fn takes_margin(self) -> bool {
        matches!(self, Self::PairwiseLogistic | Self::Hinge)
    }

    /// Whether the loss has labels to smooth.
    pub fn takes_smoothing(self) -> bool {
        matches!(self, Self::PairwiseLogistic | Self::Bce | Self::LeastSquares)
    }
}

impl RewardObjective for PairLoss {
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
        PairObjective::from(*self).loss(demonstration, sample)
    }
}

/// A named pair loss with its label smoothing and margin.
///
/// A loss reads a number only if [`PairLoss::takes_margin`] or [`PairLoss::takes_smoothing`] is
/// true. A caller should refuse a number that the loss does not read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairObjective {
    /// The loss.
    pub loss: PairLoss,
    /// Probability that a label is wrong, in `[0, 0.5]`.
    pub label_smoothing: f64,
    /// Required lead of the demonstration over the sample, at least 0, in units of reward.
    pub margin: f64,
}

impl From<PairLoss> for PairObjective {
    /// No smoothing; margin 1 for the hinge loss, whose scale it sets, and 0 for the others.
    fn from(loss: PairLoss) -> Self {
        let margin = if loss == PairLoss::Hinge { 1.0 } else { 0.0 };
        Self { loss, label_smoothing: 0.0, margin }
    }
}

impl RewardObjective for PairObjective {
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
        let (d, s, smoothing) = (demonstration, sample, self.label_smoothing);
        match self.loss {
            PairLoss::PairwiseLogistic => pairwise_logistic_smoothed(d, s, smoothing, self.margin),
            PairLoss::LinearDifference => linear_difference(d, s),
            PairLoss::Bce => bce_discriminator_smoothed(d, s, smoothing),
            PairLoss::Hinge => hinge(d, s, self.margin),
            PairLoss::LeastSquares => least_squares_smoothed(d, s, smoothing),
        }
    }
}

/// The logistic (Bradley–Terry) loss of ranking the demonstration above the sample.
///
/// `−log σ(Δ)`
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`
/// - output: `[P]`, at least 0; log 2 at `Δ = 0`
///
/// # Panics
/// When the shapes differ.
///
/// Source: the surrogate of <https://arxiv.org/abs/2503.13538>; Eq. 1 of
/// <https://arxiv.org/abs/2203.02155>.
pub fn pairwise_logistic(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    -log_sigmoid(gap(demonstration, sample))
}

/// The logistic loss with a margin and with labels that may be wrong.
///
/// `−(1 − ε) log σ(Δ − m) − ε log σ(m − Δ)`
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`; `label_smoothing` ε in `[0, 0.5]`, the chance that a pair is
///   the wrong way round; `margin` m ≥ 0, in units of reward
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ or ε is outside `[0, 0.5]`.
///
/// Source: smoothing as in the conservative loss of <https://ericmitchell.ai/cdpo.pdf>; margin as
/// in Eq. 2 of <https://arxiv.org/abs/2307.09288>.
pub fn pairwise_logistic_smoothed(
    demonstration: Tensor<1>,
    sample: Tensor<1>,
    label_smoothing: f64,
    margin: f64,
) -> Tensor<1> {
    smoothed_label_loss(gap(demonstration, sample).sub_scalar(margin), label_smoothing)
}

/// The difference of rewards, whose mean has the gradient of the maximum-likelihood IRL objective
/// (for β = 1).
///
/// `s − d = −Δ`
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`
/// - output: `[P]`, unbounded
///
/// # Panics
/// When the shapes differ.
///
/// Source: the gradient in <https://arxiv.org/abs/2210.01808>.
pub fn linear_difference(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    -gap(demonstration, sample)
}

/// The binary cross-entropy of a discriminator whose logit is the reward, summed over the pair's
/// two completions.
///
/// `−log σ(d) − log(1 − σ(s))`: twice the mean over the 2P completions.
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ.
///
/// Source: <https://arxiv.org/abs/2405.15624>; the discriminator of
/// <https://arxiv.org/abs/1406.2661>.
pub fn bce_discriminator(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    assert_eq!(sample.dims(), demonstration.dims(), "sample and demonstration differ in shape");
    -(log_sigmoid(demonstration) + log_sigmoid(-sample))
}

/// The discriminator's cross-entropy with labels `1 − ε` for demonstrations and `ε` for samples,
/// so that no logit is drawn to infinity.
///
/// `−(1 − ε) log σ(d) − ε log σ(−d) − (1 − ε) log σ(−s) − ε log σ(s)`
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`; `label_smoothing` ε in `[0, 0.5]`
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ or ε is outside `[0, 0.5]`.
///
/// Source: [`bce_discriminator`] with the label smoothing of section 7 of
/// <https://arxiv.org/abs/1512.00567>, for two classes; their ε is twice this one.
pub fn bce_discriminator_smoothed(
    demonstration: Tensor<1>,
    sample: Tensor<1>,
    label_smoothing: f64,
) -> Tensor<1> {
    assert_eq!(sample.dims(), demonstration.dims(), "sample and demonstration differ in shape");
    smoothed_label_loss(demonstration, label_smoothing)
        + smoothed_label_loss(-sample, label_smoothing)
}

/// The hinge loss: 0 once the demonstration leads by the margin.
///
/// `max(0, m − Δ)`
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`; `margin` m > 0, in units of reward
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ.
///
/// Source: the hinge variant of <https://arxiv.org/abs/2401.01335>, with m = 1.
pub fn hinge(demonstration: Tensor<1>, sample: Tensor<1>, margin: f64) -> Tensor<1> {
    relu(-gap(demonstration, sample).sub_scalar(margin))
}

/// The least-squares (LSGAN) loss with target 1 for demonstrations and 0 for samples.
///
/// `½ (d − 1)² + ½ s²`
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ.
///
/// Source: the 0-1 coding of <https://arxiv.org/abs/1611.04076>.
pub fn least_squares(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    reward_l2(demonstration.sub_scalar(1.0), sample)
}

/// The least-squares loss with target `1 − ε` for demonstrations and `ε` for samples.
///
/// `½ (d − (1 − ε))² + ½ (s − ε)²`
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`; `label_smoothing` ε in `[0, 0.5]`
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ or ε is outside `[0, 0.5]`.
///
/// Source: [`least_squares`] with the labels of [`bce_discriminator_smoothed`].
pub fn least_squares_smoothed(
    demonstration: Tensor<1>,
    sample: Tensor<1>,
    label_smoothing: f64,
) -> Tensor<1> {
    assert_smoothing(label_smoothing);
    let demonstration = demonstration.sub_scalar(1.0 - label_smoothing);
    reward_l2(demonstration, sample.sub_scalar(label_smoothing))
}

/// The squared L2 norm of a pair's two rewards: a penalty that bounds an otherwise unbounded loss.
///
/// `½ (d² + s²)`
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ.
pub fn reward_l2(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    assert_eq!(sample.dims(), demonstration.dims(), "sample and demonstration differ in shape");
    (demonstration.square() + sample.square()) * 0.5
}

/// The squared sum of a pair's two rewards: a penalty that fixes only the offset, which a pairwise
/// loss does not determine.
///
/// `(d + s)²`
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`
/// - output: `[P]`, at least 0; 0 if the pair is centred on 0
///
/// # Panics
/// When the shapes differ.
///
/// Source: the auxiliary loss of <https://arxiv.org/abs/2312.09244>, as `center_rewards_coefficient`
/// scales it in TRL 1.16 `RewardTrainer`.
pub fn center_rewards(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    assert_eq!(sample.dims(), demonstration.dims(), "sample and demonstration differ in shape");
    (demonstration + sample).square()
}

/// Rewards plus the logits of a weaker expert, so that the reward fits the rest (product of experts).
///
/// `r + c e`: as logits, the product `σ(r) σ(e)^c` of the two experts, normalised.
///
/// The length-controlled variant of any pair loss: fit `e` on the length of a completion alone and
/// freeze it, fit the reward with `loss(d + c e(d), s + c e(s))`, and drop `e` when the reward is
/// used. The expert already explains the effect of length, so the reward gains nothing from
/// growing with length. The caller detaches `expert`.
///
/// # Shapes
/// - `scores`, `expert`: `[N]`, of the same completions; `coefficient` c ≥ 0, 0 for no control
/// - output: `[N]`
///
/// # Panics
/// When the shapes differ.
///
/// Source: the bias product of <https://arxiv.org/abs/1909.03683>, for two classes.
pub fn product_of_experts(scores: Tensor<1>, expert: Tensor<1>, coefficient: f64) -> Tensor<1> {
    assert_eq!(expert.dims(), scores.dims(), "expert and scores differ in shape");
    scores + expert * coefficient
}

/// Weights that reduce the influence of pairs that the reward already orders correctly.
///
/// `w = 2 σ(−Δ)`: 1 at equal rewards, near 0 if the demonstration scores much higher, near 2 if it scores much lower.
/// Without gradient: it is the factor of the logistic loss's own gradient, given to any loss. Use
/// it with [`weighted_sum`](crate::reduce::weighted_sum).
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`
/// - output: `[P]`, between 0 and 2
///
/// # Panics
/// When the shapes differ.
///
/// Source: the modulating factor `1 − p` of Eq. 4 of <https://arxiv.org/abs/1708.02002> (γ = 1),
/// times 2 and held constant.
pub fn negative_weights(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    sigmoid(-gap(demonstration.detach(), sample.detach())) * 2.0
}

/// The share of pairs whose demonstration scores higher; a tie counts one half.
///
/// `mean( 1[d > s] + ½ 1[d = s] )`; 0.5 is chance, also for a constant reward. Without gradient.
///
/// # Shapes
/// - `demonstration`, `sample`: `[P]`, P at least 1
/// - output: `[1]`, between 0 and 1
///
/// # Panics
/// When the shapes differ.
pub fn pair_accuracy(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    // sign is −1, 0 or 1
    gap(demonstration.detach(), sample.detach()).sign().add_scalar(1.0).mean() * 0.5
}

fn gap(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    assert_eq!(sample.dims(), demonstration.dims(), "sample and demonstration differ in shape");
    demonstration - sample
}

/// `−(1 − ε) log σ(x) − ε log σ(−x)`.
fn smoothed_label_loss(logit: Tensor<1>, label_smoothing: f64) -> Tensor<1> {
    assert_smoothing(label_smoothing);
    let right = log_sigmoid(logit.clone()) * (1.0 - label_smoothing);
    let wrong = log_sigmoid(-logit) * label_smoothing;
    -(right + wrong)
}

fn assert_smoothing(label_smoothing: f64) {
    assert!(
        (0.0..=0.5).contains(&label_smoothing),
        "label smoothing must be between 0 and 0.5, got {label_smoothing}"
    );
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::golden::{Case, numbers};

    fn matches_pytorch(name: &'static str, objective: impl RewardObjective) {
        let case = Case::load(name);
        let (d, s) = (case.tracked("demonstration"), case.tracked("sample"));
        let losses = objective.loss(d.clone(), s.clone());
        case.matches(losses, &[("demonstration", &d), ("sample", &s)]);
    }

    #[test]
    fn every_named_loss_and_its_gradients_equal_pytorch() {
        matches_pytorch("pairwise_logistic", PairLoss::PairwiseLogistic);
        matches_pytorch("linear_difference", PairLoss::LinearDifference);
        matches_pytorch("bce_discriminator", PairLoss::Bce);
        matches_pytorch("least_squares", PairLoss::LeastSquares);
    }

    #[test]
    fn a_closure_or_a_function_is_an_objective() {
        matches_pytorch("hinge", |d: Tensor<1>, s: Tensor<1>| hinge(d, s, 1.2));
        matches_pytorch("pairwise_logistic_smoothed", |d: Tensor<1>, s: Tensor<1>| {
            pairwise_logistic_smoothed(d, s, 0.1, 0.6)
        });
        matches_pytorch("pairwise_logistic", pairwise_logistic);
        matches_pytorch("linear_difference", linear_difference);
        matches_pytorch("bce_discriminator", bce_discriminator);
        matches_pytorch("least_squares", least_squares);
        matches_pytorch("reward_l2", reward_l2);
        matches_pytorch("center_rewards", center_rewards);
    }

    #[test]
    fn smoothing_and_margin_reach_the_losses_that_take_them() {
        for (name, loss, label_smoothing, margin) in [
            ("pairwise_logistic_smoothed", PairLoss::PairwiseLogistic, 0.1, 0.6),
            ("bce_discriminator_smoothed", PairLoss::Bce, 0.1, 9.0),
            ("least_squares_smoothed", PairLoss::LeastSquares, 0.1, 9.0),
            ("hinge", PairLoss::Hinge, 0.4, 1.2),
            ("linear_difference", PairLoss::LinearDifference, 0.4, 9.0),
        ] {
            matches_pytorch(name, PairObjective { loss, label_smoothing, margin });
            let takes = (label_smoothing == 0.1, margin < 9.0);
            assert_eq!((loss.takes_smoothing(), loss.takes_margin()), takes, "{loss:?}");
        }
    }

    #[test]
    fn a_loss_by_its_name_has_no_smoothing_and_its_own_margin() {
        for (loss, margin) in [
            (PairLoss::PairwiseLogistic, 0.0),
            (PairLoss::LinearDifference, 0.0),
            (PairLoss::Bce, 0.0),
            (PairLoss::Hinge, 1.0),
            (PairLoss::LeastSquares, 0.0),
        ] {
            let expected = PairObjective { loss, label_smoothing: 0.0, margin };
            assert_eq!(PairObjective::from(loss), expected);
        }
    }

    #[test]
    fn a_product_of_experts_has_the_logit_of_the_normalised_product() {
        let case = Case::load("product_of_experts");
        let scores = case.tracked::<1>("scores");
        let expert = case.constant("expert");
        let output = product_of_experts(scores.clone(), expert, case.number("coefficient"));
        case.matches(output, &[("scores", &scores)]);
    }

    #[test]
    fn fading_weights_are_the_logistic_gradient_and_have_none_themselves() {
        let case = Case::load("negative_weights");
        let (d, s) = (case.tracked::<1>("demonstration"), case.tracked("sample"));
        let weights = negative_weights(d.clone(), s.clone());
        case.matches_output(0, &weights);
        assert_eq!(numbers(&weights)[0], 1.0);
        let gradients = (weights + d.clone() * 0.0).sum().backward();
        assert_eq!(numbers(&d.grad(&gradients).unwrap()), [0.0; 8]);
        assert!(s.grad(&gradients).is_none_or(|g| numbers(&g) == [0.0; 8]));
    }

    #[test]
    fn the_named_hinge_has_margin_one() {
        let device = Device::flex();
        let d = Tensor::<1>::from_floats([0.0, 0.4, 2.0, -1.0], &device);
        let s = Tensor::<1>::from_floats([0.0, 0.0, 0.5, 1.0], &device);
        let got = numbers(&PairLoss::Hinge.loss(d, s));
        assert_eq!(got, [1.0, 0.6, 0.0, 3.0]);
    }

    #[test]
    fn accuracy_counts_a_tie_as_one_half() {
        let case = Case::load("pair_accuracy");
        let (d, s) = (case.constant::<1>("demonstration"), case.constant("sample"));
        case.matches_output(0, &pair_accuracy(d.clone(), s));
        assert_eq!(numbers(&pair_accuracy(d.clone(), d)), [0.5]);
    }

    #[test]
    fn losses_are_named_in_kebab_case() {
        for (loss, name) in [
            (PairLoss::PairwiseLogistic, "pairwise-logistic"),
            (PairLoss::LinearDifference, "linear-difference"),
            (PairLoss::Bce, "bce"),
            (PairLoss::Hinge, "hinge"),
            (PairLoss::LeastSquares, "least-squares"),
        ] {
            assert_eq!(serde_json::to_value(loss).ok(), Some(name.into()));
            assert_eq!(serde_json::from_value::<PairLoss>(name.into()).unwrap(), loss);
        }
        assert!(serde_json::from_str::<PairLoss>("\"Bce\"").is_err());
    }

    #[test]
    #[should_panic(expected = "label smoothing must be between 0 and 0.5, got 0.6")]
    fn labels_that_are_more_often_wrong_than_right_panic() {
        let zero = || Tensor::zeros([1], &Device::flex());
        let _ = least_squares_smoothed(zero(), zero(), 0.6);
    }

    #[test]
    #[should_panic(expected = "differ in shape")]
    fn pairs_of_different_length_panic() {
        let device = Device::flex();
        let _ = bce_discriminator(Tensor::zeros([2], &device), Tensor::zeros([1], &device));
    }
}
