//! Log-probabilities of completions, without gradients.

use revealed_data::{Encoded, plan_batches};
use revealed_models::{CausalLm, CompletionBatch, ModelError, PaddingSide};

use crate::error::EvalError;

/// `log π(y_t | x, y_<t)` of every completion token of every row, in nats, with logits divided by `temperature`.
///
/// Batches have up to `batch_tokens` tokens, padding included.
///
/// # Errors
/// When the model gives a log-prob that is not finite.
pub fn completion_log_probs(
    model: &CausalLm,
    rows: &[&Encoded],
    pad_id: u32,
    batch_tokens: usize,
    temperature: f64,
) -> Result<Vec<Vec<f32>>, EvalError> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.input_ids.len()).collect();
    let mut all = vec![Vec::new(); rows.len()];
    for indices in plan_batches(&lengths, usize::MAX, batch_tokens).batches {
        let pick =
            |index: &usize| (rows[*index].input_ids.as_slice(), rows[*index].completion_start);
        let chosen: Vec<(&[u32], usize)> = indices.iter().map(pick).collect();
        let batch = CompletionBatch::new(&chosen, pad_id, PaddingSide::Right, &model.device())?;
        let width = batch.completion_mask.dims()[1];
        let values = model.log_probs(&batch, temperature).log_probs.try_into_vec_as::<f32>();
        let values = values.map_err(|error| ModelError::Device(error.to_string()))?;
        for (place, &row) in indices.iter().enumerate() {
            let found = &values[place * width..][..batch.completion_lengths[place]];
            if !found.iter().all(|value| value.is_finite()) {
                return Err(ModelError::NonFinite { what: "log-prob", row }.into());
            }
            all[row] = found.to_vec();
        }
    }
    Ok(all)
}
