//! Alignment from demonstrations by inverse reinforcement learning (arXiv 2503.13538).
//!
//! Upper problem: `max_θ E_demo[ log π_θ(y|x) ]`; lower problem: `π_θ = argmax_π E_π[ r_θ ] − β KL(π ‖ π_ref)`. The gradient of
//! the reward is `(1/β)(E_demo[∇r] − E_π[∇r])`, here through a pairwise loss. The loop alternates: fit the reward to
//! demonstrations and samples, improve the policy against the reward, evaluate on held-out demonstrations.
//!
//! | here | paper and its code |
//! |---|---|
//! | negatives: samples of the initial model, of policies or a mixture, at the temperature of the policy | policy, near-greedy |
//! | the policy is improved against the mean reward of kept rounds, in one unit | the reward of the round |
//! | scores divided by the standard deviation within prompts, with a floor | by the overall standard deviation |
//! | rounds are evaluated on held-out demonstrations, with rollback and a stop rule | a fixed number of rounds |
//! | the reference model of the KL is the SFT model, or moves | moves |
//! | both sides of a pair are tokenized by the same path | two paths |

use revealed_reward::RewardEnsemble;

use crate::error::TrainError;
use crate::fit::calibrate_all;
use crate::gate::{Evaluation, HeldOutSamples, evaluate_candidate};
use crate::observer::Event;
use crate::phases::{self, Stop, run_phase};
use crate::recipe::Average;
use crate::record::{At, Phase, TrainingHealth};
use crate::run::Run;
pub use crate::state::State;

/// Runs the loop to its end. `save` is called with the state after every phase, every `run.save_steps` steps within one, and
/// when the observer asks to stop.
///
/// # Errors
/// Before any work when recipe, data, model and state do not match; then at the first failing phase: the run can continue from
/// the last saved state. [`TrainError::Interrupted`] if the observer asks to stop.
pub fn align(
    mut state: State,
    run: &mut Run<'_>,
    mut save: impl FnMut(&State) -> Result<(), TrainError>,
) -> Result<State, TrainError> {
    state.check(run)?;
    while !state.is_finished(run.recipe) {
        state = run_phase(state, run, &mut save, |state, at, run| match state.phase {
            Phase::Sft => imitate(state, run),
            Phase::Sample => sample_negatives(state, at, run),
            Phase::FitValidationReward | Phase::Fit => fit_reward(state, run),
            Phase::Improve => improve_policy(state, run),
            Phase::Gate => evaluate(state, at, run),
        })?;
    }
    Ok(state)
}

/// Supervised fine-tuning on the demonstrations: the first policy, and the reference model.
fn imitate(state: State, run: &mut Run<'_>) -> Result<State, Stop> {
    let state = phases::sft(state, run)?;
    Ok(State { phase: Phase::Sample, policy: state.sft.clone(), ..state })
}

/// Steps 1 and 2 of a round: sample completions and add (demonstration ≻ sample) pairs to the pool.
fn sample_negatives(mut state: State, at: At, run: &mut Run<'_>) -> Result<State, Stop> {
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

/// Steps 3 and 4: fit the reward to the pairs and calibrate it; before the first fit, the validation reward.
fn fit_reward(state: State, run: &mut Run<'_>) -> Result<State, Stop> {
    let state = phases::validation_reward(state, run)?;
    let (mut state, mut members) = phases::reward_members(state, run)?;
    let kept = state.reward.take().filter(|_| state.has_kept_round());
    if run.recipe.reward.average == Average::Rounds {
        members.extend(kept.iter().flat_map(|kept| &kept.members).cloned());
    }
    let reward =
        RewardEnsemble { members, uncertainty_penalty: run.recipe.reward.uncertainty_penalty };
    let negatives = state.pool.of_round(state.round, &run.recipe.reward);
    let models = (&state.policy, &state.sft);
    let reward = calibrate_all(reward, models, &negatives, state.round, run)?;
    Ok(State { phase: Phase::Improve, reward: Some(reward), kept_reward: kept, ..state })
}

/// Step 5: improve the policy against the reward, with a KL penalty. A co-trained reward is calibrated again.
fn improve_policy(state: State, run: &mut Run<'_>) -> Result<State, Stop> {
    let (mut state, improved) = phases::policy(state, run)?;
    if let Some(reward) = improved.reward {
        let models = (&improved.policy, &state.sft);
        state.reward = Some(calibrate_all(reward, models, &[], state.round, run)?);
    }
    let (candidate, health) = (Some(improved.policy), improved.health);
    Ok(State { phase: Phase::Gate, candidate, health, ..state })
}

/// Step 6: keep the policy if held-out demonstrations say so; otherwise roll policy and reward back.
fn evaluate(mut state: State, at: At, run: &mut Run<'_>) -> Result<State, Stop> {
    let candidate = state.candidate.take().expect("checked or improved before");
    let evaluation = evaluate_candidate(&candidate, &state, at, run)?;
    let Evaluation { report, samples, kept_figures } = evaluation;
    run.observer.observe(&Event::Round(&report));
    if report.accepted {
        state.policy = candidate;
        state.held.policy = samples;
    } else if state.kept_reward.is_some() {
        state.reward = state.kept_reward;
    }
    state.reports.push(report);
    state.kept_figures = Some(kept_figures);
    let (round, health) = (at.round + 1, TrainingHealth::default());
    Ok(State { phase: Phase::Sample, round, kept_reward: None, health, ..state })
}
