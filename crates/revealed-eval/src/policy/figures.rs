//! Figures of a policy's and its reference's completions of the same prompts: KL, win rates, rewards, lengths, diversity.

use super::completion::{Measure, SampledCompletion, values};
use crate::estimate::Estimate;
use crate::preferences::{Accuracy, win_rate};
use crate::record::Figure;
use crate::stats::{distinct_n, mean};

/// Figures of completions by prompt: `policy[i]` and `reference[i]` complete the same one. KL, win rates, and the figures of
/// each side.
///
/// Intervals are over prompts. A measure that completions lack has no figure.
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
