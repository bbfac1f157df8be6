//! Rows of benchmark files as questions.

use std::collections::HashMap;
use std::path::Path;

use revealed_data::{Message, Prompt, read_preferences, read_rows};
use serde::Deserialize;
use thiserror::Error;

use crate::error::EvalError;

/// A prompt with right and wrong answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The file's `id`, or the row's number; `subset/id` and a count where it recurs.
    pub id: String,
    /// The file's `subset` or `domain`.
    pub subset: String,
    /// What is answered.
    pub prompt: Prompt,
    /// The right answers.
    pub chosen: Vec<String>,
    /// The wrong ones.
    pub rejected: Vec<String>,
}

/// Why a row is no question of a benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QuestionProblem {
    /// A benchmark of pairs has one answer a side, one of styles three.
    #[error(
        "has {chosen} chosen and {rejected} rejected answers; {expected} are expected: is it of another benchmark?"
    )]
    Answers {
        /// Right ones.
        chosen: usize,
        /// Wrong ones.
        rejected: usize,
        /// What the benchmark has.
        expected: &'static str,
    },
    /// `num_correct` says otherwise.
    #[error("says num_correct = {said} and has {found} chosen answers; mend the file")]
    Count {
        /// The column.
        said: usize,
        /// The answers.
        found: usize,
    },
    /// A tie belongs to a reference question of the same number.
    #[error("is one of Ties, whose ids are ref:N or tied:N, each once; mend the file")]
    TiesId,
    /// A domain that the benchmark does not have.
    #[error("is of the domain {found:?}; chat, math, code, safety and their parts are known")]
    Domain {
        /// The column.
        found: String,
    },
}

/// A text or a list of them: published files differ, and a list of one is a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Text(String),
    Number(i64),
}

/// The columns of all three; files have others too.
#[derive(Deserialize)]
struct Row {
    id: Option<Label>,
    #[serde(alias = "domain")]
    subset: String,
    prompt: Prompt,
    chosen: Texts,
    rejected: Texts,
    num_correct: Option<f64>,
}

impl Texts {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

impl Row {
    fn question(self, number: usize) -> Question {
        let id = match self.id {
            Some(Label::Text(text)) => text,
            Some(Label::Number(id)) => id.to_string(),
            None => number.to_string(),
        };
        let (subset, prompt) = (self.subset, asked(self.prompt));
        Question { id, subset, prompt, chosen: self.chosen.list(), rejected: self.rejected.list() }
    }
}

/// A text as one user message, which a chat template is applied to.
fn asked(prompt: Prompt) -> Prompt {
    match prompt {
        Prompt::Text(content) => Prompt::Messages(vec![Message { role: "user".into(), content }]),
        turns => turns,
    }
}

/// Reads a file whose rows have no `problem`.
pub(super) fn read(
    path: &Path,
    problem: impl Fn(&Question) -> Option<QuestionProblem>,
) -> Result<Vec<Question>, EvalError> {
    let rows: Vec<Row> = read_rows(path)?;
    let mut questions = Vec::with_capacity(rows.len());
    for (number, row) in rows.into_iter().enumerate() {
        let said = row.num_correct.map(|count| count as usize);
        let question = row.question(number);
        let found = question.chosen.len();
        let count = said.filter(|said| *said != found);
        let count = count.map(|said| QuestionProblem::Count { said, found });
        if let Some(problem) = count.or_else(|| problem(&question)) {
            return Err(EvalError::Question { path: path.into(), id: question.id, problem });
        }
        questions.push(question);
    }
    name_apart(&mut questions);
    // Names that a benchmark reads must not have been changed.
    match questions.iter().find_map(|question| Some((question.id.clone(), problem(question)?))) {
        Some((id, problem)) => Err(EvalError::Question { path: path.into(), id, problem }),
        None => Ok(questions),
    }
}

/// A prior set of RewardBench: a file of preferences, the set named by the file up to a shard's number
/// (`anthropic_hhh-00000-of-00001.parquet`).
///
/// # Errors
/// When the file cannot be read as preferences.
pub fn prior_set(path: &Path) -> Result<Vec<Question>, EvalError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let subset = stem.split("-0").next().unwrap_or_default().to_owned();
    let question = |pair: revealed_data::Preference| Question {
        id: pair.id,
        subset: subset.clone(),
        prompt: asked(pair.prompt),
        chosen: vec![pair.chosen],
        rejected: vec![pair.rejected],
    };
    let mut questions: Vec<Question> = read_preferences(path)?.into_iter().map(question).collect();
    questions.iter_mut().for_each(|question| question.id = format!("{subset}/{}", question.id));
    name_apart(&mut questions);
    Ok(questions)
}

/// Records need ids that are unique; RewardBench's are so within their source at best.
pub(super) fn name_apart(questions: &mut [Question]) {
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
