//! A learned reward and its baselines on RewardBench, RewardBench 2 and RM-Bench.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::answers::{AnswerSet, ScoredAnswers, score_answers};
use super::scorers::Scorers;
use super::settings::RewardSettings;
use crate::benchmarks::{Benchmark, BenchmarkQuestion, ScoredQuestion};
use crate::error::EvalError;
use crate::progress::Progress;
use crate::record::{EvalRecord, Figure, Item, Provenance};

/// A benchmark's figures, by method.
#[derive(Debug)]
pub struct BenchmarkResult<'a> {
    /// The benchmark.
    pub benchmark: Benchmark,
    /// Its questions.
    pub questions: &'a [BenchmarkQuestion],
    /// Scores of their answers.
    pub scored: ScoredAnswers,
    /// By method: the same figures in the same order, overall ones first.
    pub by_method: Vec<(&'static str, Vec<Figure>)>,
    /// Differences from the published benchmark: parts without questions, and questions of no part.
    pub notes: Vec<String>,
    /// Of each scored question, by `METHOD/FIGURE`.
    credits: Vec<BTreeMap<String, f64>>,
}

/// Scores a benchmark's questions by its authors' rules; see [`Benchmark`].
///
/// Questions that do not fit the limits of the encoder are in `scored.failed`, and without any scored question there are no
/// figures.
///
/// # Errors
/// When a model gives a score that is not finite.
pub fn evaluate_benchmark<'a>(
    benchmark: Benchmark,
    questions: &'a [BenchmarkQuestion],
    scorers: &Scorers,
    settings: &RewardSettings,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<BenchmarkResult<'a>, EvalError> {
    let sets: Vec<AnswerSet<'_>> = questions.iter().map(answer_set).collect();
    let scored = score_answers(benchmark.name(), &sets, scorers, settings, on_progress)?;
    let mut credits = vec![BTreeMap::new(); scored.used.len()];
    let mut by_method = Vec::new();
    for (name, scores) in scored.scores.iter().filter(|_| !scored.used.is_empty()) {
        let answered = scored_questions(questions, &scored.used, scores);
        for (credits, one) in credits.iter_mut().zip(&answered) {
            let values = benchmark.values(one).into_iter();
            credits.extend(values.map(|(figure, value)| (format!("{name}/{figure}"), value)));
        }
        let mut figures = benchmark.figures(&answered);
        figures.sort_by_key(|figure| figure.subset.is_some());
        by_method.push((*name, figures));
    }
    let notes = benchmark.notes(scored.used.iter().map(|index| &questions[*index]));
    Ok(BenchmarkResult { benchmark, questions, scored, by_method, notes, credits })
}

fn answer_set(question: &BenchmarkQuestion) -> AnswerSet<'_> {
    AnswerSet {
        id: &question.id,
        prompt: &question.prompt,
        chosen: question.chosen.iter().collect(),
        rejected: question.rejected.iter().collect(),
    }
}

fn scored_questions<'a>(
    questions: &'a [BenchmarkQuestion],
    used: &[usize],
    scores: &'a [Vec<f64>],
) -> Vec<ScoredQuestion<'a>> {
    let scored = |(index, scores): (&usize, &'a Vec<f64>)| {
        let question = &questions[*index];
        let (chosen, rejected) = scores.split_at(question.chosen.len());
        ScoredQuestion { question, chosen, rejected }
    };
    used.iter().zip(scores).map(scored).collect()
}

impl BenchmarkResult<'_> {
    /// Every figure with its values by method.
    pub fn rows(&self) -> Vec<Vec<(&'static str, &Figure)>> {
        let count = self.by_method.first().map_or(0, |(_, figures)| figures.len());
        let row = |index: usize| {
            self.by_method.iter().map(|(name, figures)| (*name, &figures[index])).collect()
        };
        (0..count).map(row).collect()
    }

    /// Every method's figures under the name `METHOD/FIGURE`.
    pub fn figures(&self) -> Vec<Figure> {
        let named = |(name, figures): &(&str, Vec<Figure>)| -> Vec<Figure> {
            let prefixed = |figure: &Figure| {
                let mut figure = figure.clone();
                figure.name = format!("{name}/{}", figure.name);
                for part in &mut figure.parts {
                    part.name = format!("{name}/{}", part.name);
                }
                figure
            };
            figures.iter().map(prefixed).collect()
        };
        self.by_method.iter().flat_map(named).collect()
    }

    /// One item per scored question, with what it contributes to each figure.
    pub fn items(&self) -> Vec<Item> {
        let item = |(place, index): (usize, &usize)| Item {
            id: self.questions[*index].id.clone(),
            subset: Some(self.benchmark.part(&self.questions[*index])),
            values: self.credits[place].clone(),
            detail: self.scored.scores_at(place),
        };
        self.scored.used.iter().enumerate().map(item).collect()
    }

    /// The record, with counts, reasons and notes as its settings.
    pub fn record(&self, provenance: Provenance) -> EvalRecord {
        let failed = self.scored.failed.iter();
        let failed: Map<String, Value> = failed
            .map(|(index, reason)| (self.questions[*index].id.clone(), json!(reason.to_string())))
            .collect();
        let mut settings = self.scored.counts();
        settings.insert("not_scored".into(), Value::Object(failed));
        settings.insert("notes".into(), json!(self.notes));
        let name = self.benchmark.name();
        EvalRecord::new(name, self.figures(), self.items(), settings, provenance)
    }
}
