//! GRPO: advantages relative to the prompt's group, the KL in the loss.
//!
//! Objective: `max E[ clipped surrogate(A) − β·k3 ]` a token. Source: <https://arxiv.org/abs/2402.03300>.
//!
//! | here | paper |
//! |---|---|
//! | `A = (r − mean) / (std + 1e-4)`, or without the division | with it |
//! | mean within completions, then over them; or over all tokens | the former |
//! | clips `1 − epsilon`, `1 + epsilon_high` | one ε |
//!
//! With the KL in the loss the optimum is not `π_ref · exp(r/β)`: on-policy, the gradient of k3 is that of `KL(π_ref ‖ π)`, the
//! other direction, per token. `tests/oracle` sees the difference; `kl_placement = "reward"` has the usual optimum.

use burn::tensor::{Bool, Device, Tensor};
use revealed_objectives::advantages::{grpo, on_every_token};
use revealed_objectives::policy::clipped_surrogate;
use revealed_objectives::reduce::{sequence_mean, token_mean};

use crate::improve::rollout::{Rollout, kl_in_loss};
use crate::recipe::{Normalization, PolicySection};

/// `A`, one a completion.
pub(crate) fn advantages(rollout: &Rollout, config: &PolicySection, device: &Device) -> Tensor<1> {
    grpo(rollout.rewards(config.kl_coefs(), device), rollout.group, config.group_scale)
}

/// The share of a mini-batch of `rows` completions and `tokens` tokens in its loss.
///
/// # Shapes
/// - log_probs, old_log_probs, ref_log_probs, mask: `[B, C]`; advantages: `[B]`
pub(crate) fn loss(
    log_probs: Tensor<2>,
    old_log_probs: Tensor<2>,
    ref_log_probs: Tensor<2>,
    mask: Tensor<2, Bool>,
    advantages: Tensor<1>,
    (rows, tokens): (usize, usize),
    config: &PolicySection,
) -> Tensor<1> {
    let advantages = on_every_token(advantages, mask.clone());
    let kl = kl_in_loss(&log_probs, ref_log_probs, config.kl_coefs());
    let surrogate = clipped_surrogate(
        log_probs,
        old_log_probs,
        advantages,
        config.epsilon,
        config.epsilon_high,
    );
    let per_token = kl.into_iter().fold(surrogate, |losses, kl| losses + kl);
    match config.normalization {
        Normalization::Sequence => sequence_mean(per_token, mask).sum().div_scalar(rows as f64),
        Normalization::Token => token_mean(per_token, mask, tokens as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Solver;
    use burn::tensor::TensorData;
    use revealed_objectives::GroupScale;

    fn rows(values: [f32; 4], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [2, 2]), device)
    }

    /// The loss of two completions, of two tokens and of one, with the advantages 1 and −2.
    fn loss_at(ref_log_probs: [f32; 4], normalization: Normalization) -> f32 {
        let device = Device::flex();
        let solver = Solver::Grpo;
        let config =
            PolicySection { solver, normalization, kl_coef: 0.5, ..PolicySection::default() };
        let log_probs = || rows([-1.0, -1.0, -1.0, 0.0], &device);
        let mask = TensorData::new(vec![true, true, true, false], [2, 2]);
        let advantages = Tensor::from_floats([1.0, -2.0], &device);
        let reference = rows(ref_log_probs, &device);
        let mask = Tensor::from_data(mask, &device);
        loss(log_probs(), log_probs(), reference, mask, advantages, (2, 3), &config).into_scalar()
    }

    #[test]
    fn means_go_over_completions_or_over_tokens() {
        let same = [-1.0, -1.0, -1.0, 0.0];
        // −(1 + −2) / 2 and −(1 + 1 − 2) / 3
        assert_eq!(loss_at(same, Normalization::Sequence), 0.5);
        assert_eq!(loss_at(same, Normalization::Token), 0.0);
    }

    #[test]
    fn leaving_the_reference_costs() {
        // k3 of one token whose reference is 1 nat lower: e⁻¹ + 1 − 1, half of it in a mean over 3.
        let cost = loss_at([-2.0, -1.0, -1.0, 0.0], Normalization::Token);
        assert!((cost - 0.5 * (-1f32).exp() / 3.0).abs() < 1e-6, "{cost}");
    }

    #[test]
    fn the_kl_is_in_the_loss_and_not_in_the_advantages() {
        let rollout = crate::improve::rollout::example();
        let (solver, group_scale) = (Solver::Grpo, GroupScale::None);
        let config = PolicySection { solver, group_scale, ..PolicySection::default() };
        let ours: Vec<f32> =
            advantages(&rollout, &config, &Device::flex()).into_data().iter().collect();
        assert_eq!(ours, [1.0, -1.0]);
    }
}
