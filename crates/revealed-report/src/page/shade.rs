//! A curve's healthy bands on its picture: their areas, their legend, and the points outside.

use std::fmt::Write;

use super::bands::Band;
use super::chart::{Axes, MOST_POINTS};
use super::curves::Point;
use super::number::number;
use super::text::escape;

pub(super) fn legend(bands: &[Band]) -> String {
    let Some(band) = bands.first() else { return String::new() };
    let ends = match (band.low, band.high) {
        // One band a step has no one number.
        _ if band.places[0] == band.places[1] => String::new(),
        (Some(low), Some(high)) => format!(" {} to {}", number(low), number(high)),
        (Some(low), None) => format!(" ≥ {}", number(low)),
        (None, Some(high)) => format!(" ≤ {}", number(high)),
        (None, None) => String::new(),
    };
    let several = bands.iter().any(|other| (other.low, other.high) != (band.low, band.high));
    let first = if several && !ends.is_empty() { " in its first round" } else { "" };
    format!(" · <span class=\"healthy\">healthy{ends}{first}</span> ({})", escape(band.source))
}

/// An area for each row of places that bands hold for without a gap.
pub(super) fn band_areas(svg: &mut String, bands: &[Band], axes: &Axes) {
    // Bands of single steps are thinned to what a screen can show.
    let stride = bands.len().div_ceil(MOST_POINTS).max(1);
    for run in bands.chunk_by(|a, b| b.places[0] <= a.places[1] + 1) {
        let (mut upper, mut lower) = (String::new(), Vec::new());
        let last = run.len() - 1;
        let shown = run.iter().enumerate().filter(|(at, _)| at % stride == 0 || *at == last);
        for (_, band) in shown {
            let low = axes.y(band.low.unwrap_or(axes.values[0]));
            let high = axes.y(band.high.unwrap_or(axes.values[1]));
            // To half a step beyond, where the next round begins: bands meet in a step, not in a ramp.
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

/// Marks on points outside their band.
pub(super) fn outside(svg: &mut String, points: &[Point], bands: &[Band], axes: &Axes) {
    for point in points {
        let of_place = |band: &&Band| (band.places[0]..=band.places[1]).contains(&point.place);
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
    fn each_round_has_its_own_band_up_to_where_the_next_begins() {
        let band = |places, high| Band { places, low: Some(0.0), high: Some(high), source: "s" };
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
