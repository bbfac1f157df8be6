//! Architectures: decoders without an output head.

pub(crate) mod decoder;
pub mod gpt_neox;
pub mod llama;

pub use decoder::{Decoder, ModelDims};
