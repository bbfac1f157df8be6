//! Rows of token ids as padded batches, and micro-batches on parallel workers.

pub(crate) mod batch;
mod micro_batches;
pub mod workers;
