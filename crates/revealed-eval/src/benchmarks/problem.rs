//! Why a row of a file is not a question of a benchmark.

use thiserror::Error;

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
