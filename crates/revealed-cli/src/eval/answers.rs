//! Right and wrong answers to questions, scored by every yardstick; and whether scores hold in
//! another batch.

use std::collections::BTreeMap;

use anyhow::Result;
use revealed::data::{Completion, Encoded, Prompt};
use revealed::eval::preferences::subsample;
use revealed::eval::{Invariance, batch_invariance};
use serde_json::{Map, Value, json};

use super::yardsticks::Yardsticks;
use crate::progress::Progress;
use crate::rows::Rows;

/// Questions scored between two signs of progress.
const QUESTIONS: usize = 64;
/// Answers scored again in other batches.
const CHECKED: usize = 16;
/// The largest difference between batches that passes, in the reward's unit: a calibrated reward
/// has a spread of about 1, and f32 moves it by some 1e-5.
pub const TOLERANCE: f64 = 1e-3;

/// A question with its answers.
pub struct Asked<'a> {
    /// Its name.
    pub id: &'a str,
    /// What is answered.
    pub prompt: &'a Prompt,
    /// Right answers.
    pub chosen: Vec<&'a Completion>,
    /// Wrong ones.
    pub rejected: Vec<&'a Completion>,
}

/// What became of questions, by their index.
pub struct Answered {
    /// Those that could be scored.
    pub used: Vec<usize>,
    /// Those that could not, with the reason.
    pub failed: Vec<(usize, String)>,
    /// Questions of which an answer was cut to the limits.
    pub cut: usize,
    /// By yardstick, for each of `used`: its answers' values, the right ones first.
    pub scores: BTreeMap<&'static str, Vec<Vec<f64>>>,
    /// Of the reward, where there is one.
    pub invariance: Option<Invariance>,
}

impl Asked<'_> {
    fn answers(&self) -> impl Iterator<Item = &Completion> {
        self.chosen.iter().chain(&self.rejected).copied()
    }

    /// What messages call an answer: `chosen`, or `chosen 2` where there are several.
    fn side(&self, answer: usize) -> String {
        let (name, index, count) = match answer.checked_sub(self.chosen.len()) {
            None => ("chosen", answer, self.chosen.len()),
            Some(index) => ("rejected", index, self.rejected.len()),
        };
        if count == 1 { name.into() } else { format!("{name} {}", index + 1) }
    }

    /// Its rows by a text side; the first reason why one is none.
    fn rows(&self, text: &Rows) -> Result<Vec<Encoded>, String> {
        let row = |(index, answer)| {
            let row = text.row(self.prompt, answer);
            row.map_err(|reason| format!("{}: {reason}", self.side(index)))
        };
        self.answers().enumerate().map(row).collect()
    }

    /// Its rows, and those of the policy where it has a text side of its own.
    fn both(&self, yardsticks: &Yardsticks) -> Result<(Vec<Encoded>, Vec<Encoded>), String> {
        let own = yardsticks.policy_rows.iter().map(|text| self.rows(text));
        let own = own.collect::<Result<Vec<_>, _>>()?;
        Ok((self.rows(&yardsticks.rows)?, own.concat()))
    }
}

impl Yardsticks {
    /// Scores questions in order; `seed` draws the answers that are scored again.
    ///
    /// # Errors
    /// When a model gives no number.
    pub fn answer(
        &self,
        title: &str,
        asked: &[Asked<'_>],
        seed: u64,
        progress: &mut Progress,
    ) -> Result<Answered> {
        let mut answered = Answered {
            used: Vec::new(),
            failed: Vec::new(),
            cut: 0,
            scores: BTreeMap::new(),
            invariance: None,
        };
        progress.begin(title, asked.len());
        for (call, chunk) in asked.chunks(QUESTIONS).enumerate() {
            let (mut rows, mut policy_rows) = (Vec::new(), Vec::new());
            let (mut texts, mut sizes) = (Vec::new(), Vec::new());
            for (place, question) in chunk.iter().enumerate() {
                let index = call * QUESTIONS + place;
                match question.both(self) {
                    Ok((own, of_policy)) => {
                        policy_rows.extend(of_policy);
                        answered.used.push(index);
                        answered.cut += usize::from(own.iter().any(|row| row.truncated));
                        sizes.push(own.len());
                        rows.extend(own);
                        texts.extend(question.answers().map(Completion::text));
                    }
                    Err(reason) => answered.failed.push((index, reason)),
                }
            }
            for (name, values) in self.values(&rows, &policy_rows, &texts)? {
                let mut values = values.into_iter();
                let split = sizes.iter().map(|size| values.by_ref().take(*size).collect());
                answered.scores.entry(name).or_default().extend(split);
            }
            progress.step(asked.len().min((call + 1) * QUESTIONS), asked.len(), "");
        }
        progress.end("");
        answered.invariance = self.check_batches(asked, &answered, seed, progress)?;
        Ok(answered)
    }

    /// Scores some answers again, each alone and beside one of another length.
    fn check_batches(
        &self,
        asked: &[Asked<'_>],
        answered: &Answered,
        seed: u64,
        progress: &Progress,
    ) -> Result<Option<Invariance>> {
        let (Some(reward), Some(scores)) = (&self.reward, answered.scores.get("reward")) else {
            return Ok(None);
        };
        let each = |(index, scores): (&usize, &Vec<f64>)| {
            let index = *index;
            scores.iter().copied().enumerate().map(move |one| (index, one)).collect::<Vec<_>>()
        };
        let all: Vec<_> = answered.used.iter().zip(scores).flat_map(each).collect();
        let (mut rows, mut first) = (Vec::new(), Vec::new());
        for (index, (answer, score)) in subsample(all, CHECKED, seed) {
            if let Ok(mut own) = asked[index].rows(&self.rows) {
                rows.push(own.swap_remove(answer).input_ids);
                first.push(score);
            }
        }
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let found = batch_invariance(reward, &rows, &first, self.rows.encoder.pad_id())?;
        if found.largest > TOLERANCE {
            progress.note(&format!(
                "warning: scores depend on what shares their batch: {} answers scored again differ by up to {:.2e}, more than {TOLERANCE:.0e}; do not trust these results: try --batch-tokens 1 or another --device, and report this",
                found.rows, found.largest
            ));
        }
        Ok(Some(found))
    }
}

impl Answered {
    /// Says how many of `what` failed, and why the first did.
    pub fn note_failures(&self, title: &str, what: &str, asked: &[Asked<'_>], progress: &Progress) {
        if let Some((index, reason)) = self.failed.first() {
            let (failed, all, id) = (self.failed.len(), asked.len(), asked[*index].id);
            progress.note(&format!(
                "{title}: {failed} of {all} {what} could not be scored, the first of them {id}: {reason}"
            ));
        }
    }

    /// Warns of `what` that were cut: their scores are of other answers than people saw.
    pub fn note_cut(&self, title: &str, what: &str, progress: &Progress) {
        if self.cut > 0 {
            let (cut, all) = (self.cut, self.used.len());
            progress.note(&format!(
                "{title}: {cut} of {all} {what} were cut to the reward's limits, so what is scored is not what was compared; raise --max-prompt-tokens and --max-completion-tokens as far as the model's context allows"
            ));
        }
    }

    /// The batch check, for the line of counts below a table; nothing where there was none.
    pub fn check_in_words(&self) -> String {
        let Some(Invariance { rows, largest }) = self.invariance else { return String::new() };
        format!("; {rows} answers scored again in other batches differ by up to {largest:.1e}")
    }

    /// The counts and the batch check, for results and records.
    pub fn counts(&self) -> Map<String, Value> {
        let mut counts = Map::from_iter([
            ("scored".into(), json!(self.used.len())),
            ("failed".into(), json!(self.failed.len())),
            ("cut".into(), json!(self.cut)),
        ]);
        if let Some(Invariance { rows, largest }) = self.invariance {
            let check = json!({"rows": rows, "largest": largest, "tolerance": TOLERANCE});
            counts.insert("batch_difference".into(), check);
        }
        counts
    }

    /// What the `place`-th of `used` was given by each yardstick, for a record's item.
    pub fn scores_of(&self, place: usize) -> Map<String, Value> {
        let of = self.scores.iter().map(|(name, all)| ((*name).to_owned(), json!(all[place])));
        of.collect()
    }
}
