//! What a run tells the outside. Progress bars, metric files and reports are observers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::gate::RoundReport;
use crate::scores::HeldOutScores;

/// A stage of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Supervised fine-tuning on the demonstrations.
    Sft,
    /// Drawing negatives.
    Sample,
    /// Fitting and calibrating the reward.
    Fit,
    /// Improving the policy against it.
    Improve,
    /// Deciding on held-out demonstrations.
    Gate,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sft => "sft",
            Self::Sample => "sample",
            Self::Fit => "fit",
            Self::Improve => "improve",
            Self::Gate => "gate",
        })
    }
}

/// A place in the run: rounds and steps count from 1; round 0 is before the loop, and step 0 the whole stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Outer loop.
    pub round: usize,
    /// Stage.
    pub phase: Phase,
    /// Optimizer step or rollout within the stage.
    pub step: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {}, {}", self.round, self.phase)?;
        if self.step == 0 { Ok(()) } else { write!(f, ", step {}", self.step) }
    }
}

/// One number with its name, as in TRL where TRL has one.
pub type Metric = (&'static str, f64);

/// A completion shown to people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownSample {
    /// The prompt's text.
    pub prompt: String,
    /// What a demonstrator wrote.
    pub demonstration: String,
    /// What the policy wrote before the round.
    pub before: String,
    /// What it writes after.
    pub after: String,
    /// Calibrated rewards of demonstration, before and after.
    pub rewards: [f64; 3],
}

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage begins, with so many steps (0 where unknown).
    Started {
        /// Where.
        at: At,
        /// Steps.
        steps: usize,
    },
    /// A step is done.
    Step {
        /// Where.
        at: At,
        /// Steps of the stage.
        steps: usize,
        /// Its numbers.
        metrics: &'a [Metric],
    },
    /// A stage is done.
    Ended {
        /// Where.
        at: At,
        /// Numbers of the whole stage.
        metrics: &'a [Metric],
    },
    /// A round was judged.
    Round(&'a RoundReport),
    /// Samples before and after a round.
    Samples {
        /// The round.
        round: usize,
        /// The samples.
        samples: &'a [ShownSample],
    },
    /// What the held-out samples of a round came to.
    HeldOut {
        /// The round.
        round: usize,
        /// Their numbers.
        scores: &'a HeldOutScores,
    },
    /// Something worth a line.
    Note(String),
}

/// Hears what happens. The loop does not depend on what it does with it.
pub trait Observer {
    /// Called in order, on the loop's thread.
    fn observe(&mut self, event: &Event<'_>);

    /// Whether the run should stop: it finishes its step, lets its state be saved and ends with
    /// [`TrainError::Interrupted`](crate::TrainError::Interrupted).
    fn stops(&self) -> bool {
        false
    }
}

/// Hears nothing.
impl Observer for () {
    fn observe(&mut self, _event: &Event<'_>) {}
}

/// Both hear everything, the first one first; either may stop the run.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&mut self, event: &Event<'_>) {
        self.0.observe(event);
        self.1.observe(event);
    }

    fn stops(&self) -> bool {
        self.0.stops() || self.1.stops()
    }
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn observe(&mut self, event: &Event<'_>) {
        (**self).observe(event);
    }

    fn stops(&self) -> bool {
        (**self).stops()
    }
}
