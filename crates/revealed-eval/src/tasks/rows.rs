//! Rows of the user's files, each with its place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use revealed_data::DataError;
use serde_json::Map;

/// Columns by name.
pub type Columns = Map<String, serde_json::Value>;

/// A row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it holds.
    pub columns: Columns,
    /// Where it stands.
    pub place: Place,
}

/// Where a row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: Arc<Path>,
    /// The line or row in it.
    pub row: revealed_data::Row,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.row)
    }
}

/// The rows of a `.jsonl`, `.json` or `.parquet` file.
///
/// # Errors
/// When it cannot be read or holds no rows.
pub fn read_rows(path: &Path) -> Result<Vec<Row>, DataError> {
    let file: Arc<Path> = path.into();
    let rows = revealed_data::read_rows(path)?;
    let row = |(row, columns)| Row { columns, place: Place { path: file.clone(), row } };
    Ok(rows.into_iter().map(row).collect())
}

/// Rows as a file named `rows.jsonl` would give them.
#[cfg(test)]
pub(super) fn made_up(rows: impl IntoIterator<Item = serde_json::Value>) -> Vec<Row> {
    let path: Arc<Path> = Path::new("rows.jsonl").into();
    let row = |(at, row): (usize, serde_json::Value)| Row {
        columns: row.as_object().unwrap().clone(),
        place: Place { path: path.clone(), row: revealed_data::Row::Line(at + 1) },
    };
    rows.into_iter().enumerate().map(row).collect()
}
