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

use crate::improve::rollout::Rollout;
use crate::recipe::PolicySection;

/// `A`, one a completion, and the baseline of the next rollout.
pub(crate) fn advantages(
    rollout: &Rollout,
    baseline: Option<f64>,
    config: &PolicySection,
    device: &Device,
) -> (Tensor<1>, f64) {
    let rewards = rollout.rewards(config.kl_coefs(), device);
    let mean = rewards.clone().mean().into_scalar::<f32>().into();
    let baseline = baseline.unwrap_or(mean);
    let next = running_baseline(baseline, mean, config.baseline_decay);
    (reinforce(rewards, baseline), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::improve::rollout::example;
    use crate::recipe::Solver;

    #[test]
    fn the_baseline_is_the_mean_of_rollouts_before() {
        let config = PolicySection {
            solver: Solver::Reinforce,
            kl_coef: 1.0,
            baseline_decay: 0.75,
            ..PolicySection::default()
        };
        let device = Device::flex();
        let run = |baseline| {
            let (advantages, next) = advantages(&example(), baseline, &config, &device);
            (advantages.into_data().iter::<f32>().collect::<Vec<_>>(), next)
        };
        // Rewards 3 − 1 and 1 − 0.
        assert_eq!(run(None), (vec![0.5, -0.5], 1.5));
        assert_eq!(run(Some(0.5)), (vec![1.5, 0.5], 0.75));
    }
}
