//! Errors of experiments.

use std::path::{Path, PathBuf};

use revealed_data::DataError;
use revealed_models::ModelError;
use revealed_train::TrainError;
use thiserror::Error;

/// Why an experiment failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LabError {
    /// Data or tokenizer.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Loading, sampling or saving of a model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A file or folder cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A value cannot be written as JSON.
    #[error("writing JSON")]
    Json(#[source] serde_json::Error),
    /// A line of results is damaged.
    #[error("{}, line {line}; remove that line", path.display())]
    Damaged {
        /// The file of results.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Cause.
        source: serde_json::Error,
    },
    /// A line of results has another fingerprint than the arm has now.
    #[error(
        "{}, line {line}: {arm} was run with other settings ({recorded}, now {now}); remove its lines, or choose another --name or --out",
        path.display()
    )]
    OtherSettings {
        /// The file of results.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Name of the arm.
        arm: String,
        /// Fingerprint in the line.
        recorded: String,
        /// Fingerprint of the arm's settings.
        now: String,
    },
    /// Two lines of results have the same setting, seed and arm.
    #[error("{}, line {line}: {result} is there already; remove one of the lines", path.display())]
    Duplicate {
        /// The file of results.
        path: PathBuf,
        /// The second line, from 1.
        line: usize,
        /// Setting, seed and arm.
        result: String,
    },
    /// A change of settings that all arms share.
    #[error(
        "--set {change}: arms of a seed share their data and SFT model and keep every round, so only [negatives], [reward] and [policy] can be changed"
    )]
    SharedSetting {
        /// The change, KEY=VALUE.
        change: String,
    },
    /// The page has no place for a table.
    #[error(
        "the page has no {missing}; put <!-- {table} --> and <!-- end --> where the table belongs"
    )]
    NoMarker {
        /// The line that is missing.
        missing: String,
        /// Name of the table.
        table: String,
    },
    /// A plot cannot be drawn.
    #[error("drawing a plot: {reason}")]
    Plot {
        /// Message of the drawing library.
        reason: String,
    },
}

impl LabError {
    /// For `map_err` on a file operation.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }
}
