//! Accuracy of a learned reward and its baselines on preference pairs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use revealed_data::Preference;
use serde_json::{Map, Value, json};

use super::answers::{AnswerSet, ScoredAnswers, score_answers};
use super::scorers::Scorers;
use super::settings::RewardSettings;
use crate::error::EvalError;
use crate::estimate::Estimate;
use crate::preferences::{Accuracy, in_order, subsample};
use crate::progress::Progress;
use crate::record::{EvalRecord, Figure, Item, Provenance};

/// Preference pairs under one name, such as those of a file.
#[derive(Debug, Clone)]
pub struct PreferenceSet {
    /// Name in figures, items and progress reports.
    pub name: String,
    /// The pairs to evaluate.
    pub pairs: Vec<Preference>,
    /// Pairs removed by [`exclude`](Self::exclude).
    pub excluded: usize,
}

impl PreferenceSet {
    /// All of these pairs.
    pub fn new(name: impl Into<String>, pairs: Vec<Preference>) -> Self {
        Self { name: name.into(), pairs, excluded: 0 }
    }

    /// Removes the pairs whose prompt is in `prompts`, as [`Prompt::words`](revealed_data::Prompt::words) gives it: those
    /// that the models were trained on.
    pub fn exclude(&mut self, prompts: &HashSet<String>) {
        let all = self.pairs.len();
        self.pairs.retain(|pair| !prompts.contains(&pair.prompt.words()));
        self.excluded += all - self.pairs.len();
    }

    /// Keeps at most `count` pairs, drawn by a seed.
    pub fn subsample(&mut self, count: usize, seed: u64) {
        self.pairs = subsample(std::mem::take(&mut self.pairs), count, seed);
    }
}

/// Scores of a set's pairs.
#[derive(Debug)]
pub struct PreferenceResult<'a> {
    /// The set.
    pub set: &'a PreferenceSet,
    /// Scores of its pairs.
    pub scored: ScoredAnswers,
}

/// Accuracy of every method on a set, or on one of its subsets.
#[derive(Debug, Clone, PartialEq)]
pub struct SubsetAccuracies {
    /// The subset; `None` for the complete set.
    pub subset: Option<String>,
    /// By method, in alphabetical order.
    pub by_method: Vec<(&'static str, Accuracy)>,
}

impl SubsetAccuracies {
    /// Scored pairs of the subset.
    pub fn pairs(&self) -> usize {
        self.by_method.first().map_or(0, |(_, accuracy)| accuracy.pairs)
    }
}

/// Scores the pairs of a set: the accuracy is the share of pairs whose chosen answer scores higher; a tie counts half.
///
/// Pairs that do not fit the limits of the encoder are in `scored.failed`.
///
/// # Errors
/// When a model gives a score that is not finite.
pub fn evaluate_reward<'a>(
    set: &'a PreferenceSet,
    scorers: &Scorers,
    settings: &RewardSettings,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PreferenceResult<'a>, EvalError> {
    let questions: Vec<AnswerSet<'_>> = set.pairs.iter().map(answer_set).collect();
    let scored = score_answers(&set.name, &questions, scorers, settings, on_progress)?;
    Ok(PreferenceResult { set, scored })
}

fn answer_set(pair: &Preference) -> AnswerSet<'_> {
    AnswerSet {
        id: &pair.id,
        prompt: &pair.prompt,
        chosen: vec![&pair.chosen],
        rejected: vec![&pair.rejected],
    }
}

/// A pair's outcome from its two scores.
fn outcome(scores: &[f64]) -> f64 {
    in_order([scores[0], scores[1]])
}

impl PreferenceResult<'_> {
    fn used(&self) -> impl Iterator<Item = &Preference> {
        self.scored.used.iter().map(|index| &self.set.pairs[*index])
    }

    /// Accuracies on the complete set, then on each subset if there are several.
    pub fn accuracies(&self) -> Vec<SubsetAccuracies> {
        let names: BTreeSet<&str> = self.used().filter_map(|pair| pair.subset.as_deref()).collect();
        let subsets = names.iter().filter(|_| names.len() > 1).map(|name| Some(*name));
        std::iter::once(None).chain(subsets).map(|subset| self.on(subset)).collect()
    }

    fn on(&self, subset: Option<&str>) -> SubsetAccuracies {
        let holds = |pair: &Preference| subset.is_none() || pair.subset.as_deref() == subset;
        let accuracy = |all: &[Vec<f64>]| {
            let pairs = self.used().zip(all).filter(|(pair, _)| holds(pair));
            Accuracy::of_outcomes(pairs.map(|(pair, s)| (pair.prompt.words(), outcome(s))))
        };
        let by_method = self.scored.scores.iter().map(|(name, all)| (*name, accuracy(all)));
        SubsetAccuracies { subset: subset.map(str::to_owned), by_method: by_method.collect() }
    }

    /// `METHOD/accuracy` of the set and its subsets; a subset of the record is `NAME` or `NAME/SUBSET`.
    pub fn figures(&self) -> Vec<Figure> {
        let figures = |row: SubsetAccuracies| {
            let subset = self.record_subset(row.subset.as_deref());
            row.by_method.into_iter().map(move |(name, accuracy)| {
                let name = format!("{name}/accuracy");
                Estimate::from(accuracy).figure(name, Some(&subset), accuracy.pairs)
            })
        };
        self.accuracies().into_iter().flat_map(figures).collect()
    }

    /// One item per scored pair, with its outcome by method. An id is `NAME/ID`.
    pub fn items(&self) -> Vec<Item> {
        let item = |(place, pair): (usize, &Preference)| {
            let outcomes = self.scored.scores.iter();
            let outcomes =
                outcomes.map(|(name, all)| (format!("{name}/accuracy"), outcome(&all[place])));
            Item {
                id: format!("{}/{}", self.set.name, pair.id),
                subset: Some(self.record_subset(pair.subset.as_deref())),
                values: outcomes.collect(),
                detail: self.scored.scores_at(place),
            }
        };
        self.used().enumerate().map(item).collect()
    }

    fn record_subset(&self, subset: Option<&str>) -> String {
        match subset {
            Some(subset) => format!("{}/{subset}", self.set.name),
            None => self.set.name.clone(),
        }
    }

    /// One JSON object per pair: its scores by method, or the reason why it has none.
    pub fn score_lines(&self) -> Vec<Value> {
        let name = &self.set.name;
        let scores = self.used().enumerate().map(|(place, pair)| {
            let mut line =
                Map::from_iter([("data".into(), json!(name)), ("id".into(), json!(pair.id))]);
            line.extend(self.scored.scores_at(place));
            Value::Object(line)
        });
        let failed = self.scored.failed.iter().map(|(index, reason)| {
            let id = &self.set.pairs[*index].id;
            json!({"data": name, "id": id, "error": reason.to_string()})
        });
        scores.chain(failed).collect()
    }

    /// Counts of pairs that were excluded, failed or truncated, and the batch check.
    pub fn counts(&self) -> Map<String, Value> {
        let mut counts = Map::from_iter([("excluded".into(), json!(self.set.excluded))]);
        counts.extend(self.scored.counts());
        counts.remove("scored");
        counts
    }
}

/// The record of some sets; `settings` come before the counts of each set.
pub fn preference_record(
    results: &[PreferenceResult<'_>],
    mut settings: Map<String, Value>,
    provenance: Provenance,
) -> EvalRecord {
    let counts = |one: &PreferenceResult<'_>| (one.set.name.clone(), Value::Object(one.counts()));
    settings.insert("files".into(), Value::Object(results.iter().map(counts).collect()));
    let mut items: Vec<Item> = results.iter().flat_map(PreferenceResult::items).collect();
    number_repeated_ids(&mut items);
    let figures = results.iter().flat_map(PreferenceResult::figures).collect();
    EvalRecord::new("preferences", figures, items, settings, provenance)
}

/// A file may use one id for several pairs; a record must not.
fn number_repeated_ids(items: &mut [Item]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        let times = seen.entry(item.id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            item.id = format!("{}#{times}", item.id);
        }
    }
}
