#![doc = include_str!("../README.md")]

mod audit;
mod calibration;
mod ensemble;
mod error;
mod reward;

pub use audit::{Audit, BagProbe, Group, LengthProbe, Scored, audit, repetition};
pub use calibration::Calibration;
pub use ensemble::{ENSEMBLE_FILE, RewardEnsemble, pessimistic_mean};
pub use error::RewardError;
pub use reward::{REWARD_FILE, RewardFile, RewardModel};
