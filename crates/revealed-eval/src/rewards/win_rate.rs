//! How often a reward prefers the answers of one file to those of another.

use std::collections::BTreeMap;

use revealed_data::{Demonstration, Encoded};
use serde_json::{Map, json};

use super::scorers::RewardScorer;
use super::settings::RewardSettings;
use crate::error::EvalError;
use crate::estimate::Estimate;
use crate::preferences::win_rate;
use crate::progress::{Progress, Stage};
use crate::record::{EvalRecord, Figure, Item, Provenance};
use crate::row_encoder::{RowEncoder, RowError};

/// Which answers of two files belong to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchBy {
    /// Those whose prompts have the same words, in any format.
    Prompt,
    /// Those whose ids are equal.
    Id,
}

/// The answers of both files to one question, with their scores.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredMatch {
    /// Words of the prompt, or the id.
    pub key: String,
    /// Id of the first file's first answer.
    pub id: String,
    /// By file, the score of each answer in the reward's unit.
    pub scores: [Vec<f64>; 2],
    /// By file, the characters of each answer.
    pub lengths: [Vec<f64>; 2],
}

/// Scores of the questions that two files share.
#[derive(Debug)]
pub struct WinRateResult {
    /// Questions with answers in both files, all of which were scored.
    pub matches: Vec<ScoredMatch>,
    /// Questions with an answer that does not fit the reward, by key, with the reason.
    pub failed: Vec<(String, RowError)>,
    /// Questions with answers in one file only.
    pub unmatched: usize,
    by: MatchBy,
}

/// The answers of both files to one question.
struct Match<'a> {
    key: String,
    sides: [Vec<&'a Demonstration>; 2],
}

/// Scores two files' answers to the same questions. Without shared questions, or if no answer fits the reward, `matches` is
/// empty.
///
/// # Errors
/// When the reward gives a score that is not finite.
pub fn evaluate_win_rate(
    files: [&[Demonstration]; 2],
    by: MatchBy,
    scorer: &RewardScorer,
    settings: &RewardSettings,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<WinRateResult, EvalError> {
    let (found, unmatched) = matched(files, by);
    let (mut fitting, mut rows, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for one in found {
        match encoded(&one, &scorer.rows) {
            Ok(own) => {
                fitting.push(one);
                rows.extend(own);
            }
            Err(reason) => failed.push((one.key, reason)),
        }
    }
    let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
    let mut stage = Stage::start("scoring answers", fitting.len(), on_progress);
    let mut scores = scorer.scores(&ids, settings.batch_tokens)?.into_iter();
    stage.add(fitting.len(), ids.iter().map(|ids| ids.len()).sum());
    let mut scored = |one: Match<'_>| {
        let length = |answer: &&Demonstration| answer.completion.text().chars().count() as f64;
        ScoredMatch {
            id: one.sides[0][0].id.clone(),
            scores: one.sides.each_ref().map(|side| scores.by_ref().take(side.len()).collect()),
            lengths: one.sides.each_ref().map(|side| side.iter().map(length).collect()),
            key: one.key,
        }
    };
    let matches = fitting.into_iter().map(&mut scored).collect();
    Ok(WinRateResult { matches, failed, unmatched, by })
}

/// Questions that both files answer, and the number that only one answers.
fn matched<'a>(files: [&'a [Demonstration]; 2], by: MatchBy) -> (Vec<Match<'a>>, usize) {
    let mut all: BTreeMap<String, [Vec<&Demonstration>; 2]> = BTreeMap::new();
    for (side, rows) in files.into_iter().enumerate() {
        for row in rows {
            let key = match by {
                MatchBy::Prompt => row.prompt.words(),
                MatchBy::Id => row.id.clone(),
            };
            all.entry(key).or_default()[side].push(row);
        }
    }
    let count = all.len();
    let both = all.into_iter().filter(|(_, sides)| sides.iter().all(|side| !side.is_empty()));
    let both: Vec<_> = both.map(|(key, sides)| Match { key, sides }).collect();
    let unmatched = count - both.len();
    (both, unmatched)
}

/// The rows of all answers to a question, the first file's first.
fn encoded(one: &Match<'_>, rows: &RowEncoder) -> Result<Vec<Encoded>, RowError> {
    one.sides.iter().flatten().map(|answer| rows.demonstration(answer)).collect()
}

impl WinRateResult {
    /// `win_rate` of the first file, the mean `gain` in reward, how often its answer is `longer`, and each file's mean
    /// `reward` (subsets `a` and `b`). Intervals are over questions.
    pub fn figures(&self) -> Vec<Figure> {
        let n = self.matches.len();
        let rate = |of: fn(&ScoredMatch) -> &[Vec<f64>; 2]| -> Estimate {
            let pairs = self.matches.iter().map(of);
            win_rate(pairs.map(|[a, b]| (a.as_slice(), b.as_slice()))).into()
        };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let means = |side: usize| -> Vec<f64> {
            self.matches.iter().map(|one| mean(&one.scores[side])).collect()
        };
        let [a, b] = [means(0), means(1)];
        let gains: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        vec![
            rate(|one| &one.scores).figure("win_rate", None, n),
            Estimate::mean(&gains).figure("gain", None, n),
            rate(|one| &one.lengths).figure("longer", None, n),
            Estimate::mean(&a).figure("reward", Some("a"), n),
            Estimate::mean(&b).figure("reward", Some("b"), n),
        ]
    }

    /// One item per question, with the first file's win rate.
    pub fn items(&self) -> Vec<Item> {
        let item = |(index, one): (usize, &ScoredMatch)| {
            let [a, b] = &one.scores;
            let wins = win_rate([(a.as_slice(), b.as_slice())]).share();
            let detail = [("question", json!(one.key)), ("a", json!(a)), ("b", json!(b))];
            Item {
                id: format!("{index}/{}", one.id),
                subset: None,
                values: BTreeMap::from([("win_rate".to_owned(), wins)]),
                detail: detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            }
        };
        self.matches.iter().enumerate().map(item).collect()
    }

    /// The record, with the way of matching, counts and reasons as its settings.
    pub fn record(&self, provenance: Provenance) -> EvalRecord {
        let by = if self.by == MatchBy::Id { "id" } else { "prompt" };
        let failed: BTreeMap<&String, String> =
            self.failed.iter().map(|(key, reason)| (key, reason.to_string())).collect();
        let settings = Map::from_iter([
            ("by".into(), json!(by)),
            ("unmatched".into(), json!(self.unmatched)),
            ("not_scored".into(), json!(failed)),
        ]);
        EvalRecord::new("win_rate", self.figures(), self.items(), settings, provenance)
    }
}
