//! Numbers with their intervals on stdout: as JSON, and as cells of a Markdown table.

use revealed::eval::{Estimate, Figure};
use serde_json::{Value, json};

/// `{"value": …, "interval": [low, high]}`, the interval null if unknown.
pub fn shown(value: f64, interval: Option<[f64; 2]>) -> Value {
    json!({"value": value, "interval": interval})
}

/// `0.733 (0.664–0.792)`
pub fn cell(value: f64, interval: Option<[f64; 2]>) -> String {
    match interval {
        Some([low, high]) => format!("{value:.3} ({low:.3}–{high:.3})"),
        None => format!("{value:.3}"),
    }
}

/// [`shown`], of a figure.
pub fn shown_figure(figure: &Figure) -> Value {
    shown(figure.value, figure.interval)
}

/// [`cell`], of an estimate.
pub fn estimate_cell(estimate: &Estimate) -> String {
    cell(estimate.value, estimate.interval())
}

/// A row of a Markdown table.
pub fn row<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> String {
    let cells: String = cells.into_iter().map(|cell| format!(" {} |", cell.as_ref())).collect();
    format!("|{cells}\n")
}

/// The header of a Markdown table.
pub fn head<S: AsRef<str>>(names: &[S]) -> String {
    format!("{}|{}\n", row(names), "---|".repeat(names.len()))
}
