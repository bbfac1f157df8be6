//! Expected score of the best of n samples, from N samples, averaged over all subsets of size n.
//!
//! Of N samples in ascending order of score, the i-th is the best of a set of n drawn without replacement with probability
//! `w_i = C(i − 1, n − 1) / C(N, n)`. `Σ_i w_i f_(i)` is then the mean over all sets of n, and unbiased for the best of
//! n fresh samples. Source of the estimator: Appendix I of <https://arxiv.org/abs/2112.09332>.

/// `w_i` for i = 1 … N: by `w_N = n/N` and `w_{i−1} = w_i · (i − n)/(i − 1)`, which neither overflows nor cancels.
///
/// # Panics
/// If `n` is 0 or above `total`.
pub fn weights(total: usize, n: usize) -> Vec<f64> {
    assert!((1..=total).contains(&n), "best of {n} needs at least {n} samples, found {total}");
    let mut weights = vec![0.0; total];
    let mut weight = n as f64 / total as f64;
    for i in (n..=total).rev() {
        weights[i - 1] = weight;
        weight *= (i - n) as f64 / (i as f64 - 1.0).max(1.0);
    }
    weights
}

/// The expected score of the best of `n` of these samples, by score.
///
/// # Panics
/// As [`weights`].
pub fn expected_best(scores: &[f64], n: usize) -> f64 {
    expected_chosen(scores, scores, n)
}

/// The expected value of the sample with the best score of `n`: choose by one reward, evaluate by another. Equal scores are
/// equally likely to be chosen.
///
/// # Panics
/// As [`weights`], and if the lengths differ.
pub fn expected_chosen(scores: &[f64], values: &[f64], n: usize) -> f64 {
    assert_eq!(scores.len(), values.len(), "one value a score");
    let weights = weights(scores.len(), n);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[i].total_cmp(&scores[j]));
    let mut before = 0;
    let mut expected = 0.0;
    for tied in order.chunk_by(|&i, &j| scores[i] == scores[j]) {
        let weight: f64 = weights[before..before + tied.len()].iter().sum();
        let mean = tied.iter().map(|&at| values[at]).sum::<f64>() / tied.len() as f64;
        expected += weight * mean;
        before += tied.len();
    }
    expected
}

/// `log n − (n − 1)/n`, in nats: an upper bound of KL(best of n ‖ the model that was sampled), close if scores seldom tie and no
/// single completion is likely. Source: <https://arxiv.org/abs/2401.01879>, which proves the bound.
pub fn kl_bound(n: usize) -> f64 {
    let n = n as f64;
    n.ln() - (n - 1.0) / n
}

/// 1, 2, 4, … up to `most`.
pub fn doublings(most: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1usize), |n| n.checked_mul(2)).take_while(move |n| *n <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean over every set of `n`, a set's best being the mean value of those with its highest score.
    fn by_enumeration(scores: &[f64], values: &[f64], n: usize) -> f64 {
        let (mut sum, mut sets) = (0.0, 0.0);
        for set in 0u32..1 << scores.len() {
            if set.count_ones() as usize != n {
                continue;
            }
            let members: Vec<usize> = (0..scores.len()).filter(|i| set >> i & 1 == 1).collect();
            let best = members.iter().map(|&i| scores[i]).fold(f64::NEG_INFINITY, f64::max);
            let ties: Vec<usize> = members.into_iter().filter(|&i| scores[i] == best).collect();
            sum += ties.iter().map(|&i| values[i]).sum::<f64>() / ties.len() as f64;
            sets += 1.0;
        }
        sum / sets
    }

    proptest::proptest! {
        #[test]
        fn weights_give_the_mean_over_all_sets(
            // Few different scores, so that many tie.
            rows in proptest::collection::vec((0u8..6, -1.0f64..1.0), 1..10),
            n in 1usize..10,
        ) {
            let n = n.min(rows.len());
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
            let values: Vec<f64> = rows.iter().map(|row| row.1).collect();
            let found = expected_chosen(&scores, &values, n);
            let wanted = by_enumeration(&scores, &values, n);
            proptest::prop_assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
            let best = by_enumeration(&scores, &scores, n);
            proptest::prop_assert!((expected_best(&scores, n) - best).abs() < 1e-12);
        }
    }

    #[test]
    fn weights_sum_to_one_for_as_many_samples_as_anyone_draws() {
        for (total, n) in [(1, 1), (64, 1), (64, 64), (1000, 3), (100_000, 512), (100_000, 99_999)]
        {
            let weights = weights(total, n);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{total} {n}");
            assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)));
        }
    }

    #[test]
    fn best_of_one_is_the_mean_and_best_of_all_the_maximum() {
        let scores = [0.5, -2.0, 3.0, 1.0];
        assert!((expected_best(&scores, 1) - 0.625).abs() < 1e-12);
        assert_eq!(expected_best(&scores, 4), 3.0);
    }

    #[test]
    #[should_panic(expected = "best of 3 needs at least 3 samples, found 2")]
    fn more_than_there_are_cannot_be_drawn() {
        weights(2, 3);
    }

    #[test]
    fn the_bound_is_0_for_one_and_grows() {
        assert_eq!(kl_bound(1), 0.0);
        // ln 4 − 3/4.
        assert!((kl_bound(4) - 0.636_294_361_119_890_6).abs() < 1e-12);
        assert!(doublings(64).zip(doublings(64).skip(1)).all(|(a, b)| kl_bound(a) < kl_bound(b)));
        assert_eq!(doublings(20).collect::<Vec<_>>(), [1, 2, 4, 8, 16]);
    }
}
