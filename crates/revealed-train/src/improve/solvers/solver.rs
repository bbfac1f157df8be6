//! The interface of policy solvers.

use std::fmt;

use burn::tensor::{Device, Tensor};
use revealed_objectives::policy::clipped_value_loss;
use revealed_objectives::reduce::token_mean;

use crate::improve::rollout::{KlCoefs, Rollout};
use crate::improve::targets::{ClipUnit, LossInputs, Targets, ValueInputs};
use crate::recipe::{KlPlacement, PolicySection, SolverName};

/// Inputs of the targets of a rollout.
pub(crate) struct RolloutInputs<'a> {
    pub rollout: &'a Rollout,
    /// Values of the critic per completion token; empty without a critic.
    pub values: Vec<Vec<f32>>,
    /// Running baseline of rewards; none before the first rollout. Kept between rollouts and in checkpoints.
    pub baseline: &'a mut Option<f64>,
    pub kl: KlCoefs,
    pub config: &'a PolicySection,
    pub device: &'a Device,
}

/// A policy solver: advantages of a rollout, and the loss of a micro-batch.
pub(crate) trait Solver: fmt::Debug + Sync {
    /// Name in recipes.
    fn name(&self) -> SolverName;

    /// Where the KL penalty is applied by default: the reward or the loss.
    fn kl_placement(&self) -> KlPlacement {
        KlPlacement::Reward
    }

    /// Minimum number of completions per prompt.
    fn min_group(&self) -> usize;

    /// Whether a critic is trained.
    fn uses_critic(&self) -> bool {
        false
    }

    /// The unit whose probability ratio is clipped.
    fn clip_unit(&self) -> ClipUnit;

    /// Advantages of a rollout, and targets of the critic if there is one.
    fn targets(&self, inputs: RolloutInputs<'_>) -> Targets;

    /// Contribution of a micro-batch to the policy loss of its mini-batch, `[1]`.
    fn loss(&self, inputs: LossInputs, kl: KlCoefs, config: &PolicySection) -> Tensor<1>;

    /// Contribution of a micro-batch to the value loss of its mini-batch, `[1]`.
    fn value_loss(&self, inputs: ValueInputs, config: &PolicySection) -> Tensor<1> {
        let ValueInputs { values, old_values, returns, mask, tokens } = inputs;
        let per_token = clipped_value_loss(values, old_values, returns, config.value_clip);
        token_mean(per_token, mask, tokens as f64).mul_scalar(config.value_coef)
    }
}
