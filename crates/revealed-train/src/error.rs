//! What can go wrong in a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use revealed_data::DataError;
use revealed_models::ModelError;
use revealed_reward::RewardError;
use thiserror::Error;

use crate::observer::At;

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
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A recipe does not parse.
    #[error("{origin}: {source}")]
    RecipeSyntax {
        /// The file, or the override.
        origin: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A recipe uses a key that has another name now.
    #[error("{origin}: the key `{old}` was renamed to `{new}`; use the new name")]
    RenamedKey {
        /// The file, or the override.
        origin: String,
        /// The key as found, dotted.
        old: &'static str,
        /// Its present name, dotted.
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
        expected: &'static str,
    },
    /// There is nothing to learn from.
    #[error("{what}: found {found}, needed {needed}; {advice}")]
    TooFew {
        /// Rows of what.
        what: &'static str,
        /// How many are left after dropping.
        found: usize,
        /// How many are needed.
        needed: usize,
        /// What to do.
        advice: &'static str,
    },
    /// Too few demonstrations are left of a file.
    #[error(
        "{what}: found {found}, needed {needed}; of {rows} rows {dropped} were dropped for their length and {held_out} went to the held-out ones, {trained} of these left out because their prompts are trained on; add rows, raise data.max_prompt_tokens or data.max_completion_tokens, or change data.held_out"
    )]
    TooFewDemonstrations {
        /// Those to train on, or those held out.
        what: &'static str,
        /// How many are left.
        found: usize,
        /// How many are needed.
        needed: usize,
        /// Rows of the file.
        rows: usize,
        /// Rows of it beyond the limits.
        dropped: usize,
        /// Rows of it that were held out.
        held_out: usize,
        /// Held-out ones whose prompts are trained on.
        trained: usize,
    },
    /// The observer asked to stop; the state has been saved where the caller saves it.
    #[error("stopped as asked after {at}")]
    Interrupted {
        /// Where.
        at: At,
    },
    /// NaN or infinity, where no more of it is put up with.
    #[error(
        "{at}: {what} is {value}; nothing was updated by it. lower the learning rate or check the data{diagnosis}"
    )]
    NonFinite {
        /// Round, phase and step.
        at: At,
        /// Which number.
        what: &'static str,
        /// NaN, ±inf, or a norm above `health.max_unclipped_norm`.
        value: f64,
        /// What was skipped before, and what left its band first; may be empty.
        diagnosis: String,
    },
    /// A stage panicked: the caller's own code, or a tensor backend that ran out of memory or lost its device.
    #[error(
        "{at}: {message}; what was saved before is whole, so the run can go on from it. if memory ran out, lower run.micro_batch_tokens and run.sample_batch_size; else this is a bug, please report it"
    )]
    Panic {
        /// Round and phase.
        at: At,
        /// What the panic said.
        message: String,
    },
    /// Sampling and training disagree about the policy.
    #[error(
        "{at}: the first update of a rollout has ratio {ratio}, not 1: the forward passes for rollout and training disagree"
    )]
    RatioNotOne {
        /// Round, phase and step.
        at: At,
        /// The ratio farthest from 1.
        ratio: f64,
    },
    /// A reward's scores do not fit the rows that it was asked for.
    #[error(
        "a rollout's row {row}: {reason}; a reward gives one finite number for each row, and for each token if it is dense"
    )]
    Scores {
        /// The row, from 0.
        row: usize,
        /// What is wrong.
        reason: String,
    },
    /// Data and model, or data and state, do not belong together.
    #[error("{what} {index}: {reason}")]
    Mismatch {
        /// Which kind of row.
        what: &'static str,
        /// Its index, from 0.
        index: usize,
        /// Why not and what to do.
        reason: String,
    },
    /// A file of the run cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A checkpoint is not what its manifest says.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint, or the run folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// SFT has made the model worse than it was.
    #[error(
        "{at}: the held-out loss began at {start:.3} nats a token and is {found:.3} at its best{diagnosis}. lower sft.optimizer.lr"
    )]
    Diverged {
        /// Round, phase and step.
        at: At,
        /// That of the model it began with.
        start: f64,
        /// The best epoch's.
        found: f64,
        /// What was skipped before, and what left its band first; may be empty.
        diagnosis: String,
    },
    /// A resumed run has another recipe.
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

/// A stage, a panic of which, on this thread or on a worker whose panic it passes on, is an error.
///
/// What the stage was changing is lost with the panic and looked at no more.
pub(crate) fn caught<T>(
    at: At,
    stage: impl FnOnce() -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    catch_unwind(AssertUnwindSafe(stage)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(TrainError::Panic { at, message: message.to_owned() })
    })
}
