//! Why a row of a file is not a question of a benchmark.

use thiserror::Error;

/// Why a row is no question of a benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QuestionProblem {
    /// The number of answers is not the benchmark's: one per side for pairs, three for styles.
    #[error(
        "has {chosen} chosen and {rejected} rejected answers; {expected} are expected: is it of another benchmark?"
    )]
    Answers {
        /// Chosen answers.
        chosen: usize,
        /// Rejected answers.
        rejected: usize,
        /// The benchmark's numbers.
        expected: &'static str,
    },
    /// `num_correct` is not the number of chosen answers.
    #[error("has num_correct = {num_correct} and {found} chosen answers; correct the file")]
    Count {
        /// The column.
        num_correct: usize,
        /// The answers.
        found: usize,
    },
    /// Ids of Ties pair each question with a reference question of the same number.
    #[error("is one of Ties, whose ids are ref:N or tied:N, each once; correct the file")]
    TiesId,
    /// A subset of another benchmark.
    #[error("is of {found:?}, a subset of {of}: give the file to `revealed eval {command}`")]
    Other {
        /// The column.
        found: String,
        /// The benchmark.
        of: &'static str,
        /// Its command.
        command: &'static str,
    },
    /// A domain that the benchmark does not have.
    #[error("is of the domain {found:?}; chat, math, code, safety and their parts are known")]
    Domain {
        /// The column.
        found: String,
    },
}
