//! Health monitor: expected range of each metric, the first violation, and how many bad steps are tolerated.
//!
//! | metric | expected range | ends the phase |
//! |---|---|---|
//! | loss and gradient of a step | finite | if not finite and `health.max_skipped_steps` steps were skipped before |
//! | `grad_norm` | up to 10 times the median of the last 32 steps | above `health.max_unclipped_norm`, treated as not finite |
//! | `objective/kl` of a rollout | up to `gate.max_kl` | above `health.max_kl` |
//! | `completions/mean_length` of a rollout | within a factor `gate.max_length_factor` of the round's first rollout | beyond `health.max_length_factor` |
//! | `completions/terminated` of a rollout | down to `gate.max_terminated_drop` below the round's first rollout | never: the gate decides |
//! | `frac_reward_zero_std` of a rollout, if a prompt has several samples | up to ½ | never |
//!
//! Means of rollouts are noisy, so the expected range applies to the mean of the last three. A violation is only recorded:
//! the first one is reported when the phase fails or the round is evaluated.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::observer::{Event, Observer};
use crate::recipe::{GateSection, HealthSection};
use crate::record::{At, HealthLimits, TrainingHealth, Violation};

/// Means over a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct RolloutFigures {
    /// KL to the reference model, nats/completion.
    pub kl: f64,
    /// Tokens per completion.
    pub length: f64,
    /// Share of completions that end in EOS.
    pub terminated: f64,
    /// Share of prompts whose samples all have the same score; 0 with one sample per prompt.
    pub equal_groups: f64,
}

/// Health monitor of one phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HealthMonitor {
    /// Steps that were skipped.
    skipped: usize,
    /// The last gradient norms, oldest first.
    norms: Vec<f64>,
    /// The first metric outside its expected range.
    first_violation: Option<Violation>,
    /// The first rollout of the round.
    first_rollout: Option<RolloutFigures>,
    /// The last rollouts, oldest first.
    last_rollouts: Vec<RolloutFigures>,
}

impl HealthMonitor {
    /// Whether a step is applied: not if its loss or gradient norm is out of bounds, which is noted.
    ///
    /// # Errors
    /// When too many steps were skipped before.
    pub fn accept_step(
        &mut self,
        loss: f64,
        norm: f64,
        at: At,
        limits: &HealthSection,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        self.observe_norm(norm, at);
        let (metric, what, value) = match (loss.is_finite(), norm <= limits.max_unclipped_norm) {
            (true, true) if norm.is_finite() => return Ok(true),
            (false, _) => ("loss", "the loss", loss),
            _ => ("grad_norm", "the gradient's norm", norm),
        };
        let bound = value.is_finite().then_some(limits.max_unclipped_norm);
        self.record(violation(metric, at, value, 1, bound));
        if self.skipped >= limits.max_skipped_steps {
            let diagnosis = self.diagnosis();
            return Err(TrainError::NonFinite { at, what, value, diagnosis });
        }
        self.skipped += 1;
        observer.observe(&Event::Note(format!(
            "{at}: {what} is {value}; step skipped, {} of at most {}",
            self.skipped, limits.max_skipped_steps
        )));
        Ok(false)
    }

    /// Skipped steps and first violation, appended to an error message; empty if there are none.
    pub fn diagnosis(&self) -> String {
        let skipped = match self.skipped {
            0 => String::new(),
            count => format!("; {count} steps of its phase were skipped before"),
        };
        match &self.first_violation {
            Some(first) => format!("{skipped}. first violation: {first}"),
            None => skipped,
        }
    }

    /// The violations of a phase that ends, and what ended it.
    pub fn finish(&mut self, ended_by: Option<Violation>) -> TrainingHealth {
        TrainingHealth { first_violation: self.first_violation.take(), ended_by }
    }

    fn observe_norm(&mut self, norm: f64, at: At) {
        if self.norms.len() >= HealthLimits::MIN_NORMS {
            let mut sorted = self.norms.clone();
            sorted.sort_by(f64::total_cmp);
            let bound = HealthLimits::NORM_FACTOR * sorted[sorted.len() / 2];
            if bound > 0.0 && norm > bound {
                self.record(violation("grad_norm", at, norm, 1, Some(bound)));
            }
        }
        if norm.is_finite() {
            self.norms.push(norm);
            let old = self.norms.len().saturating_sub(HealthLimits::NORMS);
            self.norms.drain(..old);
        }
    }

    /// Records a rollout; returns the violation that ends policy improvement, if any.
    pub fn observe_rollout(
        &mut self,
        rollout: RolloutFigures,
        at: At,
        gate: &GateSection,
        limits: &HealthSection,
    ) -> Option<Violation> {
        let first = *self.first_rollout.get_or_insert(rollout);
        self.last_rollouts.push(rollout);
        self.last_rollouts.drain(..self.last_rollouts.len().saturating_sub(HealthLimits::WINDOW));
        let window = self.last_rollouts.len();
        let mut ends = None;
        for Rule { metric, figure, expected, limit } in rules(&first, gate, limits) {
            let value = figure(&rollout);
            let mean = self.last_rollouts.iter().map(figure).sum::<f64>() / window as f64;
            if let Some(bound) = expected.passed_bound(mean) {
                self.record(violation(metric, at, mean, window, Some(bound)));
            }
            if let (Some(bound), None) = (limit.passed_bound(value), &ends) {
                ends = Some(violation(metric, at, value, 1, Some(bound)));
            }
        }
        ends
    }

    fn record(&mut self, violation: Violation) {
        self.first_violation.get_or_insert(violation);
    }
}

/// Expected range and limit of a metric of rollouts.
struct Rule {
    metric: &'static str,
    figure: fn(&RolloutFigures) -> f64,
    expected: Range,
    limit: Range,
}

fn rules(first: &RolloutFigures, gate: &GateSection, limits: &HealthSection) -> [Rule; 4] {
    [
        Rule {
            metric: "objective/kl",
            figure: |rollout| rollout.kl,
            expected: Range::at_most(gate.max_kl),
            limit: Range::at_most(limits.max_kl),
        },
        Rule {
            metric: "completions/mean_length",
            figure: |rollout| rollout.length,
            expected: Range::within_factor(first.length, gate.max_length_factor),
            limit: Range::within_factor(first.length, limits.max_length_factor),
        },
        Rule {
            metric: "completions/terminated",
            figure: |rollout| rollout.terminated,
            expected: Range {
                low: first.terminated - gate.max_terminated_drop,
                high: f64::INFINITY,
            },
            limit: Range::at_most(f64::INFINITY),
        },
        Rule {
            metric: "frac_reward_zero_std",
            figure: |rollout| rollout.equal_groups,
            expected: Range::at_most(HealthLimits::MAX_EQUAL_GROUPS),
            limit: Range::at_most(f64::INFINITY),
        },
    ]
}

struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn at_most(high: f64) -> Self {
        Self { low: f64::NEG_INFINITY, high }
    }

    fn within_factor(start: f64, factor: f64) -> Self {
        Self { low: start / factor, high: start * factor }
    }

    /// The end of the range that a value is beyond; none for values in the range and for NaN.
    fn passed_bound(&self, value: f64) -> Option<f64> {
        match value {
            value if value < self.low => Some(self.low),
            value if value > self.high => Some(self.high),
            _ => None,
        }
    }
}

fn violation(metric: &str, at: At, value: f64, rollouts: usize, bound: Option<f64>) -> Violation {
    let value = value.is_finite().then_some(value);
    Violation { metric: metric.into(), at, value, rollouts, bound }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Phase;

    fn step(step: usize) -> At {
        At::new(1, Phase::Improve, step)
    }

    /// Means of a rollout of four completions, of which `ended` end in EOS.
    fn rollout(length: usize, kl: f64, ended: usize) -> RolloutFigures {
        let terminated = ended as f64 / 4.0;
        RolloutFigures { kl, length: length as f64, terminated, equal_groups: 0.0 }
    }

    #[test]
    fn the_maximum_number_of_steps_is_skipped_and_the_next_one_ends_the_phase() {
        let limits = HealthSection { max_skipped_steps: 2, ..HealthSection::default() };
        let mut monitor = HealthMonitor::default();
        let mut accept = |loss, norm, n| monitor.accept_step(loss, norm, step(n), &limits, &mut ());
        assert!(accept(1.0, 1.0, 1).unwrap());
        assert!(!accept(f64::NAN, 1.0, 2).unwrap());
        assert!(accept(1.0, 1.0, 3).unwrap());
        // Finite, but above the bound.
        assert!(!accept(1.0, 2e4, 4).unwrap());
        let error = accept(1.0, f64::INFINITY, 5).unwrap_err().to_string();
        assert!(
            error.starts_with("round 1, improve, step 5: the gradient's norm is inf"),
            "{error}"
        );
        assert!(error.contains("2 steps of its phase were skipped before"), "{error}");
        assert!(error.contains("first violation: loss at round 1, improve, step 2"), "{error}");
    }

    #[test]
    fn a_gradient_norm_far_above_the_median_is_only_recorded() {
        let limits = HealthSection::default();
        let mut monitor = HealthMonitor::default();
        let accept = |monitor: &mut HealthMonitor, norm, n| {
            monitor.accept_step(1.0, norm, step(n), &limits, &mut ())
        };
        for n in 1..=HealthLimits::MIN_NORMS {
            assert!(accept(&mut monitor, 2.0, n).unwrap());
        }
        assert!(accept(&mut monitor, 20.0, 9).unwrap());
        assert_eq!(monitor.first_violation, None);
        assert!(accept(&mut monitor, 20.1, 10).unwrap());
        let first = monitor.first_violation.unwrap();
        assert_eq!((first.metric.as_str(), first.bound), ("grad_norm", Some(20.0)));
    }

    #[test]
    fn gradient_norms_of_zero_give_no_expected_range() {
        let mut monitor = HealthMonitor::default();
        (0..HealthLimits::MIN_NORMS).for_each(|n| monitor.observe_norm(0.0, step(n)));
        monitor.observe_norm(1.0, step(9));
        assert_eq!(monitor.first_violation, None);
    }

    #[test]
    fn the_first_violation_and_the_one_that_ended_the_steps_are_both_reported() {
        let gate = GateSection { max_kl: 5.0, ..GateSection::default() };
        let limits = HealthSection { max_kl: 10.0, ..HealthSection::default() };
        let mut monitor = HealthMonitor::default();
        let mut observe = |n, length, kl, ended| {
            monitor.observe_rollout(rollout(length, kl, ended), step(n), &gate, &limits)
        };
        assert_eq!(observe(1, 4, 0.5, 4), None);
        // Twice the length is at the bound, and one rollout beyond it is noise.
        assert_eq!(observe(2, 8, 4.0, 4), None);
        assert_eq!(observe(3, 12, 6.0, 4), None);
        // Now the mean of 8, 12 and 12 is beyond it; the mean KL of 5.3 follows only with the next rollout.
        assert_eq!(observe(4, 12, 4.0, 4), None);
        let ended_by = observe(5, 12, 12.0, 4).unwrap();
        let health = monitor.finish(Some(ended_by));
        let (first, ended_by) =
            (health.first_violation.as_ref().unwrap(), health.ended_by.as_ref().unwrap());
        assert_eq!((first.metric.as_str(), first.at.step), ("completions/mean_length", 4));
        assert_eq!((ended_by.metric.as_str(), ended_by.at.step), ("objective/kl", 5));
        let text = health.objection().unwrap();
        let ended = "ended by objective/kl at round 1, improve, step 5: 12.000, above 10.000";
        assert!(text.contains(ended), "{text}");
        let first = "first violation: completions/mean_length at round 1, improve, step 4: 10.667 as the mean of the last 3, above 8.000";
        assert!(text.contains(first) && text.contains("policy.kl_coef"), "{text}");
    }

    #[test]
    fn shrinking_lengths_end_the_steps_and_missing_eos_is_only_recorded() {
        let (gate, limits) = (GateSection::default(), HealthSection::default());
        let mut monitor = HealthMonitor::default();
        let observe = |monitor: &mut HealthMonitor, n, length, ended| {
            monitor.observe_rollout(rollout(length, 0.0, ended), step(n), &gate, &limits)
        };
        assert_eq!(observe(&mut monitor, 1, 40, 4), None);
        assert_eq!(observe(&mut monitor, 2, 40, 3), None);
        let first = monitor.first_violation.clone().unwrap();
        assert_eq!(first.metric, "completions/terminated");
        let ended_by = observe(&mut monitor, 3, 4, 4).unwrap();
        assert_eq!(ended_by.metric, "completions/mean_length");
        assert!(ended_by.to_string().contains("4.000, below 10.000"), "{ended_by}");
    }
}
