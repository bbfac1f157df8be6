//! Rows of JSON objects from `.jsonl`, `.json` and `.parquet` files.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::SerializedFileReader;
use parquet::record::Field;
use serde_json::{Map, Value};

use crate::DataError;
use crate::error::{LineFault, Row, RowProblem};
use crate::guard::guarded;

/// Named columns of one row.
pub(crate) type Columns = Map<String, Value>;

/// A row longer than this is a file of another kind (a JSON array renamed, a binary), and would take its tokenizer seconds: no
/// model's context holds a tenth of it.
const MAX_LINE: usize = 8 << 20;
/// `.json` and `.parquet` are read at once.
const MAX_FILE: u64 = 4 << 30;

/// Calls `each` with every row of the file, in order.
pub(crate) fn for_each(
    path: &Path,
    each: &mut dyn FnMut(Row, Columns) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let each = &mut |row, columns: Columns| match columns.values().map(letters).sum::<usize>() {
        long if long > MAX_LINE => Err(refuse(path, row, RowProblem::TooLong { limit: MAX_LINE })),
        _ => each(row, columns),
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => json_lines(path, BufReader::new(open(path)?), each),
        Some("json") => json_file(path, each),
        Some("parquet") => parquet_file(path, each),
        _ => Err(DataError::Extension { path: path.to_owned() }),
    }
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

fn object(path: &Path, row: Row, value: Value) -> Result<Columns, DataError> {
    match value {
        Value::Object(columns) => Ok(columns),
        other => Err(refuse(path, row, RowProblem::NotAnObject { found: type_name(&other) })),
    }
}

fn json_lines(
    path: &Path,
    mut lines: impl BufRead,
    each: &mut dyn FnMut(Row, Columns) -> Result<(), DataError>,
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
        let value = serde_json::from_str(text)
            .map_err(|source| refuse(path, row, RowProblem::Json(LineFault(source))))?;
        each(row, object(path, row, value)?)?;
    }
    Ok(())
}

/// Some editors begin UTF-8 files with a byte order mark.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

fn check_size(path: &Path, file: &File) -> Result<(), DataError> {
    let bytes =
        file.metadata().map_err(|source| DataError::Io { path: path.to_owned(), source })?.len();
    match bytes > MAX_FILE {
        true => Err(DataError::FileTooLarge { path: path.to_owned(), bytes, limit: MAX_FILE }),
        false => Ok(()),
    }
}

fn json_file(
    path: &Path,
    each: &mut dyn FnMut(Row, Columns) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let file = open(path)?;
    check_size(path, &file)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let bytes = without_mark(&bytes);
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return json_lines(path, bytes, each);
    }
    let values: Vec<Value> = serde_json::from_slice(bytes)
        .map_err(|source| DataError::Json { path: path.to_owned(), source })?;
    for (index, value) in values.into_iter().enumerate() {
        let row = Row::Index(index + 1);
        each(row, object(path, row, value)?)?;
    }
    Ok(())
}

fn parquet_file(
    path: &Path,
    each: &mut dyn FnMut(Row, Columns) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let refuse = |source| DataError::Parquet { path: path.to_owned(), source };
    let file = open(path)?;
    check_size(path, &file)?;
    let mut rows = None;
    let mut file = Some(file);
    for index in 0.. {
        let next = guarded(|| {
            if let Some(file) = file.take() {
                match SerializedFileReader::new(file).map(|reader| reader.into_iter()) {
                    Ok(iterator) => rows = Some(iterator),
                    Err(source) => return Some(Err(source)),
                }
            }
            rows.as_mut().and_then(Iterator::next)
        });
        let damaged = || ParquetError::General("the decoder met damaged pages".to_owned());
        let Some(row) = next.ok_or_else(damaged).map_err(refuse)? else { break };
        let columns = row.map_err(refuse)?.into_columns();
        each(
            Row::Index(index + 1),
            columns.into_iter().map(|(name, field)| (name, json(&field))).collect(),
        )?;
    }
    Ok(())
}

/// A parquet value as JSON; types that no column of ours has become null, which is refused there.
fn json(field: &Field) -> Value {
    match field {
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => Value::from(*value),
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        Field::Float(value) => Value::from(*value),
        Field::Double(value) => Value::from(*value),
        Field::Str(value) => Value::from(value.as_str()),
        Field::Bytes(value) => value.as_utf8().map_or(Value::Null, Value::from),
        Field::Group(row) => {
            row.get_column_iter().map(|(name, field)| (name.clone(), json(field))).collect()
        }
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        _ => Value::Null,
    }
}
