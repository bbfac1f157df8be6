//! Targets of a solver: for a rollout, and for the rows of a micro-batch with their contribution to the loss.

use burn::tensor::{Device, Tensor};
use revealed_models::CompletionBatch;
use revealed_objectives::policy::clip_fraction;
use revealed_objectives::reduce::sequence_sum;

use super::rollout::Rollout;
use super::solvers::{grpo, ppo, rloo};
use crate::recipe::{PolicySection, Solver};

/// Targets of a rollout.
pub(super) enum Targets {
    /// One advantage per completion.
    Completions(Vec<f32>),
    /// Advantages, returns and old values of the critic per completion token.
    Tokens { advantages: Vec<Vec<f32>>, returns: Vec<Vec<f32>>, values: Vec<Vec<f32>> },
}

/// Targets of the rows of one micro-batch, on the device.
pub(super) struct MiniBatchTargets {
    /// Log-probs of the sampling policy, `[B, C]`.
    pub old: Tensor<2>,
    /// Log-probs of the reference model, `[B, C]`.
    reference: Tensor<2>,
    /// Advantages of tokens, `[B, C]`.
    per_token: Tensor<2>,
    /// Advantages of completions, `[B]`, if the solver has one per completion.
    per_completion: Option<Tensor<1>>,
    /// Targets of the critic, if there is one.
    critic: Option<CriticTargets>,
}

/// Returns and old values of tokens, `[B, C]` each.
#[derive(Clone)]
struct CriticTargets {
    returns: Tensor<2>,
    values: Tensor<2>,
}

impl MiniBatchTargets {
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
                let per_token =
                    revealed_objectives::advantages::on_every_token(advantages.clone(), mask);
                Self { old, reference, per_token, per_completion: Some(advantages), critic: None }
            }
            Targets::Tokens { advantages, returns, values } => Self {
                old,
                reference,
                per_token: pick(advantages),
                per_completion: None,
                critic: Some(CriticTargets { returns: pick(returns), values: pick(values) }),
            },
        }
    }

    /// Share of the mini-batch whose clip is active, `[1]`: of completions or of tokens, by the solver's clip unit.
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
            _ => active(log_probs, self.old.clone(), self.per_token.clone()) / tokens as f64,
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
                let advantages = self.per_token.clone();
                ppo::policy_loss(log_probs, old, reference, mask, advantages, tokens, config)
            }
        }
    }

    /// Contribution to the value loss, `[1]`, of values `[B, C]`.
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
        let CriticTargets { returns, values } =
            self.critic.clone().expect("targets of a solver with a critic");
        let mask = batch.completion_mask.clone();
        ppo::value_loss(predicted, values, returns, mask, tokens, config)
    }
}
