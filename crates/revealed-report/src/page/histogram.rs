//! Rewards of held-out demonstrations and samples as rows of small histograms on one axis.

use std::fmt::Write;

use super::axes::{tick_text, ticks};
use super::number::signed;
use super::text::escape;
use revealed_train::HeldOutScores;

const BINS: usize = 32;
const WIDTH: f64 = 360.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = 44.0;
const ROW: f64 = 34.0;
const TOP: f64 = 6.0;
const BOTTOM: f64 = 22.0;

/// A round's rewards: of demonstrations, and of samples of the models that the round compares; nothing where no score is finite.
pub(super) fn figure(round: usize, scores: &HeldOutScores) -> Option<String> {
    let mut rows: Vec<(&str, &[f64])> = vec![
        ("demonstrations", &scores.demonstrations),
        ("initial model", &scores.initial.rewards),
        ("SFT model", &scores.sft.rewards),
        ("before the round", &scores.before.rewards),
        ("after the round", &scores.after.rewards),
    ];
    // In the first round the policy before it is the SFT model.
    if scores.before.rewards == scores.sft.rewards {
        rows.remove(3);
    }
    let finite = rows.iter().flat_map(|(_, values)| values.iter()).copied();
    let finite = finite.filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return None;
    }
    let room = 0.02 * (high - low).max(0.1);
    let (low, high) = (low - room, high + room);
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let means: Vec<String> =
        rows.iter().map(|(name, values)| format!("{name} {}", signed(mean(values)))).collect();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"h{round}-t h{round}-d\"><title id=\"h{round}-t\">Rewards in round {round}</title><desc id=\"h{round}-d\">Histograms on one axis. Means: {}.</desc>",
        means.join(", ")
    );
    axis(&mut svg, [low, high], height);
    for (index, (name, values)) in rows.iter().enumerate() {
        let bottom = TOP + ROW * (index + 1) as f64;
        row(&mut svg, (name, values), [low, high], bottom);
    }
    svg.push_str("</svg>");
    Some(format!(
        "<figure class=\"chart\"><figcaption><b>Round {round}</b><span class=\"dim\">, calibrated reward; the tick is the mean</span></figcaption>{svg}</figure>"
    ))
}

fn x(value: f64, [low, high]: [f64; 2]) -> f64 {
    LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)
}

fn axis(svg: &mut String, range: [f64; 2], height: f64) {
    let places = ticks(range[0], range[1], 5);
    let step = places.windows(2).map(|pair| pair[1] - pair[0]).next().unwrap_or(1.0);
    for place in places {
        let (x, bottom) = (x(place, range), height - BOTTOM);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom:.1}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            height - 7.0,
            tick_text(place, step)
        );
    }
}

fn row(svg: &mut String, (name, values): (&str, &[f64]), range: [f64; 2], bottom: f64) {
    let counts = counts(values, range);
    let tallest = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let width = (WIDTH - LEFT - RIGHT) / BINS as f64;
    let class = if name == "demonstrations" { "bars expert" } else { "bars" };
    let mut path = String::new();
    for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let tall = *count as f64 / tallest * (ROW - 8.0);
        let left = LEFT + index as f64 * width;
        let _ = write!(path, "M{left:.1} {bottom:.1}v-{tall:.1}h{:.1}v{tall:.1}z", width - 0.6);
    }
    let mean = mean(values);
    let _ = write!(
        svg,
        "<path class=\"{class}\" d=\"{path}\"/><path class=\"axis\" d=\"M{LEFT} {bottom:.1}H{}\"/><text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        WIDTH - RIGHT,
        LEFT - 6.0,
        bottom - 5.0,
        escape(name)
    );
    if mean.is_finite() {
        let x = x(mean, range);
        let _ = write!(
            svg,
            "<path class=\"mean\" d=\"M{x:.1} {:.1}V{:.1}\"/><text class=\"tick\" x=\"{}\" y=\"{:.1}\">{}</text>",
            bottom - ROW + 5.0,
            bottom + 2.0,
            WIDTH - RIGHT + 4.0,
            bottom - 5.0,
            signed(mean)
        );
    }
}

fn counts(values: &[f64], [low, high]: [f64; 2]) -> [usize; BINS] {
    let mut counts = [0; BINS];
    for value in values.iter().filter(|value| value.is_finite()) {
        let bin = (value - low) / (high - low) * BINS as f64;
        counts[(bin as usize).min(BINS - 1)] += 1;
    }
    counts
}

fn mean(values: &[f64]) -> f64 {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    finite.iter().sum::<f64>() / finite.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::example::run;
    use super::*;

    #[test]
    fn every_finite_value_is_in_a_bin() {
        let counts = counts(&[0.0, 0.5, 1.0, 1.0, f64::NAN], [0.0, 1.0]);
        assert_eq!((counts[0], counts[BINS / 2], counts[BINS - 1]), (1, 1, 2));
        assert_eq!(counts.iter().sum::<usize>(), 4);
    }

    #[test]
    fn the_policy_before_the_first_round_is_not_shown_twice() {
        let mut scores = run().scores[&1].clone();
        let svg = figure(1, &scores).unwrap();
        assert!(!svg.contains("before the round") && svg.contains("SFT model"));
        scores.before.rewards[0] += 1.0;
        assert!(figure(1, &scores).unwrap().contains("before the round"));
    }

    #[test]
    fn scores_that_are_none_are_no_histogram() {
        let mut scores = run().scores[&1].clone();
        for of in [&mut scores.initial, &mut scores.sft, &mut scores.before, &mut scores.after] {
            of.rewards.fill(f64::NAN);
        }
        scores.demonstrations.fill(f64::INFINITY);
        assert_eq!(figure(1, &scores), None);
        scores.demonstrations.fill(1.0);
        assert!(figure(1, &scores).is_some());
    }
}
