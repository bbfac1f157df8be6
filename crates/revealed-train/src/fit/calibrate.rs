//! Calibration of a fitted reward: shift and scale.
//!
//! Demonstrations score 0 on average, and 1 is the standard deviation within prompts of samples of the policy or of the SFT
//! model: the pairwise loss leaves a free offset per prompt, so the overall standard deviation would be arbitrary.

use revealed_models::{CausalLm, Decoding};
use revealed_reward::{Calibration, RewardEnsemble, RewardModel};

use super::pairs::Negative;
use crate::error::TrainError;
use crate::recipe::{NegativeSource, ScaleFrom};
use crate::record::{At, Phase};
use crate::run::{Draw, Run};
use crate::task::Row;

/// Prompts with fresh samples, at most.
const FRESH_PROMPTS: usize = 64;

/// Shifts and scales a fitted reward: demonstrations average 0; 1 is the standard deviation of samples of the policy within a
/// prompt.
///
/// # Errors
/// When a score is not finite.
pub fn calibrate(
    reward: RewardModel,
    policy: &CausalLm,
    negatives: &[&Negative],
    round: usize,
    run: &mut Run<'_>,
) -> Result<RewardModel, TrainError> {
    calibrate_at(reward, policy, negatives, At::new(round, Phase::Fit, 0), run)
}

/// As [`calibrate`], with the seeds and events of the fit at `at`.
pub(super) fn calibrate_at(
    mut reward: RewardModel,
    policy: &CausalLm,
    negatives: &[&Negative],
    at: At,
    run: &mut Run<'_>,
) -> Result<RewardModel, TrainError> {
    let mut groups: Vec<Vec<Row>> = vec![Vec::new(); run.task.train.len()];
    for negative in negatives {
        if negative.source == NegativeSource::Policy && negative.round == at.round {
            groups[negative.demonstration].push(negative.row.clone());
        }
    }
    if groups.iter().all(|group| group.len() < 2) {
        groups = fresh_groups(policy, at, run)?;
    }
    calibrate_on(&mut reward, &groups, at, run)?;
    Ok(reward)
}

fn calibrate_on(
    reward: &mut RewardModel,
    groups: &[Vec<Row>],
    at: At,
    run: &mut Run<'_>,
) -> Result<(), TrainError> {
    // Scored together because demonstrations and samples share prompts.
    let rows: Vec<&Row> = run.task.train.iter().chain(groups.iter().flatten()).collect();
    let mut scores = run.raw_scores(reward, &rows)?.into_iter();
    let demonstrations: Vec<f64> = scores.by_ref().take(run.task.train.len()).collect();
    let samples: Vec<Vec<f64>> =
        groups.iter().map(|group| scores.by_ref().take(group.len()).collect()).collect();
    let floor = run.recipe.reward.scale_floor;
    reward.calibration = Calibration::fit(&demonstrations, &samples, floor)?;
    let metrics = [
        ("calibration/shift", reward.calibration.shift),
        ("calibration/scale", reward.calibration.scale),
    ];
    run.ended(At { step: run.recipe.reward.steps, ..at }, &metrics);
    Ok(())
}

/// Calibrates a reward in the unit of `reward.scale_from`: all members on samples of the policy, or the newest ones on samples
/// of the SFT model. These are the same in every round, so older members keep their calibration.
pub(crate) fn calibrate_all(
    mut reward: RewardEnsemble,
    (policy, sft): (&CausalLm, &CausalLm),
    negatives: &[&Negative],
    round: usize,
    run: &mut Run<'_>,
) -> Result<RewardEnsemble, TrainError> {
    match run.recipe.reward.scale_from {
        ScaleFrom::Policy => {
            for member in &mut reward.members {
                *member = calibrate(member.clone(), policy, negatives, round, run)?;
            }
        }
        ScaleFrom::Sft => {
            let groups = fresh_groups(sft, At::new(1, Phase::Fit, 0), run)?;
            for member in reward.members.iter_mut().take(run.recipe.reward.ensemble_size) {
                calibrate_on(member, &groups, At::new(round, Phase::Fit, 0), run)?;
            }
        }
    }
    Ok(reward)
}

/// Two samples of each of the first prompts, grouped by prompt.
fn fresh_groups(policy: &CausalLm, at: At, run: &Run<'_>) -> Result<Vec<Vec<Row>>, TrainError> {
    let prompts: Vec<Vec<u32>> =
        run.task.train.iter().take(FRESH_PROMPTS).map(|row| row.prompt().into()).collect();
    let draw = Draw {
        samples: 2,
        decoding: Decoding::Sample,
        temperature: run.recipe.policy.temperature,
        seed: run.seed(at, "calibration"),
    };
    let rows = run.canonical(&run.generate(policy, &prompts, draw)?);
    Ok(rows.chunks(2).map(<[Row]>::to_vec).collect())
}
