#![doc = include_str!("../README.md")]

pub mod advantages;
pub mod kl;
pub mod likelihood;
pub mod log_ratio;
pub mod pairs;
pub mod policy;
mod ratio;
pub mod reduce;

#[cfg(test)]
mod golden;

pub use advantages::GroupScale;
pub use log_ratio::{LogRatioLoss, LogRatioObjective};
pub use pairs::{PairLoss, PairObjective, RewardObjective};
pub use reduce::MeanShift;
