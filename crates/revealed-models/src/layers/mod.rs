//! The layers that every architecture is made of. Fields carry Hugging Face's names.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod frequencies;
pub(crate) mod kv_cache;
pub(crate) mod lora;
pub(crate) mod rope;
pub(crate) mod rotary;

mod embedding;
mod linear;
mod mlp;
mod norm;
mod product;
mod weight;

pub use embedding::Embedding;
pub use linear::Linear;
pub use lora::LoraWeights;
pub(crate) use mlp::{gelu, swiglu};
pub(crate) use norm::rms_norm;
pub use norm::{LayerNorm, RmsNorm};
pub(crate) use product::{product, project, rounded, to_f32};
pub(crate) use weight::plain;
pub use weight::{Weight, WeightStorage};
