//! Log-probs of completions and scores of rows, read to the host: micro-batches within a token budget on parallel workers, a
//! prompt that several rows begin with computed once.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::batching::batch::{CompletionBatch, PaddingSide, TokenBatch};
use crate::batching::workers::MicroBatches;
use crate::causal_lm::CausalLm;
use crate::error::ModelError;
use crate::scalar::ScalarModel;

/// Rows done so far in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoringProgress {
    /// Rows done.
    pub rows: usize,
    /// Rows of the call.
    pub total_rows: usize,
    /// Tokens of the rows done, a shared prompt counted in each of its rows.
    pub tokens: usize,
    /// Tokens of all rows, counted in the same way.
    pub total_tokens: usize,
}

impl ScoringProgress {
    /// The progress of a call that passes over its rows `passes` times, from that of one pass, counted from 0: rows done are
    /// the mean over the passes, tokens their sum.
    pub fn of_pass(self, pass: usize, passes: usize) -> Self {
        Self {
            rows: (pass * self.total_rows + self.rows) / passes.max(1),
            total_rows: self.total_rows,
            tokens: pass * self.total_tokens + self.tokens,
            total_tokens: passes * self.total_tokens,
        }
    }
}

/// How rows are batched, and the function that is called after every micro-batch.
pub struct Scoring<'a> {
    /// Filler; results do not depend on it.
    pub pad_id: u32,
    /// Padded tokens of the micro-batches that run at the same time.
    pub batch_tokens: usize,
    on_progress: Option<&'a mut dyn FnMut(ScoringProgress)>,
}

impl<'a> Scoring<'a> {
    /// Without a progress callback.
    pub fn new(pad_id: u32, batch_tokens: usize) -> Self {
        Self { pad_id, batch_tokens, on_progress: None }
    }

    /// Calls `report` on the calling thread after every micro-batch.
    pub fn on_progress(mut self, report: &'a mut dyn FnMut(ScoringProgress)) -> Self {
        self.on_progress = Some(report);
        self
    }

    /// Calls the progress callback, if there is one.
    pub fn report(&mut self, progress: ScoringProgress) {
        if let Some(report) = &mut self.on_progress {
            report(progress);
        }
    }

    /// One number per completion token of every `(input_ids, completion_start)` row, from a function that gives those of a
    /// batch, `[B, C]`.
    ///
    /// # Errors
    /// When a row has no prompt or no completion token.
    pub fn token_values(
        &mut self,
        rows: &[(&[u32], usize)],
        device: &Device,
        values: impl Fn(&CompletionBatch) -> Tensor<2> + Sync,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let pad_id = self.pad_id;
        self.run(rows, device, |part| {
            let batch = CompletionBatch::sharing_prompts(part, pad_id, device)?;
            let width = batch.completion_mask.dims()[1];
            let values = read(values(&batch))?;
            let lengths = batch.completion_lengths.iter().enumerate();
            Ok(lengths.map(|(row, length)| values[row * width..][..*length].to_vec()).collect())
        })
    }

    /// Runs `work` on the rows of every micro-batch; gives its results in the order of `rows`.
    fn run<T: Clone + Default + Send>(
        &mut self,
        rows: &[(&[u32], usize)],
        device: &Device,
        work: impl Fn(&[(&[u32], usize)]) -> Result<Vec<T>, ModelError> + Sync,
    ) -> Result<Vec<T>, ModelError> {
        let mut all = vec![T::default(); rows.len()];
        let mut progress = ScoringProgress {
            rows: 0,
            total_rows: rows.len(),
            tokens: 0,
            total_tokens: rows.iter().map(|(ids, _)| ids.len()).sum(),
        };
        let batches = MicroBatches::of_rows(rows, device, self.batch_tokens);
        let of_batch = |indices: &[usize]| {
            let part: Vec<_> = indices.iter().map(|index| rows[*index]).collect();
            Ok((indices.to_vec(), work(&part).map_err(|error| in_call(error, indices))?))
        };
        batches.map_parallel(of_batch, |(indices, found): (Vec<usize>, Vec<T>)| {
            for (index, value) in indices.into_iter().zip(found) {
                all[index] = value;
                progress.rows += 1;
                progress.tokens += rows[index].0.len();
            }
            self.report(progress);
            Ok::<_, ModelError>(())
        })?;
        Ok(all)
    }
}

/// Names a row by its index in the call instead of that in its micro-batch.
fn in_call(error: ModelError, indices: &[usize]) -> ModelError {
    match error {
        ModelError::Row { row, reason } => {
            ModelError::Row { row: indices.get(row).copied().unwrap_or(row), reason }
        }
        other => other,
    }
}

impl CausalLm {
    /// `log π` of every completion token of every `(input_ids, completion_start)` row at `temperature` (> 0), without
    /// gradient, in nats.
    ///
    /// # Errors
    /// When a row has no prompt or no completion token, or a log-prob is not finite.
    pub fn row_log_probs(
        &self,
        rows: &[(&[u32], usize)],
        temperature: f64,
        scoring: &mut Scoring<'_>,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let log_probs = |batch: &CompletionBatch| self.log_probs(batch, temperature).log_probs;
        let all = scoring.token_values(rows, &self.device(), log_probs)?;
        let finite = |values: &Vec<f32>| values.iter().all(|value| value.is_finite());
        match all.iter().position(|values| !finite(values)) {
            Some(row) => Err(ModelError::NonFinite { what: "log-probs", row }),
            None => Ok(all),
        }
    }
}

impl ScalarModel {
    /// The number at the last token of every `(input_ids, completion_start)` row, without gradient. Prompts are shared where
    /// every row has a prompt and a completion; else `completion_start` is not read.
    ///
    /// # Errors
    /// When a row is empty, or a score is not finite.
    pub fn score_rows(
        &self,
        rows: &[(&[u32], usize)],
        scoring: &mut Scoring<'_>,
    ) -> Result<Vec<f64>, ModelError> {
        let model = self.valid();
        let (device, pad_id) = (model.backbone.device(), scoring.pad_id);
        let scores = match rows.iter().all(|(ids, start)| *start > 0 && *start < ids.len()) {
            true => scoring.run(rows, &device, |part| {
                let batch = CompletionBatch::sharing_prompts(part, pad_id, &device)?;
                read(model.row_scores(&batch))
            }),
            false => {
                let whole: Vec<(&[u32], usize)> = rows.iter().map(|(ids, _)| (*ids, 0)).collect();
                scoring.run(&whole, &device, |part| {
                    let ids: Vec<&[u32]> = part.iter().map(|(ids, _)| *ids).collect();
                    let batch = TokenBatch::new(&ids, pad_id, PaddingSide::Right, &device)?;
                    read(model.scores(&batch))
                })
            }
        }?;
        match scores.iter().position(|score| !score.is_finite()) {
            Some(row) => Err(ModelError::NonFinite { what: "score", row }),
            None => Ok(scores.into_iter().map(f64::from).collect()),
        }
    }
}

fn read<const D: usize>(values: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    values.try_into_vec_as::<f32>().map_err(|error| ModelError::Device(error.to_string()))
}
