//! Evaluation of a round on held-out demonstrations; preferences and gold rewards are never used.

use revealed_models::CausalLm;
use revealed_reward::RewardModel;

use super::audit::{AuditScores, audit_reward};
use super::held_out::{HeldOutSamples, PerSample, accuracy, mean, measure};
use super::likelihood::held_out_likelihood;
use super::validation::validation_scores;
use crate::error::TrainError;
use crate::observer::Event;
use crate::recipe::Stop;
use crate::record::{At, HeldOutScores, RoundReport, ShownRewards, ShownSample, ValidationScores};
use crate::reward::Reward;
use crate::run::Run;
use crate::state::State;
use crate::task::Row;

/// Calibrated rewards on held-out prompts.
struct Rewards {
    demonstrations: Vec<f64>,
    initial: Vec<f64>,
    sft: Vec<f64>,
    before: Vec<f64>,
    after: Vec<f64>,
}

/// Compares a candidate with the policy of the state; returns the report and the candidate's held-out samples, which the next
/// round needs.
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
    let [demonstrations, initial, of_sft, before, after] = scored_together(reward, sets, run)?;
    let rewards = Rewards { demonstrations, initial, sft: of_sft, before, after };
    let measured = |model, rows, scores: &[f64]| measure((model, sft), rows, scores, at, run);
    let (before, each_before) = measured(&state.policy, &held.policy, &rewards.before)?;
    let (after, each_after) = measured(candidate, &after_rows, &rewards.after)?;
    let of_sft = held_out_likelihood(sft, at, run)?;
    let group = run.recipe.gate.samples;
    let accuracy_against = |samples: &[f64]| accuracy(&rewards.demonstrations, samples, group);
    let negatives = state.pool.of_round(at.round, &run.recipe.reward);
    let audit_scores = AuditScores {
        demonstrations: &rewards.demonstrations,
        initial: &rewards.initial,
        sft: &rewards.sft,
        policy: &rewards.before,
    };
    let report = RoundReport {
        round: at.round,
        accepted: false,
        reasons: vec![],
        accuracy_initial: accuracy_against(&rewards.initial),
        accuracy_sft: accuracy_against(&rewards.sft),
        accuracy_before: accuracy_against(&rewards.before),
        accuracy_after: accuracy_against(&rewards.after),
        demonstrations_reward: mean(&rewards.demonstrations),
        audit: audit_reward(reward, &negatives, held, &audit_scores, run)?,
        validation_reward: validate(state.validation_reward.as_ref(), held, &after_rows, run)?,
        health: state.health.clone(),
        sft_log_likelihood: of_sft.per_token,
        calibration: reward.members.first().map(|first| first.calibration).unwrap_or_default(),
        before,
        after,
    };
    let report = decide(report, run);
    show(&held.policy, &after_rows, &rewards, at, run);
    let each_sft = PerSample { log_likelihood: of_sft.per_demonstration, ..PerSample::default() };
    let scores = HeldOutScores {
        samples_per_prompt: group,
        initial: PerSample::default().scored(&held.initial, &rewards.initial),
        sft: each_sft.scored(&held.sft, &rewards.sft),
        before: each_before.scored(&held.policy, &rewards.before),
        after: each_after.scored(&after_rows, &rewards.after),
        demonstration_lengths: run.task.held_out.iter().map(|d| d.completion().len()).collect(),
        demonstrations: rewards.demonstrations,
    };
    run.observer.observe(&Event::HeldOut { round: at.round, scores: &scores });
    Ok((report, after_rows))
}

/// Scores of several sets of completions, in canonical form. They share prompts, so one call computes each prompt once.
fn scored_together<const N: usize>(
    reward: &dyn Reward,
    sets: [&Vec<Row>; N],
    run: &Run<'_>,
) -> Result<[Vec<f64>; N], TrainError> {
    let rows: Vec<Row> = sets.iter().flat_map(|rows| run.canonical(rows)).collect();
    let mut scores = reward.score(&rows, run)?.into_iter();
    Ok(sets.map(|rows| scores.by_ref().take(rows.len()).collect()))
}

/// Scores by the validation reward, if there is one.
fn validate(
    validation_reward: Option<&RewardModel>,
    held: &HeldOutSamples,
    after: &Vec<Row>,
    run: &Run<'_>,
) -> Result<Option<ValidationScores>, TrainError> {
    let Some(reward) = validation_reward else { return Ok(None) };
    let sets = [&run.task.held_out, &held.policy, after];
    let [demonstrations, before, after] = scored_together(reward, sets, run)?;
    Ok(Some(validation_scores(&demonstrations, &before, &after, run.recipe.gate.samples)))
}

/// The report with decision and reasons.
fn decide(mut report: RoundReport, run: &Run<'_>) -> RoundReport {
    report.reasons = report.objections(run.recipe);
    report.accepted = report.reasons.is_empty();
    let passed = report.after.reward >= report.demonstrations_reward;
    if report.accepted && passed && run.recipe.gate.stop == Stop::PassedDemonstrations {
        report.reasons.push(format!(
            "stop: samples score {:.2}, held-out demonstrations {:.2}; another round would teach the flaws of the demonstrations",
            report.after.reward, report.demonstrations_reward
        ));
    }
    report
}

/// Sends the first held-out prompts with their completions to the observer.
fn show(before: &[Row], after: &[Row], rewards: &Rewards, at: At, run: &mut Run<'_>) {
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
                rewards: ShownRewards {
                    demonstration: rewards.demonstrations[index],
                    before: rewards.before[sample],
                    after: rewards.after[sample],
                },
            }
        })
        .collect();
    run.observer.observe(&Event::Samples { round: at.round, samples: &samples });
}
