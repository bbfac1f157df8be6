//! Reward benchmarks, from the files that their authors publish and by their authors' scoring.
//!
//! | benchmark | a row's columns | a question is right when | source |
//! |---|---|---|---|
//! | RewardBench | `id, subset, prompt, chosen, rejected` | the chosen answer scores higher; a tie is wrong | <https://arxiv.org/abs/2403.13787> |
//! | RewardBench 2 | `id, subset, prompt, chosen: [..], rejected: [..]` | the chosen answer scores highest of four; k at the top share it | <https://arxiv.org/abs/2506.01937> |
//! | RM-Bench | `id, domain, prompt, chosen: [3], rejected: [3]` | by 3 × 3 pairs of styles; a tie is wrong | <https://arxiv.org/abs/2410.16184> |
//!
//! A text prompt is one user message, so that the reward's chat template is applied as the official runners do.

mod notes;
mod questions;
mod rewardbench;
mod rewardbench2;
mod rm_bench;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

pub use questions::{Question, QuestionProblem, prior_set};
pub use rewardbench::{PRIOR_SETS, SECTIONS};
pub use rewardbench2::{SUBSETS, best_of_all, ties_score};
pub use rm_bench::{DOMAINS, STYLES, style_matrix};

use crate::error::EvalError;
use crate::estimate::Estimate;
use crate::preferences::Accuracy;
use crate::record::Figure;

/// A benchmark with its layout and its scoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benchmark {
    /// Pairs in 23 subsets and 4 sections, with prior sets beside them.
    RewardBench,
    /// One right answer of four in 5 subsets, and ties.
    RewardBench2,
    /// Three styles of a right and of a wrong answer in 4 domains.
    RmBench,
}

/// A question with the scores of its answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<'a> {
    /// The question.
    pub question: &'a Question,
    /// Of its right answers, in order.
    pub chosen: &'a [f64],
    /// Of its wrong ones.
    pub rejected: &'a [f64],
}

impl Benchmark {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::RewardBench => "rewardbench",
            Self::RewardBench2 => "rewardbench2",
            Self::RmBench => "rm_bench",
        }
    }

    /// Reads a file of its layout: `.jsonl`, `.json` or `.parquet`.
    ///
    /// # Errors
    /// When the file cannot be read, or a row is of another layout.
    pub fn read(self, path: &Path) -> Result<Vec<Question>, EvalError> {
        match self {
            Self::RewardBench => {
                questions::read(path, ("RewardBench", "subset"), rewardbench::problem)
            }
            Self::RewardBench2 => {
                questions::read(path, ("RewardBench 2", "subset"), rewardbench2::problem)
            }
            Self::RmBench => questions::read(path, ("RM-Bench", "domain"), rm_bench::problem),
        }
    }

    /// What one question's scores are worth, in [0, 1].
    pub fn credit(self, scored: &Scored<'_>) -> f64 {
        match self {
            Self::RewardBench => rewardbench::credit(scored),
            Self::RewardBench2 => rewardbench2::credit(scored),
            Self::RmBench => rm_bench::credit(scored),
        }
    }

    /// What one question's scores are worth in each figure that is a mean over questions, by the figure's name.
    pub fn values(self, scored: &Scored<'_>) -> BTreeMap<String, f64> {
        let credit = [("accuracy".to_owned(), self.credit(scored))];
        match self {
            Self::RmBench => credit.into_iter().chain(rm_bench::values(scored)).collect(),
            _ => credit.into(),
        }
    }

    /// The part of the data that a record's item belongs to: its subset, below its domain where that is another.
    pub fn part(self, question: &Question) -> String {
        match self {
            Self::RmBench => rm_bench::part(question),
            _ => question.subset.clone(),
        }
    }

    /// What keeps its figures from being the published ones, in words: parts of it that no question is of, and questions that are of none.
    pub fn notes<'a>(self, questions: impl IntoIterator<Item = &'a Question>) -> Vec<String> {
        notes::of(self, questions)
    }

    /// Its figures. The overall ones are there only where every section, subset or domain has a question.
    pub fn figures(self, scored: &[Scored<'_>]) -> Vec<Figure> {
        match self {
            Self::RewardBench => rewardbench::figures(scored),
            Self::RewardBench2 => rewardbench2::figures(scored),
            Self::RmBench => rm_bench::figures(scored),
        }
    }
}

/// Scored questions by a part of their benchmark.
fn by_part<'a, 'q>(
    scored: &'a [Scored<'q>],
    part: impl Fn(&Question) -> &str,
) -> BTreeMap<String, Vec<&'a Scored<'q>>> {
    let mut parts: BTreeMap<String, Vec<&Scored<'q>>> = BTreeMap::new();
    for one in scored {
        parts.entry(part(one.question).to_owned()).or_default().push(one);
    }
    parts
}

/// The mean credit, with an interval over prompts.
fn accuracy(scored: &[&Scored<'_>], credit: impl Fn(&Scored<'_>) -> f64) -> Estimate {
    let outcomes = scored.iter().map(|one| (one.question.prompt.words(), credit(one)));
    Accuracy::of_outcomes(outcomes).into()
}
