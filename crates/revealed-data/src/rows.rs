//! Rows of JSON objects from the files that are read.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::{Map, Value};

use crate::DataError;
use crate::error::{Row, RowProblem};
use crate::unreadable;

mod csv;
mod json;
mod numbers;
mod parquet;

/// Named columns of one row.
pub(crate) type Columns = Map<String, Value>;

/// What is done with a row.
pub(crate) type Each<'a> = dyn FnMut(Row, Columns) -> Result<(), DataError> + 'a;

/// A row longer than this is a file of another kind (a JSON array renamed, a binary), and would take
/// its tokenizer seconds: no model's context holds a tenth of it.
const MAX_LINE: usize = 8 << 20;
/// `.json` and `.parquet` are read at once.
const MAX_FILE: u64 = 4 << 30;

/// The endings of files that are read.
pub(crate) const ENDINGS: [&str; 6] = ["jsonl", "ndjson", "json", "parquet", "csv", "tsv"];

/// The ending of a file's name in small letters.
pub(crate) fn ending(path: &Path) -> String {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase()
}

/// Calls `each` with every row of one file, in order.
pub(crate) fn for_each(path: &Path, each: &mut Each<'_>) -> Result<(), DataError> {
    let each = &mut |row, columns: Columns| match columns.values().map(letters).sum::<usize>() {
        long if long > MAX_LINE => Err(refuse(path, row, RowProblem::TooLong { limit: MAX_LINE })),
        _ => each(row, columns),
    };
    match ending(path).as_str() {
        "jsonl" | "ndjson" => json::lines(path, BufReader::new(open(path)?), each),
        "json" => json::file(path, each),
        "parquet" => parquet::file(path, each),
        "csv" => csv::file(path, b',', each),
        "tsv" => csv::file(path, b'\t', each),
        // A file that does not exist is no file of another kind.
        _ => open(path).and(Err(DataError::Extension { path: path.to_owned() })),
    }
}

/// JSON within a text, such as a list of tools that is stored as one.
pub(crate) fn parse_json(text: &str) -> Result<Value, serde_json::Error> {
    numbers::parse(text)
}

/// The error of one row of one file.
pub(crate) fn refuse(path: &Path, row: Row, problem: RowProblem) -> DataError {
    DataError::Row { path: path.to_owned(), row, problem }
}

/// What a JSON value is, in words.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) if unreadable::description(value).is_some() => {
            "a value that JSON cannot hold (NaN, Infinity, an integer beyond 64 bits, a date)"
        }
        Value::Object(_) => "an object",
    }
}

/// Bytes of all texts in a value.
fn letters(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(parts) => parts.iter().map(letters).sum(),
        Value::Object(parts) => parts.iter().map(|(name, part)| name.len() + letters(part)).sum(),
        _ => 0,
    }
}

fn open(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })
}

fn check_size(path: &Path, file: &File) -> Result<(), DataError> {
    let bytes =
        file.metadata().map_err(|source| DataError::Io { path: path.to_owned(), source })?.len();
    match bytes > MAX_FILE {
        true => Err(DataError::FileTooLarge { path: path.to_owned(), bytes, limit: MAX_FILE }),
        false => Ok(()),
    }
}
