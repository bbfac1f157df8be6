//! Rows of JSON: a line each, or the elements of an array.

use std::io::{BufRead, Read};
use std::path::Path;

use serde_json::Value;

use super::{Columns, Each, MAX_FILE, MAX_LINE, check_size, numbers, open, refuse, type_name};
use crate::DataError;
use crate::error::{LineFault, Row, RowProblem};

/// One JSON object a line.
pub(super) fn lines(
    path: &Path,
    mut lines: impl BufRead,
    each: &mut Each<'_>,
) -> Result<(), DataError> {
    let mut line = Vec::new();
    for number in 1.. {
        let row = Row::Line(number);
        line.clear();
        let read = (&mut lines)
            .take(MAX_LINE as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        if read == 0 {
            break;
        }
        if read > MAX_LINE {
            return Err(refuse(path, row, RowProblem::TooLong { limit: MAX_LINE }));
        }
        let text = std::str::from_utf8(without_mark(&line))
            .map_err(|source| refuse(path, row, RowProblem::Utf8(source)))?;
        if text.trim().is_empty() {
            continue;
        }
        let value = numbers::parse(text)
            .map_err(|source| refuse(path, row, RowProblem::Json(LineFault(source))))?;
        each(row, object(path, row, value)?)?;
    }
    Ok(())
}

/// A JSON array, or JSON lines.
pub(super) fn file(path: &Path, each: &mut Each<'_>) -> Result<(), DataError> {
    let bytes = whole(path)?;
    let bytes = without_mark(&bytes);
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return lines(path, bytes, each).map_err(|error| match one_object(bytes) {
            true => DataError::Files {
                path: path.to_owned(),
                reason: "it is one JSON object over several lines; write an array of rows, or one row a \
                         line"
                    .to_owned(),
            },
            false => error,
        });
    }
    for (index, value) in elements(path, bytes)?.into_iter().enumerate() {
        let row = Row::Index(index + 1);
        each(row, object(path, row, value)?)?;
    }
    Ok(())
}

/// A file that is read at once.
pub(super) fn whole(path: &Path) -> Result<Vec<u8>, DataError> {
    let file = open(path)?;
    check_size(path, &file)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Whether bytes are a JSON object that no single line holds.
fn one_object(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    text.contains('\n') && matches!(numbers::parse(text), Ok(Value::Object(_)))
}

fn elements(path: &Path, bytes: &[u8]) -> Result<Vec<Value>, DataError> {
    let refuse = |source| DataError::Json { path: path.to_owned(), source };
    let Ok(text) = std::str::from_utf8(bytes) else {
        // The parser names the place of the byte that is not UTF-8.
        return serde_json::from_slice(bytes).map_err(refuse);
    };
    match numbers::parse(text).map_err(refuse)? {
        Value::Array(values) => Ok(values),
        other => Ok(vec![other]),
    }
}

fn object(path: &Path, row: Row, value: Value) -> Result<Columns, DataError> {
    match value {
        Value::Object(columns) => Ok(columns),
        other => Err(refuse(path, row, RowProblem::NotAnObject { found: type_name(&other) })),
    }
}

/// Some editors begin UTF-8 files with a byte order mark.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}
