//! The policy as its own reward: losses on the log-ratio of a policy to a reference.
//!
//! The optimum of the KL-regularised problem is `π ∝ π_ref exp(r/β)`, so `β log(π/π_ref)` is the
//! reward it maximises, up to an offset per prompt, and a loss on rewards becomes one on the policy
//! itself: no reward model and no reinforcement learning. These are the baselines of the two-stage
//! method. `d` and `s` are the sequence log-ratios of a demonstration and of a sample,
//! `Δ = d − s`:
//!
//! | method | reference | loss of a pair |
//! |---|---|---|
//! | SPIN | last round's policy | `−log σ(λΔ)`, or `max(0, 1 − λΔ)` |
//! | IRFT | the SFT model; samples are refreshed within an epoch | as SPIN, or `−λΔ` |
//! | GSIL | the policy that drew the samples | unpaired, of scores `αd + b` and `αs + b` |
//! | DPO | the initial policy; `d` is the preferred completion | `−log σ(βΔ)`, smoothed |
//! | IPO | as DPO | `(Δ − 1/(2β))²` |
//!
//! [`iq_learn`] has no samples and no reference.

use burn::tensor::{
    Bool, Tensor,
    activation::{relu, sigmoid},
};
use serde::{Deserialize, Serialize};

use crate::{
    likelihood::token_cross_entropy,
    pairs::{self, RewardObjective},
    policy, reduce,
};

/// The losses on log-ratios of this crate, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogRatioLoss {
    /// [`spin_logistic`].
    #[default]
    Spin,
    /// [`spin_hinge`].
    SpinHinge,
    /// [`irft_linear`]: unbounded.
    Irft,
    /// [`gsil_bernoulli`].
    GsilBernoulli,
    /// [`gsil_brier`].
    GsilBrier,
    /// [`gsil_hinge`].
    GsilHinge,
    /// [`gsil_kliep`]: unbounded below in the demonstration.
    GsilKliep,
    /// [`gsil_lsif`]: unbounded below in the demonstration.
    GsilLsif,
    /// [`dpo_sigmoid`].
    Dpo,
    /// [`ipo`].
    Ipo,
}

impl LogRatioLoss {
    /// Whether an offset changes the loss: it cancels in a difference of two log-ratios.
    pub fn takes_offset(self) -> bool {
        use LogRatioLoss::{GsilBernoulli, GsilBrier, GsilHinge, GsilKliep, GsilLsif};
        matches!(self, GsilBernoulli | GsilBrier | GsilHinge | GsilKliep | GsilLsif)
    }

    /// Whether the loss has labels to smooth.
    pub fn takes_smoothing(self) -> bool {
        self == Self::Dpo
    }
}

/// A named loss on the log-ratios of a pair, with its numbers.
///
/// A loss reads `offset` and `label_smoothing` only where [`LogRatioLoss::takes_offset`] and
/// [`LogRatioLoss::takes_smoothing`] say so; a caller whose user may have meant something should
/// refuse the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogRatioObjective {
    /// The loss.
    pub loss: LogRatioLoss,
    /// Reward per nat of log-ratio, positive: λ of SPIN and IRFT, α of GSIL, β of DPO and IPO.
    pub scale: f64,
    /// The score of a log-ratio of 0: β of GSIL.
    pub offset: f64,
    /// The chance that a pair is the wrong way round, in `[0, 0.5]`: ε of DPO.
    pub label_smoothing: f64,
}

impl RewardObjective for LogRatioObjective {
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
        let (d, s, scale) = (demonstration, sample, self.scale);
        let score = |log_ratio: Tensor<1>| log_ratio * scale + self.offset;
        match self.loss {
            LogRatioLoss::Spin => spin_logistic(d, s, scale),
            LogRatioLoss::SpinHinge => spin_hinge(d, s, scale),
            LogRatioLoss::Irft => irft_linear(d, s, scale),
            LogRatioLoss::GsilBernoulli => gsil_bernoulli(score(d), score(s)),
            LogRatioLoss::GsilBrier => gsil_brier(score(d), score(s)),
            LogRatioLoss::GsilHinge => gsil_hinge(score(d), score(s)),
            LogRatioLoss::GsilKliep => gsil_kliep(score(d), score(s)),
            LogRatioLoss::GsilLsif => gsil_lsif(score(d), score(s)),
            LogRatioLoss::Dpo => dpo_sigmoid(d, s, scale, self.label_smoothing),
            LogRatioLoss::Ipo => ipo(d, s, scale),
        }
    }
}

/// The implicit reward of each completion, in nats.
///
/// `log π(y|x) − log π_ref(y|x) = Σ_t m_bt (log π(y_t) − log π_ref(y_t))`
///
/// With the SFT policy over the initial model it is a reward that needs no training.
///
/// # Shapes
/// - `log_probs`, `ref_log_probs`, `mask`: `[B,T]`
/// - output: `[B]`; 0 for a row that keeps nothing
///
/// # Panics
/// When the shapes differ.
///
/// Source: <https://arxiv.org/abs/2305.18290>; without training, <https://arxiv.org/abs/2405.15624>.
pub fn sequence_log_ratio(
    log_probs: Tensor<2>,
    ref_log_probs: Tensor<2>,
    mask: Tensor<2, Bool>,
) -> Tensor<1> {
    reduce::sequence_sum(policy::log_ratio(log_probs, ref_log_probs), mask)
}

/// The implicit reward of each token, in nats: the dense form of [`sequence_log_ratio`], which is
/// its sum over a row.
///
/// `m_bt (log π(y_t) − log π_ref(y_t))`, 0 where masked
///
/// # Shapes
/// - `log_probs`, `ref_log_probs`, `mask`: `[B,T]`
/// - output: `[B,T]`
///
/// # Panics
/// When the shapes differ.
///
/// Source: <https://arxiv.org/abs/2510.02493>.
pub fn dense_log_ratio(
    log_probs: Tensor<2>,
    ref_log_probs: Tensor<2>,
    mask: Tensor<2, Bool>,
) -> Tensor<2> {
    reduce::keep(policy::log_ratio(log_probs, ref_log_probs), mask)
}

/// The self-play loss: tell the demonstration from the last round's own sample.
///
/// `−log σ(λΔ)`
///
/// # Shapes
/// - `demonstration`, `sample`: log-ratios `[P]`; `lambda` λ > 0 (0.1 in the source)
/// - output: `[P]`, at least 0; log 2 where the policy is still the reference
///
/// # Panics
/// When the shapes differ.
///
/// Source: Eq. 4.7 of <https://arxiv.org/abs/2401.01335> with the logistic ℓ.
pub fn spin_logistic(demonstration: Tensor<1>, sample: Tensor<1>, lambda: f64) -> Tensor<1> {
    pairs::pairwise_logistic(demonstration * lambda, sample * lambda)
}

/// The self-play loss with a margin instead of a tail.
///
/// `max(0, 1 − λΔ)`
///
/// # Shapes
/// - `demonstration`, `sample`: log-ratios `[P]`; `lambda` λ > 0
/// - output: `[P]`, at least 0; 1 where the policy is still the reference
///
/// # Panics
/// When the shapes differ.
///
/// Source: Eq. 4.7 of <https://arxiv.org/abs/2401.01335> with the hinge ℓ.
pub fn spin_hinge(demonstration: Tensor<1>, sample: Tensor<1>, lambda: f64) -> Tensor<1> {
    pairs::hinge(demonstration * lambda, sample * lambda, 1.0)
}

/// The linear self-play loss, whose gradient is that of the maximum-likelihood IRL objective.
///
/// `−λΔ`
///
/// # Shapes
/// - `demonstration`, `sample`: log-ratios `[P]`; `lambda` λ > 0
/// - output: `[P]`, unbounded
///
/// # Panics
/// When the shapes differ.
///
/// Source: IRFT of <https://arxiv.org/abs/2405.17888>, the loss `none` of its published code.
pub fn irft_linear(demonstration: Tensor<1>, sample: Tensor<1>, lambda: f64) -> Tensor<1> {
    pairs::linear_difference(demonstration, sample) * lambda
}

/// GSIL with the Bernoulli (logistic) loss: a score is the logit of "this is a demonstration".
///
/// `−log σ(s_demo) − log σ(−s_gen)`
///
/// # Shapes
/// - `demonstration`, `sample`: scores `α log-ratio + β`, `[P]`
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ.
///
/// Source: <https://arxiv.org/abs/2410.10093>, as in its published code.
pub fn gsil_bernoulli(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    pairs::bce_discriminator(demonstration, sample)
}

/// GSIL with the Brier loss: the squared error of the probability of "this is a demonstration".
///
/// `(1 − σ(s_demo))² + σ(s_gen)²`
///
/// # Shapes
/// - `demonstration`, `sample`: scores `α log-ratio + β`, `[P]`
/// - output: `[P]`, between 0 and 2
///
/// # Panics
/// When the shapes differ.
///
/// Source: <https://arxiv.org/abs/2410.10093>; without a factor ½, as in its published code.
pub fn gsil_brier(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    assert_eq!(sample.dims(), demonstration.dims(), "sample and demonstration differ in shape");
    sigmoid(-demonstration).square() + sigmoid(sample).square()
}

/// GSIL with the hinge loss: demonstrations above 1, samples below −1.
///
/// `max(0, 1 − s_demo) + max(0, 1 + s_gen)`
///
/// # Shapes
/// - `demonstration`, `sample`: scores `α log-ratio + β`, `[P]`
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ.
///
/// Source: <https://arxiv.org/abs/2410.10093>, as in its published code.
pub fn gsil_hinge(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    assert_eq!(sample.dims(), demonstration.dims(), "sample and demonstration differ in shape");
    relu(-demonstration.sub_scalar(1.0)) + relu(sample.add_scalar(1.0))
}

/// GSIL with the loss of the KL importance estimation procedure: a score is a log density ratio.
///
/// `−s_demo + exp(s_gen)`
///
/// # Shapes
/// - `demonstration`, `sample`: scores `α log-ratio + β`, `[P]`; the sample's below 88, where exp
///   leaves f32
/// - output: `[P]`, unbounded below
///
/// # Panics
/// When the shapes differ.
///
/// Source: <https://arxiv.org/abs/2410.10093>, as in its published code.
pub fn gsil_kliep(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    assert_eq!(sample.dims(), demonstration.dims(), "sample and demonstration differ in shape");
    sample.exp() - demonstration
}

/// GSIL with the loss of least-squares importance fitting: the exp of a score is a density ratio.
///
/// `−exp(s_demo) + ½ exp(s_gen)²`
///
/// # Shapes
/// - `demonstration`, `sample`: scores `α log-ratio + β`, `[P]`; the sample's below 44, where the
///   square leaves f32
/// - output: `[P]`, unbounded below
///
/// # Panics
/// When the shapes differ.
///
/// Source: <https://arxiv.org/abs/2410.10093>, as in its published code.
pub fn gsil_lsif(demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
    assert_eq!(sample.dims(), demonstration.dims(), "sample and demonstration differ in shape");
    sample.exp().square() * 0.5 - demonstration.exp()
}

/// Direct preference optimisation, with labels that may be wrong.
///
/// `−(1 − ε) log σ(βΔ) − ε log σ(−βΔ)`
///
/// # Shapes
/// - `demonstration`, `sample`: log-ratios `[P]` of the preferred and the other completion; `beta`
///   β > 0 (0.1 in TRL); `label_smoothing` ε in `[0, 0.5]`
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ or ε is outside `[0, 0.5]`.
///
/// Source: Eq. 7 of <https://arxiv.org/abs/2305.18290>; smoothing as in
/// <https://ericmitchell.ai/cdpo.pdf>; both as `sigmoid` in TRL 1.16 `DPOTrainer`.
pub fn dpo_sigmoid(
    demonstration: Tensor<1>,
    sample: Tensor<1>,
    beta: f64,
    label_smoothing: f64,
) -> Tensor<1> {
    pairs::pairwise_logistic_smoothed(demonstration * beta, sample * beta, label_smoothing, 0.0)
}

/// Identity preference optimisation: regresses the gap to a finite target.
///
/// `(Δ − 1/(2β))²`
///
/// The source sums a log-ratio over the completion's tokens; TRL averages it over them, so its β
/// is one per token. Either kind may be passed.
///
/// # Shapes
/// - `demonstration`, `sample`: log-ratios `[P]` of the preferred and the other completion; `beta`
///   β > 0
/// - output: `[P]`, at least 0
///
/// # Panics
/// When the shapes differ.
///
/// Source: Eq. 17 of <https://arxiv.org/abs/2310.12036>.
pub fn ipo(demonstration: Tensor<1>, sample: Tensor<1>, beta: f64) -> Tensor<1> {
    pairs::linear_difference(sample, demonstration).sub_scalar(0.5 / beta).square()
}

/// IQ-Learn on demonstrations: cross-entropy plus the squared size of the reward that the policy
/// and its value function imply.
///
/// `λ (v_t + log π(y_t) − γ v_{t+1})² − log π(y_t)`, 0 where masked; `v_{t+1}` is 0 after the row's
/// last kept token, the terminal state. λ = 0 is [`token_cross_entropy`].
///
/// A row's kept tokens must be contiguous (a completion with padding on either side).
///
/// # Shapes
/// - `log_probs`, `values`, `mask`: `[B,T]`, `values` the soft value of the state in which the token
///   is chosen; `lambda` λ ≥ 0; `gamma` γ in `[0, 1]`
/// - output: `[B,T]`; reduce it with [`token_mean`](crate::reduce::token_mean)
///
/// # Panics
/// When the shapes differ.
///
/// Source: the temporal-difference form of <https://arxiv.org/abs/2409.01369>.
pub fn iq_learn(
    log_probs: Tensor<2>,
    values: Tensor<2>,
    mask: Tensor<2, Bool>,
    lambda: f64,
    gamma: f64,
) -> Tensor<2> {
    let [batch, time] = log_probs.dims();
    let values = reduce::keep(values, mask.clone());
    let kept = reduce::keep(log_probs, mask.clone());
    let terminal = Tensor::zeros([batch, 1], &values.device());
    let next_values = Tensor::cat(vec![values.clone(), terminal], 1).narrow(1, 1, time);
    let rewards = values + kept.clone() - next_values * gamma;
    reduce::keep(rewards.square() * lambda, mask.clone()) + token_cross_entropy(kept, mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Case;

    fn matches_pytorch(name: &'static str, objective: impl RewardObjective) {
        let case = Case::load(name);
        let (d, s) = (case.tracked("demonstration"), case.tracked("sample"));
        let losses = objective.loss(d.clone(), s.clone());
        case.matches(losses, &[("demonstration", &d), ("sample", &s)]);
    }

    const LOSSES: [(&str, &str, LogRatioLoss); 10] = [
        ("spin_logistic", "spin", LogRatioLoss::Spin),
        ("spin_hinge", "spin-hinge", LogRatioLoss::SpinHinge),
        ("irft_linear", "irft", LogRatioLoss::Irft),
        ("gsil_bernoulli", "gsil-bernoulli", LogRatioLoss::GsilBernoulli),
        ("gsil_brier", "gsil-brier", LogRatioLoss::GsilBrier),
        ("gsil_hinge", "gsil-hinge", LogRatioLoss::GsilHinge),
        ("gsil_kliep", "gsil-kliep", LogRatioLoss::GsilKliep),
        ("gsil_lsif", "gsil-lsif", LogRatioLoss::GsilLsif),
        ("dpo_sigmoid", "dpo", LogRatioLoss::Dpo),
        ("ipo", "ipo", LogRatioLoss::Ipo),
    ];

    /// The file has one scale, offset and smoothing for all ten, so the test also fails for a loss
    /// that reads a number it should not.
    #[test]
    fn every_named_loss_and_its_gradients_equal_pytorch() {
        for (name, _, loss) in LOSSES {
            let case = Case::load(name);
            let (scale, offset) = (case.number("scale"), case.number("offset"));
            let label_smoothing = case.number("label_smoothing");
            matches_pytorch(name, LogRatioObjective { loss, scale, offset, label_smoothing });
        }
    }

    #[test]
    fn losses_have_kebab_case_names_and_declare_which_numbers_they_read() {
        for (_, name, loss) in LOSSES {
            assert_eq!(serde_json::to_value(loss).ok(), Some(name.into()));
            assert_eq!(serde_json::from_value::<LogRatioLoss>(name.into()).unwrap(), loss);
            assert_eq!(loss.takes_offset(), name.starts_with("gsil"));
            assert_eq!(loss.takes_smoothing(), name == "dpo");
        }
        assert_eq!(LogRatioLoss::default(), LogRatioLoss::Spin);
    }

    #[test]
    fn log_ratios_and_their_gradients_equal_pytorch() {
        let case = Case::load("dense_log_ratio");
        let (new, old) = (case.tracked::<2>("log_probs"), case.tracked("ref_log_probs"));
        let ratios = dense_log_ratio(new.clone(), old.clone(), case.mask());
        case.matches(ratios, &[("log_probs", &new), ("ref_log_probs", &old)]);

        let case = Case::load("sequence_log_ratio");
        let (new, old) = (case.tracked::<2>("log_probs"), case.tracked("ref_log_probs"));
        let ratios = sequence_log_ratio(new.clone(), old.clone(), case.mask());
        let gradients = case.backward(ratios);
        case.matches_gradient(&gradients, "log_probs", &new);
        case.matches_gradient(&gradients, "ref_log_probs", &old);
    }

    #[test]
    fn iq_learn_and_its_gradients_equal_a_loop_over_unpadded_rows() {
        let case = Case::load("iq_learn");
        let (log_probs, values) = (case.tracked::<2>("log_probs"), case.tracked("values"));
        let (lambda, gamma) = (case.number("lambda"), case.number("gamma"));
        let losses = iq_learn(log_probs.clone(), values.clone(), case.mask(), lambda, gamma);
        case.matches(losses, &[("log_probs", &log_probs), ("values", &values)]);
    }

    #[test]
    fn iq_learn_without_its_penalty_is_cross_entropy() {
        let case = Case::load("token_cross_entropy");
        let log_probs = case.constant::<2>("log_probs");
        case.matches_output(0, &iq_learn(log_probs.clone(), log_probs, case.mask(), 0.0, 0.9));
    }
}
