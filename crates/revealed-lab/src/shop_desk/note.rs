//! A customer's note.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::world::{ITEMS, NAMES, PROBLEMS, PROMPT};

/// A customer's note, as indices into [`NAMES`], [`ITEMS`] and [`PROBLEMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// The customer, below 16.
    pub name: usize,
    /// The item bought, below 16.
    pub item: usize,
    /// The problem with it, below 6.
    pub problem: usize,
}

impl Note {
    /// The prompt of 13 words, "note : customer NAME ; item ITEM ; problem PROBLEM . reply :".
    ///
    /// # Panics
    /// If an index is outside its list.
    pub fn prompt(&self) -> String {
        PROMPT
            .replace("NAME", NAMES[self.name])
            .replace("ITEM", ITEMS[self.item])
            .replace("PROBLEM", PROBLEMS[self.problem])
    }

    /// The note of a prompt that [`prompt`](Self::prompt) wrote, ignoring white space; none for other text.
    pub fn parse(prompt: &str) -> Option<Self> {
        let mut note = Note { name: 0, item: 0, problem: 0 };
        let mut words = prompt.split_whitespace();
        for expected in PROMPT.split(' ') {
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

    pub(super) fn draw<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Note {
            name: rng.random_range(0..NAMES.len()),
            item: rng.random_range(0..ITEMS.len()),
            problem: rng.random_range(0..PROBLEMS.len()),
        }
    }
}
