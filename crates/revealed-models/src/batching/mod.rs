//! Rows of token ids as padded batches, and micro-batches on parallel workers.

pub(crate) mod batch;
pub mod workers;
