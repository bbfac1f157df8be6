//! A preference file's accuracies by every yardstick, as lines, tables and a record.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use revealed::data::Preference;
use revealed::eval::preferences::{Accuracy, in_order};
use revealed::eval::{Estimate, Figure, Item};
use serde_json::{Map, Value, json};

use super::answers::{Answered, Asked};
use super::table::{estimate_cell, row};
use super::yardsticks::Yardsticks;
use crate::progress::Progress;

/// A file's pairs, those of excluded prompts left out.
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What figures and items stand under, as [`file_names`](super::file_names::file_names) has it.
    pub name: String,
    /// What is evaluated.
    pub pairs: Vec<Preference>,
    /// Pairs left out.
    pub excluded: usize,
}

/// A file's scores.
pub struct Measured<'a> {
    /// The file.
    pub file: &'a File,
    /// Its pairs' scores.
    pub answered: Answered,
}

impl<'a> Measured<'a> {
    /// Scores a file's pairs.
    ///
    /// # Errors
    /// When a model gives no number.
    pub fn of(
        file: &'a File,
        yardsticks: &Yardsticks,
        seed: u64,
        progress: &mut Progress,
    ) -> Result<Self> {
        let asked: Vec<Asked<'_>> = file.pairs.iter().map(asked).collect();
        let answered = yardsticks.answer(&file.name, &asked, seed, progress)?;
        let path = file.path.display().to_string();
        answered.note_failures(&path, "pairs", &asked, progress);
        answered.note_cut(&path, "pairs", progress);
        Ok(Self { file, answered })
    }

    fn used(&self) -> impl Iterator<Item = &'a Preference> {
        let pairs = &self.file.pairs;
        self.answered.used.iter().map(|index| &pairs[*index])
    }

    /// The whole file, then its subsets, where there are several.
    pub fn accuracies(&self) -> Vec<Row<'_>> {
        let row = |subset: Option<&'_ str>| -> Row<'_> {
            let holds = |pair: &Preference| subset.is_none() || pair.subset.as_deref() == subset;
            let of = |all: &[Vec<f64>]| {
                let pairs = self.used().zip(all).filter(|(pair, _)| holds(pair));
                Accuracy::of_outcomes(pairs.map(|(pair, s)| (pair.prompt.words(), right(s))))
            };
            let by = self.answered.scores.iter().map(|(name, all)| (*name, of(all))).collect();
            Row { measured: self, subset: subset.map(str::to_owned), by }
        };
        let subsets: BTreeSet<&str> =
            self.used().filter_map(|pair| pair.subset.as_deref()).collect();
        let several = if subsets.len() > 1 { subsets } else { BTreeSet::new() };
        std::iter::once(None).chain(several.into_iter().map(Some)).map(row).collect()
    }

    /// A line a pair, with its scores or the reason why there are none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_scores(&self, file: &mut impl Write) -> Result<()> {
        let data = &self.file.name;
        for (place, pair) in self.used().enumerate() {
            let mut line =
                Map::from_iter([("data".into(), json!(data)), ("id".into(), json!(pair.id))]);
            line.extend(self.answered.scores_of(place));
            writeln!(file, "{}", Value::Object(line))?;
        }
        for (index, reason) in &self.answered.failed {
            let id = &self.file.pairs[*index].id;
            writeln!(file, "{}", json!({"data": data, "id": id, "error": reason}))?;
        }
        Ok(())
    }

    /// A record's items; the file's name keeps ids of several files apart.
    pub fn items(&self) -> impl Iterator<Item = Item> {
        self.used().enumerate().map(|(place, pair)| {
            let right = |(name, all): (&&str, &Vec<Vec<f64>>)| {
                (format!("{name}/accuracy"), right(&all[place]))
            };
            Item {
                id: format!("{}/{}", self.file.name, pair.id),
                subset: Some(match &pair.subset {
                    Some(subset) => format!("{}/{subset}", self.file.name),
                    None => self.file.name.clone(),
                }),
                values: self.answered.scores.iter().map(right).collect(),
                detail: self.answered.scores_of(place),
            }
        })
    }

    /// The line below the table that says what came of the file.
    pub fn summary(&self) -> String {
        let (name, answered) = (&self.file.name, &self.answered);
        let (scored, failed, cut) = (answered.used.len(), answered.failed.len(), answered.cut);
        format!(
            "\n{name}: {scored} pairs scored, {failed} failed, {cut} cut to the limits{}\n",
            answered.check_in_words()
        )
    }

    /// What is said of the file besides its accuracies.
    pub fn counts(&self) -> Map<String, Value> {
        let mut counts = Map::from_iter([("excluded".into(), json!(self.file.excluded))]);
        counts.extend(self.answered.counts());
        counts.remove("scored");
        counts
    }
}

fn asked(pair: &Preference) -> Asked<'_> {
    Asked {
        id: &pair.id,
        prompt: &pair.prompt,
        chosen: vec![&pair.chosen],
        rejected: vec![&pair.rejected],
    }
}

/// A pair's outcome from its two scores.
fn right(scores: &[f64]) -> f64 {
    in_order([scores[0], scores[1]])
}

/// A file, or a subset of it, by every yardstick.
pub struct Row<'a> {
    measured: &'a Measured<'a>,
    subset: Option<String>,
    by: Vec<(&'static str, Accuracy)>,
}

impl Row<'_> {
    fn pairs(&self) -> usize {
        self.by.first().map_or(0, |(_, accuracy)| accuracy.pairs)
    }

    /// As a line.
    pub fn json(&self) -> Value {
        let mut line = Map::from_iter([
            ("data".into(), json!(self.measured.file.name)),
            ("subset".into(), json!(self.subset)),
            ("pairs".into(), json!(self.pairs())),
        ]);
        if self.subset.is_none() {
            line.extend(self.measured.counts());
        }
        for (name, accuracy) in &self.by {
            let (low, high) = accuracy.interval();
            let value = json!({"accuracy": accuracy.share(), "interval": [low, high]});
            line.insert((*name).into(), value);
        }
        Value::Object(line)
    }

    /// A row of the table; exclusions, failures and cuts are counted by file.
    pub fn cells(&self) -> String {
        let measured = self.measured;
        let counts = match self.subset {
            None => {
                let answered = &measured.answered;
                [measured.file.excluded, answered.failed.len(), answered.cut].map(|n| n.to_string())
            }
            Some(_) => Default::default(),
        };
        let subset = self.subset.as_deref().unwrap_or("all").to_owned();
        let start = [measured.file.name.clone(), subset, self.pairs().to_string()];
        let cells = self.by.iter().map(|(_, accuracy)| estimate_cell(&Estimate::from(*accuracy)));
        row(start.into_iter().chain(counts).chain(cells))
    }

    /// As figures of a record, the file's name before the subset's.
    pub fn figures(&self) -> impl Iterator<Item = Figure> {
        let file = &self.measured.file.name;
        let subset = match &self.subset {
            None => file.clone(),
            Some(subset) => format!("{file}/{subset}"),
        };
        self.by.iter().map(move |(name, accuracy)| {
            let name = format!("{name}/accuracy");
            Estimate::from(*accuracy).figure(name, Some(&subset), accuracy.pairs)
        })
    }
}
