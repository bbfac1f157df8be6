//! A run folder's files as data. What is missing or damaged is said and left out, never an error of the whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use revealed_reward::Audit;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::ReportError;
use super::gold::{self, Gold};
use super::metrics::{MetricLine, read_metrics};
use super::settings::Settings;
use revealed_eval::Source;

/// Damaged lines that are named.
const NAMED_LINES: usize = 5;

/// What a policy does on held-out prompts; the run's own measures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Mean calibrated reward of its samples.
    #[serde(deserialize_with = "number")]
    pub reward: f64,
    /// KL to the SFT model, nats a completion.
    #[serde(deserialize_with = "number")]
    pub kl: f64,
    /// Log-likelihood of held-out demonstrations, nats a token.
    #[serde(deserialize_with = "number")]
    pub log_likelihood: f64,
    /// Mean length, tokens.
    #[serde(deserialize_with = "number")]
    pub length: f64,
    /// Share of samples that end in the terminator.
    #[serde(deserialize_with = "number")]
    pub terminated: f64,
    /// Share of repeated 4-grams.
    #[serde(deserialize_with = "number")]
    pub repetition: f64,
    /// Distinct 2-grams over all 2-grams.
    #[serde(deserialize_with = "number")]
    pub distinct_2: f64,
}

/// The judge's view of a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationScores {
    /// Mean score of held-out demonstrations.
    #[serde(deserialize_with = "number")]
    pub demonstrations: f64,
    /// Of samples before the round.
    #[serde(deserialize_with = "number")]
    pub before: f64,
    /// After it.
    #[serde(deserialize_with = "number")]
    pub after: f64,
    /// Of the rise, over prompts.
    #[serde(deserialize_with = "number")]
    pub standard_error: f64,
}

impl ValidationScores {
    /// The rise in its standard errors; 0 where nothing moved.
    pub fn gain(&self) -> f64 {
        let rise = self.after - self.before;
        if rise == 0.0 { 0.0 } else { rise / self.standard_error }
    }
}

/// `reports/round-N.json`: a round's figures and verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// From 1.
    pub round: usize,
    /// Whether the policy was kept.
    pub accepted: bool,
    /// Why it was rolled back, or why the run stops here.
    pub reasons: Vec<String>,
    /// Share of held-out demonstrations that the reward puts above samples of the initial model.
    #[serde(deserialize_with = "number")]
    pub accuracy_initial: f64,
    /// Above samples of the SFT model.
    #[serde(default = "unknown", deserialize_with = "number")]
    pub accuracy_sft: f64,
    /// Of the policy before the round.
    #[serde(deserialize_with = "number")]
    pub accuracy_before: f64,
    /// After it.
    #[serde(deserialize_with = "number")]
    pub accuracy_after: f64,
    /// Mean calibrated reward of held-out demonstrations.
    #[serde(deserialize_with = "number")]
    pub demonstrations_reward: f64,
    /// What the reward knows beyond length and words.
    pub audit: Audit,
    /// The judge's view.
    pub validation_reward: Option<ValidationScores>,
    /// Log-likelihood of held-out demonstrations under the SFT model, nats a token.
    #[serde(deserialize_with = "number")]
    pub sft_log_likelihood: f64,
    /// The policy before the round.
    pub before: Measures,
    /// The candidate.
    pub after: Measures,
}

/// A policy's held-out samples, a prompt's next to each other.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Samples {
    /// Calibrated reward.
    #[serde(deserialize_with = "numbers")]
    pub rewards: Vec<f64>,
    /// Tokens.
    pub lengths: Vec<usize>,
    /// Whether each ended in the terminator.
    pub terminated: Vec<bool>,
    /// Estimated KL to the SFT model, nats; empty where it was not measured.
    #[serde(deserialize_with = "numbers")]
    pub kl: Vec<f64>,
    /// Share of repeated 4-grams; empty in files from before it was written.
    #[serde(default, deserialize_with = "numbers")]
    pub repetition: Vec<f64>,
    /// Log-likelihood of each held-out demonstration, the sum over its tokens, nats; empty where it was not measured.
    #[serde(default, deserialize_with = "numbers")]
    pub log_likelihood: Vec<f64>,
}

/// `samples/scores-N.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Scores {
    /// Samples of each prompt.
    pub samples_per_prompt: usize,
    /// Calibrated reward of each demonstration.
    #[serde(deserialize_with = "numbers")]
    pub demonstrations: Vec<f64>,
    /// Tokens of each demonstration's completion; empty in files from before they were written.
    #[serde(default)]
    pub demonstration_lengths: Vec<usize>,
    /// Of the initial model.
    pub initial: Samples,
    /// Of the SFT model.
    pub sft: Samples,
    /// Of the policy before the round.
    pub before: Samples,
    /// Of the candidate.
    pub after: Samples,
}

/// A line of `samples/round-N.jsonl`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Shown {
    /// The prompt's text.
    pub prompt: String,
    /// What a demonstrator wrote.
    pub demonstration: String,
    /// What the policy wrote before the round.
    pub before: String,
    /// What it writes after.
    pub after: String,
    /// Calibrated rewards of the three completions.
    pub rewards: ShownRewards,
}

/// Calibrated rewards of the completions of a [`Shown`] sample.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct ShownRewards {
    /// Reward of the demonstration.
    #[serde(deserialize_with = "number")]
    pub demonstration: f64,
    /// Reward of the sample before the round.
    #[serde(deserialize_with = "number")]
    pub before: f64,
    /// Reward of the sample after it.
    #[serde(deserialize_with = "number")]
    pub after: f64,
}

/// A run folder, read.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFiles {
    /// Where it is.
    pub path: PathBuf,
    /// `recipe.toml`.
    pub settings: Settings,
    /// `metrics.jsonl`, in order.
    pub metrics: Vec<MetricLine>,
    /// Judged rounds, in order.
    pub rounds: Vec<Round>,
    /// Rounds whose report is there and cannot be read.
    pub damaged: Vec<usize>,
    /// Scores of held-out samples by round.
    pub scores: BTreeMap<usize, Scores>,
    /// Samples shown by round.
    pub samples: BTreeMap<usize, Vec<Shown>>,
    /// By the true reward, where the run is of the built-in task.
    pub gold: Option<Gold>,
    /// Whether the run has come to its end: `policy/` and `report.md` are there.
    pub finished: bool,
    /// A sentence for each thing that is missing or damaged.
    pub missing: Vec<String>,
}

impl RunFiles {
    /// Reads what there is.
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
        let reports: BTreeMap<usize, Round> =
            numbered(path, "reports", "round-", ".json", &mut missing);
        let all = names(&path.join("reports"), "round-", ".json").into_keys();
        let damaged: Vec<usize> = all.filter(|round| !reports.contains_key(round)).collect();
        let rounds: Vec<Round> = reports.into_values().collect();
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
                true => "reports/round-N.json: no round's figures are here; the run was made before they were written, or made none".into(),
                false => "no round has been judged yet".into(),
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
    pub fn last_kept(&self) -> Option<&Round> {
        self.rounds.iter().rev().find(|round| round.accepted)
    }

    /// The folder's own name.
    pub fn name(&self) -> String {
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// What the run was given and made, with hashes of what is there now; `None` where it is not.
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

fn shown(path: &Path, missing: &mut Vec<String>) -> BTreeMap<usize, Vec<Shown>> {
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

/// A sentence on lines, counted from 1, that were left out of a file; none where there are none.
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

/// Scores whose lists are of one length; others would pair the wrong samples.
fn consistent(
    mut scores: BTreeMap<usize, Scores>,
    missing: &mut Vec<String>,
) -> BTreeMap<usize, Scores> {
    scores.retain(|round, scores| {
        let demonstrations = scores.demonstrations.len();
        let samples = demonstrations * scores.samples_per_prompt;
        let whole = |of: &Samples| {
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

fn unknown() -> f64 {
    f64::NAN
}

/// JSON has no NaN and no infinity; the run writes null for them.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let values: Vec<Option<f64>> = Deserialize::deserialize(from)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_has_none_for_are_nan() {
        let text =
            r#"{"rewards": [1.0, null], "lengths": [1, 2], "terminated": [true, false], "kl": []}"#;
        let samples: Samples = serde_json::from_str(text).unwrap();
        assert!(samples.rewards[1].is_nan());
        let judge = r#"{"demonstrations": 0, "before": 0, "after": 1, "standard_error": null}"#;
        let judge: ValidationScores = serde_json::from_str(judge).unwrap();
        assert!(judge.gain().is_nan());
    }

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
