//! Policy solvers: advantages and losses.

pub(crate) mod grpo;
pub(crate) mod ppo;
pub(crate) mod reinforce;
pub(crate) mod rloo;
