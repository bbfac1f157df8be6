//! Accuracy on preference pairs: how often a score puts the preferred completion above the other.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use revealed_data::Preference;
use serde::Serialize;

use crate::stats::{Z_95, wilson};

/// How many of some pairs are in order.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Accuracy {
    /// Pairs in order; a tie counts half.
    pub correct: f64,
    /// All pairs.
    pub pairs: usize,
}

impl Accuracy {
    /// Of scores `[chosen, rejected]`.
    pub fn of<'a>(scores: impl IntoIterator<Item = &'a [f64; 2]>) -> Self {
        scores.into_iter().fold(Self::default(), |sum, pair| Self {
            correct: sum.correct + in_order(*pair),
            pairs: sum.pairs + 1,
        })
    }

    /// Between 0 and 1; NaN without pairs.
    pub fn share(&self) -> f64 {
        self.correct / self.pairs as f64
    }

    /// Wilson's 95 % interval of the share.
    pub fn interval(&self) -> (f64, f64) {
        wilson(self.correct, self.pairs, Z_95)
    }
}

/// 1 for scores `[chosen, rejected]` in order, 0 for those that are not, ½ for a tie.
pub fn in_order([chosen, rejected]: [f64; 2]) -> f64 {
    if chosen == rejected { 0.5 } else { f64::from(u8::from(chosen > rejected)) }
}

/// What the length rule scores a pair: the characters of both sides, so that the longer one wins.
pub fn lengths(pair: &Preference) -> [f64; 2] {
    [&pair.chosen, &pair.rejected].map(|text| text.chars().count() as f64)
}

/// At most `count` of the pairs, drawn by a seed.
pub fn some(mut pairs: Vec<Preference>, count: usize, seed: u64) -> Vec<Preference> {
    if count < pairs.len() {
        pairs.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        pairs.truncate(count);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_counts_half() {
        assert_eq!([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]].map(in_order), [1.0, 0.0, 0.5]);
        let accuracy = Accuracy::of(&[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [3.0, -1.0]]);
        assert_eq!(accuracy, Accuracy { correct: 2.5, pairs: 4 });
        assert_eq!(accuracy.share(), 0.625);
        assert_eq!(accuracy.interval(), wilson(2.5, 4, Z_95));
        assert!(Accuracy::default().share().is_nan());
    }

    fn pair(id: usize) -> Preference {
        Preference {
            id: id.to_string(),
            subset: None,
            prompt: revealed_data::Prompt::Text("?".into()),
            chosen: "né".into(),
            rejected: "ne".into(),
        }
    }

    #[test]
    fn some_pairs_are_other_pairs_with_another_seed() {
        let all: Vec<Preference> = (0..50).map(pair).collect();
        let of = |count, seed| some(all.clone(), count, seed);
        assert_eq!(of(50, 0), all);
        let (a, b) = (of(10, 0), of(10, 1));
        assert_eq!((a.len(), b.len()), (10, 10));
        assert_eq!(a, of(10, 0));
        assert_ne!(a, b);
        let ids: std::collections::HashSet<&str> = a.iter().map(|pair| pair.id.as_str()).collect();
        assert_eq!(ids.len(), 10);
    }

    #[test]
    fn the_length_rule_counts_characters_and_not_bytes() {
        assert_eq!(lengths(&pair(0)), [2.0, 2.0]);
    }
}
