//! Scores of sampled completions by learned rewards and gold functions.

use std::error::Error;

use revealed_data::{EncodeOptions, LongCompletion, Prompt};

use super::completion::SampledCompletion;
use super::prompts::EncodedPrompt;
use super::sampling::row;
use crate::error::EvalError;
use crate::progress::{Progress, Stage};
use crate::rewards::RewardScorer;
use crate::row_encoder::{RowEncoder, RowError};

/// Rows scored between two reports of progress.
const ROWS: usize = 256;

/// A known score of a completion, such as the true reward of a synthetic task.
pub type GoldFunction<'a> =
    &'a dyn Fn(&Prompt, &SampledCompletion) -> Result<f64, Box<dyn Error + Send + Sync>>;

/// A score that the learned reward is compared with.
#[derive(Clone, Copy)]
pub enum Gold<'a> {
    /// A second learned reward.
    Reward(&'a RewardScorer),
    /// A function under a name that the record keeps.
    Function(&'a str, GoldFunction<'a>),
}

/// Scores of each prompt's completions; for a prompt one of whose completions does not fit, the reason.
pub(super) type ScoresByPrompt = Vec<Result<Vec<f64>, RowError>>;

/// A reward that scores completions sampled by other models.
pub(super) struct CompletionScorer<'a> {
    scorer: &'a RewardScorer,
    batch_tokens: usize,
    /// Whether it reads the sampled tokens themselves, not their text tokenized again.
    pub by_tokens: bool,
}

impl<'a> CompletionScorer<'a> {
    /// The reward reads the sampled tokens if it encodes every prompt, as far as prompts fit its limits, to the policy's
    /// tokens.
    pub fn new(
        scorer: &'a RewardScorer,
        prompts: &[EncodedPrompt],
        policy: &RowEncoder,
        batch_tokens: usize,
    ) -> Self {
        let rows = &scorer.rows;
        let encoder = &rows.encoder;
        let same =
            |one: &EncodedPrompt| encoder.prompt(&one.prompt).ok().is_none_or(|ids| ids == one.ids);
        let by_tokens = rows.dims.vocab_size == policy.dims.vocab_size && prompts.iter().all(same);
        Self { scorer, batch_tokens, by_tokens }
    }

    fn row(&self, prompt: &EncodedPrompt, one: &SampledCompletion) -> Result<Vec<u32>, RowError> {
        if self.by_tokens {
            return self.sampled_tokens(prompt, one);
        }
        let text = one.text.as_str().into();
        let mut row = self.scorer.rows.completion(&prompt.prompt, &text)?;
        if row.terminated && !one.finished {
            row.input_ids.pop();
        }
        Ok(row.input_ids)
    }

    /// The sampled tokens, within the reward's limits.
    fn sampled_tokens(
        &self,
        prompt: &EncodedPrompt,
        one: &SampledCompletion,
    ) -> Result<Vec<u32>, RowError> {
        let rows = &self.scorer.rows;
        let EncodeOptions { max_completion_tokens, too_long, .. } = rows.encoder.options();
        let limit = *max_completion_tokens;
        let (mut ids, tokens) = (row(&prompt.ids, one).input_ids, one.tokens.len());
        if tokens > limit {
            if too_long.completions == LongCompletion::Drop {
                return Err(RowError::SampleTooLong { tokens, limit });
            }
            ids.truncate(prompt.ids.len() + limit);
        }
        rows.fits(&ids, 0).map(|()| ids)
    }

    /// Scores every completion.
    ///
    /// # Errors
    /// When a score is not finite.
    pub fn scores(
        &self,
        stage: &str,
        prompts: &[EncodedPrompt],
        completions: &[Vec<SampledCompletion>],
        on_progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<ScoresByPrompt, EvalError> {
        let encode = |(prompt, all): (&EncodedPrompt, &Vec<SampledCompletion>)| {
            self.scorer.rows.prompt(&prompt.prompt, 0)?;
            all.iter().map(|one| self.row(prompt, one)).collect()
        };
        let encoded: Vec<Result<Vec<Vec<u32>>, RowError>> =
            prompts.iter().zip(completions).map(encode).collect();
        let rows: Vec<&[u32]> = encoded.iter().flatten().flatten().map(Vec::as_slice).collect();
        let mut scores = Vec::with_capacity(rows.len());
        let mut progress = Stage::start(stage, rows.len(), on_progress);
        for chunk in rows.chunks(ROWS) {
            scores.extend(self.scorer.scores(chunk, self.batch_tokens)?);
            progress.add(chunk.len(), chunk.iter().map(|row| row.len()).sum());
        }
        let mut scores = scores.into_iter();
        let split = |own: Result<Vec<Vec<u32>>, RowError>| match own {
            Ok(rows) => Ok(scores.by_ref().take(rows.len()).collect()),
            Err(source) => Err(RowError::Stage { stage: stage.into(), source: Box::new(source) }),
        };
        Ok(encoded.into_iter().map(split).collect())
    }
}

/// Sets the gold score of every completion by a function.
///
/// # Errors
/// When the function has no score for one.
pub(super) fn set_gold(
    prompts: &[EncodedPrompt],
    completions: &mut [Vec<SampledCompletion>],
    gold: GoldFunction<'_>,
) -> Result<(), EvalError> {
    for (prompt, all) in prompts.iter().zip(completions) {
        for completion in all {
            let score = gold(&prompt.prompt, completion);
            let score =
                score.map_err(|source| EvalError::Gold { id: prompt.id.clone(), source })?;
            completion.gold = Some(score);
        }
    }
    Ok(())
}
