//! The report of a run, as Markdown.

use std::fmt::Write;

use crate::recipe::Recipe;
use crate::record::{Measures, RoundReport};
use crate::state::State;
use crate::task::Task;

/// The report of a finished run: kept rounds and held-out figures.
pub fn report_markdown(state: &State, recipe: &Recipe, task: &Task) -> String {
    let mut text = String::new();
    let kept = state.reports.iter().filter(|report| report.accepted).count();
    let _ = writeln!(
        text,
        "# Alignment run\n\n{kept} of {} rounds kept, from {} demonstrations ({} held out) and {} prompts. Model: `{}`.\n",
        state.reports.len(),
        task.train.len(),
        task.held_out.len(),
        task.prompts.len(),
        recipe.model.path,
    );
    if let Some(why) = state.stopped_early(recipe) {
        let _ = writeln!(text, "{why}.\n");
    }
    let last_kept = state.reports.iter().rev().find(|report| report.accepted);
    match (last_kept, state.reports.last()) {
        (Some(kept), _) => {
            let _ = writeln!(text, "`policy/` and `reward/` are those of round {}.\n", kept.round);
        }
        (None, Some(last)) => {
            let _ = writeln!(
                text,
                "No round was kept: `policy/` is the SFT model, and `reward/` that of round {}, which failed its gate.\n",
                last.round
            );
        }
        (None, None) => {}
    }
    for note in &task.notes {
        let _ = writeln!(text, "- {note}");
    }
    for report in &state.reports {
        text.push_str(&round_markdown(report));
    }
    text
}

/// Held-out figures of one round.
pub fn round_markdown(report: &RoundReport) -> String {
    let mut text = String::new();
    let verdict = if report.accepted { "kept" } else { "rolled back" };
    let _ = writeln!(text, "\n## Round {}: {verdict}\n", report.round);
    for reason in &report.reasons {
        let _ = writeln!(text, "- {reason}");
    }
    let _ = writeln!(
        text,
        "\nThe reward puts held-out demonstrations above samples of the initial model in {:.3} of pairs, of the SFT model in {:.3}, of the policy before the round in {:.3}, after it in {:.3}. Calibrated reward of held-out demonstrations: {:.2} (1 = the standard deviation between samples of one prompt).\n",
        report.accuracy_initial,
        report.accuracy_sft,
        report.accuracy_before,
        report.accuracy_after,
        report.demonstrations_reward,
    );
    if let Some(first) = &report.health.first_violation {
        let _ = writeln!(text, "First violation of an expected range: {first}.\n");
    }
    shortcut_audit(&mut text, report);
    if let Some(scores) = &report.validation_reward {
        let _ = writeln!(
            text,
            "Validation reward, never optimised against: samples {:.2} before, {:.2} after ({:+.1} standard errors), demonstrations {:.2}.\n",
            scores.before,
            scores.after,
            scores.gain(),
            scores.demonstrations,
        );
    }
    let _ = writeln!(text, "| held-out prompts | before | after |\n|---|---|---|");
    for (name, figure) in figures() {
        let (before, after) = (figure(&report.before), figure(&report.after));
        let _ = writeln!(text, "| {name} | {before:.3} | {after:.3} |");
    }
    text
}

/// The shortcut audit and its warnings.
fn shortcut_audit(text: &mut String, report: &RoundReport) {
    let audit = &report.audit;
    let _ = writeln!(
        text,
        "Shortcuts: the reward orders {:.3} of {} held-out pairs, length alone {:.3}, a bag of tokens {:.3}; length-matched pairs {}; AUC {:.3}, calibration error {:.3}.\n",
        audit.accuracy,
        audit.pairs,
        audit.length_accuracy,
        audit.bag_accuracy,
        audit.length_matched_accuracy.map_or("none".into(), |share| format!("{share:.3}")),
        audit.auc,
        audit.ece,
    );
    for warning in audit.warnings() {
        let _ = writeln!(text, "- {warning}");
    }
    text.push('\n');
}

type Figure = (&'static str, fn(&Measures) -> f64);

/// Names of the figures in [`Measures`], for tables.
pub fn figures() -> [Figure; 7] {
    [
        ("reward of samples", |m| m.reward),
        ("KL to SFT, nats/completion", |m| m.kl),
        ("log-likelihood of demonstrations, nats/token", |m| m.log_likelihood),
        ("length, tokens", |m| m.length),
        ("terminated", |m| m.terminated),
        ("repeated 4-grams", |m| m.repetition),
        ("distinct 2-grams", |m| m.distinct_2),
    ]
}
