//! Settings of a policy evaluation.

use revealed_models::SamplingConfig;
use serde_json::{Map, Value, json};

use crate::row_encoder::RowEncoder;

/// Settings of [`evaluate_policy`](crate::evaluate_policy).
///
/// | field | default | range | purpose |
/// |---|---|---|---|
/// | `samples` | 16 | ≥ 1 | completions per prompt and model; best-of-n goes up to it |
/// | `max_tokens` | 256 | ≥ 1 | longest completion, in tokens, EOS included |
/// | `temperature` | 1.0 | > 0 | divides the logits; the KL is that of the distributions at this temperature |
/// | `max_prompts` | 0 (all) | ≥ 0 | prompts at most, drawn by `seed` |
/// | `seed` | 0 | | draws prompts and completions |
/// | `batch_size` | 64 | ≥ 1 | rows decoded together |
/// | `batch_tokens` | 1024 | ≥ 1 | tokens per forward pass, padding included: memory and speed, not results |
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySettings {
    /// Completions per prompt and model.
    pub samples: usize,
    /// Longest completion, in tokens, EOS included.
    pub max_tokens: usize,
    /// Sampling temperature.
    pub temperature: f64,
    /// Prompts at most; 0 for all.
    pub max_prompts: usize,
    /// Seed that draws prompts and completions.
    pub seed: u64,
    /// Rows decoded together.
    pub batch_size: usize,
    /// Tokens per forward pass, padding included.
    pub batch_tokens: usize,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            samples: 16,
            max_tokens: 256,
            temperature: 1.0,
            max_prompts: 0,
            seed: 0,
            batch_size: 64,
            batch_tokens: 1024,
        }
    }
}

impl PolicySettings {
    pub(super) fn sampling(&self, rows: &RowEncoder) -> SamplingConfig {
        SamplingConfig {
            temperature: self.temperature,
            max_new_tokens: self.max_tokens,
            samples_per_prompt: self.samples,
            batch_size: self.batch_size,
            seed: self.seed,
            stop_ids: rows.encoder.stop_ids().to_vec(),
            pad_id: rows.encoder.pad_id(),
            ..SamplingConfig::default()
        }
    }

    /// For a record.
    pub(super) fn to_map(&self) -> Map<String, Value> {
        Map::from_iter([
            ("samples".into(), json!(self.samples)),
            ("max_tokens".into(), json!(self.max_tokens)),
            ("temperature".into(), json!(self.temperature)),
            ("max_prompts".into(), json!(self.max_prompts)),
            ("seed".into(), json!(self.seed)),
        ])
    }
}
