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

    /// What one question's scores are worth, in [0, 1].
    pub fn credit(self, scored: &ScoredQuestion<'_>) -> f64 {
        match self {
            Self::RewardBench => rewardbench::credit(scored),
            Self::RewardBench2 => rewardbench2::credit(scored),
            Self::RmBench => rm_bench::credit(scored),
        }
    }

    /// What one question's scores are worth in each figure that is a mean over questions, by the figure's name.
    pub fn values(self, scored: &ScoredQuestion<'_>) -> BTreeMap<String, f64> {
        let credit = [("accuracy".to_owned(), self.credit(scored))];
        match self {
            Self::RmBench => credit.into_iter().chain(rm_bench::values(scored)).collect(),
            _ => credit.into(),
        }
    }

    /// The part of the data that a record's item belongs to: its subset, below its domain where that is another.
    pub fn part(self, question: &BenchmarkQuestion) -> String {
        match self {
            Self::RmBench => rm_bench::part(question),
            _ => question.subset.clone(),
        }
    }

    /// What keeps its figures from being the published ones, in words: parts of it that no question is of, and questions that are of none.
    pub fn notes<'a>(
        self,
        questions: impl IntoIterator<Item = &'a BenchmarkQuestion>,
    ) -> Vec<String> {
        notes::of(self, questions)
    }

    /// Its figures. The overall ones are there only where every section, subset or domain has a question.
    pub fn figures(self, scored: &[ScoredQuestion<'_>]) -> Vec<Figure> {
        match self {
            Self::RewardBench => rewardbench::figures(scored),
            Self::RewardBench2 => rewardbench2::figures(scored),
            Self::RmBench => rm_bench::figures(scored),
        }
    }
}
