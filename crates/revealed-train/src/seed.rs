//! Seeds of a run.

pub use revealed_models::derive;
