//! Losses that fit a reward on pairs: the demonstration of a prompt and a policy's sample of the
//! same prompt.
//!
//! The gradient of the maximum-likelihood IRL objective is `(1/β)(E_demo[∇r] − E_sample[∇r])`
//! (<https://arxiv.org/abs/2503.13538>; derivation in <https://arxiv.org/abs/2210.01808>).
//! [`linear_difference`] has exactly that gradient and is unbounded in `r`; the other losses are
//! bounded surrogates of it. `d` and `s` below are the two rewards, `Δ = d − s`.

use burn::tensor::{Tensor, activation::log_sigmoid, activation::relu};
use serde::{Deserialize, Serialize};

/// A loss on pairs of rewards, to be minimised; a closure `(demonstration, sample) -> losses` is
/// one.
pub trait RewardObjective {
    /// The loss of each pair, not reduced.
    ///
    /// # Shapes
    /// - `demonstration`, `sample`: `[P]`, the rewards of one prompt's two completions
    /// - output: `[P]`
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1>;
}

impl<F: Fn(Tensor<1>, Tensor<1>) -> Tensor<1>> RewardObjective for F {
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
        self(demonstration, sample)
    }
}

/// The pair losses of this crate, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairLoss {
    /// [`pairwise_logistic`]: bounded below, blind to an offset per prompt; the published choice.
    #[default]
    PairwiseLogistic,
    /// [`linear_difference`]: the exact gradient, unbounded: add [`reward_l2`] or stop early.
    LinearDifference,
    /// [`bce_discriminator`]: the reward is a discriminator's logit, so its offset has a meaning.
    Bce,
    /// [`hinge`] with margin 1.
    Hinge,
    /// [`least_squares`]: rewards are drawn to 1 and 0.
    LeastSquares,
}

impl RewardObjective for PairLoss {
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
        match self {
            Self::PairwiseLogistic => pairwise_logistic(demonstration, sample),
            Self::LinearDifference => linear_difference(demonstration, sample),
            Self::Bce => bce_discriminator(demonstration, sample),
            Self::Hinge => hinge(demonstration, sample, 1.0),
            Self::LeastSquares => least_squares(demonstration, sample),
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
    assert!(
        (0.0..=0.5).contains(&label_smoothing),
        "label smoothing must be between 0 and 0.5, got {label_smoothing}"
    );
    let excess = gap(demonstration, sample).sub_scalar(margin);
    let right = log_sigmoid(excess.clone()) * (1.0 - label_smoothing);
    let wrong = log_sigmoid(-excess) * label_smoothing;
    -(right + wrong)
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

/// The squared size of a pair's two rewards, a penalty that keeps an unbounded loss in place.
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::golden::{Case, gradient, numbers};

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
    fn a_closure_is_an_objective_with_its_own_numbers() {
        matches_pytorch("hinge", |d: Tensor<1>, s: Tensor<1>| hinge(d, s, 1.2));
        matches_pytorch("pairwise_logistic_smoothed", |d: Tensor<1>, s: Tensor<1>| {
            pairwise_logistic_smoothed(d, s, 0.1, 0.6)
        });
        matches_pytorch("reward_l2", reward_l2);
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
    fn no_smoothing_and_no_margin_is_the_plain_logistic_loss() {
        let case = Case::load("pairwise_logistic");
        let (d, s) = (case.constant("demonstration"), case.constant("sample"));
        case.matches_output(0, &pairwise_logistic_smoothed(d, s, 0.0, 0.0));
    }

    #[test]
    fn at_equal_rewards_every_loss_pulls_the_demonstration_up_and_the_sample_down() {
        let device = Device::flex().autodiff();
        for loss in [
            PairLoss::PairwiseLogistic,
            PairLoss::LinearDifference,
            PairLoss::Bce,
            PairLoss::Hinge,
            PairLoss::LeastSquares,
        ] {
            let start = || Tensor::<1>::from_floats([0.5], &device).require_grad();
            let (d, s) = (start(), start());
            assert!(gradient(loss.loss(d.clone(), s.clone().detach()), &d)[0] < 0.0, "{loss:?}");
            assert!(gradient(loss.loss(d.detach(), s.clone()), &s)[0] > 0.0, "{loss:?}");
        }
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
    #[should_panic(expected = "differ in shape")]
    fn pairs_of_different_length_panic() {
        let device = Device::flex();
        let _ = bce_discriminator(Tensor::zeros([2], &device), Tensor::zeros([1], &device));
    }
}
