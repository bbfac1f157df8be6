//! A world small enough for two cores, with a reward that is known.
//!
//! A customer's note names a customer, an item and a problem; the shop desk answers it. The base
//! model learns from a careless [`Writer::Clerk`]; the demonstrations come from a good
//! [`Writer::Demonstrator`]; [`gold`] says how good a reply really is. Everything is made by one
//! seed: [`task`].

mod folder;
mod gold;
mod world;
mod writer;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use folder::{config_json, tokenizer_config_json, tokenizer_json, write_jsonl};
pub use gold::{CRITERIA, Gold, gold};
pub use world::{BOS, EOS, ITEMS, MAX_REPLY_WORDS, NAMES, PAD, PROBLEMS, REMEDIES, vocabulary};
pub use writer::{Setting, Writer, reply};

/// What a customer wrote, as indices into [`NAMES`], [`ITEMS`] and [`PROBLEMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// The customer, below 16.
    pub name: usize,
    /// What was bought, below 16.
    pub item: usize,
    /// What is wrong with it, below 6.
    pub problem: usize,
}

impl Note {
    /// The prompt of 13 words, "note : customer NAME ; item ITEM ; problem PROBLEM . reply :".
    ///
    /// # Panics
    /// If an index is outside its list.
    pub fn prompt(&self) -> String {
        world::PROMPT
            .replace("NAME", NAMES[self.name])
            .replace("ITEM", ITEMS[self.item])
            .replace("PROBLEM", PROBLEMS[self.problem])
    }

    /// The note of a prompt that [`prompt`](Self::prompt) wrote, white space aside; nothing of another text.
    pub fn parse(prompt: &str) -> Option<Self> {
        let mut note = Note { name: 0, item: 0, problem: 0 };
        let mut words = prompt.split_whitespace();
        for expected in world::PROMPT.split(' ') {
            let word = words.next()?;
            let index = |all: &[&str]| all.iter().position(|known| *known == word);
            match expected {
                "NAME" => note.name = index(&NAMES)?,
                "ITEM" => note.item = index(&ITEMS)?,
                "PROBLEM" => note.problem = index(&PROBLEMS)?,
                _ if word == expected => {}
                _ => return None,
            }
        }
        words.next().is_none().then_some(note)
    }

    fn draw<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Note {
            name: rng.random_range(0..NAMES.len()),
            item: rng.random_range(0..ITEMS.len()),
            problem: rng.random_range(0..PROBLEMS.len()),
        }
    }
}

/// `n` notes, uniform and independent: there are 1,536 different ones, so many notes recur.
pub fn notes(n: usize, seed: u64) -> Vec<Note> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| Note::draw(&mut rng)).collect()
}

/// How many rows each part of a [`Task`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskSize {
    /// Clerk replies, the base model's text; 20,000.
    pub clerk: usize,
    /// Demonstrations to learn from; 256.
    pub demonstrations: usize,
    /// Demonstrations for gates and early stopping; 64.
    pub held_out: usize,
    /// Prompts without a reply; 2,000.
    pub prompts: usize,
    /// Prompts of the final evaluation; 256.
    pub test: usize,
}

impl Default for TaskSize {
    fn default() -> Self {
        TaskSize { clerk: 20_000, demonstrations: 256, held_out: 64, prompts: 2_000, test: 256 }
    }
}

/// The data of one seed; notes are uniform in every part, so a note of one part may recur in
/// another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What the base model is trained on.
    pub clerk: Vec<(Note, String)>,
    /// What the method learns from.
    pub demonstrations: Vec<(Note, String)>,
    /// Demonstrations that are trained on by nothing.
    pub held_out: Vec<(Note, String)>,
    /// Prompts for sampling and policy improvement.
    pub prompts: Vec<Note>,
    /// Prompts for evaluation by [`gold`] only.
    pub test: Vec<Note>,
}

/// The easy task of `seed` in its standard size.
pub fn task(seed: u64) -> Task {
    task_of_size(seed, Setting::Easy, &TaskSize::default())
}

/// The task of `seed` in a setting and a size.
///
/// Each part has a random stream of its own: a part of another size is a prefix or an extension,
/// and leaves the others as they are.
pub fn task_of_size(seed: u64, setting: Setting, size: &TaskSize) -> Task {
    let stream = |part: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(part);
        rng
    };
    let written = |n: usize, writer: Writer, mut rng: ChaCha8Rng| -> Vec<(Note, String)> {
        let row = |_| {
            let note = Note::draw(&mut rng);
            (note, reply(&note, writer, setting, &mut rng))
        };
        (0..n).map(row).collect()
    };
    let unanswered = |n: usize, mut rng: ChaCha8Rng| -> Vec<Note> {
        (0..n).map(|_| Note::draw(&mut rng)).collect()
    };
    Task {
        clerk: written(size.clerk, Writer::Clerk, stream(1)),
        demonstrations: written(size.demonstrations, Writer::Demonstrator, stream(2)),
        held_out: written(size.held_out, Writer::Demonstrator, stream(3)),
        prompts: unanswered(size.prompts, stream(4)),
        test: unanswered(size.test, stream(5)),
    }
}

#[cfg(test)]
mod tests;
