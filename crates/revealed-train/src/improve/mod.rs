//! Policy improvement: rollouts, and optimizer steps of a solver on them.

mod learner;
mod phase;
mod rollout;
mod solvers;
mod targets;
mod totals;

pub(crate) use learner::{Critic, Learner};
pub(crate) use phase::{CoTrainedReward, Improved};
pub use phase::{PolicyPhase, improve_policy, improve_policy_and_reward};
pub use rollout::Rollout;
pub(crate) use solvers::solvers_without_groups;
