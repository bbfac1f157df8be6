//! PPO: per-token rewards, a critic, generalized advantages.
//!
//! Objective: `max E[ clipped surrogate(A) ] − value_coef · clipped value loss`, with the KL in the reward.
//! Sources: <https://arxiv.org/abs/1707.06347>, <https://arxiv.org/abs/1506.02438>; for language models
//! <https://arxiv.org/abs/1909.08593>.
//!
//! | here | published IRL code |
//! |---|---|
//! | critic: the round's first policy with a head of 0, trained from the first step | from the reward model |
//! | gradients of policy and critic are clipped separately | together |
//! | advantages whitened over the rollout, mean removed | the same |
//! | the score is given at the last completion token; the parts of a dense reward at their tokens | at the token after it if EOS came early |

use burn::tensor::{Bool, Device, Tensor, TensorData};
use revealed_objectives::advantages::gae;
use revealed_objectives::kl::{k1, kl_shaped_rewards};
use revealed_objectives::policy::clipped_surrogate;
use revealed_objectives::reduce::{MeanShift, token_mean, whiten};

use super::solver::{RolloutInputs, Solver};
use crate::improve::rollout::{KlCoefs, Rollout, kl_in_loss};
use crate::improve::targets::{ClipUnit, LossInputs, Targets};
use crate::recipe::{PolicySection, SolverName};

impl SolverName {
    /// Proximal policy optimization with a critic (<https://arxiv.org/abs/1707.06347>).
    pub const PPO: Self = Self::new("ppo");
}

#[derive(Debug)]
pub(super) struct Ppo;

impl Solver for Ppo {
    fn name(&self) -> SolverName {
        SolverName::PPO
    }

    fn min_group(&self) -> usize {
        1
    }

    fn uses_critic(&self) -> bool {
        true
    }

    fn clip_unit(&self) -> ClipUnit {
        ClipUnit::Token
    }

    fn targets(&self, inputs: RolloutInputs<'_>) -> Targets {
        let RolloutInputs { rollout, values, kl, config, device, .. } = inputs;
        let (advantages, returns) = advantages(rollout, &values, kl, config, device);
        Targets::Tokens { advantages, returns, values }
    }

    fn loss(&self, inputs: LossInputs, kl: KlCoefs, config: &PolicySection) -> Tensor<1> {
        let LossInputs { log_probs, old_log_probs, ref_log_probs, mask, advantages, size } = inputs;
        let kl = kl_in_loss(&log_probs, ref_log_probs, kl);
        let (low, high) = (config.epsilon, config.epsilon_high);
        let surrogate =
            clipped_surrogate(log_probs, old_log_probs, advantages.per_token, low, high);
        let losses = kl.into_iter().fold(surrogate, |losses, kl| losses + kl);
        token_mean(losses, mask, size.tokens as f64)
    }
}

/// Advantages and returns per completion token.
fn advantages(
    rollout: &Rollout,
    values: &[Vec<f32>],
    kl: KlCoefs,
    config: &PolicySection,
    device: &Device,
) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let lengths: Vec<usize> = values.iter().map(Vec::len).collect();
    let pad = |rows: &[Vec<f32>]| padded(rows, &lengths, device);
    let width = lengths.iter().copied().max().unwrap_or(0);
    let mask: Vec<bool> = lengths.iter().flat_map(|l| (0..width).map(move |t| t < *l)).collect();
    let mask: Tensor<2, Bool> =
        Tensor::from_data(TensorData::new(mask, [lengths.len(), width]), device);
    let dense = rollout.token_scores.as_ref();
    // The part of the score that no token has is given at the last one.
    let last: Vec<f32> = (0..lengths.len())
        .map(|row| {
            let given = dense.map_or(0.0, |all| all[row].iter().map(|v| f64::from(*v)).sum());
            (rollout.scores[row] - given) as f32
        })
        .collect();
    let last = Tensor::from_floats(last.as_slice(), device);
    let nats = k1(pad(&rollout.old_log_probs), pad(&rollout.ref_log_probs));
    let rewards = kl_shaped_rewards(last, nats, mask.clone(), kl.reward);
    let rewards = dense.into_iter().fold(rewards, |sum, dense| sum + pad(dense));
    let (advantages, returns) =
        gae(rewards, pad(values), mask.clone(), config.gamma, config.gae_lambda);
    let advantages = whiten(advantages, mask, MeanShift::Remove);
    (ragged(advantages, &lengths), ragged(returns, &lengths))
}

/// Rows padded with 0, `[B, C]`.
fn padded(rows: &[Vec<f32>], lengths: &[usize], device: &Device) -> Tensor<2> {
    let width = lengths.iter().copied().max().unwrap_or(0);
    let mut values = vec![0f32; rows.len() * width];
    for (row, given) in rows.iter().enumerate() {
        values[row * width..row * width + given.len()].copy_from_slice(given);
    }
    Tensor::from_data(TensorData::new(values, [rows.len(), width]), device)
}

/// Rows `[B, C]` without padding.
fn ragged(values: Tensor<2>, lengths: &[usize]) -> Vec<Vec<f32>> {
    let width = values.dims()[1];
    let flat: Vec<f32> = values.into_data().iter::<f32>().collect();
    lengths.iter().enumerate().map(|(row, l)| flat[row * width..row * width + l].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::improve::rollout::example;

    const KL: KlCoefs = KlCoefs { reward: 0.5, loss: 0.0 };

    #[test]
    fn returns_are_the_score_minus_the_kl_of_later_tokens() {
        let config = PolicySection { gamma: 1.0, gae_lambda: 1.0, ..PolicySection::default() };
        let values = [vec![0.0; 3], vec![0.0]];
        let (advantages, returns) = advantages(&example(), &values, KL, &config, &Device::flex());
        // The score is given at the last token; each token costs half its KL of 0.5, 0.25 and 0.25.
        let expected: [&[f32]; 2] = [&[2.5, 2.75, 2.875], &[1.0]];
        assert_eq!(returns, expected);
        // Whitened over the rollout's four tokens.
        let all: Vec<f32> = advantages.concat();
        let mean = all.iter().sum::<f32>() / 4.0;
        let variance = all.iter().map(|a| (a - mean).powi(2)).sum::<f32>() / 3.0;
        assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{all:?}");
        assert!(all[2] > all[1] && all[1] > all[0] && all[0] > all[3]);
    }

    #[test]
    fn with_a_perfect_critic_all_advantages_are_0() {
        let config = PolicySection { gamma: 1.0, ..PolicySection::default() };
        let values = [vec![2.5, 2.75, 2.875], vec![1.0]];
        let (advantages, returns) = advantages(&example(), &values, KL, &config, &Device::flex());
        assert_eq!(returns, values);
        assert!(advantages.concat().iter().all(|advantage| *advantage == 0.0));
    }
    #[test]
    fn returns_contain_the_kl_only_if_it_is_in_the_reward() {
        let values = [vec![0.0; 3], vec![0.0]];
        let first = |kl| {
            let config = PolicySection { gae_lambda: 1.0, ..PolicySection::default() };
            advantages(&example(), &values, kl, &config, &Device::flex()).1[0][0]
        };
        assert_eq!((first(KL), first(KlCoefs { reward: 0.0, loss: 0.5 })), (2.5, 3.0));
    }

    #[test]
    fn a_dense_reward_is_given_at_its_tokens_and_the_rest_at_the_last_one() {
        let values = [vec![0.0; 3], vec![0.0]];
        let config = PolicySection { gae_lambda: 1.0, ..PolicySection::default() };
        let none = KlCoefs { reward: 0.0, loss: 0.0 };
        let returns = |token_scores| {
            let rollout = Rollout { token_scores, ..example() };
            advantages(&rollout, &values, none, &config, &Device::flex()).1
        };
        assert_eq!(returns(None), [vec![3.0, 3.0, 3.0], vec![1.0]]);
        // 0.5 + 1 of a score of 3, and all of a score of 1.
        let dense = vec![vec![0.5, 1.0, 0.0], vec![1.0]];
        assert_eq!(returns(Some(dense)), [vec![3.0, 2.5, 1.5], vec![1.0]]);
    }
}
