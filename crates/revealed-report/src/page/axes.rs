//! Axes of a chart: ranges, ticks and coordinates.

use super::curves::Point;
use super::expected_range::ExpectedRange;
use super::number::number;

/// Maximum number of points of a line, so that pages of long runs stay small.
pub(super) const MOST_POINTS: usize = 400;
pub(super) const WIDTH: f64 = 360.0;
pub(super) const HEIGHT: f64 = 190.0;
/// Minimum left margin; wider if the numbers of the axis are longer.
pub(super) const LEFT: f64 = 46.0;
/// Maximum width of a digit at 11 px: 0.636 em in DejaVu Sans, a wide font.
pub(super) const DIGIT: f64 = 7.0;
/// Distance from the numbers to the axis.
pub(super) const GAP: f64 = 5.0;
pub(super) const RIGHT: f64 = 10.0;
pub(super) const TOP: f64 = 16.0;
pub(super) const BOTTOM: f64 = 24.0;
/// Ratio of the highest value to the median above which the axis is logarithmic: one spike would flatten the curve.
const LOG_FROM: f64 = 30.0;
/// Maximum distance of the end of a range from the values for it to be shown, in spans of the values.
const NEAR: f64 = 0.6;

/// Maps positions and values to coordinates of the chart.
pub(super) struct Axes {
    pub(super) places: [f64; 2],
    pub(super) values: [f64; 2],
    /// Numbers next to the axis, with their text.
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) left: f64,
    pub(super) log: bool,
}

impl Axes {
    /// Covers the values, and the ends of ranges if they are near; limited to 0 and 1 for shares.
    pub(super) fn of(points: &[Point], bands: &[ExpectedRange], bounded: bool) -> Self {
        let mut sorted: Vec<f64> = points.iter().map(|point| point.value).collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
        let log = low > 0.0 && high > LOG_FROM * sorted[sorted.len() / 2];
        let mut axes =
            Self { places: [0.0, 1.0], values: [low, high], ticks: vec![], left: LEFT, log };
        let span = (high - low).max(1e-3 * high.abs());
        if !log {
            let ends = bands.iter().flat_map(|band| [band.low, band.high]).flatten();
            let near = ends.filter(|end| low - NEAR * span <= *end && *end <= high + NEAR * span);
            for end in near {
                axes.values = [axes.values[0].min(end), axes.values[1].max(end)];
            }
        }
        let [low, high] = axes.values;
        let room = match high - low {
            gap if gap > 0.0 => 0.06 * gap,
            _ => (0.1 * high.abs()).max(0.05),
        };
        axes.values = if log { [low / 1.2, high * 1.2] } else { [low - room, high + room] };
        if bounded {
            axes.values = [axes.values[0].max(low.min(0.0)), axes.values[1].min(high.max(1.0))];
        }
        let (first, last) = (points[0].place as f64, points[points.len() - 1].place as f64);
        axes.places = [first, last.max(first + 1.0)];
        axes.ticks = axes.value_ticks();
        let longest = axes.ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0);
        axes.left = LEFT.max(GAP + DIGIT * longest as f64);
        axes
    }

    pub(super) fn x(&self, place: f64) -> f64 {
        let [low, high] = self.places;
        self.left + (place - low) / (high - low) * (WIDTH - self.left - RIGHT)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.log { value.max(1e-300).ln() } else { value };
        let [low, high] = self.values.map(scaled);
        let share = ((scaled(value) - low) / (high - low)).clamp(0.0, 1.0);
        TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM)
    }

    fn value_ticks(&self) -> Vec<(f64, String)> {
        let [low, high] = self.values;
        if !self.log {
            let values = ticks(low, high, 4);
            let step = values.windows(2).map(|pair| pair[1] - pair[0]).next().unwrap_or(1.0);
            return values.into_iter().map(|value| (value, tick_text(value, step))).collect();
        }
        let powers = low.log10().ceil() as i32..=high.log10().floor() as i32;
        let all: Vec<f64> = powers.map(|power| 10f64.powi(power)).collect();
        let some = all.iter().copied().step_by(all.len().div_ceil(5).max(1));
        some.map(|value| (value, log_text(value))).collect()
    }
}

/// Round numbers within a range, about `count` of them.
pub(super) fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let rough = (high - low) / count as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return vec![low];
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    (0..).map(|index| (first + index) as f64 * step).take_while(|tick| *tick <= high).collect()
}

/// The text of a tick: as many decimals as neighbouring ticks need.
pub(super) fn tick_text(value: f64, step: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    match step {
        _ if size == 0.0 => "0".into(),
        _ if size >= 1e5 || (size > 0.0 && size < 1e-3) => number(value).replace(".0e", "e"),
        step if step >= 1.0 && step.fract() == 0.0 => format!("{sign}{size:.0}"),
        step => {
            let decimals = (1..9).find(|d| {
                let scaled = step * 10f64.powi(*d);
                (scaled - scaled.round()).abs() < 1e-6
            });
            format!("{sign}{size:.*}", decimals.unwrap_or(9) as usize)
        }
    }
}

/// The text of a power of ten.
pub(super) fn log_text(value: f64) -> String {
    match value {
        value if (1e-3..1e5).contains(&value) => value.to_string(),
        value => number(value).replace(".0e", "e"),
    }
}
