//! A micro-batch's share of a solver's loss.

use burn::tensor::{Device, Tensor};
use revealed_models::CompletionBatch;
use revealed_objectives::policy::clip_fraction;
use revealed_objectives::reduce::sequence_sum;

use super::Targets;
use crate::recipe::{PolicySection, Solver};
use crate::rollout::Rollout;
use crate::{grpo, ppo, rloo};

/// One micro-batch's constants on the device.
pub(super) struct Part {
    /// `[B, C]`.
    pub old: Tensor<2>,
    /// `[B, C]`.
    reference: Tensor<2>,
    /// `[B, C]`: advantages on every token.
    spread: Tensor<2>,
    /// `[B]`, where there is one a completion.
    per_completion: Option<Tensor<1>>,
    /// Returns and old values, `[B, C]`.
    critic: Option<(Tensor<2>, Tensor<2>)>,
}

impl Part {
    pub fn new(
        rollout: &Rollout,
        targets: &Targets,
        rows: &[usize],
        batch: &CompletionBatch,
    ) -> Self {
        let pick = |all: &[Vec<f32>]| {
            let chosen: Vec<Vec<f32>> = rows.iter().map(|i| all[*i].clone()).collect();
            batch.rows_of(&chosen)
        };
        let (old, reference) = (pick(&rollout.old_log_probs), pick(&rollout.ref_log_probs));
        match targets {
            Targets::Completions(advantages) => {
                let chosen: Vec<f32> = rows.iter().map(|i| advantages[*i]).collect();
                let device: Device = old.device();
                let advantages = Tensor::<1>::from_floats(chosen.as_slice(), &device);
                let mask = batch.completion_mask.clone();
                let spread =
                    revealed_objectives::advantages::on_every_token(advantages.clone(), mask);
                Self { old, reference, spread, per_completion: Some(advantages), critic: None }
            }
            Targets::Tokens { advantages, returns, values } => Self {
                old,
                reference,
                spread: pick(advantages),
                per_completion: None,
                critic: Some((pick(returns), pick(values))),
            },
        }
    }

    /// The share of the mini-batch whose clip is active, `[1]`: of completions where these are clipped whole.
    pub fn clipped(
        &self,
        log_probs: Tensor<2>,
        batch: &CompletionBatch,
        (rows, tokens): (usize, usize),
        config: &PolicySection,
    ) -> Tensor<1> {
        let (low, high) = (config.epsilon, config.epsilon_high);
        let active = |new, old, advantages| clip_fraction(new, old, advantages, low, high).sum();
        match (&self.per_completion, config.solver) {
            (Some(advantages), Solver::Rloo | Solver::Reinforce) => {
                let whole = |values: Tensor<2>| {
                    sequence_sum(values, batch.completion_mask.clone()).unsqueeze_dim::<2>(1)
                };
                let advantages = advantages.clone().unsqueeze_dim::<2>(1);
                active(whole(log_probs), whole(self.old.clone()), advantages) / rows as f64
            }
            _ => active(log_probs, self.old.clone(), self.spread.clone()) / tokens as f64,
        }
    }

    pub fn policy_loss(
        &self,
        log_probs: Tensor<2>,
        batch: &CompletionBatch,
        (rows, tokens): (usize, usize),
        config: &PolicySection,
    ) -> Tensor<1> {
        let (old, mask) = (self.old.clone(), batch.completion_mask.clone());
        let reference = self.reference.clone();
        match (&self.per_completion, config.solver) {
            (Some(advantages), Solver::Grpo) => grpo::loss(
                log_probs,
                old,
                reference,
                mask,
                advantages.clone(),
                (rows, tokens),
                config,
            ),
            (Some(advantages), _) => {
                rloo::loss(log_probs, old, reference, mask, advantages.clone(), rows, config)
            }
            (None, _) => {
                let advantages = self.spread.clone();
                ppo::policy_loss(log_probs, old, reference, mask, advantages, tokens, config)
            }
        }
    }

    /// The critic's share of the loss, `[1]`, from its values `[B, C]`.
    ///
    /// # Panics
    /// When the solver has no critic.
    pub fn value_loss(
        &self,
        predicted: Tensor<2>,
        batch: &CompletionBatch,
        tokens: usize,
        config: &PolicySection,
    ) -> Tensor<1> {
        let (returns, values) = self.critic.clone().expect("targets of a solver with a critic");
        let mask = batch.completion_mask.clone();
        ppo::value_loss(predicted, values, returns, mask, tokens, config)
    }
}
