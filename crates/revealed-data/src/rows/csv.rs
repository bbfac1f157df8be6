//! Rows of CSV and TSV: a header line with the names of the columns, then a record a row.

use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value;

use super::json::{whole, without_mark};
use super::{Columns, Each, numbers, refuse};
use crate::DataError;
use crate::error::{Row, RowProblem};

/// Columns of true or false, or of a weight. Python writes `True`, JSON `true`, spreadsheets `TRUE`.
const SCALAR_COLUMNS: [&str; 10] = [
    "label",
    "kto_tag",
    "weight",
    "weights",
    "sample_weight",
    "loss_weight",
    "train_on_inputs",
    "train_on_input",
    "train_on_prompt",
    "train",
];

/// Reads a file whose cells are separated by `delimiter`. Every cell is text, an empty cell is null.
/// A list of messages or tools is JSON in its cell, which the layout parses as in any other file.
pub(super) fn file(path: &Path, delimiter: u8, each: &mut Each<'_>) -> Result<(), DataError> {
    let bytes = whole(path)?;
    let bytes = without_mark(&bytes);
    if let Some(line) = unclosed_quote(bytes, delimiter) {
        return Err(refuse(path, Row::Line(line), RowProblem::OpenQuote));
    }
    let mut lines = Lines { bytes, at: 0, line: 1 };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(bytes);
    let names = header(path, reader.byte_headers().map_err(|error| other(path, error))?)?;
    let mut record = ByteRecord::new();
    loop {
        let row = Row::Line(lines.of(reader.position().byte()));
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                let csv::ErrorKind::UnequalLengths { expected_len, len, .. } = *error.kind() else {
                    return Err(other(path, error));
                };
                let problem = RowProblem::Cells { found: len, expected: expected_len };
                return Err(refuse(path, row, problem));
            }
        }
        let mut columns = Columns::new();
        for (name, bytes) in names.iter().zip(&record) {
            let value = cell(name, bytes).map_err(|problem| refuse(path, row, problem))?;
            columns.insert(name.clone(), value);
        }
        each(row, columns)?;
    }
}

/// The line of a quote that opens a cell and that nothing closes: the rest of the file would be one
/// cell.
fn unclosed_quote(bytes: &[u8], delimiter: u8) -> Option<usize> {
    let (mut line, mut begins, mut opened) = (1, true, None);
    let mut rest = bytes.iter().peekable();
    while let Some(&byte) = rest.next() {
        line += usize::from(byte == b'\n');
        match (opened, byte) {
            (Some(_), b'"') if rest.next_if(|next| **next == b'"').is_none() => opened = None,
            (Some(_), _) => {}
            (None, b'"') if begins => opened = Some(line),
            (None, _) => begins = byte == delimiter || matches!(byte, b'\r' | b'\n'),
        }
    }
    opened
}

/// The line of a record. The CSV reader does not count the line break of the record before.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, offset: u64) -> usize {
        let offset = (offset as usize).min(self.bytes.len());
        let breaks = self.bytes[offset..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let begin = offset + breaks.count();
        self.line += self.bytes[self.at..begin].iter().filter(|byte| **byte == b'\n').count();
        self.at = begin;
        self.line
    }
}

fn other(path: &Path, error: csv::Error) -> DataError {
    DataError::Io { path: path.to_owned(), source: std::io::Error::other(error) }
}

fn header(path: &Path, record: &ByteRecord) -> Result<Vec<String>, DataError> {
    let mut names: Vec<String> = Vec::new();
    for bytes in record {
        let refuse = |problem| refuse(path, Row::Line(1), problem);
        let name = std::str::from_utf8(bytes).map_err(|error| refuse(RowProblem::Utf8(error)))?;
        if names.iter().any(|known| known == name) {
            return Err(refuse(RowProblem::HeaderTwice { column: name.to_owned() }));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn cell(name: &str, bytes: &[u8]) -> Result<Value, RowProblem> {
    let text = std::str::from_utf8(bytes).map_err(RowProblem::Utf8)?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    if SCALAR_COLUMNS.contains(&name) {
        let parsed = match text {
            _ if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
            _ if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
            _ => numbers::parse(text).ok(),
        };
        return Ok(parsed.unwrap_or_else(|| Value::from(text)));
    }
    Ok(Value::from(text))
}
