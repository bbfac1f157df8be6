//! The gold reward: what the shop really wants.
//!
//! It is known because the world was made, and it serves evaluation only: nothing may be trained on
//! it or chosen by it.

use super::note::Note;
use super::world::{
    BLAME, CLOSINGS, FILLERS, ITEMS, NAMES, PROBLEMS, REMEDIES, RUDE_CLOSINGS, TIMES, VAGUE_TIMES,
};

/// The names of the criteria, in the order of [`Gold::criteria`].
///
/// | criterion | holds when |
/// |---|---|
/// | greets | it opens with "dear N ," or "hello N ,", N being the note's name and the only name |
/// | facts | it names an item and a problem, and only the note's |
/// | apology | one "sorry", before the first "will" |
/// | remedy | it has the note's remedy and no other |
/// | when | "today" or "this week", and neither "some day" nor "if we can" |
/// | closing | exactly one polite closing, at the very end |
/// | clean | no filler, blaming or rude sentence |
/// | concise | at most 30 words, punctuation included, and no sentence twice |
pub const CRITERIA: [&str; 8] =
    ["greets", "facts", "apology", "remedy", "when", "closing", "clean", "concise"];

/// The most words of a concise reply, punctuation included.
const CONCISE_WORDS: usize = 30;

/// How good a reply is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gold {
    /// The share of criteria that hold, in [0, 1].
    pub score: f64,
    /// Which criteria hold, in the order of [`CRITERIA`].
    pub criteria: [bool; 8],
}

/// The gold reward of `reply`, any text of words separated by white space, as an answer to `note`.
///
/// `terminated` says whether the writer ended it with the end-of-text token; without it no
/// criterion holds.
///
/// # Panics
/// If `note` holds an index outside the world's lists.
pub fn gold(note: &Note, reply: &str, terminated: bool) -> Gold {
    let words: Vec<&str> = reply.split_whitespace().collect();
    let criteria = if terminated {
        [
            greets(note, &words),
            names_only(&words, &ITEMS, note.item) && names_only(&words, &PROBLEMS, note.problem),
            apologises(&words),
            remedies(note, &words),
            has_any(&words, &TIMES) && !has_any(&words, &VAGUE_TIMES[..2]),
            closes(&words),
            !has_any(&words, &FILLERS)
                && !has_any(&words, &BLAME)
                && !has_any(&words, &RUDE_CLOSINGS),
            words.len() <= CONCISE_WORDS && !repeats(&words),
        ]
    } else {
        [false; 8]
    };
    let held = criteria.iter().filter(|&&holds| holds).count();
    Gold { score: held as f64 / criteria.len() as f64, criteria }
}

fn greets(note: &Note, words: &[&str]) -> bool {
    let opens = matches!(words, ["dear" | "hello", name, ",", ..] if *name == NAMES[note.name]);
    opens && words.iter().filter(|word| NAMES.contains(word)).count() == 1
}

/// Whether a word of `all` occurs and none but `all[right]` does.
fn names_only(words: &[&str], all: &[&str], right: usize) -> bool {
    let mut named = words.iter().filter(|word| all.contains(word)).peekable();
    named.peek().is_some() && named.all(|word| *word == all[right])
}

fn apologises(words: &[&str]) -> bool {
    let sorry = words.iter().position(|&word| word == "sorry");
    let will = words.iter().position(|&word| word == "will");
    let once = words.iter().filter(|&&word| word == "sorry").count() == 1;
    once && matches!((sorry, will), (Some(sorry), Some(will)) if sorry < will)
}

fn remedies(note: &Note, words: &[&str]) -> bool {
    let right = |problem| problem == note.problem;
    (0..REMEDIES.len()).all(|problem| (count(words, REMEDIES[problem]) > 0) == right(problem))
}

fn closes(words: &[&str]) -> bool {
    let closings: usize = CLOSINGS.iter().map(|closing| count(words, closing)).sum();
    let last = CLOSINGS.iter().any(|closing| ends_with(words, closing));
    closings == 1 && last
}

/// Whether a sentence, the greeting set aside, occurs twice.
fn repeats(words: &[&str]) -> bool {
    let body = match words {
        ["dear" | "hello" | "hi", _, ",", body @ ..] => body,
        words => words,
    };
    let sentences: Vec<&[&str]> =
        body.split(|&word| word == ".").filter(|s| !s.is_empty()).collect();
    sentences.iter().enumerate().any(|(i, sentence)| sentences[..i].contains(sentence))
}

fn has_any(words: &[&str], phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| count(words, phrase) > 0)
}

/// How often `phrase`, words joined by single spaces, occurs.
fn count(words: &[&str], phrase: &str) -> usize {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words.windows(phrase.len()).filter(|window| *window == phrase).count()
}

fn ends_with(words: &[&str], phrase: &str) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words.ends_with(&phrase)
}
