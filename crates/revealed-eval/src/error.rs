//! Errors of evaluations.

use std::path::{Path, PathBuf};

use revealed_data::{DataError, LineFault, Row};
use revealed_models::ModelError;
use revealed_reward::RewardError;
use thiserror::Error;

use crate::benchmarks::QuestionProblem;
use crate::judge::JudgeError;
use crate::mt_bench::MtBenchError;

/// Why an evaluation has no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file cannot be read or written.
    #[error("{} cannot be read or written; check the path and its rights: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file is not valid JSON of the expected form.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A file is not a record of an evaluation.
    #[error("{}: {}: {source}", path.display(), no_record(source))]
    NoRecord {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A line of a file is not valid JSON of the expected form.
    #[error("{}, line {line} cannot be used; correct or remove that line, the others are kept: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: LineFault,
    },
    /// Another process has the file open for appending.
    #[error("{}: another process is writing to it; wait for it, or name another file", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A result is not a number.
    #[error("`{name}` is {value}; a result has to be finite")]
    NotFinite {
        /// The figure.
        name: String,
        /// Its value.
        value: f64,
    },
    /// A model cannot be read, run or written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of data cannot be read, or a text cannot be tokenized.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A reward cannot score.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// A row is not a question of the benchmark.
    #[error("{}: {row}: question {id} {problem}", path.display())]
    Question {
        /// The file.
        path: PathBuf,
        /// The line or row in it.
        row: Row,
        /// The question's id.
        id: String,
        /// What is wrong with it.
        problem: QuestionProblem,
    },
    /// An ensemble without a reward.
    #[error(
        "the reward has no member; load a reward folder, or make an ensemble of one from a reward model"
    )]
    NoScorer,
    /// Two models that need one tokenizer have vocabularies of different sizes.
    #[error("{model} has {found} tokens, {other} {expected}: they need one tokenizer")]
    Vocabulary {
        /// The one.
        model: &'static str,
        /// Tokens that it knows.
        found: usize,
        /// The other.
        other: &'static str,
        /// Tokens that the other knows.
        expected: usize,
    },
    /// The bag-of-tokens probe has nothing to fit to.
    #[error(
        "none of {pairs} pairs is left to fit the bag-of-tokens probe to; give pairs of prompts that are not evaluated"
    )]
    NoProbePairs {
        /// Pairs given.
        pairs: usize,
    },
    /// No prompt of a policy evaluation can be used.
    #[error(
        "no prompt could be used: {failed} of {failed} prompts failed, the first of them {id}: {reason}"
    )]
    NoPrompts {
        /// Prompts given.
        failed: usize,
        /// Id of the first.
        id: String,
        /// Why the first cannot be used.
        reason: String,
    },
    /// A gold function has no score for a completion.
    #[error("prompt {id} has no gold score: {source}")]
    Gold {
        /// Id of the prompt.
        id: String,
        /// The function's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Requests to a judge fail.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// Questions, answers, references and prompts do not fit together.
    #[error(transparent)]
    MtBench(#[from] MtBenchError),
}

fn no_record(source: &serde_json::Error) -> &'static str {
    match source.is_eof() {
        true => {
            "this record is empty or cut off; run its evaluation again (`revealed eval … --out`)"
        }
        false => {
            "this is no record of an evaluation; give a file that `revealed eval … --out` wrote, or run the evaluation again"
        }
    }
}

impl EvalError {
    /// For `map_err` on a file's operations.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }
}
