//! Reads benchmark files: rows become questions with unique ids.

use std::collections::HashMap;
use std::path::Path;

use revealed_data::{
    Columns, Completion, DataError, Message, Place, Prompt, RowProblem, prompt_from_json,
    read_preferences, read_rows, type_name,
};
use serde_json::{Map, Value};

use super::problem::QuestionProblem;
use super::question::BenchmarkQuestion;
use crate::error::EvalError;

/// A row's columns.
struct Layout<'a> {
    columns: &'a Map<String, Value>,
    /// The benchmark's name, for errors.
    of: &'static str,
}

impl Layout<'_> {
    fn column(&self, name: &'static str) -> Result<&Value, RowProblem> {
        self.columns.get(name).ok_or_else(|| RowProblem::MissingColumn {
            column: name,
            kind: self.of,
            found: Columns(self.columns.keys().cloned().collect()),
        })
    }

    fn text(&self, name: &'static str) -> Result<String, RowProblem> {
        let value = self.column(name)?;
        value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(name, value, "text"))
    }

    /// A text or a list of texts: published files have either.
    fn texts(&self, name: &'static str) -> Result<Vec<Completion>, RowProblem> {
        let value = self.column(name)?;
        let texts = match value {
            Value::String(text) => Some(vec![text.as_str().into()]),
            Value::Array(all) => all.iter().map(|text| Some(text.as_str()?.into())).collect(),
            _ => None,
        };
        texts.ok_or_else(|| wrong_type(name, value, "text or a list of texts"))
    }

    fn prompt(&self) -> Result<Prompt, RowProblem> {
        prompt_from_json("prompt", self.column("prompt")?)
    }

    /// The file's id; `None` if it is null or missing.
    fn id(&self) -> Result<Option<String>, RowProblem> {
        match self.columns.get("id") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(wrong_type("id", other, "text or a number")),
        }
    }

    fn num_correct(&self) -> Result<Option<usize>, RowProblem> {
        match self.columns.get("num_correct") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(count) => Ok(Some(count as usize)),
                None => Err(wrong_type("num_correct", value, "a number")),
            },
        }
    }

    fn question(&self, part: &'static str, number: usize) -> Result<BenchmarkQuestion, RowProblem> {
        Ok(BenchmarkQuestion {
            id: self.id()?.unwrap_or_else(|| number.to_string()),
            subset: self.text(part)?,
            prompt: as_message(self.prompt()?),
            chosen: self.texts("chosen")?,
            rejected: self.texts("rejected")?,
        })
    }
}

fn wrong_type(column: &str, found: &Value, expected: &'static str) -> RowProblem {
    RowProblem::WrongType { column: column.into(), found: type_name(found), expected }
}

/// A text as one user message, so that the chat template is applied to it.
fn as_message(prompt: Prompt) -> Prompt {
    match prompt {
        Prompt::Text(content) => Prompt::from(vec![Message::new("user", content)]),
        turns => turns,
    }
}

/// Reads a file; `part` is the column of subsets, and `problem` checks each question.
pub(super) fn read(
    path: &Path,
    (of, part): (&'static str, &'static str),
    problem: impl Fn(&BenchmarkQuestion) -> Option<QuestionProblem>,
) -> Result<Vec<BenchmarkQuestion>, EvalError> {
    let rows = read_rows(path)?;
    let refused = |place: &Place, id: &str, problem| EvalError::Question {
        path: place.path.to_path_buf(),
        row: place.row,
        id: id.into(),
        problem,
    };
    let mut questions = Vec::with_capacity(rows.len());
    let mut places = Vec::with_capacity(rows.len());
    for (number, (place, columns)) in rows.into_iter().enumerate() {
        let layout = Layout { columns: &columns, of };
        let parsed = layout.question(part, number).and_then(|one| Ok((one, layout.num_correct()?)));
        let (question, num_correct) = parsed.map_err(|problem| DataError::Row {
            path: place.path.to_path_buf(),
            row: place.row,
            problem,
        })?;
        let found = question.chosen.len();
        let count = num_correct.filter(|count| *count != found);
        let count = count.map(|num_correct| QuestionProblem::Count { num_correct, found });
        if let Some(problem) = count.or_else(|| problem(&question)) {
            return Err(refused(&place, &question.id, problem));
        }
        questions.push(question);
        places.push(place);
    }
    name_apart(&mut questions);
    // A benchmark that reads ids must not get changed ones.
    for (question, place) in questions.iter().zip(&places) {
        if let Some(problem) = problem(question) {
            return Err(refused(place, &question.id, problem));
        }
    }
    Ok(questions)
}

/// A prior set of RewardBench from a file of preferences, named by the file up to the number of a shard
/// (`anthropic_hhh-00000-of-00001.parquet`).
///
/// # Errors
/// When the file cannot be read as preferences.
pub fn prior_set(path: &Path) -> Result<Vec<BenchmarkQuestion>, EvalError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let subset = stem.split("-0").next().unwrap_or_default().to_owned();
    let question = |pair: revealed_data::Preference| BenchmarkQuestion {
        id: pair.id,
        subset: subset.clone(),
        prompt: as_message(pair.prompt),
        chosen: vec![pair.chosen],
        rejected: vec![pair.rejected],
    };
    let mut questions: Vec<BenchmarkQuestion> =
        read_preferences(path)?.into_iter().map(question).collect();
    questions.iter_mut().for_each(|question| question.id = format!("{subset}/{}", question.id));
    name_apart(&mut questions);
    Ok(questions)
}

/// Makes ids unique, as records need them; those of RewardBench are unique within their source at best.
pub(super) fn name_apart(questions: &mut [BenchmarkQuestion]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for question in questions.iter() {
        *seen.entry(question.id.clone()).or_default() += 1;
    }
    let mut used: HashMap<String, usize> = HashMap::new();
    for question in questions.iter_mut().filter(|question| seen[&question.id] > 1) {
        let name = format!("{}/{}", question.subset, question.id);
        let times = used.entry(name.clone()).or_default();
        *times += 1;
        question.id = if *times == 1 { name } else { format!("{name}#{times}") };
    }
}
