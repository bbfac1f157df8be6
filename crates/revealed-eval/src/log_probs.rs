//! Log-probabilities of completions, without gradients.

use revealed_data::Encoded;
use revealed_models::{CausalLm, Scoring};

use crate::error::EvalError;

/// `log π(y_t | x, y_<t)` of every completion token of every row, in nats, with logits divided by `temperature`.
///
/// Micro-batches have up to `batch_tokens` tokens, padding included; a prompt that several rows begin with is computed once.
///
/// # Errors
/// When a row has no prompt or no completion token, or a log-prob is not finite.
pub fn completion_log_probs(
    model: &CausalLm,
    rows: &[&Encoded],
    pad_id: u32,
    batch_tokens: usize,
    temperature: f64,
) -> Result<Vec<Vec<f32>>, EvalError> {
    let rows: Vec<(&[u32], usize)> =
        rows.iter().map(|row| (row.input_ids.as_slice(), row.completion_start)).collect();
    Ok(model.row_log_probs(&rows, temperature, &mut Scoring::new(pad_id, batch_tokens))?)
}
