//! Chosen and rejected answers to questions, scored by every method.

use std::collections::BTreeMap;

use revealed_data::{Completion, Encoded, Prompt};
use serde_json::{Map, Value, json};

use super::scorers::Scorers;
use super::settings::RewardSettings;
use crate::error::EvalError;
use crate::invariance::{Invariance, batch_invariance};
use crate::preferences::subsample;
use crate::progress::{Progress, Stage};
use crate::row_encoder::{RowEncoder, RowError};

/// Questions scored between two reports of progress.
const QUESTIONS: usize = 64;
/// Largest difference between batches that passes, in the reward's unit: calibrated rewards have a spread of about 1, and
/// rounding in f32 changes them by about 1e-5.
pub const BATCH_TOLERANCE: f64 = 1e-3;

/// A question with its answers.
#[derive(Debug, Clone)]
pub struct AnswerSet<'a> {
    /// Id of the question.
    pub id: &'a str,
    /// The prompt that the answers complete.
    pub prompt: &'a Prompt,
    /// Preferred answers.
    pub chosen: Vec<&'a Completion>,
    /// Answers that should score lower.
    pub rejected: Vec<&'a Completion>,
}

/// Scores of questions, by their index in the evaluation.
#[derive(Debug, Default)]
pub struct ScoredAnswers {
    /// Questions that were scored.
    pub used: Vec<usize>,
    /// Questions without scores, with the reason.
    pub failed: Vec<(usize, RowError)>,
    /// Scored questions with an answer that was truncated to the limits.
    pub cut: usize,
    /// By method, for each of `used`: the scores of its answers, chosen ones first.
    pub scores: BTreeMap<&'static str, Vec<Vec<f64>>>,
    /// The batch check of the learned reward, if there is one.
    pub invariance: Option<Invariance>,
}

/// The rows of a question's answers.
struct Rows {
    /// For all methods but `log_ratio`.
    shared: Vec<Encoded>,
    /// For `log_ratio`, if the policy has an encoder of its own.
    policy: Vec<Encoded>,
}

impl AnswerSet<'_> {
    fn answers(&self) -> impl Iterator<Item = &Completion> {
        self.chosen.iter().chain(&self.rejected).copied()
    }

    /// An answer's name in messages: `chosen`, or `chosen 2` if there are several.
    fn name(&self, answer: usize) -> String {
        let (name, index, count) = match answer.checked_sub(self.chosen.len()) {
            None => ("chosen", answer, self.chosen.len()),
            Some(index) => ("rejected", index, self.rejected.len()),
        };
        if count == 1 { name.into() } else { format!("{name} {}", index + 1) }
    }

    /// Every answer with the prompt as tokens, or the first reason why one has none.
    fn encode(&self, encoder: &RowEncoder) -> Result<Vec<Encoded>, RowError> {
        let row = |(index, text)| {
            let row = encoder.completion(self.prompt, text);
            row.map_err(|source| RowError::Answer {
                answer: self.name(index),
                source: Box::new(source),
            })
        };
        self.answers().enumerate().map(row).collect()
    }

    fn rows(&self, scorers: &Scorers) -> Result<Rows, RowError> {
        let policy = scorers.policy_rows().map(|encoder| self.encode(encoder)).transpose()?;
        Ok(Rows { shared: self.encode(scorers.rows())?, policy: policy.unwrap_or_default() })
    }
}

/// Scores the answers of all questions, in order, and the batch check; `stage` names the work in progress reports.
///
/// # Errors
/// When a model gives a score that is not finite.
pub fn score_answers(
    stage: &str,
    questions: &[AnswerSet<'_>],
    scorers: &Scorers,
    settings: &RewardSettings,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<ScoredAnswers, EvalError> {
    let mut scored = ScoredAnswers::default();
    let mut stage = Stage::start(stage, questions.len(), on_progress);
    for (call, chunk) in questions.chunks(QUESTIONS).enumerate() {
        let tokens = scored.score(chunk, call * QUESTIONS, scorers, settings.batch_tokens)?;
        stage.add(chunk.len(), tokens);
    }
    scored.invariance = check_batches(questions, &scored, scorers, settings)?;
    Ok(scored)
}

impl ScoredAnswers {
    /// Adds the scores of some questions, the first of which has the index `first`; returns the tokens of their rows.
    fn score(
        &mut self,
        questions: &[AnswerSet<'_>],
        first: usize,
        scorers: &Scorers,
        batch_tokens: usize,
    ) -> Result<usize, EvalError> {
        let (mut rows, mut policy_rows) = (Vec::new(), Vec::new());
        let (mut texts, mut sizes) = (Vec::new(), Vec::new());
        for (index, question) in (first..).zip(questions) {
            match question.rows(scorers) {
                Ok(Rows { shared, policy }) => {
                    policy_rows.extend(policy);
                    self.used.push(index);
                    self.cut += usize::from(shared.iter().any(|row| row.truncated));
                    sizes.push(shared.len());
                    rows.extend(shared);
                    texts.extend(question.answers().map(Completion::text));
                }
                Err(reason) => self.failed.push((index, reason)),
            }
        }
        for (name, scores) in scorers.scores(&rows, &policy_rows, &texts, batch_tokens)? {
            let mut scores = scores.into_iter();
            let split = sizes.iter().map(|size| scores.by_ref().take(*size).collect());
            self.scores.entry(name).or_default().extend(split);
        }
        Ok(rows.iter().map(|row| row.input_ids.len()).sum())
    }

    /// Counts and the batch check, for results and records.
    pub fn counts(&self) -> Map<String, Value> {
        let mut counts = Map::from_iter([
            ("scored".into(), json!(self.used.len())),
            ("failed".into(), json!(self.failed.len())),
            ("cut".into(), json!(self.cut)),
        ]);
        if let Some(Invariance { rows, largest }) = self.invariance {
            let check = json!({"rows": rows, "largest": largest, "tolerance": BATCH_TOLERANCE});
            counts.insert("batch_difference".into(), check);
        }
        counts
    }

    /// Every method's scores of the question at an index of `used`, for a record's item.
    pub fn scores_at(&self, place: usize) -> Map<String, Value> {
        self.scores.iter().map(|(name, all)| ((*name).to_owned(), json!(all[place]))).collect()
    }
}

/// Scores some answers again, each alone and each in a batch with one of another length.
fn check_batches(
    questions: &[AnswerSet<'_>],
    scored: &ScoredAnswers,
    scorers: &Scorers,
    settings: &RewardSettings,
) -> Result<Option<Invariance>, EvalError> {
    let (Some(reward), Some(scores)) = (scorers.reward(), scored.scores.get("reward")) else {
        return Ok(None);
    };
    let answers = |(index, scores): (&usize, &Vec<f64>)| {
        let index = *index;
        scores.iter().copied().enumerate().map(move |one| (index, one)).collect::<Vec<_>>()
    };
    let all: Vec<_> = scored.used.iter().zip(scores).flat_map(answers).collect();
    let (mut rows, mut first) = (Vec::new(), Vec::new());
    for (index, (answer, score)) in subsample(all, settings.checked_answers, settings.seed) {
        if let Ok(mut own) = questions[index].encode(scorers.rows()) {
            rows.push(own.swap_remove(answer).input_ids);
            first.push(score);
        }
    }
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    Ok(Some(batch_invariance(reward, &rows, &first, scorers.rows().encoder.pad_id())?))
}
