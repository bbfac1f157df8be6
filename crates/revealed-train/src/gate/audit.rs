//! The shortcut audit of a reward: does it know more than length and words.

use std::collections::HashSet;

use revealed_reward::{Audit, Group, RewardEnsemble, Scored, audit};

use super::held_out::HeldOutSamples;
use crate::error::TrainError;
use crate::fit::Negative;
use crate::run::Run;
use crate::task::Row;

/// Scores on held-out prompts, `gate.samples` adjacent ones per prompt for samples.
pub(super) struct AuditScores<'a> {
    pub demonstrations: &'a [f64],
    pub initial: &'a [f64],
    pub sft: &'a [f64],
    pub policy: &'a [f64],
}

/// The shortcut audit on held-out prompts. Samples are of the sources that the reward was fitted on: the initial model, the
/// SFT model, the policy before the round, or all three if it was fitted on none of them. The probes are fitted to
/// `negatives`, the pairs that the reward was fitted on.
pub(super) fn audit_reward(
    reward: &RewardEnsemble,
    negatives: &[&Negative],
    held: &HeldOutSamples,
    scores: &AuditScores<'_>,
    run: &Run<'_>,
) -> Result<Audit, TrainError> {
    let task = run.task;
    let mut train: Vec<Group<'_>> = task.train.iter().map(|row| group_of(row, 0.0)).collect();
    for negative in negatives {
        train[negative.demonstration].samples.push(scored(&negative.row, 0.0));
    }
    let demonstrations = task.held_out.iter().zip(scores.demonstrations);
    let mut held_out: Vec<Group<'_>> =
        demonstrations.map(|(row, score)| group_of(row, *score)).collect();
    let group = run.recipe.gate.samples;
    let shares = run.recipe.negatives.sample_shares();
    let against: Vec<(Vec<Row>, &[f64])> = [
        (&held.initial, scores.initial, shares.initial),
        (&held.sft, scores.sft, shares.sft),
        (&held.policy, scores.policy, shares.policy),
    ]
    .into_iter()
    .filter(|(_, _, share)| *share > 0.0)
    .map(|(rows, scores, _)| (run.canonical(rows), scores))
    .collect();
    for (rows, scores) in &against {
        for (index, (row, score)) in rows.iter().zip(*scores).enumerate() {
            held_out[index / group].samples.push(scored(row, *score));
        }
    }
    let rows = task.held_out.iter().chain(against.iter().flat_map(|(rows, _)| rows));
    let used: HashSet<u32> = rows.flat_map(|row| row.completion().iter().copied()).collect();
    let marks: HashSet<u32> = used.into_iter().filter(|id| is_mark(*id, run)).collect();
    let scale = reward.members.first().map_or(1.0, |first| first.calibration.scale);
    Ok(audit(&train, &held_out, scale, &|id| marks.contains(&id))?)
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
