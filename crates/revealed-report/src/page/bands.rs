//! Healthy bands of metrics, and where a run left them.
//!
//! | metric | band | from |
//! |---|---|---|
//! | `objective/kl` | at most `gate.max_kl` | the recipe |
//! | `completions/mean_length` | within a factor `gate.max_length_factor` of the round's first rollout | the recipe |
//! | `completions/terminated` | at most `gate.max_terminated_drop` below the round's first rollout | the recipe |
//! | `frac_reward_zero_std` | at most [`MAX_EQUAL_GROUPS`], where a prompt has several samples | a choice of ours |
//! | `grad_norm` | at most [`GRAD_NORM_FACTOR`] times the median of the stage's last [`NORMS`] steps | a choice of ours |
//!
//! The trainer goes by the same bands when it says which was left first.
//!
//! A band is left where the mean of a value and the [`SMOOTH`]` − 1` before it is outside: a rollout's means are noisy. That mean is said, not the value. A
//! gradient's norm is taken as it is, since one step is enough to do harm.

use super::curves::{Curve, Point};
use super::metrics::Stage;
use super::settings::Settings;

/// Rollouts whose mean is compared with a band.
pub const SMOOTH: usize = 3;
/// Of prompts whose samples all score the same: beyond it, most of a rollout teaches nothing.
pub const MAX_EQUAL_GROUPS: f64 = 0.5;
/// Of the gradient's norm to its median.
pub const GRAD_NORM_FACTOR: f64 = 10.0;
/// Steps whose median it is, and how many there must be.
const NORMS: usize = 32;
const MEDIAN_STEPS: usize = 8;

/// A healthy range over some places of a curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// First and last place that it holds for.
    pub places: [usize; 2],
    /// Lower end, where there is one.
    pub low: Option<f64>,
    /// Upper end, where there is one.
    pub high: Option<f64>,
    /// Where it comes from.
    pub source: &'static str,
}

impl Band {
    fn holds(&self, value: f64) -> bool {
        // A value that is not a number is in no band.
        self.low.is_none_or(|low| value >= low)
            && self.high.is_none_or(|high| value <= high)
            && !value.is_nan()
    }
}

/// A band that was left.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// Of which stage.
    pub stage: Stage,
    /// The metric.
    pub name: String,
    /// Where.
    pub at: Point,
    /// The value that was compared: a mean of up to [`SMOOTH`], or one norm.
    pub value: f64,
    /// How many it is the mean of.
    pub of: usize,
    /// The band.
    pub band: Band,
}

/// The bands of a curve, in order of their places; none of a metric that has none.
pub fn bands(curve: &Curve, settings: &Settings) -> Vec<Band> {
    let number = |key: &str| settings.number(key).filter(|value| value.is_finite());
    let in_policy = curve.stage == Stage::Improve;
    let of_rounds =
        |low: &dyn Fn(f64) -> Option<f64>, high: &dyn Fn(f64) -> Option<f64>, source| {
            let band = |points: &[Point]| {
                let first = points[0].value;
                let places = [points[0].place, points[points.len() - 1].place];
                Band { places, low: low(first), high: high(first), source }
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
            of_rounds(&|_| None, &|_| Some(MAX_EQUAL_GROUPS), "our choice")
        }
        "grad_norm" => curve.rounds().flat_map(norm_bands).collect(),
        _ => vec![],
    }
}

/// One band a step, from the steps before it.
fn norm_bands(points: &[Point]) -> Vec<Band> {
    let mut last: Vec<f64> = Vec::new();
    let mut bands = Vec::new();
    for point in points {
        if last.len() >= MEDIAN_STEPS {
            let mut sorted = last.clone();
            sorted.sort_by(f64::total_cmp);
            let high = Some(GRAD_NORM_FACTOR * sorted[sorted.len() / 2]).filter(|high| *high > 0.0);
            let source = "10 × median of the last steps, our choice";
            bands.push(Band { places: [point.place; 2], low: None, high, source });
        }
        if point.value.is_finite() {
            last.push(point.value);
            last.drain(..last.len().saturating_sub(NORMS));
        }
    }
    bands
}

/// Where each curve left its band first, earliest first.
pub fn exits(curves: &[Curve], settings: &Settings) -> Vec<Exit> {
    let mut exits: Vec<Exit> =
        curves.iter().filter_map(|curve| exit(curve, &bands(curve, settings))).collect();
    exits.sort_by_key(|exit| exit.at.line);
    exits
}

fn exit(curve: &Curve, bands: &[Band]) -> Option<Exit> {
    let smooth = if curve.name == "grad_norm" { 1 } else { SMOOTH };
    for points in curve.rounds() {
        for (index, point) in points.iter().enumerate() {
            let of_place = |band: &&Band| (band.places[0]..=band.places[1]).contains(&point.place);
            let Some(band) = bands.iter().find(of_place) else { continue };
            let last = &points[(index + 1).saturating_sub(smooth)..=index];
            let value = last.iter().map(|point| point.value).sum::<f64>() / last.len() as f64;
            if !band.holds(value) {
                let (stage, name, band) = (curve.stage, curve.name.clone(), band.clone());
                return Some(Exit { stage, name, at: *point, value, of: last.len(), band });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, stage: Stage, values: &[f64]) -> Curve {
        let point = |(index, value): (usize, &f64)| Point {
            place: index + 1,
            round: 1,
            step: index + 1,
            line: index,
            value: *value,
        };
        let points = values.iter().enumerate().map(point).collect();
        Curve { stage, name: name.into(), points }
    }

    fn settings() -> Settings {
        Settings::parse(
            "[gate]\nmax_kl = 3.0\nmax_length_factor = 2.0\nmax_terminated_drop = 0.05\n[policy]\nsamples_per_prompt = 4",
        )
        .unwrap()
    }

    fn left(name: &str, values: &[f64]) -> Option<usize> {
        let exits = exits(&[curve(name, Stage::Improve, values)], &settings());
        exits.first().map(|exit| exit.at.step)
    }

    #[test]
    fn the_mean_of_three_has_to_leave_the_band() {
        assert_eq!(left("objective/kl", &[0.0, 1.0, 6.0, 1.0, 1.0]), None);
        // (1 + 6 + 2.1) / 3 is above 3.
        assert_eq!(left("objective/kl", &[0.0, 1.0, 6.0, 2.1]), Some(4));
    }

    #[test]
    fn length_and_terminator_are_compared_with_the_first_rollout() {
        assert_eq!(left("completions/mean_length", &[10.0, 19.0, 20.0, 20.0]), None);
        assert_eq!(left("completions/mean_length", &[10.0, 30.0, 30.0]), Some(3));
        assert_eq!(left("completions/mean_length", &[10.0, 2.0, 1.0, 1.0, 1.0]), Some(3));
        assert_eq!(left("completions/terminated", &[0.9, 0.9, 0.8, 0.88]), None);
        assert_eq!(left("completions/terminated", &[0.9, 0.8, 0.8, 0.8]), Some(3));
        assert_eq!(left("frac_reward_zero_std", &[0.5, 0.6]), Some(2));
    }

    #[test]
    fn one_gradient_is_enough_and_needs_eight_before_it() {
        let after = |before: &[f64], norm: f64| left("grad_norm", &[before, &[norm]].concat());
        assert_eq!(after(&[1.0; 7], 50.0), None);
        assert_eq!(after(&[1.0, 50.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 9.9), None);
        assert_eq!(after(&[1.0; 8], 10.1), Some(9));
        // The median is that of the last 32; of nothing but noughts there is no band.
        assert_eq!(after(&[[1.0; 32], [9.0; 32]].concat(), 50.0), None);
        assert_eq!(after(&[0.0; 8], 10.1), None);
    }

    #[test]
    fn a_value_that_is_not_a_number_leaves_its_band() {
        assert_eq!(left("objective/kl", &[1.0, f64::NAN]), Some(2));
    }

    #[test]
    fn the_first_exit_of_a_run_comes_first() {
        let kl = curve("objective/kl", Stage::Improve, &[0.0, 0.0, 0.0, 9.0, 9.0]);
        let ended = curve("completions/terminated", Stage::Improve, &[1.0, 0.2]);
        let exits = exits(&[kl, ended], &settings());
        let names: Vec<&str> = exits.iter().map(|exit| exit.name.as_str()).collect();
        assert_eq!(names, ["completions/terminated", "objective/kl"]);
    }

    #[test]
    fn a_recipe_without_bounds_has_no_bands() {
        let kl = curve("objective/kl", Stage::Improve, &[99.0; 5]);
        assert!(bands(&kl, &Settings::default()).is_empty());
        let open = Settings::parse("[gate]\nmax_kl = inf").unwrap();
        assert!(bands(&kl, &open).is_empty());
        // The reward's fit has no rollouts.
        let fit = curve("objective/kl", Stage::Fit, &[99.0; 5]);
        assert!(bands(&fit, &settings()).is_empty());
    }
}
