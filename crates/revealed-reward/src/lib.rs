#![doc = include_str!("../README.md")]

mod calibration;
mod error;
mod reward;

pub use calibration::Calibration;
pub use error::RewardError;
pub use reward::{REWARD_FILE, RewardFile, RewardModel};
