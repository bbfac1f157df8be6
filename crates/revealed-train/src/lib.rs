#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adamw;
mod card;
mod checkpoint;
mod epochs;
mod error;
mod fingerprint;
mod fitting;
mod gate;
mod grpo;
mod held_out;
pub mod irl;
mod json_object;
mod learner;
mod memory;
mod merged_card;
mod observer;
mod optimizer;
mod pairs;
mod pieces;
mod policy;
mod ppo;
mod recipe;
mod reinforce;
mod report;
mod reward;
mod reward_fit;
mod rloo;
mod rollout;
mod run;
mod run_folder;
mod scores;
mod seed;
mod self_play;
mod sft;
mod state;
mod steps;
mod task;
mod text_files;
mod totals;
mod validation_reward;
mod watch;

pub use checkpoint::{Checkpoints, Saved};
pub use error::TrainError;
pub use gate::{RoundReport, best_round, evaluate_round};
pub use held_out::{HeldOutSamples, Measures};
pub use irl::{State, align};
pub use memory::MemoryPlan;
pub use merged_card::merged_card;
pub use observer::{At, Event, Metric, Observer, Phase, ShownSample};
pub use optimizer::{OptimizerConfig, Schedule, clip_grad_norm, grad_norm};
pub use pairs::{Negative, NegativeSource, Pair, PairPool, pairs};
pub use policy::{improve_in_turn, improve_policy};
pub use recipe::{
    Alternation, Average, DataSection, GateSection, HealthSection, Keep, KlPlacement, KlReference,
    LengthControl, MissingEos, ModelSection, NegativeReweighting, NegativeWeights,
    NegativesSection, Normalization, PolicySection, Pool, Recipe, RewardSection, RewardStart,
    RunSection, ScaleFrom, SftObjective, SftSection, Solver, Stop, Tuning, ValidationReward,
};
pub use report::{figures, report_markdown, round_markdown};
pub use reward::{LogRatioReward, Reward};
pub use reward_fit::{calibrate, fit_reward};
pub use rollout::Rollout;
pub use run::Run;
pub use run_folder::{Losses, RunFolder};
pub use scores::{HeldOutScores, ScoredSamples};
pub use seed::derive;
pub use self_play::{SelfPlay, fit_log_ratio, self_play};
pub use sft::fit_sft;
pub use steps::Progress;
pub use task::{Row, Task};
pub use text_files::{TextSide, copy_text_files, write_text_files};
pub use validation_reward::ValidationScores;
pub use watch::{Breach, Course};

#[cfg(test)]
extern crate self as revealed_train;
#[cfg(test)]
#[path = "../tests/it/support.rs"]
mod support;
