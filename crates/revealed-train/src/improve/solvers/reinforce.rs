//! REINFORCE: the completion as one action, a running mean of past rewards as baseline.
//!
//! Objective: `max E[ r(x, y) − β·KL ]`. Source: Williams, Machine Learning 8 (1992), 229–256.
//!
//! | here | paper |
//! |---|---|
//! | `A_i = R_i − b`, `b` the decayed mean of earlier rollouts' rewards | any baseline |
//! | the first rollout's baseline is its own mean | |
//! | clipped ratio of whole completions, RLOO's loss | one pass, no ratio |

use burn::tensor::{Device, Tensor};
use revealed_objectives::advantages::{reinforce, running_baseline};

use super::rloo;
use super::solver::{RolloutInputs, Solver};
use crate::improve::rollout::{KlCoefs, Rollout};
use crate::improve::targets::{ClipUnit, LossInputs, Targets};
use crate::recipe::{PolicySection, SolverName};

impl SolverName {
    /// REINFORCE with a running mean of rewards as baseline (Williams, 1992).
    pub const REINFORCE: Self = Self::new("reinforce");
}

#[derive(Debug)]
pub(super) struct Reinforce;

impl Solver for Reinforce {
    fn name(&self) -> SolverName {
        SolverName::REINFORCE
    }

    fn min_group(&self) -> usize {
        1
    }

    fn clip_unit(&self) -> ClipUnit {
        ClipUnit::Completion
    }

    fn targets(&self, inputs: RolloutInputs<'_>) -> Targets {
        let RolloutInputs { rollout, baseline, kl, config, device, .. } = inputs;
        let (advantages, next) = advantages(rollout, *baseline, kl, config.baseline_decay, device);
        *baseline = Some(next);
        Targets::of_completions(advantages)
    }

    fn loss(&self, inputs: LossInputs, kl: KlCoefs, config: &PolicySection) -> Tensor<1> {
        rloo::loss(inputs, kl, config)
    }
}

/// `A`, `[B]`, and the baseline of the next rollout.
fn advantages(
    rollout: &Rollout,
    baseline: Option<f64>,
    kl: KlCoefs,
    baseline_decay: f64,
    device: &Device,
) -> (Tensor<1>, f64) {
    let rewards = rollout.rewards(kl, device);
    let mean = rewards.clone().mean().into_scalar::<f32>().into();
    let baseline = baseline.unwrap_or(mean);
    let next = running_baseline(baseline, mean, baseline_decay);
    (reinforce(rewards, baseline), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::improve::rollout::example;

    #[test]
    fn the_baseline_is_the_decayed_mean_of_earlier_rollouts() {
        let kl = KlCoefs { reward: 1.0, loss: 0.0 };
        let device = Device::flex();
        let run = |baseline| {
            let (advantages, next) = advantages(&example(), baseline, kl, 0.75, &device);
            (advantages.into_data().iter::<f32>().collect::<Vec<_>>(), next)
        };
        // Rewards 3 − 1 and 1 − 0.
        assert_eq!(run(None), (vec![0.5, -0.5], 1.5));
        assert_eq!(run(Some(0.5)), (vec![1.5, 0.5], 0.75));
    }
}
