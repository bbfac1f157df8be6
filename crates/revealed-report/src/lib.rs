#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod compare;
#[cfg(test)]
mod example;
mod page;
pub mod tensorboard;

pub use page::{
    Answer, Change, Curve, ExpectedRange, Gold, GoldMeans, GoldRow, Level, MIN_LEAD, MetricLine,
    Places, Point, ReportError, RunFiles, Settings, Summary, Violation, changes, curves,
    expected_ranges, html, metrics_csv, number, objective_change, range, read_metrics, result,
    signed, stopped_early, verdict, violations,
};
