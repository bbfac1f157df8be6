//! Architectures: decoders without an output head.

pub(crate) mod architecture;
pub(crate) mod decoder;
pub mod gemma3;
pub mod gpt_neox;
pub mod llama;

pub use architecture::ModelDims;
pub use decoder::Decoder;
