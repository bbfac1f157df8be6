//! Demonstrations, prompts and held-out demonstrations as token rows: what a run works on.

use std::collections::HashSet;
use std::path::Path;

use revealed_data::{DataError, Dataset, Demonstration, Encoded, Encoder, read, split};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::TrainError;
use crate::fingerprint::hex;
use crate::recipe::DataSection;

/// A row of prompt and completion tokens in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Prompt ids, completion ids, terminator if there is one.
    pub input_ids: Vec<u32>,
    /// Where the completion starts.
    pub completion_start: usize,
    /// Whether it ends in the terminator.
    pub terminated: bool,
}

impl Row {
    /// Its prompt.
    pub fn prompt(&self) -> &[u32] {
        &self.input_ids[..self.completion_start]
    }

    /// Its completion, with the terminator.
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

/// Everything a run reads, encoded.
#[derive(Debug)]
pub struct Task {
    /// The path from text to tokens, shared by demonstrations and samples.
    pub encoder: Encoder,
    /// Demonstrations to learn from.
    pub train: Vec<Row>,
    /// Demonstrations that no gradient sees; gates decide on them.
    pub held_out: Vec<Row>,
    /// Prompts the policy is improved on: the training prompts, and unlabelled ones.
    pub prompts: Vec<Vec<u32>>,
    /// Longest completion of demonstrations and samples, in tokens.
    pub max_completion_tokens: usize,
    /// One line a thing that was left out.
    pub notes: Vec<String>,
}

impl Task {
    /// Reads the files a recipe names.
    ///
    /// # Errors
    /// When a file is unusable, or too little is left of it.
    pub fn load(data: &DataSection, encoder: Encoder, seed: u64) -> Result<Self, TrainError> {
        let mut notes = encoder.notes();
        let mut demonstrations = demonstrations_of(&data.demonstrations, &mut notes)?;
        let rows = demonstrations.len();
        let kept = keep_encodable(&encoder, &mut demonstrations, &mut notes)?;
        if kept < rows {
            notes.push(format!("{kept} of {rows} demonstrations kept"));
        }
        let mut counts = Counts { rows, dropped: rows - kept, held_out: 0 };
        // The two sides may be of two files.
        let (train, held_out, held) = match &data.held_out_file {
            Some(path) => {
                let mut held_out = demonstrations_of(path, &mut notes)?;
                let rows = held_out.len();
                let kept = keep_encodable(&encoder, &mut held_out, &mut notes)?;
                let held = Counts { rows, dropped: rows - kept, held_out: kept };
                (demonstrations, held_out, held)
            }
            None => {
                let parts = split(demonstrations, data.held_out, seed);
                counts.held_out = parts.held_out.len();
                (parts.train, parts.held_out, counts)
            }
        };
        let mut train = encode(&encoder, &train)?;
        if data.max_demonstrations > 0 && train.len() > data.max_demonstrations {
            notes.push(format!(
                "the first {} of {} training demonstrations are used",
                data.max_demonstrations,
                train.len()
            ));
            train.truncate(data.max_demonstrations);
        }
        let mut held_out = encode(&encoder, &held_out)?;
        let seen: HashSet<&[u32]> = train.iter().map(Row::prompt).collect();
        leave_out(
            &mut held_out,
            |row| seen.contains(row.prompt()),
            |n| {
                notes.push(format!(
                    "{n} held-out demonstrations left out: their prompts are trained on"
                ));
            },
        );
        let trained = held.held_out - held_out.len();
        enough("training demonstrations", train.len(), counts, trained)?;
        enough("held-out demonstrations", held_out.len(), held, trained)?;
        let mut prompts: Vec<Vec<u32>> = train.iter().map(|row| row.prompt().to_vec()).collect();
        if let Some(path) = &data.prompts {
            let mut more = unlabelled(&encoder, path, &mut notes)?;
            let held: HashSet<&[u32]> = held_out.iter().map(Row::prompt).collect();
            leave_out(
                &mut more,
                |ids| held.contains(ids.as_slice()),
                |n| {
                    notes.push(format!("{n} unlabelled prompts left out: they are held out"));
                },
            );
            prompts.extend(more);
        }
        let open = train.iter().filter(|row| !row.terminated).count();
        if open > 0 {
            notes.push(format!(
                "{open} of {} demonstrations are cut at max_completion_tokens = {} and teach no end; consider long_completions = \"drop\" or a larger limit",
                train.len(),
                data.max_completion_tokens
            ));
        }
        let max_completion_tokens = data.max_completion_tokens;
        Ok(Self { encoder, train, held_out, prompts, max_completion_tokens, notes })
    }

    /// The canonical form of what a policy wrote: the same path demonstrations took.
    pub fn canonical(&self, prompt_ids: &[u32], sample_ids: &[u32]) -> Row {
        self.encoder.sample(prompt_ids, sample_ids).into()
    }

    /// SHA-256 of every row a run works on: a resumed run must find the same.
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

    /// Filler for batches; masks never depend on it.
    pub fn pad_id(&self) -> u32 {
        self.encoder.pad_id()
    }

    /// A filler that no row ends in, which Transformers needs to find a padded row's last token:
    /// the pad token, or where that ends rows too, a special token, which a tokenizer can name as
    /// its pad token without a change to any text's tokens.
    pub fn reward_pad_id(&self) -> u32 {
        let stops = self.encoder.stop_ids();
        let pad = self.encoder.pad_id();
        if !stops.contains(&pad) {
            return pad;
        }
        // The model has every token up to the terminator; it may lack later ones of the tokenizer.
        let known = self.encoder.special_ids().into_iter();
        let mut special = known.filter(|id| *id <= self.encoder.terminator());
        let special = special.find(|id| !stops.contains(id));
        special.or_else(|| (0..).find(|id| !stops.contains(id))).unwrap_or(pad)
    }
}

/// What became of a file's rows.
#[derive(Clone, Copy)]
struct Counts {
    rows: usize,
    dropped: usize,
    held_out: usize,
}

/// Two of each are the least: of one alone nothing varies.
fn enough(
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

/// The demonstrations of a file, with notes on how its columns were read.
fn demonstrations_of(
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Demonstration>, DataError> {
    let dataset = read(path)?;
    note_reading(&dataset, notes);
    dataset.demonstrations()
}

fn note_reading(dataset: &Dataset, notes: &mut Vec<String>) {
    let path = dataset.path.display();
    notes.extend(dataset.notes.iter().map(|note| format!("{path}: {note}")));
}

/// Drops rows that are too long, with a note; other problems are errors.
fn keep_encodable(
    encoder: &Encoder,
    demonstrations: &mut Vec<Demonstration>,
    notes: &mut Vec<String>,
) -> Result<usize, DataError> {
    let set = encoder.encode_all(demonstrations)?;
    for dropped in set.dropped.iter().take(3) {
        notes.push(format!("dropped {}: {}", dropped.id, dropped.reason));
    }
    if set.dropped.len() > 3 {
        notes.push(format!("… and {} more dropped", set.dropped.len() - 3));
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
    let keep: HashSet<usize> = set.rows.iter().map(|(index, _)| *index).collect();
    let mut index = 0;
    demonstrations.retain(|_| {
        index += 1;
        keep.contains(&(index - 1))
    });
    Ok(demonstrations.len())
}

fn encode(encoder: &Encoder, demonstrations: &[Demonstration]) -> Result<Vec<Row>, DataError> {
    Ok(encoder.encode_all(demonstrations)?.rows.into_iter().map(|(_, row)| row.into()).collect())
}

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

fn leave_out<T>(items: &mut Vec<T>, unwanted: impl Fn(&T) -> bool, note: impl FnOnce(usize)) {
    let before = items.len();
    items.retain(|item| !unwanted(item));
    if items.len() < before {
        note(before - items.len());
    }
}
