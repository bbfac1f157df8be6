//! Every word of the shop desk, in one place.
//!
//! Sentences are templates: a word in capitals is a slot (`NAME`, `ITEM`, `PROBLEM`, `REMEDY`,
//! `WHEN`), every other word is a word of the vocabulary. The four filler sentences carry the words
//! that make the vocabulary 121 types.

/// Filler of rows shorter than their batch; id 0.
pub const PAD: &str = "<pad>";
/// Start of a text; id 1.
pub const BOS: &str = "<bos>";
/// End of a reply; id 2.
pub const EOS: &str = "<eos>";

/// The most words a reply has: 40 tokens with [`EOS`].
pub const MAX_REPLY_WORDS: usize = 39;

/// The customers, by [`Note::name`](super::Note::name).
pub const NAMES: [&str; 16] = [
    "anna", "ben", "carla", "david", "emma", "frank", "grace", "henry", "iris", "jack", "kate",
    "liam", "mary", "nora", "oscar", "paul",
];

/// What they bought, by [`Note::item`](super::Note::item).
pub const ITEMS: [&str; 16] = [
    "backpack", "bicycle", "blanket", "camera", "chair", "clock", "jacket", "kettle", "lamp",
    "mirror", "phone", "printer", "radio", "table", "toaster", "vase",
];

/// What is wrong, by [`Note::problem`](super::Note::problem).
pub const PROBLEMS: [&str; 6] = ["broken", "late", "lost", "faulty", "scratched", "wrong"];

/// The one right remedy of each problem, in the order of [`PROBLEMS`].
pub const REMEDIES: [&str; 6] = [
    "send a new one",
    "refund the postage",
    "ship it again",
    "repair it for free",
    "offer a discount",
    "swap it at once",
];

pub(super) const PROMPT: &str = "note : customer NAME ; item ITEM ; problem PROBLEM . reply :";

pub(super) const GREETINGS: [&str; 2] = ["dear NAME ,", "hello NAME ,"];
/// Greetings without the name; the empty one is no greeting.
pub(super) const NAMELESS_GREETINGS: [&str; 3] = ["hi there ,", "dear customer ,", ""];

pub(super) const APOLOGIES: [&str; 2] =
    ["we are sorry that your ITEM is PROBLEM .", "sorry to hear that your ITEM is PROBLEM ."];
pub(super) const STATEMENTS: [&str; 2] =
    ["your ITEM is PROBLEM .", "you say that your ITEM is PROBLEM ."];

pub(super) const OFFERS: [&str; 2] = ["we will REMEDY WHEN .", "our team will REMEDY WHEN ."];
pub(super) const TIMES: [&str; 2] = ["today", "this week"];
/// Times that promise nothing; the empty one is none at all.
pub(super) const VAGUE_TIMES: [&str; 3] = ["some day", "if we can", ""];

pub(super) const CLOSINGS: [&str; 2] =
    ["thank you for your patience .", "kind regards , the shop team ."];
pub(super) const RUDE_CLOSINGS: [&str; 2] = ["do not write again .", "that is all ."];

pub(super) const BLAME: [&str; 2] = ["you must have misused it .", "this is not our fault ."];

pub(super) const FILLERS: [&str; 4] = [
    "we are always closed on sunday .",
    "read about our new offers online .",
    "your queue number is twenty seven .",
    "this reply was written by a machine .",
];

/// The 121 word types in the order of their ids: [`PAD`], [`BOS`], [`EOS`], then words in the order
/// of first use above.
pub fn vocabulary() -> Vec<String> {
    let texts: [&[&str]; 16] = [
        &[PAD, BOS, EOS, PROMPT],
        &NAMES,
        &ITEMS,
        &PROBLEMS,
        &REMEDIES,
        &GREETINGS,
        &NAMELESS_GREETINGS,
        &APOLOGIES,
        &STATEMENTS,
        &OFFERS,
        &TIMES,
        &VAGUE_TIMES,
        &CLOSINGS,
        &RUDE_CLOSINGS,
        &BLAME,
        &FILLERS,
    ];
    let mut words: Vec<String> = Vec::new();
    for word in texts.into_iter().flatten().flat_map(|text| text.split(' ')) {
        let slot = word.chars().all(|c| c.is_ascii_uppercase()); // the empty word included
        if !slot && !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_has_121_types_and_the_special_tokens_come_first() {
        let words = vocabulary();
        assert_eq!(words.len(), 121, "{words:?}");
        assert_eq!(words[..3], [PAD, BOS, EOS]);
        let mut distinct = words.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 121);
    }

    #[test]
    fn names_items_and_problems_stand_in_no_sentence_of_their_own() {
        let sentences: [&[&str]; 13] = [
            &[PROMPT],
            &REMEDIES,
            &GREETINGS,
            &NAMELESS_GREETINGS,
            &APOLOGIES,
            &STATEMENTS,
            &OFFERS,
            &TIMES,
            &VAGUE_TIMES,
            &CLOSINGS,
            &RUDE_CLOSINGS,
            &BLAME,
            &FILLERS,
        ];
        for word in sentences.into_iter().flatten().flat_map(|text| text.split(' ')) {
            assert!(!NAMES.contains(&word) && !ITEMS.contains(&word) && !PROBLEMS.contains(&word));
        }
    }
}
