//! `metrics.jsonl`: a line a step, read back with its place on the axis of its stage.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value};

/// What a line belongs to: a phase of the loop, or the fit of the validation reward before the first round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Supervised fine-tuning.
    Sft,
    /// Fitting the reward that only judges.
    Judge,
    /// Drawing negatives.
    Sample,
    /// Fitting and calibrating the reward.
    Fit,
    /// Improving the policy.
    Improve,
    /// Deciding on held-out demonstrations.
    Gate,
}

impl Stage {
    /// All, in the order of a run.
    pub const ALL: [Self; 6] =
        [Self::Sft, Self::Judge, Self::Sample, Self::Fit, Self::Improve, Self::Gate];

    fn of(round: usize, phase: &str) -> Option<Self> {
        Some(match (phase, round) {
            ("sft", _) => Self::Sft,
            ("fit-validation-reward", _) => Self::Judge,
            ("sample", _) => Self::Sample,
            ("fit", _) => Self::Fit,
            ("improve", _) => Self::Improve,
            ("gate", _) => Self::Gate,
            _ => return None,
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sft => "sft",
            Self::Judge => "judge",
            Self::Sample => "sample",
            Self::Fit => "fit",
            Self::Improve => "improve",
            Self::Gate => "gate",
        })
    }
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricLine {
    /// Outer loop, from 1; 0 before it.
    pub round: usize,
    /// Stage.
    pub stage: Stage,
    /// Step within phase and round, as written.
    pub step: usize,
    /// Steps of the stage so far, over all rounds and all members of a reward: the axis of curves.
    pub place: usize,
    /// Numbers by name, in order; NaN where the run wrote none.
    pub values: Vec<(String, f64)>,
}

impl MetricLine {
    /// The phase as the file has it.
    pub fn phase(&self) -> String {
        match self.stage {
            Stage::Judge => "fit-validation-reward".into(),
            stage => stage.to_string(),
        }
    }
}

/// Gives lines their places, one after the other.
#[derive(Debug, Default)]
pub struct Places {
    last: Vec<(Stage, MetricLine)>,
}

impl Places {
    /// To go on after lines that have theirs.
    pub fn after(lines: &[MetricLine]) -> Self {
        let of = |stage: Stage| lines.iter().rev().find(|line| line.stage == stage).cloned();
        let last = Stage::ALL.into_iter().filter_map(|stage| Some((stage, of(stage)?)));
        Self { last: last.collect() }
    }

    /// The line with its place; `None` for a phase that is unknown. A line adds to the one before it where that stands at the
    /// same step and has none of its names: the numbers of a whole stage follow its last step.
    pub fn line(
        &mut self,
        (round, phase, step): (usize, &str, usize),
        values: Vec<(String, f64)>,
    ) -> Option<MetricLine> {
        let stage = Stage::of(round, phase)?;
        let before = self.last.iter_mut().find(|(of, _)| *of == stage);
        let place = before.as_ref().map_or(1, |(_, last)| {
            let has = |name: &String| last.values.iter().any(|(other, _)| other == name);
            let same = last.round == round && last.step == step;
            let adds = same && !values.iter().any(|(name, _)| has(name));
            last.place + usize::from(!adds)
        });
        let line = MetricLine { round, stage, step, place, values };
        match before {
            Some((_, last)) => *last = line.clone(),
            None => self.last.push((stage, line.clone())),
        }
        Some(line)
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
    let phase = line.shift_remove("phase")?;
    let values = line
        .into_iter()
        .filter(|(_, value)| value.is_number() || value.is_null())
        .map(|(name, value)| (name, value.as_f64().unwrap_or(f64::NAN)))
        .collect();
    places.line((round, phase.as_str()?, step), values)
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
        let seen: Vec<_> = lines.iter().map(|line| (line.stage, line.place)).collect();
        let fit = |place| (Stage::Fit, place);
        assert_eq!(seen, [(Stage::Judge, 1), fit(1), fit(2), fit(2), fit(3), fit(4)]);
        assert!(lines[4].values[0].1.is_nan());
        assert_eq!((damaged, lines[0].phase().as_str()), (vec![], "fit-validation-reward"));
        let mut places = Places::after(&lines);
        let mut next = |place| places.line(place, vec![("loss".into(), 0.1)]).unwrap().place;
        assert_eq!((next((2, "fit", 2)), next((1, "improve", 1))), (5, 1));
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
