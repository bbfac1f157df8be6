//! GRPO: advantages relative to the prompt's group, the KL in the loss.
//!
//! Objective: `max E[ clipped surrogate(A) − β·k3 ]` per token. Source: <https://arxiv.org/abs/2402.03300>.
//!
//! | here | paper |
//! |---|---|
//! | `A = (r − mean) / (std + 1e-4)`, or without the division | with it |
//! | mean within completions, then over them; or over all tokens | the former |
//! | clips `1 − epsilon`, `1 + epsilon_high` | one ε |
//!
//! With the KL in the loss the optimum is not `π_ref · exp(r/β)`: on-policy, the gradient of k3 is that of `KL(π_ref ‖ π)`, the
//! other direction, per token. `tests/oracle` measures the difference; `kl_placement = "reward"` has the usual optimum.

use burn::tensor::{Device, Tensor};
use revealed_objectives::GroupScale;
use revealed_objectives::advantages::grpo;
use revealed_objectives::policy::clipped_surrogate;
use revealed_objectives::reduce::{sequence_mean, token_mean};

use super::solver::{RolloutInputs, Solver};
use crate::improve::rollout::{KlCoefs, Rollout, kl_in_loss};
use crate::improve::targets::{ClipUnit, LossInputs, Targets};
use crate::recipe::{KlPlacement, Normalization, PolicySection, SolverName};

impl SolverName {
    /// Group-relative advantages (<https://arxiv.org/abs/2402.03300>).
    pub const GRPO: Self = Self::new("grpo");
}

#[derive(Debug)]
pub(super) struct Grpo;

impl Solver for Grpo {
    fn name(&self) -> SolverName {
        SolverName::GRPO
    }

    fn kl_placement(&self) -> KlPlacement {
        KlPlacement::Loss
    }

    fn min_group(&self) -> usize {
        2
    }

    fn clip_unit(&self) -> ClipUnit {
        ClipUnit::Token
    }

    fn targets(&self, inputs: RolloutInputs<'_>) -> Targets {
        let RolloutInputs { rollout, kl, config, device, .. } = inputs;
        Targets::of_completions(advantages(rollout, kl, config.group_scale, device))
    }

    fn loss(&self, inputs: LossInputs, kl: KlCoefs, config: &PolicySection) -> Tensor<1> {
        loss(inputs, kl, config)
    }
}

/// `A`, `[B]`.
fn advantages(
    rollout: &Rollout,
    kl: KlCoefs,
    group_scale: GroupScale,
    device: &Device,
) -> Tensor<1> {
    grpo(rollout.rewards(kl, device), rollout.group, group_scale)
}

/// `mean( −min(ρ A, clip(ρ) A) + β k3 )` with the ratio `ρ` of a token, `[1]`; the mean by `policy.normalization`.
fn loss(inputs: LossInputs, kl: KlCoefs, config: &PolicySection) -> Tensor<1> {
    let LossInputs { log_probs, old_log_probs, ref_log_probs, mask, advantages, size } = inputs;
    let kl = kl_in_loss(&log_probs, ref_log_probs, kl);
    let surrogate = clipped_surrogate(
        log_probs,
        old_log_probs,
        advantages.per_token,
        config.epsilon,
        config.epsilon_high,
    );
    let per_token = kl.into_iter().fold(surrogate, |losses, kl| losses + kl);
    match config.normalization {
        Normalization::Sequence => {
            sequence_mean(per_token, mask).sum().div_scalar(size.completions as f64)
        }
        Normalization::Token => token_mean(per_token, mask, size.tokens as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::improve::rollout::example;
    use crate::improve::targets::{MiniBatchSize, example_inputs};
    use burn::tensor::TensorData;

    fn rows(values: [f32; 4], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [2, 2]), device)
    }

    /// The loss of two completions, of two tokens and of one, with the advantages 1 and −2.
    fn loss_at(ref_log_probs: [f32; 4], normalization: Normalization) -> f32 {
        let device = Device::flex();
        let config = PolicySection { normalization, ..PolicySection::default() };
        let kl = KlCoefs { reward: 0.0, loss: 0.5 };
        let log_probs = || rows([-1.0, -1.0, -1.0, 0.0], &device);
        let mask = TensorData::new(vec![true, true, true, false], [2, 2]);
        let advantages = Tensor::from_floats([1.0, -2.0], &device);
        let reference = rows(ref_log_probs, &device);
        let mask = Tensor::from_data(mask, &device);
        let size = MiniBatchSize { completions: 2, tokens: 3 };
        let log_probs = [log_probs(), log_probs(), reference];
        let inputs = example_inputs(log_probs, mask, advantages, size);
        loss(inputs, kl, &config).into_scalar()
    }

    #[test]
    fn the_mean_is_over_completions_or_over_tokens() {
        let same = [-1.0, -1.0, -1.0, 0.0];
        // −(1 + −2) / 2 and −(1 + 1 − 2) / 3
        assert_eq!(loss_at(same, Normalization::Sequence), 0.5);
        assert_eq!(loss_at(same, Normalization::Token), 0.0);
    }

    #[test]
    fn a_distance_to_the_reference_raises_the_loss() {
        // k3 of one token whose reference is 1 nat lower: e⁻¹ + 1 − 1, half of it in a mean over 3.
        let cost = loss_at([-2.0, -1.0, -1.0, 0.0], Normalization::Token);
        assert!((cost - 0.5 * (-1f32).exp() / 3.0).abs() < 1e-6, "{cost}");
    }

    #[test]
    fn the_kl_is_in_the_loss_and_not_in_the_advantages() {
        let config = PolicySection { solver: SolverName::GRPO, ..PolicySection::default() };
        let advantages =
            advantages(&example(), config.kl_coefs(), GroupScale::None, &Device::flex());
        let ours: Vec<f32> = advantages.into_data().iter().collect();
        assert_eq!(ours, [1.0, -1.0]);
    }
}
