//! Whether a round is kept: decided on held-out demonstrations, never on preferences or a gold reward.

use std::collections::HashSet;

use revealed_models::CausalLm;
use revealed_reward::{Audit, Group, RewardModel, Scored, audit};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::TrainError;
use crate::held_out::{Each, HeldOutSamples, Measures, accuracy, mean, measure};
use crate::observer::{At, Event, ShownSample};
use crate::pairs::{NegativeSource, count, weight};
use crate::recipe::{NegativesSection, Stop};
use crate::reward::Reward;
use crate::run::Run;
use crate::scores::{HeldOutScores, ScoredSamples};
use crate::sft::held_out_likelihood;
use crate::state::State;
use crate::task::Row;
use crate::validation_reward::{ValidationScores, validation_scores};
use crate::watch::Course;

mod rules;

pub use rules::best_round;

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
    pub validation_reward: Option<ValidationScores>,
    /// Log-likelihood of held-out demonstrations under the SFT model, nats a token.
    pub sft_log_likelihood: f64,
    /// How the policy's steps went: what left its healthy band first.
    #[serde(default)]
    pub course: Course,
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

/// Scores of several sets of completions, in canonical form, in one go: they begin with the same prompts.
fn scored_together<const N: usize>(
    reward: &dyn Reward,
    sets: [&Vec<Row>; N],
    run: &Run<'_>,
) -> Result<[Vec<f64>; N], TrainError> {
    let rows: Vec<Row> = sets.iter().flat_map(|rows| run.canonical(rows)).collect();
    let mut scores = reward.score(&rows, run)?.into_iter();
    Ok(sets.map(|rows| scores.by_ref().take(rows.len()).collect()))
}

/// Judges a candidate against the state's policy, and gives its held-out samples for the next round.
///
/// # Errors
/// When sampling or scoring fails, or the state has no reward.
pub fn evaluate_round(
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
    let sets = [&run.task.held_out, &held.initial, &held.sft, &held.policy, &after_rows];
    let [demonstrations, initial, imitated, old, new] = scored_together(reward, sets, run)?;
    let measured = |model, rows, scores: &[f64]| measure((model, sft), rows, scores, at, run);
    let (before, each_before) = measured(&state.policy, &held.policy, &old)?;
    let (after, each_after) = measured(candidate, &after_rows, &new)?;
    let (sft_log_likelihood, log_likelihood) = held_out_likelihood(sft, at, run)?;
    let each_sft = Each { log_likelihood, ..Each::default() };
    let group = run.recipe.gate.samples;
    let opinion = |second: &RewardModel| -> Result<ValidationScores, TrainError> {
        let sets = [&run.task.held_out, &held.policy, &after_rows];
        let [demonstrations, old, new] = scored_together(second, sets, run)?;
        Ok(validation_scores(&demonstrations, &old, &new, group))
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
        validation_reward: state.validation_reward.as_ref().map(opinion).transpose()?,
        course: state.course.clone(),
        sft_log_likelihood,
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
        initial: ScoredSamples::new(&held.initial, &initial, Each::default()),
        sft: ScoredSamples::new(&held.sft, &imitated, each_sft),
        before: ScoredSamples::new(&held.policy, &old, each_before),
        after: ScoredSamples::new(&after_rows, &new, each_after),
        demonstration_lengths: run.task.held_out.iter().map(|d| d.completion().len()).collect(),
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
    let all = [
        of(NegativeSource::Initial),
        of(NegativeSource::Sft),
        of(NegativeSource::Policy) + of(NegativeSource::Greedy),
    ];
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

fn show(before: &[Row], after: &[Row], scores: [&[f64]; 3], at: At, run: &mut Run<'_>) {
    let group = run.recipe.gate.samples;
    let encoder = &run.task.encoder;
    let shown = run.recipe.run.shown_samples.min(run.task.held_out.len());
    let samples: Vec<ShownSample> = (0..shown)
        .map(|index| {
            let row = &run.task.held_out[index];
            let sample = index * group;
            let text = |row: &Row| encoder.completion_text(row.prompt(), row.completion());
            ShownSample {
                prompt: encoder.decode(row.prompt()),
                demonstration: text(row),
                before: text(&before[sample]),
                after: text(&after[sample]),
                rewards: [scores[0][index], scores[1][sample], scores[2][sample]],
            }
        })
        .collect();
    run.observer.observe(&Event::Samples { round: at.round, samples: &samples });
}
