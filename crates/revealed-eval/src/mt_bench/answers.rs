//! Answers in FastChat's layout: `model_answer/MODEL.jsonl`, and `reference_answer/*.jsonl` likewise.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{MtBenchError, QuestionId};
use crate::error::EvalError;
use crate::log::read_lines;

/// A model's answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelAnswer {
    /// The question.
    pub question_id: QuestionId,
    /// A name for this answer.
    pub answer_id: String,
    /// The model's name.
    pub model_id: String,
    /// Answers; the first is the one that is judged.
    pub choices: Vec<Choice>,
    /// Seconds since 1970.
    pub tstamp: f64,
    /// SHA-256 of the model and the settings that it was made with; not FastChat's, so absent from its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_sha256: Option<String>,
}

/// One answer of perhaps several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// From 0.
    pub index: usize,
    /// The model's answers, by turn.
    pub turns: Vec<String>,
}

impl ModelAnswer {
    /// The answer to a turn, counted from 1.
    pub fn turn(&self, turn: usize) -> Option<&str> {
        Some(self.choices.first()?.turns.get(turn.checked_sub(1)?)?)
    }
}

/// The answers of a `.jsonl` file, or of all such files in a folder, by name. A folder's files are read in the order of
/// their names.
///
/// # Errors
/// When a file cannot be read, or there is no answer.
pub fn read_answers(path: &Path) -> Result<Vec<ModelAnswer>, EvalError> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(EvalError::io(path))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_lines = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "jsonl");
        files = paths.filter(is_lines).collect();
        files.sort();
    }
    let mut answers = Vec::new();
    for file in &files {
        answers.extend(read_lines(file)?);
    }
    match answers.is_empty() {
        true => Err(MtBenchError::Empty { path: path.into() }.into()),
        false => Ok(answers),
    }
}

/// By question; of two answers to one question the later counts, as in FastChat.
pub fn by_question(answers: &[ModelAnswer]) -> HashMap<&QuestionId, &ModelAnswer> {
    answers.iter().map(|answer| (&answer.question_id, answer)).collect()
}

/// Seconds since 1970, for `tstamp`.
pub fn now() -> f64 {
    // A clock before 1970 is wrong; 0 is as good as any value.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fastchats_lines_are_read_and_written_with_their_keys() {
        let line = r#"{"question_id":101,"answer_id":"a1","model_id":"m","choices":[{"index":0,"turns":["x","y"]}],"tstamp":1686286924.5}"#;
        let answer: ModelAnswer = serde_json::from_str(line).unwrap();
        assert_eq!((answer.turn(1), answer.turn(2), answer.turn(3)), (Some("x"), Some("y"), None));
        assert_eq!(serde_json::to_string(&answer).unwrap(), line);
    }

    #[test]
    fn a_folder_is_all_its_files_and_the_later_answer_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, id: &str| {
            let line = format!(
                r#"{{"question_id":1,"answer_id":"{id}","model_id":"m","choices":[],"tstamp":1}}"#
            );
            std::fs::write(folder.path().join(name), line).unwrap();
        };
        write("b.jsonl", "second");
        write("a.jsonl", "first");
        write("notes.txt", "none");
        let answers = read_answers(folder.path()).unwrap();
        assert_eq!(answers.len(), 2);
        assert_eq!(by_question(&answers)[&QuestionId::Number(1)].answer_id, "second");
        let empty = tempfile::tempdir().unwrap();
        assert!(read_answers(empty.path()).unwrap_err().to_string().contains("no row"));
    }
}
