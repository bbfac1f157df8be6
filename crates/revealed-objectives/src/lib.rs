#![doc = include_str!("../README.md")]

pub mod advantages;
pub mod kl;
pub mod likelihood;
pub mod pairs;
pub mod policy;
pub mod reduce;

#[cfg(test)]
mod golden;

pub use advantages::GroupScale;
pub use pairs::{PairLoss, RewardObjective};
pub use reduce::MeanShift;
