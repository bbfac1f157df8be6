//! Phases of the loop that resume, pause and save.
//!
//! The functions of `irl.rs` read as if a phase ran from start to end. A phase that pauses after a step returns
//! [`Stop::Paused`] with the state, which `?` passes up to [`run_phase`]; there the state is saved and the phase called again.

use revealed_reward::RewardModel;

use crate::error::{TrainError, catching_panics};
use crate::fit::{FitInputs, RewardFitPhase, fit_validation_reward};
use crate::improve::{Improved, PolicyPhase};
use crate::methods::SftPhase;
use crate::recipe::KlReference;
use crate::record::{At, Phase};
use crate::run::Run;
use crate::state::{PhaseState, State};
use crate::steps::Advance;

/// Why a phase returns before its end.
pub(crate) enum Stop {
    /// It paused after a step; the state continues from there.
    Paused(Box<State>),
    /// It failed.
    Failed(TrainError),
}

impl From<TrainError> for Stop {
    fn from(error: TrainError) -> Self {
        Self::Failed(error)
    }
}

/// Runs the next phase of a state to its end or to a pause, then calls `save`.
///
/// # Errors
/// Errors of the phase, panics included, and [`TrainError::Interrupted`] if the observer asks to stop.
pub(crate) fn run_phase(
    state: State,
    run: &mut Run<'_>,
    save: &mut impl FnMut(&State) -> Result<(), TrainError>,
    phase: impl FnOnce(State, At, &mut Run<'_>) -> Result<State, Stop>,
) -> Result<State, TrainError> {
    let at = At::new(state.round, state.phase, 0);
    let _span = tracing::info_span!("phase", round = at.round, name = %at.phase).entered();
    let state = catching_panics(at, || match phase(state, at, run) {
        Ok(state) => Ok(state),
        Err(Stop::Paused(state)) => Ok(*state),
        Err(Stop::Failed(error)) => Err(error),
    })?;
    save(&state)?;
    if run.observer.should_stop() && !state.is_finished(run.recipe) {
        return Err(TrainError::Interrupted { at: last_step(&state, at, run) });
    }
    Ok(state)
}

/// The last step of a paused state, as observers have seen it; `at` if the phase has ended.
fn last_step(state: &State, at: At, run: &Run<'_>) -> At {
    let Some(paused) = &state.phase_state else { return at };
    match state.phase {
        Phase::Sft => At::new(0, Phase::Sft, paused.step()),
        Phase::Fit if state.needs_validation_reward(run.recipe) => {
            At::new(0, Phase::FitValidationReward, paused.step())
        }
        phase => At::new(state.round, phase, paused.step()),
    }
}

fn paused(state: State, phase_state: PhaseState) -> Stop {
    Stop::Paused(Box::new(State { phase_state: Some(phase_state), ..state }))
}

/// SFT of the policy, unless `sft.epochs` is 0; sets the SFT model.
pub(crate) fn sft(mut state: State, run: &mut Run<'_>) -> Result<State, Stop> {
    if run.recipe.sft.epochs == 0 {
        return Ok(state);
    }
    let phase = match state.phase_state.take() {
        Some(PhaseState::Sft(phase)) => phase,
        _ => SftPhase::new(state.policy.clone(), run),
    };
    match phase.advance(run)? {
        Advance::Paused(phase) => Err(paused(state, PhaseState::Sft(phase))),
        Advance::Done(sft) => Ok(State { sft, ..state }),
    }
}

/// The fit of the validation reward, if the recipe asks for one and it is not fitted yet; sets it, calibrated.
pub(crate) fn validation_reward(mut state: State, run: &mut Run<'_>) -> Result<State, Stop> {
    if !state.needs_validation_reward(run.recipe) {
        return Ok(state);
    }
    let phase = take_fit(&mut state);
    match fit_validation_reward(phase, inputs(&state), run)? {
        Advance::Paused(phase) => Err(paused(state, PhaseState::Fit(phase))),
        Advance::Done(reward) => Ok(State { validation_reward: Some(reward), ..state }),
    }
}

/// The fits of the ensemble members of the round; returns them, uncalibrated.
pub(crate) fn reward_members(
    mut state: State,
    run: &mut Run<'_>,
) -> Result<(State, Vec<RewardModel>), Stop> {
    let phase = take_fit(&mut state);
    let validation_reward = state.validation_reward.as_ref();
    match phase.advance(inputs(&state), validation_reward, state.round, run)? {
        Advance::Paused(phase) => Err(paused(state, PhaseState::Fit(phase))),
        Advance::Done(members) => Ok((state, members)),
    }
}

fn take_fit(state: &mut State) -> RewardFitPhase {
    match state.phase_state.take() {
        Some(PhaseState::Fit(phase)) => phase,
        _ => RewardFitPhase::default(),
    }
}

fn inputs(state: &State) -> FitInputs<'_> {
    FitInputs {
        sft: &state.sft,
        policy: &state.policy,
        last_reward: state.reward.as_ref(),
        pool: &state.pool,
    }
}

/// The policy steps of the round against the reward of the state; returns the candidate.
pub(crate) fn policy(mut state: State, run: &mut Run<'_>) -> Result<(State, Improved), Stop> {
    let paused_phase = state.phase_state.take();
    let reward = state.reward.as_ref().expect("checked or fitted before");
    let phase = match paused_phase {
        Some(PhaseState::Improve(phase)) => phase,
        _ => PolicyPhase::of_round(&state.policy, reward, state.round, run)?,
    };
    let reference = match run.recipe.policy.reference {
        KlReference::Sft => &state.sft,
        KlReference::Moving => &state.policy,
    };
    match phase.advance(reference, reward, run)? {
        Advance::Paused(phase) => Err(paused(state, PhaseState::Improve(phase))),
        Advance::Done(improved) => Ok((state, improved)),
    }
}
