//! Settings of a sampling call.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoding {
    /// The likeliest token.
    Greedy,
    /// Drawn from the distribution at `temperature`.
    Sample,
}

/// Settings of one sampling call.
///
/// | field | default | range |
/// |---|---|---|
/// | `decoding` | sample | greedy, sample |
/// | `temperature` | 1.0 | > 0 |
/// | `top_k` | 0 (off) | ≥ 0 |
/// | `top_p` | 1.0 (off) | (0, 1] |
/// | `min_p` | 0.0 (off) | [0, 1) |
/// | `max_new_tokens` | 128 | ≥ 1 |
/// | `samples_per_prompt` | 1 | ≥ 1 |
/// | `batch_size` | 64 | ≥ 1, rows decoded together; the samples of one prompt always are |
/// | `stop_ids` | none | token ids that end a row; the token is kept |
/// | `pad_id` | 0 | filler, never seen |
/// | `seed` | 0 | |
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingConfig {
    /// Greedy or drawn.
    pub decoding: Decoding,
    /// Divides the logits.
    pub temperature: f64,
    /// Keep this many likeliest tokens.
    pub top_k: usize,
    /// Keep the likeliest tokens that together reach this probability.
    pub top_p: f64,
    /// Keep tokens at least this likely relative to the likeliest.
    pub min_p: f64,
    /// The longest completion, in tokens, with its terminator.
    pub max_new_tokens: usize,
    /// Completions of each prompt.
    pub samples_per_prompt: usize,
    /// Rows decoded together.
    pub batch_size: usize,
    /// Tokens that end a row.
    pub stop_ids: Vec<u32>,
    /// Filler.
    pub pad_id: u32,
    /// Seed of this call.
    pub seed: u64,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            decoding: Decoding::Sample,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            max_new_tokens: 128,
            samples_per_prompt: 1,
            batch_size: 64,
            stop_ids: vec![],
            pad_id: 0,
            seed: 0,
        }
    }
}

impl SamplingConfig {
    /// Enforces the table.
    ///
    /// # Errors
    /// When a field is out of its range.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong =
            |field, found: String, expected| Err(ModelError::Sampling { field, found, expected });
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return wrong(
                "temperature",
                self.temperature.to_string(),
                "more than 0; for T → 0 use greedy",
            );
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top_p", self.top_p.to_string(), "in (0, 1]");
        }
        if !(self.min_p >= 0.0 && self.min_p < 1.0) {
            return wrong("min_p", self.min_p.to_string(), "in [0, 1)");
        }
        for (field, value) in [
            ("max_new_tokens", self.max_new_tokens),
            ("samples_per_prompt", self.samples_per_prompt),
            ("batch_size", self.batch_size),
        ] {
            if value > 1 << 24 {
                return wrong(field, value.to_string(), "16777216 at most");
            }
            if value == 0 {
                return wrong(field, "0".into(), "1 or more");
            }
        }
        Ok(())
    }
}
