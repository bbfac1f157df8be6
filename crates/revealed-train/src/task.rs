//! The data of a run as token rows: demonstrations, held-out demonstrations and prompts.

use std::collections::HashSet;
use std::path::Path;

use revealed_data::{DataError, Dataset, Demonstration, Encoded, Encoder, read, split_by};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::TrainError;
use crate::fingerprint::hex;
use crate::recipe::DataSection;

/// Tokens of a prompt and its completion, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Ids of prompt and completion, EOS included if the completion has one.
    pub input_ids: Vec<u32>,
    /// Index of the first completion token.
    pub completion_start: usize,
    /// Whether the completion ends in EOS.
    pub terminated: bool,
}

impl Row {
    /// Ids of the prompt.
    pub fn prompt(&self) -> &[u32] {
        &self.input_ids[..self.completion_start]
    }

    /// Ids of the completion, EOS included.
    pub fn completion(&self) -> &[u32] {
        &self.input_ids[self.completion_start..]
    }
}

impl AsRef<[u32]> for Row {
    fn as_ref(&self) -> &[u32] {
        &self.input_ids
    }
}

impl From<Encoded> for Row {
    fn from(encoded: Encoded) -> Self {
        Self {
            input_ids: encoded.input_ids,
            completion_start: encoded.completion_start,
            terminated: encoded.terminated,
        }
    }
}

/// The data of a run, encoded.
#[derive(Debug)]
pub struct Task {
    /// Encoder from text to tokens, the same for demonstrations and samples.
    pub encoder: Encoder,
    /// Training demonstrations.
    pub train: Vec<Row>,
    /// Held-out demonstrations: used by gates, never trained on.
    pub held_out: Vec<Row>,
    /// Prompts of policy improvement: those of the training demonstrations, then unlabelled ones.
    pub prompts: Vec<Vec<u32>>,
    /// Longest completion of demonstrations and samples, tokens.
    pub max_completion_tokens: usize,
    /// One line per kind of row that was left out, and on how files were read.
    pub notes: Vec<String>,
}

impl Task {
    /// Reads the files of a recipe. Every demonstration is tokenized once.
    ///
    /// # Errors
    /// When a file cannot be used, or too few of its rows are left.
    pub fn load(data: &DataSection, encoder: Encoder, seed: u64) -> Result<Self, TrainError> {
        let mut notes = encoder.notes();
        let all = Demonstrations::read(&data.demonstrations, &encoder, &mut notes)?;
        if all.kept.len() < all.rows {
            notes.push(format!("{} of {} demonstrations kept", all.kept.len(), all.rows));
        }
        let mut counts = Counts { rows: all.rows, dropped: all.rows - all.kept.len(), held_out: 0 };
        // Training and held-out demonstrations may be in two files.
        let (train, held_out, held) = match &data.held_out_file {
            Some(path) => {
                let Demonstrations { rows, kept } =
                    Demonstrations::read(path, &encoder, &mut notes)?;
                let held = Counts { rows, dropped: rows - kept.len(), held_out: kept.len() };
                (all.kept, kept, held)
            }
            None => {
                let (train, held_out) =
                    split_by(all.kept, |(row, _)| &row.prompt, data.held_out, seed);
                counts.held_out = held_out.len();
                (train, held_out, counts)
            }
        };
        let train = first(rows_of(train), data.max_demonstrations, &mut notes);
        let held_out = without_trained(rows_of(held_out), &train, &mut notes);
        let trained = held.held_out - held_out.len();
        check_count("training demonstrations", train.len(), counts, trained)?;
        check_count("held-out demonstrations", held_out.len(), held, trained)?;
        let mut prompts: Vec<Vec<u32>> = train.iter().map(|row| row.prompt().to_vec()).collect();
        if let Some(path) = &data.prompts {
            let more = unlabelled(&encoder, path, &mut notes)?;
            prompts.extend(without_held_out(more, &held_out, &mut notes));
        }
        let max_completion_tokens = data.max_completion_tokens;
        let truncated = train.iter().filter(|row| !row.terminated).count();
        if truncated > 0 {
            notes.push(format!(
                "{truncated} of {} demonstrations are truncated at max_completion_tokens = {max_completion_tokens} and have no EOS; consider long_completions = \"drop\" or a larger limit",
                train.len()
            ));
        }
        Ok(Self { encoder, train, held_out, prompts, max_completion_tokens, notes })
    }

    /// The canonical form of a sample: tokenized as demonstrations are.
    pub fn canonical(&self, prompt_ids: &[u32], sample_ids: &[u32]) -> Row {
        self.encoder.sample(prompt_ids, sample_ids).into()
    }

    /// SHA-256 of all rows; it must be the same when a run is resumed.
    pub fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        let mut add = |ids: &[u32], start: usize| {
            hasher.update((ids.len() as u64).to_le_bytes());
            hasher.update((start as u64).to_le_bytes());
            ids.iter().for_each(|id| hasher.update(id.to_le_bytes()));
        };
        for row in self.train.iter().chain(&self.held_out) {
            add(&row.input_ids, row.completion_start);
        }
        self.prompts.iter().for_each(|prompt| add(prompt, prompt.len()));
        hex(&hasher.finalize())
    }

    /// Padding token of batches; masks never depend on it.
    pub fn pad_id(&self) -> u32 {
        self.encoder.pad_id()
    }

    /// A padding token that no row ends in, which Transformers needs to find the last token of a padded row: the pad token, or
    /// if rows may end in it, another special token, which a tokenizer can use for padding without changing any text's tokens.
    pub fn reward_pad_id(&self) -> u32 {
        let stops = self.encoder.stop_ids();
        let pad = self.encoder.pad_id();
        if !stops.contains(&pad) {
            return pad;
        }
        // The model has all tokens up to EOS; it may lack later ones of the tokenizer.
        let known = self.encoder.special_ids().into_iter();
        let mut special = known.filter(|id| *id <= self.encoder.terminator());
        let special = special.find(|id| !stops.contains(id));
        special.or_else(|| (0..).find(|id| !stops.contains(id))).unwrap_or(pad)
    }
}

/// Demonstrations of a file within the length limits, with their tokens.
struct Demonstrations {
    /// Rows of the file.
    rows: usize,
    kept: Vec<(Demonstration, Row)>,
}

impl Demonstrations {
    /// Reads and encodes a file. Rows over the length limits are dropped with a note; other problems are errors.
    fn read(path: &Path, encoder: &Encoder, notes: &mut Vec<String>) -> Result<Self, DataError> {
        let dataset = read(path)?;
        note_reading(&dataset, notes);
        let demonstrations = dataset.demonstrations()?;
        let set = encoder.encode_all(&demonstrations)?;
        for dropped in set.dropped.iter().take(NAMED_ROWS) {
            notes.push(format!("dropped {}: {}", dropped.id, dropped.reason));
        }
        if set.dropped.len() > NAMED_ROWS {
            notes.push(format!("… and {} more dropped", set.dropped.len() - NAMED_ROWS));
        }
        for (field, count) in &set.unwritten {
            notes.push(format!("{count} demonstrations: the chat template does not write {field}"));
        }
        if let Some(first) = set.separate.first() {
            notes.push(format!(
                "{} demonstrations: a token would span prompt and completion, so they are tokenized \
                 separately; `revealed check` shows them (the first: {first})",
                set.separate.len()
            ));
        }
        let rows = demonstrations.len();
        let mut encoded = set.rows.into_iter().peekable();
        let keep = |(index, demonstration)| {
            let (_, row) = encoded.next_if(|(kept, _)| *kept == index)?;
            Some((demonstration, row.into()))
        };
        let kept = demonstrations.into_iter().enumerate().filter_map(keep).collect();
        Ok(Self { rows, kept })
    }
}

/// Dropped rows that are named in notes.
const NAMED_ROWS: usize = 3;

fn note_reading(dataset: &Dataset, notes: &mut Vec<String>) {
    let path = dataset.path.display();
    notes.extend(dataset.notes.iter().map(|note| format!("{path}: {note}")));
}

fn rows_of(demonstrations: Vec<(Demonstration, Row)>) -> Vec<Row> {
    demonstrations.into_iter().map(|(_, row)| row).collect()
}

/// The first `max` training demonstrations; all if `max` is 0.
fn first(mut train: Vec<Row>, max: usize, notes: &mut Vec<String>) -> Vec<Row> {
    if max > 0 && train.len() > max {
        notes.push(format!("the first {max} of {} training demonstrations are used", train.len()));
        train.truncate(max);
    }
    train
}

/// Held-out demonstrations whose prompts are not trained on.
fn without_trained(mut held_out: Vec<Row>, train: &[Row], notes: &mut Vec<String>) -> Vec<Row> {
    let trained: HashSet<&[u32]> = train.iter().map(Row::prompt).collect();
    let before = held_out.len();
    held_out.retain(|row| !trained.contains(row.prompt()));
    if held_out.len() < before {
        notes.push(format!(
            "{} held-out demonstrations left out: their prompts are trained on",
            before - held_out.len()
        ));
    }
    held_out
}

/// Unlabelled prompts that are not held out.
fn without_held_out(
    mut prompts: Vec<Vec<u32>>,
    held_out: &[Row],
    notes: &mut Vec<String>,
) -> Vec<Vec<u32>> {
    let held: HashSet<&[u32]> = held_out.iter().map(Row::prompt).collect();
    let before = prompts.len();
    prompts.retain(|ids| !held.contains(ids.as_slice()));
    if prompts.len() < before {
        notes.push(format!(
            "{} unlabelled prompts left out: they are held out",
            before - prompts.len()
        ));
    }
    prompts
}

/// Counts of the rows of a file.
#[derive(Clone, Copy)]
struct Counts {
    rows: usize,
    /// Rows over the length limits.
    dropped: usize,
    held_out: usize,
}

/// Refuses fewer than two rows: nothing varies over one.
fn check_count(
    what: &'static str,
    found: usize,
    counts: Counts,
    trained: usize,
) -> Result<(), TrainError> {
    let Counts { rows, dropped, held_out } = counts;
    let needed = 2;
    if found >= needed {
        return Ok(());
    }
    let trained = if held_out == 0 { 0 } else { trained };
    Err(TrainError::TooFewDemonstrations { what, found, needed, rows, dropped, held_out, trained })
}

/// Prompts of a file within the length limit.
fn unlabelled(
    encoder: &Encoder,
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let dataset = read(path)?;
    note_reading(&dataset, notes);
    let all = dataset.prompts();
    let mut kept = Vec::with_capacity(all.len());
    for row in &all {
        match encoder.prompt(&row.prompt) {
            Ok(ids) => kept.push(ids),
            Err(DataError::PromptTooLong { .. }) => {}
            Err(source) => {
                let (id, place, source) = (row.id.clone(), row.place.clone(), Box::new(source));
                return Err(DataError::Record { id, place, source }.into());
            }
        }
    }
    if kept.len() < all.len() {
        notes.push(format!(
            "{} unlabelled prompts are too long and dropped",
            all.len() - kept.len()
        ));
    }
    Ok(kept)
}
