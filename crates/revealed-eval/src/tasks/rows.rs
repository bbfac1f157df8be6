//! Rows of the user's files, each with its location.

use std::path::Path;

use revealed_data::DataError;
pub use revealed_data::Place;
use serde_json::Map;

/// Columns by name.
pub type Columns = Map<String, serde_json::Value>;

/// A row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// Its values by column.
    pub columns: Columns,
    /// Its file and line.
    pub place: Place,
}

/// The rows of a file, in the formats that [`revealed_data::read`] takes.
///
/// # Errors
/// When it cannot be read or holds no rows.
pub fn read_rows(path: &Path) -> Result<Vec<TaskRow>, DataError> {
    let rows = revealed_data::read_rows(path)?;
    let row = |(place, columns)| TaskRow { columns, place };
    Ok(rows.into_iter().map(row).collect())
}

/// Rows as a file named `rows.jsonl` would give them.
#[cfg(test)]
pub(super) fn made_up(rows: impl IntoIterator<Item = serde_json::Value>) -> Vec<TaskRow> {
    let path: std::sync::Arc<Path> = Path::new("rows.jsonl").into();
    let row = |(at, row): (usize, serde_json::Value)| TaskRow {
        columns: row.as_object().unwrap().clone(),
        place: Place { path: path.clone(), row: revealed_data::Row::Line(at + 1) },
    };
    rows.into_iter().enumerate().map(row).collect()
}
