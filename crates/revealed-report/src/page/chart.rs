//! A curve as SVG: its line over its expected range, with the boundaries of rounds. Colours are in the style sheet.

use std::fmt::Write;

use super::axes::{Axes, BOTTOM, GAP, HEIGHT, MOST_POINTS, RIGHT, TOP, WIDTH, ticks};
use super::curves::{Curve, Point, thinned};
use super::expected_range::ExpectedRange;
use super::labels::label;
use super::number::number;
use super::shade::{band_areas, legend, outside};
use super::text::escape;

/// A figure with its caption; `None` of fewer than two numbers.
pub(super) fn figure(curve: &Curve, bands: &[ExpectedRange]) -> Option<String> {
    let (_, label, unit) = label(&curve.name);
    let points = thinned(&curve.points, MOST_POINTS);
    let (first, last) = (points.first()?, points.last()?);
    if first.place == last.place {
        return None;
    }
    let axes = Axes::of(&points, bands, unit.starts_with("share"));
    let id = format!("{}-{}", curve.phase, curve.name).replace(|c: char| !c.is_alphanumeric(), "-");
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
        escape(label),
        escape(&described(&points, bands, axes.log)),
    );
    band_areas(&mut svg, bands, &axes);
    grid(&mut svg, &axes);
    boundaries(&mut svg, curve, &axes);
    line(&mut svg, &points, &axes);
    outside(&mut svg, &points, bands, &axes);
    svg.push_str("</svg>");
    let scale = if axes.log { ", log scale" } else { "" };
    let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
    Some(format!(
        "<figure class=\"chart\"><figcaption><b>{}</b><span class=\"dim\">{}{scale}</span><span class=\"key\"><code>{}</code>{}</span></figcaption>{svg}</figure>",
        escape(label),
        escape(&unit),
        escape(&curve.name),
        legend(bands),
    ))
}

fn described(points: &[Point], bands: &[ExpectedRange], log: bool) -> String {
    let values = points.iter().map(|point| point.value);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    let (first, last) = (points[0], points[points.len() - 1]);
    let scale = if log { " on a logarithmic axis" } else { "" };
    let band = match bands {
        [] => "",
        _ => " The shaded area is the expected range.",
    };
    format!(
        "From {} at step {} to {} at step {}, between {} and {}{scale}.{band}",
        number(first.value),
        first.place,
        number(last.value),
        last.place,
        number(low),
        number(high)
    )
}

fn grid(svg: &mut String, axes: &Axes) {
    for (value, text) in &axes.ticks {
        let (y, left, right) = (axes.y(*value), axes.left, WIDTH - RIGHT);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            left - GAP,
            y + 3.5,
        );
    }
    let [low, high] = axes.places;
    for place in ticks(low, high, 5).into_iter().filter(|place| place.fract() == 0.0) {
        let x = axes.x(place);
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{place}</text>",
            HEIGHT - 8.0
        );
    }
}

fn boundaries(svg: &mut String, curve: &Curve, axes: &Axes) {
    let mut free = axes.left;
    let rounds: Vec<&[Point]> = curve.rounds().collect();
    for (index, points) in rounds.iter().enumerate().filter(|(_, points)| points[0].round > 0) {
        let start = points[0].place as f64;
        let x = axes.x(if index == 0 { start } else { start - 0.5 });
        if index > 0 {
            let bottom = HEIGHT - BOTTOM;
            let _ = write!(svg, "<path class=\"round\" d=\"M{x:.1} {TOP}V{bottom}\"/>");
        }
        // A label wants room for itself.
        if x >= free {
            let text = if rounds.len() > 8 { "" } else { "round " };
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"11\">{text}{}</text>",
                x + 2.0,
                points[0].round
            );
            free = x + 6.0 * (text.len() + 3) as f64;
        }
    }
}

fn line(svg: &mut String, points: &[Point], axes: &Axes) {
    let mut path = String::new();
    for points in points.chunk_by(|a, b| a.round == b.round) {
        for (index, point) in points.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            let (x, y) = (axes.x(point.place as f64), axes.y(point.value));
            let _ = write!(path, "{letter}{x:.1} {y:.1}");
        }
        if let [point] = points {
            let (x, y) = (axes.x(point.place as f64), axes.y(point.value));
            let _ = write!(svg, "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
        }
    }
    let _ = write!(svg, "<path class=\"line\" d=\"{path}\"/>");
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::axes::{DIGIT, LEFT, log_text, tick_text};
    use super::*;
    use revealed_train::Phase;

    pub(in super::super) fn curve(values: &[f64]) -> Curve {
        let point = |(index, value): (usize, &f64)| Point {
            place: index + 1,
            round: 1 + index / 5,
            step: index % 5 + 1,
            line: index,
            value: *value,
        };
        let points = values.iter().enumerate().map(point).collect();
        Curve { phase: Phase::Improve, name: "objective/kl".into(), points }
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        let close = |a: &[f64], b: &[f64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
        };
        assert!(close(&ticks(0.0, 1.0, 4), &[0.0, 0.25, 0.5, 0.75, 1.0]));
        assert!(close(&ticks(-3.0, 17.0, 4), &[0.0, 5.0, 10.0, 15.0]));
        assert_eq!(ticks(2.0, 2.0, 4), [2.0]);
        assert_eq!(tick_text(0.75, 0.25), "0.75");
        assert_eq!((tick_text(-5.0, 5.0), tick_text(0.0, 1e-4)), ("−5".into(), "0".into()));
        assert_eq!((log_text(0.01), log_text(1e-6)), ("0.01".into(), "1e-6".into()));
    }

    #[test]
    fn a_chart_names_itself_and_marks_what_is_outside() {
        let band =
            ExpectedRange { places: [1, 7], low: None, high: Some(2.5), source: "gate.max_kl" };
        let svg = figure(&curve(&[0.0, 1.0, 2.0, 3.0, 1.0, 1.0, 2.0]), &[band]).unwrap();
        assert!(
            svg.contains("role=\"img\"")
                && svg.contains("<title id=\"improve-objective-kl-t\">KL to the reference model")
        );
        assert_eq!(svg.matches("class=\"out\"").count(), 1);
        assert_eq!(svg.matches("class=\"round\"").count(), 1);
        assert!(svg.contains("expected ≤ 2.50</span> (gate.max_kl)"), "{svg}");
    }

    #[test]
    fn an_axis_of_shares_ends_at_0_and_1() {
        let axes = |values: &[f64], bounded| Axes::of(&curve(values).points, &[], bounded).values;
        assert_eq!(axes(&[0.0, 0.5, 1.0], true), [0.0, 1.0]);
        assert_eq!(axes(&[0.0, 0.0], true), [0.0, 0.05]);
        assert_eq!(axes(&[1.0, 1.0], true)[1], 1.0);
        assert!(axes(&[0.0, 0.5, 1.0], false)[0] < 0.0);
        let share = Curve { name: "completions/terminated".into(), ..curve(&[0.0, 0.1]) };
        assert!(!figure(&share, &[]).unwrap().contains(">−"), "{share:?}");
    }

    #[test]
    fn long_numbers_next_to_the_axis_have_room() {
        let axes = Axes::of(&curve(&[1.0, 1.000_01]).points, &[], false);
        let longest = axes.ticks.iter().map(|(_, text)| text.len()).max().unwrap();
        assert!(longest > 7, "{:?}", axes.ticks);
        assert!(axes.left - GAP >= DIGIT * longest as f64 && axes.x(1.0) == axes.left);
        assert_eq!(Axes::of(&curve(&[0.0, 1.0]).points, &[], false).left, LEFT);
    }

    #[test]
    fn nothing_to_draw_is_no_chart_and_no_panic() {
        assert_eq!(figure(&curve(&[]), &[]), None);
        assert_eq!(figure(&curve(&[1.0]), &[]), None);
        assert_eq!(figure(&curve(&[f64::NAN, f64::NAN, 1.0]), &[]), None);
        assert!(figure(&curve(&[1.0, 1.0, 1.0]), &[]).is_some());
        assert!(figure(&curve(&[1.0, f64::INFINITY, 1e300, -1e300]), &[]).is_some());
    }

    #[test]
    fn a_spike_is_shown_on_a_logarithmic_axis() {
        let mut values = vec![1.0; 20];
        values[10] = 500.0;
        assert!(figure(&curve(&values), &[]).unwrap().contains("log scale"));
    }
}
