//! The loop and its phases on tiny models, through the public interface.
#![allow(missing_docs, clippy::unwrap_used)]

mod accumulation;
mod choices;
mod damage;
mod data;
mod determinism;
mod failures;
mod gates;
mod imitation;
mod improvement;

mod lengths;
mod mixed_precision;
mod observers;
mod recipe;
mod resume;
mod self_play;
mod validation_reward;
