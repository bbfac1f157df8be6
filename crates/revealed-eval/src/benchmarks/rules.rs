//! Each benchmark's reading and scoring.

use std::collections::BTreeMap;
use std::path::Path;

use super::kind::Benchmark;
use super::question::{BenchmarkQuestion, ScoredQuestion};
use super::{notes, read, rewardbench, rewardbench2, rm_bench};
use crate::error::EvalError;
use crate::record::Figure;

impl Benchmark {
    /// Reads a file of its layout: `.jsonl`, `.json` or `.parquet`.
    ///
    /// # Errors
    /// When the file cannot be read, or a row is of another layout.
    pub fn read(self, path: &Path) -> Result<Vec<BenchmarkQuestion>, EvalError> {
        match self {
            Self::RewardBench => read::read(path, ("RewardBench", "subset"), rewardbench::problem),
            Self::RewardBench2 => {
                read::read(path, ("RewardBench 2", "subset"), rewardbench2::problem)
            }
            Self::RmBench => read::read(path, ("RM-Bench", "domain"), rm_bench::problem),
        }
    }

    /// Credit for one question, in [0, 1].
    pub fn credit(self, scored: &ScoredQuestion<'_>) -> f64 {
        match self {
            Self::RewardBench => rewardbench::credit(scored),
            Self::RewardBench2 => rewardbench2::credit(scored),
            Self::RmBench => rm_bench::credit(scored),
        }
    }

    /// Credit for one question in each figure that is a mean over questions, by the figure's name.
    pub fn values(self, scored: &ScoredQuestion<'_>) -> BTreeMap<String, f64> {
        let credit = [("accuracy".to_owned(), self.credit(scored))];
        match self {
            Self::RmBench => credit.into_iter().chain(rm_bench::values(scored)).collect(),
            _ => credit.into(),
        }
    }

    /// The subset of a record's item: `SUBSET`, or `DOMAIN/SUBSET` if the two differ.
    pub fn part(self, question: &BenchmarkQuestion) -> String {
        match self {
            Self::RmBench => rm_bench::part(question),
            _ => question.subset.clone(),
        }
    }

    /// Differences from the published benchmark: parts without questions, and questions of no part.
    pub fn notes<'a>(
        self,
        questions: impl IntoIterator<Item = &'a BenchmarkQuestion>,
    ) -> Vec<String> {
        notes::of(self, questions)
    }

    /// Figures by subset and section or domain; overall figures only if each of these has a question.
    pub fn figures(self, scored: &[ScoredQuestion<'_>]) -> Vec<Figure> {
        match self {
            Self::RewardBench => rewardbench::figures(scored),
            Self::RewardBench2 => rewardbench2::figures(scored),
            Self::RmBench => rm_bench::figures(scored),
        }
    }
}
