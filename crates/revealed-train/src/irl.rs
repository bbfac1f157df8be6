//! Alignment from demonstrations by inverse reinforcement learning (arXiv 2503.13538), as a state machine.
//!
//! Upper problem: `max_θ E_demo[ log π_θ(y|x) ]`; lower: `π_θ = argmax E_π[ r_θ ] − β KL(π ‖ π_ref)`. The reward's
//! gradient is `(1/β)(E_demo[∇r] − E_π[∇r])`, here through a pairwise loss; then the policy is improved
//! under the reward, and so on.
//!
//! | here | paper and its code |
//! |---|---|
//! | negatives: of the initial model, policies or a mixture, at the policy's temperature | policy, near-greedy |
//! | the policy is improved against the mean reward of kept rounds, in one unit | the round's reward |
//! | scores divided by the spread within prompts, with a floor | by the overall spread |
//! | rounds are gated on held-out demonstrations, with rollback and a stop rule | a fixed number |
//! | the KL's anchor is the SFT model, or moves | moves |
//! | both sides of a pair take one path from text to tokens | two paths |

use revealed_reward::RewardEnsemble;

use crate::error::{TrainError, caught};
use crate::fitting::Fitting;
use crate::gate::evaluate_round;
use crate::held_out::HeldOutSamples;
use crate::observer::{At, Event, Phase};
use crate::policy::{Improved, Improvement};
use crate::recipe::{Average, KlReference, ValidationReward};
use crate::reward_fit::calibrate_all;
use crate::run::{Run, at};
use crate::sft::Imitation;
pub use crate::state::State;
use crate::steps::{Progress, Steps};

/// Runs the loop to its end; `save` is called with the state after every phase, every `run.save_steps` steps within one, and
/// where the observer asks to stop.
///
/// # Errors
/// Before any work when recipe, data, model and state do not fit each other; then at the first failing phase:
/// what `save` has kept is the way back. [`TrainError::Interrupted`] where the observer asks to stop.
pub fn align(
    mut state: State,
    run: &mut Run<'_>,
    mut save: impl FnMut(&State) -> Result<(), TrainError>,
) -> Result<State, TrainError> {
    state.check(run)?;
    while !state.is_finished(run.recipe) {
        let at = at(state.round, state.phase, 0);
        let _span = tracing::info_span!("phase", round = at.round, name = %at.phase).entered();
        state = caught(at, || match state.phase {
            Phase::Sft => imitate(state, run),
            Phase::Sample => sample(state, at, run),
            Phase::Fit => fit(state, at, run),
            Phase::Improve => improve(state, at, run),
            Phase::Gate => gate(state, at, run),
        })?;
        save(&state)?;
        if run.observer.stops() && !state.is_finished(run.recipe) {
            return Err(TrainError::Interrupted { at: reached(&state, at, run) });
        }
    }
    Ok(state)
}

/// The step that a state is at, as observers heard of it; `at` where it is past its stage.
fn reached(state: &State, at: At, run: &Run<'_>) -> At {
    let Some(progress) = &state.progress else { return at };
    let of_validation_reward = run.recipe.gate.validation_reward == ValidationReward::Independent
        && state.validation_reward.is_none();
    let round = match state.phase {
        Phase::Sft => 0,
        Phase::Fit if of_validation_reward => 0,
        _ => state.round,
    };
    At { round, step: progress.step(), ..at }
}

fn imitate(mut state: State, run: &mut Run<'_>) -> Result<State, TrainError> {
    if run.recipe.sft.epochs > 0 {
        let sft = match state.progress.take() {
            Some(Progress::Sft(sft)) => sft,
            _ => Imitation::new(state.policy.clone(), run),
        };
        match sft.advance(run)? {
            Steps::Paused(sft) => return Ok(state.paused(Progress::Sft(sft))),
            Steps::Done(model) => state.sft = model,
        }
    }
    state.policy = state.sft.clone();
    Ok(State { phase: Phase::Sample, ..state })
}

fn sample(mut state: State, at: At, run: &mut Run<'_>) -> Result<State, TrainError> {
    run.started(at, 0);
    state.pool.draw(&state.initial, &state.sft, &state.policy, at, run)?;
    if at.round == 1 {
        let noise = HeldOutSamples::NOISE;
        state.held.initial = HeldOutSamples::draw(&state.initial, noise, run)?;
        state.held.sft = HeldOutSamples::draw(&state.sft, noise, run)?;
        state.held.policy = state.held.sft.clone();
    }
    run.ended(at, &[("pairs", state.pool.negatives.len() as f64)]);
    Ok(State { phase: Phase::Fit, ..state })
}

fn fit(mut state: State, at: At, run: &mut Run<'_>) -> Result<State, TrainError> {
    let fitting = match state.progress.take() {
        Some(Progress::Fit(fitting)) => fitting,
        _ => Fitting::default(),
    };
    let mut members = match fitting.advance(&mut state, at, run)? {
        Steps::Paused(fitting) => return Ok(state.paused(Progress::Fit(fitting))),
        Steps::Done(members) => members,
    };
    let last = state.reward.take().filter(|_| state.reports.iter().any(|report| report.accepted));
    if run.recipe.reward.average == Average::Rounds {
        members.extend(last.iter().flat_map(|last| &last.members).cloned());
    }
    let reward =
        RewardEnsemble { members, uncertainty_penalty: run.recipe.reward.uncertainty_penalty };
    let negatives = state.pool.of_round(at.round, &run.recipe.reward);
    let models = (&state.policy, &state.sft);
    state.reward = Some(calibrate_all(reward, models, &negatives, at.round, run)?);
    state.kept_reward = last;
    Ok(State { phase: Phase::Improve, ..state })
}

fn improve(mut state: State, at: At, run: &mut Run<'_>) -> Result<State, TrainError> {
    let reward = state.reward.take().expect("checked or fitted before");
    let anchor = match run.recipe.policy.reference {
        KlReference::Sft => &state.sft,
        KlReference::Moving => &state.policy,
    };
    let improvement = match state.progress.take() {
        Some(Progress::Improve(improvement)) => improvement,
        _ => Improvement::of_round(&state.policy, &reward, at.round, run)?,
    };
    let Improved { policy, reward: followed, course } =
        match improvement.advance(anchor, &reward, run)? {
            Steps::Paused(improvement) => {
                let state = State { reward: Some(reward), ..state };
                return Ok(state.paused(Progress::Improve(improvement)));
            }
            Steps::Done(improved) => improved,
        };
    let reward = match followed {
        Some(followed) => calibrate_all(followed, (&policy, &state.sft), &[], at.round, run)?,
        None => reward,
    };
    let (candidate, reward) = (Some(policy), Some(reward));
    Ok(State { phase: Phase::Gate, candidate, reward, course, ..state })
}

fn gate(mut state: State, at: At, run: &mut Run<'_>) -> Result<State, TrainError> {
    let candidate = state.candidate.take().expect("checked or made before");
    let (report, samples) = evaluate_round(&candidate, &state, at, run)?;
    run.observer.observe(&Event::Round(&report));
    if report.accepted {
        state.policy = candidate;
        state.held.policy = samples;
    } else if state.kept_reward.is_some() {
        state.reward = state.kept_reward;
    }
    state.reports.push(report);
    let course = Default::default();
    Ok(State { phase: Phase::Sample, round: at.round + 1, kept_reward: None, course, ..state })
}
