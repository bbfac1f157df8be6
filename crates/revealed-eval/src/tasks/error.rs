//! What can be wrong with a task, its rows or a run of it.

use std::path::PathBuf;

use revealed_data::DataError;
use revealed_models::ModelError;
use thiserror::Error;

/// Why a task has no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// No built-in task of that name.
    #[error("no task `{name}`; give a .toml file, or one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The built-in ones.
        known: String,
    },
    /// A description cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A description is no such TOML.
    #[error("{origin}: {source}")]
    Toml {
        /// The file or the built-in task.
        origin: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A description's field does not go with the others.
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
    /// A template does not parse, or fails on a row.
    #[error("task `{task}`: `{field}`{}: {source}", place(row))]
    Template {
        /// The task.
        task: String,
        /// The field that holds it.
        field: &'static str,
        /// The row, from 0, where it is a row's failure.
        row: Option<usize>,
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
    /// A row does not give what its task needs.
    #[error("task `{task}`, row {row}: `{field}` gives {found}; expected {expected}")]
    Row {
        /// The task.
        task: String,
        /// The row, from 0.
        row: usize,
        /// The field that was evaluated.
        field: &'static str,
        /// What it gave.
        found: String,
        /// What it should.
        expected: &'static str,
    },
    /// A row does not fit the model.
    #[error("row {row}: {reason}")]
    TooLong {
        /// The row, from 0.
        row: usize,
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

fn place(row: &Option<usize>) -> String {
    row.map_or(String::new(), |row| format!(", row {row}"))
}

fn part(group: &Option<String>) -> String {
    group.as_ref().map_or(String::new(), |group| format!(" of `{group}`"))
}
