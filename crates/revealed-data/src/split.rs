//! Train and held-out demonstrations, apart by prompt.

use std::collections::{BTreeMap, HashSet};

use sha2::{Digest, Sha256};

use crate::conversation::Prompt;
use crate::dataset::Demonstration;

/// Demonstrations to learn from and demonstrations to judge by; no prompt is on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Demonstrations to learn from, in their given order.
    pub train: Vec<Demonstration>,
    /// Demonstrations held out, in their given order.
    pub held_out: Vec<Demonstration>,
}

/// Holds out `held_out` demonstrations by prompt.
///
/// Prompts are ranked by `sha256(seed, prompt)` and held out from the top until their demonstrations
/// number at least `held_out` (more only when the last prompt has several). So the side of a prompt
/// depends on the set of demonstrations and the seed, not on their order. With `held_out` at or above
/// the number of demonstrations nothing is left to train on; the caller decides whether that is wrong.
pub fn split(demonstrations: Vec<Demonstration>, held_out: usize, seed: u64) -> Split {
    let (train, held_out) = split_by(demonstrations, |row| &row.prompt, held_out, seed);
    Split { train, held_out }
}

/// As [`split`], for rows of any type with a prompt; returns the rows to learn from and the held-out rows.
pub fn split_by<T>(
    rows: Vec<T>,
    prompt: impl Fn(&T) -> &Prompt,
    held_out: usize,
    seed: u64,
) -> (Vec<T>, Vec<T>) {
    let mut rows_by_prompt: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let keys: Vec<[u8; 32]> = rows.iter().map(|row| rank(prompt(row), seed)).collect();
    for key in &keys {
        *rows_by_prompt.entry(*key).or_default() += 1;
    }
    let mut taken = 0;
    let mut chosen = HashSet::new();
    for (key, rows) in rows_by_prompt {
        if taken >= held_out {
            break;
        }
        taken += rows;
        chosen.insert(key);
    }
    let (held, train): (Vec<_>, Vec<_>) =
        rows.into_iter().zip(keys).partition(|(_, key)| chosen.contains(key));
    let rows = |side: Vec<(T, [u8; 32])>| side.into_iter().map(|(row, _)| row).collect();
    (rows(train), rows(held))
}

/// `sha256(seed, prompt)`, every text behind its length so that two prompts never share their bytes.
pub(crate) fn rank(prompt: &Prompt, seed: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    let mut text = |value: &str| {
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value.as_bytes());
    };
    match prompt {
        Prompt::Text(value) => {
            text("text");
            text(value);
        }
        Prompt::Chat(chat) => {
            text("messages");
            for message in &chat.messages {
                text(message.role());
                text(&message.text());
            }
            // Plain conversations keep the hash that they had before other fields were read.
            if !chat.is_plain() {
                text(&serde_json::to_string(chat).unwrap_or_default());
            }
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demonstrations(prompts: &[u8]) -> Vec<Demonstration> {
        let row = |(index, prompt): (usize, &u8)| Demonstration {
            id: index.to_string(),
            source: None,
            place: None,
            completion_ids: None,
            prompt: Prompt::Text(prompt.to_string()),
            completion: index.to_string().into(),
        };
        prompts.iter().enumerate().map(row).collect()
    }

    fn ids(side: &[Demonstration]) -> HashSet<String> {
        side.iter().map(|d| d.id.clone()).collect()
    }

    #[test]
    fn the_seed_decides_which_prompts_are_held_out() {
        let rows = demonstrations(&(0..100).collect::<Vec<u8>>());
        let one = split(rows.clone(), 20, 1);
        assert_eq!((one.train.len(), one.held_out.len()), (80, 20));
        assert_eq!(one, split(rows.clone(), 20, 1));
        assert_ne!(ids(&one.held_out), ids(&split(rows, 20, 2).held_out));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn split_keeps_prompts_apart_whatever_the_order(
            prompts in prop::collection::vec(0u8..12, 0..40),
            held_out in 0usize..40,
            seed: u64,
        ) {
            let rows = demonstrations(&prompts);
            let sides = split(rows.clone(), held_out, seed);
            prop_assert_eq!(sides.train.len() + sides.held_out.len(), rows.len());
            prop_assert!(sides.held_out.len() >= held_out.min(rows.len()));
            let held: HashSet<String> =
                sides.held_out.iter().map(|d| format!("{:?}", d.prompt)).collect();
            let apart = sides.train.iter().all(|d| !held.contains(&format!("{:?}", d.prompt)));
            prop_assert!(apart);
            let mut reversed = rows;
            reversed.reverse();
            let again = split(reversed, held_out, seed);
            prop_assert_eq!(ids(&again.held_out), ids(&sides.held_out));
        }
    }
}
