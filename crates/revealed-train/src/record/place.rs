//! Where a run is: round, phase and step; and the named numbers that it reports there.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Supervised fine-tuning on the demonstrations.
    Sft,
    /// Drawing negatives.
    Sample,
    /// Fitting and calibrating the validation reward, once, before the reward of the first round.
    FitValidationReward,
    /// Fitting and calibrating the reward of a round.
    Fit,
    /// Improving the policy against the reward.
    Improve,
    /// Evaluating the round on held-out demonstrations.
    Gate,
}

impl Phase {
    /// All phases, in the order in which pages show them.
    pub const ALL: [Self; 6] =
        [Self::Sft, Self::FitValidationReward, Self::Sample, Self::Fit, Self::Improve, Self::Gate];

    fn name(self) -> &'static str {
        match self {
            Self::Sft => "sft",
            Self::Sample => "sample",
            Self::FitValidationReward => "fit-validation-reward",
            Self::Fit => "fit",
            Self::Improve => "improve",
            Self::Gate => "gate",
        }
    }

    /// The part of a seed's purpose that names the phase. Both fits have the label `fit`: the validation reward is fitted
    /// at round 0 and the rewards of rounds at 1 or more, so their seeds differ.
    pub(crate) fn seed_label(self) -> &'static str {
        match self {
            Self::FitValidationReward => Self::Fit.name(),
            other => other.name(),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A place in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Iteration of the outer loop, from 1; 0 for phases that belong to no round.
    pub round: usize,
    /// Phase of the round.
    pub phase: Phase,
    /// Optimizer step or rollout within the phase, from 1; 0 for the phase as a unit.
    pub step: usize,
}

impl At {
    pub(crate) const fn new(round: usize, phase: Phase, step: usize) -> Self {
        Self { round, phase, step }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {}, {}", self.round, self.phase)?;
        if self.step == 0 { Ok(()) } else { write!(f, ", step {}", self.step) }
    }
}

/// Name and value of a number; names follow TRL where TRL has the same metric.
pub type Metric = (&'static str, f64);
