//! Figures of completions whose scores are known.

use approx::assert_abs_diff_eq;

use super::best_of_n::best_of_n;
use super::completion::{SampledCompletion, kl_terms};
use super::figures::figures;
use crate::preferences::win_rate;
use crate::record::Figure;
use crate::stats::mean_ci95;

fn completion(reward: f64, gold: f64, tokens: &[u32]) -> SampledCompletion {
    SampledCompletion {
        tokens: tokens.into(),
        finished: tokens.last() == Some(&2),
        reward: Some(reward),
        gold: Some(gold),
        k1: Some(0.5 * tokens.len() as f64),
        k3: Some(0.25),
        ..SampledCompletion::default()
    }
}

fn value(figures: &[Figure], name: &str, subset: Option<&str>) -> f64 {
    let found = figures.iter().find(|f| f.name == name && f.subset.as_deref() == subset);
    found.unwrap_or_else(|| panic!("{name} of {subset:?}")).value
}

#[test]
fn both_estimators_give_the_kl_of_one_token_in_expectation() {
    // π = (0.7, 0.2, 0.1), π_ref = (0.5, 0.25, 0.25): the sum over the outcomes is the KL itself.
    let (policy, reference) = ([0.7f32, 0.2, 0.1], [0.5f32, 0.25, 0.25]);
    let (mut k1, mut k3, mut kl) = (0.0, 0.0, 0.0);
    for (p, r) in policy.iter().zip(reference) {
        let terms = kl_terms(&[p.ln()], &[r.ln()]);
        k1 += f64::from(*p) * terms.0;
        k3 += f64::from(*p) * terms.1;
        kl += f64::from(*p) * (f64::from(*p) / f64::from(r)).ln();
        assert!(terms.1 >= 0.0);
    }
    assert_abs_diff_eq!(k1, kl, epsilon = 1e-6);
    assert_abs_diff_eq!(k3, kl, epsilon = 1e-6);
    assert_eq!(kl_terms(&[-1.0, -2.0], &[-1.0, -2.0]), (0.0, 0.0));
}

#[test]
fn a_win_rate_and_its_mirror_sum_to_one() {
    let (a, b) = ([[1.0, 2.0], [0.0, 3.0]], [[1.0, 0.0], [3.0, 3.0]]);
    let forth = win_rate(a.iter().zip(&b).map(|(a, b)| (&a[..], &b[..])));
    let back = win_rate(b.iter().zip(&a).map(|(a, b)| (&a[..], &b[..])));
    // First prompt ½ + 1 + 1 + 1 of 4, second 0 + 0 + ½ + ½ of 4.
    assert_eq!(forth.share(), 4.5 / 8.0);
    assert_abs_diff_eq!(back.share(), 1.0 - forth.share(), epsilon = 1e-12);
    assert_abs_diff_eq!(back.interval().1, 1.0 - forth.interval().0, epsilon = 1e-12);
}

#[test]
fn figures_are_means_over_prompts_and_sides_are_kept_apart() {
    let policy = vec![
        vec![completion(1.0, 0.2, &[5, 6, 2]), completion(3.0, 0.4, &[5])],
        vec![completion(0.0, 0.0, &[7, 2]), completion(0.0, 0.0, &[7, 2])],
    ];
    let reference = vec![
        vec![completion(0.0, 0.6, &[5, 5]), completion(0.0, 0.6, &[5, 5])],
        vec![completion(0.0, 0.0, &[8, 2]), completion(0.0, 0.0, &[9, 2])],
    ];
    let found = figures(&policy, &reference);
    let of = |name| value(&found, name, None);
    assert_eq!((of("win_rate/reward"), of("win_rate/gold")), (0.75, 0.25));
    assert_eq!(of("gain/reward"), 1.0);
    // k1 is ½ a token: means 1 and 1 a completion, and ½ a token in all.
    assert_eq!((of("kl_k1"), of("kl_k1_per_token"), of("kl_k3")), (1.0, 0.5, 0.25));
    assert_eq!(value(&found, "reward", Some("policy")), 1.0);
    assert_eq!(value(&found, "finished", Some("policy")), 0.75);
    assert_eq!(value(&found, "tokens", Some("reference")), 2.0);
    // One completion a prompt: 5 6 2 7 2, then 5 7 2.
    assert_eq!(value(&found, "distinct_1", Some("policy")), (4.0 / 5.0 + 1.0) / 2.0);
    let interval = found.iter().find(|f| f.name == "gain/reward").unwrap().interval.unwrap();
    let (low, high) = mean_ci95(&[2.0, 0.0]);
    assert_eq!(interval, [low, high]);
}

#[test]
fn without_rewards_there_is_no_win_rate_and_no_curve() {
    let side = vec![vec![SampledCompletion { tokens: vec![1, 2], ..SampledCompletion::default() }]];
    let found = figures(&side, &side);
    assert!(found.iter().all(|f| !f.name.contains("reward") && !f.name.starts_with("kl")));
    assert!(best_of_n(&side).is_empty());
}

#[test]
fn a_reward_that_gold_disagrees_with_is_seen_in_the_curve() {
    let side: Vec<Vec<SampledCompletion>> = (0..3)
        .map(|p| (0..4).map(|i| completion(f64::from(i), f64::from(-i * p), &[5, 2])).collect())
        .collect();
    let curve = best_of_n(&side);
    assert_eq!(curve.iter().map(|point| point.n).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(curve.iter().map(|p| p.reward.value).collect::<Vec<_>>()[2], 3.0);
    assert_eq!(curve[2].gold.unwrap().value, -3.0);
    assert_abs_diff_eq!(curve[0].gold.unwrap().value, -1.5, epsilon = 1e-12);
    assert_abs_diff_eq!(curve[1].kl, 2f64.ln() - 0.5, epsilon = 1e-12);
}
