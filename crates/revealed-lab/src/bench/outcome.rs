//! Results of the bench: one line of `results.jsonl` per setting, seed and arm.

use revealed_train::RoundReport;
use serde::{Deserialize, Serialize};

use crate::shop_desk::Setting;

/// A setting of the shop desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Sampling at a low temperature is enough for nearly perfect imitation.
    Easy,
    /// Some good habits are those of a minority of demonstrations; a low temperature loses them.
    Hard,
}

impl Level {
    /// Name in tables, files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Hard => "hard",
        }
    }

    /// The writers of the task.
    pub(super) fn setting(self) -> Setting {
        match self {
            Self::Easy => Setting::Easy,
            Self::Hard => Setting::Hard,
        }
    }
}

/// One arm on one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Setting of the task.
    pub setting: Level,
    /// Seed of the task and of training.
    pub seed: u64,
    /// Name of the arm.
    pub arm: String,
    /// Fingerprint of the settings it ran with.
    pub settings: String,
    /// Figures after every round, kept or not.
    pub rounds: Vec<Round>,
}

/// A policy after a round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// Number of the round, from 1; 0 is before the first.
    pub round: usize,
    /// Wall time of the round in seconds, without evaluation.
    pub seconds: f64,
    /// Gold figures.
    pub gold: Gold,
    /// Share of pairs of SFT samples of a test prompt with different gold that the reward orders as gold does.
    pub ordered: Option<f64>,
    /// Report of the alignment loop; none for other methods.
    pub report: Option<RoundReport>,
}

/// Gold figures of a policy on test prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gold {
    /// Mean at T = 1.
    pub t1: f64,
    /// Mean at the best temperature.
    pub best: f64,
    /// That temperature, chosen on other prompts.
    pub best_t: f64,
    /// Mean of greedy completions.
    pub greedy: f64,
    /// Share of perfect ones at T = 1.
    pub perfect: f64,
    /// Share that end at T = 1.
    pub terminated: f64,
    /// Mean tokens at T = 1.
    pub length: f64,
    /// KL to the SFT model at T = 1, nats/completion.
    pub kl: f64,
}
