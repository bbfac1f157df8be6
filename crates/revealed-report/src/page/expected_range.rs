//! Expected ranges of metrics, and the first violation of each.
//!
//! | metric | expected range | source |
//! |---|---|---|
//! | `objective/kl` | at most `gate.max_kl` | the recipe |
//! | `completions/mean_length` | within a factor `gate.max_length_factor` of the round's first rollout | the recipe |
//! | `completions/terminated` | at most `gate.max_terminated_drop` below the round's first rollout | the recipe |
//! | `frac_reward_zero_std` | at most [`HealthLimits::MAX_EQUAL_GROUPS`], where a prompt has several samples | chosen here |
//! | `grad_norm` | at most [`HealthLimits::NORM_FACTOR`] times the median of the phase's last [`HealthLimits::NORMS`] steps | chosen here |
//!
//! The trainer's health monitor uses the same ranges.
//!
//! A range is violated if the mean of a value and the [`HealthLimits::WINDOW`]` − 1` before it is outside, since means of rollouts are noisy. The report gives that mean, not the value. A
//! gradient norm is compared without averaging, since one step is enough to do harm.

use super::curves::{Curve, Point};
use super::settings::Settings;
use revealed_train::{HealthLimits, Phase};

/// Expected range over a part of a curve.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedRange {
    /// First and last position that it applies to.
    pub places: [usize; 2],
    /// Lower end, if any.
    pub low: Option<f64>,
    /// Upper end, if any.
    pub high: Option<f64>,
    /// Recipe key or rule that sets it.
    pub source: &'static str,
}

impl ExpectedRange {
    fn holds(&self, value: f64) -> bool {
        // NaN is in no range.
        self.low.is_none_or(|low| value >= low)
            && self.high.is_none_or(|high| value <= high)
            && !value.is_nan()
    }
}

/// Violation of an expected range.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// Phase of the curve.
    pub phase: Phase,
    /// Name of the metric.
    pub name: String,
    /// First point outside the range.
    pub at: Point,
    /// The value that was compared: a mean of up to [`HealthLimits::WINDOW`], or one norm.
    pub value: f64,
    /// Number of points that `value` is the mean of.
    pub of: usize,
    /// The violated range.
    pub band: ExpectedRange,
}

/// Expected ranges of a curve, in order of position; empty if the metric has none.
pub fn expected_ranges(curve: &Curve, settings: &Settings) -> Vec<ExpectedRange> {
    let number = |key: &str| settings.number(key).filter(|value| value.is_finite());
    let in_policy = curve.phase == Phase::Improve;
    let of_rounds =
        |low: &dyn Fn(f64) -> Option<f64>, high: &dyn Fn(f64) -> Option<f64>, source| {
            let band = |points: &[Point]| {
                let first = points[0].value;
                let places = [points[0].place, points[points.len() - 1].place];
                ExpectedRange { places, low: low(first), high: high(first), source }
            };
            let bands = curve.rounds().map(band);
            bands.filter(|band| band.low.is_some() || band.high.is_some()).collect()
        };
    match curve.name.as_str() {
        "objective/kl" if in_policy => {
            of_rounds(&|_| None, &|_| number("gate.max_kl"), "gate.max_kl")
        }
        "completions/mean_length" if in_policy => {
            let factor = number("gate.max_length_factor");
            let low = |first: f64| Some(first / factor?);
            let high = |first: f64| Some(first * factor?);
            of_rounds(&low, &high, "gate.max_length_factor")
        }
        "completions/terminated" if in_policy => {
            let drop = number("gate.max_terminated_drop");
            let low = |first: f64| Some((first - drop?).max(0.0));
            of_rounds(&low, &|_| None, "gate.max_terminated_drop")
        }
        "frac_reward_zero_std" if settings.number("policy.samples_per_prompt") > Some(1.0) => {
            of_rounds(&|_| None, &|_| Some(HealthLimits::MAX_EQUAL_GROUPS), "built-in limit")
        }
        "grad_norm" => curve.rounds().flat_map(norm_ranges).collect(),
        _ => vec![],
    }
}

/// One range per step, from the steps before it.
fn norm_ranges(points: &[Point]) -> Vec<ExpectedRange> {
    let mut last: Vec<f64> = Vec::new();
    let mut bands = Vec::new();
    for point in points {
        if last.len() >= HealthLimits::MIN_NORMS {
            let mut sorted = last.clone();
            sorted.sort_by(f64::total_cmp);
            let high = Some(HealthLimits::NORM_FACTOR * sorted[sorted.len() / 2])
                .filter(|high| *high > 0.0);
            let source = "10 × median of the last steps, built-in limit";
            bands.push(ExpectedRange { places: [point.place; 2], low: None, high, source });
        }
        if point.value.is_finite() {
            last.push(point.value);
            last.drain(..last.len().saturating_sub(HealthLimits::NORMS));
        }
    }
    bands
}

/// First violation of each curve, earliest first.
pub fn violations(curves: &[Curve], settings: &Settings) -> Vec<Violation> {
    let mut violations: Vec<Violation> = curves
        .iter()
        .filter_map(|curve| violation(curve, &expected_ranges(curve, settings)))
        .collect();
    violations.sort_by_key(|violation| violation.at.line);
    violations
}

fn violation(curve: &Curve, bands: &[ExpectedRange]) -> Option<Violation> {
    let smooth = if curve.name == "grad_norm" { 1 } else { HealthLimits::WINDOW };
    for points in curve.rounds() {
        for (index, point) in points.iter().enumerate() {
            let of_place =
                |band: &&ExpectedRange| (band.places[0]..=band.places[1]).contains(&point.place);
            let Some(band) = bands.iter().find(of_place) else { continue };
            let last = &points[(index + 1).saturating_sub(smooth)..=index];
            let value = last.iter().map(|point| point.value).sum::<f64>() / last.len() as f64;
            if !band.holds(value) {
                let (phase, name, band) = (curve.phase, curve.name.clone(), band.clone());
                return Some(Violation { phase, name, at: *point, value, of: last.len(), band });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, phase: Phase, values: &[f64]) -> Curve {
        let point = |(index, value): (usize, &f64)| Point {
            place: index + 1,
            round: 1,
            step: index + 1,
            line: index,
            value: *value,
        };
        let points = values.iter().enumerate().map(point).collect();
        Curve { phase, name: name.into(), points }
    }

    fn settings() -> Settings {
        Settings::parse(
            "[gate]\nmax_kl = 3.0\nmax_length_factor = 2.0\nmax_terminated_drop = 0.05\n[policy]\nsamples_per_prompt = 4",
        )
        .unwrap()
    }

    fn left(name: &str, values: &[f64]) -> Option<usize> {
        let violations = violations(&[curve(name, Phase::Improve, values)], &settings());
        violations.first().map(|violation| violation.at.step)
    }

    #[test]
    fn a_violation_needs_the_mean_of_three_outside_the_range() {
        assert_eq!(left("objective/kl", &[0.0, 1.0, 6.0, 1.0, 1.0]), None);
        // (1 + 6 + 2.1) / 3 is above 3.
        assert_eq!(left("objective/kl", &[0.0, 1.0, 6.0, 2.1]), Some(4));
    }

    #[test]
    fn length_and_share_of_eos_are_compared_with_the_first_rollout() {
        assert_eq!(left("completions/mean_length", &[10.0, 19.0, 20.0, 20.0]), None);
        assert_eq!(left("completions/mean_length", &[10.0, 30.0, 30.0]), Some(3));
        assert_eq!(left("completions/mean_length", &[10.0, 2.0, 1.0, 1.0, 1.0]), Some(3));
        assert_eq!(left("completions/terminated", &[0.9, 0.9, 0.8, 0.88]), None);
        assert_eq!(left("completions/terminated", &[0.9, 0.8, 0.8, 0.8]), Some(3));
        assert_eq!(left("frac_reward_zero_std", &[0.5, 0.6]), Some(2));
    }

    #[test]
    fn one_gradient_norm_is_a_violation_after_at_least_eight_others() {
        let after = |before: &[f64], norm: f64| left("grad_norm", &[before, &[norm]].concat());
        assert_eq!(after(&[1.0; 7], 50.0), None);
        assert_eq!(after(&[1.0, 50.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 9.9), None);
        assert_eq!(after(&[1.0; 8], 10.1), Some(9));
        // The median is that of the last 32; there is no range if all norms are zero.
        assert_eq!(after(&[[1.0; 32], [9.0; 32]].concat(), 50.0), None);
        assert_eq!(after(&[0.0; 8], 10.1), None);
    }

    #[test]
    fn nan_is_a_violation() {
        assert_eq!(left("objective/kl", &[1.0, f64::NAN]), Some(2));
    }

    #[test]
    fn violations_are_sorted_by_time() {
        let kl = curve("objective/kl", Phase::Improve, &[0.0, 0.0, 0.0, 9.0, 9.0]);
        let ended = curve("completions/terminated", Phase::Improve, &[1.0, 0.2]);
        let violations = violations(&[kl, ended], &settings());
        let names: Vec<&str> = violations.iter().map(|violation| violation.name.as_str()).collect();
        assert_eq!(names, ["completions/terminated", "objective/kl"]);
    }

    #[test]
    fn a_recipe_without_bounds_has_no_expected_ranges() {
        let kl = curve("objective/kl", Phase::Improve, &[99.0; 5]);
        assert!(expected_ranges(&kl, &Settings::default()).is_empty());
        let open = Settings::parse("[gate]\nmax_kl = inf").unwrap();
        assert!(expected_ranges(&kl, &open).is_empty());
        // The reward's fit has no rollouts.
        let fit = curve("objective/kl", Phase::Fit, &[99.0; 5]);
        assert!(expected_ranges(&fit, &settings()).is_empty());
    }
}
