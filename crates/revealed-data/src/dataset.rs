//! The records of a file and the layouts they come in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::DataError;
use crate::conversation::{Completion, Prompt};
use crate::error::{Place, Row};
use crate::files;
use crate::layout::{self, Layout, RowOf};
use crate::rows;

mod findings;

pub(crate) use findings::Findings;
pub use findings::UnreadColumn;

/// A prompt and an expert's completion of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Demonstration {
    /// The file's `id`, or the row's number.
    pub id: String,
    /// The file's `source`, if any.
    pub source: Option<String>,
    /// Where it is; none for one that was not read from a file.
    #[serde(skip)]
    pub place: Option<Place>,
    /// What is answered.
    pub prompt: Prompt,
    /// The expert's answer.
    pub completion: Completion,
    /// The tokens of the answer, where the file has them: `completion_ids`, as `revealed sample`
    /// writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_ids: Option<Vec<u32>>,
}

/// A prompt and two completions, the first preferred; for evaluation and for preference baselines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preference {
    /// The file's `id`, or the row's number.
    pub id: String,
    /// The file's `subset` or `meta.subset`, if any.
    pub subset: Option<String>,
    /// Where it is; none for one that was not read from a file.
    #[serde(skip)]
    pub place: Option<Place>,
    /// What is answered.
    pub prompt: Prompt,
    /// The preferred answer.
    pub chosen: Completion,
    /// The other answer.
    pub rejected: Completion,
}

/// A prompt alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PromptRow {
    /// The file's `id`, or the row's number.
    pub id: String,
    /// Where it is; none for one that was not read from a file.
    #[serde(skip)]
    pub place: Option<Place>,
    /// What is to be answered.
    pub prompt: Prompt,
}

/// The rows of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Records {
    /// Prompts with an expert's completion.
    Demonstrations(Vec<Demonstration>),
    /// Prompts with a better and a worse completion.
    Preferences(Vec<Preference>),
    /// Prompts alone.
    Prompts(Vec<PromptRow>),
}

/// The layout of a file, told from its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `messages`, the last one the assistant's.
    Messages,
    /// `conversations` or `conversation`, with `from` and `value` or `role` and `content`.
    ShareGpt,
    /// `prompt` and `completion`, as text or messages.
    PromptCompletion,
    /// `instruction` with `output` or `response`, and perhaps `input`, `system` and `history`.
    Alpaca,
    /// A user's message and its answer: `question` and `answer`, `query` and `response`, and others.
    QuestionAnswer,
    /// `chosen` and `rejected` with the prompt in a column of its own.
    ExplicitPreferences,
    /// `chosen` and `rejected` that begin with the same prompt.
    ImplicitPreferences,
    /// Prompts alone.
    Prompts,
}

impl Kind {
    /// The layout's name in reports and errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ShareGpt => "conversations",
            Self::PromptCompletion => "prompt+completion",
            Self::Alpaca => "alpaca",
            Self::QuestionAnswer => "question+answer",
            Self::ExplicitPreferences => "preferences, explicit prompt",
            Self::ImplicitPreferences => "preferences, implicit prompt",
            Self::Prompts => "prompts",
        }
    }
}

/// A file or several, their layout and their rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The file, folder, pattern or data set.
    pub path: PathBuf,
    /// The layout.
    pub kind: Kind,
    /// The rows.
    pub records: Records,
    /// The columns that are not read.
    pub unread_columns: Vec<UnreadColumn>,
    /// What should be known of how the columns were read, one sentence each; the unread columns are
    /// in the last one.
    pub notes: Vec<String>,
}

/// Reads data: a `.jsonl`, `.json` (an array, or JSON lines), `.parquet`, `.csv` or `.tsv` file, or
/// several in a folder or by a pattern such as `data/train-*.parquet`, or a split of a data set of the
/// hub: `hf://datasets/OWNER/NAME@REVISION?config=CONFIG&split=SPLIT`, of which all but the name may be
/// left out. `OWNER/NAME` alone is one too where no such path exists.
///
/// The layout is told from the first row's columns; every row must have it. Texts keep their
/// whitespace. A column that would change what is learned, and that is not read in this layout, is
/// refused by name; the other ones are listed in [`Dataset::unread_columns`].
///
/// # Errors
/// [`DataError`] names the file and, for a bad row, its line (`.jsonl`, `.csv`) or its place among the
/// rows, from 1. A file without rows is an error.
pub fn read(path: &Path) -> Result<Dataset, DataError> {
    let mut reader = Reader::default();
    let files = files::resolve(path)?;
    for file in &files.paths {
        let shared: Arc<Path> = file.as_path().into();
        rows::for_each(file, &mut |row, columns| reader.row(&shared, row, &columns))?;
    }
    let Reader { layout: Some(layout), records: Some(records), findings, number } = reader else {
        return Err(DataError::Empty { path: path.to_owned() });
    };
    if records.is_empty() {
        return Err(DataError::AllLeftOut { path: path.to_owned(), rows: number });
    }
    let notes = files.notes.into_iter().chain(findings.notes()).collect();
    let unread_columns = findings.unread_columns();
    Ok(Dataset { path: path.to_owned(), kind: layout.kind, records, unread_columns, notes })
}

/// The files that [`read`] reads for a path, in order.
///
/// # Errors
/// A folder without data files, a pattern that matches nothing, or a data set that cannot be fetched.
pub fn data_files(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(files::resolve(path)?.paths)
}

/// The state of reading the rows of one or several files.
#[derive(Default)]
struct Reader {
    layout: Option<Layout>,
    records: Option<Records>,
    findings: Findings,
    number: usize,
}

impl Reader {
    fn row(
        &mut self,
        path: &Arc<Path>,
        row: Row,
        columns: &rows::Columns,
    ) -> Result<(), DataError> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => *self.layout.insert(layout::detect(path, row, columns)?),
        };
        let records = self.records.get_or_insert_with(|| Records::empty(layout.kind));
        let place = Place { path: path.clone(), row };
        let given = RowOf { columns, number: self.number, place };
        self.number += 1;
        let findings = &mut self.findings;
        let refuse = |problem| rows::refuse(path, row, problem);
        match records {
            Records::Demonstrations(rows) => {
                rows.extend(layout.demonstration(&given, findings).map_err(refuse)?);
            }
            Records::Preferences(rows) => {
                rows.push(layout.preference(&given, findings).map_err(refuse)?);
            }
            Records::Prompts(rows) => {
                rows.push(layout.prompt_row(&given, findings).map_err(refuse)?);
            }
        }
        Ok(())
    }
}

/// A row of the caller's own layout: its place, and its columns by name.
pub type PlacedRow = (Place, Map<String, Value>);

/// Reads rows of a layout of the caller's own from data of the same kinds as [`read`]: each with its
/// place, for the caller's errors.
///
/// # Errors
/// As [`read`], but for columns.
pub fn read_rows(path: &Path) -> Result<Vec<PlacedRow>, DataError> {
    let mut all = Vec::new();
    for file in files::resolve(path)?.paths {
        let shared: Arc<Path> = file.as_path().into();
        rows::for_each(&file, &mut |row, columns| {
            all.push((Place { path: shared.clone(), row }, columns));
            Ok(())
        })?;
    }
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
    read(path)?.demonstrations()
}

/// Reads a file of preferences.
///
/// # Errors
/// As [`read`]; [`DataError::WrongKind`] for a file of another kind.
pub fn read_preferences(path: &Path) -> Result<Vec<Preference>, DataError> {
    read(path)?.preferences()
}

/// Reads ids and prompts from a file of any kind, in order; completions are left behind.
///
/// # Errors
/// As [`read`].
pub fn read_prompts(path: &Path) -> Result<Vec<(String, Prompt)>, DataError> {
    Ok(read(path)?.prompts().into_iter().map(|row| (row.id, row.prompt)).collect())
}

impl Dataset {
    /// The demonstrations.
    ///
    /// # Errors
    /// [`DataError::WrongKind`] for data of another kind.
    pub fn demonstrations(self) -> Result<Vec<Demonstration>, DataError> {
        let found = match self.kind {
            Kind::Prompts => {
                "prompts (no answer column, or conversations that do not end with the assistant)"
            }
            other => other.name(),
        };
        match self.records {
            Records::Demonstrations(rows) => Ok(rows),
            _ => {
                let expected = "demonstrations (messages that end with the assistant; prompt, completion; \
                                instruction, output; question, answer)";
                Err(DataError::WrongKind { path: self.path, found, expected })
            }
        }
    }

    /// The preferences.
    ///
    /// # Errors
    /// [`DataError::WrongKind`] for data of another kind.
    pub fn preferences(self) -> Result<Vec<Preference>, DataError> {
        let found = self.kind.name();
        match self.records {
            Records::Preferences(rows) => Ok(rows),
            _ => {
                let expected = "preferences (chosen and rejected, with or without prompt)";
                Err(DataError::WrongKind { path: self.path, found, expected })
            }
        }
    }

    /// The prompts of data of any kind, in order; completions are left behind.
    pub fn prompts(self) -> Vec<PromptRow> {
        match self.records {
            Records::Demonstrations(rows) => rows
                .into_iter()
                .map(|row| PromptRow { id: row.id, place: row.place, prompt: row.prompt })
                .collect(),
            Records::Preferences(rows) => rows
                .into_iter()
                .map(|row| PromptRow { id: row.id, place: row.place, prompt: row.prompt })
                .collect(),
            Records::Prompts(rows) => rows,
        }
    }
}

impl Records {
    fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Messages
            | Kind::ShareGpt
            | Kind::PromptCompletion
            | Kind::Alpaca
            | Kind::QuestionAnswer => Self::Demonstrations(Vec::new()),
            Kind::ExplicitPreferences | Kind::ImplicitPreferences => Self::Preferences(Vec::new()),
            Kind::Prompts => Self::Prompts(Vec::new()),
        }
    }

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
}

#[cfg(test)]
mod tests;
