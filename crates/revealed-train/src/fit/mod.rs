//! Fitting the reward of a round and the validation reward.

mod calibrate;
mod pairs;
mod phase;
mod reward_fit;
mod validation_reward;

pub use calibrate::calibrate;
pub(crate) use calibrate::calibrate_all;
pub(crate) use pairs::add_length_expert;
pub use pairs::{ExpertScores, Negative, Pair, PairPool, pairs};
pub use phase::RewardFitPhase;
pub(crate) use phase::{FitInputs, fit_validation_reward};
pub use reward_fit::fit_reward;
pub(crate) use reward_fit::{RewardFit, RewardUpdater, pair_micro_batches};
