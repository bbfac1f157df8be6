//! `metrics.jsonl`: one line per step, with its position on the axis of its phase.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use revealed_train::Phase;
use serde_json::{Map, Value};

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricLine {
    /// Outer loop, from 1; 0 before it.
    pub round: usize,
    /// Phase.
    pub phase: Phase,
    /// Step within phase and round, as written.
    pub step: usize,
    /// Steps of the phase so far, over all rounds and all members of a reward: the axis of curves.
    pub place: usize,
    /// Numbers by name, in order; NaN where the run wrote none.
    pub values: Vec<(String, f64)>,
}

/// Assigns positions to lines, in order.
#[derive(Debug, Default)]
pub struct Places {
    last: Vec<(Phase, MetricLine)>,
}

impl Places {
    /// Continues after lines that have positions.
    pub fn after(lines: &[MetricLine]) -> Self {
        let of = |phase: Phase| lines.iter().rev().find(|line| line.phase == phase).cloned();
        let last = Phase::ALL.into_iter().filter_map(|phase| Some((phase, of(phase)?)));
        Self { last: last.collect() }
    }

    /// The line with its place. A line shares the position of the one before it if both have
    /// the same step and no common name: the figures of a phase follow its last step.
    pub fn line(
        &mut self,
        (round, phase, step): (usize, Phase, usize),
        values: Vec<(String, f64)>,
    ) -> MetricLine {
        let before = self.last.iter_mut().find(|(of, _)| *of == phase);
        let place = before.as_ref().map_or(1, |(_, last)| {
            let has = |name: &String| last.values.iter().any(|(other, _)| other == name);
            let same = last.round == round && last.step == step;
            let adds = same && !values.iter().any(|(name, _)| has(name));
            last.place + usize::from(!adds)
        });
        let line = MetricLine { round, phase, step, place, values };
        match before {
            Some((_, last)) => *last = line.clone(),
            None => self.last.push((phase, line.clone())),
        }
        line
    }
}

/// The lines of a file, and the numbers, from 1, of those that could not be read: a run that was killed may have cut its last one.
///
/// # Errors
/// When the file cannot be opened or read.
pub fn read_metrics(path: &Path) -> std::io::Result<(Vec<MetricLine>, Vec<usize>)> {
    let (mut lines, mut damaged, mut places) = (Vec::new(), Vec::new(), Places::default());
    let mut reader = BufReader::new(File::open(path)?);
    let (mut bytes, mut number) = (Vec::new(), 0);
    while {
        bytes.clear();
        reader.read_until(b'\n', &mut bytes)? > 0
    } {
        number += 1;
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&bytes).ok().and_then(|line| parsed(line, &mut places)) {
            Some(line) => lines.push(line),
            None => damaged.push(number),
        }
    }
    Ok((lines, damaged))
}

fn parsed(mut line: Map<String, Value>, places: &mut Places) -> Option<MetricLine> {
    let mut index = |name: &str| usize::try_from(line.shift_remove(name)?.as_u64()?).ok();
    let (round, step) = (index("round")?, index("step")?);
    let phase = serde_json::from_value(line.shift_remove("phase")?).ok()?;
    let values = line
        .into_iter()
        .filter(|(_, value)| value.is_number() || value.is_null())
        .map(|(name, value)| (name, value.as_f64().unwrap_or(f64::NAN)))
        .collect();
    Some(places.line((round, phase, step), values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<MetricLine>, Vec<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, text).unwrap();
        read_metrics(&path).unwrap()
    }

    #[test]
    fn places_go_on_over_rounds_and_a_stages_own_numbers_stand_at_its_last_step() {
        let (lines, damaged) = read(
            r#"{"round":0,"phase":"fit-validation-reward","step":1,"loss":0.7}
{"round":1,"phase":"fit","step":1,"loss":0.6}
{"round":1,"phase":"fit","step":2,"loss":0.5}
{"round":1,"phase":"fit","step":2,"calibration/scale":2.0}
{"round":2,"phase":"fit","step":1,"loss":null}
{"round":2,"phase":"fit","step":1,"loss":0.1}
"#,
        );
        let seen: Vec<_> = lines.iter().map(|line| (line.phase, line.place)).collect();
        let fit = |place| (Phase::Fit, place);
        assert_eq!(seen, [(Phase::FitValidationReward, 1), fit(1), fit(2), fit(2), fit(3), fit(4)]);
        assert!(lines[4].values[0].1.is_nan());
        assert_eq!(
            (damaged, lines[0].phase.to_string().as_str()),
            (vec![], "fit-validation-reward")
        );
        let mut places = Places::after(&lines);
        let mut next = |place| places.line(place, vec![("loss".into(), 0.1)]).place;
        assert_eq!((next((2, Phase::Fit, 2)), next((1, Phase::Improve, 1))), (5, 1));
    }

    #[test]
    fn damaged_lines_are_named_and_the_others_read() {
        let good = r#"{"round":0,"phase":"sft","step":1,"loss":1.5}"#;
        let (lines, damaged) = read(&format!(
            "{good}\n\nnot json\n{{\"round\":-1}}\n[1]\n{}\n{}",
            r#"{"round":0,"phase":"dance","step":1}"#,
            &good[..20]
        ));
        assert_eq!((lines.len(), damaged), (1, vec![3, 4, 5, 6, 7]));
        assert_eq!(lines[0].values, [("loss".to_owned(), 1.5)]);
    }
}
