//! The loop and its stages on a tiny world, through the public interface.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

mod accumulation;
mod choices;
mod damage;
mod data;
mod determinism;
mod failures;
mod gates;
mod imitation;
mod improvement;
mod judge;
mod lengths;
mod mixed_precision;
mod observers;
mod recipe;
mod resume;
mod self_play;
