#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod judge;
pub mod log;
pub mod mt_bench;
pub mod pairwise;
pub mod preferences;
mod record;
pub mod shop_desk;
pub mod stats;

pub use error::EvalError;
pub use record::{Environment, EvalRecord, Figure, Item, Source};
