//! What the tests of this crate share: the golden folders, host values and differences.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use revealed_models::{CausalLm, CompletionBatch, HfConfig, PaddingSide, TokenBatch};
use serde_json::{Value, json};

/// The folders of language models under `golden/models`.
pub const MODELS: &[&str] = &[
    "pythia",
    "neox-sequential",
    "qwen2",
    "qwen3",
    "qwen3-mixed",
    "mistral",
    "llama3",
    "llama-bias",
    "llama-bf16",
    "linear-rope",
    "gemma3",
];

pub fn device() -> Device {
    Device::flex()
}

/// A folder under `golden/models`.
pub fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/models")).join(name)
}

/// A file of the folder shared beside the project; prints why a test ends without it.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(path);
    if !found.exists() {
        println!("skipped: {} is not here", found.display());
        return None;
    }
    Some(found)
}

pub fn load(name: &str) -> CausalLm {
    CausalLm::load(&golden(name), &device()).unwrap()
}

pub fn json_file(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Rows of token ids in a JSON array of arrays.
pub fn ids(value: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(value.clone()).unwrap()
}

/// All numbers in nested JSON arrays, in order.
pub fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap() as f32],
    }
}

pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The largest absolute difference; NaN counts as infinite.
pub fn max_difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .map(|d| if d.is_nan() { f32::INFINITY } else { d })
        .fold(0.0, f32::max)
}

pub fn assert_close(ours: &[f32], theirs: &[f32], tolerance: f32, what: &str) {
    let worst = max_difference(ours, theirs);
    assert!(worst <= tolerance, "{what}: largest difference {worst:e}, tolerance {tolerance:e}");
}

/// Logits of each row alone, `[token][V]` flat.
pub fn row_logits(model: &CausalLm, row: &[u32]) -> Vec<f32> {
    let batch = TokenBatch::new(&[row], 0, PaddingSide::Right, &device()).unwrap();
    host(model.logits(&batch))
}

pub fn completions(rows: &[(Vec<u32>, usize)], side: PaddingSide) -> CompletionBatch {
    CompletionBatch::new(rows, 0, side, &device()).unwrap()
}

/// Log-probs of each row's completion tokens, without filler.
pub fn row_log_probs(
    model: &CausalLm,
    rows: &[(Vec<u32>, usize)],
    side: PaddingSide,
    temperature: f64,
) -> Vec<Vec<f32>> {
    let batch = completions(rows, side);
    unpad(&batch, model.log_probs(&batch, temperature).log_probs)
}

/// The real values of a `[B, C]` tensor.
pub fn unpad(batch: &CompletionBatch, values: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, width] = values.dims();
    host(values)
        .chunks(width)
        .zip(&batch.completion_lengths)
        .map(|(row, length)| row[..*length].to_vec())
        .collect()
}

/// A small Llama of the given vocabulary, with weights large enough for uneven distributions.
pub fn tiny_llama(vocab: usize, width: usize, tied: bool, seed: u64) -> CausalLm {
    let fields = json!({
        "model_type": "llama", "vocab_size": vocab, "hidden_size": width, "intermediate_size": 2 * width,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 64, "tie_word_embeddings": tied, "initializer_range": 0.5,
    });
    let Value::Object(fields) = fields else { unreachable!() };
    CausalLm::random(HfConfig::new("tiny", fields), seed, &device()).unwrap()
}
