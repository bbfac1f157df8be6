//! Errors of tasks, their rows and their runs.

use std::fmt;
use std::path::PathBuf;

use revealed_data::{Columns, DataError};
use revealed_models::ModelError;
use thiserror::Error;

use super::rows::Place;

/// Why a task has no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// No built-in task of that name.
    #[error("no task `{name}`; give a .toml file, or one of {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The built-in ones.
        known: String,
    },
    /// A description cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A description is not valid TOML of the expected form.
    #[error("{origin}: {source}")]
    Toml {
        /// The file or the built-in task.
        origin: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A field of a description contradicts the others.
    #[error("task `{task}`: `{field}` is {found}; {expected}")]
    Field {
        /// The task.
        task: String,
        /// The field.
        field: &'static str,
        /// Its value, or "missing".
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A template does not parse.
    #[error("task `{task}`: `{field}`: {source}")]
    Template {
        /// The task.
        task: String,
        /// The field that holds it.
        field: &'static str,
        /// Where and why.
        source: Box<minijinja::Error>,
    },
    /// A row lacks a column that a field reads.
    #[error(
        "{at} reads {lacks}, and the row has {found}; give the file that belongs to the task, or correct or remove the row"
    )]
    Absent {
        /// The row and the field.
        at: Box<FieldAt>,
        /// The columns that are missing or null.
        lacks: String,
        /// The columns that are there.
        found: Columns,
    },
    /// A template fails on a row.
    #[error("{at} fails{}; correct or remove the row: {source}", at.having())]
    Render {
        /// The row and the field.
        at: Box<FieldAt>,
        /// Where and why.
        source: Box<minijinja::Error>,
    },
    /// A regular expression does not parse.
    #[error("task `{task}`: `{pattern}`: {source}")]
    Regex {
        /// The task.
        task: String,
        /// The expression.
        pattern: String,
        /// Where and why.
        source: Box<regex::Error>,
    },
    /// A field gives a row a value that the task cannot use.
    #[error("{at} gives {found}, expected {expected}{}; correct or remove the row", at.having())]
    Row {
        /// The row and the field.
        at: Box<FieldAt>,
        /// The value.
        found: String,
        /// What the task needs.
        expected: &'static str,
    },
    /// A row does not fit the model.
    #[error("{place}: {reason}")]
    TooLong {
        /// The row.
        place: Place,
        /// The figures.
        reason: String,
    },
    /// Fewer examples than shots.
    #[error(
        "{asked} shots are asked for{}, and there are {found} rows for them; give more in the shots' file, or ask for fewer",
        part(group)
    )]
    TooFewShots {
        /// Shots.
        asked: usize,
        /// Rows.
        found: usize,
        /// The group that they have to be of.
        group: Option<String>,
    },
    /// Nothing to evaluate.
    #[error("there are no rows to evaluate")]
    NoRows,
    /// Shots as turns of a conversation need a template.
    #[error(
        "a chat template is asked for, but the model has none; leave it off or give a template's file"
    )]
    NoTemplate,
    /// A file of rows or a text cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model refuses something.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A field on the row on which it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldAt {
    /// The row.
    pub place: Place,
    /// The task.
    pub task: String,
    /// The field.
    pub field: &'static str,
    /// The template or column that it holds.
    pub text: String,
    /// The columns that it read, with their values.
    pub read: String,
}

impl fmt::Display for FieldAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, task, field, text, .. } = self;
        write!(f, "{place}: task `{task}`, `{field}` = {text:?}")
    }
}

impl FieldAt {
    fn having(&self) -> String {
        if self.read.is_empty() { String::new() } else { format!(", where {}", self.read) }
    }
}

fn part(group: &Option<String>) -> String {
    group.as_ref().map_or(String::new(), |group| format!(" of `{group}`"))
}
