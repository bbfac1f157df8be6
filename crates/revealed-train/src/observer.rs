//! Events of a run and their receivers: progress bars, metric files and reports are observers.

use crate::record::{At, HeldOutScores, Metric, RoundReport, ShownSample};

/// Something that happened in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A phase begins or continues.
    Started {
        /// The phase, and the last step that is done.
        at: At,
        /// Steps of the phase; 0 if unknown.
        steps: usize,
    },
    /// A step is done.
    Step {
        /// The step.
        at: At,
        /// Steps of the phase.
        steps: usize,
        /// Metrics of the step.
        metrics: &'a [Metric],
    },
    /// A phase is done.
    Ended {
        /// The phase and its last step.
        at: At,
        /// Metrics of the phase.
        metrics: &'a [Metric],
    },
    /// A round was evaluated.
    Round(&'a RoundReport),
    /// Samples of the policy before and after a round, for people to read.
    Samples {
        /// Number of the round, from 1.
        round: usize,
        /// One entry per shown prompt.
        samples: &'a [ShownSample],
    },
    /// Scores of the held-out samples of a round.
    HeldOut {
        /// Number of the round, from 1.
        round: usize,
        /// Scores per sample.
        scores: &'a HeldOutScores,
    },
    /// A message for people.
    Note(String),
}

/// Receives the events of a run. The loop does not depend on what it does with them.
pub trait Observer {
    /// Called in order, on the thread of the loop.
    fn observe(&mut self, event: &Event<'_>);

    /// Whether the run should stop. It finishes the current step, saves its state and returns
    /// [`TrainError::Interrupted`](crate::TrainError::Interrupted).
    fn should_stop(&self) -> bool {
        false
    }
}

/// Ignores all events.
impl Observer for () {
    fn observe(&mut self, _event: &Event<'_>) {}
}

/// Both receive every event, the first one first; either may stop the run.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&mut self, event: &Event<'_>) {
        self.0.observe(event);
        self.1.observe(event);
    }

    fn should_stop(&self) -> bool {
        self.0.should_stop() || self.1.should_stop()
    }
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn observe(&mut self, event: &Event<'_>) {
        (**self).observe(event);
    }

    fn should_stop(&self) -> bool {
        (**self).should_stop()
    }
}
