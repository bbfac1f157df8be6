//! A question of a benchmark, and the scores of its answers.

use std::collections::BTreeMap;

use revealed_data::{Completion, Prompt};

use crate::estimate::Estimate;
use crate::preferences::Accuracy;

/// A prompt with chosen and rejected answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchmarkQuestion {
    /// The file's `id`, or the row's number; `subset/id` and a count where it recurs.
    pub id: String,
    /// The file's `subset` or `domain`.
    pub subset: String,
    /// The prompt.
    pub prompt: Prompt,
    /// The preferred answers.
    pub chosen: Vec<Completion>,
    /// The other answers.
    pub rejected: Vec<Completion>,
}

/// A question with the scores of its answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredQuestion<'a> {
    /// The question.
    pub question: &'a BenchmarkQuestion,
    /// Scores of the chosen answers, in order.
    pub chosen: &'a [f64],
    /// Scores of the rejected answers, in order.
    pub rejected: &'a [f64],
}

/// Scored questions by a part of their benchmark.
pub(super) fn by_part<'a, 'q>(
    scored: &'a [ScoredQuestion<'q>],
    part: impl Fn(&BenchmarkQuestion) -> &str,
) -> BTreeMap<String, Vec<&'a ScoredQuestion<'q>>> {
    let mut parts: BTreeMap<String, Vec<&ScoredQuestion<'q>>> = BTreeMap::new();
    for one in scored {
        parts.entry(part(one.question).to_owned()).or_default().push(one);
    }
    parts
}

/// Mean credit, with a 95 % interval over prompts.
pub(super) fn accuracy(
    scored: &[&ScoredQuestion<'_>],
    credit: impl Fn(&ScoredQuestion<'_>) -> f64,
) -> Estimate {
    let outcomes = scored.iter().map(|one| (one.question.prompt.words(), credit(one)));
    Accuracy::of_outcomes(outcomes).into()
}
