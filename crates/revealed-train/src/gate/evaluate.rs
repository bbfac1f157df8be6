//! Evaluation of a round on held-out demonstrations; preferences and gold rewards are never used.

use revealed_models::CausalLm;
use revealed_reward::{RewardEnsemble, RewardModel};

use super::audit::{AuditScores, audit_reward};
use super::figures::{KeptFigures, PolicyFigures};
use super::held_out::{HeldOutSamples, accuracy, mean, scored_samples};
use super::likelihood::held_out_likelihood;
use super::validation::validation_scores;
use crate::error::TrainError;
use crate::observer::Event;
use crate::recipe::Stop;
use crate::record::{
    At, HeldOutScores, RoundReport, ScoredSamples, ShownRewards, ShownSample, ValidationScores,
};
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

/// Result of the evaluation of a candidate.
pub(crate) struct Evaluation {
    pub report: RoundReport,
    /// Held-out samples of the candidate, which the next round needs.
    pub samples: Vec<Row>,
    /// Figures of the policy that is kept: the candidate if it is accepted, otherwise the policy before the round.
    pub kept_figures: KeptFigures,
}

/// Compares a candidate with the policy of the state; returns the report and the candidate's held-out samples.
///
/// # Errors
/// When sampling or scoring fails, or the state has no reward.
pub fn evaluate_round(
    candidate: &CausalLm,
    state: &State,
    at: At,
    run: &mut Run<'_>,
) -> Result<(RoundReport, Vec<Row>), TrainError> {
    let evaluation = evaluate_candidate(candidate, state, at, run)?;
    Ok((evaluation.report, evaluation.samples))
}

/// As [`evaluate_round`], with the figures that later rounds reuse.
pub(crate) fn evaluate_candidate(
    candidate: &CausalLm,
    state: &State,
    at: At,
    run: &mut Run<'_>,
) -> Result<Evaluation, TrainError> {
    let (held, sft) = (&state.held, &state.sft);
    let Some(reward) = &state.reward else {
        let advice = "fit a reward first";
        return Err(TrainError::TooFew { what: "rewards", found: 0, needed: 1, advice });
    };
    let samples = HeldOutSamples::draw(candidate, HeldOutSamples::NOISE, run)?;
    let sets = [&run.task.held_out, &held.initial, &held.sft, &held.policy, &samples];
    let [demonstrations, initial, of_sft, before, after] = scored_together(reward, sets, run)?;
    let rewards = Rewards { demonstrations, initial, sft: of_sft, before, after };
    let before = match &state.kept_figures {
        Some(figures) => figures.clone(),
        None => KeptFigures {
            policy: PolicyFigures::measure(&state.policy, sft, &held.policy, at, run)?,
            sft: held_out_likelihood(sft, at, run)?,
        },
    };
    let after = PolicyFigures::measure(candidate, sft, &samples, at, run)?;
    let figures = Figures { before: &before, after: &after };
    let validation_reward = validate(state.validation_reward.as_ref(), held, &samples, run)?;
    let report = report(state, reward, &rewards, figures, validation_reward, at, run)?;
    show(&held.policy, &samples, &rewards, at, run);
    let scores = held_out_scores(held, &samples, rewards, figures, run);
    run.observer.observe(&Event::HeldOut { round: at.round, scores: &scores });
    let policy = if report.accepted { after } else { before.policy };
    let kept_figures = KeptFigures { policy, sft: before.sft };
    Ok(Evaluation { report, samples, kept_figures })
}

/// Figures of the policy before the round and of the candidate.
#[derive(Clone, Copy)]
struct Figures<'a> {
    before: &'a KeptFigures,
    after: &'a PolicyFigures,
}

/// The report of the round with its decision.
fn report(
    state: &State,
    reward: &RewardEnsemble,
    rewards: &Rewards,
    figures: Figures<'_>,
    validation_reward: Option<ValidationScores>,
    at: At,
    run: &Run<'_>,
) -> Result<RoundReport, TrainError> {
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
        audit: audit_reward(reward, &negatives, &state.held, &audit_scores, run)?,
        validation_reward,
        health: state.health.clone(),
        sft_log_likelihood: figures.before.sft.per_token,
        calibration: reward.members.first().map(|first| first.calibration).unwrap_or_default(),
        before: figures.before.policy.measures(mean(&rewards.before)),
        after: figures.after.measures(mean(&rewards.after)),
    };
    Ok(decide(report, run))
}

/// Scores per sample and per demonstration.
fn held_out_scores(
    held: &HeldOutSamples,
    samples: &[Row],
    rewards: Rewards,
    figures: Figures<'_>,
    run: &Run<'_>,
) -> HeldOutScores {
    let Figures { before, after } = figures;
    HeldOutScores {
        samples_per_prompt: run.recipe.gate.samples,
        initial: scored_samples(&held.initial, &rewards.initial, None),
        sft: ScoredSamples {
            log_likelihood: before.sft.per_demonstration.clone(),
            ..scored_samples(&held.sft, &rewards.sft, None)
        },
        before: scored_samples(&held.policy, &rewards.before, Some(&before.policy)),
        after: scored_samples(samples, &rewards.after, Some(after)),
        demonstration_lengths: run.task.held_out.iter().map(|d| d.completion().len()).collect(),
        demonstrations: rewards.demonstrations,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Tuning;
    use crate::record::Phase;
    use crate::testing::World;

    #[test]
    fn kept_figures_give_the_same_report_as_measuring_again() {
        for min_gain in [f64::NEG_INFINITY, 1e9] {
            let world = World::new(Tuning::Lora, |recipe| {
                (recipe.run.rounds, recipe.gate.patience) = (2, 9);
                recipe.gate.min_gain = min_gain;
            });
            let (_, states) = world.align();
            let second = states.iter().find(|s| (s.round, s.phase) == (2, Phase::Gate)).unwrap();
            assert!(second.kept_figures.is_some());
            let report = |state: &State| {
                let candidate = state.candidate.clone().unwrap();
                let at = At::new(2, Phase::Gate, 0);
                world.run(&mut (), |run| evaluate_candidate(&candidate, state, at, run)).unwrap()
            };
            let again = report(&State { kept_figures: None, ..second.clone() });
            let kept = report(second);
            assert_eq!(kept.report, again.report);
            assert_eq!(kept.kept_figures, again.kept_figures);
        }
    }
}
