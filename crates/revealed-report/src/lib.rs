#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod compare;
#[cfg(test)]
mod example;
mod page;
pub mod tensorboard;

pub use page::{
    Answer, Band, Change, Curve, Exit, GRAD_NORM_FACTOR, Gold, GoldRow, Level, MAX_EQUAL_GROUPS,
    MIN_LEAD, Measures, MetricLine, Places, Point, ReportError, Round, RunFiles, SMOOTH, Samples,
    Scores, Settings, Shown, ShownRewards, Stage, ValidationScores, bands, changes, curves, exits,
    html, metrics_csv, number, objective_change, range, read_metrics, result, signed,
    stopped_early, verdict,
};
