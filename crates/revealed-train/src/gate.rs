//! Whether a round is kept: decided on held-out demonstrations, never on preferences or a gold reward.

use std::collections::HashSet;

use revealed_models::{CausalLm, Decoding};
use revealed_reward::RewardModel;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::observer::{At, Event, Phase, ShownSample};
use crate::pairs::{Negative, Origin, count, pairs};
use crate::recipe::{GateSection, Recipe, Stop};
use crate::reward_fit::{calibrate, fit_reward};
use crate::run::{Draw, Run, at};
use crate::sft::held_out_loss;
use crate::state::State;
use crate::task::Row;

/// What a policy does on held-out prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Mean calibrated reward of its samples; 0 is the average training demonstration.
    pub reward: f64,
    /// KL to the SFT model, nats a completion, estimated on its samples.
    pub kl: f64,
    /// Log-likelihood of held-out demonstrations, nats a token.
    pub log_likelihood: f64,
    /// Mean length, tokens.
    pub length: f64,
    /// Share of samples that end in the terminator.
    pub terminated: f64,
    /// Share of a sample's 4-grams that repeat an earlier one, on average.
    pub repetition: f64,
    /// Distinct 2-grams over all 2-grams.
    pub distinct_2: f64,
}

/// What a second reward, that nothing was optimised against, says of a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SecondOpinion {
    /// Mean calibrated score of held-out demonstrations.
    pub demonstrations: f64,
    /// Of the samples of the policy before the round.
    pub before: f64,
    /// Of those after it.
    pub after: f64,
    /// Standard error of the rise, over prompts.
    pub standard_error: f64,
    /// Share of held-out demonstrations that it puts above the samples after the round.
    pub accuracy_after: f64,
}

impl SecondOpinion {
    /// The rise in its standard errors.
    pub fn gain(&self) -> f64 {
        let rise = self.after - self.before;
        if rise == 0.0 { 0.0 } else { rise / self.standard_error }
    }
}

/// A round's figures and verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    /// From 1.
    pub round: usize,
    /// Whether the policy was kept.
    pub accepted: bool,
    /// Why it was rolled back, or why the run stops here.
    pub reasons: Vec<String>,
    /// Share of held-out demonstrations that the reward puts above fresh samples of the initial model.
    pub accuracy_initial: f64,
    /// The same above samples of the policy before the round.
    pub accuracy_before: f64,
    /// The same above samples after it; below ½ the policy has passed the demonstrations.
    pub accuracy_after: f64,
    /// Mean calibrated reward of held-out demonstrations.
    pub demonstrations_reward: f64,
    /// The judge's view, where there is one.
    pub judge: Option<SecondOpinion>,
    /// Log-likelihood of held-out demonstrations under the SFT model, nats a token.
    pub sft_log_likelihood: f64,
    /// Shift and scale.
    pub calibration: [f64; 2],
    /// The policy before the round.
    pub before: Measures,
    /// The candidate.
    pub after: Measures,
}

/// Samples on held-out prompts, kept from round to round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOutSamples {
    /// Of the initial model, as drawn.
    pub initial: Vec<Row>,
    /// Of the kept policy, as drawn.
    pub policy: Vec<Row>,
}

impl HeldOutSamples {
    /// The noise of all held-out samples of a run: two policies then differ by what they are and not by
    /// luck, and one that has not changed gains exactly 0.
    pub const NOISE: At = At { round: 0, phase: Phase::Gate, step: 0 };

    /// Samples `gate.samples` completions of every held-out prompt, with the noise of `at`.
    ///
    /// # Errors
    /// When sampling fails.
    pub fn draw(model: &CausalLm, at: At, run: &Run<'_>) -> Result<Vec<Row>, TrainError> {
        let prompts: Vec<Vec<u32>> =
            run.task.held_out.iter().map(|row| row.prompt().into()).collect();
        let draw = Draw {
            samples: run.recipe.gate.samples,
            decoding: Decoding::Sample,
            temperature: run.recipe.policy.temperature,
            seed: run.seed(at, "held-out"),
        };
        run.generate(model, &prompts, draw)
    }
}

/// Fits the second reward: on the first round's pairs with fixed negatives, or all of them where there are none
/// such.
///
/// # Errors
/// When the loss is not finite.
pub(crate) fn fit_judge(state: &State, run: &mut Run<'_>) -> Result<RewardModel, TrainError> {
    let all: Vec<&Negative> = state.pool.negatives.iter().collect();
    let fixed: Vec<&Negative> =
        all.iter().copied().filter(|negative| negative.origin.is_fixed()).collect();
    let negatives = if fixed.is_empty() { all } else { fixed };
    // Round 0 has seeds of its own.
    let start = RewardModel::new(state.sft.clone(), run.seed(at(0, Phase::Fit, 0), "head"));
    let pairs = pairs(&negatives, None, run.task, run)?;
    let judge = fit_reward(start, &pairs, 0, run)?;
    calibrate(judge, &state.policy, &negatives, 0, run)
}

/// Judges a candidate, and gives its held-out samples for the next round.
///
/// # Errors
/// When sampling or scoring fails.
pub fn judge(
    (before, candidate, sft): (&CausalLm, &CausalLm, &CausalLm),
    (reward, second): (&RewardModel, Option<&RewardModel>),
    held: &HeldOutSamples,
    at: At,
    run: &mut Run<'_>,
) -> Result<(RoundReport, Vec<Row>), TrainError> {
    let after_rows = HeldOutSamples::draw(candidate, HeldOutSamples::NOISE, run)?;
    let scores_of = |reward: &RewardModel, rows: &[Row]| -> Result<Vec<f64>, TrainError> {
        let (pad, tokens) = (run.task.pad_id(), run.recipe.run.micro_batch_tokens);
        Ok(reward.scores(&run.canonical(rows), pad, tokens)?)
    };
    let scores = |rows: &[Row]| scores_of(reward, rows);
    let demonstrations = scores(&run.task.held_out)?;
    let initial = scores(&held.initial)?;
    let old = scores(&held.policy)?;
    let new = scores(&after_rows)?;
    let measured = |model, rows, scores: &[f64]| measure((model, sft), rows, scores, at, run);
    let (before, after) =
        (measured(before, &held.policy, &old)?, measured(candidate, &after_rows, &new)?);
    let group = run.recipe.gate.samples;
    let opinion = |second: &RewardModel| -> Result<SecondOpinion, TrainError> {
        let rows = [&run.task.held_out, &held.policy, &after_rows];
        let [demonstrations, old, new] = rows.map(|rows| scores_of(second, rows));
        Ok(second_opinion(&demonstrations?, &old?, &new?, group))
    };
    let mut report = RoundReport {
        round: at.round,
        accepted: false,
        reasons: vec![],
        accuracy_initial: accuracy(&demonstrations, &initial, group),
        accuracy_before: accuracy(&demonstrations, &old, group),
        accuracy_after: accuracy(&demonstrations, &new, group),
        demonstrations_reward: mean(&demonstrations),
        judge: second.map(opinion).transpose()?,
        sft_log_likelihood: -held_out_loss(sft, at, run)?,
        calibration: [reward.calibration.shift, reward.calibration.scale],
        before,
        after,
    };
    report.reasons = report.objections(run.recipe);
    report.accepted = report.reasons.is_empty();
    let passed = report.after.reward >= report.demonstrations_reward;
    if report.accepted && passed && run.recipe.gate.stop == Stop::PassedDemonstrations {
        report.reasons.push(format!(
            "stop: samples score {:.2}, held-out demonstrations {:.2}; another round would teach their flaws",
            report.after.reward, report.demonstrations_reward
        ));
    }
    show(&held.policy, &after_rows, [&demonstrations, &old, &new], at, run);
    Ok((report, after_rows))
}

impl RoundReport {
    /// Why a candidate is not kept; empty if it is.
    pub fn objections(&self, recipe: &Recipe) -> Vec<String> {
        let RoundReport { before, after, .. } = self;
        let GateSection {
            min_accuracy,
            min_gain,
            min_judge_gain,
            max_kl,
            max_likelihood_drop,
            max_terminated_drop,
            max_repetition_rise,
            min_distinct_share,
            max_length_factor,
            ..
        } = recipe.gate;
        let counts = &recipe.negatives;
        let weights = [
            (count(counts, Origin::Initial), self.accuracy_initial),
            (counts.sft + counts.policy + counts.greedy, self.accuracy_before),
        ];
        let total: usize = weights.iter().map(|(n, _)| n).sum();
        let pooled =
            weights.iter().map(|(n, accuracy)| *n as f64 * accuracy).sum::<f64>() / total as f64;
        let drop = self.sft_log_likelihood - after.log_likelihood;
        let longer = (after.length / before.length).max(before.length / after.length.max(1e-9));
        let gain = after.reward - before.reward;
        let judged = self.judge.map_or(f64::INFINITY, |judge| judge.gain());
        let rules = [
            (
                pooled >= min_accuracy,
                format!(
                    "reward accuracy on held-out demonstrations {pooled:.3} < {min_accuracy}: it tells them from negatives no better than chance"
                ),
            ),
            (gain > min_gain, format!("mean reward rose by {gain:.3}, not more than {min_gain}")),
            (
                judged >= min_judge_gain,
                format!(
                    "the judge's score rose by {judged:.2} standard errors, less than {min_judge_gain}"
                ),
            ),
            (after.kl <= max_kl, format!("KL to SFT {:.2} > {max_kl} nats a completion", after.kl)),
            (
                drop <= max_likelihood_drop,
                format!(
                    "log-likelihood of held-out demonstrations fell {drop:.3} > {max_likelihood_drop} nats a token"
                ),
            ),
            (
                before.terminated - after.terminated <= max_terminated_drop,
                format!(
                    "terminated completions fell from {:.3} to {:.3}",
                    before.terminated, after.terminated
                ),
            ),
            (
                after.repetition - before.repetition <= max_repetition_rise,
                format!("repetition rose from {:.3} to {:.3}", before.repetition, after.repetition),
            ),
            (
                after.distinct_2 >= min_distinct_share * before.distinct_2,
                format!(
                    "distinct 2-grams fell from {:.3} to {:.3}: the policy collapses",
                    before.distinct_2, after.distinct_2
                ),
            ),
            (
                longer <= max_length_factor,
                format!(
                    "mean length changed from {:.1} to {:.1} tokens",
                    before.length, after.length
                ),
            ),
        ];
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, reason)| reason).collect()
    }
}

/// What a second reward makes of the samples, a prompt's `group` next to each other.
fn second_opinion(demonstrations: &[f64], old: &[f64], new: &[f64], group: usize) -> SecondOpinion {
    let rises: Vec<f64> =
        old.chunks(group).zip(new.chunks(group)).map(|(old, new)| mean(new) - mean(old)).collect();
    let (rise, count) = (mean(&rises), rises.len() as f64);
    let squares: f64 = rises.iter().map(|one| (one - rise).powi(2)).sum();
    SecondOpinion {
        demonstrations: mean(demonstrations),
        before: mean(old),
        after: mean(new),
        standard_error: (squares / (count - 1.0).max(1.0) / count).sqrt(),
        accuracy_after: accuracy(demonstrations, new, group),
    }
}

fn measure(
    (model, sft): (&CausalLm, &CausalLm),
    rows: &[Row],
    scores: &[f64],
    at: At,
    run: &Run<'_>,
) -> Result<Measures, TrainError> {
    let temperature = run.recipe.policy.temperature;
    let total = |log_probs: Vec<Vec<f32>>| -> f64 {
        log_probs.iter().flatten().map(|log_prob| f64::from(*log_prob)).sum()
    };
    let own = total(run.log_probs(model, rows, temperature)?);
    let reference = total(run.log_probs(sft, rows, temperature)?);
    let count = rows.len() as f64;
    let completions: Vec<&[u32]> = rows.iter().map(Row::completion).collect();
    Ok(Measures {
        reward: mean(scores),
        kl: (own - reference) / count,
        log_likelihood: -held_out_loss(model, at, run)?,
        length: completions.iter().map(|c| c.len()).sum::<usize>() as f64 / count,
        terminated: rows.iter().filter(|row| row.terminated).count() as f64 / count,
        repetition: completions.iter().map(|c| repetition(c)).sum::<f64>() / count,
        distinct_2: distinct(&completions),
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Share of (demonstration, sample of its prompt) pairs in order; ties count half.
fn accuracy(demonstrations: &[f64], samples: &[f64], group: usize) -> f64 {
    let one = |(index, sample): (usize, &f64)| match demonstrations[index / group] - sample {
        d if d > 0.0 => 1.0,
        d if d < 0.0 => 0.0,
        _ => 0.5,
    };
    samples.iter().enumerate().map(one).sum::<f64>() / samples.len().max(1) as f64
}

/// Share of 4-grams that repeat an earlier one.
fn repetition(tokens: &[u32]) -> f64 {
    let all = tokens.windows(4).count();
    let distinct: HashSet<&[u32]> = tokens.windows(4).collect();
    if all == 0 { 0.0 } else { 1.0 - distinct.len() as f64 / all as f64 }
}

/// Distinct 2-grams over all 2-grams of all completions.
fn distinct(completions: &[&[u32]]) -> f64 {
    let all: usize = completions.iter().map(|c| c.windows(2).count()).sum();
    let distinct: HashSet<&[u32]> = completions.iter().flat_map(|c| c.windows(2)).collect();
    distinct.len() as f64 / all.max(1) as f64
}

fn show(before: &[Row], after: &[Row], scores: [&[f64]; 3], at: At, run: &mut Run<'_>) {
    let group = run.recipe.gate.samples;
    let encoder = &run.task.encoder;
    let shown = run.recipe.run.shown_samples.min(run.task.held_out.len());
    let samples: Vec<ShownSample> = (0..shown)
        .map(|index| {
            let row = &run.task.held_out[index];
            let sample = index * group;
            ShownSample {
                prompt: encoder.decode(row.prompt()),
                demonstration: encoder.decode(row.completion()),
                before: encoder.decode(before[sample].completion()),
                after: encoder.decode(after[sample].completion()),
                rewards: [scores[0][index], scores[1][sample], scores[2][sample]],
            }
        })
        .collect();
    run.observer.observe(&Event::Samples { round: at.round, samples: &samples });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures() -> Measures {
        Measures {
            reward: -1.0,
            kl: 1.0,
            log_likelihood: -2.0,
            length: 10.0,
            terminated: 0.9,
            repetition: 0.1,
            distinct_2: 0.8,
        }
    }

    /// A round that every rule of the default recipe lets pass.
    fn good() -> RoundReport {
        RoundReport {
            round: 1,
            accepted: false,
            reasons: vec![],
            accuracy_initial: 0.9,
            accuracy_before: 0.7,
            accuracy_after: 0.6,
            demonstrations_reward: 0.0,
            judge: None,
            sft_log_likelihood: -2.0,
            calibration: [0.0, 1.0],
            before: measures(),
            after: Measures { reward: -0.5, ..measures() },
        }
    }

    #[test]
    fn a_good_round_passes_and_each_rule_alone_rejects_with_its_reason() {
        let recipe = Recipe::default();
        let why = |change: &dyn Fn(&mut RoundReport)| {
            let mut report = good();
            change(&mut report);
            report.objections(&recipe)
        };
        assert!(why(&|_| {}).is_empty());
        type Change = fn(&mut RoundReport);
        let rules: [(Change, &str); 9] = [
            (
                |r| (r.accuracy_initial, r.accuracy_before) = (0.5, 0.5),
                "reward accuracy on held-out demonstrations 0.500 < 0.55",
            ),
            (|r| r.after.reward = -1.0, "mean reward rose by 0.000"),
            (|r| r.after.kl = 30.1, "KL to SFT 30.10 > 30"),
            (|r| r.after.log_likelihood = -3.1, "fell 1.100 > 1 nats a token"),
            (|r| r.after.terminated = 0.84, "terminated completions fell from 0.900 to 0.840"),
            (|r| r.after.repetition = 0.21, "repetition rose from 0.100 to 0.210"),
            (|r| r.after.distinct_2 = 0.39, "distinct 2-grams fell from 0.800 to 0.390"),
            (|r| r.after.length = 20.5, "mean length changed from 10.0 to 20.5"),
            (|r| r.after.length = 4.9, "mean length changed from 10.0 to 4.9"),
        ];
        for (change, reason) in rules {
            let reasons = why(&change);
            assert_eq!(reasons.len(), 1, "{reasons:?}");
            assert!(reasons[0].contains(reason), "{reasons:?}");
        }
        // What cannot be judged is not kept.
        assert!(!why(&|r| r.after.kl = f64::NAN).is_empty());
        assert!(!why(&|r| r.after.length = f64::NAN).is_empty());
    }

    #[test]
    fn the_reward_s_accuracy_weighs_negatives_by_their_number() {
        let report = RoundReport { accuracy_initial: 1.0, accuracy_before: 0.4, ..good() };
        let kept = |initial, policy| {
            let mut recipe = Recipe::default();
            (recipe.negatives.initial, recipe.negatives.policy) = (initial, policy);
            report.objections(&recipe).is_empty()
        };
        assert!(kept(4, 2), "0.8");
        assert!(!kept(1, 5), "0.5");
        assert!(!kept(0, 1), "0.4");
        assert!(kept(1, 0), "1.0");
    }

    #[test]
    fn accuracy_compares_each_demonstration_with_its_own_samples() {
        let accuracy = accuracy(&[1.0, 0.0], &[0.5, 2.0, -1.0, 0.0], 2);
        assert_eq!(accuracy, (1.0 + 0.0 + 1.0 + 0.5) / 4.0);
    }

    #[test]
    fn repetition_and_diversity_see_a_loop() {
        assert_eq!(repetition(&[1, 2, 3, 4, 5]), 0.0);
        assert_eq!(repetition(&[1, 1, 1, 1, 1, 1]), 1.0 - 1.0 / 3.0);
        assert_eq!(distinct(&[&[1, 2, 3], &[1, 2, 4]]), 0.75);
        assert_eq!(repetition(&[1, 2]), 0.0);
    }
}
