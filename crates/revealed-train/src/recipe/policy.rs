//! `[policy]`: policy improvement.

use revealed_objectives::GroupScale;
use serde::{Deserialize, Serialize};

use super::choices::{
    Alternation, KlPlacement, KlReference, MissingEos, Normalization, SolverName,
};
use super::optimizer::{OptimizerConfig, with_lr};
use super::section::section;

section! {
    /// `[policy]`
    PolicySection {
        /// "rloo", "grpo", "ppo" or "reinforce"; in docs/evidence.md gains add up over rounds with rloo, stay level with ppo, and the second round of grpo breaks the policy
        solver: SolverName = SolverName::RLOO,
        /// Rollouts per round
        steps: usize = 25,
        /// Completions per rollout
        batch_size: usize = 128,
        /// Completions per optimizer step
        mini_batch_size: usize = 128,
        /// Completions per prompt in a rollout
        samples_per_prompt: usize = 4,
        /// Optimization epochs per rollout
        num_ppo_epochs: usize = 2,
        /// Sampling temperature, also used for log-probabilities
        temperature: f64 = 1.0,
        /// "round-wise", or "step-wise": after every policy step a reward step on its samples of prompts that have demonstrations, all pairs with weight 1; worse in docs/evidence.md
        alternation: Alternation = Alternation::RoundWise,
        /// Reference model of the KL: "sft" or "moving" (the first policy of the round); no difference in docs/evidence.md
        reference: KlReference = KlReference::Sft,
        /// KL coefficient β, in calibrated reward per nat
        kl_coef: f64 = 0.1,
        /// Where the KL penalty is applied: "reward", "loss" (k3 estimator), or "solver" (the solver's default: loss for GRPO, reward otherwise)
        kl_placement: KlPlacement = KlPlacement::Solver,
        /// Target KL, nats/completion: kl_coef is adapted after every rollout and reset at each round; 0 keeps it fixed
        kl_target: f64 = 0.0,
        /// Horizon of that adaptation, in completions
        kl_horizon: f64 = 10_000.0,
        /// REINFORCE: decay of the running baseline per rollout
        baseline_decay: f64 = 0.9,
        /// Clip range of the ratio below 1
        epsilon: f64 = 0.2,
        /// Clip range of the ratio above 1
        epsilon_high: f64 = 0.2,
        /// Score of a completion without EOS: "replace", "penalty" or "batch-minimum"
        missing_eos: MissingEos = MissingEos::BatchMinimum,
        /// Value that the missing_eos rule uses
        missing_eos_value: f64 = -1.0,
        /// GRPO: divide advantages by the standard deviation of the group ("std") or not ("none")
        group_scale: GroupScale = GroupScale::Std,
        /// GRPO: mean of the loss over "sequence" or "token"
        normalization: Normalization = Normalization::Sequence,
        /// PPO: discount γ
        gamma: f64 = 1.0,
        /// PPO: GAE's λ
        gae_lambda: f64 = 0.95,
        /// PPO: clip range of the critic's change
        value_clip: f64 = 0.2,
        /// PPO: coefficient of the value loss
        value_coef: f64 = 0.1,
        /// AdamW
        optimizer: OptimizerConfig = with_lr(1e-4),
    }
}
