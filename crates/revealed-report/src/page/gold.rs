//! `summary.json` of the built-in task: its models by the true reward.

use std::fs;
use std::path::Path;

use revealed_train::RoundReport;
use serde::{Deserialize, Serialize};

/// True rewards of a model, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldRow {
    /// `base`, `sft`, `round 1`, …
    pub name: String,
    /// Mean at temperature 1.
    pub t1: f64,
    /// Its 95 % interval, over prompts.
    pub t1_ci95: [f64; 2],
    /// Mean at temperature 0.7.
    #[serde(rename = "t0.7")]
    pub t07: f64,
    /// Mean of greedy completions.
    pub greedy: f64,
    /// Share of perfect samples at temperature 1.
    pub perfect: f64,
    /// Share of samples at temperature 1 that end in EOS.
    pub terminated: f64,
}

/// The true rewards of a quickstart.
#[derive(Debug, Clone, PartialEq)]
pub struct Gold {
    /// Mean of the demonstrations.
    pub demonstrations: f64,
    /// Models, in order of the run.
    pub rows: Vec<GoldRow>,
}

/// `summary.json`: results of a quickstart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean true reward at temperature 1.
    pub gold: GoldMeans,
    /// Models, in order of the run.
    pub table: Vec<GoldRow>,
    /// Numbers of the kept rounds.
    #[serde(default)]
    pub kept_rounds: Vec<usize>,
    /// Reports of all rounds.
    #[serde(default)]
    pub rounds: Vec<RoundReport>,
    /// Seed of the task and of the run.
    pub seed: u64,
    /// Samples of each test prompt.
    #[serde(default)]
    pub samples_per_prompt: usize,
}

/// Mean true rewards, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldMeans {
    /// Of the base model.
    #[serde(default)]
    pub base: f64,
    /// Of the SFT model.
    #[serde(default)]
    pub sft: f64,
    /// Of the policies of the kept rounds.
    #[serde(default)]
    pub rounds: Vec<f64>,
    /// Of the demonstrations.
    pub demonstrations: f64,
}

/// The summary of a run folder; `None` of a run that has none.
///
/// # Errors
/// What is wrong with the file, in a sentence.
pub(super) fn read(folder: &Path) -> Result<Option<Gold>, String> {
    let path = folder.join("summary.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string());
    let summary: Result<Summary, String> =
        text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    let summary = summary.map_err(|error| format!("summary.json: {error}"))?;
    Ok(Some(Gold { demonstrations: summary.gold.demonstrations, rows: summary.table }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_and_a_damaged_one_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), Ok(None));
        let write = |text: &str| fs::write(folder.path().join("summary.json"), text).unwrap();
        write(
            r#"{"gold": {"demonstrations": 0.86}, "seed": 0, "table": [{"name": "sft", "t1": 0.8,
            "t1_ci95": [0.7, 0.9], "t0.7": 0.85, "greedy": 0.9, "perfect": 0.4, "terminated": 1.0}]}"#,
        );
        let gold = read(folder.path()).unwrap().unwrap();
        assert_eq!((gold.demonstrations, gold.rows[0].t07), (0.86, 0.85));
        write("{}");
        assert!(read(folder.path()).unwrap_err().starts_with("summary.json: missing field"));
    }
}
