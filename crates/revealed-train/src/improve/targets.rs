//! Targets of a solver: for a rollout, and for the rows of a micro-batch on the device.

use burn::tensor::{Bool, Tensor};
use revealed_models::CompletionBatch;
use revealed_objectives::advantages::on_every_token;
use revealed_objectives::policy::clip_fraction;
use revealed_objectives::reduce::sequence_sum;

use super::rollout::Rollout;
use crate::recipe::PolicySection;

/// Targets of a rollout.
pub(crate) enum Targets {
    /// One advantage per completion.
    Completions(Vec<f32>),
    /// Advantages, returns and old values of the critic per completion token.
    Tokens { advantages: Vec<Vec<f32>>, returns: Vec<Vec<f32>>, values: Vec<Vec<f32>> },
}

impl Targets {
    /// From advantages of completions, `[B]`.
    pub fn of_completions(advantages: Tensor<1>) -> Self {
        Self::Completions(advantages.into_data().iter::<f32>().collect())
    }
}

/// The unit whose probability ratio is clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClipUnit {
    /// The completion: the product of the ratios of its tokens.
    Completion,
    /// Each token.
    Token,
}

/// Size of a mini-batch: the denominators of its means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MiniBatchSize {
    pub completions: usize,
    /// Completion tokens.
    pub tokens: usize,
}

/// Advantages of the rows of a micro-batch.
#[derive(Debug, Clone)]
pub(crate) struct Advantages {
    /// `[B, C]`.
    pub per_token: Tensor<2>,
    /// `[B]`, if the solver has one advantage per completion.
    per_completion: Option<Tensor<1>>,
}

impl Advantages {
    /// Advantages of completions, `[B]`.
    ///
    /// # Panics
    /// When the solver has advantages of tokens.
    pub fn per_completion(self) -> Tensor<1> {
        self.per_completion.expect("one advantage per completion")
    }
}

/// Inputs of the policy loss of a micro-batch; tensors `[B, C]`.
#[derive(Debug, Clone)]
pub(crate) struct LossInputs {
    pub log_probs: Tensor<2>,
    pub old_log_probs: Tensor<2>,
    pub ref_log_probs: Tensor<2>,
    pub mask: Tensor<2, Bool>,
    pub advantages: Advantages,
    /// Size of the mini-batch that the micro-batch is part of.
    pub size: MiniBatchSize,
}

/// Inputs of the value loss of a micro-batch; tensors `[B, C]`.
pub(crate) struct ValueInputs {
    pub values: Tensor<2>,
    pub old_values: Tensor<2>,
    pub returns: Tensor<2>,
    pub mask: Tensor<2, Bool>,
    /// Completion tokens of the mini-batch.
    pub tokens: usize,
}

/// Targets of the rows of one micro-batch, on the device.
pub(super) struct MiniBatchTargets {
    /// Log-probs of the sampling policy, `[B, C]`.
    pub old_log_probs: Tensor<2>,
    /// Log-probs of the reference model, `[B, C]`.
    ref_log_probs: Tensor<2>,
    mask: Tensor<2, Bool>,
    advantages: Advantages,
    critic: Option<CriticTargets>,
    size: MiniBatchSize,
}

/// Targets of the critic, `[B, C]` each.
struct CriticTargets {
    returns: Tensor<2>,
    values: Tensor<2>,
}

impl MiniBatchTargets {
    /// Targets of `rows` of a rollout, which are the rows of `batch`.
    pub fn new(
        rollout: &Rollout,
        targets: &Targets,
        rows: &[usize],
        batch: &CompletionBatch,
        size: MiniBatchSize,
    ) -> Self {
        let pick = |all: &[Vec<f32>]| {
            let chosen: Vec<Vec<f32>> = rows.iter().map(|i| all[*i].clone()).collect();
            batch.rows_of(&chosen)
        };
        let old_log_probs = pick(&rollout.old_log_probs);
        let ref_log_probs = pick(&rollout.ref_log_probs);
        let mask = batch.completion_mask.clone();
        let (advantages, critic) = match targets {
            Targets::Completions(advantages) => {
                let chosen: Vec<f32> = rows.iter().map(|i| advantages[*i]).collect();
                let one_each = Tensor::<1>::from_floats(chosen.as_slice(), &old_log_probs.device());
                let per_token = on_every_token(one_each.clone(), mask.clone());
                (Advantages { per_token, per_completion: Some(one_each) }, None)
            }
            Targets::Tokens { advantages, returns, values } => (
                Advantages { per_token: pick(advantages), per_completion: None },
                Some(CriticTargets { returns: pick(returns), values: pick(values) }),
            ),
        };
        Self { old_log_probs, ref_log_probs, mask, advantages, critic, size }
    }

    /// Share of the mini-batch whose clip is active, `[1]`: of completions or of tokens.
    pub fn clip_fraction(
        &self,
        log_probs: Tensor<2>,
        unit: ClipUnit,
        config: &PolicySection,
    ) -> Tensor<1> {
        let (low, high) = (config.epsilon, config.epsilon_high);
        let active = |new, old, advantages| clip_fraction(new, old, advantages, low, high).sum();
        let old = self.old_log_probs.clone();
        match unit {
            ClipUnit::Completion => {
                let sums = |values: Tensor<2>| {
                    sequence_sum(values, self.mask.clone()).unsqueeze_dim::<2>(1)
                };
                let advantages = self.advantages.clone().per_completion().unsqueeze_dim::<2>(1);
                active(sums(log_probs), sums(old), advantages) / self.size.completions as f64
            }
            ClipUnit::Token => {
                active(log_probs, old, self.advantages.per_token.clone()) / self.size.tokens as f64
            }
        }
    }

    /// Inputs of the policy loss for log-probs `[B, C]` of the policy in training.
    pub fn loss_inputs(&self, log_probs: Tensor<2>) -> LossInputs {
        LossInputs {
            log_probs,
            old_log_probs: self.old_log_probs.clone(),
            ref_log_probs: self.ref_log_probs.clone(),
            mask: self.mask.clone(),
            advantages: self.advantages.clone(),
            size: self.size,
        }
    }

    /// Inputs of the value loss for values `[B, C]` of the critic in training.
    ///
    /// # Panics
    /// When the solver has no critic.
    pub fn value_inputs(self, values: Tensor<2>) -> ValueInputs {
        let critic = self.critic.expect("targets of a solver with a critic");
        ValueInputs {
            values,
            old_values: critic.values,
            returns: critic.returns,
            mask: self.mask,
            tokens: self.size.tokens,
        }
    }
}

/// Inputs of the loss of two rows, for tests of solvers.
#[cfg(test)]
pub(crate) fn example_inputs(
    [log_probs, old_log_probs, ref_log_probs]: [Tensor<2>; 3],
    mask: Tensor<2, Bool>,
    per_completion: Tensor<1>,
    size: MiniBatchSize,
) -> LossInputs {
    let per_token = on_every_token(per_completion.clone(), mask.clone());
    let advantages = Advantages { per_token, per_completion: Some(per_completion) };
    LossInputs { log_probs, old_log_probs, ref_log_probs, mask, advantages, size }
}
