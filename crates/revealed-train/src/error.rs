//! What can go wrong in a run.

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
    /// A recipe does not parse.
    #[error("{origin}: {source}")]
    RecipeSyntax {
        /// The file, or the override.
        origin: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
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
    /// The observer asked to stop; the state has been saved where the caller saves it.
    #[error("stopped as asked after {at}")]
    Interrupted {
        /// Where.
        at: At,
    },
    /// NaN or infinity.
    #[error(
        "{at}: {what} is {value}; nothing was updated by it. lower the learning rate or check the data"
    )]
    NonFinite {
        /// Round, phase and step.
        at: At,
        /// Which number.
        what: &'static str,
        /// NaN or ±inf.
        value: f64,
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
