//! Best-of-n curves of a policy's completions.

use super::completion::{SampledCompletion, values};
use crate::best_of_n::{doublings, expected_best, expected_chosen, kl_bound};
use crate::estimate::Estimate;

/// Best of `n` by the learned reward: one point of the curve that shows whether a higher reward still means a higher gold
/// score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestOfN {
    /// Samples to choose from.
    pub n: usize,
    /// [`kl_bound`] to the model that was sampled.
    pub kl: f64,
    /// The chosen sample's expected reward.
    pub reward: Estimate,
    /// Its expected gold value.
    pub gold: Option<Estimate>,
}

/// The curve for n = 1, 2, 4, … up to the fewest samples of a prompt; empty without rewards. Intervals are over prompts.
pub fn best_of_n(side: &[Vec<SampledCompletion>]) -> Vec<BestOfN> {
    let Some(rewards) = values(side, |c| c.reward) else { return Vec::new() };
    let gold = values(side, |c| c.gold);
    let most = rewards.iter().map(Vec::len).min().unwrap_or(0);
    doublings(most)
        .map(|n| {
            let each: Vec<f64> = rewards.iter().map(|scores| expected_best(scores, n)).collect();
            let gold = gold.as_ref().map(|gold| -> Vec<f64> {
                let prompts = rewards.iter().zip(gold);
                prompts.map(|(scores, values)| expected_chosen(scores, values, n)).collect()
            });
            let (reward, gold) = (Estimate::mean(&each), gold.map(|each| Estimate::mean(&each)));
            BestOfN { n, kl: kl_bound(n), reward, gold }
        })
        .collect()
}
