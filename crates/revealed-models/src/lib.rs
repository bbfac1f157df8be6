#![doc = include_str!("../README.md")]

mod arch;
mod batching;
mod causal_lm;
mod error;
mod files;
mod finite;
mod inference;
pub mod layers;
mod log_probs;
mod lora;
mod ops;
mod scalar;
mod scoring;
mod seed;

pub use arch::{Decoder, ModelDims, gemma3, gpt_neox, llama};
pub use batching::batch::{CompletionBatch, PaddingSide, TokenBatch};
pub use batching::workers;
pub use causal_lm::CausalLm;
pub use error::ModelError;
pub use files::config::HfConfig;
pub use files::folder::{TOKENIZER_FILES, copy_tokenizer, write_file, write_tensors};
pub use files::hub::{resolve, resolve_adapter};
pub use files::weights::TensorFiles;
pub use inference::prefix::{PrefixCache, ScoredTokens};
pub use inference::sampling::{Decoding, Sample, SamplingConfig, sample};
pub use layers::attention::BLOCK as ATTENTION_BLOCK;
pub use layers::rotary::{Beyond, LongRows, Rotary};
pub use layers::{LoraWeights, Weight, WeightStorage};
pub use log_probs::{Backward, TokenLogProbs};
pub use lora::LoraConfig;
pub use scalar::ScalarModel;
pub use scoring::{Scoring, ScoringProgress};
pub use seed::derive;
