#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod batch;
mod causal_lm;
mod config;
mod custom_op;
mod decoder;
mod error;
mod finite;
#[cfg(feature = "flex")]
mod flex;
mod folder;
pub mod gpt_neox;
mod greedy;
mod hub;
pub mod layers;
pub mod llama;
mod log_probs;
mod lora;
mod output_head;
mod peft;
mod prefix;
mod rope;
mod rotary;
mod sampling;
mod scalar;
mod weights;
pub mod workers;

pub use attention::BLOCK as ATTENTION_BLOCK;
pub use batch::{CompletionBatch, PaddingSide, TokenBatch};
pub use causal_lm::CausalLm;
pub use config::HfConfig;
pub use decoder::{Decoder, ModelDims};
pub use error::ModelError;
pub use folder::{TOKENIZER_FILES, copy_tokenizer, write_file, write_tensors};
pub use hub::{resolve, resolve_adapter};
pub use log_probs::{Backward, TokenLogProbs};
pub use lora::{LoraConfig, LoraWeights};
pub use prefix::{PrefixCache, ScoredTokens};
pub use rotary::{Beyond, LongRows, Rotary};
pub use sampling::{Decoding, Sample, SamplingConfig, sample};
pub use scalar::ScalarModel;
pub use weights::TensorFiles;
