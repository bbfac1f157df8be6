//! Whether the steps of a phase stayed within the expected ranges.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::place::At;

/// A metric outside its expected range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// Name of the metric, as in `metrics.jsonl`.
    pub metric: String,
    /// The step at which it was found.
    pub at: At,
    /// Value of the metric; none if it was NaN or infinite.
    pub value: Option<f64>,
    /// Number of rollouts, up to and including this one, that `value` is the mean of.
    #[serde(default = "one")]
    pub rollouts: usize,
    /// The end of the range that the value passed; none if every finite value is in the range.
    pub bound: Option<f64>,
}

fn one() -> usize {
    1
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, at, value, rollouts, bound } = self;
        match (value, bound) {
            (Some(value), Some(bound)) => {
                let side = if value > bound { "above" } else { "below" };
                let mean = match rollouts {
                    1 => String::new(),
                    count => format!(" as the mean of the last {count}"),
                };
                write!(f, "{metric} at {at}: {value:.3}{mean}, {side} {bound:.3}")
            }
            _ => write!(f, "{metric} at {at}: not finite"),
        }
    }
}

/// Constants of the expected ranges that the recipe does not set.
#[derive(Debug, Clone, Copy)]
pub struct HealthLimits;

impl HealthLimits {
    /// Rollouts whose mean is compared with the expected range.
    pub const WINDOW: usize = 3;
    /// Maximum share of prompts whose samples all have the same score: above it, most of a rollout has no gradient.
    pub const MAX_EQUAL_GROUPS: f64 = 0.5;
    /// Maximum ratio of a gradient norm to the median.
    pub const NORM_FACTOR: f64 = 10.0;
    /// Gradient norms kept for the median.
    pub const NORMS: usize = 32;
    /// Minimum number of norms for a comparison.
    pub const MIN_NORMS: usize = 8;
}

/// Violations during the policy steps of a round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingHealth {
    /// The first metric outside its expected range.
    pub first_violation: Option<Violation>,
    /// The violation that ended the steps early; none if all steps were done.
    pub ended_by: Option<Violation>,
}

impl TrainingHealth {
    /// Why the policy is rejected, with advice; none if the steps did not end early.
    pub fn objection(&self) -> Option<String> {
        let ended_by = self.ended_by.as_ref()?;
        let advice = match ended_by.metric.as_str() {
            "objective/kl" => "raise policy.kl_coef or lower policy.optimizer.lr",
            _ => {
                "lower policy.optimizer.lr, or check in the audit whether the reward grows with length"
            }
        };
        let first = match &self.first_violation {
            Some(first) if first != ended_by => format!("; first violation: {first}"),
            _ => String::new(),
        };
        Some(format!("policy improvement was ended by {ended_by}{first}; {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Phase;

    #[test]
    fn a_violation_that_did_not_end_the_steps_is_no_objection() {
        let first_violation = Some(Violation {
            metric: "grad_norm".into(),
            at: At::new(1, Phase::Improve, 3),
            value: Some(9.0),
            rollouts: 1,
            bound: Some(2.0),
        });
        assert_eq!(TrainingHealth { first_violation, ended_by: None }.objection(), None);
    }
}
