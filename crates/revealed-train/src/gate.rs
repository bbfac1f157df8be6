//! Whether a round is kept: decided on held-out demonstrations, never on preferences or a gold reward.

use std::collections::HashSet;

use revealed_models::CausalLm;
use revealed_reward::{Audit, Group, RewardModel, Scored, audit};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::TrainError;
use crate::held_out::{HeldOutSamples, Measures, accuracy, mean, measure};
use crate::observer::{At, Event, ShownSample};
use crate::opinion::{SecondOpinion, second_opinion};
use crate::pairs::{Origin, count, weight};
use crate::recipe::{Anchor, GateSection, NegativesSection, Recipe, Stop};
use crate::run::Run;
use crate::scores::{HeldOutScores, ScoredSamples};
use crate::sft::held_out_loss;
use crate::state::State;
use crate::task::Row;

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
    /// The same above samples of the SFT model; not a number in files from before it was reported.
    #[serde(default = "unknown", deserialize_with = "number_or_null")]
    pub accuracy_sft: f64,
    /// The same above samples of the policy before the round.
    pub accuracy_before: f64,
    /// The same above samples after it; below ½ the policy has passed the demonstrations.
    pub accuracy_after: f64,
    /// Mean calibrated reward of held-out demonstrations.
    pub demonstrations_reward: f64,
    /// What the reward knows beyond length and words.
    pub audit: Audit,
    /// The judge's view, where there is one.
    pub judge: Option<SecondOpinion>,
    /// Log-likelihood of held-out demonstrations under the SFT model, nats a token.
    pub sft_log_likelihood: f64,
    /// Shift and scale, of the first reward of an ensemble.
    pub calibration: [f64; 2],
    /// The policy before the round.
    pub before: Measures,
    /// The candidate.
    pub after: Measures,
}

fn unknown() -> f64 {
    f64::NAN
}

/// JSON has no NaN, and writes null.
fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// Judges a candidate against the state's policy, and gives its held-out samples for the next round.
///
/// # Errors
/// When sampling or scoring fails, or the state has no reward.
pub fn judge(
    candidate: &CausalLm,
    state: &State,
    at: At,
    run: &mut Run<'_>,
) -> Result<(RoundReport, Vec<Row>), TrainError> {
    let (held, sft) = (&state.held, &state.sft);
    let Some(reward) = &state.reward else {
        let advice = "fit a reward first";
        return Err(TrainError::TooFew { what: "rewards", found: 0, needed: 1, advice });
    };
    let after_rows = HeldOutSamples::draw(candidate, HeldOutSamples::NOISE, run)?;
    let (pad, tokens) = (run.task.pad_id(), run.recipe.run.micro_batch_tokens);
    let scores = |rows: &[Row]| reward.scores(&run.canonical(rows), pad, tokens);
    let demonstrations = scores(&run.task.held_out)?;
    let initial = scores(&held.initial)?;
    let imitated = scores(&held.sft)?;
    let old = scores(&held.policy)?;
    let new = scores(&after_rows)?;
    let measured = |model, rows, scores: &[f64]| measure((model, sft), rows, scores, at, run);
    let (before, kl_before) = measured(&state.policy, &held.policy, &old)?;
    let (after, kl_after) = measured(candidate, &after_rows, &new)?;
    let group = run.recipe.gate.samples;
    let opinion = |second: &RewardModel| -> Result<SecondOpinion, TrainError> {
        let rows = [&run.task.held_out, &held.policy, &after_rows];
        let [demonstrations, old, new] =
            rows.map(|rows| second.scores(&run.canonical(rows), pad, tokens));
        Ok(second_opinion(&demonstrations?, &old?, &new?, group))
    };
    let mut report = RoundReport {
        round: at.round,
        accepted: false,
        reasons: vec![],
        accuracy_initial: accuracy(&demonstrations, &initial, group),
        accuracy_sft: accuracy(&demonstrations, &imitated, group),
        accuracy_before: accuracy(&demonstrations, &old, group),
        accuracy_after: accuracy(&demonstrations, &new, group),
        demonstrations_reward: mean(&demonstrations),
        audit: audit_of(state, [&demonstrations, &initial, &imitated, &old], at, run)?,
        judge: state.judge.as_ref().map(opinion).transpose()?,
        sft_log_likelihood: -held_out_loss(sft, at, run)?,
        calibration: reward
            .members
            .first()
            .map_or([0.0, 1.0], |first| [first.calibration.shift, first.calibration.scale]),
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
    let scores = HeldOutScores {
        samples_per_prompt: group,
        initial: ScoredSamples::new(&held.initial, &initial, vec![]),
        sft: ScoredSamples::new(&held.sft, &imitated, vec![]),
        before: ScoredSamples::new(&held.policy, &old, kl_before),
        after: ScoredSamples::new(&after_rows, &new, kl_after),
        demonstrations,
    };
    run.observer.observe(&Event::HeldOut { round: at.round, scores: &scores });
    Ok((report, after_rows))
}

/// The shortcut audit on held-out prompts, against samples of the kinds that the reward was fitted to tell from
/// demonstrations: of the initial model, the SFT model, the policy before the round, or all without any of these. Its
/// probes are fitted to the pairs that the reward was fitted to.
fn audit_of(
    state: &State,
    [demonstrations, initial, imitated, policy]: [&[f64]; 4],
    at: At,
    run: &Run<'_>,
) -> Result<Audit, TrainError> {
    let task = run.task;
    let negatives = state.pool.of_round(at.round, &run.recipe.reward);
    let mut train: Vec<Group<'_>> = task.train.iter().map(|row| group_of(row, 0.0)).collect();
    for negative in negatives {
        train[negative.demonstration].samples.push(scored(&negative.row, 0.0));
    }
    let mut held: Vec<Group<'_>> =
        task.held_out.iter().zip(demonstrations).map(|(row, d)| group_of(row, *d)).collect();
    let group = run.recipe.gate.samples;
    let HeldOutSamples { initial: by_initial, sft, policy: by_policy } = &state.held;
    let shares = shares(&run.recipe.negatives);
    let all = [(by_initial, initial), (sft, imitated), (by_policy, policy)];
    let against: Vec<(Vec<Row>, &[f64])> = all
        .into_iter()
        .zip(shares)
        .filter(|(_, share)| *share > 0.0)
        .map(|((rows, scores), _)| (run.canonical(rows), scores))
        .collect();
    for (rows, scores) in &against {
        for (index, (row, score)) in rows.iter().zip(*scores).enumerate() {
            held[index / group].samples.push(scored(row, *score));
        }
    }
    let rows = task.held_out.iter().chain(against.iter().flat_map(|(rows, _)| rows));
    let used: HashSet<u32> = rows.flat_map(|row| row.completion().iter().copied()).collect();
    let marks: HashSet<u32> = used.into_iter().filter(|id| is_mark(*id, run)).collect();
    let scale = state.reward.as_ref().and_then(|reward| reward.members.first());
    let scale = scale.map_or(1.0, |first| first.calibration.scale);
    Ok(audit(&train, &held, scale, &|id| marks.contains(&id))?)
}

/// What samples of the initial model, the SFT model and the policies weigh among a demonstration's pairs; a third each where
/// there are made-up negatives alone, which have no samples of their own on held-out prompts.
fn shares(negatives: &NegativesSection) -> [f64; 3] {
    let of = |origin| count(negatives, origin) as f64 * weight(&negatives.weights, origin);
    let all = [of(Origin::Initial), of(Origin::Sft), of(Origin::Policy) + of(Origin::Greedy)];
    let total: f64 = all.iter().sum();
    if total == 0.0 { [1.0 / 3.0; 3] } else { all.map(|one| one / total) }
}

fn group_of(demonstration: &Row, score: f64) -> Group<'_> {
    Group { demonstration: scored(demonstration, score), samples: vec![] }
}

fn scored(row: &Row, score: f64) -> Scored<'_> {
    Scored { tokens: row.completion(), terminated: row.terminated, score }
}

/// Whether a token is punctuation or markup: no letter and no digit, and not only space.
fn is_mark(id: u32, run: &Run<'_>) -> bool {
    let text = run.task.encoder.decode(&[id]);
    let text = text.trim();
    !text.is_empty() && !text.chars().any(char::is_alphanumeric)
}

/// What a nat of KL to the SFT model costs; nothing where the anchor has moved away from that.
fn kl_price(recipe: &Recipe) -> f64 {
    if recipe.policy.anchor == Anchor::Sft { recipe.policy.kl_coef } else { 0.0 }
}

impl RoundReport {
    /// How far the round raised what it maximises, on held-out prompts: `Δ E[r] − β Δ KL(π ‖ π_SFT)`.
    pub fn objective_gain(&self, recipe: &Recipe) -> f64 {
        let RoundReport { before, after, .. } = self;
        after.reward - before.reward - kl_price(recipe) * (after.kl - before.kl)
    }

    /// Why a candidate is not kept; empty if it is.
    pub fn objections(&self, recipe: &Recipe) -> Vec<String> {
        let RoundReport { before, after, .. } = self;
        let GateSection {
            min_accuracy,
            min_beyond_shortcuts,
            min_length_matched_accuracy,
            max_length_correlation,
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
        let accuracies = [self.accuracy_initial, self.accuracy_sft, self.accuracy_before];
        let shares = shares(&recipe.negatives).into_iter().zip(accuracies);
        let pooled: f64 =
            shares.filter(|(share, _)| *share > 0.0).map(|(share, a)| share * a).sum();
        let drop = self.sft_log_likelihood - after.log_likelihood;
        let longer = (after.length / before.length).max(before.length / after.length.max(1e-9));
        let gain = self.objective_gain(recipe);
        let beyond = self.audit.beyond_shortcuts();
        let matched = self.audit.length_matched_upper();
        let correlation = self.audit.length_correlation;
        let judged = self.judge.map_or(f64::INFINITY, |judge| judge.gain());
        let rules = [
            (
                pooled >= min_accuracy,
                format!(
                    "reward accuracy on held-out demonstrations {pooled:.3} < {min_accuracy}: it tells them from negatives no better than chance"
                ),
            ),
            (
                beyond >= min_beyond_shortcuts,
                format!(
                    "reward accuracy less that of the better of two probes, on length and on words, is {beyond:.3} < {min_beyond_shortcuts}: what it has learned is a shortcut"
                ),
            ),
            (
                matched.is_none_or(|accuracy| accuracy >= min_length_matched_accuracy),
                format!(
                    "reward accuracy on pairs of like length is {min_length_matched_accuracy} or more at no place of its 95 % interval, which ends at {:.3}: what it has learned is length",
                    matched.unwrap_or(f64::NAN)
                ),
            ),
            (
                correlation.is_none_or(|r| r.abs() <= max_length_correlation),
                format!(
                    "reward and length correlate by {:.3} within prompts, more than {max_length_correlation}",
                    correlation.unwrap_or(f64::NAN)
                ),
            ),
            (
                gain > min_gain,
                format!(
                    "reward less KL moved by {gain:+.3}, which has to be more than {min_gain}: reward by {:+.3}, KL by {:+.2} nats at {} a nat; a solver that lowers what it maximises has failed",
                    after.reward - before.reward,
                    after.kl - before.kl,
                    kl_price(recipe)
                ),
            ),
            (
                judged >= min_judge_gain,
                format!(
                    "the judge's score moved by {judged:+.2} standard errors, which has to be {min_judge_gain} or more"
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

    /// What an honest reward leaves.
    fn fair_audit() -> Audit {
        Audit {
            prompts: 60,
            pairs: 240,
            accuracy: 0.8,
            auc: 0.8,
            ece: 0.05,
            length_accuracy: 0.6,
            bag_accuracy: 0.7,
            length_matched_prompts: 50,
            length_matched_pairs: 100,
            length_matched_accuracy: Some(0.75),
            bag_hard_pairs: 60,
            bag_hard_accuracy: Some(0.6),
            length_correlation: Some(0.1),
            terminated_correlation: None,
            repetition_correlation: Some(-0.2),
            marks_correlation: Some(0.0),
        }
    }

    /// A round that every rule of the default recipe lets pass.
    fn good() -> RoundReport {
        RoundReport {
            round: 1,
            accepted: false,
            reasons: vec![],
            accuracy_initial: 0.9,
            accuracy_sft: 0.7,
            accuracy_before: 0.7,
            accuracy_after: 0.6,
            demonstrations_reward: 0.0,
            audit: fair_audit(),
            judge: None,
            sft_log_likelihood: -2.0,
            calibration: [0.0, 1.0],
            before: measures(),
            after: Measures { reward: -0.5, ..measures() },
        }
    }

    #[test]
    fn a_report_without_the_sft_model_s_accuracy_is_read_again_and_again() {
        let mut report = serde_json::to_value(good()).unwrap();
        report.as_object_mut().unwrap().remove("accuracy_sft");
        for _ in 0..2 {
            let read: RoundReport = serde_json::from_value(report).unwrap();
            assert!(read.accuracy_sft.is_nan());
            report = serde_json::to_value(read).unwrap();
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
        let rules: [(Change, &str); 12] = [
            (
                |r| (r.accuracy_initial, r.accuracy_before) = (0.5, 0.5),
                "reward accuracy on held-out demonstrations 0.500 < 0.55",
            ),
            (
                |r| r.audit.bag_accuracy = 0.91,
                "is -0.110 < -0.1: what it has learned is a shortcut",
            ),
            (
                |r| r.audit.length_matched_accuracy = Some(0.3),
                "is 0.5 or more at no place of its 95 % interval, which ends at 0.4",
            ),
            (|r| r.audit.length_correlation = Some(-0.91), "correlate by -0.910 within prompts"),
            (
                |r| r.after.reward = -1.06,
                "reward less KL moved by -0.060, which has to be more than -0.05",
            ),
            (|r| (r.before.kl, r.after.kl) = (30.0, 30.1), "KL to SFT 30.10 > 30"),
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
        // A reward that is bought with more KL than it is worth, at 0.1 a nat; with a moving anchor no one can tell.
        let bought = |r: &mut RoundReport| (r.after.reward, r.after.kl) = (-0.5, 7.0);
        let reasons = why(&bought);
        assert_eq!(reasons.len(), 1);
        assert!(
            reasons[0].contains("by -0.100") && reasons[0].contains("KL by +6.00"),
            "{reasons:?}"
        );
        let mut moving = Recipe::default();
        moving.policy.anchor = Anchor::Moving;
        let mut report = good();
        bought(&mut report);
        assert!(report.objections(&moving).is_empty());
        // Of 50 prompts, 0.4 may be chance.
        assert!(why(&|r| r.audit.length_matched_accuracy = Some(0.4)).is_empty());
        // No pairs of like length, or no two lengths, are no objection.
        assert!(why(&|r| r.audit.length_matched_accuracy = None).is_empty());
        assert!(why(&|r| r.audit.length_correlation = None).is_empty());
        // What cannot be judged is not kept.
        assert!(!why(&|r| r.after.kl = f64::NAN).is_empty());
        assert!(!why(&|r| r.after.length = f64::NAN).is_empty());
    }

    #[test]
    fn a_round_that_the_judge_likes_less_is_not_kept() {
        let judged = |before, after, min_judge_gain| {
            let mut recipe = Recipe::default();
            recipe.gate.min_judge_gain = min_judge_gain;
            let standard_error = 0.25;
            let (demonstrations, accuracy_after) = (0.0, 0.5);
            let judge =
                SecondOpinion { demonstrations, before, after, standard_error, accuracy_after };
            RoundReport { judge: Some(judge), ..good() }.objections(&recipe)
        };
        let reasons = judged(-0.5, -1.0, 0.0);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        let reason = "the judge's score moved by -2.00 standard errors, which has to be 0 or more";
        assert_eq!(reasons[0], reason);
        assert!(judged(-1.0, -0.5, 0.0).is_empty());
        assert!(judged(-1.0, -1.0, 0.0).is_empty(), "a score that stays has not fallen");
        assert!(judged(-1.0, -0.5, 2.0).is_empty());
        assert_eq!(judged(-1.0, -0.5, 2.1).len(), 1);
        assert!(judged(-0.5, -1.0, -2.0).is_empty());
        assert_eq!(judged(f64::NAN, 0.0, f64::NEG_INFINITY).len(), 1, "what cannot be judged");
        // Without a judge there is nothing to object to, whatever is asked for.
        let mut recipe = Recipe::default();
        recipe.gate.min_judge_gain = 1e9;
        assert!(good().objections(&recipe).is_empty());
    }

    #[test]
    fn the_reward_s_accuracy_weighs_negatives_by_number_and_weight() {
        let report = RoundReport {
            accuracy_initial: 1.0,
            accuracy_sft: 0.7,
            accuracy_before: 0.4,
            ..good()
        };
        let kept = |initial, sft, policy| {
            let mut recipe = Recipe::default();
            let negatives = &mut recipe.negatives;
            (negatives.initial, negatives.sft, negatives.policy) = (initial, sft, policy);
            report.objections(&recipe).is_empty()
        };
        assert!(kept(4, 0, 2), "0.8");
        assert!(!kept(1, 0, 5), "0.5");
        assert!(!kept(0, 0, 1), "0.4");
        assert!(kept(1, 0, 0), "1.0");
        assert!(kept(0, 4, 0), "0.7");
        assert!(!kept(0, 1, 3), "0.475");
        let weighed = |initial| {
            let mut recipe = Recipe::default();
            (recipe.negatives.initial, recipe.negatives.policy) = (4, 2);
            recipe.negatives.weights.initial = initial;
            report.objections(&recipe).is_empty()
        };
        assert!(weighed(1.0), "0.8");
        assert!(!weighed(0.0), "0.4");
        // An unknown one does not matter where there are none such.
        let unknown = RoundReport { accuracy_sft: f64::NAN, ..report.clone() };
        assert!(unknown.objections(&Recipe::default()).is_empty());
        let alone = |accuracy_before| {
            let mut recipe = Recipe::default();
            (recipe.negatives.initial, recipe.negatives.policy) = (0, 0);
            recipe.negatives.truncated = 1;
            RoundReport { accuracy_before, ..report.clone() }.objections(&recipe).is_empty()
        };
        assert!(alone(0.4), "0.7");
        assert!(!alone(-0.1), "0.533");
    }
}
