//! Metrics as curves: one per phase and name, over all rounds.

use super::metrics::MetricLine;
use revealed_train::Phase;

/// A number at a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Where on the phase's axis.
    pub place: usize,
    /// The round.
    pub round: usize,
    /// The step within it.
    pub step: usize,
    /// The line of `metrics.jsonl`, from 0: what came first.
    pub line: usize,
    /// The number; may be NaN.
    pub value: f64,
}

/// All values of a metric in a phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its phase.
    pub phase: Phase,
    /// The metric's name.
    pub name: String,
    /// In order of the run.
    pub points: Vec<Point>,
}

impl Curve {
    /// Whether a round has several values and not all values are equal.
    pub fn moves(&self) -> bool {
        let several = self.rounds().any(|points| points.len() > 1);
        several && self.points.iter().any(|point| point.value != self.points[0].value)
    }

    /// The points of each round, in order.
    pub fn rounds(&self) -> impl Iterator<Item = &[Point]> {
        self.points.chunk_by(|a, b| a.round == b.round)
    }
}

/// Every metric of every phase, in the order in which they first appear.
pub fn curves(lines: &[MetricLine]) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        for (name, value) in &line.values {
            let point = Point {
                place: line.place,
                round: line.round,
                step: line.step,
                line: number,
                value: *value,
            };
            let known = curves.iter_mut().find(|c| c.phase == line.phase && c.name == *name);
            match known {
                Some(curve) => curve.points.push(point),
                None => curves.push(Curve {
                    phase: line.phase,
                    name: name.clone(),
                    points: vec![point],
                }),
            }
        }
    }
    curves.sort_by_key(|curve| curve.phase);
    curves
}

/// At most about `most` points that look like all of them: first, last, and the lowest and the highest of each of as many
/// equal parts as that leaves. Values that are not finite are left out.
pub fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    let finite: Vec<Point> = points.iter().copied().filter(|p| p.value.is_finite()).collect();
    if finite.len() <= most {
        return finite;
    }
    let part = finite.len().div_ceil((most / 2).max(1));
    let mut kept = Vec::new();
    for points in finite.chunks(part) {
        let by_value = |a: &&Point, b: &&Point| a.value.total_cmp(&b.value);
        let ends = [points.iter().min_by(by_value), points.iter().max_by(by_value)];
        kept.extend(ends.into_iter().flatten().copied());
    }
    kept.extend([finite[0], finite[finite.len() - 1]]);
    kept.sort_by_key(|point| (point.place, point.line));
    kept.dedup_by_key(|point| (point.place, point.line));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(place: usize, value: f64) -> Point {
        Point { place, round: 1, step: place, line: place, value }
    }

    #[test]
    fn thinning_keeps_ends_and_extremes() {
        let mut points: Vec<Point> =
            (0..10_000).map(|place| point(place, (place % 7) as f64)).collect();
        points[5_432].value = 99.0;
        points[7_001].value = -99.0;
        points[8_000].value = f64::NAN;
        let kept = thinned(&points, 400);
        assert!(kept.len() <= 402, "{}", kept.len());
        assert!(kept.iter().any(|p| p.value == 99.0) && kept.iter().any(|p| p.value == -99.0));
        assert_eq!((kept[0].place, kept[kept.len() - 1].place), (0, 9_999));
        assert!(kept.is_sorted_by_key(|point| point.place));
        assert_eq!(thinned(&points[..400], 400).len(), 400);
    }

    #[test]
    fn a_name_in_two_stages_is_two_curves() {
        let line = |phase, place, value| MetricLine {
            round: 1,
            phase,
            step: place,
            place,
            values: vec![("loss".into(), value)],
        };
        let lines = [line(Phase::Fit, 1, 0.7), line(Phase::Sft, 1, 2.0), line(Phase::Fit, 2, 0.6)];
        let curves = curves(&lines);
        assert_eq!(curves.len(), 2);
        assert_eq!((curves[0].phase, curves[1].points.len()), (Phase::Sft, 2));
        assert_eq!((curves[0].moves(), curves[1].moves()), (false, true));
    }
}
