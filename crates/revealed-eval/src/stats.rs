//! Small statistics for tables of results: free functions of numbers, all means over every value
//! given.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// The standard normal quantile of a two-sided 95 % interval.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// Wilson's score interval `(low, high)` of a proportion `p̂ = successes / n`:
/// `(p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n)`.
///
/// `successes` may be fractional: ties count half. Without trials the interval is `(0, 1)`. Source:
/// method 3 of Newcombe, Statistics in Medicine 17 (1998), 857–872.
///
/// # Panics
/// If `successes` is outside `[0, n]`.
pub fn wilson(successes: f64, n: usize, z: f64) -> (f64, f64) {
    let trials = n as f64;
    assert!(
        (0.0..=trials).contains(&successes),
        "successes {successes} must be between 0 and {n} trials"
    );
    if n == 0 {
        return (0.0, 1.0);
    }
    let p = successes / trials;
    let centre = p + z * z / (2.0 * trials);
    let half = z * (p * (1.0 - p) / trials + z * z / (4.0 * trials * trials)).sqrt();
    let scale = 1.0 + z * z / trials;
    // Where p is 0 or 1 so is an end, which rounding may miss by an ulp.
    let low = if successes == 0.0 { 0.0 } else { (centre - half) / scale };
    let high = if successes == trials { 1.0 } else { (centre + half) / scale };
    (low.max(0.0), high.min(1.0))
}

/// The mean; NaN without values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean and the standard deviation with `n − 1` in its denominator.
///
/// The mean of no values and the deviation of fewer than two are NaN.
pub fn mean_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = mean(values);
    if values.len() < 2 {
        return (mean, f64::NAN);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

/// The two-sided 95 % interval `(low, high)` of a mean, `x̄ ± t₀.₉₇₅(n − 1) · s / √n`; NaN for
/// fewer than two values.
pub fn mean_ci95(values: &[f64]) -> (f64, f64) {
    let (mean, sd) = mean_sd(values);
    if values.len() < 2 {
        return (f64::NAN, f64::NAN);
    }
    let half = t_975(values.len() - 1) * sd / (values.len() as f64).sqrt();
    (mean - half, mean + half)
}

/// The two-sided 95 % interval `(low, high)` of the mean of `n` values that lie in [0, 1], or hardly outside: as if `z²/2` more of
/// them were 0 and `z²/2` were 1, so that it has a width where all agree. Of values that are 0 or 1 it is Agresti and
/// Coull's (The American Statistician 52 (1998), 119–126). NaN without values.
pub fn bounded_ci95(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let more = Z_95 * Z_95;
    let n = values.len() as f64 + more;
    let mean = (values.iter().sum::<f64>() + more / 2.0) / n;
    let own: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let added = more / 2.0 * (mean.powi(2) + (1.0 - mean).powi(2));
    let half = Z_95 * ((own + added) / n / n).sqrt();
    (mean - half, mean + half)
}

/// The two-sided 95 % interval `(low, high)` of the mean of values of which those of one cluster go together,
/// `x̄ ± t₀.₉₇₅(G − 1) · √V` with `V = G/(G − 1) · Σ_g (Σ_{i∈g} (x_i − x̄))² / n²` over `G` clusters; [`mean_ci95`] where
/// every cluster has one value. NaN for fewer than two clusters.
pub fn clustered_ci95<C: Eq + Hash>(values: &[(C, f64)]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|(_, value)| value).sum::<f64>() / n;
    let mut sums: HashMap<&C, f64> = HashMap::new();
    for (cluster, value) in values {
        *sums.entry(cluster).or_default() += value - mean;
    }
    if sums.len() < 2 {
        return (f64::NAN, f64::NAN);
    }
    let groups = sums.len() as f64;
    let squares: f64 = sums.values().map(|sum| sum * sum).sum();
    let half = t_975(sums.len() - 1) * (groups / (groups - 1.0) * squares).sqrt() / n;
    (mean - half, mean + half)
}

/// The 0.975 quantile of Student's t: the usual printed table to 30 degrees of freedom, beyond it
/// the expansion in `1/degrees` (Abramowitz and Stegun 26.7.5), good to 1e-4 there.
pub fn t_975(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    if let Some(quantile) = degrees.checked_sub(1).and_then(|at| TABLE.get(at)) {
        return *quantile;
    }
    let (z, v) = (Z_95, degrees as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    z + first / v + second / (v * v)
}

/// Distinct-n: the different runs of `n` tokens over all such runs, counted across all texts, in
/// [0, 1].
///
/// A run does not cross texts. NaN if no text has `n` tokens. Source:
/// <https://arxiv.org/abs/1510.03055>.
///
/// # Panics
/// If `n` is 0.
pub fn distinct_n<T: Eq + Hash, S: AsRef<[T]>>(texts: &[S], n: usize) -> f64 {
    let runs = || texts.iter().flat_map(|text| text.as_ref().windows(n));
    let different: HashSet<&[T]> = runs().collect();
    different.len() as f64 / runs().count() as f64
}

/// Spearman's rank correlation: Pearson's correlation of the ranks, ties sharing their mean rank.
///
/// NaN where it is undefined: fewer than two values, a constant side, or a NaN among the values.
///
/// # Panics
/// If the lengths differ.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "spearman needs two values a row");
    if a.iter().chain(b).any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let (a, b) = (ranks(a), ranks(b));
    let centre = (a.len() as f64 + 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - centre) * (y - centre)).sum()
    };
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// The rank of each value from 1, equal values sharing the mean of their places.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].partial_cmp(&values[j]).unwrap_or(Ordering::Equal));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let rank = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        for &at in tied {
            ranks[at] = rank;
        }
        before += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn wilson_gives_the_intervals_newcombe_printed() {
        // Table I of Newcombe (1998), method 3; four printed decimals.
        let printed = [
            (81.0, 263, 0.2553, 0.3662),
            (15.0, 148, 0.0624, 0.1605),
            (0.0, 20, 0.0000, 0.1611),
            (1.0, 29, 0.0061, 0.1718),
        ];
        for (successes, n, low, high) in printed {
            let interval = wilson(successes, n, Z_95);
            assert_abs_diff_eq!(interval.0, low, epsilon = 5.1e-5);
            assert_abs_diff_eq!(interval.1, high, epsilon = 5.1e-5);
        }
    }

    #[test]
    fn wilson_knows_nothing_without_trials_and_mirrors_failures() {
        assert_eq!(wilson(0.0, 0, Z_95), (0.0, 1.0));
        let (low, high) = wilson(3.5, 10, Z_95);
        let (mirrored_low, mirrored_high) = wilson(6.5, 10, Z_95);
        assert_abs_diff_eq!(low, 1.0 - mirrored_high, epsilon = 1e-12);
        assert_abs_diff_eq!(high, 1.0 - mirrored_low, epsilon = 1e-12);
        assert_abs_diff_eq!(wilson(10.0, 10, Z_95).1, 1.0, epsilon = 1e-12);
    }

    #[test]
    fn an_interval_of_none_begins_at_0_and_one_of_all_ends_at_1() {
        for n in 1..200 {
            for z in [Z_95, t_975(3)] {
                assert_eq!((wilson(0.0, n, z).0, wilson(n as f64, n, z).1), (0.0, 1.0), "{n}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "must be between 0 and 3")]
    fn wilson_refuses_more_successes_than_trials() {
        wilson(4.0, 3, Z_95);
    }

    #[test]
    fn mean_and_deviation_of_a_textbook_sample() {
        // Squares of the deviations sum to 32.
        let (mean, sd) = mean_sd(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(mean, 5.0);
        assert_abs_diff_eq!(sd, (32.0_f64 / 7.0).sqrt(), epsilon = 1e-12);
        assert!(mean_sd(&[]).0.is_nan());
        assert!(mean_sd(&[1.0]).1.is_nan());
    }

    #[test]
    fn the_interval_of_a_mean_uses_student_for_few_values() {
        // n = 5, mean 3, s = √2.5, t = 2.776: half-width 2.776 · 0.70711.
        let (low, high) = mean_ci95(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_abs_diff_eq!(low, 3.0 - 1.96293, epsilon = 1e-4);
        assert_abs_diff_eq!(high, 3.0 + 1.96293, epsilon = 1e-4);
        assert!(mean_ci95(&[1.0]).0.is_nan());
    }

    #[test]
    fn the_interval_of_bounded_values_holds_their_mean_and_has_a_width() {
        // Agresti and Coull's for 3 of 10, by hand: p̃ = 4.9207/13.8415, half = 1.95996 √(p̃ (1 − p̃)/13.8415).
        let three: Vec<f64> = (0..10).map(|at| f64::from(u8::from(at < 3))).collect();
        let (low, high) = bounded_ci95(&three);
        assert_abs_diff_eq!(low, 0.10334, epsilon = 1e-4);
        assert_abs_diff_eq!(high, 0.60767, epsilon = 1e-4);
        for value in [0.0, 0.3, 0.6, 1.0, 1.01, -0.01] {
            for n in [1, 2, 50] {
                let (low, high) = bounded_ci95(&vec![value; n]);
                assert!(low < value && value < high, "{value} {n}: {low} {high}");
            }
        }
        assert!(bounded_ci95(&[]).0.is_nan());
    }

    #[test]
    fn the_interval_of_clusters_is_that_of_a_mean_where_each_has_one_value() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        let (low, high) = mean_ci95(&values);
        let alone: Vec<(usize, f64)> = values.into_iter().enumerate().collect();
        let (a, b) = clustered_ci95(&alone);
        assert_abs_diff_eq!(a, low, epsilon = 1e-12);
        assert_abs_diff_eq!(b, high, epsilon = 1e-12);
        // A value that is repeated in its cluster adds no information.
        let twice: Vec<(usize, f64)> = alone.iter().flat_map(|each| [*each, *each]).collect();
        let (a, b) = clustered_ci95(&twice);
        assert_abs_diff_eq!(a, low, epsilon = 1e-12);
        assert_abs_diff_eq!(b, high, epsilon = 1e-12);
        assert!(clustered_ci95(&[(0, 1.0), (0, 2.0)]).0.is_nan());
    }

    #[test]
    fn students_quantile_goes_on_where_the_table_ends() {
        // Printed tables: 40, 60, 120 and 1000 degrees of freedom.
        for (degrees, printed) in [(40, 2.0211), (60, 2.0003), (120, 1.9799), (1000, 1.9623)] {
            assert_abs_diff_eq!(t_975(degrees), printed, epsilon = 1e-4);
        }
        assert!((1..60).all(|degrees| t_975(degrees) > t_975(degrees + 1)));
    }

    #[test]
    fn distinct_n_counts_runs_within_texts() {
        let texts = [vec!["a", "b", "a", "b"], vec!["a", "b"]];
        assert_abs_diff_eq!(distinct_n(&texts, 1), 2.0 / 6.0);
        assert_abs_diff_eq!(distinct_n(&texts, 2), 2.0 / 4.0); // ab, ba, ab and ab
        assert!(distinct_n(&texts, 5).is_nan());
    }

    #[test]
    fn spearman_gives_the_textbook_correlation() {
        // The worked example of IQ and hours of television: 1 − 6 · 194 / (10 · 99) = −29/165.
        let iq = [86.0, 97.0, 99.0, 100.0, 101.0, 103.0, 106.0, 110.0, 112.0, 113.0];
        let hours = [2.0, 20.0, 28.0, 27.0, 50.0, 29.0, 7.0, 17.0, 6.0, 12.0];
        assert_abs_diff_eq!(spearman(&iq, &hours), -29.0 / 165.0, epsilon = 1e-12);
    }

    #[test]
    fn spearman_shares_ranks_among_ties_and_is_undefined_for_constants() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        // Ranks 1.5 1.5 3 and 1 2 3: covariance 1.5, variances 1.5 and 2.
        let tied = spearman(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0]);
        assert_abs_diff_eq!(tied, 0.75_f64.sqrt(), epsilon = 1e-12);
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
        assert!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]).is_nan());
    }
}
