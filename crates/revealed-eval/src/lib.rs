#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod benchmarks;
pub mod best_of_n;
mod error;
mod estimate;
mod invariance;
pub mod judge;
pub mod log;
mod log_probs;
pub mod mt_bench;
pub mod pairwise;
pub mod policy;
pub mod preferences;
mod progress;
mod record;
pub mod rewards;
mod row_encoder;
pub mod stats;
pub mod tasks;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

pub use error::EvalError;
pub use estimate::Estimate;
pub use invariance::{Invariance, batch_invariance};
pub use log_probs::completion_log_probs;
pub use policy::evaluate_policy;
pub use progress::Progress;
pub use record::{Environment, EvalRecord, Figure, Item, Part, Provenance, Source};
pub use rewards::{evaluate_benchmark, evaluate_reward, evaluate_win_rate};
pub use row_encoder::{RowEncoder, RowError};
pub use tasks::run_task;
