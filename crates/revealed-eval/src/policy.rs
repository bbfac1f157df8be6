//! A policy beside its reference, from completions of the same prompts: how far it went, and what that was worth.
//!
//! With `y` drawn from the policy and `ℓ_t = log π(y_t | x, y_<t) − log π_ref(y_t | x, y_<t)`, both at the sampling temperature,
//!
//! | estimator | a completion's value | |
//! |---|---|---|
//! | k1 | `Σ_t ℓ_t` | unbiased for KL(π ‖ π_ref) of whole completions; single values may be negative |
//! | k3 | `Σ_t exp(−ℓ_t) − 1 + ℓ_t` | unbiased too, never negative, of smaller variance while the two are close |
//!
//! Source: Schulman, <http://joschu.net/blog/kl-approx.html>, of each token given its prefix. Completions are cut at the longest length
//! that was sampled, and so is what the KL is of.

use crate::best_of_n::{doublings, expected_best, expected_chosen, kl_bound};
use crate::estimate::Estimate;
use crate::preferences::{Accuracy, in_order};
use crate::record::Figure;
use crate::stats::{distinct_n, mean};

/// One completion.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SampledCompletion {
    /// Its tokens, with the terminator if it has one.
    pub tokens: Vec<u32>,
    /// Its text.
    pub text: String,
    /// Whether it ended by itself.
    pub finished: bool,
    /// What the learned reward gives it.
    pub reward: Option<f64>,
    /// What the gold function or the second reward gives it.
    pub gold: Option<f64>,
    /// Its k1, of the policy's completions.
    pub k1: Option<f64>,
    /// Its k3, of the policy's completions.
    pub k3: Option<f64>,
}

/// What is measured of one completion.
type Measure = fn(&SampledCompletion) -> Option<f64>;

/// Log-ratios' k1 and k3 of one completion, from the log-probs of its tokens under both models.
///
/// # Panics
/// If the lengths differ.
pub fn kl_terms(policy: &[f32], reference: &[f32]) -> (f64, f64) {
    assert_eq!(policy.len(), reference.len(), "two log-probs a token");
    policy.iter().zip(reference).fold((0.0, 0.0), |(k1, k3), (p, r)| {
        let log_ratio = f64::from(*p) - f64::from(*r);
        (k1 + log_ratio, k3 + (-log_ratio).exp_m1() + log_ratio)
    })
}

/// How often a value of `a` is above one of `b`, over all pairs of the two of each prompt; ties count half. `win_rate(b, a)` is
/// what is left to 1. Prompts weigh by their pairs.
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

/// The figures of completions by prompt, `policy[i]` and `reference[i]` being of the same one: each side's, the KL, the win rates.
///
/// Intervals are over prompts. A measure that completions lack gives no figure.
pub fn figures(
    policy: &[Vec<SampledCompletion>],
    reference: &[Vec<SampledCompletion>],
) -> Vec<Figure> {
    let mut figures = divergence(policy);
    let n = policy.len();
    for (name, measure) in [("reward", (|c| c.reward) as Measure), ("gold", |c| c.gold)] {
        let sides = [policy, reference].map(|side| values(side, measure));
        let [Some(ours), Some(theirs)] = sides else { continue };
        let pairs = ours.iter().zip(&theirs).map(|(a, b)| (a.as_slice(), b.as_slice()));
        let rate: Estimate = win_rate(pairs).into();
        figures.push(rate.figure(format!("win_rate/{name}"), None, n));
        let gains: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| mean(a) - mean(b)).collect();
        figures.push(Estimate::mean(&gains).figure(format!("gain/{name}"), None, n));
    }
    for (name, side) in [("policy", policy), ("reference", reference)] {
        figures.extend(of_side(name, side));
    }
    figures.retain(|figure| figure.value.is_finite());
    figures
}

/// KL of the policy to its reference, in nats.
fn divergence(policy: &[Vec<SampledCompletion>]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (name, measure) in [("k1", (|c| c.k1) as Measure), ("k3", |c| c.k3)] {
        let Some(values) = values(policy, measure) else { continue };
        let each: Vec<f64> = values.iter().map(|values| mean(values)).collect();
        figures.push(Estimate::mean(&each).figure(format!("kl_{name}"), None, policy.len()));
        let tokens = policy.iter().map(|all| all.iter().map(|c| c.tokens.len() as f64).sum());
        let groups: Vec<(f64, f64)> =
            values.iter().map(|values| values.iter().sum()).zip(tokens).collect();
        let name = format!("kl_{name}_per_token");
        figures.push(Estimate::ratio(&groups).figure(name, None, policy.len()));
    }
    figures
}

fn of_side(name: &str, side: &[Vec<SampledCompletion>]) -> Vec<Figure> {
    const MEASURES: [(&str, Measure); 4] = [
        ("reward", |c| c.reward),
        ("gold", |c| c.gold),
        ("tokens", |c| Some(c.tokens.len() as f64)),
        ("finished", |c| Some(f64::from(u8::from(c.finished)))),
    ];
    let mut figures = Vec::new();
    for (measure, of) in MEASURES {
        let Some(values) = values(side, of) else { continue };
        let estimate = match measure {
            // A share: Student's interval would leave [0, 1].
            "finished" => share(&values).into(),
            _ => Estimate::mean(&values.iter().map(|values| mean(values)).collect::<Vec<_>>()),
        };
        figures.push(estimate.figure(measure, Some(name), side.len()));
    }
    for n in 1..=3 {
        let estimate = Estimate::bare(distinct(side, n));
        figures.push(estimate.figure(format!("distinct_{n}"), Some(name), side.len()));
    }
    figures
}

/// Distinct-n over one completion a prompt, the mean over which one: it falls with more text, and must not with more samples.
fn distinct(side: &[Vec<SampledCompletion>], n: usize) -> f64 {
    let samples = side.iter().map(Vec::len).min().unwrap_or(0);
    let of = |sample: usize| {
        let tokens: Vec<&[u32]> = side.iter().map(|all| all[sample].tokens.as_slice()).collect();
        distinct_n(&tokens, n)
    };
    (0..samples).map(of).sum::<f64>() / samples as f64
}

fn share(values: &[Vec<f64>]) -> Accuracy {
    let groups: Vec<(f64, usize)> =
        values.iter().map(|values| (values.iter().sum(), values.len())).collect();
    Accuracy::of_prompts(&groups)
}

/// Each prompt's values; nothing where a completion has none, or there are none.
fn values(side: &[Vec<SampledCompletion>], measure: Measure) -> Option<Vec<Vec<f64>>> {
    let all: Option<Vec<Vec<f64>>> =
        side.iter().map(|all| all.iter().map(measure).collect()).collect();
    all.filter(|all| !all.is_empty() && all.iter().all(|values| !values.is_empty()))
}

/// Best of `n` by the learned reward: one point of the curve that shows whether choosing by the reward still pays by gold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestOfN {
    /// Samples to choose from.
    pub n: usize,
    /// [`kl_bound`] to the model that was sampled.
    pub kl: f64,
    /// The chosen sample's expected reward.
    pub reward: Estimate,
    /// Its expected gold value.
    pub gold: Option<Estimate>,
}

/// The curve for n = 1, 2, 4, … up to the fewest samples of a prompt; empty without rewards. Intervals are over prompts.
pub fn best_of_n(side: &[Vec<SampledCompletion>]) -> Vec<BestOfN> {
    let Some(rewards) = values(side, |c| c.reward) else { return Vec::new() };
    let gold = values(side, |c| c.gold);
    let most = rewards.iter().map(Vec::len).min().unwrap_or(0);
    doublings(most)
        .map(|n| {
            let each: Vec<f64> = rewards.iter().map(|scores| expected_best(scores, n)).collect();
            let gold = gold.as_ref().map(|gold| -> Vec<f64> {
                let prompts = rewards.iter().zip(gold);
                prompts.map(|(scores, values)| expected_chosen(scores, values, n)).collect()
            });
            let (reward, gold) = (Estimate::mean(&each), gold.map(|each| Estimate::mean(&each)));
            BestOfN { n, kl: kl_bound(n), reward, gold }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
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
        let side =
            vec![vec![SampledCompletion { tokens: vec![1, 2], ..SampledCompletion::default() }]];
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
}
