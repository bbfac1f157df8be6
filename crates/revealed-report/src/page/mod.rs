//! A run folder as a page for people: the verdict in words, curves over healthy bands, samples side by side, histograms of
//! rewards, the audit, evaluations, settings and hashes.
//!
//! The page stands alone: no script, no font, no address is loaded. It is read from the run's files, so any run can have one,
//! in progress or damaged.

mod bands;
mod chart;
mod csv;
mod curves;
mod ending;
mod evaluations;
#[cfg(test)]
pub(crate) mod example;
mod gold;
mod held_out;
mod histogram;
mod html;
mod labels;
mod metrics;
mod number;
mod run;
mod sections;
mod settings;
mod shade;
mod tables;
mod text;
mod verdict;

use std::path::PathBuf;

use thiserror::Error;

pub use bands::{Band, Exit, GRAD_NORM_FACTOR, MAX_EQUAL_GROUPS, SMOOTH, bands, exits};
pub use csv::metrics_csv;
pub use curves::{Curve, Point, curves};
pub use ending::stopped_early;
pub use gold::{Gold, GoldRow};
pub use held_out::{Change, changes, objective_change, result};
pub use html::html;
pub use metrics::{MetricLine, Places, Stage, read_metrics};
pub use number::{number, range, signed};
pub use run::{Measures, Round, RunFiles, Samples, Scores, Shown, ShownRewards, ValidationScores};
pub use settings::Settings;
pub use verdict::{Answer, Level, MIN_LEAD, verdict};

/// Why there is no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The folder holds no run.
    #[error("{}: there is no run here, neither recipe.toml nor metrics.jsonl; give the folder that `run.out` named", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl ReportError {
    /// For `map_err` on a file's operations.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }
}
