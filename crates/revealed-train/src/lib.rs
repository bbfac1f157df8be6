#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod epochs;
mod error;
mod fingerprint;
mod fit;
mod folder;
mod gate;
mod improve;
pub mod irl;
mod memory;
mod methods;
mod observer;
mod optim;
mod phases;
mod recipe;
mod record;
mod reward;
mod run;
mod seed;
pub mod session;
mod state;
mod steps;
mod task;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

pub use error::{TrainError, error_chain};
pub use fit::{ExpertScores, Negative, Pair, PairPool, calibrate, fit_reward, pairs};
pub use folder::{
    Checkpoints, Losses, RunFolder, Saved, TextSide, copy_text_files, figures, merged_card,
    report_markdown, round_markdown, write_text_files,
};
pub use gate::{HeldOutSamples, KeptFigures, best_round, evaluate_round};
pub use improve::{Rollout, improve_policy, improve_policy_and_reward};
pub use irl::{State, align};
pub use memory::MemoryPlan;
pub use methods::{SelfPlay, fit_log_ratio, fit_sft, self_play};
pub use observer::{Event, Observer};
pub use optim::{clip_grad_norm, grad_norm};
pub use recipe::{
    Alternation, Average, DataSection, GateSection, HealthSection, Keep, KlPlacement, KlReference,
    LengthControl, MissingEos, ModelSection, NegativeReweighting, NegativeSource, NegativeWeights,
    NegativesSection, Normalization, OptimizerConfig, PolicySection, Pool, Recipe, RewardSection,
    RewardStart, RunSection, ScaleFrom, Schedule, SftObjective, SftSection, SolverName, Stop,
    Tuning, ValidationReward,
};
pub use record::{
    At, HealthLimits, HeldOutScores, Measures, Metric, Phase, RoundReport, ScoredSamples,
    ShownRewards, ShownSample, TrainingHealth, ValidationScores, Violation, stopped_early,
};
pub use reward::{LogRatioReward, Reward};
pub use run::Run;
pub use seed::derive;
pub use session::{Session, Setup, Start, align_in_folder};
pub use state::PhaseState;
pub use task::{Row, Task};
