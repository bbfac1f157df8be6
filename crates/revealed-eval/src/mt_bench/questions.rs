//! The questions.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::{MtBenchError, QuestionId};
use crate::error::EvalError;
use crate::log::read_lines;

/// A line of `question.jsonl`; other keys are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Question {
    /// Its name.
    pub question_id: QuestionId,
    /// What it is about; decides temperature and prompts.
    pub category: String,
    /// The user's messages, by turn.
    pub turns: Vec<String>,
}

impl Question {
    /// The turns that are judged: the first, and the second of questions that have exactly two.
    pub fn judged_turns(&self) -> std::ops::RangeInclusive<usize> {
        1..=if self.turns.len() == 2 { 2 } else { 1 }
    }
}

/// The questions of a file, in its order.
///
/// # Errors
/// When the file cannot be read, is empty, holds a question twice or one without turns.
pub fn read_questions(path: &Path) -> Result<Vec<Question>, EvalError> {
    let questions: Vec<Question> = read_lines(path)?;
    if questions.is_empty() {
        return Err(MtBenchError::Empty { path: path.into() }.into());
    }
    let mut seen = HashSet::new();
    for question in &questions {
        let id = question.question_id.clone();
        if question.turns.is_empty() {
            return Err(MtBenchError::NoTurns { path: path.into(), id }.into());
        }
        if !seen.insert(&question.question_id) {
            return Err(MtBenchError::Twice { path: path.into(), id }.into());
        }
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Question>, EvalError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("question.jsonl");
        std::fs::write(&path, text).unwrap();
        read_questions(&path)
    }

    #[test]
    fn ids_may_be_numbers_or_text_and_two_turns_are_judged() {
        let text = r#"{"question_id": 7, "category": "math", "turns": ["a", "b"], "reference": ["r"]}
{"question_id": "x7", "category": "arena-hard-200", "turns": ["a"]}
"#;
        let questions = read(text).unwrap();
        assert_eq!(questions[0].question_id, QuestionId::Number(7));
        assert_eq!(questions[1].question_id.to_string(), "x7");
        assert_eq!((questions[0].judged_turns(), questions[1].judged_turns()), (1..=2, 1..=1));
    }

    #[test]
    fn a_file_that_is_no_set_of_questions_is_refused_with_the_question_named() {
        let row =
            |id| format!("{{\"question_id\": {id}, \"category\": \"math\", \"turns\": [\"a\"]}}\n");
        let message = |text: &str| read(text).unwrap_err().to_string();
        assert!(message("").contains("no row"));
        assert!(message(&(row(7) + &row(7))).contains("question 7 is there twice"));
        assert!(message(&row(7).replace("\"a\"", "")).contains("question 7 has no turns"));
        assert!(message(&(row(7) + "{}\n")).contains("line 2"));
    }
}
