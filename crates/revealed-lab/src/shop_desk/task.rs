//! Notes and replies of one seed.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::note::Note;
use super::writer::{Setting, Writer, reply};

/// `n` notes, uniform and independent: there are 1,536 different ones, so many notes recur.
pub fn notes(n: usize, seed: u64) -> Vec<Note> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| Note::draw(&mut rng)).collect()
}

/// Number of rows of each part of a [`Task`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskSize {
    /// Clerk replies, training data of the base model; 20,000.
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
    /// Training data of the base model.
    pub clerk: Vec<(Note, String)>,
    /// Demonstrations to learn from.
    pub demonstrations: Vec<(Note, String)>,
    /// Demonstrations for gates and early stopping only.
    pub held_out: Vec<(Note, String)>,
    /// Prompts for sampling and policy improvement.
    pub prompts: Vec<Note>,
    /// Prompts for evaluation by [`gold`](super::gold) only.
    pub test: Vec<Note>,
}

/// The easy task of `seed` in its standard size.
pub fn task(seed: u64) -> Task {
    task_of_size(seed, Setting::Easy, &TaskSize::default())
}

/// The task of `seed` in a setting and a size.
///
/// Each part has its own random stream: changing the size of a part gives a prefix or an extension of it
/// and does not affect the others.
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
