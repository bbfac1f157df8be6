//! The columns of a row: which of them were read, and what the others mean.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::refused;
use crate::dataset::Findings;
use crate::error::{Columns as Names, LineFault, RowProblem};
use crate::rows::{Columns, parse_json, type_name};
use crate::unreadable;

/// Columns that hold a conversation.
pub(super) const DIALOGUES: [&str; 3] = ["messages", "conversations", "conversation"];
/// Columns that hold what is answered.
pub(super) const QUESTIONS: [&str; 5] = ["prompt", "question", "query", "instruction", "input"];
/// Columns that hold the answer.
pub(super) const ANSWERS: [&str; 4] = ["completion", "response", "output", "answer"];

/// Whether a column holds a prompt, an answer or both in some layout.
pub(super) fn is_content(name: &str) -> bool {
    let pair = ["chosen", "rejected"];
    [&DIALOGUES[..], &QUESTIONS, &ANSWERS, &pair].iter().any(|names| names.contains(&name))
}

/// A row's columns, and which of them were read.
pub(super) struct Reading<'a> {
    columns: &'a Columns,
    used: Vec<&'a str>,
    pub(super) findings: &'a mut Findings,
}

impl<'a> Reading<'a> {
    pub(super) fn new(columns: &'a Columns, findings: &'a mut Findings) -> Self {
        Self { columns, used: Vec::new(), findings }
    }

    /// The column if it is not null; it counts as read from here on.
    ///
    /// # Errors
    /// A value that JSON cannot hold, or a NUL character.
    pub(super) fn get(&mut self, name: &str) -> Result<Option<&'a Value>, RowProblem> {
        match self.columns.get_key_value(name) {
            Some((name, value)) if !value.is_null() => {
                self.used.push(name);
                check_texts(name, value)?;
                Ok(Some(value))
            }
            _ => Ok(None),
        }
    }

    /// A column that the layout needs.
    pub(super) fn required(
        &mut self,
        column: &'static str,
        kind: &'static str,
    ) -> Result<&'a Value, RowProblem> {
        match self.get(column)? {
            Some(value) => Ok(value),
            None if self.columns.contains_key(column) => Err(RowProblem::WrongType {
                column: column.to_owned(),
                found: "null",
                expected: "text or messages",
            }),
            None => Err(RowProblem::MissingColumn { column, kind, found: names(self.columns) }),
        }
    }

    /// A column of text; null and, where `blank` is no value, empty text are none.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<&'a str>, RowProblem> {
        self.get(name)?.map(|value| text(name, value)).transpose()
    }

    /// A column that holds a list or an object, or JSON text of one; blank text is none.
    pub(super) fn structure(&mut self, name: &str) -> Result<Option<Cow<'a, Value>>, RowProblem> {
        match self.get(name)? {
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(Cow::Owned(json_text(name, text)?))),
            other => Ok(other.map(Cow::Borrowed)),
        }
    }

    /// The text or number of a column such as `id`; another type is left unread.
    pub(super) fn label(&mut self, name: &str) -> Option<String> {
        let label = label(self.columns.get(name)?)?;
        self.used.extend(self.columns.get_key_value(name).map(|(name, _)| name.as_str()));
        Some(label)
    }

    /// A column without reading it; none if it is null.
    pub(super) fn peek(&self, name: &str) -> Option<&'a Value> {
        self.columns.get(name).filter(|value| !value.is_null())
    }

    /// Columns that hold something and were not read.
    pub(super) fn unread(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let unread = |(name, value): &(&String, &Value)| {
            !value.is_null() && !self.used.contains(&name.as_str())
        };
        self.columns.iter().filter(unread).map(|(name, value)| (name.as_str(), value))
    }

    /// Counts the columns that were not read, once all that the layout needs were.
    ///
    /// # Errors
    /// A column that would change what is learned.
    pub(super) fn finish(
        self,
        kind: &'static str,
        repeats: impl Fn(&str, &Value) -> bool,
    ) -> Result<(), RowProblem> {
        let unread: Vec<(&str, &Value)> = self.unread().collect();
        for (name, value) in unread {
            refused::column(name, value)?;
            if is_content(name) && !is_blank(value) && !repeats(name, value) {
                return Err(RowProblem::OtherLayout { column: name.to_owned(), kind });
            }
            self.findings.unread(name);
        }
        Ok(())
    }
}

/// Whether a column holds nothing: null, text without letters, or an empty list.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(parts) => parts.is_empty(),
        _ => false,
    }
}

pub(super) fn names(columns: &Columns) -> Names {
    Names(columns.keys().cloned().collect())
}

/// Text or a number as text.
pub(super) fn label(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn text<'a>(column: &str, value: &'a Value) -> Result<&'a str, RowProblem> {
    let wrong = || RowProblem::WrongType {
        column: column.to_owned(),
        found: type_name(value),
        expected: "text",
    };
    value.as_str().ok_or_else(wrong)
}

/// JSON that a text holds.
pub(super) fn json_text(column: &str, text: &str) -> Result<Value, RowProblem> {
    let refuse =
        |source| RowProblem::JsonText { column: column.to_owned(), source: LineFault(source) };
    let value = parse_json(text).map_err(refuse)?;
    check_texts(column, &value)?;
    Ok(value)
}

/// Refuses values that JSON cannot hold and NUL characters, which tokenizers written in C end at.
pub(super) fn check_texts(column: &str, value: &Value) -> Result<(), RowProblem> {
    if let Some((column, found)) = unreadable::find(column, value) {
        return Err(RowProblem::Unreadable { column, found });
    }
    match value {
        Value::String(text) if text.contains('\0') => {
            Err(RowProblem::Nul { column: column.to_owned() })
        }
        Value::Array(parts) => parts
            .iter()
            .enumerate()
            .try_for_each(|(index, part)| check_texts(&format!("{column}[{index}]"), part)),
        Value::Object(parts) => {
            parts.iter().try_for_each(|(key, part)| check_texts(&format!("{column}.{key}"), part))
        }
        _ => Ok(()),
    }
}

/// The fields of an object that are not null.
pub(super) fn without_nulls(fields: &Map<String, Value>) -> Map<String, Value> {
    let given = fields.iter().filter(|(_, part)| !part.is_null());
    given.map(|(key, part)| (key.clone(), part.clone())).collect()
}
