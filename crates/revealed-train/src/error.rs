//! Errors of a run.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use revealed_data::DataError;
use revealed_models::ModelError;
use revealed_reward::RewardError;
use thiserror::Error;

use crate::record::At;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Data, template or tokenizer.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Model folders, adapters, sampling.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Reward and calibration.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// A recipe cannot be read.
    #[error("the recipe {} cannot be read; check the path, or write one with `revealed recipe > {}`", path.display(), path.display())]
    RecipeFile {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A recipe does not parse.
    #[error("{origin}: {source}")]
    RecipeSyntax {
        /// The file, or the override.
        origin: String,
        /// Line, column and reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A recipe lacks a key that has no default.
    #[error("recipe: `{key}` is missing; set it in the recipe or with `--set {key}={example}`")]
    MissingKey {
        /// The key, dotted.
        key: &'static str,
        /// A value it could have.
        example: &'static str,
    },
    /// The memory plan needs more than there is.
    #[error(
        "the memory plan needs {needed:.2} GiB, most of it for {largest}, and there are {limit:.2}; lower run.micro_batch_tokens or run.sample_batch_size, use model.tuning = \"lora\", or set run.memory_limit_gib (inf for no limit)"
    )]
    Memory {
        /// GiB that the plan needs.
        needed: f64,
        /// The largest part of the plan.
        largest: String,
        /// GiB that are free, or the recipe's limit.
        limit: f64,
    },
    /// The tokenizer has ids that the model does not have.
    #[error(
        "{}: the tokenizer gives token {id}, but the model's vocabulary has {vocab}; put the tokenizer of this model there",
        folder.display()
    )]
    Vocabulary {
        /// The model folder.
        folder: PathBuf,
        /// The first such id.
        id: u32,
        /// Ids of the model.
        vocab: usize,
    },
    /// A recipe uses a key that was renamed.
    #[error("{origin}: the key `{old}` was renamed to `{new}`; use the new name")]
    RenamedKey {
        /// The file, or the override.
        origin: String,
        /// The key as found, dotted.
        old: &'static str,
        /// Its new name, dotted.
        new: &'static str,
    },
    /// A recipe's value is out of range.
    #[error("recipe: `{key}` = {found}; expected {expected}")]
    Recipe {
        /// The key, dotted.
        key: &'static str,
        /// Its value.
        found: String,
        /// Its range.
        expected: Cow<'static, str>,
    },
    /// Too few rows to train on.
    #[error("{what}: found {found}, needed {needed}; {advice}")]
    TooFew {
        /// Kind of row.
        what: &'static str,
        /// How many are left after dropping.
        found: usize,
        /// The minimum.
        needed: usize,
        /// How to get more.
        advice: &'static str,
    },
    /// Too few demonstrations of a file can be used.
    #[error(
        "{what}: found {found}, needed {needed}; of {rows} rows {dropped} were dropped for their length and {held_out} were held out, {trained} of which were removed because their prompts are trained on; add rows, raise data.max_prompt_tokens or data.max_completion_tokens, or change data.held_out"
    )]
    TooFewDemonstrations {
        /// Training or held-out demonstrations.
        what: &'static str,
        /// Rows left.
        found: usize,
        /// The minimum.
        needed: usize,
        /// Rows of the file.
        rows: usize,
        /// Rows over the length limits.
        dropped: usize,
        /// Rows that were held out.
        held_out: usize,
        /// Held-out rows whose prompts are trained on.
        trained: usize,
    },
    /// The observer asked to stop; `save` has been called with the state.
    #[error("stopped as asked after {at}")]
    Interrupted {
        /// The last step that was done.
        at: At,
    },
    /// A loss or gradient norm is NaN or infinite, and no more steps may be skipped.
    #[error(
        "{at}: {what} is {value}; no weight was updated by this step. lower the learning rate or check the data{diagnosis}"
    )]
    NonFinite {
        /// Round, phase and step.
        at: At,
        /// Name of the number.
        what: &'static str,
        /// NaN, ±inf, or a norm above `health.max_unclipped_norm`.
        value: f64,
        /// Steps skipped before and the first violation; may be empty.
        diagnosis: String,
    },
    /// A phase panicked: in the caller's code, or in a tensor backend that ran out of memory or lost its device.
    #[error(
        "{at}: {message}; the last checkpoint is complete, so the run can be resumed. if memory ran out, lower run.micro_batch_tokens and run.sample_batch_size; else this is a bug, please report it"
    )]
    Panic {
        /// Round and phase.
        at: At,
        /// Message of the panic.
        message: String,
    },
    /// Sampling and training compute different log-probabilities of the policy.
    #[error(
        "{at}: the first update of a rollout has ratio {ratio}, not 1: the forward passes for rollout and training disagree"
    )]
    RatioNotOne {
        /// Round, phase and step.
        at: At,
        /// The ratio farthest from 1; NaN if one is NaN.
        ratio: f64,
    },
    /// The scores of a reward do not match the rows.
    #[error(
        "row {row} of a rollout: {reason}; a reward gives one finite number for each row, and for each token if it is dense"
    )]
    Scores {
        /// Index of the row, from 0.
        row: usize,
        /// The mismatch.
        reason: String,
    },
    /// The data does not match the model or the state.
    #[error("{what} {index}: {reason}")]
    Mismatch {
        /// Kind of row.
        what: &'static str,
        /// Its index, from 0.
        index: usize,
        /// The mismatch and how to resolve it.
        reason: String,
    },
    /// A file of the run cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A checkpoint does not match its manifest.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint, or the run folder.
        path: PathBuf,
        /// The problem and how to resolve it.
        reason: String,
    },
    /// SFT has increased the held-out loss.
    #[error(
        "{at}: the held-out loss began at {start:.3} nats/token and is {found:.3} at its best{diagnosis}. lower sft.optimizer.lr"
    )]
    Diverged {
        /// Round, phase and step.
        at: At,
        /// Held-out loss of the initial model, nats/token.
        start: f64,
        /// Held-out loss of the best epoch, nats/token.
        found: f64,
        /// Steps skipped before and the first violation; may be empty.
        diagnosis: String,
    },
    /// The recipe of a resumed run has changed.
    #[error(
        "{}: resuming with another recipe: {keys}; start a new run folder, or restore these values",
        path.display()
    )]
    RecipeChanged {
        /// The run folder.
        path: PathBuf,
        /// The keys that differ.
        keys: String,
    },
}

impl TrainError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Runs a phase and turns a panic of this thread or of a worker thread into an error.
///
/// Values that the phase was changing are dropped with the panic and never read again.
pub(crate) fn catching_panics<T>(
    at: At,
    phase: impl FnOnce() -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    catch_unwind(AssertUnwindSafe(phase)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(TrainError::Panic { at, message: message.to_owned() })
    })
}

/// An error with its causes on one line; a cause that the text already ends with is not repeated.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
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
