//! Optimizer steps: AdamW, schedules, clipping, accumulation, and the health monitor that accepts or skips a step.

mod adamw;
mod gradients;
mod health;
mod schedule;
mod updater;

pub(crate) use gradients::{accumulate, sum};
pub use gradients::{clip_grad_norm, grad_norm};
pub(crate) use health::RolloutFigures;
pub(crate) use updater::{ScheduleState, Updater};
