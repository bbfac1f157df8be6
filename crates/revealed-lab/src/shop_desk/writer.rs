//! Who writes the replies, and how well.
//!
//! | habit | clerk | demonstrator | done badly |
//! |---|---|---|---|
//! | name | 0.40 | 0.90 | "hi there ,", "dear customer ,", or no greeting |
//! | fact (name, item, problem, each) | 0.95 | 0.99 | one drawn from all, by chance the right one |
//! | apology | 0.35 | 0.90 | "your I is P .", "you say that your I is P ." |
//! | remedy | 0.25 | 0.95 | that of a problem drawn from all six |
//! | when | 0.35 | 0.90 | "some day", "if we can", or nothing |
//! | order | 0.60 | 0.90 | the remedy before the apology |
//! | blame | 0.60 | 0.90 | a blaming sentence between greeting and closing |
//! | closing | 0.35 | 0.90 | none, a rude one, or a polite and then a rude one |
//! | filler | 0.45 | 0.90 | one or two of four filler sentences between greeting and closing |
//! | repetition | 0.70 | 0.90 | one sentence after the greeting said twice in a row |
//!
//! In the hard setting ([`Setting::Hard`]) the demonstrators apologise in 0.45 of their replies and give a time in
//! 0.35, the clerk in 0.10; else both are as above. So the most likely reply of a perfect imitator lacks both, at
//! any temperature, and what shows that they are wanted is only that demonstrators do them more often than others.
//!
//! Habits are drawn independently, then the wording. A reply of more than [`MAX_REPLY_WORDS`] words
//! is redrawn, habits and all, so the longest replies, the worst ones, are missing from the data.

use rand::{Rng, RngExt};

use super::note::Note;
use super::world::{
    APOLOGIES, BLAME, CLOSINGS, FILLERS, GREETINGS, ITEMS, MAX_REPLY_WORDS, NAMELESS_GREETINGS,
    NAMES, OFFERS, PROBLEMS, REMEDIES, RUDE_CLOSINGS, STATEMENTS, TIMES, VAGUE_TIMES,
};

/// Who writes a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// The author of the base model's text: every habit is often bad (mean gold reward 0.39; 0.33 in the hard
    /// setting).
    Clerk,
    /// The expert: good, not perfect (mean gold reward 0.87, and 0.42 of the replies are perfect; 0.74 and 0.07 in
    /// the hard setting).
    Demonstrator,
    /// Every habit good: gold reward 1 always.
    Perfect,
}

/// How much imitation alone can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Setting {
    /// Demonstrators do everything well in most replies: an imitator that sharpens is nearly perfect.
    #[default]
    Easy,
    /// Two things are done well in a minority of replies only: an imitator that sharpens drops them.
    Hard,
}

/// A value for each habit: the probability that it is done well, or whether it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits<T> {
    pub(super) name: T,
    /// Of name, item and problem.
    pub(super) facts: [T; 3],
    pub(super) apology: T,
    pub(super) remedy: T,
    pub(super) when: T,
    pub(super) order: T,
    pub(super) blame: T,
    pub(super) closing: T,
    pub(super) filler: T,
    pub(super) repetition: T,
}

impl Writer {
    /// The probability that each habit is done well.
    fn habits(self, setting: Setting) -> Habits<f64> {
        let rare = setting == Setting::Hard;
        match self {
            Writer::Clerk if rare => {
                Habits { apology: 0.10, when: 0.10, ..Writer::Clerk.habits(Setting::Easy) }
            }
            Writer::Demonstrator if rare => {
                Habits { apology: 0.45, when: 0.35, ..Writer::Demonstrator.habits(Setting::Easy) }
            }
            Writer::Clerk => Habits {
                name: 0.40,
                facts: [0.95; 3],
                apology: 0.35,
                remedy: 0.25,
                when: 0.35,
                order: 0.60,
                blame: 0.60,
                closing: 0.35,
                filler: 0.45,
                repetition: 0.70,
            },
            Writer::Demonstrator => Habits { facts: [0.99; 3], remedy: 0.95, ..Habits::all(0.90) },
            Writer::Perfect => Habits::all(1.0),
        }
    }
}

impl<T: Copy> Habits<T> {
    pub(super) fn all(value: T) -> Self {
        Habits {
            name: value,
            facts: [value; 3],
            apology: value,
            remedy: value,
            when: value,
            order: value,
            blame: value,
            closing: value,
            filler: value,
            repetition: value,
        }
    }
}

impl Habits<f64> {
    fn draw<R: Rng + ?Sized>(&self, rng: &mut R) -> Habits<bool> {
        Habits {
            name: rng.random_bool(self.name),
            facts: self.facts.map(|p| rng.random_bool(p)),
            apology: rng.random_bool(self.apology),
            remedy: rng.random_bool(self.remedy),
            when: rng.random_bool(self.when),
            order: rng.random_bool(self.order),
            blame: rng.random_bool(self.blame),
            closing: rng.random_bool(self.closing),
            filler: rng.random_bool(self.filler),
            repetition: rng.random_bool(self.repetition),
        }
    }
}

/// A reply of `writer` to `note`: words joined by single spaces, the last one ".", at most
/// [`MAX_REPLY_WORDS`] of them.
pub fn reply<R: Rng + ?Sized>(
    note: &Note,
    writer: Writer,
    setting: Setting,
    rng: &mut R,
) -> String {
    let habits = writer.habits(setting);
    loop {
        let done_well = habits.draw(rng);
        let reply = compose(note, &done_well, rng);
        if reply.split(' ').count() <= MAX_REPLY_WORDS {
            return reply;
        }
    }
}

/// A reply with the given habits done well and the others badly, of any length; only the wording is
/// drawn.
pub(super) fn compose<R: Rng + ?Sized>(
    note: &Note,
    done_well: &Habits<bool>,
    rng: &mut R,
) -> String {
    let name = fact(&NAMES, note.name, done_well.facts[0], rng);
    let greeting = if done_well.name {
        pick(&GREETINGS, rng).replace("NAME", name)
    } else {
        pick(&NAMELESS_GREETINGS, rng).to_owned()
    };

    let mut sentences = body(note, done_well, rng);
    if !done_well.blame {
        insert_anywhere(&mut sentences, pick(&BLAME, rng), rng);
    }
    if !done_well.filler {
        let first = rng.random_range(0..FILLERS.len());
        insert_anywhere(&mut sentences, FILLERS[first], rng);
        if rng.random_bool(0.5) {
            let second = (first + rng.random_range(1..FILLERS.len())) % FILLERS.len();
            insert_anywhere(&mut sentences, FILLERS[second], rng);
        }
    }
    sentences.extend(closing(done_well.closing, rng));
    if !done_well.repetition {
        let at = rng.random_range(0..sentences.len());
        sentences.insert(at, sentences[at].clone());
    }

    sentences.insert(0, greeting);
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

/// Apology and remedy, in the order of the habits.
fn body<R: Rng + ?Sized>(note: &Note, done_well: &Habits<bool>, rng: &mut R) -> Vec<String> {
    let item = fact(&ITEMS, note.item, done_well.facts[1], rng);
    let problem = fact(&PROBLEMS, note.problem, done_well.facts[2], rng);
    let apology = pick(if done_well.apology { &APOLOGIES } else { &STATEMENTS }, rng)
        .replace("ITEM", item)
        .replace("PROBLEM", problem);

    let remedy = fact(&REMEDIES, note.problem, done_well.remedy, rng);
    let when = pick(if done_well.when { &TIMES[..] } else { &VAGUE_TIMES }, rng);
    let offer = pick(&OFFERS, rng)
        .replace("REMEDY", remedy)
        .replace(" WHEN", &if when.is_empty() { String::new() } else { format!(" {when}") });

    if done_well.order { vec![apology, offer] } else { vec![offer, apology] }
}

fn closing<R: Rng + ?Sized>(done_well: bool, rng: &mut R) -> Vec<String> {
    let polite = pick(&CLOSINGS, rng).to_owned();
    if done_well {
        return vec![polite];
    }
    let rude = pick(&RUDE_CLOSINGS, rng).to_owned();
    match rng.random_range(0..3) {
        0 => vec![],
        1 => vec![rude],
        _ => vec![polite, rude],
    }
}

/// The right choice, or one drawn from all.
fn fact<R: Rng + ?Sized>(
    all: &[&'static str],
    right: usize,
    done_well: bool,
    rng: &mut R,
) -> &'static str {
    if done_well { all[right] } else { pick(all, rng) }
}

fn pick<R: Rng + ?Sized>(from: &[&'static str], rng: &mut R) -> &'static str {
    from[rng.random_range(0..from.len())]
}

fn insert_anywhere<R: Rng + ?Sized>(sentences: &mut Vec<String>, sentence: &str, rng: &mut R) {
    let at = rng.random_range(0..=sentences.len());
    sentences.insert(at, sentence.to_owned());
}
