//! Expected ranges on a chart: shaded areas, legend, and marks on points outside.

use std::fmt::Write;

use super::axes::{Axes, MOST_POINTS};
use super::curves::Point;
use super::expected_range::ExpectedRange;
use super::number::number;
use super::text::escape;

pub(super) fn legend(bands: &[ExpectedRange]) -> String {
    let Some(band) = bands.first() else { return String::new() };
    let ends = match (band.low, band.high) {
        // Ranges per step have no single number.
        _ if band.places[0] == band.places[1] => String::new(),
        (Some(low), Some(high)) => format!(" {} to {}", number(low), number(high)),
        (Some(low), None) => format!(" ≥ {}", number(low)),
        (None, Some(high)) => format!(" ≤ {}", number(high)),
        (None, None) => String::new(),
    };
    let several = bands.iter().any(|other| (other.low, other.high) != (band.low, band.high));
    let first = if several && !ends.is_empty() { " in its first round" } else { "" };
    format!(" · <span class=\"healthy\">expected{ends}{first}</span> ({})", escape(band.source))
}

/// One area per run of positions that ranges cover without a gap.
pub(super) fn band_areas(svg: &mut String, bands: &[ExpectedRange], axes: &Axes) {
    // Ranges of single steps are thinned to the resolution of the chart.
    let stride = bands.len().div_ceil(MOST_POINTS).max(1);
    for run in bands.chunk_by(|a, b| b.places[0] <= a.places[1] + 1) {
        let (mut upper, mut lower) = (String::new(), Vec::new());
        let last = run.len() - 1;
        let shown = run.iter().enumerate().filter(|(at, _)| at % stride == 0 || *at == last);
        for (_, band) in shown {
            let low = axes.y(band.low.unwrap_or(axes.values[0]));
            let high = axes.y(band.high.unwrap_or(axes.values[1]));
            // Half a step further on both sides, so that neighbouring ranges meet in a step, not in a ramp.
            let [first, last] = band.places.map(|place| place as f64);
            for place in [first - 0.5, last + 0.5] {
                let x = axes.x(place.clamp(axes.places[0], axes.places[1]));
                let _ = write!(upper, "{x:.1},{high:.1} ");
                lower.push(format!("{x:.1},{low:.1}"));
            }
        }
        lower.reverse();
        let _ = write!(svg, "<polygon class=\"band\" points=\"{upper}{}\"/>", lower.join(" "));
    }
}

/// Marks on points outside their expected range.
pub(super) fn outside(svg: &mut String, points: &[Point], bands: &[ExpectedRange], axes: &Axes) {
    for point in points {
        let of_place =
            |band: &&ExpectedRange| (band.places[0]..=band.places[1]).contains(&point.place);
        let Some(band) = bands.iter().find(of_place) else { continue };
        if band.low.is_some_and(|low| point.value < low)
            || band.high.is_some_and(|high| point.value > high)
        {
            let (x, y) = (axes.x(point.place as f64), axes.y(point.value));
            let _ = write!(svg, "<circle class=\"out\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chart::figure;
    use super::super::chart::tests::curve;
    use super::*;

    #[test]
    fn each_round_has_an_expected_range_up_to_where_the_next_begins() {
        let band =
            |places, high| ExpectedRange { places, low: Some(0.0), high: Some(high), source: "s" };
        let bands = [band([1, 5], 2.0), band([6, 10], 1.0)];
        let values = [0.1, 0.9, 1.9, 0.4, 0.6, 0.2, 0.9, 0.3, 0.1, 0.5];
        let svg = figure(&curve(&values), &bands).unwrap();
        let start = svg.split("class=\"band\" points=\"").nth(1).unwrap();
        let points: Vec<(f64, f64)> = start[..start.find('"').unwrap()]
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        let [_, before, after, ..] = points[..] else { panic!("{points:?}") };
        assert!(before.0 == after.0 && before.1 < after.1, "{points:?}");
        // Where the line between the rounds stands.
        assert!(svg.contains(&format!("class=\"round\" d=\"M{:.1} ", before.0)), "{svg}");
        // A round that has none at its beginning leaves a gap there.
        let bands = [band([1, 5], 2.0), band([8, 10], 1.0)];
        let svg = figure(&curve(&values), &bands).unwrap();
        assert_eq!(svg.matches("class=\"band\"").count(), 2, "{svg}");
    }
}
