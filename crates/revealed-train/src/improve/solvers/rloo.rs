//! RLOO: REINFORCE with the other samples of the prompt as baseline.
//!
//! Objective: `max E[ r(x, y) − β·KL ]`, the completion as one action. Source: <https://arxiv.org/abs/2402.14740>.
//!
//! | here | paper |
//! |---|---|
//! | `R_i = score_i − β Σ_t (log π_old − log π_ref)` | the same |
//! | `A_i = R_i − mean of the group's others` | the same |
//! | clipped ratio of whole completions, as rollouts are reused for `num_ppo_epochs` | one pass, no ratio |

use burn::tensor::{Bool, Device, Tensor};
use revealed_objectives::advantages::rloo;
use revealed_objectives::policy::sequence_clipped_surrogate;
use revealed_objectives::reduce::sequence_sum;

use crate::improve::rollout::{Rollout, kl_in_loss};
use crate::recipe::PolicySection;

/// `A`, one a completion.
pub(crate) fn advantages(rollout: &Rollout, config: &PolicySection, device: &Device) -> Tensor<1> {
    rloo(rollout.rewards(config.kl_coefs(), device), rollout.group)
}

/// The share of a mini-batch of `rows` completions in its loss; REINFORCE's too.
///
/// # Shapes
/// - log_probs, old_log_probs, ref_log_probs, mask: `[B, C]`; advantages: `[B]`
pub(crate) fn loss(
    log_probs: Tensor<2>,
    old_log_probs: Tensor<2>,
    ref_log_probs: Tensor<2>,
    mask: Tensor<2, Bool>,
    advantages: Tensor<1>,
    rows: usize,
    config: &PolicySection,
) -> Tensor<1> {
    let kl = kl_in_loss(&log_probs, ref_log_probs, config.kl_coefs());
    let kl = kl.map(|kl| sequence_sum(kl, mask.clone()));
    let new = sequence_sum(log_probs, mask.clone());
    let old = sequence_sum(old_log_probs, mask);
    let (low, high) = (config.epsilon, config.epsilon_high);
    let surrogate = sequence_clipped_surrogate(new, old, advantages, low, high);
    let losses = kl.into_iter().fold(surrogate, |losses, kl| losses + kl);
    losses.sum().div_scalar(rows as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::improve::rollout::example;

    fn advantages_at(kl_coef: f64) -> Vec<f32> {
        let config = PolicySection { kl_coef, ..PolicySection::default() };
        let advantages = advantages(&example(), &config, &Device::flex());
        advantages.into_data().iter().collect()
    }

    #[test]
    fn the_reward_is_the_score_less_the_kl_and_the_baseline_the_other_s() {
        assert_eq!(advantages_at(0.0), [2.0, -2.0]);
        // 3 − 0.5 · 1 against 1 − 0.5 · 0
        assert_eq!(advantages_at(0.5), [1.5, -1.5]);
        assert_eq!(advantages_at(2.0), [0.0, 0.0]);
    }
}
