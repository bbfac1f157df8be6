//! Errors of MT-Bench's files.

use std::path::PathBuf;

use thiserror::Error;

use super::QuestionId;

/// Why a benchmark cannot be run on the files given.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MtBenchError {
    /// A file without rows.
    #[error("{}: there is no row in it; remove the file and create it again, or give another file", path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
    /// A question twice in a file.
    #[error("{}: question {id} is there twice; keep one", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The question.
        id: QuestionId,
    },
    /// A question that asks nothing.
    #[error("{}: question {id} has no turns", path.display())]
    NoTurns {
        /// The file.
        path: PathBuf,
        /// The question.
        id: QuestionId,
    },
    /// An answer is missing.
    #[error(
        "{model} has no answer to turn {turn} of question {id}; answer it, or leave the question out"
    )]
    NoAnswer {
        /// Who should have answered.
        model: String,
        /// The question.
        id: QuestionId,
        /// The turn, from 1.
        turn: usize,
    },
    /// A reference is missing.
    #[error(
        "question {id} is of category {category}, which is judged against a reference, and there is none for turn {turn}; give the reference answers"
    )]
    NoReference {
        /// The question.
        id: QuestionId,
        /// Its category.
        category: String,
        /// The turn, from 1.
        turn: usize,
    },
    /// A judge's prompt is missing.
    #[error("{}: there is no prompt named {name}", path.display())]
    NoPrompt {
        /// The file.
        path: PathBuf,
        /// The prompt.
        name: String,
    },
    /// A judge's prompt that asks for another verdict.
    #[error("prompt {name} asks for {found}; it has to ask for {expected}")]
    OutputFormat {
        /// The prompt.
        name: String,
        /// Its `output_format`.
        found: String,
        /// The one that is read here.
        expected: &'static str,
    },
    /// Answers of another model or of other settings under this name.
    #[error(
        "{}: the answer to question {id} was made by another model or with other settings; give it another name, remove the file, or judge it as it is", path.display()
    )]
    OtherSettings {
        /// The file of answers.
        path: PathBuf,
        /// The first such question.
        id: QuestionId,
    },
}
