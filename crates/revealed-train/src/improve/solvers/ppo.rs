//! PPO: per-token rewards, a critic, generalized advantages.
//!
//! Objective: `max E[ clipped surrogate(A) ] − value_coef · clipped value loss`, with the KL in the reward.
//! Sources: <https://arxiv.org/abs/1707.06347>, <https://arxiv.org/abs/1506.02438>; for language models
//! <https://arxiv.org/abs/1909.08593>.
//!
//! | here | published IRL code |
//! |---|---|
//! | critic: the round's first policy with a head of 0, trained from the first step | from the reward model |
//! | gradients of policy and critic are clipped apart | together |
//! | advantages whitened over the rollout, mean removed | the same |
//! | the score stands on the last completion token; a dense reward's parts on theirs | on the token after it where EOS came early |

use burn::tensor::{Bool, Device, Tensor, TensorData};
use revealed_objectives::advantages::gae;
use revealed_objectives::kl::{k1, kl_shaped_rewards};
use revealed_objectives::policy::{clipped_surrogate, clipped_value_loss};
use revealed_objectives::reduce::{MeanShift, token_mean, whiten};

use crate::improve::rollout::{Rollout, kl_in_loss};
use crate::recipe::PolicySection;

/// Advantages and returns of every token, as rows of their completions' lengths.
pub(crate) fn targets(
    rollout: &Rollout,
    values: &[Vec<f32>],
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
    // What tokens have not been paid themselves is paid on the last one.
    let last: Vec<f32> = (0..lengths.len())
        .map(|row| {
            let paid = dense.map_or(0.0, |all| all[row].iter().map(|v| f64::from(*v)).sum());
            (rollout.scores[row] - paid) as f32
        })
        .collect();
    let last = Tensor::from_floats(last.as_slice(), device);
    let kl = k1(pad(&rollout.old_log_probs), pad(&rollout.ref_log_probs));
    let rewards = kl_shaped_rewards(last, kl, mask.clone(), config.kl_coefs().reward);
    let rewards = dense.into_iter().fold(rewards, |sum, dense| sum + pad(dense));
    let (advantages, returns) =
        gae(rewards, pad(values), mask.clone(), config.gamma, config.gae_lambda);
    let advantages = whiten(advantages, mask, MeanShift::Remove);
    (ragged(advantages, &lengths), ragged(returns, &lengths))
}

/// The policy's share of a mini-batch of `tokens` tokens in its loss; all `[B, C]`.
pub(crate) fn policy_loss(
    log_probs: Tensor<2>,
    old_log_probs: Tensor<2>,
    ref_log_probs: Tensor<2>,
    mask: Tensor<2, Bool>,
    advantages: Tensor<2>,
    tokens: usize,
    config: &PolicySection,
) -> Tensor<1> {
    let kl = kl_in_loss(&log_probs, ref_log_probs, config.kl_coefs());
    let (low, high) = (config.epsilon, config.epsilon_high);
    let surrogate = clipped_surrogate(log_probs, old_log_probs, advantages, low, high);
    let losses = kl.into_iter().fold(surrogate, |losses, kl| losses + kl);
    token_mean(losses, mask, tokens as f64)
}

/// The critic's; all `[B, C]`.
pub(crate) fn value_loss(
    values: Tensor<2>,
    old_values: Tensor<2>,
    returns: Tensor<2>,
    mask: Tensor<2, Bool>,
    tokens: usize,
    config: &PolicySection,
) -> Tensor<1> {
    let per_token = clipped_value_loss(values, old_values, returns, config.value_clip);
    token_mean(per_token, mask, tokens as f64).mul_scalar(config.value_coef)
}

fn padded(rows: &[Vec<f32>], lengths: &[usize], device: &Device) -> Tensor<2> {
    let width = lengths.iter().copied().max().unwrap_or(0);
    let mut values = vec![0f32; rows.len() * width];
    for (row, given) in rows.iter().enumerate() {
        values[row * width..row * width + given.len()].copy_from_slice(given);
    }
    Tensor::from_data(TensorData::new(values, [rows.len(), width]), device)
}

fn ragged(values: Tensor<2>, lengths: &[usize]) -> Vec<Vec<f32>> {
    let width = values.dims()[1];
    let flat: Vec<f32> = values.into_data().iter::<f32>().collect();
    lengths.iter().enumerate().map(|(row, l)| flat[row * width..row * width + l].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::improve::rollout::example;

    #[test]
    fn returns_are_the_score_less_the_kl_still_to_come() {
        let config =
            PolicySection { kl_coef: 0.5, gamma: 1.0, gae_lambda: 1.0, ..PolicySection::default() };
        let values = [vec![0.0; 3], vec![0.0]];
        let (advantages, returns) = targets(&example(), &values, &config, &Device::flex());
        // The score stands on the last token, each token pays half its KL of 0.5, 0.25 and 0.25.
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
    fn with_a_perfect_critic_nothing_was_better_than_expected() {
        let config = PolicySection { kl_coef: 0.5, gamma: 1.0, ..PolicySection::default() };
        let values = [vec![2.5, 2.75, 2.875], vec![1.0]];
        let (advantages, returns) = targets(&example(), &values, &config, &Device::flex());
        assert_eq!(returns, values);
        assert!(advantages.concat().iter().all(|advantage| *advantage == 0.0));
    }
}
