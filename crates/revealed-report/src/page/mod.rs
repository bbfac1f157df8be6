//! The report page of a run folder: the verdict in words, curves with expected ranges, samples before and after, histograms
//! of rewards, the audit, evaluations, settings and hashes.
//!
//! The page is self-contained: it loads no script, font or address. It is computed from the files of the run, so also a run in
//! progress or a damaged one has a page.

mod axes;
mod chart;
mod csv;
mod curves;
mod ending;
mod evaluations;
#[cfg(test)]
pub(crate) mod example;
mod expected_range;
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

pub use csv::metrics_csv;
pub use curves::{Curve, Point, curves};
pub use ending::stopped_early;
pub use expected_range::{ExpectedRange, Violation, expected_ranges, violations};
pub use gold::{Gold, GoldMeans, GoldRow, Summary};
pub use held_out::{Change, changes, objective_change, result};
pub use html::html;
pub use metrics::{MetricLine, Places, read_metrics};
pub use number::{number, range, signed};
pub use run::RunFiles;
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
