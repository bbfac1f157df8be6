#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod base_model;
pub mod bench;
mod error;
pub mod gold_table;
pub mod quickstart;
pub mod shop_desk;

pub use error::LabError;
