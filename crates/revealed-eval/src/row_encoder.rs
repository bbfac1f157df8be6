//! From texts to token rows that a model can read, one row at a time: a row that does not fit is reported and the others
//! are used.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

use revealed_data::{
    Completion, DataError, Demonstration, EncodeOptions, Encoded, Encoder, LongCompletion, Prompt,
};
use revealed_models::ModelDims;
use thiserror::Error;

/// Encodes prompts and completions for a model of given dimensions.
pub struct RowEncoder {
    /// Tokenizer, chat template and limits.
    pub encoder: Encoder,
    /// The model's dimensions: its context and vocabulary bound every row.
    pub dims: ModelDims,
    /// Demonstrations whose `completion_ids` do not decode to their text with this tokenizer.
    retokenized: AtomicUsize,
}

/// Why a text has no row that the model can read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RowError {
    /// The text cannot be tokenized, or exceeds a limit of the encoder.
    #[error("{}", with_causes(.0))]
    Data(Box<DataError>),
    /// The prompt exceeds the model's context.
    #[error("the prompt has {tokens} tokens; the model's context is {context}")]
    LongPrompt {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that the model reads.
        context: usize,
    },
    /// The completion exceeds the model's context.
    #[error("the completion has {tokens} tokens; the model's context is {context}")]
    LongCompletion {
        /// Tokens of the completion.
        tokens: usize,
        /// Tokens that the model reads.
        context: usize,
    },
    /// Prompt and completion together exceed the model's context.
    #[error("the row has {tokens} tokens; the model's context is {context}")]
    LongRow {
        /// Tokens of prompt and completion.
        tokens: usize,
        /// Tokens that the model reads.
        context: usize,
    },
    /// The prompt leaves too little of the model's context for the completions to sample.
    #[error(
        "the prompt has {tokens} tokens and {room} more are asked for; the model's context is {context}"
    )]
    NoRoom {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens to sample.
        room: usize,
        /// Tokens that the model reads.
        context: usize,
    },
    /// The tokenizer has tokens that the model lacks.
    #[error("token {id} is outside the model's vocabulary of {vocab_size}")]
    Vocabulary {
        /// The token.
        id: u32,
        /// Tokens that the model knows.
        vocab_size: usize,
    },
    /// One of several answers to a question has no row.
    #[error("{answer}: {source}")]
    Answer {
        /// `chosen`, `rejected`, or one of several such as `chosen 2`.
        answer: String,
        /// Why it has none.
        source: Box<Self>,
    },
    /// A sampled completion exceeds the limit of the reward that scores it.
    #[error(
        "a completion has {tokens} tokens, the reward's limit is {limit}; raise the reward's max_completion_tokens, or lower max_tokens"
    )]
    SampleTooLong {
        /// Tokens of the completion.
        tokens: usize,
        /// Tokens that the reward reads.
        limit: usize,
    },
    /// Scoring a side of a comparison failed.
    #[error("{stage}: {source}")]
    Stage {
        /// What was done, such as `scoring the policy`.
        stage: String,
        /// Why it failed.
        source: Box<Self>,
    },
}

impl RowEncoder {
    /// For a model of these dimensions.
    pub fn new(encoder: Encoder, dims: ModelDims) -> Self {
        Self { encoder, dims, retokenized: AtomicUsize::new(0) }
    }

    /// Prompt and completion of a demonstration. Its `completion_ids` are used if they decode to its text; otherwise the text
    /// is tokenized, and the demonstration counts in [`take_retokenized`](Self::take_retokenized).
    ///
    /// # Errors
    /// When the row does not fit the limits or the model.
    pub fn demonstration(&self, row: &Demonstration) -> Result<Encoded, RowError> {
        let Some(ids) = &row.completion_ids else {
            return self.completion(&row.prompt, &row.completion);
        };
        let prompt = self.prompt(&row.prompt, 0)?;
        if ids.is_empty() || self.encoder.completion_text(&prompt, ids) != row.completion.text() {
            self.retokenized.fetch_add(1, Ordering::Relaxed);
            return self.completion(&row.prompt, &row.completion);
        }
        let EncodeOptions { max_completion_tokens: limit, too_long, .. } = self.encoder.options();
        let (tokens, limit) = (ids.len(), *limit);
        if tokens > limit && too_long.completions == LongCompletion::Drop {
            return Err(self.explain(DataError::CompletionTooLong { tokens, limit }));
        }
        let (completion_start, ids) = (prompt.len(), &ids[..tokens.min(limit)]);
        let terminated = ids.last().is_some_and(|last| self.encoder.stop_ids().contains(last));
        let input_ids = [&prompt, ids].concat();
        self.fits(&input_ids, 0)?;
        Ok(Encoded { input_ids, completion_start, terminated, truncated: tokens > limit })
    }

    /// Demonstrations whose text was tokenized in place of their `completion_ids` since the last call.
    pub fn take_retokenized(&self) -> usize {
        self.retokenized.swap(0, Ordering::Relaxed)
    }

    /// The tokens of a prompt that leaves `room` tokens of the context.
    ///
    /// # Errors
    /// When it does not fit the limits or the model.
    pub fn prompt(&self, prompt: &Prompt, room: usize) -> Result<Vec<u32>, RowError> {
        let ids = self.encoder.prompt(prompt).map_err(|error| self.explain(error))?;
        self.fits(&ids, room)?;
        Ok(ids)
    }

    /// The tokens of a prompt and its completion.
    ///
    /// # Errors
    /// When they do not fit the limits or the model.
    pub fn completion(&self, prompt: &Prompt, text: &Completion) -> Result<Encoded, RowError> {
        let row = self.encoder.encode(prompt, text).map_err(|error| self.explain(error))?;
        self.fits(&row.input_ids, 0)?;
        Ok(row)
    }

    /// Checks that the model reads these tokens and `room` more.
    ///
    /// # Errors
    /// When a token is not in its vocabulary, or its context is shorter.
    pub fn fits(&self, ids: &[u32], room: usize) -> Result<(), RowError> {
        let ModelDims { context, vocab_size, .. } = self.dims;
        if let Some(&id) = ids.iter().find(|id| **id as usize >= vocab_size) {
            return Err(RowError::Vocabulary { id, vocab_size });
        }
        let tokens = ids.len();
        match tokens.saturating_add(room) <= context {
            true => Ok(()),
            false if room > 0 => Err(RowError::NoRoom { tokens, room, context }),
            false => Err(RowError::LongRow { tokens, context }),
        }
    }

    /// Where a limit is the model's context, advice to raise the limit would not help.
    fn explain(&self, error: DataError) -> RowError {
        let context = self.dims.context;
        match error {
            DataError::PromptTooLong { tokens, limit } if limit == context => {
                RowError::LongPrompt { tokens, context }
            }
            DataError::CompletionTooLong { tokens, limit } if limit == context => {
                RowError::LongCompletion { tokens, context }
            }
            other => RowError::Data(Box::new(other)),
        }
    }
}

/// An error with its causes, none of them twice.
fn with_causes(error: &DataError) -> String {
    let mut text = error.to_string().trim_end().to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        let next = next.trim_end();
        if !text.ends_with(next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
