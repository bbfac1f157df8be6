//! Accuracy on preference pairs: how often a score puts the preferred completion above the other.

use std::collections::HashMap;
use std::hash::Hash;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use revealed_data::Preference;
use serde::Serialize;

use crate::stats::{Z_95, t_975, wilson};

/// How many pairs a score orders as their labels do.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Accuracy {
    /// Pairs in order; a tie counts half.
    pub correct: f64,
    /// All pairs.
    pub pairs: usize,
    /// Independent pairs with the same variance: fewer than `pairs` if pairs share a prompt.
    pub effective: f64,
    /// The same if all pairs of a prompt were right or wrong together.
    pub fewest: f64,
    /// Different prompts.
    pub prompts: usize,
}

impl Accuracy {
    /// From counts of independent pairs.
    pub fn of_independent(correct: f64, pairs: usize) -> Self {
        let all = pairs as f64;
        Self { correct, pairs, effective: all, fewest: all, prompts: pairs }
    }

    /// Of scores `[chosen, rejected]`, each with the prompt that its pair belongs to.
    ///
    /// Pairs of one prompt are right or wrong together, so the variance of the share `p` is that of a mean over
    /// `G` prompts, `V = G/(G − 1) · Σ_g (Σ_{i∈g} (c_i − p))² / n²`, and `n_eff = p(1 − p)/V`, at most `n`. Whatever `V` is, that of pairs
    /// with `n_g` to a prompt is no larger than that of `n²/Σ_g n_g²` independent ones; with no variance between prompts to go by,
    /// `n_eff` is this.
    pub fn of<'a, P: Eq + Hash>(pairs: impl IntoIterator<Item = (P, &'a [f64; 2])>) -> Self {
        Self::of_outcomes(pairs.into_iter().map(|(prompt, scores)| (prompt, in_order(*scores))))
    }

    /// Of outcomes between 0 and 1, each with the prompt that it belongs to; otherwise as [`of`](Self::of).
    pub fn of_outcomes<P: Eq + Hash>(outcomes: impl IntoIterator<Item = (P, f64)>) -> Self {
        let mut places: HashMap<P, usize> = HashMap::new();
        let mut prompts: Vec<(f64, usize)> = Vec::new();
        for (prompt, outcome) in outcomes {
            let place = *places.entry(prompt).or_insert(prompts.len());
            if place == prompts.len() {
                prompts.push((0.0, 0));
            }
            prompts[place] = (prompts[place].0 + outcome, prompts[place].1 + 1);
        }
        Self::of_prompts(&prompts)
    }

    /// Of each prompt's sum of outcomes and their number; otherwise as [`of`](Self::of).
    pub fn of_prompts(prompts: &[(f64, usize)]) -> Self {
        let (correct, count) = prompts
            .iter()
            .fold((0.0, 0), |(correct, count), group| (correct + group.0, count + group.1));
        let (n, groups) = (count as f64, prompts.len() as f64);
        let share = correct / n;
        let squares: f64 =
            prompts.iter().map(|(right, size)| (right - share * *size as f64).powi(2)).sum();
        let fewest = n * n / prompts.iter().map(|(_, size)| (*size as f64).powi(2)).sum::<f64>();
        let variance = groups / (groups - 1.0).max(1.0) * squares / (n * n);
        let effective = match share * (1.0 - share) / variance {
            // Each its own prompt: as many as there are, and no estimate.
            _ if prompts.len() == count => n,
            size if size.is_finite() && size > 0.0 => size.min(n),
            _ => fewest,
        };
        Self { correct, pairs: count, effective, fewest, prompts: prompts.len() }
    }

    /// Between 0 and 1; NaN without pairs.
    pub fn share(&self) -> f64 {
        self.correct / self.pairs as f64
    }

    /// Wilson's 95 % interval of the share, of as many trials as there are independent pairs. Where pairs share prompts
    /// the variance is itself an estimate from these, so the quantile is Student's. With few
    /// prompts that interval is very wide, and that of `fewest` trials, which estimates no variance, may be narrower: the
    /// narrower of the two is returned.
    pub fn interval(&self) -> (f64, f64) {
        if self.pairs == 0 {
            return (0.0, 1.0);
        }
        let of = |trials: f64, quantile| {
            let trials = ((trials + 1e-9).floor() as usize).clamp(1, self.pairs);
            wilson((self.share() * trials as f64).min(trials as f64), trials, quantile)
        };
        let surely = of(self.fewest, Z_95);
        if self.prompts == self.pairs || self.prompts < 2 {
            return surely;
        }
        let estimated = of(self.effective, t_975(self.prompts - 1));
        let width = |(low, high): (f64, f64)| high - low;
        if width(estimated) < width(surely) { estimated } else { surely }
    }
}

/// 1 for scores `[chosen, rejected]` in order, 0 for those that are not, ½ for a tie.
pub fn in_order([chosen, rejected]: [f64; 2]) -> f64 {
    if chosen == rejected { 0.5 } else { f64::from(u8::from(chosen > rejected)) }
}

/// Share of pairs in which the value of `a` is above that of `b`, over all pairs of a prompt; ties count half, so
/// `win_rate(b, a) = 1 − win_rate(a, b)`. Each prompt counts by its number of pairs.
pub fn win_rate<'a>(prompts: impl IntoIterator<Item = (&'a [f64], &'a [f64])>) -> Accuracy {
    let groups: Vec<(f64, usize)> = prompts
        .into_iter()
        .map(|(a, b)| {
            let wins = a.iter().flat_map(|a| b.iter().map(|b| in_order([*a, *b]))).sum();
            (wins, a.len() * b.len())
        })
        .collect();
    Accuracy::of_prompts(&groups)
}

/// The length baseline's scores of a pair: the characters of both answers.
pub fn lengths(pair: &Preference) -> [f64; 2] {
    [&pair.chosen, &pair.rejected].map(|answer| answer.text().chars().count() as f64)
}

/// At most `count` of the rows, drawn by a seed; all of them, in order, if there are no more.
pub fn subsample<T>(mut rows: Vec<T>, count: usize, seed: u64) -> Vec<T> {
    if count < rows.len() {
        rows.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        rows.truncate(count);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_counts_half() {
        assert_eq!([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]].map(in_order), [1.0, 0.0, 0.5]);
        let scores = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [3.0, -1.0]];
        let accuracy = Accuracy::of(scores.iter().enumerate());
        assert_eq!((accuracy.correct, accuracy.pairs), (2.5, 4));
        assert_eq!(accuracy.share(), 0.625);
        let counted = Accuracy::of_independent(2.5, 4);
        assert_eq!(counted.interval(), wilson(2.5, 4, Z_95));
        assert!(Accuracy::default().share().is_nan());
    }

    #[test]
    fn pairs_of_one_prompt_are_no_more_than_one_pair() {
        // 40 pairs, 24 in order: each its own prompt, or four alike a prompt.
        let scores = |index: usize| if index < 24 { [1.0, 0.0] } else { [0.0, 1.0] };
        let all: Vec<[f64; 2]> = (0..40).map(scores).collect();
        let apart = Accuracy::of(all.iter().enumerate());
        let together = Accuracy::of(all.iter().enumerate().map(|(i, s)| (i / 4, s)));
        assert_eq!((apart.share(), together.share()), (0.6, 0.6));
        // Each its own prompt: Wilson's interval of 40, as it is.
        assert_eq!(apart.effective, 40.0);
        assert_eq!(apart.interval(), wilson(24.0, 40, Z_95));
        assert!((together.effective - 9.0).abs() < 1e-9, "{}", together.effective);
        // Four alike are one: ten prompts are as sure as ten pairs.
        assert_eq!(together.interval(), wilson(6.0, 10, Z_95));
        // Two prompts that happen to agree are no evidence that pairs are independent.
        let two = Accuracy::of(all.iter().enumerate().map(|(i, s)| (i % 2, s)));
        let (low, high) = two.interval();
        assert!(low < 0.2 && high > 0.9, "{low} {high}");
        // All right: as many as there are prompts.
        let right = [[1.0, 0.0]; 8];
        let right = Accuracy::of(right.iter().enumerate().map(|(i, s)| (i / 2, s)));
        assert_eq!((right.share(), right.effective), (1.0, 4.0));
        assert_eq!(Accuracy::of(std::iter::empty::<(u8, &[f64; 2])>()).interval(), (0.0, 1.0));
    }

    #[test]
    fn more_pairs_and_more_prompts_never_say_less() {
        let of = |prompts: &[(f64, usize)]| Accuracy::of_prompts(prompts).interval();
        let one = wilson(0.0, 1, Z_95);
        assert_eq!((of(&[(0.0, 1)]), of(&[(0.0, 2)]), of(&[(0.0, 9)])), (one, one, one));
        // One prompt is one observation, whatever its share.
        assert_eq!(of(&[(1.0, 2)]), wilson(0.5, 1, Z_95));
        // Two prompts are two at most, and of unequal ones the larger counts for more.
        assert_eq!(of(&[(0.0, 2), (0.0, 2)]), wilson(0.0, 2, Z_95));
        assert_eq!(of(&[(2.0, 2), (0.0, 2)]), wilson(1.0, 2, Z_95));
        assert_eq!(of(&[(0.0, 9), (0.0, 1)]), wilson(0.0, 1, Z_95));
        // Pairs of one prompt that differ as much as those of two: the estimate is the narrower.
        let apart = Accuracy::of_prompts(
            &vec![(1.0, 2); 15].into_iter().chain(vec![(2.0, 2); 15]).collect::<Vec<_>>(),
        );
        assert!(apart.effective > apart.fewest);
        let (low, high) = apart.interval();
        let (least, most) = wilson(0.75 * 30.0, 30, Z_95);
        assert!(least < low && high < most, "{low} {high}");
    }

    fn pair(id: usize) -> Preference {
        Preference {
            id: id.to_string(),
            subset: None,
            place: None,
            prompt: revealed_data::Prompt::Text("?".into()),
            chosen: "né".into(),
            rejected: "ne".into(),
        }
    }

    #[test]
    fn some_pairs_are_other_pairs_with_another_seed() {
        let all: Vec<Preference> = (0..50).map(pair).collect();
        let of = |count, seed| subsample(all.clone(), count, seed);
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
