#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod preferences;
mod record;
pub mod shop_desk;
pub mod stats;
pub mod tasks;

pub use error::EvalError;
pub use record::{Environment, EvalRecord, Figure, Item, Source};
