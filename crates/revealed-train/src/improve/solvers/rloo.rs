//! RLOO: REINFORCE with the other samples of the prompt as baseline.
//!
//! Objective: `max E[ r(x, y) − β·KL ]`, the completion as one action. Source: <https://arxiv.org/abs/2402.14740>.
//!
//! | here | paper |
//! |---|---|
//! | `R_i = score_i − β Σ_t (log π_old − log π_ref)` | the same |
//! | `A_i = R_i − mean of the group's others` | the same |
//! | clipped ratio of whole completions, as rollouts are reused for `num_ppo_epochs` | one pass, no ratio |

use burn::tensor::{Device, Tensor};
use revealed_objectives::advantages::rloo;
use revealed_objectives::policy::sequence_clipped_surrogate;
use revealed_objectives::reduce::sequence_sum;

use super::solver::{RolloutInputs, Solver};
use crate::improve::rollout::{KlCoefs, Rollout, kl_in_loss};
use crate::improve::targets::{ClipUnit, LossInputs, Targets};
use crate::recipe::{PolicySection, SolverName};

impl SolverName {
    /// Leave-one-out baseline (<https://arxiv.org/abs/2402.14740>).
    pub const RLOO: Self = Self::new("rloo");
}

#[derive(Debug)]
pub(super) struct Rloo;

impl Solver for Rloo {
    fn name(&self) -> SolverName {
        SolverName::RLOO
    }

    fn min_group(&self) -> usize {
        2
    }

    fn clip_unit(&self) -> ClipUnit {
        ClipUnit::Completion
    }

    fn targets(&self, inputs: RolloutInputs<'_>) -> Targets {
        Targets::of_completions(advantages(inputs.rollout, inputs.kl, inputs.device))
    }

    fn loss(&self, inputs: LossInputs, kl: KlCoefs, config: &PolicySection) -> Tensor<1> {
        loss(inputs, kl, config)
    }
}

/// `A`, `[B]`.
fn advantages(rollout: &Rollout, kl: KlCoefs, device: &Device) -> Tensor<1> {
    rloo(rollout.rewards(kl, device), rollout.group)
}

/// `mean over completions( −min(ρ A, clip(ρ) A) + β k3 )` with the ratio `ρ` of the completion, `[1]`; also the loss of REINFORCE.
pub(super) fn loss(inputs: LossInputs, kl: KlCoefs, config: &PolicySection) -> Tensor<1> {
    let LossInputs { log_probs, old_log_probs, ref_log_probs, mask, advantages, size } = inputs;
    let kl = kl_in_loss(&log_probs, ref_log_probs, kl);
    let kl = kl.map(|kl| sequence_sum(kl, mask.clone()));
    let new = sequence_sum(log_probs, mask.clone());
    let old = sequence_sum(old_log_probs, mask);
    let (low, high) = (config.epsilon, config.epsilon_high);
    let surrogate = sequence_clipped_surrogate(new, old, advantages.per_completion(), low, high);
    let losses = kl.into_iter().fold(surrogate, |losses, kl| losses + kl);
    losses.sum().div_scalar(size.completions as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::improve::rollout::example;

    fn advantages_at(kl_coef: f64) -> Vec<f32> {
        let kl = KlCoefs { reward: kl_coef, loss: 0.0 };
        let advantages = advantages(&example(), kl, &Device::flex());
        advantages.into_data().iter().collect()
    }

    #[test]
    fn the_reward_is_score_minus_kl_and_the_baseline_is_the_mean_of_the_others() {
        assert_eq!(advantages_at(0.0), [2.0, -2.0]);
        // 3 − 0.5 · 1 against 1 − 0.5 · 0
        assert_eq!(advantages_at(0.5), [1.5, -1.5]);
        assert_eq!(advantages_at(2.0), [0.0, 0.0]);
    }
}
