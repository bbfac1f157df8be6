//! Errors of loading, calibrating, auditing and scoring with a reward.

use std::path::PathBuf;

use revealed_models::ModelError;
use thiserror::Error;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RewardError {
    /// Error of the decoder or its files.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// `reward.json` cannot be read.
    #[error("{}: {reason}; expected the file that saving a reward writes next to its weights", path.display())]
    File {
        /// Path of the `reward.json`.
        path: PathBuf,
        /// Cause: the I/O or parse error.
        reason: String,
    },
    /// There is nothing to calibrate on, to audit or to score with.
    #[error("too few {needed}: found {found}; add samples or demonstrations")]
    TooFew {
        /// Kind of item that is missing.
        needed: &'static str,
        /// Number of items found.
        found: usize,
    },
    /// A score is NaN or infinite.
    #[error("{what} score {index} is {value}; the reward has diverged, lower its learning rate")]
    NonFinite {
        /// `demonstration` or `sample`.
        what: &'static str,
        /// Index of the score, from 0.
        index: usize,
        /// The NaN or infinite score.
        value: f64,
    },
    /// Differences of scores cannot be turned into logits.
    #[error(
        "logit scale is {value}; it must be finite and above 0: 1 for raw scores, the calibration's scale for calibrated ones"
    )]
    LogitScale {
        /// The refused logit scale.
        value: f64,
    },
}
