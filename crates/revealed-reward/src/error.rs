//! What can go wrong with a reward.

use std::path::PathBuf;

use revealed_models::ModelError;
use thiserror::Error;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RewardError {
    /// The backbone or its files.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// `reward.json` cannot be read.
    #[error("{}: {reason}; expected the file that saving a reward writes beside its weights", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There is nothing to calibrate on, to audit or to score with.
    #[error("too few {needed}: found {found}; add samples or demonstrations")]
    TooFew {
        /// What is needed.
        needed: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A score is NaN or infinite.
    #[error("{what} score {index} is {value}; the reward has diverged, lower its learning rate")]
    NonFinite {
        /// Demonstration or sample.
        what: &'static str,
        /// Its index.
        index: usize,
        /// The value.
        value: f64,
    },
    /// Differences of scores cannot be turned into logits.
    #[error(
        "logit scale is {value}; it must be finite and above 0: 1 for raw scores, the calibration's scale for calibrated ones"
    )]
    LogitScale {
        /// The value.
        value: f64,
    },
}
