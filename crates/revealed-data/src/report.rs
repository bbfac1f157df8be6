//! What a file looks like to the model: counts, lengths, warnings and tokens.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use crate::conversation::{Completion, Prompt};
use crate::dataset::{Dataset, Records, UnreadColumn};
use crate::encoder::{Boundary, Dropped, Encoded, Encoder, Noted, kept};
use crate::error::{Place, Tokens};
use crate::split::{Split, rank};
use crate::{DataError, Kind};

/// Ids listed of each group; the counts are complete.
const LISTED: usize = 10;
/// Rows shown of those whose prompt and completion share a token.
const SHOWN: usize = 3;

/// A file as the model will see it; `Display` is for people, `Serialize` for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataReport {
    /// The file.
    pub path: PathBuf,
    /// Its layout.
    pub kind: Kind,
    /// Its rows.
    pub rows: usize,
    /// The columns that are not read.
    pub unread_columns: Vec<UnreadColumn>,
    /// Tokens of the prompts that are kept.
    pub prompt_tokens: Lengths,
    /// Tokens of the completions that are kept, terminators included; two a preference.
    pub completion_tokens: Lengths,
    /// Rows beyond the limits.
    pub dropped: usize,
    /// The first of them.
    pub dropped_rows: Vec<Dropped>,
    /// Rows that were cut to the limits.
    pub truncated: usize,
    /// The ids of the first of them.
    pub truncated_ids: Vec<String>,
    /// Rows whose prompt stands in an earlier row.
    pub duplicate_prompts: usize,
    /// Completions without text.
    pub empty_completions: usize,
    /// Demonstrations to train on and held out, if a split was given.
    pub split: Option<SplitSizes>,
    /// Fields that the chat template does not write, with the number of texts that have them.
    pub unwritten: BTreeMap<String, usize>,
    /// What deserves a look; nothing here stops a run.
    pub warnings: Vec<String>,
    /// The first rows, token by token.
    pub preview: Vec<PreviewRow>,
}

/// How long texts are, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// The shortest.
    pub min: usize,
    /// Half are no longer.
    pub median: usize,
    /// 95 in 100 are no longer.
    pub p95: usize,
    /// The longest.
    pub max: usize,
    /// All together.
    pub total: usize,
}

/// The sides of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SplitSizes {
    /// Demonstrations to learn from.
    pub train: usize,
    /// Demonstrations held out.
    pub held_out: usize,
}

/// A row's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviewRow {
    /// Its id; `chosen` or `rejected` behind it for a side of a preference.
    pub id: String,
    /// Its tokens in order.
    pub tokens: Vec<PreviewToken>,
}

/// One token of a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviewToken {
    /// What the token is to the loss.
    pub mark: Mark,
    /// Its id.
    pub id: u32,
    /// Its text, specials visible.
    pub text: String,
}

/// What a token is to the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Mark {
    /// Prompt: read, neither trained nor scored.
    P,
    /// Completion.
    C,
    /// Terminator: part of the completion.
    T,
}

impl DataReport {
    /// Adds the sizes of a split's sides.
    pub fn with_split(mut self, split: &Split) -> Self {
        let (train, held_out) = (split.train.len(), split.held_out.len());
        if train == 0 || held_out == 0 {
            let side = if train == 0 { "to train on" } else { "held out" };
            self.warnings.push(format!("the split leaves no demonstration {side}"));
        }
        self.split = Some(SplitSizes { train, held_out });
        self
    }
}

/// One text pair of the file: a demonstration, a side of a preference, or a prompt alone.
struct Item<'a> {
    id: String,
    place: Option<&'a Place>,
    prompt: &'a Prompt,
    completion: Option<&'a Completion>,
}

/// Encodes every row of `dataset` and says what came of it, with the first `preview_rows` rows token by
/// token.
///
/// # Errors
/// What [`Encoder::encode`] refuses, with the row's id.
pub fn report(
    dataset: &Dataset,
    encoder: &Encoder,
    preview_rows: usize,
) -> Result<DataReport, DataError> {
    let items = items(&dataset.records);
    let encoded: Vec<_> = items.par_iter().map(|item| encode(encoder, item)).collect();
    let mut rows: Vec<Encoded> = Vec::new();
    let (mut dropped, mut truncated, mut preview) = (Vec::new(), Vec::new(), Vec::new());
    let (mut crossed, mut unwritten) = (Vec::new(), BTreeMap::new());
    for (item, encoded) in items.iter().zip(encoded) {
        match kept(&item.id, item.place, encoded)? {
            Err(row) => dropped.push(row),
            Ok((row, noted)) => {
                if let Boundary::Crossed { whole } = noted.boundary {
                    crossed.push((&*item.id, encoder.around_difference(&row.input_ids, &whole)));
                }
                for field in noted.unwritten {
                    *unwritten.entry(field).or_default() += 1;
                }
                if row.truncated {
                    truncated.push(item.id.clone());
                }
                if preview.len() < preview_rows {
                    preview.push(shown(encoder, &item.id, &row));
                }
                rows.push(row);
            }
        }
    }
    let is_empty = |item: &&Item<'_>| {
        item.completion
            .is_some_and(|answer| answer.text().trim().is_empty() && answer.message().is_plain())
    };
    let mut report = DataReport {
        path: dataset.path.clone(),
        kind: dataset.kind,
        rows: dataset.records.len(),
        unread_columns: dataset.unread_columns.clone(),
        prompt_tokens: lengths(rows.iter().map(|row| row.completion_start)),
        completion_tokens: lengths(
            rows.iter().map(|row| row.input_ids.len() - row.completion_start),
        ),
        dropped: dropped.len(),
        truncated: truncated.len(),
        duplicate_prompts: duplicates(&dataset.records),
        empty_completions: items.iter().filter(is_empty).count(),
        split: None,
        warnings: Vec::new(),
        preview,
        dropped_rows: dropped.into_iter().take(LISTED).collect(),
        truncated_ids: truncated.into_iter().take(LISTED).collect(),
        unwritten,
    };
    report.warnings = dataset.notes.clone();
    report.warnings.extend(warnings(&report, items.len(), &crossed, encoder, &items));
    Ok(report)
}

fn items(records: &Records) -> Vec<Item<'_>> {
    match records {
        Records::Demonstrations(rows) => rows
            .iter()
            .map(|row| Item {
                id: row.id.clone(),
                place: row.place.as_ref(),
                prompt: &row.prompt,
                completion: Some(&row.completion),
            })
            .collect(),
        Records::Preferences(rows) => rows
            .iter()
            .flat_map(|row| {
                [("chosen", &row.chosen), ("rejected", &row.rejected)].map(|(side, text)| Item {
                    id: format!("{} {side}", row.id),
                    place: row.place.as_ref(),
                    prompt: &row.prompt,
                    completion: Some(text),
                })
            })
            .collect(),
        Records::Prompts(rows) => rows
            .iter()
            .map(|row| Item {
                id: row.id.clone(),
                place: row.place.as_ref(),
                prompt: &row.prompt,
                completion: None,
            })
            .collect(),
    }
}

fn encode(encoder: &Encoder, item: &Item<'_>) -> Result<(Encoded, Noted), DataError> {
    if let Some(completion) = item.completion {
        return encoder.encode_noting(item.prompt, completion);
    }
    let input_ids = encoder.prompt(item.prompt)?;
    let completion_start = input_ids.len();
    let row = Encoded { input_ids, completion_start, terminated: false, truncated: false };
    Ok((row, Noted { boundary: Boundary::Stable, unwritten: Vec::new() }))
}

fn shown(encoder: &Encoder, id: &str, row: &Encoded) -> PreviewRow {
    let last = row.input_ids.len().saturating_sub(1);
    let token = |(at, &id): (usize, &u32)| {
        let mark = match at {
            _ if at < row.completion_start => Mark::P,
            _ if at == last && row.terminated => Mark::T,
            _ => Mark::C,
        };
        PreviewToken { mark, id, text: encoder.token(id) }
    };
    PreviewRow { id: id.to_owned(), tokens: row.input_ids.iter().enumerate().map(token).collect() }
}

fn lengths(lengths: impl Iterator<Item = usize>) -> Lengths {
    let mut sorted: Vec<usize> = lengths.collect();
    sorted.sort_unstable();
    // Nearest rank: the smallest length that at least this share does not exceed.
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    };
    Lengths { min: at(0), median: at(50), p95: at(95), max: at(100), total: sorted.iter().sum() }
}

fn duplicates(records: &Records) -> usize {
    let mut seen: HashMap<[u8; 32], usize> = HashMap::new();
    let mut see = |prompt: &Prompt| *seen.entry(rank(prompt, 0)).or_default() += 1;
    match records {
        Records::Demonstrations(rows) => rows.iter().for_each(|row| see(&row.prompt)),
        Records::Preferences(rows) => rows.iter().for_each(|row| see(&row.prompt)),
        Records::Prompts(rows) => rows.iter().for_each(|row| see(&row.prompt)),
    }
    seen.values().map(|count| count - 1).sum()
}

fn warnings(
    report: &DataReport,
    texts: usize,
    crossed: &[(&str, [Tokens; 2])],
    encoder: &Encoder,
    items: &[Item<'_>],
) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |count: usize, text: &str| {
        if count > 0 {
            warnings.push(format!("{count} of {texts}: {text}"));
        }
    };
    let shown = crossed
        .iter()
        .take(SHOWN)
        .map(|(id, [row, whole])| format!("{id}: used as {row}, as one text {whole}"));
    let crosses = format!(
        "a token would span prompt and completion if both were one text, so they are tokenized \
         separately; end prompts, or begin completions, at a word's boundary ({})",
        shown.collect::<Vec<_>>().join("; ")
    );
    warn(crossed.len(), &crosses);
    warn(report.empty_completions, "the completion is empty or blank");
    warn(report.dropped, "dropped because the limits are exceeded");
    warn(report.truncated, "cut to the limits; a cut completion has no terminator");
    let specials = items.iter().filter(|item| encoder.spells_special(item.prompt)).count();
    warn(specials, "the prompt's text spells a special token, which the model reads as one");
    if report.dropped == texts && texts > 0 {
        warnings.push("no row is left; raise the limits".to_owned());
    }
    for (field, count) in &report.unwritten {
        warnings.push(format!("{count} of {texts}: the chat template does not write {field}"));
    }
    warnings.extend(encoder.notes());
    if encoder.template().is_none() && items.iter().any(|i| matches!(i.prompt, Prompt::Chat(_))) {
        warnings.push("no chat template: messages are taken as plain text".to_owned());
    }
    warnings
}

mod display;

#[cfg(test)]
mod tests;
