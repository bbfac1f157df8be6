//! Files of a run folder as data. Missing or damaged files are listed in `missing` and left out; they are no error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use revealed_eval::Source;
use revealed_train::{HeldOutScores, RoundReport, ScoredSamples, ShownSample};
use serde::de::DeserializeOwned;

use super::ReportError;
use super::gold::{self, Gold};
use super::metrics::{MetricLine, read_metrics};
use super::settings::Settings;

/// Maximum number of damaged lines that a message lists.
const NAMED_LINES: usize = 5;

/// Contents of a run folder.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFiles {
    /// Path of the folder.
    pub path: PathBuf,
    /// `recipe.toml`.
    pub settings: Settings,
    /// `metrics.jsonl`, in order.
    pub metrics: Vec<MetricLine>,
    /// Evaluated rounds, in order.
    pub rounds: Vec<RoundReport>,
    /// Rounds whose report exists but cannot be read.
    pub damaged: Vec<usize>,
    /// Scores of held-out samples by round.
    pub scores: BTreeMap<usize, HeldOutScores>,
    /// Samples shown by round.
    pub samples: BTreeMap<usize, Vec<ShownSample>>,
    /// Figures by the true reward; none unless the run is of the built-in task.
    pub gold: Option<Gold>,
    /// Whether the run is complete: `policy/` and `report.md` are there.
    pub finished: bool,
    /// A sentence for each thing that is missing or damaged.
    pub missing: Vec<String>,
}

impl RunFiles {
    /// Reads the files that exist.
    ///
    /// # Errors
    /// When the path is no folder, or one with neither `recipe.toml` nor `metrics.jsonl`.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let [recipe, metrics] = ["recipe.toml", "metrics.jsonl"].map(|name| path.join(name));
        if !recipe.is_file() && !metrics.is_file() {
            return Err(ReportError::NoRun { path: path.into() });
        }
        let mut missing = Vec::new();
        let settings = fs::read_to_string(&recipe).map_err(|error| error.to_string());
        let settings = settings.and_then(|text| Settings::parse(&text)).unwrap_or_else(|error| {
            missing.push(format!("recipe.toml: {error}"));
            Settings::default()
        });
        let metrics = metrics_of(&metrics, &mut missing);
        let reports: BTreeMap<usize, RoundReport> =
            numbered(path, "reports", "round-", ".json", &mut missing);
        let all = names(&path.join("reports"), "round-", ".json").into_keys();
        let damaged: Vec<usize> = all.filter(|round| !reports.contains_key(round)).collect();
        let rounds: Vec<RoundReport> = reports.into_values().collect();
        let scores = numbered(path, "samples", "scores-", ".json", &mut missing);
        let scores = consistent(scores, &mut missing);
        let samples = shown(path, &mut missing);
        let gold = gold::read(path).unwrap_or_else(|damaged| {
            missing.push(damaged);
            None
        });
        let finished = path.join("policy").is_dir() && path.join("report.md").is_file();
        if rounds.is_empty() && damaged.is_empty() {
            missing.push(match finished {
                true => "reports/round-N.json: no round has a report here: an older version made the run, or it has no rounds".into(),
                false => "no round has been evaluated yet".into(),
            });
        }
        Ok(Self {
            path: path.into(),
            settings,
            metrics,
            rounds,
            damaged,
            scores,
            samples,
            gold,
            finished,
            missing,
        })
    }

    /// The last kept round.
    pub fn last_kept(&self) -> Option<&RoundReport> {
        self.rounds.iter().rev().find(|round| round.accepted)
    }

    /// Name of the folder, without its path.
    pub fn name(&self) -> String {
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Inputs and outputs of the run with the hashes of the current files; `None` for a file that does not exist.
    pub fn sources(&self) -> Vec<(&'static str, String, Option<Source>)> {
        let within = |name: &str| self.path.join(name);
        let given = |key: &str| self.settings.text(key).filter(|text| !text.is_empty());
        let files = [
            ("model", given("model.path").map(PathBuf::from)),
            ("demonstrations", given("data.demonstrations").map(PathBuf::from)),
            ("held-out demonstrations", given("data.held_out_file").map(PathBuf::from)),
            ("prompts", given("data.prompts").map(PathBuf::from)),
            ("recipe", Some(within("recipe.toml"))),
            ("metrics", Some(within("metrics.jsonl"))),
            ("policy", Some(within("policy"))),
            ("reward", Some(within("reward"))),
        ];
        let source = |path: &PathBuf| Source::of(path).ok().filter(|_| path.exists());
        files
            .into_iter()
            .filter_map(|(role, path)| Some((role, path?)))
            .map(|(role, path)| (role, path.display().to_string(), source(&path)))
            .collect()
    }
}

fn metrics_of(path: &Path, missing: &mut Vec<String>) -> Vec<MetricLine> {
    match read_metrics(path) {
        Ok((lines, damaged)) => {
            missing.extend(damaged_lines("metrics.jsonl", &damaged));
            lines
        }
        Err(error) => {
            missing.push(format!("metrics.jsonl: {error}"));
            vec![]
        }
    }
}

/// Files `folder/PREFIX N SUFFIX` by their number.
fn numbered<T: DeserializeOwned>(
    path: &Path,
    folder: &str,
    prefix: &str,
    suffix: &str,
    missing: &mut Vec<String>,
) -> BTreeMap<usize, T> {
    let mut found = BTreeMap::new();
    for (number, name) in names(&path.join(folder), prefix, suffix) {
        let text = fs::read_to_string(path.join(folder).join(&name)).map_err(|e| e.to_string());
        match text.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string())) {
            Ok(value) => {
                found.insert(number, value);
            }
            Err(error) => missing.push(format!("{folder}/{name}: {error}")),
        }
    }
    found
}

fn names(folder: &Path, prefix: &str, suffix: &str) -> BTreeMap<usize, String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.to_owned();
            let number = name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()?;
            Some((number, name))
        })
        .collect()
}

fn shown(path: &Path, missing: &mut Vec<String>) -> BTreeMap<usize, Vec<ShownSample>> {
    let folder = path.join("samples");
    let mut found = BTreeMap::new();
    for (round, name) in names(&folder, "round-", ".jsonl") {
        let text = match fs::read_to_string(folder.join(&name)) {
            Ok(text) => text,
            Err(error) => {
                missing.push(format!("samples/{name}: {error}"));
                continue;
            }
        };
        let (mut read, mut damaged) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            match serde_json::from_str(line) {
                Ok(shown) => read.push(shown),
                Err(_) => damaged.push(number),
            }
        }
        missing.extend(damaged_lines(&format!("samples/{name}"), &damaged));
        found.insert(round, read);
    }
    found
}

/// A message about lines, counted from 1, that were left out of a file; none if `lines` is empty.
fn damaged_lines(file: &str, lines: &[usize]) -> Option<String> {
    let named: Vec<String> = lines.iter().take(NAMED_LINES).map(usize::to_string).collect();
    let text = match (named.as_slice(), lines.len() - named.len()) {
        ([], _) => return None,
        ([line], _) => format!("line {line} is damaged and was"),
        ([first @ .., last], 0) => {
            format!("lines {} and {last} are damaged and were", first.join(", "))
        }
        (named, more) => {
            format!("lines {} and {more} more are damaged and were", named.join(", "))
        }
    };
    Some(format!("{file}: {text} left out"))
}

/// Keeps scores whose lists have consistent lengths; others would pair the wrong samples.
fn consistent(
    mut scores: BTreeMap<usize, HeldOutScores>,
    missing: &mut Vec<String>,
) -> BTreeMap<usize, HeldOutScores> {
    scores.retain(|round, scores| {
        let demonstrations = scores.demonstrations.len();
        let samples = demonstrations * scores.samples_per_prompt;
        let whole = |of: &ScoredSamples| {
            [of.rewards.len(), of.lengths.len(), of.terminated.len()] == [samples; 3]
                && [of.kl.len(), of.repetition.len()].iter().all(|n| [0, samples].contains(n))
                && [0, scores.demonstration_lengths.len()].contains(&of.log_likelihood.len())
        };
        let all = [&scores.initial, &scores.sft, &scores.before, &scores.after];
        let lengths = [0, demonstrations].contains(&scores.demonstration_lengths.len());
        let holds = samples > 0 && lengths && all.into_iter().all(whole);
        if !holds {
            missing.push(format!("samples/scores-{round}.json: its lists differ in length"));
        }
        holds
    });
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_whose_lists_differ_are_left_out() {
        let mut scores = super::super::example::run().scores;
        let mut missing = vec![];
        assert_eq!(consistent(scores.clone(), &mut missing).len(), 1);
        let mut short = scores.clone();
        short.get_mut(&1).unwrap().after.log_likelihood.pop();
        scores.get_mut(&1).unwrap().after.kl.pop();
        for scores in [scores, short] {
            let mut missing = vec![];
            assert!(consistent(scores, &mut missing).is_empty());
            assert_eq!(missing, ["samples/scores-1.json: its lists differ in length"]);
        }
    }

    #[test]
    fn damaged_lines_are_named_and_agree_in_number() {
        let said = |lines: &[usize]| damaged_lines("f", lines).unwrap_or_default();
        assert_eq!(said(&[]), "");
        assert_eq!(said(&[7]), "f: line 7 is damaged and was left out");
        assert_eq!(said(&[1, 3]), "f: lines 1 and 3 are damaged and were left out");
        let many = said(&[1, 2, 3, 4, 5, 6, 9]);
        assert_eq!(many, "f: lines 1, 2, 3, 4, 5 and 2 more are damaged and were left out");
    }

    #[test]
    fn a_damaged_report_is_named_and_not_taken_for_no_round() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("recipe.toml", "");
        write("metrics.jsonl", "");
        write("report.md", "");
        write("policy/config.json", "{}");
        write("reports/round-1.json", "{\"round\": 1");
        let run = RunFiles::read(folder.path()).unwrap();
        assert_eq!((run.damaged, run.finished), (vec![1], true));
        let [missing] = &run.missing[..] else { panic!("{:?}", run.missing) };
        assert!(missing.starts_with("reports/round-1.json: "), "{missing}");
    }

    #[test]
    fn a_folder_without_a_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(RunFiles::read(folder.path()), Err(ReportError::NoRun { .. })));
        fs::write(folder.path().join("metrics.jsonl"), "").unwrap();
        let run = RunFiles::read(folder.path()).unwrap();
        assert!(!run.finished && run.missing.len() == 2, "{:?}", run.missing);
    }
}
