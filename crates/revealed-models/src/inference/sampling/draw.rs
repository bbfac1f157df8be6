//! The next token of a row from its logits, on the host.
//!
//! Drawn by the Gumbel-max trick in its one-logarithm form, `argmin_v E_v / p_v` with `E_v` exponential noise.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::config::{Decoding, SamplingConfig};

/// Numbers that are looked at together.
const BLOCK: usize = 64;

/// A token and its log-prob; `None` where a logit is NaN or infinite.
pub(super) fn choose(
    logits: &[f32],
    config: &SamplingConfig,
    rng: &mut ChaCha8Rng,
) -> Option<(u32, f32)> {
    let greedy = config.decoding == Decoding::Greedy;
    let inverse = (1.0 / config.temperature).min(f64::from(f32::MAX)) as f32;
    let max = largest(logits)?;
    let weights: Vec<f32> = logits.iter().map(|l| ((l - max) * inverse).exp()).collect();
    let total = sum(&weights);
    let token = if greedy { first(logits, max) } else { race(&weights, total, config, rng) };
    let log_prob = f64::from((logits[token] - max) * inverse) - total.ln();
    Some((token as u32, log_prob as f32))
}

/// The first of the likeliest tokens; `None` where a logit is NaN or infinite.
pub(crate) fn likeliest(logits: &[f32]) -> Option<u32> {
    Some(first(logits, largest(logits)?) as u32)
}

/// Where `logit` is first.
fn first(logits: &[f32], logit: f32) -> usize {
    logits.iter().position(|other| *other == logit).unwrap_or(0)
}

/// `None` where a number is NaN or infinite.
fn largest(logits: &[f32]) -> Option<f32> {
    let mut max = f32::NEG_INFINITY;
    for block in logits.chunks(BLOCK) {
        // Without a way out, so that it is done with vectors.
        let finite = block.iter().fold(true, |finite, logit| finite & logit.is_finite());
        if !finite {
            return None;
        }
        max = block.iter().fold(max, |max, logit| max.max(*logit));
    }
    Some(max)
}

/// In f64, of eight sums that do not wait for each other.
fn sum(weights: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let blocks = weights.chunks_exact(8);
    let rest: f64 = blocks.remainder().iter().map(|w| f64::from(*w)).sum();
    for block in blocks {
        for (sum, weight) in sums.iter_mut().zip(block) {
            *sum += f64::from(*weight);
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// `argmin_v E_v / w_v`, which draws `v` with probability `w_v / Σ w`, over the tokens the filters keep.
fn race(weights: &[f32], total: f64, config: &SamplingConfig, rng: &mut ChaCha8Rng) -> usize {
    let least = threshold(weights, total, config);
    let mut winner = (f64::INFINITY, 0);
    let mut words = [0u64; BLOCK];
    for (block, weights) in weights.chunks(BLOCK).enumerate() {
        let words = &mut words[..weights.len()];
        words.iter_mut().for_each(|word| *word = rng.next_u64());
        // −ln(1 − u) ≥ u: most tokens have lost before their logarithm is taken, and most blocks hold no other.
        let runs = |(word, weight): (&u64, &f32)| below(*word) < winner.0 * f64::from(*weight);
        if !words.iter().zip(weights).fold(false, |any, pair| any | runs(pair)) {
            continue;
        }
        for (index, (word, weight)) in words.iter().zip(weights).enumerate() {
            // In f64: f32's steps of 6e-8 would give each of many unlikely tokens that chance of time 0.
            let uniform = (word >> 11) as f64 * 2f64.powi(-53);
            let lost = uniform >= winner.0 * f64::from(*weight);
            if *weight >= least && *weight > 0.0 && !lost {
                let time = -(1.0 - uniform).ln() / f64::from(*weight);
                if time < winner.0 {
                    winner = (time, block * BLOCK + index);
                }
            }
        }
    }
    winner.1
}

/// A word's number in [0, 1) but for its last bit, which is never more: no conversion that vectors lack.
fn below(word: u64) -> f64 {
    f64::from_bits((word >> 12) | 1f64.to_bits()) - 1.0
}

/// The smallest weight that top-k, top-p and min-p keep, in that order as Transformers applies them.
fn threshold(weights: &[f32], total: f64, config: &SamplingConfig) -> f32 {
    let mut least = config.min_p as f32;
    if config.top_k == 0 && config.top_p >= 1.0 {
        return least;
    }
    let mut sorted = weights.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut total = total;
    if config.top_k > 0 && config.top_k < sorted.len() {
        let last = sorted[config.top_k - 1];
        sorted.truncate(sorted.partition_point(|weight| *weight >= last));
        least = least.max(last);
        total = sorted.iter().map(|w| f64::from(*w)).sum();
    }
    if config.top_p < 1.0 {
        let mut reached = 0.0;
        for weight in sorted {
            reached += f64::from(weight);
            if reached >= config.top_p * total {
                least = least.max(weight);
                break;
            }
        }
    }
    least
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn generator(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// `golden/sampling`: the warpers of Transformers in the order in which it applies them.
    #[test]
    fn the_filters_keep_the_tokens_that_transformers_keeps() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/sampling/expected.json");
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert!(cases.len() > 20);
        for case in cases {
            let name = case["logits"].as_str().unwrap();
            let logits: Vec<f32> = serde_json::from_value(golden["logits"][name].clone()).unwrap();
            let config = SamplingConfig {
                temperature: case["temperature"].as_f64().unwrap(),
                top_k: case["top_k"].as_u64().unwrap() as usize,
                top_p: case["top_p"].as_f64().unwrap(),
                min_p: case["min_p"].as_f64().unwrap(),
                ..SamplingConfig::default()
            };
            let max = logits.iter().copied().fold(f32::MIN, f32::max);
            let scaled = |l: &f32| ((l - max) / config.temperature as f32).exp();
            let weights: Vec<f32> = logits.iter().map(scaled).collect();
            let total = weights.iter().map(|w| f64::from(*w)).sum();
            let least = threshold(&weights, total, &config);
            let kept: f64 = (weights.iter().filter(|w| **w >= least)).map(|w| f64::from(*w)).sum();
            for (weight, theirs) in weights.iter().zip(case["probs"].as_array().unwrap()) {
                let ours = match *weight >= least {
                    true => f64::from(*weight) / kept,
                    false => 0.0,
                };
                // Their scores are f32, rounded to 8 decimals as probabilities.
                assert!((ours - theirs.as_f64().unwrap()).abs() < 1e-6, "{case}");
            }
        }
    }

    #[test]
    fn many_unlikely_tokens_are_drawn_as_rarely_as_they_should_be() {
        // Together 3e-6 of the mass, so 2,000 draws give one with chance 0.006; a generator with steps
        // of 2^-24 would give about five.
        let mut weights = vec![(-23f32).exp(); 40_000];
        weights[0] = 1.0;
        let total = weights.iter().map(|w| f64::from(*w)).sum();
        let config = SamplingConfig::default();
        let mut rng = generator(0);
        let other = (0..2_000).filter(|_| race(&weights, total, &config, &mut rng) != 0);
        assert_eq!(other.count(), 0);
    }

    /// One token after the other, as the formula says.
    fn plain_race(weights: &[f32], least: f32, rng: &mut ChaCha8Rng) -> usize {
        let mut winner = (f64::INFINITY, 0);
        for (token, weight) in weights.iter().enumerate() {
            let time = -(1.0 - rng.random::<f64>()).ln() / f64::from(*weight);
            if *weight >= least && *weight > 0.0 && time < winner.0 {
                winner = (time, token);
            }
        }
        winner.1
    }

    proptest! {
        #[test]
        fn what_lost_early_would_have_lost_anyway(
            logits in prop::collection::vec(-30f32..0.0, 1..300), seed: u64, min_p in 0f64..0.1,
        ) {
            let weights: Vec<f32> =
                logits.iter().map(|l| if *l < -25.0 { 0.0 } else { l.exp() }).collect();
            let config = SamplingConfig { min_p, ..SamplingConfig::default() };
            let (mut ours, mut plain) = (generator(seed), generator(seed));
            for _ in 0..8 {
                let expected = plain_race(&weights, min_p as f32, &mut plain);
                prop_assert_eq!(race(&weights, sum(&weights), &config, &mut ours), expected);
            }
            let one_by_one: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            prop_assert!((sum(&weights) - one_by_one).abs() <= 1e-13 * one_by_one);
        }

        #[test]
        fn the_largest_logit_is_found_and_what_is_not_finite_is_refused(
            mut logits in prop::collection::vec(-30f32..30.0, 1..300), at: prop::sample::Index,
            bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        ) {
            let expected = logits.iter().copied().fold(f32::MIN, f32::max);
            prop_assert_eq!(largest(&logits), Some(expected));
            let at = at.index(logits.len());
            logits[at] = bad;
            prop_assert_eq!(largest(&logits), None);
        }
    }

    #[test]
    fn an_extreme_temperature_gives_a_token_and_a_finite_log_prob() {
        for temperature in [1e-300, 1e-30, 1e30] {
            let config = SamplingConfig { temperature, ..SamplingConfig::default() };
            let mut rng = generator(0);
            let (_, log_prob) = choose(&[1.0, 2.0, -3.0], &config, &mut rng).unwrap();
            assert!(log_prob.is_finite(), "{temperature}: {log_prob}");
        }
    }
}
