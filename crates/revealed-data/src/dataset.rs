//! The records of a file and the layouts they come in.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::DataError;
use crate::conversation::{Completion, Prompt};
use crate::error::{Row, RowProblem};
use crate::layout::{self, Layout};
use crate::rows;

/// A prompt and an expert's completion of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Demonstration {
    /// The file's `id`, or the row's number.
    pub id: String,
    /// The file's `source`, if any.
    pub source: Option<String>,
    /// What is answered.
    pub prompt: Prompt,
    /// The expert's answer.
    pub completion: Completion,
}

/// A prompt and two completions, the first preferred; for evaluation and for preference baselines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preference {
    /// The file's `id`, or the row's number.
    pub id: String,
    /// The file's `subset` or `meta.subset`, if any.
    pub subset: Option<String>,
    /// What is answered.
    pub prompt: Prompt,
    /// The preferred answer.
    pub chosen: Completion,
    /// The other answer.
    pub rejected: Completion,
}

/// The rows of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Records {
    /// Prompts with an expert's completion.
    Demonstrations(Vec<Demonstration>),
    /// Prompts with a better and a worse completion.
    Preferences(Vec<Preference>),
    /// Ids and prompts.
    Prompts(Vec<(String, Prompt)>),
}

/// The layout of a file, told from its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `messages`, the last one the assistant's.
    Messages,
    /// `prompt` and `completion`, as text or messages.
    PromptCompletion,
    /// `instruction`, `output` and perhaps `input`.
    Alpaca,
    /// `prompt`, `chosen` and `rejected`.
    ExplicitPreferences,
    /// `chosen` and `rejected` that begin with the same prompt.
    ImplicitPreferences,
    /// `prompt` alone.
    Prompts,
}

impl Kind {
    /// The layout's name in reports and errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::PromptCompletion => "prompt+completion",
            Self::Alpaca => "alpaca",
            Self::ExplicitPreferences => "preferences, explicit prompt",
            Self::ImplicitPreferences => "preferences, implicit prompt",
            Self::Prompts => "prompts",
        }
    }
}

/// A file, its layout and its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The file.
    pub path: PathBuf,
    /// Its layout.
    pub kind: Kind,
    /// Its rows.
    pub records: Records,
}

/// Reads a `.jsonl`, `.json` (an array, or JSON lines) or `.parquet` file; the ending decides.
///
/// The layout is told from the first row's columns; every row must have it. Texts keep their
/// whitespace.
///
/// # Errors
/// [`DataError`] names the file and, for a bad row, its line (`.jsonl`) or its place among the rows, from 1. A file without rows
/// is an error.
pub fn read(path: &Path) -> Result<Dataset, DataError> {
    let mut dataset: Option<Dataset> = None;
    let mut number = 0;
    rows::for_each(path, &mut |row, columns| {
        let dataset = match &mut dataset {
            Some(dataset) => dataset,
            none => none.insert(Dataset::empty(path, layout::detect(path, row, &columns)?)),
        };
        let layout = Layout { kind: dataset.kind, columns: &columns, number };
        number += 1;
        dataset.records.push(&layout).map_err(|problem| rows::refuse(path, row, problem))
    })?;
    dataset.ok_or_else(|| DataError::Empty { path: path.to_owned() })
}

/// A row of the caller's own layout: its place, and its columns by name.
pub type PlacedRow = (Row, Map<String, Value>);

/// Reads rows of a layout of the caller's own from a file of the same kinds as [`read`]: each with its place, for the caller's errors.
///
/// # Errors
/// As [`read`], but for columns.
pub fn read_rows(path: &Path) -> Result<Vec<PlacedRow>, DataError> {
    let mut all = Vec::new();
    rows::for_each(path, &mut |row, columns| {
        all.push((row, columns));
        Ok(())
    })?;
    match all.is_empty() {
        true => Err(DataError::Empty { path: path.to_owned() }),
        false => Ok(all),
    }
}

/// Reads a file of demonstrations.
///
/// # Errors
/// As [`read`]; [`DataError::WrongKind`] for a file of another kind.
pub fn read_demonstrations(path: &Path) -> Result<Vec<Demonstration>, DataError> {
    let dataset = read(path)?;
    let found = dataset.kind.name();
    match dataset.records {
        Records::Demonstrations(rows) => Ok(rows),
        _ => {
            let expected = "demonstrations (messages; prompt, completion; instruction, output)";
            Err(DataError::WrongKind { path: dataset.path, found, expected })
        }
    }
}

/// Reads a file of preferences.
///
/// # Errors
/// As [`read`]; [`DataError::WrongKind`] for a file of another kind.
pub fn read_preferences(path: &Path) -> Result<Vec<Preference>, DataError> {
    let dataset = read(path)?;
    let found = dataset.kind.name();
    match dataset.records {
        Records::Preferences(rows) => Ok(rows),
        _ => {
            let expected = "preferences (chosen and rejected, with or without prompt)";
            Err(DataError::WrongKind { path: dataset.path, found, expected })
        }
    }
}

/// Reads ids and prompts from a file of any kind, in order; completions are left behind.
///
/// # Errors
/// As [`read`].
pub fn read_prompts(path: &Path) -> Result<Vec<(String, Prompt)>, DataError> {
    Ok(match read(path)?.records {
        Records::Demonstrations(rows) => rows.into_iter().map(|d| (d.id, d.prompt)).collect(),
        Records::Preferences(rows) => rows.into_iter().map(|p| (p.id, p.prompt)).collect(),
        Records::Prompts(rows) => rows,
    })
}

impl Dataset {
    fn empty(path: &Path, kind: Kind) -> Self {
        let records = match kind {
            Kind::Messages | Kind::PromptCompletion | Kind::Alpaca => {
                Records::Demonstrations(Vec::new())
            }
            Kind::ExplicitPreferences | Kind::ImplicitPreferences => {
                Records::Preferences(Vec::new())
            }
            Kind::Prompts => Records::Prompts(Vec::new()),
        };
        Self { path: path.to_owned(), kind, records }
    }
}

impl Records {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Demonstrations(rows) => rows.len(),
            Self::Preferences(rows) => rows.len(),
            Self::Prompts(rows) => rows.len(),
        }
    }

    /// Whether there are none; never so for a file that was read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, layout: &Layout<'_>) -> Result<(), RowProblem> {
        match self {
            Self::Demonstrations(rows) => rows.push(layout.demonstration()?),
            Self::Preferences(rows) => rows.push(layout.preference()?),
            Self::Prompts(rows) => rows.push(layout.prompt_row()?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
