#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod benchmarks;
pub mod best_of_n;
mod error;
mod estimate;
mod invariance;
pub mod judge;
pub mod log;
pub mod mt_bench;
pub mod pairwise;
pub mod policy;
pub mod preferences;
mod record;
pub mod shop_desk;
pub mod stats;
pub mod tasks;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

pub use error::EvalError;
pub use estimate::Estimate;
pub use invariance::{Invariance, batch_invariance};
pub use record::{Environment, EvalRecord, Figure, Item, Part, Source};
