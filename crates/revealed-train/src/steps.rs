//! Stages that can be left after any optimizer step and gone on with later, to the same bits.

use crate::error::TrainError;
use crate::fitting::Fitting;
use crate::observer::{At, Phase};
use crate::policy::Improvement;
use crate::run::Run;
use crate::sft::Imitation;

/// A stage in the middle of its steps: weights, optimizer and counters. Data order and samples follow from seeds.
#[derive(Debug, Clone)]
pub enum Progress {
    /// SFT.
    Sft(Imitation),
    /// The judge's fit, or that of a reward.
    Fit(Fitting),
    /// Policy improvement.
    Improve(Improvement),
}

impl Progress {
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Sft(_) => Phase::Sft,
            Self::Fit(_) => Phase::Fit,
            Self::Improve(_) => Phase::Improve,
        }
    }

    /// The last step that is done; none between two fits of a round.
    pub(crate) fn step(&self) -> usize {
        match self {
            Self::Sft(sft) => sft.counters.step,
            Self::Fit(fitting) => fitting.current.as_ref().map_or(0, |fit| fit.step),
            Self::Improve(improvement) => improvement.step,
        }
    }
}

/// What a stage's steps have come to.
pub(crate) enum Steps<P, T> {
    /// A place to save, from which they go on.
    Paused(P),
    /// Their end.
    Done(T),
}

impl Run<'_> {
    /// Whether a stage should let itself be saved after its step `step`.
    pub(crate) fn pauses(&self, step: usize) -> bool {
        let every = self.recipe.run.save_steps;
        self.observer.stops() || (every > 0 && step.is_multiple_of(every))
    }
}

/// A stage from start to end where nothing is saved between.
///
/// # Errors
/// Those of its steps, and [`TrainError::Interrupted`] where the observer asks to stop.
pub(crate) fn to_the_end<P, T>(
    mut stage: P,
    at: At,
    run: &mut Run<'_>,
    mut advance: impl FnMut(P, &mut Run<'_>) -> Result<Steps<P, T>, TrainError>,
) -> Result<T, TrainError> {
    loop {
        stage = match advance(stage, run)? {
            Steps::Done(end) => return Ok(end),
            Steps::Paused(_) if run.observer.stops() => {
                return Err(TrainError::Interrupted { at });
            }
            Steps::Paused(stage) => stage,
        }
    }
}
