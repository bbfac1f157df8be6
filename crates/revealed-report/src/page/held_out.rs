//! SFT model and final policy on held-out prompts: figures, their differences and the intervals of these.

use super::run::RunFiles;
use revealed_eval::stats::{mean_ci95, mean_sd, t_975};
use revealed_train::{HeldOutScores, RoundReport, ScoredSamples};

/// A figure of two policies on the same prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Name with unit.
    pub name: &'static str,
    /// Value of the SFT model.
    pub sft: f64,
    /// Value of the policy.
    pub policy: f64,
    /// 95 % interval of the difference, over prompts; `None` where the run kept no values of prompts.
    pub interval: Option<(f64, f64)>,
}

impl Change {
    /// Policy minus SFT model.
    pub fn difference(&self) -> f64 {
        self.policy - self.sft
    }
}

/// The round that the report treats as the result: the last kept one, or else the last evaluated one.
pub fn result(run: &RunFiles) -> Option<&RoundReport> {
    run.last_kept().or(run.rounds.last())
}

/// The policy of a round compared with the SFT model, under that round's reward; the objective first.
pub fn changes(run: &RunFiles, round: &RoundReport) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some(scores) = run.scores.get(&round.round) {
        let price = run.settings.kl_price();
        changes.extend(price.and_then(|price| objective_change(scores, price)));
        changes.extend(of_scores(scores));
    } else {
        changes.push(plain("KL to the SFT model, nats/completion", 0.0, round.after.kl));
    }
    let scores = run.scores.get(&round.round);
    let name = "log-likelihood of demonstrations, nats/token";
    let interval = scores.and_then(likelihood_interval);
    let (sft, policy) = (round.sft_log_likelihood, round.after.log_likelihood);
    changes.push(Change { interval, ..plain(name, sft, policy) });
    // The first round starts from the SFT model.
    let first = run.rounds.first().filter(|first| first.round == 1);
    let name = "repeated 4-grams, share";
    match (scores.filter(|scores| repetitions_are_there(scores)), first) {
        (Some(scores), _) => {
            let of = |samples: &ScoredSamples| samples.repetition.clone();
            changes.push(paired(name, scores, &of(&scores.sft), &of(&scores.after)));
        }
        (None, Some(first)) => {
            changes.push(plain(name, first.before.repetition, round.after.repetition));
        }
        (None, None) => {}
    }
    if let Some(first) = first {
        let name = "distinct 2-grams, share";
        changes.push(plain(name, first.before.distinct_2, round.after.distinct_2));
    }
    changes
}

/// `E[r] − β KL(π ‖ π_SFT)` of the SFT model and of the policy, which is what a round maximises; `None` where samples have no KL.
pub fn objective_change(scores: &HeldOutScores, price: f64) -> Option<Change> {
    if scores.after.kl.is_empty() {
        return None;
    }
    let (rewards, kl) = (&scores.after.rewards, &scores.after.kl);
    let policy: Vec<f64> = rewards.iter().zip(kl).map(|(r, kl)| r - price * kl).collect();
    Some(paired("reward minus KL penalty", scores, &scores.sft.rewards, &policy))
}

fn of_scores(scores: &HeldOutScores) -> Vec<Change> {
    let HeldOutScores { sft, after, .. } = scores;
    let both =
        |name, of: &dyn Fn(&ScoredSamples) -> Vec<f64>| paired(name, scores, &of(sft), &of(after));
    let won = |samples: &ScoredSamples| -> Vec<f64> {
        let each = samples.rewards.iter().enumerate().map(|(index, reward)| {
            match scores.demonstrations[index / scores.samples_per_prompt] - reward {
                lead if lead > 0.0 => 1.0,
                lead if lead < 0.0 => 0.0,
                _ => 0.5,
            }
        });
        each.collect()
    };
    let mut changes = vec![
        both("reward of samples, calibrated", &|of| of.rewards.clone()),
        both("demonstration above sample, share", &won),
    ];
    if !after.kl.is_empty() {
        let zeros = vec![0.0; after.kl.len()];
        changes.push(paired("KL to the SFT model, nats/completion", scores, &zeros, &after.kl));
    }
    let lengths = |of: &ScoredSamples| of.lengths.iter().map(|length| *length as f64).collect();
    let ended =
        |of: &ScoredSamples| of.terminated.iter().map(|e| f64::from(u8::from(*e))).collect();
    changes.push(both("length, tokens", &lengths));
    changes.push(both("share ending in EOS", &ended));
    changes
}

fn repetitions_are_there(scores: &HeldOutScores) -> bool {
    !scores.sft.repetition.is_empty() && !scores.after.repetition.is_empty()
}

/// Interval of a difference per token, `R = Σ d / Σ t` over `G` demonstrations: `R ± t₀.₉₇₅(G − 1) √(G/(G − 1) Σ (d − R t)²) / Σ t`, which is
/// [`clustered_ci95`](revealed_eval::stats::clustered_ci95) of tokens clustered by demonstration. None if the files have no values per demonstration.
fn likelihood_interval(scores: &HeldOutScores) -> Option<(f64, f64)> {
    let (sft, after) = (&scores.sft.log_likelihood, &scores.after.log_likelihood);
    let lengths = scores.demonstration_lengths.iter().map(|length| *length as f64);
    if sft.len() != after.len() || sft.len() < 2 {
        return None;
    }
    let rises: Vec<(f64, f64)> = after.iter().zip(sft).map(|(a, b)| a - b).zip(lengths).collect();
    let (rise, tokens) = rises.iter().fold((0.0, 0.0), |(r, t), (d, n)| (r + d, t + n));
    let (count, ratio) = (rises.len() as f64, rise / tokens);
    let squares: f64 = rises.iter().map(|(d, n)| (d - ratio * n).powi(2)).sum();
    let half = t_975(rises.len() - 1) * (count / (count - 1.0) * squares).sqrt() / tokens;
    half.is_finite().then_some((ratio - half, ratio + half))
}

fn plain(name: &'static str, sft: f64, policy: f64) -> Change {
    Change { name, sft, policy, interval: None }
}

/// Differences of the means of each prompt's samples.
fn paired(name: &'static str, scores: &HeldOutScores, sft: &[f64], policy: &[f64]) -> Change {
    let group = scores.samples_per_prompt;
    let differences: Vec<f64> = sft
        .chunks(group)
        .zip(policy.chunks(group))
        .map(|(sft, policy)| mean_sd(policy).0 - mean_sd(sft).0)
        .collect();
    let (low, high) = mean_ci95(&differences);
    let interval = (low.is_finite() && high.is_finite()).then_some((low, high));
    Change { name, sft: mean_sd(sft).0, policy: mean_sd(policy).0, interval }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rewards: &[f64], kl: &[f64]) -> ScoredSamples {
        let count = rewards.len();
        ScoredSamples {
            rewards: rewards.into(),
            lengths: vec![4; count],
            terminated: vec![true; count],
            kl: kl.into(),
            ..ScoredSamples::default()
        }
    }

    #[test]
    fn a_difference_is_paired_by_prompt() {
        let scores = HeldOutScores {
            samples_per_prompt: 2,
            demonstrations: vec![0.0, 1.0, 2.0],
            demonstration_lengths: vec![2, 2, 4],
            initial: samples(&[0.0; 6], &[]),
            sft: samples(&[0.0, 2.0, 10.0, 12.0, -5.0, -3.0], &[]),
            before: samples(&[0.0; 6], &[]),
            after: samples(&[1.0, 3.0, 11.0, 15.0, -3.0, 1.0], &[2.0; 6]),
        };
        // Means of prompts rise by 1, 2 and 3; at 0.5 a nat, KL takes 1 off each.
        let change = objective_change(&scores, 0.5).unwrap();
        assert!((change.difference() - 1.0).abs() < 1e-12);
        // Mean 1, deviation 1, three prompts: 1 ± 4.303 / √3.
        let (low, high) = change.interval.unwrap();
        assert!((high - (1.0 + 4.303 / 3f64.sqrt())).abs() < 1e-9, "{high}");
        assert!((low + high - 2.0).abs() < 1e-9);
        let all = of_scores(&scores);
        assert!((all[0].difference() - 2.0).abs() < 1e-12);
        // Demonstrations 0, 1, 2 against (0, 2), (10, 12), (−5, −3) and (1, 3), (11, 15), (−3, 1).
        assert_eq!((all[1].sft, all[1].policy), (2.5 / 6.0, 2.0 / 6.0));
        assert_eq!(all[3].difference(), 0.0);
    }

    #[test]
    fn likelihood_and_repetition_have_intervals_where_single_values_are_there() {
        let mut run = super::super::example::run();
        let scores = run.scores.get_mut(&1).unwrap();
        scores.demonstration_lengths = vec![2, 2, 4, 2];
        scores.sft.log_likelihood = vec![-1.0, -2.0, -4.0, -2.0];
        scores.after.log_likelihood = vec![0.0, -1.0, -3.0, 0.0];
        scores.after.repetition = vec![0.11, 0.01, 0.11, 0.11, 0.01, 0.21, 0.11, 0.11];
        let of = |run: &RunFiles, name: &str| {
            let changes = changes(run, &run.rounds[0]);
            changes.into_iter().find(|change| change.name.starts_with(name)).unwrap()
        };
        // Rises of 1, 1, 1, 2 over 10 tokens: ½ a token; what is left of them is 0, 0, −1, 1.
        let (low, high) = of(&run, "log-likelihood").interval.unwrap();
        assert!((low + high - 1.0).abs() < 1e-12);
        assert!((high - (0.5 + 3.182 * (4.0f64 / 3.0 * 2.0).sqrt() / 10.0)).abs() < 1e-9, "{high}");
        // Means of prompts rise by 0.05, 0.1, 0.1, 0.1.
        let repetition = of(&run, "repeated");
        assert!((repetition.difference() - 0.0875).abs() < 1e-12);
        assert!((repetition.interval.unwrap().1 - (0.0875 + 3.182 * 0.0125)).abs() < 1e-9);
        // Files from before there were any.
        let scores = run.scores.get_mut(&1).unwrap();
        scores.demonstration_lengths.clear();
        for samples in [&mut scores.sft, &mut scores.after] {
            samples.repetition.clear();
            samples.log_likelihood.clear();
        }
        assert_eq!(of(&run, "log-likelihood").interval, None);
        assert_eq!(of(&run, "repeated").interval, None);
    }
}
