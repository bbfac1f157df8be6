//! A number with its 95 % interval.

use serde::Serialize;

use crate::preferences::Accuracy;
use crate::record::{Figure, Part};
use crate::stats::{mean_ci95, mean_sd, t_975};

/// A number with its 95 % interval; unknown bounds are NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl From<Accuracy> for Estimate {
    fn from(accuracy: Accuracy) -> Self {
        let (low, high) = accuracy.interval();
        Self { value: accuracy.share(), low, high }
    }
}

impl Estimate {
    /// A number without an interval.
    pub fn bare(value: f64) -> Self {
        Self { value, low: f64::NAN, high: f64::NAN }
    }

    /// The mean of independent values, with Student's interval.
    pub fn mean(values: &[f64]) -> Self {
        let (low, high) = mean_ci95(values);
        Self { value: mean_sd(values).0, low, high }
    }

    /// `r = Σ_g a_g / Σ_g b_g` over independent groups `(a, b)`, such as the sums of one prompt's samples.
    ///
    /// Its variance is that of the linearised ratio, `V = G/(G − 1) · Σ_g (a_g − r·b_g)² / (Σ_g b_g)²`, with Student's
    /// quantile of `G − 1` degrees of freedom. Source: Chapter 6 of Cochran, Sampling Techniques (1977).
    pub fn ratio(groups: &[(f64, f64)]) -> Self {
        let (top, bottom) = groups.iter().fold((0.0, 0.0), |sum, g| (sum.0 + g.0, sum.1 + g.1));
        let value = top / bottom;
        if groups.len() < 2 {
            return Self::bare(value);
        }
        let count = groups.len() as f64;
        let squares: f64 = groups.iter().map(|(a, b)| (a - value * b).powi(2)).sum();
        let deviation = (count / (count - 1.0) * squares).sqrt() / bottom;
        let half = t_975(groups.len() - 1) * deviation;
        Self { value, low: value - half, high: value + half }
    }

    /// `Σ_s w_s · x_s` of independent parts, with weights of at least 0 that are divided by their sum.
    ///
    /// Each bound is `x̂ ∓ √(Σ_s w_s² (x_s − bound_s)²)`: the parts' own intervals, which need not be symmetric, carried over. Source:
    /// Zou and Donner, Statistics in Medicine 27 (2008), 1693–1702.
    pub fn weighted(parts: &[(f64, Self)]) -> Self {
        let total: f64 = parts.iter().map(|(weight, _)| weight).sum();
        let sum = |of: &dyn Fn(f64, &Self) -> f64| -> f64 {
            parts.iter().map(|(weight, part)| of(weight / total, part)).sum()
        };
        let value = sum(&|w, part| w * part.value);
        let below = sum(&|w, part| (w * (part.value - part.low)).powi(2)).sqrt();
        let above = sum(&|w, part| (w * (part.high - part.value)).powi(2)).sqrt();
        // Rounding must not leave the range that all parts' bounds together would give.
        let (least, most) = (sum(&|w, part| w * part.low), sum(&|w, part| w * part.high));
        let (low, high) = (value - below, value + above);
        // NaN, of a part without an interval, stays.
        Self {
            value,
            low: if low < least { least } else { low },
            high: if high > most { most } else { high },
        }
    }

    /// Its bounds, if both are known.
    pub fn interval(&self) -> Option<[f64; 2]> {
        (self.low.is_finite() && self.high.is_finite()).then_some([self.low, self.high])
    }

    /// As a record's figure, over `n` items.
    pub fn figure(&self, name: impl Into<String>, subset: Option<&str>, n: usize) -> Figure {
        let subset = subset.map(str::to_owned);
        let (value, interval) = (self.value, self.interval());
        Figure { name: name.into(), subset, value, interval, n, parts: Vec::new() }
    }

    /// The [weighted](Self::weighted) mean of other figures, as a record's figure that names them.
    pub fn of_parts(name: &str, subset: Option<&str>, parts: &[(f64, &Figure)]) -> Figure {
        let estimate = |figure: &Figure| {
            let [low, high] = figure.interval.unwrap_or([f64::NAN; 2]);
            Self { value: figure.value, low, high }
        };
        let all: Vec<(f64, Self)> =
            parts.iter().map(|(w, figure)| (*w, estimate(figure))).collect();
        let n = parts.iter().map(|(_, figure)| figure.n).sum();
        let part = |(weight, figure): &(f64, &Figure)| Part {
            name: figure.name.clone(),
            subset: figure.subset.clone(),
            weight: *weight,
        };
        let parts = parts.iter().map(part).collect();
        Figure { parts, ..Self::weighted(&all).figure(name, subset, n) }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use crate::stats::{Z_95, wilson};

    #[test]
    fn a_ratio_of_equal_groups_is_a_mean() {
        let values = [1.0, 2.0, 3.0, 5.0];
        let ratio = Estimate::ratio(&values.map(|value| (3.0 * value, 3.0)));
        let mean = Estimate::mean(&values);
        assert_abs_diff_eq!(ratio.value, mean.value, epsilon = 1e-12);
        assert_abs_diff_eq!(ratio.low, mean.low, epsilon = 1e-12);
        assert_abs_diff_eq!(ratio.high, mean.high, epsilon = 1e-12);
        assert_eq!(Estimate::ratio(&[(4.0, 2.0)]).interval(), None);
    }

    #[test]
    fn one_part_keeps_its_interval_and_equal_parts_shrink_it() {
        let (low, high) = wilson(3.0, 10, Z_95);
        let part = Estimate { value: 0.3, low, high };
        let one = Estimate::weighted(&[(7.0, part)]);
        assert_abs_diff_eq!(one.low, low, epsilon = 1e-12);
        assert_abs_diff_eq!(one.high, high, epsilon = 1e-12);
        // Four independent ones of a quarter each: half the distance on each side.
        let four = Estimate::weighted(&[(1.0, part); 4]);
        assert_abs_diff_eq!(four.value, 0.3, epsilon = 1e-12);
        assert_abs_diff_eq!(0.3 - four.low, (0.3 - low) / 2.0, epsilon = 1e-12);
        assert_abs_diff_eq!(four.high - 0.3, (high - 0.3) / 2.0, epsilon = 1e-12);
    }

    #[test]
    fn weights_need_not_sum_to_one() {
        let parts = [(2.0, Estimate::bare(1.0)), (6.0, Estimate::bare(0.0))];
        assert_eq!(Estimate::weighted(&parts).value, 0.25);
        assert_eq!(Estimate::weighted(&parts).interval(), None);
        // A seventh of 0 seven times over is no less than 0.
        let none = Estimate { value: 0.1, low: 0.0, high: 0.3 };
        assert!(Estimate::weighted(&[(1.0, none)]).low >= 0.0);
    }
}
