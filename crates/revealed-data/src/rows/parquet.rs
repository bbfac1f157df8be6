//! Rows of Parquet files.

use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row as Record};
use parquet::schema::types::Type;
use serde_json::Value;

use super::{Columns, Each, check_size, open};
use crate::DataError;
use crate::error::{Row, RowProblem};
use crate::guard::guarded;
use crate::unreadable::unreadable;

/// Columns by name, each with what keeps it from being read.
type Failing = Vec<(String, String)>;

/// Reads a file. A column that cannot be decoded is left unreadable from the row on that fails, so
/// that only a layout that reads it refuses the row.
pub(super) fn file(path: &Path, each: &mut Each<'_>) -> Result<(), DataError> {
    let refuse = |source| DataError::Parquet { path: path.to_owned(), row: None, source };
    let reader = guarded(|| reader(path)).unwrap_or_else(|| Ok(Err(damaged())))?.map_err(refuse)?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let mut names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let problem = RowProblem::HeaderTwice { column: twice[0].to_owned() };
        return Err(super::refuse(path, Row::Index(1), problem));
    }
    let mut failing = Failing::new();
    let mut done = 0;
    while let Err((index, source)) = pass(&reader, &schema, &failing, done, each)? {
        let refuse = |source| DataError::Parquet {
            path: path.to_owned(),
            row: Some(Row::Index(index + 1)),
            source,
        };
        let known = failing.len();
        for field in schema.get_fields() {
            let name = field.name();
            if failing.iter().all(|(failed, _)| failed != name)
                && let Some(reason) = failure(&reader, &schema, name, index)
            {
                failing.push((name.to_owned(), reason));
            }
        }
        // Where no column fails alone, there is nothing to leave out.
        if failing.len() == known || failing.len() == schema.get_fields().len() {
            return Err(refuse(source));
        }
        done = index;
    }
    Ok(())
}

fn reader(
    path: &Path,
) -> Result<Result<SerializedFileReader<std::fs::File>, ParquetError>, DataError> {
    let file = open(path)?;
    check_size(path, &file)?;
    Ok(SerializedFileReader::new(file))
}

fn damaged() -> ParquetError {
    ParquetError::General("the decoder met damaged pages".to_owned())
}

/// Gives the rows from `done` on; the number of the first row that cannot be decoded otherwise.
fn pass(
    reader: &SerializedFileReader<std::fs::File>,
    schema: &Type,
    failing: &Failing,
    done: usize,
    each: &mut Each<'_>,
) -> Result<Result<(), (usize, ParquetError)>, DataError> {
    let mut rows = match rows(reader, schema, |name| failing.iter().all(|(f, _)| f != name)) {
        Ok(rows) => rows,
        Err(source) => return Ok(Err((done, source))),
    };
    for index in 0.. {
        let record = match next(&mut rows) {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(source) => return Ok(Err((index, source))),
        };
        if index < done {
            continue;
        }
        let mut columns: Columns =
            record.into_columns().into_iter().map(|(name, field)| (name, json(&field))).collect();
        for (name, reason) in failing {
            columns.insert(name.clone(), unreadable(reason.clone()));
        }
        each(Row::Index(index + 1), columns)?;
    }
    Ok(Ok(()))
}

fn rows<'a>(
    reader: &'a SerializedFileReader<std::fs::File>,
    schema: &Type,
    wanted: impl Fn(&str) -> bool,
) -> Result<RowIter<'a>, ParquetError> {
    let fields: Vec<Arc<Type>> =
        schema.get_fields().iter().filter(|field| wanted(field.name())).cloned().collect();
    guarded(|| {
        let projection = Type::group_type_builder(schema.name()).with_fields(fields).build()?;
        RowIter::from_file(Some(projection), reader)
    })
    .unwrap_or_else(|| Err(damaged()))
}

fn next(rows: &mut RowIter<'_>) -> Result<Option<Record>, ParquetError> {
    guarded(|| rows.next()).ok_or_else(damaged)?.transpose()
}

/// Why a column cannot be decoded up to a row; none if it can.
fn failure(
    reader: &SerializedFileReader<std::fs::File>,
    schema: &Type,
    column: &str,
    index: usize,
) -> Option<String> {
    let mut rows = match rows(reader, schema, |name| name == column) {
        Ok(rows) => rows,
        Err(source) => return Some(format!("values that cannot be decoded ({source})")),
    };
    for _ in 0..=index {
        match next(&mut rows) {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(source) if source.to_string().contains("as String") => {
                return Some("text that is not UTF-8".to_owned());
            }
            Err(source) => return Some(format!("values that cannot be decoded ({source})")),
        }
    }
    None
}

/// A Parquet value as JSON.
fn json(field: &Field) -> Value {
    let number = |value: f64| match value.is_finite() {
        true => Value::from(value),
        false => unreadable(format!("{value}, which is not a JSON number")),
    };
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => Value::from(*value),
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        Field::Float16(value) => number(f64::from(*value)),
        Field::Float(value) => number(f64::from(*value)),
        Field::Double(value) => number(*value),
        Field::Str(value) => Value::from(value.as_str()),
        Field::Bytes(value) => match value.as_utf8() {
            Ok(text) => Value::from(text),
            Err(_) => unreadable("bytes that are not UTF-8 text (a binary column)"),
        },
        // A struct has every field in every row: null is how missing ones are written. The content
        // of a message that calls tools is null in itself.
        Field::Group(row) => row
            .get_column_iter()
            .filter(|(name, field)| !matches!(field, Field::Null) || *name == "content")
            .map(|(name, field)| (name.clone(), json(field)))
            .collect(),
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        Field::MapInternal(_) => unreadable("a Parquet map"),
        Field::Decimal(_) => unreadable("a decimal"),
        Field::Date(_) => unreadable("a date"),
        Field::TimeMillis(_) | Field::TimeMicros(_) => unreadable("a time"),
        Field::TimestampMillis(_) | Field::TimestampMicros(_) => unreadable("a timestamp"),
    }
}
