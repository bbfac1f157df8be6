//! Batches by token budget, and shuffling from a seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Which rows go through the model together, and what the padding costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    /// Indices of the rows of each batch, shortest rows first.
    pub batches: Vec<Vec<usize>>,
    /// Real tokens over all batches.
    pub tokens: usize,
    /// Filler tokens over all batches, each batch padded to its longest row.
    pub padding: usize,
}

/// Groups rows of similar length so that each batch holds at most `max_rows` rows and
/// `rows · longest ≤ max_tokens`.
///
/// Rows are sorted by length (equal lengths keep their order), so padding is small; every row is in
/// exactly one batch. A row longer than `max_tokens` stands alone. `max_rows` of 0 counts as 1.
pub fn plan_batches(lengths: &[usize], max_rows: usize, max_tokens: usize) -> BatchPlan {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| lengths[row]);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for row in order {
        // Ascending lengths: the row that joins is the longest of its batch.
        let fits = |batch: &Vec<usize>| {
            batch.len() < max_rows && (batch.len() + 1).saturating_mul(lengths[row]) <= max_tokens
        };
        match batches.last_mut() {
            Some(batch) if fits(batch) => batch.push(row),
            _ => batches.push(vec![row]),
        }
    }
    let tokens = lengths.iter().fold(0usize, |sum, &length| sum.saturating_add(length));
    let slots = batches.iter().fold(0usize, |sum, batch| {
        let longest = batch.last().map_or(0, |&row| lengths[row]);
        sum.saturating_add(longest.saturating_mul(batch.len()))
    });
    BatchPlan { batches, tokens, padding: slots.saturating_sub(tokens) }
}

/// The numbers `0..n` in an order drawn from `seed`: Fisher–Yates on ChaCha8, the same on every
/// machine.
pub fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for last in (1..n).rev() {
        // Multiply-shift: the bias is below n / 2^64.
        let drawn = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, drawn as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_of_similar_length_share_a_batch_and_padding_is_counted() {
        let plan = plan_batches(&[5, 1, 4, 1, 9], 2, 10);
        assert_eq!(plan.batches, vec![vec![1, 3], vec![2, 0], vec![4]]);
        assert_eq!((plan.tokens, plan.padding), (20, 1));
    }

    #[test]
    fn shuffling_depends_on_the_seed_alone() {
        assert_eq!(shuffled(50, 7), shuffled(50, 7));
        assert_ne!(shuffled(50, 7), shuffled(50, 8));
        assert!(shuffled(0, 1).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

        #[test]
        fn every_row_is_planned_once_within_the_budget(
            lengths in prop::collection::vec(0usize..40, 0..60),
            max_rows in 0usize..9,
            max_tokens in 0usize..120,
        ) {
            let plan = plan_batches(&lengths, max_rows, max_tokens);
            let mut rows: Vec<usize> = plan.batches.iter().flatten().copied().collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            let mut padding = 0;
            for batch in &plan.batches {
                let longest = batch.iter().map(|&row| lengths[row]).max().unwrap();
                prop_assert!(batch.len() <= max_rows.max(1));
                prop_assert!(batch.len() == 1 || batch.len() * longest <= max_tokens);
                padding += batch.iter().map(|&row| longest - lengths[row]).sum::<usize>();
            }
            prop_assert_eq!(plan.padding, padding);
        }

        #[test]
        fn shuffled_is_a_permutation(n in 0usize..200, seed: u64) {
            let mut order = shuffled(n, seed);
            order.sort_unstable();
            prop_assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
    }
}
