//! Log-likelihood of held-out demonstrations.

use revealed_models::CausalLm;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::record::At;
use crate::run::Run;

/// Log-likelihood of held-out demonstrations under a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct HeldOutLikelihood {
    /// Mean over all completion tokens, nats/token.
    pub per_token: f64,
    /// Sum over the tokens of each demonstration, nats.
    pub per_demonstration: Vec<f64>,
}

/// Mean negative log-likelihood of held-out demonstrations, nats/token.
///
/// # Errors
/// When it is not finite: the weights have diverged.
pub(crate) fn held_out_loss(model: &CausalLm, at: At, run: &Run<'_>) -> Result<f64, TrainError> {
    Ok(-held_out_likelihood(model, at, run)?.per_token)
}

/// Log-likelihood of held-out demonstrations.
///
/// # Errors
/// When it is not finite: the weights have diverged.
pub(super) fn held_out_likelihood(
    model: &CausalLm,
    at: At,
    run: &Run<'_>,
) -> Result<HeldOutLikelihood, TrainError> {
    let log_probs = run.log_probs(model, &run.task.held_out, 1.0)?;
    let tokens: usize = log_probs.iter().map(Vec::len).sum();
    let sum = |row: &Vec<f32>| row.iter().map(|log_prob| f64::from(*log_prob)).sum();
    let per_demonstration: Vec<f64> = log_probs.iter().map(sum).collect();
    let total: f64 = log_probs.iter().flatten().map(|log_prob| f64::from(*log_prob)).sum();
    let value = -total / tokens.max(1) as f64;
    if !value.is_finite() {
        let what = "the loss on held-out demonstrations";
        return Err(TrainError::NonFinite { at, what, value, diagnosis: String::new() });
    }
    Ok(HeldOutLikelihood { per_token: -value, per_demonstration })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Tuning;
    use crate::record::Phase;
    use crate::testing::{World, poisoned};

    #[test]
    fn a_loss_that_is_not_finite_is_an_error_and_not_the_best_epoch() {
        let world = World::new(Tuning::Full, |_| {});
        let at = At::new(0, Phase::Sft, 3);
        let loss = |model: &CausalLm| world.run(&mut (), |run| held_out_loss(model, at, run));
        assert!(loss(&world.base).unwrap().is_finite());
        let error = loss(&poisoned(world.base.clone())).unwrap_err().to_string();
        assert!(error.starts_with("round 0, sft, step 3: the loss on held-out"), "{error}");
    }
}
