//! Phases that can pause after any optimizer step and continue later with bit-identical results.

use crate::error::TrainError;
use crate::record::At;
use crate::run::Run;

/// Result of advancing a phase.
pub(crate) enum Advance<P, T> {
    /// Paused after a step; the state continues from there.
    Paused(P),
    /// Done, with its result.
    Done(T),
}

impl Run<'_> {
    /// Whether a phase should pause after its step `step`, so that the state can be saved.
    pub(crate) fn should_pause(&self, step: usize) -> bool {
        let every = self.recipe.run.save_steps;
        self.observer.should_stop() || (every > 0 && step.is_multiple_of(every))
    }
}

/// Runs a phase from start to end without saving.
///
/// # Errors
/// Errors of its steps, and [`TrainError::Interrupted`] if the observer asks to stop.
pub(crate) fn run_to_end<P, T>(
    mut phase: P,
    at: At,
    run: &mut Run<'_>,
    mut advance: impl FnMut(P, &mut Run<'_>) -> Result<Advance<P, T>, TrainError>,
) -> Result<T, TrainError> {
    loop {
        phase = match advance(phase, run)? {
            Advance::Done(end) => return Ok(end),
            Advance::Paused(_) if run.observer.should_stop() => {
                return Err(TrainError::Interrupted { at });
            }
            Advance::Paused(phase) => phase,
        }
    }
}
